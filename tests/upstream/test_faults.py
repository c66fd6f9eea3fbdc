"""Errors between the core and a provider, and which of them the client gets."""

import pytest
from pydantic import JsonValue

from services.contracts.endings import EndReason
from services.upstream.core.client_requests import CONFIRMATION_S
from services.upstream.core.commands import EndSession, SendToProvider
from services.upstream.core.item_events import MAX_TRUNCATING
from tests.upstream.drive import Drive, Json, between_sessions, object_of

MESSAGE: Json = {"type": "message", "role": "user", "content": []}
ACTIVE = "conversation_already_has_active_response"


def fail(drive: Drive, *, of: str | None = None, code: str | None = "oops", **more: JsonValue) -> None:
    """Send an error of the provider about the newest event of type ``of``."""
    event_id = drive.sent(of)["event_id"] if of else None
    error: Json = {"type": "invalid_request_error", "code": code, "message": "no", "event_id": event_id, **more}
    drive.forget().provider("error", error=error)


def test_an_error_names_the_clients_own_event() -> None:
    drive = Drive().ready()
    drive.client("session.update", event_id="mine", session={"tool_choice": "none"})
    fail(drive, of="session.update", param="session.tool_choice")
    assert drive.error == {
        "type": "invalid_request_error",
        "code": "oops",
        "message": "no",
        "param": "session.tool_choice",
        "event_id": "mine",
    }
    assert drive.events[0].item_id is None


def test_an_error_about_nothing_is_shown_too() -> None:
    drive = Drive().ready()
    fail(drive, code=None)
    assert (drive.error["code"], drive.error["event_id"], drive.faults) == (None, None, ["error_event"])


def test_an_error_shows_our_ids() -> None:
    drive = Drive().ready()
    ours = drive.answer()
    drive.forget().provider("error", error={"message": "Item 'item_P1' is gone"})
    assert drive.error["message"] == f"Item '{ours}' is gone"


@pytest.mark.parametrize("code", ["response_cancel_not_active", ACTIVE])
def test_races_with_the_end_of_a_response_are_kept_quiet(code: str) -> None:
    drive = Drive().ready()
    drive.created()
    drive.start()
    fail(drive, of="response.cancel", code=code)
    assert drive.shown == []


@pytest.mark.parametrize("kind", ["conversation.item.truncate", "response.cancel"])
def test_what_the_client_did_not_ask_for_does_not_fail_for_it(kind: str) -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.sound(1000)
    drive.report(drive.items[0], ms=100, cut=True)
    fail(drive, of=kind)
    assert drive.shown == []


def test_a_truncation_of_the_client_fails_for_it() -> None:
    drive = Drive().ready()
    item = drive.answer()
    drive.client("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=1, event_id="mine")
    fail(drive, of="conversation.item.truncate")
    assert drive.error["event_id"] == "mine"


def test_a_refused_commit_leaves_the_next_utterance_its_item() -> None:
    drive = Drive().ready()
    drive.utter()
    fail(drive, of="input_audio_buffer.commit", code="input_audio_buffer_commit_empty")
    drive.forget().utter()
    ours = drive.one("input_audio_buffer.speech_started")["item_id"]
    drive.provider("input_audio_buffer.committed", item_id="item_PU")
    drive.provider("conversation.item.input_audio_transcription.delta", item_id="item_PU", delta="hi")
    assert drive.one("conversation.item.input_audio_transcription.delta")["item_id"] == ours


def test_a_refused_commit_that_was_none_changes_nothing() -> None:
    drive = Drive().ready()
    drive.utter()
    drive.provider("input_audio_buffer.committed", item_id="item_PU")
    fail(drive, of="input_audio_buffer.commit")
    assert drive.shown == ["error"]


def test_a_refused_item_is_not_waited_for() -> None:
    drive = Drive().ready()
    drive.client("conversation.item.create", item={**MESSAGE, "id": "mine"}, event_id="e1")
    fail(drive, of="conversation.item.create")
    assert drive.error["event_id"] == "e1"
    drive.forget().provider("conversation.item.added", item={**MESSAGE, "id": "item_P7"})
    assert object_of(drive.one("conversation.item.added"), "item")["id"] != "mine"


def test_a_response_that_was_refused_because_one_is_active_is_asked_for_again() -> None:
    drive = Drive().ready()
    drive.utter()
    fail(drive, of="response.create", code=ACTIVE)
    assert drive.shown == []
    drive.advance(0.1)
    assert drive.sent_types == []
    drive.advance(0.2)
    assert drive.sent_types == ["response.create"]


def test_a_refusal_without_a_name_is_the_responses() -> None:
    drive = Drive().ready()
    drive.utter()
    fail(drive, code=ACTIVE)
    drive.advance(0.3)
    assert drive.sent_types == ["response.create"]


def test_the_end_of_the_unknown_response_is_soon_enough() -> None:
    drive = Drive().ready()
    drive.utter()
    fail(drive, of="response.create", code=ACTIVE)
    drive.done("resp_unknown")
    assert drive.sent_types == ["response.create"]


def test_a_response_is_not_asked_for_for_ever() -> None:
    drive = Drive().ready()
    drive.utter()
    for _ in range(8):
        fail(drive, of="response.create", code=ACTIVE)
        drive.advance(0.3)
    fail(drive, of="response.create", code=ACTIVE)
    drive.advance(0.3)
    assert drive.sent_types == []


def test_a_response_that_is_refused_for_good_fails_for_the_client() -> None:
    drive = Drive().ready()
    drive.client("response.create", event_id="mine")
    fail(drive, of="response.create")
    assert drive.error["event_id"] == "mine"
    drive.client("response.create")
    assert drive.sent_types == ["response.create"]


def test_a_response_that_never_begins_is_given_up() -> None:
    drive = Drive().ready()
    drive.client("response.create")
    drive.advance(14)
    drive.forget().advance(2)
    assert drive.faults == ["response_timeout"]
    drive.client("response.create")
    assert drive.sent_types == ["response.create"]


def test_a_lost_provider_ends_the_call_with_a_last_reading() -> None:
    drive = Drive().ready()
    commands = drive.core.provider_lost(EndReason.PROVIDER_ERROR, "closed", now=drive.now)
    assert [type(c).__name__ for c in commands] == ["BookUsage", "EndSession"]
    assert commands[-1] == EndSession(EndReason.PROVIDER_ERROR, "closed")


def truncations(drive: Drive) -> int:
    """Ask for one more truncation than may be unconfirmed, all of one item; return how many are sent."""
    item = drive.answer(ms=1000)
    drive.report(item, ms=1000)
    drive.forget()
    for number in range(MAX_TRUNCATING + 1):
        asked: Json = {"item_id": item, "content_index": 0, "audio_end_ms": number, "event_id": f"e{number}"}
        drive.client("conversation.item.truncate", **asked)
    return drive.sent_types.count("conversation.item.truncate")


def test_a_truncation_waits_while_many_are_unconfirmed_and_each_is_answered() -> None:
    drive = Drive().ready()
    assert truncations(drive) == MAX_TRUNCATING
    for number in range(MAX_TRUNCATING + 1):
        drive.provider("conversation.item.truncated", item_id="item_P1", content_index=0, audio_end_ms=number)
    ends = [e.event["audio_end_ms"] for e in drive.named("conversation.item.truncated")]
    assert ends == [*range(MAX_TRUNCATING + 1)]
    assert drive.shown == ["conversation.item.truncated"] * (MAX_TRUNCATING + 1)


def test_a_truncation_waits_until_another_is_refused() -> None:
    drive = Drive().ready()
    assert truncations(drive) == MAX_TRUNCATING
    sent = [c.event for c in drive.commands if isinstance(c, SendToProvider)]
    drive.provider("error", error={"message": "No.", "code": "invalid_value", "event_id": sent[0]["event_id"]})
    assert drive.sent_types.count("conversation.item.truncate") == MAX_TRUNCATING + 1
    assert drive.error["event_id"] == "e0"


def test_a_truncation_that_waits_for_a_silent_provider_is_given_up() -> None:
    drive = Drive().ready()
    truncations(drive)
    drive.advance(CONFIRMATION_S)
    assert (drive.error["code"], drive.error["event_id"]) == ("too_many_events", f"e{MAX_TRUNCATING}")


def test_a_refused_truncation_of_a_former_session_changes_nothing() -> None:
    drive = between_sessions()
    drive.open()
    item = drive.answer(ms=1000)
    drive.report(item, ms=1000)
    drive.client("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=1, event_id="mine")
    event_id = drive.sent("conversation.item.truncate")["event_id"]
    drive.advance(1000)
    drive.provider("error", error={"message": "No.", "code": "invalid_value", "event_id": event_id})
    assert drive.error["event_id"] == "mine"
