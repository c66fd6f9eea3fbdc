"""A KV bucket whose entries each have a TTL of their own, which the client library's `update` cannot set."""

from dataclasses import dataclass

from nats.js import JetStreamContext
from nats.js.api import Header
from nats.js.errors import APIError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from services.runtime.errors import BucketFullError

_WRONG_LAST = frozenset({10071, 10164})
_FULL = frozenset({10047, 10077})
"""Error code: the server's or the stream's storage limit is reached."""
_MARKER_TTL_S = 60
ENTRY_BYTES = 192
"""Bytes of an entry in the store beside its value: subject, headers and the server's own fields."""


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a bucket is, in bytes; ``max_bytes`` below 0: unbounded."""

    used_bytes: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """Returned by `runtime.streams`. When the server does not answer, methods raise `nats.errors.Error`."""

    _js: JetStreamContext
    entries: KeyValue

    async def create(self, key: str, value: bytes, *, ttl_s: int) -> int:
        """Write a new entry that expires after ``ttl_s``; returns its revision.

        Raises:
            KeyWrongLastSequenceError: the key exists.
            BucketFullError: the bucket is full.
        """
        return await self.update(key, value, last=0, ttl_s=ttl_s)

    async def update(self, key: str, value: bytes, *, last: int, ttl_s: int) -> int:
        """Replace the entry at revision ``last``; returns the new revision. A full bucket accepts no larger value.

        Raises:
            KeyWrongLastSequenceError: the entry has another revision.
            BucketFullError: the bucket is full.
        """
        return await self._write(key, value, ttl_s, {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(last)})

    async def put(self, key: str, value: bytes, *, ttl_s: int) -> int:
        """Write an entry, replacing any other; returns its revision.

        Raises:
            BucketFullError: the bucket is full.
        """
        return await self._write(key, value, ttl_s, {})

    async def remove(self, key: str) -> None:
        """Delete an entry. Its delete marker expires after a minute."""
        await self.entries.purge(key, msg_ttl=_MARKER_TTL_S)

    async def fill(self) -> Fill:
        """Return the bucket's current size and limit."""
        info = (await self.entries.status()).stream_info
        return Fill(info.state.bytes, -1 if info.config.max_bytes is None else info.config.max_bytes)

    async def _write(self, key: str, value: bytes, ttl_s: int, headers: dict[str, str]) -> int:
        try:
            ack = await self._js.publish(f"$KV.{self.entries._name}.{key}", value, headers=headers, msg_ttl=ttl_s)  # noqa: SLF001
        except APIError as exc:
            if exc.err_code in _WRONG_LAST:
                raise KeyWrongLastSequenceError(description=exc.description) from exc
            if exc.err_code in _FULL:
                raise BucketFullError(self.entries._name) from exc  # noqa: SLF001
            raise
        return int(ack.seq)
