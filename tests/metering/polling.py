"""The type of the fixture `until`."""

from collections.abc import Awaitable, Callable
from typing import Protocol


class Until(Protocol):
    """Polls a condition that no event signals. ``because``: why there is no event."""

    async def __call__(self, holds: Callable[[], Awaitable[bool]], *, because: str) -> None: ...
