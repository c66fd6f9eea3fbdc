"""The claim on a call: a KV entry that expires unless renewed. The revision of its `create` is the epoch."""

import asyncio
import json
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.js.errors import KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from services.contracts.ids import CallId, Epoch, WorkerId
from services.runtime import clock
from services.runtime.logging import get_logger
from services.runtime.streams import LEASE_TTL_S
from services.upstream import metrics

RENEW_S = 3.0
RETRY_S = 0.05
_SAFETY_S = 1.0
"""Given up this long before the entry expires: two owners at a time would be worse than none."""


class LeaseTakenError(Exception):
    """Another worker owns the call."""


class LeaseLostError(Exception):
    """The lease could not be renewed in time, or is another's now; ``reason`` is a metric's label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """How often a lease is renewed, and how long it lives."""

    renew_s: float = RENEW_S
    ttl_s: float = LEASE_TTL_S


class Lease:
    """A call that is ours. Made by `Lease.acquire`."""

    def __init__(self, bucket: KeyValue, *, call: CallId, worker: WorkerId, epoch: Epoch, timing: LeaseTiming) -> None:
        self._bucket = bucket
        self._call = call
        self._worker = worker
        self._revision = int(epoch)
        self._timing = timing
        self._held_at = clock.monotonic()
        self.epoch = epoch

    @classmethod
    async def acquire(
        cls, bucket: KeyValue, *, call: CallId, worker: WorkerId, timing: LeaseTiming | None = None, wait_s: float = 0
    ) -> "Lease":
        """Take the call. ``wait_s``: how long its owner has to give it back.

        Raises:
            LeaseTakenError: it has an owner.
            nats.errors.Error: the bucket does not answer.
        """
        give_up_at = clock.monotonic() + wait_s
        while (revision := await _created(bucket, call, worker)) is None:
            if clock.monotonic() + RETRY_S > give_up_at:
                raise LeaseTakenError
            await asyncio.sleep(RETRY_S)
        return cls(bucket, call=call, worker=worker, epoch=Epoch(revision), timing=timing or LeaseTiming())

    async def keep(self) -> None:
        """Renew for ever.

        Raises:
            LeaseLostError: the call is not ours any more, or that cannot be known.
        """
        while True:
            await asyncio.sleep(self._timing.renew_s)
            try:
                self._revision = await self._bucket.update(
                    self._call, _value(self._worker, self.epoch), last=self._revision
                )
                self._held_at = clock.monotonic()
            except KeyWrongLastSequenceError:
                raise self._lost("taken") from None
            except (NatsError, TimeoutError, OSError) as exc:
                get_logger().warning("lease_renewal_failed", call_id=self._call, reason=type(exc).__name__)
                if clock.monotonic() - self._held_at > self._timing.ttl_s - self._timing.renew_s - _SAFETY_S:
                    raise self._lost("unreachable") from exc

    async def release(self) -> None:
        """Give the call back; if that fails the entry expires by itself."""
        try:
            await self._bucket.delete(self._call, last=self._revision)
        except (NatsError, TimeoutError, OSError) as exc:
            get_logger().warning("lease_release_failed", call_id=self._call, reason=type(exc).__name__)

    def _lost(self, reason: str) -> LeaseLostError:
        metrics.LEASES_LOST.labels(reason).inc()
        return LeaseLostError(reason)


async def _created(bucket: KeyValue, call: CallId, worker: WorkerId) -> int | None:
    try:
        return await bucket.create(call, _value(worker, Epoch(0)))
    except KeyWrongLastSequenceError:
        return None


def _value(worker: WorkerId, epoch: Epoch) -> bytes:
    return json.dumps({"worker": worker, "epoch": epoch, "renewed_unix_ms": clock.unix_ms()}).encode()
