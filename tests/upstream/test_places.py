"""Where the events of a response are released: behind the sound of their own response, of nothing else."""

from pydantic import JsonValue

from services.contracts.frame import NO_FLAGS, Flag
from services.upstream.core.commands import PublishEvent
from tests.upstream.drive import Drive, Json, object_of

CALL: Json = {"id": "item_PF", "type": "function_call", "status": "completed", "call_id": "call_PF", "name": "weather"}
MCP: Json = {"id": "item_PM", "type": "mcp_call", "server_label": "s", "name": "n", "arguments": "{}"}


def place(event: PublishEvent) -> tuple[str | None, int, Flag]:
    return event.item_id, event.position, event.flags


def call_function(drive: Drive, rid: str = "resp_P1") -> None:
    where: Json = {"response_id": rid, "output_index": 1}
    drive.provider("response.output_item.added", **where, item={**CALL, "status": "in_progress"})
    drive.provider("response.output_item.done", **where, item={**CALL, "arguments": "{}"})


def test_what_a_response_adds_is_shown_at_once_while_another_sounds() -> None:
    drive = Drive().ready()
    drive.answer(ms=3000)
    drive.forget().client("response.create")
    drive.created("resp_P2")
    drive.message("resp_P2", "item_P2")
    assert drive.shown == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
    ]
    assert {event.item_id for event in drive.events} == {None}


def test_a_text_response_beside_one_that_sounds_waits_for_nothing() -> None:
    drive = Drive().ready()
    drive.answer(ms=3000)
    drive.forget().client("response.create", response={"conversation": "none", "output_modalities": ["text"]})
    drive.created("resp_P2", conversation_id=None)
    drive.message("resp_P2", "item_P2", "text")
    drive.part("response.output_text.delta", "resp_P2", "item_P2", delta="yes")
    drive.part("response.output_text.done", "resp_P2", "item_P2", text="yes")
    drive.done("resp_P2")
    assert drive.shown[-1] == "response.done"
    assert {event.item_id for event in drive.events} == {None}


def test_what_the_caller_does_waits_for_nothing() -> None:
    drive = Drive().ready()
    drive.start()
    drive.answer(ms=3000)
    drive.forget().speak(10)
    drive.stop()
    content: JsonValue = [{"type": "input_audio", "transcript": None}]
    item: Json = {"id": "item_PU", "type": "message", "role": "user", "status": "completed", "content": content}
    drive.provider("input_audio_buffer.committed", item_id="item_PU")
    drive.provider("conversation.item.added", item=item)
    drive.provider("conversation.item.done", item=item)
    assert drive.shown == [
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert {event.item_id for event in drive.events} == {None}


def test_the_next_item_of_a_response_begins_behind_the_sound_of_the_one_before() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message(iid="item_PA")
    drive.sound(1000, iid="item_PA")
    drive.message_done("One", iid="item_PA")
    first = drive.items[0]
    drive.forget().message(iid="item_PB", part="text")
    drive.part("response.output_text.delta", iid="item_PB", delta="two")
    drive.part("response.content_part.done", iid="item_PB", part={"type": "text", "text": "two"})
    assert len(drive.events) == 6
    assert {place(event) for event in drive.events} == {(first, 24_000, NO_FLAGS)}
    drive.forget().report(first, ms=1000)
    drive.part("response.output_text.delta", iid="item_PB", delta="late")
    assert place(drive.events[-1]) == (None, 0, NO_FLAGS)


def test_what_an_item_writes_stands_behind_what_it_said_before() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.sound(500)
    item = drive.items[0]
    where: Json = {"response_id": "resp_P1", "item_id": "item_P1", "output_index": 0, "content_index": 1}
    drive.forget().provider("response.output_text.delta", **where, delta="written")
    assert drive.shown == ["response.content_part.added", "response.output_text.delta"]
    assert {place(event) for event in drive.events} == {(item, 12_000, NO_FLAGS)}


def test_events_of_a_remote_tool_stand_behind_the_speech_of_their_response() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.sound(500)
    speech = drive.items[0]
    drive.forget().provider("response.output_item.added", response_id="resp_P1", output_index=1, item=MCP)
    drive.provider("response.mcp_call.in_progress", item_id="item_PM", output_index=1)
    drive.provider("mcp_list_tools.in_progress", item_id="item_PL")
    assert [(kind, event.item_id) for kind, event in zip(drive.shown, drive.events, strict=True)] == [
        ("response.output_item.added", speech),
        ("conversation.item.added", speech),
        ("response.mcp_call.in_progress", speech),
        ("mcp_list_tools.in_progress", None),
    ]


def test_a_function_call_releases_what_its_own_response_has_said() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.words("Let me see")
    drive.sound(3000)
    drive.message_done("Let me see")
    call_function(drive)
    drive.done()
    speech, call = drive.items
    assert place(drive.named("response.output_item.done")[1]) == (call, 0, Flag.RELEASE_ALL)
    assert place(drive.named("response.done")[0]) == (speech, 72_000, Flag.RELEASE_ALL | Flag.CUTTABLE)
    drive.forget().report(speech, ms=300, cut=True)
    assert not [kind for kind in drive.shown if kind.endswith(".done")]


def test_a_function_call_releases_nothing_of_another_response() -> None:
    drive = Drive().ready()
    speech = drive.answer(ms=3000)
    drive.created("resp_P2")
    call_function(drive, "resp_P2")
    drive.done("resp_P2")
    assert place(drive.named("response.done")[-1]) == (drive.items[-1], 0, Flag.RELEASE_ALL)
    drive.forget().report(speech, ms=300, cut=True)
    assert drive.one("response.output_audio.done")["item_id"] == speech
    assert object_of(drive.one("response.done"), "response")["status"] == "cancelled"
