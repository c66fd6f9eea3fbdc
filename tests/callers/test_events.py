import asyncio

import pytest

from services.callers.errors import CallEndedError, WaitTimeoutError
from services.callers.events import EventLog


async def test_each_event_is_given_out_once_in_order() -> None:
    log = EventLog()
    for number in (1, 2):
        log.add({"type": "a", "n": number})
    assert [(await log.next("a", timeout_s=1)).event["n"] for _ in range(2)] == [1, 2]
    with pytest.raises(WaitTimeoutError):
        await log.next("a", timeout_s=0)


async def test_other_types_do_not_matter() -> None:
    log = EventLog()
    log.add({"type": "b"})
    log.add({"type": "a"})
    assert (await log.next("a", timeout_s=1)).type == "a"
    assert [received.type for received in log.of("a", "b")] == ["b", "a"]


async def test_skipped_events_do_not_count() -> None:
    log = EventLog()
    log.add({"type": "a", "n": 1})
    log.skip()
    log.add({"type": "a", "n": 2})
    assert (await log.next("a", timeout_s=1)).event["n"] == 2


async def test_waiting_ends_when_the_event_arrives() -> None:
    log = EventLog()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(log.next("a", timeout_s=5))
        await asyncio.sleep(0)
        log.add({"type": "b"})
        await asyncio.sleep(0)
        log.add({"type": "a"})
    assert waiting.result().type == "a"


async def test_waiting_ends_with_the_log_and_received_events_are_still_returned() -> None:
    log = EventLog()
    log.add({"type": "a"})
    log.close()
    assert (await log.next("a", timeout_s=1)).type == "a"
    with pytest.raises(CallEndedError):
        await log.next("a", timeout_s=5)
