"""The lease of a call: a KV entry that expires unless renewed. The revision of its `create` is the epoch."""

import asyncio
import json
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from services.contracts.ids import CallId, Epoch, WorkerId
from services.contracts.liveness import BUS_AWAY_S
from services.runtime import clock
from services.runtime.telemetry.logging import get_logger
from services.upstream import metrics

RENEW_S = 3.0
RETRY_S = 0.05
_AGAIN_S = 0.5


class LeaseTakenError(Exception):
    """Another worker owns the call."""


class LeaseLostError(Exception):
    """The lease was not renewed in time, or another worker has it; ``reason`` labels `hushgate_leases_lost_total`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """How often a lease is renewed, and for how long renewals may fail, in seconds.

    While the bus is unreachable no other worker can claim the call, and a later owner has another epoch. So the entry
    may expire meanwhile, and a call is kept as long as media waits for the bus (ADR 12).
    """

    renew_s: float = RENEW_S
    unreachable_s: float = BUS_AWAY_S


class Lease:
    """This worker's lease of one call, made by `acquire`. Run `keep_renewed` while the call lasts, then `release`."""

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
        """Create the lease of ``call``; retry for ``wait_s`` seconds while another worker has it.

        Raises:
            LeaseTakenError: another worker still has it.
            nats.errors.Error: the bucket does not answer.
        """
        give_up_at = clock.monotonic() + wait_s
        while (revision := await _create_entry(bucket, call, _value(worker, Epoch(0)))) is None:
            if clock.monotonic() + RETRY_S > give_up_at:
                raise LeaseTakenError
            await asyncio.sleep(RETRY_S)
        return cls(bucket, call=call, worker=worker, epoch=Epoch(revision), timing=timing or LeaseTiming())

    async def keep_renewed(self) -> None:
        """Renew the lease until this is cancelled.

        Raises:
            LeaseLostError: another worker has the lease, or renewals failed for `LeaseTiming.unreachable_s`.
        """
        pause_s = self._timing.renew_s
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._renew()
                self._held_at = clock.monotonic()
                pause_s = self._timing.renew_s
            except (LeaseTakenError, KeyWrongLastSequenceError):
                raise self._lost("taken") from None
            except (NatsError, TimeoutError, OSError) as exc:
                get_logger().warning("lease_renewal_failed", call_id=self._call, reason=type(exc).__name__)
                if clock.monotonic() - self._held_at > self._timing.unreachable_s:
                    raise self._lost("unreachable") from exc
                pause_s = min(_AGAIN_S, self._timing.renew_s)

    async def release(self) -> None:
        """Delete the entry; if that fails, it is logged and the entry expires by itself."""
        try:
            await self._bucket.delete(self._call, last=self._revision)
        except (NatsError, TimeoutError, OSError) as exc:
            get_logger().warning("lease_release_failed", call_id=self._call, reason=type(exc).__name__)

    async def _renew(self) -> None:
        value = _value(self._worker, self.epoch)
        try:
            self._revision = await self._bucket.update(self._call, value, last=self._revision)
        except KeyWrongLastSequenceError:
            self._revision = await self._reacquire(value)

    async def _reacquire(self, value: bytes) -> int:
        """Renew an entry of another revision: it expired, the reply to a renewal was lost, or another worker has it."""
        try:
            found = await self._bucket.get(self._call)
        except KeyNotFoundError:
            revision = await _create_entry(self._bucket, self._call, value)
            if revision is None:
                raise LeaseTakenError from None
            return revision
        if found.revision != self.epoch and _claim_of(found.value) != (self._worker, self.epoch):
            raise LeaseTakenError
        return await self._bucket.update(self._call, value, last=found.revision)

    def _lost(self, reason: str) -> LeaseLostError:
        metrics.LEASES_LOST.labels(reason).inc()
        return LeaseLostError(reason)


async def _create_entry(bucket: KeyValue, call: CallId, value: bytes) -> int | None:
    try:
        return await bucket.create(call, value)
    except KeyWrongLastSequenceError:
        return None


def _value(worker: WorkerId, epoch: Epoch) -> bytes:
    return json.dumps({"worker": worker, "epoch": epoch, "renewed_unix_ms": clock.unix_ms()}).encode()


def _claim_of(value: bytes | None) -> tuple[object, object] | None:
    try:
        entry = json.loads(value or b"")
    except ValueError:
        return None
    return (entry.get("worker"), entry.get("epoch")) if isinstance(entry, dict) else None
