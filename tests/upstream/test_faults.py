"""Errors between the core and a provider, and which of them the client gets."""

import pytest
from pydantic import JsonValue

from services.contracts.endings import EndReason
from services.contracts.usage import Meter
from services.upstream.core import command_buffer
from services.upstream.core.client_requests import CONFIRMATION_S
from services.upstream.core.commands import AppendAudio, EndSession, SendToProvider
from services.upstream.core.ids import MAX_IDS, IdMap
from services.upstream.core.item_events import MAX_TRUNCATING
from services.upstream.core.item_registry import MAX_ITEMS, ItemRegistry
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


def test_what_is_said_before_the_provider_is_there_follows_the_session() -> None:
    drive = Drive()
    drive.record(drive.core.started(now=drive.now))
    drive.utter(frames=6)
    drive.client("conversation.item.create", item=MESSAGE)
    assert drive.sent_types == []
    drive.open()
    assert drive.sent_types == [
        "session.update",
        *["append"] * 6,
        "input_audio_buffer.commit",
        "response.create",
        "conversation.item.create",
    ]


def test_a_provider_that_is_too_slow_loses_the_oldest_sound_and_is_counted() -> None:
    drive = Drive()
    drive.start()
    frames = [bytes([number]) * 640 for number in range(103)]
    for frame in frames:
        drive.record(drive.core.audio_up(frame, now=drive.now))
    drive.stop()
    assert drive.faults == ["backlog"] * 3
    drive.forget().open()
    assert [c.pcm for c in drive.commands if isinstance(c, AppendAudio)] == frames[3:]
    assert drive.sent_types[-2:] == ["input_audio_buffer.commit", "response.create"]
    drive.advance(60)
    drive.record(drive.core.ended(now=drive.now))
    assert drive.booked[-1].meters[Meter.AUDIO_SENT_MS] == 2000


def test_no_more_events_are_taken_before_the_session_than_are_held() -> None:
    drive = Drive()
    for _ in range(command_buffer.MAX_HELD_EVENTS):
        assert drive.core.takes_client_events
        drive.client("conversation.item.create", item=MESSAGE)
    assert not drive.core.takes_client_events
    drive.open()
    assert drive.sent_types.count("conversation.item.create") == command_buffer.MAX_HELD_EVENTS
    assert drive.core.takes_client_events
    drive = Drive()
    drive.client("conversation.item.create", item={**MESSAGE, "id": "x" * command_buffer.MAX_HELD_EVENT_BYTES})
    assert not drive.core.takes_client_events
    assert not between_sessions().core.takes_client_events


def test_no_more_events_are_taken_while_the_first_update_is_not_confirmed_than_are_held() -> None:
    drive = Drive()
    drive.record(drive.core.started(now=drive.now))
    drive.record(drive.core.provider_opened(now=drive.now))
    for _ in range(command_buffer.MAX_HELD_EVENTS):
        assert drive.core.takes_client_events
        drive.client("conversation.item.create", item=MESSAGE)
    assert not drive.core.takes_client_events


def test_between_two_sessions_the_newest_events_are_lost_and_counted() -> None:
    drive = between_sessions()
    for _ in range(command_buffer.MAX_HELD_EVENTS + 1):
        drive.client("conversation.item.create", item=MESSAGE)
    assert drive.faults == ["backlog"]
    events: dict[str, Json] = {
        "input_audio_buffer.clear": {},
        "response.create": {},
        "conversation.item.create": {"item": MESSAGE},
    }
    for kind, given in events.items():
        drive.forget().client(kind, **given)
        assert drive.faults == ["backlog"], kind
    drive.client("input_audio_buffer.append", audio="AAAAAA==")
    drive.utter()
    assert drive.faults == ["backlog"] * 3
    assert "input_audio_buffer.committed" not in drive.shown


def test_between_two_sessions_the_oldest_sound_is_lost_and_counted() -> None:
    drive = between_sessions()
    drive.start()
    drive.speak(103)
    assert drive.faults == ["backlog"] * 3


def test_a_truncation_that_cannot_be_sent_is_not_confirmed() -> None:
    drive = between_sessions()
    drive.created()
    drive.message()
    drive.sound(1000)
    item = drive.items[0]
    for _ in range(command_buffer.MAX_HELD_EVENTS):
        drive.client("conversation.item.create", item=MESSAGE)
    drive.client("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=1)
    drive.forget().provider("conversation.item.truncated", item_id="item_P1", content_index=0, audio_end_ms=1)
    assert drive.shown == []


def test_many_events_are_not_remembered_for_ever() -> None:
    drive = Drive().ready()
    first = None
    for _ in range(5000):
        drive.forget().client("conversation.item.create", item=MESSAGE, event_id="mine")
        first = first or drive.sent("conversation.item.create")["event_id"]
    drive.forget().provider("error", error={"message": "late", "event_id": first})
    assert drive.error["event_id"] is None


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


def test_ids_are_forgotten_oldest_first() -> None:
    ids = IdMap()
    first = ids.ours("item", "theirs0")
    for number in range(1, MAX_IDS + 1):
        ids.ours("item", f"theirs{number}")
    assert (ids.known("item", "theirs0"), ids.theirs("item", first)) == (None, None)
    assert ids.known("item", "theirs1") is not None


def test_an_id_that_has_another_counterpart_since_is_kept() -> None:
    ids = IdMap()
    ids.bind("item", ours="mine", theirs="theirs0")
    for number in range(MAX_IDS - 1):
        ids.ours("item", f"other{number}")
    ids.bind("item", ours="mine", theirs="theirs1")
    assert ids.known("item", "theirs0") is None
    assert ids.theirs("item", "mine") == "theirs1"
    ids.forget("item", "mine")
    ids.forget("item", "mine")
    assert (ids.known("item", "theirs1"), ids.theirs("item", "mine")) == (None, None)


def test_items_are_forgotten_oldest_first() -> None:
    conversation = ItemRegistry()
    for number in range(MAX_ITEMS + 1):
        conversation.append(f"item_{number}")
    assert "item_0" not in conversation
    conversation.set_samples("item_0", 5)
    assert conversation.samples("item_0") is None


def test_utterances_are_forgotten_oldest_first() -> None:
    drive = Drive().ready()
    for number in range(260):
        drive.utter(frames=5)
        drive.provider("input_audio_buffer.committed", item_id=f"item_PU{number}")
    drive.forget()
    kind = "conversation.item.input_audio_transcription.completed"
    for number in (0, 259):
        drive.provider(kind, item_id=f"item_PU{number}", transcript="x")
    seconds = [object_of(e.event, "usage")["seconds"] for e in drive.named(kind)]
    assert seconds == [0.0, 0.1]
