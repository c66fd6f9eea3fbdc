"""Updates of the client are in force, and answered, when the provider confirms them, in their order."""

from dataclasses import replace

from pydantic import JsonValue

from services.upstream.connectors.openai import CAPABILITIES
from services.upstream.core.command_buffer import MAX_HELD_EVENT_BYTES, MAX_HELD_EVENTS
from services.upstream.core.session_updates import MAX_PENDING_UPDATES, UPDATE_TIMEOUT_S
from tests.upstream.drive import Drive, Json, core_of, object_of
from tests.upstream.updates import refuse, report, sent_ids

PUSH_TO_TALK: Json = {"audio": {"input": {"turn_detection": None}}}
LIMITED = replace(CAPABILITIES, session_limit_s=480)


def says(text: str) -> Json:
    return {"instructions": text}


def updated(drive: Drive) -> list[JsonValue]:
    """The instructions in each `session.updated` so far."""
    return [object_of(e.event, "session")["instructions"] for e in drive.named("session.updated")]


def test_an_update_is_answered_when_the_provider_has_confirmed_it() -> None:
    drive = Drive().ready()
    drive.client("session.update", session=says("One."))
    assert drive.shown == []
    drive.confirm()
    assert updated(drive) == ["One."]


def test_an_update_that_the_provider_refuses_leaves_the_session_and_is_answered_by_its_error() -> None:
    drive = Drive(core_of(says("First."))).ready()
    drive.client("session.update", event_id="mine", session=says("One."))
    refuse(drive, *sent_ids(drive))
    assert drive.shown == ["error"]
    assert (drive.error["event_id"], drive.error["param"]) == ("mine", "session.instructions")
    assert drive.faults == ["error_event", "update_refused"]
    drive.client("session.update", session={"tool_choice": "none"})
    drive.confirm()
    assert updated(drive) == ["First."]


def test_a_refused_update_leaves_those_around_it() -> None:
    drive = Drive().ready()
    for text in ("One.", "Two.", "Three."):
        drive.client("session.update", event_id=text, session=says(text))
    report(drive, instructions="One.")
    refuse(drive, sent_ids(drive)[1])
    report(drive, instructions="Three.")
    assert updated(drive) == ["One.", "Three."]
    assert drive.error["event_id"] == "Two."


def test_an_error_that_names_no_event_is_about_the_oldest_update_if_it_is_about_the_session() -> None:
    drive = Drive().ready()
    drive.client("session.update", event_id="mine", session=says("One."))
    refuse(drive, None, param=None)
    report(drive, instructions="One.")
    assert updated(drive) == ["One."]
    drive.forget().client("session.update", event_id="mine", session=says("Two."))
    refuse(drive, None)
    assert drive.error["event_id"] == "mine"
    report(drive, instructions="One.")
    assert updated(drive) == []


def test_what_only_the_gateway_honours_needs_no_answer_but_keeps_its_place() -> None:
    drive = Drive().ready()
    drive.client("session.update", session=PUSH_TO_TALK)
    assert drive.shown == ["session.updated"]
    drive.forget().client("session.update", session=says("One."))
    drive.client("session.update", session={"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}})
    assert drive.shown == []
    drive.utter()
    assert drive.shown == [], "it is still push to talk"
    drive.confirm()
    assert drive.shown == ["session.updated"] * 2
    first, second = (object_of(object_of(e.event, "session"), "audio") for e in drive.events)
    assert object_of(first, "input")["turn_detection"] is None
    assert object_of(object_of(second, "input"), "turn_detection")["type"] == "semantic_vad"


def test_a_report_that_nobody_asked_for_confirms_nothing() -> None:
    drive = Drive(core_of(says("First."))).ready()
    report(drive, instructions="First.")
    assert drive.shown == []
    drive.client("session.update", session=says("One."))
    report(drive, instructions="First.")
    assert drive.shown == []
    report(drive, instructions="One.")
    assert updated(drive) == ["One."]


def test_a_report_that_shows_a_later_update_confirms_those_before_it() -> None:
    drive = Drive().ready()
    drive.client("session.update", session=says("One."))
    drive.client("session.update", session=says("Two."))
    report(drive, instructions="Two.")
    report(drive, instructions="Two.")
    assert updated(drive) == ["One.", "Two."]


def test_what_the_provider_has_otherwise_is_shown_until_the_client_sets_it_again() -> None:
    drive = Drive().ready()
    drive.client("session.update", session={"audio": {"output": {"speed": 1.5}}})
    report(drive, audio={"output": {"speed": 1.0, "voice": "alloy"}})
    drive.client("session.update", session=says("One."))
    report(drive, instructions="One.")
    drive.client("session.update", session={"audio": {"output": {"speed": 1.2}}})
    report(drive)
    outputs = [object_of(object_of(object_of(e.event, "session"), "audio"), "output") for e in drive.events]
    assert [(output["speed"], output["voice"]) for output in outputs] == [
        (1.0, "alloy"),
        (1.0, "alloy"),
        (1.2, "alloy"),
    ]


def test_an_update_that_is_not_confirmed_in_time_is_answered_by_an_error() -> None:
    drive = Drive(core_of(says("First."))).ready()
    drive.client("session.update", event_id="mine", session=says("One."))
    drive.client("session.update", session=PUSH_TO_TALK)
    drive.advance(UPDATE_TIMEOUT_S - 0.1)
    assert drive.shown == []
    drive.advance(0.2)
    drive.advance(1)
    assert drive.shown == ["error", "session.updated"]
    assert (drive.error["code"], drive.error["event_id"]) == ("update_unconfirmed", "mine")
    assert updated(drive) == ["First."]
    assert drive.faults == ["unconfirmed"]
    report(drive, instructions="One.")
    assert updated(drive) == ["First.", "One."], "late, and in force all the same"


def test_an_update_that_was_never_confirmed_does_not_stop_the_next() -> None:
    drive = Drive().ready()
    drive.client("session.update", session=says("One."))
    drive.advance(UPDATE_TIMEOUT_S)
    drive.client("session.update", session={"tool_choice": "none"})
    report(drive, instructions="", tool_choice="none")
    assert updated(drive) == [""]


def burst(drive: Drive, number: int) -> None:
    for n in range(number):
        assert drive.core.takes_client_events
        drive.client("session.update", event_id=f"e{n}", session=says(str(n)))


def test_updates_of_a_burst_wait_in_order_and_each_is_answered() -> None:
    drive = Drive().ready()
    burst(drive, 60)
    drive.client("conversation.item.create", item={"type": "message", "role": "user", "content": []})
    assert drive.sent_types == ["session.update"] * MAX_PENDING_UPDATES
    for n in range(60):
        if n == 30:
            refuse(drive, sent_ids(drive)[n])
        else:
            report(drive, instructions=str(n))
    assert updated(drive) == [str(n) for n in range(60) if n != 30]
    assert drive.error["event_id"] == "e30"
    assert drive.sent_types == [*["session.update"] * 60, "conversation.item.create"]


def test_no_further_event_is_taken_while_many_wait_and_a_cancellation_passes_those() -> None:
    drive = Drive().ready()
    drive.client("response.create")
    drive.created()
    burst(drive, MAX_PENDING_UPDATES + MAX_HELD_EVENTS)
    assert not drive.core.takes_client_events
    drive.forget().client("response.cancel")
    assert drive.sent_types == ["response.cancel"]
    report(drive, instructions="0")
    assert drive.core.takes_client_events
    drive.client("session.update", session=says("x" * MAX_HELD_EVENT_BYTES))
    assert not drive.core.takes_client_events


def test_updates_of_a_burst_that_the_provider_never_answers_are_each_told_so() -> None:
    drive = Drive().ready()
    burst(drive, 60)
    drive.client("response.create")
    for _ in range(5):
        drive.advance(UPDATE_TIMEOUT_S)
    errors = [object_of(e.event, "error") for e in drive.named("error")]
    assert [(e["code"], e["event_id"]) for e in errors] == [("update_unconfirmed", f"e{n}") for n in range(60)]
    assert drive.sent("response.create")
    report(drive, instructions="20")
    assert updated(drive) == [], "only the newest that are late may still be confirmed"
    report(drive, instructions="50")
    assert updated(drive) == [str(n) for n in range(60 - MAX_PENDING_UPDATES, 51)]


def test_what_waits_behind_updates_is_not_sent_between_two_connections() -> None:
    drive = Drive(core_of(says("First."), capabilities=LIMITED)).ready()
    burst(drive, MAX_PENDING_UPDATES + 1)
    drive.advance(474)  # all are late, and the connection is replaced
    drive.forget()
    drive.advance(0.1)
    assert drive.sent_types == []
    drive.record(drive.core.provider_opened(now=drive.now))
    report(drive, instructions="First.")
    assert drive.sent_types[-1] == "session.update"
    report(drive, instructions=str(MAX_PENDING_UPDATES))
    assert updated(drive) == [str(MAX_PENDING_UPDATES)]


def test_an_update_between_two_connections_is_sent_behind_the_new_session() -> None:
    drive = Drive(core_of(says("First."), capabilities=LIMITED)).ready()
    drive.client("session.update", session=says("Late."))
    drive.advance(UPDATE_TIMEOUT_S)
    drive.advance(400)
    drive.forget().client("session.update", session=says("One."))
    drive.advance(4)
    drive.record(drive.core.provider_opened(now=drive.now))
    drive.advance(4)
    report(drive, instructions="First.")
    drive.advance(4)
    assert (drive.shown, drive.sent_types) == ([], ["session.update"] * 2)
    report(drive, instructions="One.")
    assert updated(drive) == ["One."]


def test_an_update_that_cannot_be_held_is_answered_by_an_error() -> None:
    drive = Drive(core_of(capabilities=LIMITED)).ready()
    drive.advance(400)
    for _ in range(256):
        drive.client("conversation.item.create", item={"type": "message", "role": "user", "content": []})
    drive.client("session.update", event_id="mine", session=says("One."))
    assert (drive.error["code"], drive.error["event_id"]) == ("too_many_events", "mine")
