import asyncio

import pytest

from services.contracts.message import Message
from services.contracts.messages import Done
from services.media.answer_cache import AnswerCache


class Clerk:
    """Computes answers, and counts how often."""

    def __init__(self, failures: int = 0) -> None:
        self.asked = 0
        self._failures = failures

    async def work(self) -> Message:
        self.asked += 1
        await asyncio.sleep(0)
        if self.asked <= self._failures:
            raise OSError("not now")
        return Done()


async def test_the_same_question_is_worked_out_once() -> None:
    once: AnswerCache[str] = AnswerCache(limit=9)
    clerk = Clerk()
    assert set(await asyncio.gather(*(once.answer("a", clerk.work) for _ in range(3)))) == {Done()}
    assert await once.answer("a", clerk.work) == Done()
    assert clerk.asked == 1


async def test_a_failure_is_told_and_not_remembered() -> None:
    once: AnswerCache[str] = AnswerCache(limit=9)
    clerk = Clerk(failures=1)
    with pytest.raises(OSError, match="not now"):
        await once.answer("a", clerk.work)
    assert await once.answer("a", clerk.work) == Done()


async def test_all_who_wait_for_an_answer_that_fails_are_told() -> None:
    once: AnswerCache[str] = AnswerCache(limit=9)
    clerk = Clerk(failures=1)
    first, second = await asyncio.gather(*(once.answer("a", clerk.work) for _ in range(2)), return_exceptions=True)
    assert isinstance(first, OSError)
    assert isinstance(second, OSError)


async def test_who_waits_for_an_answer_that_is_given_up_is_not_left_waiting() -> None:
    once: AnswerCache[str] = AnswerCache(limit=9)
    first, second = (asyncio.create_task(once.answer("a", asyncio.Event().wait)) for _ in range(2))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    first.cancel()
    assert all(
        isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(first, second, return_exceptions=True)
    )


async def test_only_so_many_answers_are_remembered() -> None:
    once: AnswerCache[str] = AnswerCache(limit=1)
    clerk = Clerk()
    for question in ("a", "b", "b", "a"):
        await once.answer(question, clerk.work)
    assert clerk.asked == 3
