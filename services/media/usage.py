"""Reports the usage of calls: every few seconds, and at the end of each call."""

import asyncio
from collections.abc import Callable, Iterable

from services.media.call import Call
from services.runtime.outbox.usage_writer import UsageWriter

EVERY_S = 5.0
PARTS = 20
"""Usage of one part is written to disk together (runtime/outbox/outbox.py) and delays frames by half a millisecond a
call: with 5 parts a hundred calls made one frame in a hundred 10 ms late."""


class UsageReporter:
    """Reads the meters of calls and writes them to the outbox."""

    def __init__(self, writer: UsageWriter, *, every_s: float = EVERY_S) -> None:
        self._writer = writer
        self._every_s = every_s

    @property
    def failing(self) -> bool:
        """Whether usage cannot be written to the outbox; new calls must be refused meanwhile."""
        return self._writer.failing

    async def write(self, call: Call) -> None:
        """Write one call's usage. Meters are cumulative, so the next write also covers one that failed."""
        await self._writer.write(call.facts.tenant, call.usage())

    async def write_last(self, call: Call) -> None:
        """Write a call's last usage until it is kept, and wait a bounded time for the ledger to have it."""
        await self._writer.write_until_kept(call.facts.tenant, call.usage())
        await self._writer.settle()

    async def keep_writing(self, calls: Callable[[], Iterable[Call]]) -> None:
        """Write the usage of all live calls until cancelled: a few at a time, so that frames are not delayed by all."""
        while True:
            for part in range(PARTS):
                await asyncio.sleep(self._every_s / PARTS)
                due = [call for call in calls() if hash(call.facts.id) % PARTS == part]
                # An ended call writes its last usage itself.
                await asyncio.gather(*(self.write(call) for call in due if call.reason is None))
