"""Usage events and ledgers for the tests of metering."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.metering.core.pricing import Books
from services.metering.dialect import ledger_url
from services.metering.pricebooks import load_books
from services.metering.store import Ledger
from tests.metering.event_maker import EventMaker
from tests.metering.polling import Until


@pytest.fixture
def make() -> EventMaker:
    return EventMaker()


@pytest.fixture
def until() -> Until:
    async def poll(holds: Callable[[], Awaitable[bool]], *, because: str) -> None:
        try:
            async with asyncio.timeout(20):
                while not await holds():  # noqa: ASYNC110 - each caller says why there is no event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"asked for 20 s in vain; asked because {because}")

    return poll


@pytest.fixture(scope="session")
def books() -> Books:
    return load_books(None)


@pytest.fixture
def open_ledger(tmp_path: Path, books: Books) -> Iterator[Callable[[], Ledger]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Ledger.open(ledger_url("", tmp_path), books))


@pytest.fixture
def ledger(open_ledger: Callable[[], Ledger], make: EventMaker) -> Ledger:
    """A ledger with the call's placement and the owner of its first session."""
    opened = open_ledger()
    make.place(opened)
    return opened
