"""How full a bucket is, with what this process writes until the server is asked again."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from services.runtime import clock
from services.runtime.bus.bucket import Bucket, Fill


@dataclass(slots=True)
class BucketFill:
    """Fill of a bucket: the server's last figure plus what this process has written since."""

    _fill: Fill = field(default_factory=lambda: Fill(0, -1))
    _asked_at: float = float("-inf")
    _written: int = 0
    _writing: int = 0
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self, bucket: Bucket, *, fresh_s: float) -> Fill:
        """Return the fill of ``bucket``, always the same one; queries the server at most every ``fresh_s`` seconds.

        Raises:
            nats.errors.Error: the server does not answer.
        """
        async with self._asking:
            if clock.monotonic() - self._asked_at > fresh_s:
                self._written = 0  # writes during the query count twice until the next one
                self._fill = await bucket.fill()
                self._asked_at = clock.monotonic()
        return Fill(self._fill.used_bytes + self._written + self._writing, self._fill.max_bytes)

    @contextmanager
    def write(self, size: int) -> Iterator[None]:
        """Count ``size`` bytes that the block writes; none if the block raises."""
        self._writing += size
        try:
            yield
            self._written += size
        finally:
            self._writing -= size
