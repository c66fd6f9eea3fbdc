"""Turn detection in media: changed in mid-call, push to talk, and utterances that the client ends."""

import pytest

from services.contracts.audio import UP_FRAME_BYTES
from services.contracts.frame import Kind
from services.contracts.messages import TurnDetection, UtteranceEnd, expect
from services.contracts.turn_detection import DetectsTurns
from services.contracts.usage import Meter
from services.media.core.commands import CallCommand, CountGateClose, SetThreshold
from tests.media.drawn import A, Drawn, dropped, kinds, types, ups

PUSH_TO_TALK = DetectsTurns(automatic=False)
ONE_FRAME_PADDING = DetectsTurns(prefix_padding_ms=20, silence_duration_ms=80)


def switch(drawn: Drawn, detection: DetectsTurns, number: int = 1) -> list[CallCommand]:
    payload = TurnDetection(**detection.model_dump()).encode()
    return drawn.frame(Kind.TURN_DETECTION, number, payload=payload)


def client(drawn: Drawn, kind: str) -> list[CallCommand]:
    return drawn.call.on_client_message(f'{{"type": "{kind}"}}', now=drawn.now)


def ends(commands: list[CallCommand]) -> list[str]:
    return [expect(UtteranceEnd, up.payload).reason for up in ups(commands, Kind.UTTERANCE_END)]


def audio_frames(commands: list[CallCommand]) -> list[int]:
    return [up.position + n for up in ups(commands, Kind.AUDIO_UP) for n in range(len(up.payload) // UP_FRAME_BYTES)]


def test_a_longer_silence_keeps_the_utterance_open_from_the_next_frame_on() -> None:
    drawn = Drawn()
    drawn.draw("ss...")
    switch(drawn, DetectsTurns(silence_duration_ms=160))
    assert ends(drawn.draw("....")) == []
    assert ends(drawn.draw(".")) == ["speech_end"]


def test_a_shorter_silence_that_has_passed_already_ends_the_utterance_with_the_next_frame() -> None:
    drawn = Drawn()
    drawn.draw("ss...")
    assert ends(switch(drawn, DetectsTurns(silence_duration_ms=40))) == []
    assert ends(drawn.draw(".")) == ["speech_end"]


def test_what_is_held_is_sent_in_order_when_the_silence_grows() -> None:
    drawn = Drawn()
    sent = drawn.draw("ss...")
    sent += switch(drawn, DetectsTurns(silence_duration_ms=2000))
    sent += drawn.draw("..s")
    assert audio_frames(sent + client(drawn, "x")) == list(range(8))


def test_the_padding_is_what_is_sent_from_before_the_onset() -> None:
    drawn = Drawn()
    switch(drawn, ONE_FRAME_PADDING)
    assert audio_frames(drawn.draw("......ss")) == [5, 6, 7]
    drawn = Drawn()
    switch(drawn, DetectsTurns(prefix_padding_ms=100))
    assert audio_frames(drawn.draw("......ss.")) == [1, 2, 3, 4, 5, 6, 7]


def test_a_call_begins_with_the_turn_detection_of_its_session() -> None:
    drawn = Drawn(turns=PUSH_TO_TALK)
    assert audio_frames(drawn.draw("..ss")) == [0, 1, 2, 3]


def test_another_threshold_is_told_to_the_detector_once() -> None:
    drawn = Drawn()
    assert switch(drawn, DetectsTurns(threshold=0.9)) == [SetThreshold(0.9)]
    assert switch(drawn, DetectsTurns(threshold=0.9, silence_duration_ms=300), number=2) == []
    assert switch(drawn, DetectsTurns(), number=3) == [SetThreshold(0.5)]


def test_a_change_that_is_sent_again_changes_nothing() -> None:
    drawn = Drawn()
    switch(drawn, PUSH_TO_TALK, number=1)
    switch(drawn, DetectsTurns(), number=2)
    assert switch(drawn, PUSH_TO_TALK, number=1) == []
    assert audio_frames(drawn.draw("....")) == []


def test_a_malformed_change_is_dropped() -> None:
    assert dropped(Drawn().frame(Kind.TURN_DETECTION, 1, payload=b"{}")) == ["malformed"]


# --- push to talk


def test_in_push_to_talk_every_frame_is_sent_and_there_are_no_utterances() -> None:
    drawn = Drawn(turns=PUSH_TO_TALK)
    commands = drawn.draw("..sssss.....")
    assert set(kinds(commands)) == {Kind.AUDIO_UP}
    assert audio_frames(commands) == list(range(12))
    assert drawn.call.on_timer(now=drawn.now + 0.9) == []


def test_speech_stops_no_answer_in_push_to_talk() -> None:
    drawn = Drawn(turns=PUSH_TO_TALK)
    drawn.answering()
    drawn.draw(">")
    commands = drawn.draw("ssssssssss")
    assert set(kinds(commands)) == {Kind.AUDIO_UP}
    assert drawn.call.down.playout.current == A


def test_the_last_frame_before_a_commit_goes_before_it() -> None:
    drawn = Drawn(turns=PUSH_TO_TALK)
    drawn.draw("..")
    drawn.draw(".")
    commands = client(drawn, "input_audio_buffer.commit")
    assert kinds(commands) == [Kind.AUDIO_UP, Kind.CLIENT_EVENT]
    assert audio_frames(commands) == [2]


def test_push_to_talk_ends_an_open_utterance_with_all_that_was_heard_of_it() -> None:
    drawn = Drawn()
    sent = drawn.draw(".ss...")
    sent += switch(drawn, PUSH_TO_TALK)
    assert ends(sent) == ["turn_detection"]
    assert kinds(sent)[-1] == Kind.UTTERANCE_END
    sent += drawn.draw("...")
    assert audio_frames(sent + client(drawn, "x")) == list(range(9))


def test_what_was_withheld_before_push_to_talk_is_not_sent() -> None:
    drawn = Drawn()
    drawn.draw("...s")
    assert switch(drawn, PUSH_TO_TALK) == []
    assert audio_frames(drawn.draw("..")) == [4, 5]


def test_a_single_frame_is_sent_before_voice_detection_begins() -> None:
    drawn = Drawn(turns=PUSH_TO_TALK)
    drawn.draw(".")
    assert audio_frames(switch(drawn, DetectsTurns(silence_duration_ms=80))) == [0]
    assert audio_frames(drawn.draw("...ss.")) == [1, 2, 3, 4, 5]


def test_usage_counts_all_audio_as_sent_in_push_to_talk() -> None:
    drawn = Drawn(turns=PUSH_TO_TALK)
    drawn.draw("." * 50)
    assert drawn.call.meters(now=drawn.now)[Meter.AUDIO_GATED_MS] == 0


# --- speech that does not interrupt


def test_speech_does_not_stop_an_answer_where_the_session_says_so() -> None:
    drawn = Drawn(turns=DetectsTurns(interrupt_response=False, silence_duration_ms=80), events=("gate",))
    drawn.answering()
    drawn.draw(">")
    commands = drawn.draw("ss....")
    assert drawn.call.down.playout.current == A
    assert Kind.PLAYOUT_REPORT not in kinds(commands)
    assert ends(commands) == ["speech_end"]
    assert types(commands) == ["hushgate.gate", "hushgate.gate"]


# --- the client's commit and clear


@pytest.mark.parametrize(
    ("kind", "reason", "resumed"),
    [
        ("input_audio_buffer.commit", "client_commit", [5, 6, 7]),
        ("input_audio_buffer.clear", "client_clear", [7, 8]),
    ],
)
def test_the_clients_commit_or_clear_ends_the_utterance_and_speech_that_goes_on_begins_another(
    kind: str, reason: str, resumed: list[int]
) -> None:
    drawn = Drawn()
    drawn.draw("..sss.." if reason == "client_clear" else ".sss..")
    commands = client(drawn, kind)
    assert ends(commands) == [reason]
    assert kinds(commands)[-1] == Kind.CLIENT_EVENT
    assert [c.reason for c in commands if isinstance(c, CountGateClose)] == [reason]
    assert audio_frames(drawn.draw("sss"))[: len(resumed)] == resumed


@pytest.mark.parametrize("kind", ["input_audio_buffer.commit", "input_audio_buffer.clear", "response.create"])
def test_without_an_utterance_the_clients_events_end_nothing(kind: str) -> None:
    drawn = Drawn()
    drawn.draw("...")
    assert kinds(client(drawn, kind)) == [Kind.CLIENT_EVENT]


def test_another_event_does_not_end_the_utterance() -> None:
    drawn = Drawn()
    drawn.draw("ss")
    assert ends(client(drawn, "response.create")) == []
