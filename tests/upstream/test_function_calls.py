"""Function calls: released at once, counted, and never published twice."""

import pytest

from services.contracts.frame import Flag
from services.contracts.usage import Meter
from tests.upstream.drive import Drive, Json, object_of

CALL: Json = {
    "id": "item_PF",
    "type": "function_call",
    "status": "in_progress",
    "call_id": "call_PF",
    "name": "weather",
}
ARGUMENTS = '{"city":"Oslo"}'


def call_function(drive: Drive, *, index: int = 0, deltas: bool = True) -> None:
    """Send all events of a function call."""
    of_call: Json = {"response_id": "resp_P1", "item_id": "item_PF", "output_index": index, "call_id": "call_PF"}
    drive.provider("response.output_item.added", response_id="resp_P1", output_index=index, item=CALL)
    if deltas:
        drive.provider("response.function_call_arguments.delta", **of_call, delta='{"city":')
        drive.provider("response.function_call_arguments.delta", **of_call, delta='"Oslo"}')
        drive.provider("response.function_call_arguments.done", **of_call, arguments=ARGUMENTS)
    done: Json = {**CALL, "status": "completed", "arguments": ARGUMENTS}
    drive.provider("response.output_item.done", response_id="resp_P1", output_index=index, item=done)


def speaking() -> Drive:
    """Return a core whose response has said something of two seconds, and is not done."""
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.words("Let me look that up")
    drive.sound(2000)
    drive.message_done("Let me look that up")
    return drive


def test_a_function_call_is_shown_at_once_with_its_name() -> None:
    drive = Drive().ready()
    drive.created()
    drive.forget()
    call_function(drive)
    drive.done()
    assert {e.flags for e in drive.events} == {Flag.RELEASE_ALL}
    done = drive.one("response.function_call_arguments.done")
    assert (done["name"], done["arguments"]) == ("weather", ARGUMENTS)
    output = object_of(drive.one("response.done"), "response")["output"]
    assert isinstance(output, list)
    assert isinstance(output[0], dict)
    assert (output[0]["arguments"], output[0]["status"]) == (ARGUMENTS, "completed")


def test_a_provider_that_sends_arguments_only_with_the_item_is_completed() -> None:
    drive = Drive().ready()
    drive.created()
    call_function(drive, deltas=False)
    assert drive.one("response.function_call_arguments.done")["arguments"] == ARGUMENTS


def test_the_result_of_a_call_finds_the_providers_call() -> None:
    drive = Drive().ready()
    drive.created()
    call_function(drive)
    drive.done()
    call_id = object_of(drive.one("response.output_item.done"), "item")["call_id"]
    assert call_id != "call_PF"
    result: Json = {"type": "function_call_output", "call_id": call_id, "output": "rain"}
    drive.client("conversation.item.create", item=result)
    sent = object_of(drive.sent("conversation.item.create"), "item")
    assert sent["call_id"] == "call_PF"
    drive.forget().provider("conversation.item.added", item=sent)
    assert object_of(drive.one("conversation.item.added"), "item")["call_id"] == call_id


def test_a_finished_call_is_counted() -> None:
    drive = Drive().ready()
    drive.created()
    call_function(drive)
    drive.done()
    drive.advance(6)
    assert drive.booked[-1].meters[Meter.TOOL_CALLS] == 1


def test_what_a_call_has_released_is_not_written_twice_when_the_speech_before_it_is_cut() -> None:
    drive = speaking()
    call_function(drive, index=1)
    drive.done()
    speech = drive.items[0]
    drive.report(speech, ms=300, cut=True)
    assert drive.shown.count("response.done") == 1
    assert drive.shown.count("response.output_item.done") == 2
    assert drive.sent("conversation.item.truncate")["audio_end_ms"] == 300
    assert drive.shown[-1] == "conversation.item.truncated"


@pytest.mark.parametrize("names_received", [True, False])
def test_what_a_call_releases_after_a_cut_is_not_shown(names_received: bool) -> None:  # noqa: FBT001 - drawn
    """The words and endings of the speech were dropped by media before the call's events came."""
    drive = speaking()
    received = drive.events[-1].sequence
    call_function(drive, index=1)
    drive.done()
    speech, call = drive.items
    drive.forget().report(speech, ms=300, cut=True, received=received if names_received else -1)
    if not names_received:  # a media process of an earlier release
        assert drive.shown == ["conversation.item.truncated"]
        return
    of_speech = [e.event for e in drive.named("response.output_item.done")]
    assert [object_of(event, "item")["id"] for event in of_speech] == [speech]
    transcript = drive.one("response.output_audio_transcript.done")["transcript"]
    assert isinstance(transcript, str)
    assert "Let me look that up".startswith(transcript)
    assert len(transcript) < len("Let me look that up")
    done = object_of(drive.one("response.done"), "response")
    assert done["status"] == "cancelled"
    output = done["output"]
    assert isinstance(output, list)
    assert [item["id"] for item in output if isinstance(item, dict)] == [speech, call]


@pytest.mark.parametrize("newest", ["response.function_call_arguments.done", "response.done"])
def test_what_a_call_has_released_before_a_cut_is_shown(newest: str) -> None:
    drive = speaking()
    call_function(drive, index=1)
    drive.done()
    received, speech = drive.named(newest)[0].sequence, drive.items[0]
    drive.forget().report(speech, ms=300, cut=True, received=received)
    assert "response.output_audio_transcript.done" not in drive.shown
    assert ("response.done" in drive.shown) == (newest != "response.done")


def test_a_call_that_is_interrupted_ends_incomplete_and_releases_nothing() -> None:
    drive = Drive().ready()
    drive.created()
    drive.provider("response.output_item.added", response_id="resp_P1", output_index=0, item=CALL)
    drive.forget().start()
    item = object_of(drive.one("response.output_item.done"), "item")
    assert item["status"] == "incomplete"
    assert {e.flags for e in drive.events} == {Flag(0)}
    assert "response.function_call_arguments.done" not in drive.shown


def test_a_call_that_the_provider_leaves_incomplete_has_no_arguments_done() -> None:
    drive = Drive().ready()
    drive.created()
    drive.provider("response.output_item.added", response_id="resp_P1", output_index=0, item=CALL)
    done: Json = {**CALL, "status": "incomplete", "arguments": "{"}
    drive.provider("response.output_item.done", response_id="resp_P1", output_index=0, item=done)
    assert "response.function_call_arguments.done" not in drive.shown
