"""What came from a client and waits for its call: in order, bounded."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from services.contracts.audio import PcmFrame
from services.media import metrics
from services.media.leg import LegClosed, LegInput

MAX_WAITING = 100


class Mailbox:
    """Caller audio gives way, oldest first: late speech is worthless. The rest is little, and bounded by its sender."""

    def __init__(self) -> None:
        self._waiting: deque[LegInput] = deque()
        self._arrived = asyncio.Event()
        self._closed = False

    def put(self, item: LegInput) -> None:
        """Add ``item``; nothing is taken after a `LegClosed`."""
        if self._closed:
            return
        self._closed = isinstance(item, LegClosed)
        self._waiting.append(item)
        self._arrived.set()
        if len(self._waiting) > MAX_WAITING and isinstance(item, PcmFrame):
            oldest = next(place for place, old in enumerate(self._waiting) if isinstance(old, PcmFrame))
            del self._waiting[oldest]
            metrics.INPUT_DROPPED.labels("audio_backlog").inc()

    async def items(self) -> AsyncIterator[LegInput]:
        """All that comes, up to and with the `LegClosed`."""
        while True:
            while self._waiting:
                item = self._waiting.popleft()
                yield item
                if isinstance(item, LegClosed):
                    return
            self._arrived.clear()
            await self._arrived.wait()
