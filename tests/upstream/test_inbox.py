import asyncio

from services.upstream.inbox import MAX_WAITING, Inbox


async def test_inputs_come_out_in_order_and_a_full_inbox_stops_only_what_waits_for_room() -> None:
    inbox: Inbox[int] = Inbox()
    for number in range(MAX_WAITING):
        await inbox.put(number)
    late = asyncio.create_task(inbox.put(MAX_WAITING + 1))
    await asyncio.sleep(0)
    inbox.post(MAX_WAITING)
    assert len(inbox) == MAX_WAITING + 1
    assert [await inbox.get() for _ in range(MAX_WAITING + 2)] == list(range(MAX_WAITING + 2))
    await late


async def test_a_reader_waits_for_the_next_input() -> None:
    inbox: Inbox[int] = Inbox()
    waiting = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    inbox.post(1)
    async with asyncio.timeout(10):
        assert await waiting == 1
