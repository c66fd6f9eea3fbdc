import asyncio

import pytest

from services.callers.errors import CallEndedError, NothingCameError
from services.callers.events import EventLog


async def test_each_event_is_given_out_once_in_order() -> None:
    log = EventLog()
    for number in (1, 2):
        log.add({"type": "a", "n": number})
    assert [(await log.next("a", timeout_s=1)).event["n"] for _ in range(2)] == [1, 2]
    with pytest.raises(NothingCameError):
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


async def test_who_waits_is_woken_by_the_event() -> None:
    log = EventLog()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(log.next("a", timeout_s=5))
        await asyncio.sleep(0)
        log.add({"type": "b"})
        await asyncio.sleep(0)
        log.add({"type": "a"})
    assert waiting.result().type == "a"


async def test_who_waits_is_told_of_the_end_and_may_still_read_what_came() -> None:
    log = EventLog()
    log.add({"type": "a"})
    log.close()
    assert (await log.next("a", timeout_s=1)).type == "a"
    with pytest.raises(CallEndedError):
        await log.next("a", timeout_s=5)
