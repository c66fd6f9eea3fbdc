"""Makes usage events and ledgers for the tests of metering."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from services.contracts.ids import CallId, Epoch, SessionId, TenantId
from services.contracts.usage import Meter, UsageData, UsageEvent, usage_event
from services.metering.core.pricing import Books
from services.metering.dialect import ledger_url
from services.metering.pricebooks import load_books
from services.metering.store import Delivery, Ledger

_CALL = CallId("rtc_" + "a" * 26)


@dataclass(slots=True)
class Maker:
    """Events of one outbox, numbered as they are made."""

    now: datetime = datetime(2026, 11, 20, 12, tzinfo=UTC)
    call: CallId = _CALL
    made: int = 0

    def data(self, meters: dict[str, int], **changes: Any) -> UsageData:  # noqa: ANN401 - any field
        fields: dict[str, Any] = {
            "call_id": self.call,
            "session_id": SessionId("sess_1"),
            "epoch": Epoch(7),
            "seq": self.made,
            "provider": "rehearsal",
            "model": "gpt-realtime-2.1",
            "meters": {Meter(name): quantity for name, quantity in meters.items()},
        }
        return UsageData(**fields | changes)

    def event(self, meters: dict[str, int], **changes: Any) -> UsageEvent:  # noqa: ANN401 - any field
        self.made += 1
        envelope: dict[str, Any] = {
            "event_id": f"event-{self.made}",
            "source": "outbox-1",
            "tenant": TenantId("acme"),
            "time": self.now,
            "sequence": self.made,
            "floor": 1,
        }
        envelope |= {name: changes.pop(name) for name in list(changes) if name in envelope}
        return usage_event(self.data(meters, **changes), **envelope)

    def delivery(self, event: UsageEvent) -> Delivery:
        return Delivery(f"hg.usage.{event.subject}", event.encode())

    def at(self, **delta: float) -> datetime:
        return self.now + timedelta(**delta)


@pytest.fixture
def make() -> Maker:
    return Maker()


class Until(Protocol):
    """Asks again and again; only for what no event tells. ``because``: why none does."""

    async def __call__(self, holds: Callable[[], Awaitable[bool]], *, because: str) -> None: ...


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
def ledger(open_ledger: Callable[[], Ledger]) -> Ledger:
    return open_ledger()
