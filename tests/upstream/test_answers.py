"""Responses other than complete speech: text, MCP, incomplete and failed ones."""

import pytest
from pydantic import JsonValue

from services.contracts.frame import Flag
from tests.upstream.drive import Drive, Json, object_of, visible


def test_text_waits_for_nothing() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message(part="text")
    drive.part("response.output_text.delta", delta="Good ")
    drive.part("response.output_text.delta", delta="morning")
    drive.part("response.output_text.done", text="Good morning.")
    drive.part("response.content_part.done", part={"type": "text", "text": "Good morning."})
    drive.provider("response.output_item.done", response_id="resp_P1", output_index=0, item={"id": "item_P1"})
    drive.done()
    assert {(e.item_id, e.flags) for e in drive.events} == {(None, Flag(0))}
    assert drive.one("response.output_text.done")["text"] == "Good morning."
    assert drive.audio == []


@pytest.mark.parametrize("kind", ["audio", "text"])
def test_words_that_come_only_at_the_end_are_shown(kind: str) -> None:
    drive = Drive().ready()
    drive.created()
    drive.message(part=kind)
    name, field = ("output_audio_transcript", "transcript") if kind == "audio" else ("output_text", "text")
    drive.part(f"response.{name}.done", **{field: "Good"})
    assert drive.one(f"response.{name}.delta")["delta"] == "Good"


def test_an_answer_that_its_provider_never_ends_is_ended() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.words("Half an")
    drive.sound(500)
    reason: Json = {"type": "incomplete", "reason": "max_output_tokens", "nonsense": 1}
    drive.done(status="incomplete", status_details=reason)
    response = object_of(drive.one("response.done"), "response")
    assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert object_of(drive.one("response.output_item.done"), "item")["status"] == "incomplete"
    assert drive.audio[-1].end


def test_a_failed_response_says_why_without_the_providers_ids() -> None:
    drive = Drive().ready()
    drive.created()
    error: Json = {
        "type": "server_error",
        "code": "oops",
        "message": "resp_P1 failed, see item_reference and item_X999",
    }
    drive.done(status="failed", status_details={"type": "failed", "error": error})
    response = object_of(drive.one("response.done"), "response")
    shown = object_of(object_of(response, "status_details"), "error")
    assert shown["message"] == f"{response['id']} failed, see item_reference and (unknown id)"
    assert drive.faults == ["response_failed"]


def test_an_unknown_status_counts_as_completed() -> None:
    drive = Drive().ready()
    drive.created()
    drive.done(status="splendid")
    assert object_of(drive.one("response.done"), "response")["status"] == "completed"


def test_mcp_events_are_passed_on_with_our_ids() -> None:
    drive = Drive().ready()
    drive.created()
    call: Json = {"id": "item_PM", "type": "mcp_call", "server_label": "s", "name": "n", "arguments": "{}"}
    drive.provider("response.output_item.added", response_id="resp_P1", output_index=0, item=call)
    drive.provider("conversation.item.added", item=call)
    of_call: Json = {"response_id": "resp_P1", "item_id": "item_PM", "output_index": 0}
    drive.provider("response.mcp_call_arguments.done", **of_call, arguments="{}")
    drive.provider("response.mcp_call.in_progress", item_id="item_PM", output_index=0)
    final: Json = {**call, "output": "42"}
    drive.provider("conversation.item.done", item=final)
    drive.provider("response.output_item.done", response_id="resp_P1", output_index=0, item=final)
    ours = drive.items[0]
    assert drive.one("response.mcp_call_arguments.done")["item_id"] == ours
    assert drive.one("response.mcp_call.in_progress")["item_id"] == ours
    assert object_of(drive.one("conversation.item.done"), "item")["output"] == "42"


def test_an_approval_finds_the_providers_request() -> None:
    drive = Drive().ready()
    drive.created()
    asked: Json = {"id": "item_PA", "type": "mcp_approval_request", "server_label": "s", "name": "n", "arguments": "{}"}
    drive.provider("response.output_item.added", response_id="resp_P1", output_index=0, item=asked)
    reply: Json = {"type": "mcp_approval_response", "approval_request_id": drive.items[0], "approve": True}
    drive.client("conversation.item.create", item=reply)
    sent = object_of(drive.sent("conversation.item.create"), "item")
    assert sent["approval_request_id"] == "item_PA"
    drive.forget().provider("conversation.item.added", item={**sent, "id": str(sent["id"])})
    assert "item_PA" not in str(drive.one("conversation.item.added"))


def test_rate_limits_are_shown_at_once_and_sanely() -> None:
    drive = Drive().ready()
    limits: JsonValue = [
        {"name": "tokens", "limit": 10, "remaining": -1, "reset_seconds": "soon"},
        {"name": "requests", "limit": 10, "remaining": 9, "reset_seconds": 0.5},
        {"name": "patience", "limit": 1},
        "junk",
    ]
    drive.provider("rate_limits.updated", rate_limits=limits)
    assert drive.one("rate_limits.updated")["rate_limits"] == [
        {"name": "tokens", "limit": 10, "remaining": 0, "reset_seconds": 0.0},
        {"name": "requests", "limit": 10, "remaining": 9, "reset_seconds": 0.5},
    ]
    assert drive.events[0].item_id is None


def test_two_sounding_items_of_a_response_end_with_the_cut_of_both() -> None:
    drive = Drive().ready()
    drive.created()
    for item in ("item_PA", "item_PB"):
        drive.message(iid=item)
        drive.words("some words", iid=item)
        drive.sound(1000, iid=item)
        drive.message_done("some words", iid=item)
    drive.done()
    first, second = drive.items
    drive.report(first, ms=200, cut=True)
    drive.report(second, ms=0, cut=True)
    seen = visible(drive, second, played=0)
    assert seen.count("response.done") == 1
    assert drive.sent_types == ["conversation.item.truncate"] * 2


def test_a_cut_while_the_second_item_was_on_its_way_clears_it_once() -> None:
    drive = Drive().ready()
    drive.created()
    for item in ("item_PA", "item_PB"):
        drive.message(iid=item)
        drive.sound(1000, iid=item)
    first, second = drive.items
    drive.report(first, ms=200, cut=True)
    drive.start()
    assert drive.cleared == [second]


def test_a_client_that_clears_the_playout_is_not_a_caller_who_speaks() -> None:
    drive = Drive().ready()
    item = drive.answer(ms=2000)
    drive.forget().report(item, ms=400, cut=True, by_caller=False)
    details = object_of(drive.one("response.done"), "response")["status_details"]
    assert details == {"type": "cancelled", "reason": "client_cancelled"}
    drive.start()
    assert "input_audio_buffer.clear" not in drive.sent_types


def test_all_heard_is_not_truncated() -> None:
    drive = Drive().ready()
    item = drive.answer(ms=1000)
    drive.report(item, ms=999, heard_ms=1000, cut=True)
    assert "conversation.item.truncate" not in drive.sent_types


def test_a_report_of_less_than_all_ends_nothing() -> None:
    drive = Drive().ready()
    item = drive.answer(ms=1000)
    drive.report(item, ms=500)
    drive.forget().start()
    assert drive.cleared == [item]


def test_a_report_of_an_unknown_item_is_left() -> None:
    drive = Drive().ready()
    drive.answer()
    assert drive.forget().report("item_nobody", ms=5, cut=True) == []


def test_both_of_two_sounding_items_are_cleared_once_and_reported_one_by_one() -> None:
    drive = Drive().ready()
    drive.created()
    for item in ("item_PA", "item_PB"):
        drive.message(iid=item)
        drive.sound(1000, iid=item)
    drive.start()
    assert drive.cleared == drive.items
    drive.done(status="cancelled")
    drive.report(drive.items[0], ms=10, cut=True, by_caller=False)
    assert "response.done" not in drive.shown
    drive.report(drive.items[1], ms=0, cut=True, by_caller=False)
    assert drive.shown[-1] == "response.done"
    assert len(drive.cleared) == 2


def test_an_item_may_be_heard_before_its_response_is_done() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.sound(100)
    drive.message_done("Hm")
    drive.report(drive.items[0], ms=100)
    drive.advance(1)
    assert "response.done" not in drive.shown
    drive.done()
    assert drive.named("response.done")[0].item_id is None


def test_an_item_that_says_and_writes_keeps_what_it_wrote_when_it_is_cut() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.words("never heard")
    where: Json = {"response_id": "resp_P1", "item_id": "item_P1", "output_index": 0, "content_index": 1}
    drive.provider("response.output_text.delta", **where, delta="written")
    drive.report(drive.items[0], ms=0, cut=True)
    assert drive.one("response.output_text.done")["text"] == "written"
    assert drive.one("response.output_audio_transcript.done")["transcript"] == ""
