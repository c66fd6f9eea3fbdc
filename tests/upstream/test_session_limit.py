"""A provider closes its sessions at a limit; the call continues in a new one."""

from dataclasses import replace

from services.contracts.endings import EndReason
from services.contracts.frame import Flag, Kind
from services.contracts.messages import Ended
from services.contracts.usage import Meter
from services.runtime.bus.client import Bus
from services.upstream.connectors.openai import CAPABILITIES, OpenAIConnector
from services.upstream.core.commands import AppendAudio, Reconnect, SendToProvider
from services.upstream.core.item_registry import MAX_REPEATED, ItemRegistry
from tests.upstream.drive import FRAME, Drive, Json, core_of, object_of
from tests.upstream.provider import ScriptedProvider, running
from tests.upstream.running_worker import running_worker

LIMITED = replace(CAPABILITIES, session_limit_s=480)
DUE_S = 361
SHORT = replace(CAPABILITIES, session_limit_s=2)


def drive(session: Json | None = None) -> Drive:
    return Drive(core_of(session, capabilities=LIMITED)).ready()


def reconnects(d: Drive) -> int:
    return sum(isinstance(c, Reconnect) for c in d.commands)


def reopened(d: Drive) -> Drive:
    """Open the new session; forget the commands before."""
    d.advance(DUE_S)
    assert reconnects(d) == 1
    d.forget().open()
    return d


def repeated(d: Drive) -> list[Json]:
    sent = [c.event for c in d.commands if isinstance(c, SendToProvider)]
    return [object_of(event, "item") for event in sent if event["type"] == "conversation.item.create"]


def played_answer(d: Drive, text: str = "Hello there", rid: str = "resp_P1", iid: str = "item_P1") -> str:
    """Send a response and report it as played to its end; return our id of its item."""
    d.utter()
    item = d.answer(text, 1000, rid, iid)
    d.report(item, ms=1000)
    return item


def test_a_quiet_session_is_replaced_before_its_limit() -> None:
    d = drive()
    d.advance(359)
    assert not reconnects(d)
    d.advance(2)
    d.advance(2)
    assert reconnects(d) == 1


def test_a_provider_without_a_limit_keeps_its_session() -> None:
    d = Drive(core_of(capabilities=replace(CAPABILITIES, session_limit_s=None))).ready()
    d.advance(100_000)
    assert not reconnects(d)


def test_nobody_is_interrupted_by_a_new_session() -> None:
    d = drive()
    d.start()
    d.speak()
    d.advance(DUE_S)
    d.stop()
    d.advance(1)
    item = d.answer()
    d.advance(1)
    assert not reconnects(d), "it still sounds"
    d.report(item, ms=1000)
    d.advance(1)
    assert reconnects(d) == 1


def test_a_new_session_is_set_up_as_the_client_has_it() -> None:
    d = drive()
    d.client("session.update", session={"instructions": "Be kind."})
    d.confirm()
    reopened(d)
    assert object_of(d.sent("session.update"), "session")["instructions"] == "Be kind."
    assert not d.shown


def test_a_new_session_is_told_what_was_heard() -> None:
    d = drive()
    d.client("conversation.item.create", item={"id": "mine", "type": "message", "role": "system", "content": []})
    item = object_of(d.sent("conversation.item.create"), "item")
    d.provider("conversation.item.added", item=item, previous_item_id=None)
    d.utter()
    content: Json = {"type": "input_audio", "transcript": None}
    spoken: Json = {"id": "item_U", "type": "message", "role": "user", "content": [content]}
    d.provider("input_audio_buffer.committed", item_id="item_U", previous_item_id=None)
    d.provider("conversation.item.added", item=spoken, previous_item_id=None)
    kind = "conversation.item.input_audio_transcription.completed"
    d.provider(kind, item_id="item_U", content_index=0, transcript="Who is there?")
    answer = d.answer("It is me", 1000)
    d.report(answer, ms=1000)
    reopened(d)
    repeated_items = [(i["role"], i["content"]) for i in repeated(d)]
    assert repeated_items == [
        ("system", []),
        ("user", [{"type": "input_text", "text": "Who is there?"}]),
        ("assistant", [{"type": "output_text", "text": "It is me"}]),
    ]
    assert repeated(d)[2]["id"] == answer


def test_words_that_nobody_heard_are_not_repeated() -> None:
    d = drive()
    d.utter()
    d.created()
    d.message()
    d.words("one two three four five six seven eight")
    d.sound(4000)
    d.start()
    d.report(d.cleared[0], ms=500, cut=True)
    d.done(status="cancelled")
    d.stop()
    reopened(d)
    [item] = repeated(d)
    assert item["content"] == [{"type": "output_text", "text": "one two"}]


def test_a_call_and_its_output_are_repeated_with_the_providers_call_id() -> None:
    d = drive()
    d.created()
    call: Json = {"id": "item_C", "type": "function_call", "name": "look", "call_id": "call_theirs", "arguments": ""}
    d.provider("response.output_item.added", response_id="resp_P1", output_index=0, item=call)
    final: Json = {**call, "arguments": "{}", "status": "completed"}
    d.provider("response.output_item.done", response_id="resp_P1", output_index=0, item=final)
    d.done()
    reopened(d)
    [item] = repeated(d)
    assert (item["type"], item["call_id"], item["arguments"]) == ("function_call", "call_theirs", "{}")


def test_a_response_outside_of_the_conversation_is_not_repeated() -> None:
    d = drive()
    d.created(conversation_id=None)
    d.message(part="text")
    d.part("response.output_text.delta", delta="aside")
    d.done()
    reopened(d)
    assert not repeated(d)


PUSH_TO_TALK: Json = {"audio": {"input": {"turn_detection": None}}}


def test_what_push_to_talk_has_not_committed_is_in_the_new_session() -> None:
    d = drive(PUSH_TO_TALK)
    d.speak(10)
    reopened(d)
    d.speak(10)
    d.client("input_audio_buffer.commit")
    assert [c.pcm for c in d.commands if isinstance(c, AppendAudio)] == [FRAME * 10] + [FRAME] * 10
    assert d.sent_types[-1] == "input_audio_buffer.commit"


def test_what_cannot_be_repeated_waits_for_the_clients_commit() -> None:
    d = drive(PUSH_TO_TALK)
    d.speak(1501)
    d.advance(DUE_S)
    assert not reconnects(d)
    d.client("input_audio_buffer.commit")
    d.speak(1)
    d.advance(1)
    assert reconnects(d) == 1


def test_what_comes_meanwhile_waits_for_the_new_session() -> None:
    d = drive()
    d.advance(DUE_S)
    d.forget().utter()
    assert not d.sent_types
    d.open()
    assert d.sent_types == ["session.update", *["append"] * 10, "input_audio_buffer.commit", "response.create"]


def test_each_new_session_holds_back_as_much_as_the_first() -> None:
    d = drive()
    for _ in range(3):
        d.advance(DUE_S)
        d.forget().utter(90)
        d.open()
        assert sum(isinstance(c, AppendAudio) for c in d.commands) == 90
        d.created(f"resp_{d.now}")
        d.done(f"resp_{d.now}")
    assert not d.faults


def test_an_item_of_the_old_session_has_no_sound_in_the_new() -> None:
    d = drive()
    item = played_answer(d)
    reopened(d)
    d.client("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=100)
    assert "Only model output audio" in str(d.error["message"])


def test_the_client_does_not_see_the_repetition() -> None:
    d = drive()
    played_answer(d)
    reopened(d)
    [item] = repeated(d)
    d.provider("conversation.item.added", item=item, previous_item_id=None)
    d.provider("conversation.item.done", item=item, previous_item_id=None)
    event_id = next(
        c.event["event_id"]
        for c in d.commands
        if isinstance(c, SendToProvider) and c.event["type"] == "conversation.item.create"
    )
    d.provider("error", error={"type": "invalid_request_error", "code": "no", "message": "no", "event_id": event_id})
    assert not d.shown
    assert d.faults == ["error_event"]


def test_the_session_is_billed_as_one() -> None:
    d = drive()
    reopened(d)
    d.now += 9
    d.record(d.core.ended(now=d.now))
    assert d.booked[-1].meters[Meter.SESSION_MS] == (DUE_S + 9) * 1000


def registry(count: int, text: str = "x", kind: str = "message") -> ItemRegistry:
    items = ItemRegistry()
    for number in range(count):
        items.append(f"item_{number}")
        items.store_content(f"item_{number}", {"id": f"item_{number}", "type": kind, "text": text})
    return items


def test_of_a_long_conversation_the_newest_items_are_repeated() -> None:
    repeated_items = registry(MAX_REPEATED + 10).begin_new_session()
    assert [repeated_items[0]["id"], repeated_items[-1]["id"]] == ["item_10", f"item_{MAX_REPEATED + 9}"]
    assert len(registry(10, "x" * 100_000).begin_new_session()) == 2


def test_deleted_items_and_outputs_without_their_call_are_not_repeated() -> None:
    items = registry(3)
    items.remove("item_1")
    assert [item["id"] for item in items.begin_new_session()] == ["item_0", "item_2"]
    assert registry(3, kind="function_call_output").begin_new_session() == []


def test_what_is_remembered_is_bounded() -> None:
    items = registry(5000)
    items.store_content("item_0", {"id": "item_0"})
    items.append("item_0")
    repeated_items = items.begin_new_session()
    assert repeated_items[-1]["id"] == "item_4999", "what is stored of an item that was dropped is not kept"


async def test_a_call_outlives_its_providers_session(bus: Bus) -> None:
    async with (
        running(ScriptedProvider(answer_ms=100)) as provider,
        running_worker(bus, ScriptedProvider(), connector=OpenAIConnector(provider.url, capabilities=SHORT)) as h,
    ):
        media = await h.call()
        await media.utter(400)
        last = await media.until(lambda f: f.kind is Kind.AUDIO_DOWN and Flag.ITEM_END in f.flags)
        assert last.item_id is not None
        await media.report(last.item_id, ms=100)
        first, second = await provider.session(1), await provider.session(2)
        await first.closed.wait()
        created = await second.until("conversation.item.create", times=2)  # after the utterance
        assert object_of(created, "item")["id"] == last.item_id
        assert second.types()[0] == "session.update"
        await media.event("response.done")
        await media.utter(400)
        await media.event("response.done")
        await media.send(Kind.ENDED, Ended(reason=EndReason.HANGUP).encode())
        await h.wait_for_release()
