"""An outbox in memory, which a test can read, fill, make fail and slow down."""

import asyncio

from services.contracts.ids import TenantId
from services.contracts.usage import Meter, UsageData
from services.runtime.errors import HushgateError


class RecordedUsage:
    """Records usage. The next ``failures`` writes fail, with ``full`` all; none returns before ``ready`` is set."""

    def __init__(self, *, ready: bool = True) -> None:
        self.events: list[tuple[TenantId, UsageData]] = []
        self.usage: asyncio.Queue[UsageData] = asyncio.Queue()
        self.failures = 0
        self.full = False
        self.asked = asyncio.Event()
        self.ready = asyncio.Event()
        if ready:
            self.ready.set()

    async def store(self, tenant: TenantId, data: UsageData) -> None:
        self.asked.set()
        await self.ready.wait()
        if self.full or self.failures:
            self.failures = max(0, self.failures - 1)
            raise HushgateError("the disk is full")
        self.events.append((tenant, data))
        self.usage.put_nowait(data)

    async def settled(self, timeout_s: float) -> bool:
        assert timeout_s > 0
        return True

    def refs(self) -> list[str]:
        return [data.provider_ref for _, data in self.events]

    def latest(self, meter: Meter) -> int:
        return max((data.meters[meter] for _, data in self.events if meter in data.meters), default=-1)
