"""The claim on a call: a KV entry that expires unless renewed. The revision of its `create` is the epoch."""

import asyncio
import json
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from services.contracts.ids import CallId, Epoch, WorkerId
from services.contracts.liveness import BUS_AWAY_S
from services.runtime import clock
from services.runtime.logging import get_logger
from services.upstream import metrics

RENEW_S = 3.0
RETRY_S = 0.05
_AGAIN_S = 0.5


class LeaseTakenError(Exception):
    """Another worker owns the call."""


class LeaseLostError(Exception):
    """The lease could not be renewed in time, or is another's now; ``reason`` is a metric's label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """How often a lease is renewed, and for how long that may fail.

    Without the bus nobody can take the call, and once it is back whoever took it has another epoch: so the entry may
    expire meanwhile, and a call is kept as long as it waits for the bus (ADR 12).
    """

    renew_s: float = RENEW_S
    unreachable_s: float = BUS_AWAY_S


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
        while (revision := await _created(bucket, call, _value(worker, Epoch(0)))) is None:
            if clock.monotonic() + RETRY_S > give_up_at:
                raise LeaseTakenError
            await asyncio.sleep(RETRY_S)
        return cls(bucket, call=call, worker=worker, epoch=Epoch(revision), timing=timing or LeaseTiming())

    async def keep(self) -> None:
        """Renew for ever.

        Raises:
            LeaseLostError: the call is not ours any more, or that cannot be known.
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
        """Give the call back; if that fails the entry expires by itself."""
        try:
            await self._bucket.delete(self._call, last=self._revision)
        except (NatsError, TimeoutError, OSError) as exc:
            get_logger().warning("lease_release_failed", call_id=self._call, reason=type(exc).__name__)

    async def _renew(self) -> None:
        value = _value(self._worker, self.epoch)
        try:
            self._revision = await self._bucket.update(self._call, value, last=self._revision)
        except KeyWrongLastSequenceError:
            self._revision = await self._regained(value)

    async def _regained(self, value: bytes) -> int:
        """The entry is not what we know: it expired, an answer to us was lost with the bus, or it is another's now."""
        try:
            found = await self._bucket.get(self._call)
        except KeyNotFoundError:
            revision = await _created(self._bucket, self._call, value)
            if revision is None:
                raise LeaseTakenError from None
            return revision
        if found.revision != self.epoch and _claim_of(found.value) != (self._worker, self.epoch):
            raise LeaseTakenError
        return await self._bucket.update(self._call, value, last=found.revision)

    def _lost(self, reason: str) -> LeaseLostError:
        metrics.LEASES_LOST.labels(reason).inc()
        return LeaseLostError(reason)


async def _created(bucket: KeyValue, call: CallId, value: bytes) -> int | None:
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
