"""A session is shown when the provider has confirmed it, as it is in force; a refused one is seen, or ends the call."""

from dataclasses import replace

import pytest
from pydantic import JsonValue

from services.contracts.endings import EndReason
from services.upstream.connectors.openai import CAPABILITIES
from services.upstream.core.commands import EndSession, SendToProvider, SessionInForce
from services.upstream.core.session_updates import CONFIRM_TIMEOUT_S
from tests.upstream.drive import Drive, Json, core_of, object_of

KIND: Json = {"instructions": "Be kind."}
WITH_VOICE: Json = {
    "instructions": "Be kind.",
    "audio": {"input": {"transcription": {"model": "whisper-1"}}, "output": {"voice": "marin", "speed": 1.5}},
}
LIMITED = replace(CAPABILITIES, session_limit_s=480)
DUE_S = 361


def opened(session: Json | None = None, *, locked: tuple[str, ...] = ()) -> Drive:
    """Return a core that has sent its session to the provider."""
    drive = Drive(core_of(session, locked=locked))
    drive.record(drive.core.started(now=drive.now))
    drive.record(drive.core.provider_opened(now=drive.now))
    return drive


def shown(drive: Drive, kind: str = "session.created") -> Json:
    return object_of(drive.one(kind), "session")


def output_of(session: Json) -> Json:
    return object_of(object_of(session, "audio"), "output")


def setups(drive: Drive) -> list[Json]:
    """The sessions that were sent to the provider, in order."""
    sent = [c.event for c in drive.commands if isinstance(c, SendToProvider)]
    return [object_of(event, "session") for event in sent if event["type"] == "session.update"]


def refuse(drive: Drive, param: str | None = None, **more: JsonValue) -> None:
    """Answer the newest `session.update` by an error."""
    sent = [c.event for c in drive.commands if isinstance(c, SendToProvider) and c.event["type"] == "session.update"]
    error: Json = {"type": "invalid_request_error", "code": "invalid_value", "message": "No.", "param": param}
    drive.provider("error", error={**error, "event_id": sent[-1]["event_id"], **more})


def end_of(drive: Drive) -> EndSession:
    [end] = [c for c in drive.commands if isinstance(c, EndSession)]
    return end


# --- when it is confirmed


def test_the_session_is_shown_when_the_provider_has_confirmed_it() -> None:
    drive = opened(WITH_VOICE)
    assert drive.shown == []
    drive.now += 0.2
    drive.confirm()
    session = shown(drive)
    assert (session["id"], session["model"], session["instructions"]) == ("sess_ours", "gpt-realtime-2.1", "Be kind.")
    assert output_of(session)["voice"] == "marin"
    assert object_of(object_of(object_of(session, "audio"), "input"), "turn_detection")["type"] == "server_vad"
    [in_force] = [c for c in drive.commands if isinstance(c, SessionInForce)]
    assert in_force.seconds == pytest.approx(0.2)


def test_what_comes_before_the_session_waits_in_order_and_is_answered_behind_it() -> None:
    drive = opened()
    drive.client("session.update", session={"instructions": "Be brief."})
    drive.utter()
    drive.client("response.cancel", event_id="mine")
    drive.client("no.such.event", event_id="other")
    assert (drive.shown, drive.sent_types) == ([], ["session.update"])
    drive.confirm()
    assert drive.shown == [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "error",
    ]
    assert drive.error["event_id"] == "other"
    assert setups(drive)[1]["instructions"] == "Be brief."
    drive.confirm()
    assert shown(drive, "session.updated")["instructions"] == "Be brief."


def test_an_utterance_that_was_abandoned_before_the_session_leaves_no_sound() -> None:
    drive = opened()
    drive.start()
    drive.speak()
    drive.record(drive.core.utterance_abandoned(now=drive.now))
    drive.confirm()
    assert drive.sent_types[-1] == "input_audio_buffer.clear"
    assert "input_audio_buffer.committed" not in drive.shown


def test_the_usage_event_waits_for_the_session() -> None:
    drive = Drive(core_of(events=("usage",)))
    drive.record(drive.core.started(now=drive.now))
    drive.record(drive.core.provider_opened(now=drive.now))
    drive.advance(6)
    assert drive.shown == []
    drive.confirm()
    drive.advance(6)
    assert drive.shown == ["session.created", "hushgate.usage"]


def test_what_the_provider_has_otherwise_is_shown_as_the_provider_has_it() -> None:
    drive = opened(WITH_VOICE)
    drive.confirm(max_output_tokens=4096, audio={"output": {"voice": "alloy", "speed": 1.0}})
    session = shown(drive)
    assert (output_of(session)["voice"], output_of(session)["speed"]) == ("alloy", 1.0)
    assert session["max_output_tokens"] == 4096
    assert session["instructions"] == "Be kind."


@pytest.mark.parametrize("drop_event_id", [False, True])
@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("session.audio.output.speed", "No."),
        ("audio.output.speed", "No."),
        (None, "Invalid value: 'session.audio.output.speed' is too fast."),
    ],
)
def test_an_optional_field_that_is_refused_is_left_out_and_the_client_is_told(
    param: str | None, message: str, *, drop_event_id: bool
) -> None:
    drive = opened(WITH_VOICE)
    refuse(drive, param, message=message, **({"event_id": None} if drop_event_id else {}))
    assert drive.shown == []
    first, second = setups(drive)
    assert output_of(first)["speed"] == 1.5
    assert "speed" not in output_of(second)
    assert second["instructions"] == "Be kind."
    drive.confirm()
    assert drive.shown == ["session.created", "error"]
    assert output_of(shown(drive))["speed"] == 1.0
    assert (drive.error["param"], drive.error["message"]) == ("session.audio.output.speed", message)
    assert drive.faults == ["error_event", "field_refused"]


def test_each_optional_field_is_left_out_once_at_most() -> None:
    drive = opened(WITH_VOICE)
    for param in ("audio.output.speed", "audio.output.voice", "audio.input.transcription.model"):
        refuse(drive, f"session.{param}")
    drive.confirm()
    assert [object_of(e.event, "error")["param"] for e in drive.named("error")] == [
        "session.audio.output.speed",
        "session.audio.output.voice",
        "session.audio.input.transcription",
    ]
    drive = opened(WITH_VOICE)
    for _ in range(2):
        refuse(drive, "session.audio.output.speed")
    assert end_of(drive).reason is EndReason.PROVIDER_REFUSED


# --- when it is refused


@pytest.mark.parametrize(
    ("session", "locked", "param"),
    [
        (KIND, (), None),
        (KIND, (), "session.instructions"),
        (KIND, (), "session.temperature"),
        (KIND, (), "session.audio.output.voice"),  # it was not sent
        (WITH_VOICE, ("audio",), "session.audio.output.voice"),
        (WITH_VOICE, ("voice",), "session.audio.output.voice"),
        ({"tools": [{"type": "function", "name": "look"}]}, (), "session.tools[0].name"),
    ],
)
def test_a_session_that_is_refused_ends_the_call_and_the_client_reads_why(
    session: Json, locked: tuple[str, ...], param: str | None
) -> None:
    drive = opened(session, locked=locked)
    refuse(drive, param, message="No: sess_PROVIDERSOWN0000000000.")
    assert end_of(drive).reason is EndReason.PROVIDER_REFUSED
    assert drive.shown == ["error"]
    assert (drive.error["code"], drive.error["param"]) == ("session_refused", param)
    assert str(drive.error["message"]).startswith("No: ")
    assert "PROVIDERSOWN" not in str(drive.error["message"])
    assert drive.faults == ["error_event", "session_refused"]


def test_a_session_that_is_not_confirmed_in_time_ends_the_call() -> None:
    drive = opened(KIND)
    drive.advance(CONFIRM_TIMEOUT_S - 0.1)
    assert not any(isinstance(c, EndSession) for c in drive.commands)
    drive.advance(0.2)
    drive.advance(1)
    assert end_of(drive).reason is EndReason.PROVIDER_ERROR
    assert drive.error["code"] == "session_refused"
    assert drive.faults == ["unconfirmed", "session_refused"]


def test_a_provider_that_leaves_the_instructions_out_never_gets_a_word_of_the_call() -> None:
    drive = opened(KIND)
    drive.utter()
    drive.confirm(instructions="Another's.")
    assert drive.shown == []
    drive.advance(CONFIRM_TIMEOUT_S)
    assert end_of(drive).reason is EndReason.PROVIDER_REFUSED
    assert drive.error["param"] == "session.instructions"
    assert drive.sent_types == ["session.update"]


def test_a_report_from_before_the_session_is_not_taken_for_its_confirmation() -> None:
    drive = opened(KIND)
    drive.confirm(instructions="")
    drive.confirm()
    assert drive.shown == ["session.created"]


def test_a_refusal_behind_a_report_that_seemed_to_confirm_ends_the_call() -> None:
    drive = opened(KIND)
    drive.confirm()
    drive.forget()
    error: Json = {"type": "invalid_request_error", "code": "no", "message": "No.", "event_id": None}
    drive.provider("error", error=error)
    assert drive.shown == ["error"], "it may be about anything"
    drive = opened(KIND)
    drive.confirm()
    refuse(drive, "session.instructions")
    assert end_of(drive).reason is EndReason.PROVIDER_REFUSED


def test_a_locked_field_that_the_provider_cannot_fulfil_ends_the_call() -> None:
    reduced = replace(CAPABILITIES, tools=False)
    drive = Drive(core_of({"tools": [{"type": "function", "name": "a"}]}, locked=("tools",), capabilities=reduced))
    drive.record(drive.core.started(now=drive.now))
    assert end_of(drive).reason is EndReason.PROVIDER_REFUSED
    assert (drive.error["code"], drive.error["param"]) == ("unsupported_by_provider", "session.tools")
    assert drive.missing == ["tools"]


def test_a_locked_turn_detection_that_the_operator_does_not_allow_ends_the_call() -> None:
    silence: Json = {"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 20}}}}
    drive = Drive(core_of(silence, locked=("audio",)))
    drive.record(drive.core.started(now=drive.now))
    assert end_of(drive).reason is EndReason.PROVIDER_REFUSED
    assert drive.error["param"] == "session.audio.input.turn_detection.silence_duration_ms"


def test_a_locked_field_that_the_provider_has_otherwise_ends_the_call() -> None:
    drive = opened(WITH_VOICE, locked=("audio",))
    drive.confirm(audio={"output": {"voice": "marin", "speed": 1.0}})
    drive.advance(CONFIRM_TIMEOUT_S)
    assert drive.error["param"] == "session.audio.output.speed"


# --- after a reconnect


def reconnected(session: Json) -> Drive:
    """Return a core whose second connection is open and unconfirmed; what was before is forgotten."""
    drive = Drive(core_of(session, capabilities=LIMITED)).ready()
    drive.advance(DUE_S)
    drive.forget().record(drive.core.provider_opened(now=drive.now))
    return drive


def test_a_new_connection_gets_nothing_before_it_has_confirmed_the_session() -> None:
    drive = reconnected(KIND)
    drive.client("conversation.item.create", item={"type": "message", "role": "user", "content": []})
    drive.utter()
    assert drive.sent_types == ["session.update"]
    drive.confirm()
    assert drive.sent_types[1] == "conversation.item.create"
    assert "session.updated" not in drive.shown


def test_a_new_connection_that_refuses_the_session_ends_the_call() -> None:
    drive = reconnected(KIND)
    refuse(drive, "session.instructions")
    assert end_of(drive).reason is EndReason.PROVIDER_REFUSED
    assert drive.error["code"] == "session_refused"


def test_a_new_connection_that_has_a_field_otherwise_is_shown_as_it_is() -> None:
    drive = reconnected(WITH_VOICE)
    drive.confirm(audio={"output": {"voice": "marin", "speed": 1.0}})
    assert output_of(shown(drive, "session.updated"))["speed"] == 1.0
    drive = reconnected(WITH_VOICE)
    refuse(drive, "session.audio.output.voice")
    drive.confirm()
    assert drive.shown == ["session.updated", "error"]
    assert "voice" not in output_of(shown(drive, "session.updated"))


def test_a_connection_is_not_replaced_while_an_update_is_unconfirmed() -> None:
    drive = Drive(core_of(capabilities=LIMITED)).ready()
    drive.advance(DUE_S - 2)
    drive.client("session.update", session=KIND)
    drive.advance(3)
    assert "Reconnect" not in [type(c).__name__ for c in drive.commands]
    drive.confirm()
    drive.advance(1)
    assert "Reconnect" in [type(c).__name__ for c in drive.commands]
