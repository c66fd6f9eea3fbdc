"""A KV bucket whose entries each have a time to live of their own, which the client library's `update` cannot give."""

from dataclasses import dataclass

from nats.js import JetStreamContext
from nats.js.api import Header
from nats.js.errors import APIError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from services.runtime.errors import BucketFullError

_WRONG_LAST = frozenset({10071, 10164})
_FULL = frozenset({10047, 10077})
"""The server's, or the stream's bytes are used up."""
_MARKER_TTL_S = 60
ENTRY_BYTES = 192
"""What an entry takes in the store beside its value: its subject, headers and the server's own fields."""


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a bucket is; ``max_bytes`` below 0: without a bound."""

    used_bytes: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """Made by `runtime.streams`. What the server does not answer is a `nats.errors.Error`."""

    _js: JetStreamContext
    entries: KeyValue

    async def create(self, key: str, value: bytes, *, ttl_s: int) -> int:
        """Write a new entry; gives its revision.

        Raises:
            KeyWrongLastSequenceError: there is one.
            BucketFullError: there is no room for it.
        """
        return await self.update(key, value, last=0, ttl_s=ttl_s)

    async def update(self, key: str, value: bytes, *, last: int, ttl_s: int) -> int:
        """Replace the entry of revision ``last``; gives the new revision. A full bucket takes what is not larger.

        Raises:
            KeyWrongLastSequenceError: it has another revision.
            BucketFullError: there is no room for it.
        """
        return await self._write(key, value, ttl_s, {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(last)})

    async def put(self, key: str, value: bytes, *, ttl_s: int) -> int:
        """Write an entry, whatever there was; gives its revision.

        Raises:
            BucketFullError: there is no room for it.
        """
        return await self._write(key, value, ttl_s, {})

    async def remove(self, key: str) -> None:
        """Delete an entry. What says that it was deleted is gone after a minute."""
        await self.entries.purge(key, msg_ttl=_MARKER_TTL_S)

    async def fill(self) -> Fill:
        """How full it is."""
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
