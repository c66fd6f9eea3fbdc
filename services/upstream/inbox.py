"""The inputs of one call, in order: its provider and its timer wait for room, the frames of its media do not."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

MAX_WAITING = 2048

T = TypeVar("T")


class Inbox(Generic[T]):
    """A queue with one reader. What is put waits for room, so that a provider is read at the rate of the call."""

    def __init__(self) -> None:
        self._items: deque[tuple[T, bool]] = deque()
        self._room = asyncio.Semaphore(MAX_WAITING)
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    async def put(self, item: T) -> None:
        """Queue ``item``, once there is room."""
        await self._room.acquire()
        self._add(item, waited=True)

    def post(self, item: T) -> None:
        """Queue ``item`` at once, however many wait; the caller bounds their number."""
        self._add(item, waited=False)

    async def get(self) -> T:
        """Remove and return the first item; wait for one."""
        while not self._items:
            self._arrived.clear()
            await self._arrived.wait()
        item, waited = self._items.popleft()
        if waited:
            self._room.release()
        return item

    def _add(self, item: T, *, waited: bool) -> None:
        self._items.append((item, waited))
        self._arrived.set()
