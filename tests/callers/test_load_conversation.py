from itertools import pairwise

import pytest

from services.callers.core.clip import FRAME_S, EncodedClip
from services.callers.core.reception import FRAME_TICKS, ReceptionStatistics, ReceptionTotals
from services.callers.core.simulated_caller import OutgoingFrame, SimulatedCaller, TalkProfile, TurnTotals

SOUND, SILENCE = 40, 3
CLIP = EncodedClip("hello", (b"x",) * 50, (30,) * 50, onset_s=0.105, end_s=0.795)
HANGOVER_S = 0.5


class SimulatedCall:
    """A caller and an endpoint, by a clock of their own. ``answer_s``: how long the endpoint speaks."""

    def __init__(
        self, *, manner: TalkProfile, answer_s: float = 1.0, always_silent: bool = False, stops: bool = True
    ) -> None:
        self.turns, self.heard = TurnTotals(), ReceptionTotals()
        self.reception = ReceptionStatistics(self.heard)
        self.conversation = SimulatedCaller(
            [CLIP], manner=manner, reception=self.reception, turns=self.turns, seed=3, now=0.0
        )
        self.answer_s, self.always_silent, self.stops = answer_s, always_silent, stops
        self.frame = 0
        self.sent: list[OutgoingFrame | None] = []
        self._sequence = 0
        self._speech_until = float("-inf")
        self._answering: tuple[float, float] | None = None

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / FRAME_S)):
            self.frame += 1
            now = self.frame * FRAME_S
            sound = self.conversation.next_frame(now)
            self.sent.append(sound)
            self._endpoint(now, speech=bool(sound and sound.clip))

    def _endpoint(self, now: float, *, speech: bool) -> None:
        """Answers half a second after the speech, and is silent when it is spoken to for 0.2 s."""
        if speech:
            self._speech_until = now
            self._answering = None if self.stops and self._spoken_for(now) else self._answering
        elif self._answering is None and now - self._speech_until > HANGOVER_S and self._speech_until > 0:
            self._answering = (now, now + self.answer_s)
            self._speech_until = float("-inf")
        playing = self._answering is not None and now < self._answering[1]
        if playing or self.always_silent:
            self._sequence += 1
            size = SOUND if playing else SILENCE
            self.reception.packet_received(7, self._sequence, self.frame * FRAME_TICKS, size, now + 0.005)
        elif self._answering and now >= self._answering[1]:
            self._answering = None

    def _spoken_for(self, now: float) -> bool:
        spoken = [sound for sound in self.sent[-10:] if sound and sound.clip]
        return now > 0 and len(spoken) == 10


def test_a_question_is_answered_and_timed_from_the_true_end_of_speech() -> None:
    line = SimulatedCall(manner=TalkProfile(talk=0.3))
    line.run(20)
    assert line.turns.asked == line.turns.answered >= 3
    assert line.turns.overlapped == 0
    # The clip's last 205 ms are silence, the endpoint waits for 500 more; a frame and the network come on top.
    assert 705 <= (line.turns.latency.quantile(0.5) or 0) <= 755


@pytest.mark.parametrize("talk", [0.1, 0.25, 0.42, 0.6])
def test_the_caller_talks_for_the_wanted_share_of_the_time(talk: float) -> None:
    line = SimulatedCall(manner=TalkProfile(talk=talk))
    line.run(300)
    assert line.turns.frames_spoken / line.turns.frames_passed == pytest.approx(talk, abs=0.04)


def test_talking_all_the_time_asks_nothing() -> None:
    line = SimulatedCall(manner=TalkProfile(talk=1))
    line.run(30)
    assert line.turns.asked == 0
    assert all(sound and sound.clip for sound in line.sent[-1000:])


@pytest.mark.parametrize("always_silent", [False, True])
def test_a_long_answer_is_interrupted_and_its_end_is_timed(*, always_silent: bool) -> None:
    line = SimulatedCall(manner=TalkProfile(talk=0.3), answer_s=60, always_silent=always_silent)
    line.run(60)
    assert line.turns.barge_ins == line.turns.stopped > 2
    # The endpoint stops 10 frames into the clip, 5 of which are silence; one is under way.
    assert 60 <= (line.turns.barge_in.quantile(0.5) or 0) <= 140
    assert line.turns.overlapped == 0


def test_an_answer_that_does_not_stop_is_no_answer_to_the_interruption() -> None:
    line = SimulatedCall(manner=TalkProfile(talk=0.3), answer_s=1000, stops=False)
    line.run(30)
    assert line.turns.barge_ins > 0
    assert line.turns.stopped == 0
    assert line.turns.overlapped > 0
    assert line.turns.latency.total == 1


def test_an_answer_that_ends_by_itself_was_not_stopped() -> None:
    for seconds in range(20, 45, 4):
        line = SimulatedCall(manner=TalkProfile(talk=0.3), answer_s=seconds / 10, stops=False)
        line.run(40)
        assert line.turns.stopped <= line.turns.barge_ins
        assert line.turns.answered > 0


def test_a_question_without_an_answer_is_given_up_and_the_next_is_asked() -> None:
    line = SimulatedCall(manner=TalkProfile(talk=0.3), answer_s=0)
    line.run(60)
    assert line.turns.asked >= 2
    assert line.turns.answered == 0
    assert line.conversation.asked == line.turns.asked


def test_a_silent_caller_sends_a_packet_each_400_ms() -> None:
    line = SimulatedCall(manner=TalkProfile(talk=0.01))
    line.run(60)
    silent = [index for index, sound in enumerate(line.sent) if sound and sound.clip is None]
    gaps = {after - before for before, after in pairwise(silent)}
    assert min(gaps) == 20


def test_without_dtx_a_packet_leaves_in_every_frame() -> None:
    line = SimulatedCall(manner=TalkProfile(talk=0.3, dtx=False))
    line.run(20)
    assert None not in line.sent


def test_the_first_packet_after_a_pause_is_marked() -> None:
    line = SimulatedCall(manner=TalkProfile(talk=0.3))
    line.run(20)
    spoken = [(index, sound) for index, sound in enumerate(line.sent) if sound and sound.clip]
    marked = [index for index, sound in spoken if sound.first]
    begins = [index for index, sound in spoken if not (line.sent[index - 1] or OutgoingFrame(None)).clip]
    assert marked == begins
    assert len(marked) >= line.turns.asked


def test_turns_of_two_processes_add_up() -> None:
    first, second = TurnTotals(asked=2, answered=1, frames_spoken=3), TurnTotals(asked=1, barge_ins=4, stopped=2)
    second.latency.add(700)
    first.merge(second)
    assert (first.asked, first.answered, first.barge_ins, first.stopped) == (3, 1, 4, 2)
    assert first.latency.total == 1
