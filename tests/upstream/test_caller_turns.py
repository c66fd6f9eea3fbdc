"""Turn detection in the session core: what is in force, push to talk, and utterances that the client ends."""

import base64

import pytest
from pydantic import JsonValue

from services.contracts.messages import CloseReason
from services.contracts.turn_detection import DetectsTurns
from services.upstream.core.commands import ApplyTurnDetection, PublishEvent
from tests.upstream.drive import Drive, Json, core_of, object_of
from tests.upstream.turn_sessions import VAD, drive, session, update

STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"
COMMITTED, CLEARED = "input_audio_buffer.committed", "input_audio_buffer.cleared"
PUSH_TO_TALK = DetectsTurns(automatic=False)


def end(d: Drive, reason: CloseReason) -> None:
    d.record(d.core.utterance_ended(d.index, reason=reason, now=d.now))


def applied(d: Drive) -> list[tuple[int, DetectsTurns]]:
    return [(c.number, c.detection) for c in d.commands if isinstance(c, ApplyTurnDetection)]


def shown_turns(d: Drive, kind: str = "session.updated") -> JsonValue:
    told = object_of(d.named(kind)[-1].event, "session")
    return object_of(object_of(told, "audio"), "input")["turn_detection"]


def ids(d: Drive, kind: str) -> list[JsonValue]:
    return [e.event["item_id"] for e in d.named(kind)]


# --- what is in force


def test_an_update_is_applied_before_the_client_is_told() -> None:
    d = drive(VAD)
    update(d, {"type": "server_vad", "silence_duration_ms": 2000, "threshold": 0.9})
    assert applied(d) == [(1, DetectsTurns(silence_duration_ms=2000, threshold=0.9))]
    order = [type(c) for c in d.commands if isinstance(c, (ApplyTurnDetection, PublishEvent))]
    assert order == [ApplyTurnDetection, PublishEvent]
    assert isinstance(told := shown_turns(d), dict)
    assert told["silence_duration_ms"] == 2000


def test_an_update_of_something_else_applies_nothing() -> None:
    d = drive({"type": "server_vad", "silence_duration_ms": 2000})
    d.client("session.update", session={"type": "realtime", "instructions": "Be brief."})
    d.confirm()
    update(d, {"type": "server_vad", "silence_duration_ms": 2000})
    assert applied(d) == []


def test_changes_are_counted() -> None:
    d = drive(VAD)
    update(d, None)
    update(d, VAD)
    assert applied(d) == [(1, PUSH_TO_TALK), (2, DetectsTurns())]


@pytest.mark.parametrize(
    ("turns", "param", "problem"),
    [
        ({"type": "server_vad", "silence_duration_ms": 99}, "silence_duration_ms", "100 to 10000 ms"),
        ({"type": "server_vad", "silence_duration_ms": 10_001}, "silence_duration_ms", "100 to 10000 ms"),
        ({"type": "server_vad", "prefix_padding_ms": 2001}, "prefix_padding_ms", "0 to 2000 ms"),
    ],
)
def test_an_update_beyond_the_operators_bounds_is_refused_as_a_whole(
    turns: JsonValue, param: str, problem: str
) -> None:
    d = drive(VAD)
    audio: Json = {"input": {"turn_detection": turns, "noise_reduction": {"type": "near_field"}}}
    d.client("session.update", session={"type": "realtime", "audio": audio})
    assert (d.error["code"], d.error["param"]) == ("invalid_value", f"session.audio.input.turn_detection.{param}")
    assert problem in str(d.error["message"])
    assert d.shown == ["error"]
    assert d.sent_types == []
    assert applied(d) == []


def test_a_token_beyond_the_operators_bounds_gets_the_default_and_an_error_that_names_the_field() -> None:
    d = Drive(core_of(session({"type": "server_vad", "silence_duration_ms": 20, "threshold": 0.7})))
    d.record(d.core.started(now=d.now))
    d.open()
    assert isinstance(told := shown_turns(d, "session.created"), dict)
    assert (told["silence_duration_ms"], told["threshold"]) == (500, 0.7)
    assert d.error["param"] == "session.audio.input.turn_detection.silence_duration_ms"
    assert applied(d) == []  # media leaves the same field out


# --- push to talk


def test_in_push_to_talk_everything_is_sent_and_only_the_client_commits() -> None:
    d = drive(None)
    d.speak(20)
    assert d.shown == []
    assert d.sent_types == ["append"] * 20
    d.client("input_audio_buffer.commit")
    d.client("input_audio_buffer.commit")
    assert d.shown == [COMMITTED, "error"]


def test_what_the_client_appends_itself_is_not_mixed_with_the_microphone() -> None:
    d = drive(None)
    pcm = base64.b64encode(bytes(4800)).decode()
    d.speak(1)
    for _ in range(2):
        d.client("input_audio_buffer.append", audio=pcm)
        d.speak(1)
    d.client("input_audio_buffer.commit")
    d.speak(1)
    appended = "input_audio_buffer.append"
    assert d.sent_types == ["append", appended, appended, "input_audio_buffer.commit", "append"]


def test_a_change_to_push_to_talk_in_an_utterance_leaves_its_audio_to_the_client() -> None:
    d = drive(VAD)
    d.start()
    d.speak(10)
    update(d, None)
    d.speak(3)
    end(d, "turn_detection")
    d.speak(7)
    d.client("input_audio_buffer.commit")
    assert [kind for kind in d.shown if kind.startswith("input")] == [STARTED, STOPPED, COMMITTED]
    assert len({*ids(d, STARTED), *ids(d, STOPPED), *ids(d, COMMITTED)}) == 1
    assert d.sent_types == ["append"] * 20 + ["input_audio_buffer.commit"]


def test_an_utterance_that_ended_just_before_push_to_talk_is_not_committed() -> None:
    d = drive(VAD)
    d.start()
    d.speak(10)
    update(d, None)
    end(d, "speech_end")
    assert d.shown == [STARTED, "session.updated", STOPPED]
    assert "input_audio_buffer.commit" not in d.sent_types


def test_an_onset_just_before_push_to_talk_stops_nothing() -> None:
    d = drive(VAD)
    update(d, None)
    d.forget().utter()
    assert d.shown == []
    assert d.sent_types == ["append"] * 10


def test_what_was_not_committed_is_cleared_when_voice_detection_begins_and_the_client_is_told() -> None:
    d = drive(None)
    d.speak(10)
    update(d, VAD)
    d.speak(2)  # in flight
    assert d.sent_types == ["append"] * 10 + ["input_audio_buffer.clear"]
    d.provider("input_audio_buffer.cleared")
    assert d.shown == ["session.updated", CLEARED]
    d.forget().utter(10)
    assert d.sent_types == ["append"] * 10 + ["input_audio_buffer.commit", "response.create"]


def test_nothing_is_cleared_where_nothing_waits() -> None:
    d = drive(None)
    update(d, VAD)
    assert d.sent_types == []


def test_there_and_back_within_an_utterance_commits_nothing_of_it() -> None:
    d = drive(VAD)
    d.start()
    d.speak(10)
    update(d, None)
    update(d, VAD)
    d.speak(2)
    end(d, "turn_detection")
    assert d.sent_types == [*["append"] * 10, "input_audio_buffer.clear", *["append"] * 2, "input_audio_buffer.clear"]
    assert [kind for kind in d.shown if kind.startswith("input")] == [STARTED, STOPPED]


# --- the client ends an utterance


def test_a_commit_has_the_item_of_the_utterance_that_it_ends() -> None:
    d = drive(VAD)
    d.start()
    d.speak(10)
    end(d, "client_commit")
    d.client("input_audio_buffer.commit")
    d.utter()
    assert d.shown == [STARTED, STOPPED, COMMITTED, STARTED, STOPPED, COMMITTED]
    assert ids(d, STARTED) == ids(d, STOPPED) == ids(d, COMMITTED)
    assert len(set(ids(d, STARTED))) == 2
    assert d.sent_types.count("response.create") == 1


def test_a_commit_of_too_little_leaves_the_rest_to_the_next_utterance() -> None:
    d = drive(VAD)
    d.start()
    d.speak(4)
    end(d, "client_commit")
    d.client("input_audio_buffer.commit")
    assert d.error["code"] == "input_audio_buffer_commit_empty"
    d.forget().utter(3)
    assert ids(d, STARTED) == ids(d, COMMITTED)
    assert d.sent_types == ["append"] * 3 + ["input_audio_buffer.commit", "response.create"]


def test_a_clear_ends_the_utterance_and_commits_nothing() -> None:
    d = drive(VAD)
    d.start()
    d.speak(10)
    end(d, "client_clear")
    d.client("input_audio_buffer.clear")
    d.provider("input_audio_buffer.cleared")
    assert d.shown == [STARTED, STOPPED, CLEARED]
    d.speak(10)
    d.client("input_audio_buffer.commit")
    assert d.error["code"] == "input_audio_buffer_commit_empty"


def test_a_clear_in_an_utterance_that_media_has_not_ended_ends_it() -> None:
    d = drive(VAD)
    d.start()
    d.speak(10)
    d.client("input_audio_buffer.clear")
    end(d, "speech_end")
    assert d.shown == [STARTED, STOPPED]


# --- answers


def test_speech_does_not_stop_an_answer_where_the_session_says_so_and_its_own_answer_waits() -> None:
    d = drive({"type": "server_vad", "interrupt_response": False})
    d.utter()
    d.created()
    d.forget().utter()
    assert d.sent_types == ["append"] * 10 + ["input_audio_buffer.commit"]
    d.forget().done()
    assert d.sent_types == ["response.create"]


def test_speech_stops_an_answer_again_after_an_update() -> None:
    d = drive({"type": "server_vad", "interrupt_response": False})
    d.utter()
    d.created()
    update(d, VAD)
    d.forget().start()
    assert d.sent_types == ["response.cancel"]
