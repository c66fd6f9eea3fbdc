"""One simulated caller: speaks, waits for the answer, sometimes interrupts it, pauses. Decides every 20 ms."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from services.callers.core.clip import FRAME_S, EncodedClip
from services.callers.core.histogram import Histogram
from services.callers.core.reception import ReceptionStatistics

_FIRST_WORDS_S = (0.3, 1.3)
"""Random delay before the first word, so that callers of one ramp do not speak in step."""
_PAUSE_S = 0.3  # minimum between the end of an answer and the next question
_BARGE_IN_AFTER_S = (2.0, 4.0)
_BARGE_IN_SOON_S = (1.0, 2.0)
"""How much of an answer is received before it is interrupted; the latter for a caller below its talk share."""
_OVER_S = 1.0  # silence that ends an answer: stories pause for less between sentences
_STOPPED_S = 0.2  # ten packets: shorter than a hangover, so the next answer is not mistaken for the old one
_STOPPED_IN_SILENCE_S = 0.5  # if silence is sent too, a pause between two words is no end
_ANSWER_TIMEOUT_S = 15.0
_EXPECTED_ANSWER_S = 2.0  # with its latency, until one was received
_MAX_UTTERANCE_S = 30.0
_DTX_FRAMES = 20
"""Chromium with usedtx: one packet per 400 ms of silence."""
_ALWAYS_SILENT_PACKETS = 10
"""An endpoint that sent so many packets before its first answer sends silence as well."""


@dataclass(frozen=True, slots=True)
class TalkProfile:
    """``talk``: the share of the time in which the caller speaks; 1 is continuous speech, without turns."""

    talk: float
    dtx: bool = True


@dataclass(frozen=True, slots=True)
class TurnShares:
    """The gateway's report on a turn: the provider's latency, and the gate's hangover before it."""

    provider_ms: int
    hangover_ms: int


@dataclass(slots=True)
class TurnTotals:
    """The sums over calls."""

    asked: int = 0
    answered: int = 0
    overlapped: int = 0
    """Answered before the end of the question, so without a latency."""
    barge_ins: int = 0
    stopped: int = 0
    frames_spoken: int = 0
    frames_passed: int = 0
    latency: Histogram = field(default_factory=Histogram)
    """True end of speech to the first packet of the answer that has sound."""
    provider: Histogram = field(default_factory=Histogram)
    """For turns whose shares the gateway reported: from the commit to the provider's first audio."""
    hangover: Histogram = field(default_factory=Histogram)
    """The gate's hangover."""
    gateway: Histogram = field(default_factory=Histogram)
    """The rest: up, down, playout, and the network both ways."""
    barge_in: Histogram = field(default_factory=Histogram)
    """Onset of speech to the last packet of the interrupted answer."""

    def merge(self, other: "TurnTotals") -> None:
        """Add the turns of another process."""
        self.asked += other.asked
        self.answered += other.answered
        self.overlapped += other.overlapped
        self.barge_ins += other.barge_ins
        self.stopped += other.stopped
        self.frames_spoken += other.frames_spoken
        self.frames_passed += other.frames_passed
        self.latency.merge(other.latency)
        self.provider.merge(other.provider)
        self.hangover.merge(other.hangover)
        self.gateway.merge(other.gateway)
        self.barge_in.merge(other.barge_in)


class _State(Enum):
    PAUSING = auto()
    SPEAKING = auto()
    AWAITING = auto()
    LISTENING = auto()


@dataclass(frozen=True, slots=True)
class OutgoingFrame:
    """What to send now. ``clip`` None is silence; ``first``: the first packet after a pause (RTP's marker)."""

    clip: EncodedClip | None
    index: int = 0
    first: bool = False


_SILENCE = OutgoingFrame(None)


class SimulatedCaller:
    """Call `next_frame` once per 20 ms. ``seed`` determines the order of the clips."""

    def __init__(
        self,
        clips: Sequence[EncodedClip],
        *,
        manner: TalkProfile,
        reception: ReceptionStatistics,
        turns: TurnTotals,
        seed: int,
        now: float,
    ) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - variety, not secrecy
        self._clips = self._shuffled(clips)
        self._manner = manner
        self._reception = reception
        self._turns = turns
        self._doing = _State.PAUSING
        self._began = now
        self._until = now + self._chance.uniform(*_FIRST_WORDS_S)
        self._talked_s = 0.0
        self._listening_s = _EXPECTED_ANSWER_S
        self._utterance: list[EncodedClip] = []
        self._frame = 0
        self._quiet_frames = 0
        self._onset: float | None = None
        self._ended = now
        self._barging = False
        self._sends_silence = False
        self._overlapped = False
        self._shares: TurnShares | None = None  # of the turn in progress
        self._latency_ms: float | None = None  # of the turn whose shares were not reported yet
        self.asked = 0
        """Questions that were answered, or timed out."""

    def next_frame(self, now: float) -> OutgoingFrame | None:
        """What to send in the frame due at ``now``; None sends nothing, as DTX does."""
        self._turns.frames_passed += 1
        if self._doing is not _State.SPEAKING:
            self._decide(now)
        if self._doing is _State.SPEAKING:
            return self._speak(now)
        self._quiet_frames += 1
        return _SILENCE if not self._manner.dtx or self._quiet_frames % _DTX_FRAMES == 0 else None

    def turn_reported(self, shares: TurnShares) -> None:
        """Record the gateway's report on a turn: it arrives just before the answer's first packet, or just after."""
        if self._doing is _State.AWAITING:
            self._shares = shares
        elif self._latency_ms is not None:
            self._split(self._latency_ms, shares)

    def _split(self, latency_ms: float, shares: TurnShares) -> None:
        self._latency_ms = None
        self._turns.provider.add(shares.provider_ms)
        self._turns.hangover.add(shares.hangover_ms)
        self._turns.gateway.add(latency_ms - shares.provider_ms - shares.hangover_ms)

    def _decide(self, now: float) -> None:
        match self._doing:
            case _State.PAUSING if now >= self._until:
                self._begin(now)
            case _State.AWAITING:
                self._await_answer(now)
            case _State.LISTENING:
                self._receive_answer(now)

    def _await_answer(self, now: float) -> None:
        first = self._reception.first_sound_at
        if first is None and now - self._ended < _ANSWER_TIMEOUT_S:
            return
        self.asked += 1
        self._turns.asked += 1
        if first is None:
            self._pause(now)
        else:
            self._answered(first, now)

    def _answered(self, first: float, now: float) -> None:
        self._turns.answered += 1
        if self._overlapped:
            self._turns.overlapped += 1
        else:
            self._latency_ms = (first - self._ended) * 1000
            self._turns.latency.add(self._latency_ms)
            if self._shares:
                self._split(self._latency_ms, self._shares)
        behind = self._talked_s < self._manner.talk * (now - self._began)
        self._until = now + self._chance.uniform(*(_BARGE_IN_SOON_S if behind else _BARGE_IN_AFTER_S))
        self._doing = _State.LISTENING

    def _receive_answer(self, now: float) -> None:
        last = self._reception.last_sound_at or 0.0
        if now - last >= _OVER_S:
            self._pause(now)
        elif now >= self._until:
            self._begin(now, barging=True)

    def _pause(self, now: float) -> None:
        """Wait until the talk share is back at its target."""
        self._until = max(now + _PAUSE_S, self._began + self._talked_s / self._manner.talk)
        self._doing = _State.PAUSING

    def _begin(self, now: float, *, barging: bool = False) -> None:
        if self._talked_s:
            self._listening_s += (now - self._ended - self._listening_s) / 2
        else:
            self._sends_silence = self._reception.packets > _ALWAYS_SILENT_PACKETS
        self._utterance = self._compose(now)
        self._doing = _State.SPEAKING
        self._barging = barging
        self._onset = None
        self._frame = 0

    def _compose(self, now: float) -> list[EncodedClip]:
        """Choose as many clips as restore the talk share, if the answer is as long as the recent ones.

        At least one: a single question is the usual turn.
        """
        share = self._manner.talk
        if share >= 1:
            return [next(self._clips)]
        wanted_s = (share * (now - self._began + self._listening_s) - self._talked_s) / (1 - share)
        room_s = min(wanted_s, _MAX_UTTERANCE_S)
        chosen = [next(self._clips)]
        while (room_s := room_s - _length_s(chosen[-1])) >= _length_s(following := next(self._clips)):
            chosen.append(following)
        return chosen

    def _speak(self, now: float) -> OutgoingFrame:
        clip, index = self._utterance[0], self._frame
        if self._onset is None and clip.onset_s < (index + 1) * FRAME_S:
            self._onset = now + clip.onset_s - (index + 1) * FRAME_S  # the frame sent now was spoken before
        if self._barging:
            self._await_stop(now)
        if len(self._utterance) == 1 and index == int(clip.end_s / FRAME_S):
            self._end(now + clip.end_s - (index + 1) * FRAME_S)
        first = index == 0 and self._quiet_frames > 0
        self._quiet_frames = 0
        self._frame += 1
        self._talked_s += FRAME_S
        self._turns.frames_spoken += 1
        if self._frame >= len(clip.payloads):
            self._next_clip()
        return OutgoingFrame(clip, index, first)

    def _next_clip(self) -> None:
        self._frame = 0
        self._utterance.pop(0)
        if not self._utterance and self._manner.talk >= 1:
            self._utterance.append(next(self._clips))
        if not self._utterance:
            self._doing = _State.AWAITING

    def _end(self, at: float) -> None:
        """Record the end of true speech ``at``: the next sound is the answer."""
        self._ended = at
        last = self._reception.last_sound_at
        self._overlapped = last is not None and at - last < _STOPPED_S
        self._turns.barge_ins += self._barging and self._overlapped  # not an answer that ended by itself
        self._barging = False
        self._shares = self._latency_ms = None
        self._reception.reset_first_sound()

    def _await_stop(self, now: float) -> None:
        reception = self._reception
        last = (reception.last_sound_at if self._sends_silence else reception.last_packet_at) or 0.0
        if self._onset is None or now - last < (_STOPPED_IN_SILENCE_S if self._sends_silence else _STOPPED_S):
            return
        self._barging = False
        if last > self._onset:  # else the answer had ended by itself
            self._turns.barge_ins += 1
            self._turns.stopped += 1
            self._turns.barge_in.add((last - self._onset) * 1000)

    def _shuffled(self, clips: Sequence[EncodedClip]) -> Iterator[EncodedClip]:
        while True:
            yield from self._chance.sample(clips, len(clips))


def _length_s(clip: EncodedClip) -> float:
    return len(clip.payloads) * FRAME_S
