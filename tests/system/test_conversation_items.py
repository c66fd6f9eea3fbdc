"""The order of the conversation on a whole call."""

from services.callers.caller import Caller
from services.callers.events import ReceivedEvent
from services.callers.speech import synthesise
from tests.system.gateway import Up

TIMEOUT_S = 20.0


def create(caller: Caller, item_id: str, **where: str) -> None:
    content = [{"type": "input_text", "text": f"Remember {item_id}."}]
    item = {"id": item_id, "type": "message", "role": "user", "content": content}
    caller.send_event({"type": "conversation.item.create", "item": item, **where})


def in_order(events: list[ReceivedEvent]) -> list[str]:
    """Return the conversation as a client builds it, from the item before each."""
    order: list[str] = []
    for event in (received.event for received in events):
        item_id = event.get("item_id") or event["item"]["id"]
        if item_id in order:
            order.remove(item_id)
        if event["type"] != "conversation.item.deleted":
            previous = event["previous_item_id"]
            order.insert(0 if previous is None else order.index(previous) + 1, item_id)
    return order


async def test_each_item_is_told_with_its_place_in_the_conversation(up: Up) -> None:
    async with Caller.call(up.url, up.tenant_key) as caller:
        await caller.next_event("session.created", timeout_s=TIMEOUT_S)
        create(caller, "a")
        create(caller, "b")
        create(caller, "r", previous_item_id="root")
        create(caller, "m", previous_item_id="a")
        told = {}
        for kind in ("added", "done"):
            for _ in range(4):
                event = (await caller.next_event(f"conversation.item.{kind}", timeout_s=TIMEOUT_S)).event
                told[event["item"]["id"], kind] = event["previous_item_id"]
        assert [told[item_id, "added"] for item_id in "abrm"] == [None, "a", None, "a"]
        assert [told[item_id, "done"] for item_id in "rm"] == [None, "a"]

        await caller.speak(await synthesise("what time is it"))
        committed = (await caller.next_event("input_audio_buffer.committed", timeout_s=TIMEOUT_S)).event
        assert committed["previous_item_id"] == "b"
        create(caller, "n", previous_item_id=committed["item_id"])  # the provider has not confirmed the utterance
        caller.send_event({"type": "conversation.item.delete", "item_id": "a"})
        done = (await caller.next_event("response.done", timeout_s=TIMEOUT_S)).event
        kinds = ("conversation.item.added", "conversation.item.deleted", "input_audio_buffer.committed")
        answer = done["response"]["output"][0]["id"]
        assert in_order(caller.events.of(*kinds)) == ["r", "m", "b", committed["item_id"], "n", answer]
        await caller.hang_up()
