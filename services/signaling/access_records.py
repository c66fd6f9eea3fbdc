"""Writes the records of calls to the bucket `access`, within each tenant's share of it."""

import asyncio
from dataclasses import dataclass, field

from services.contracts.ids import TenantId
from services.runtime import clock
from services.runtime.bus.bucket import ENTRY_BYTES, Bucket
from services.signaling import metrics
from services.signaling.bucket_fill import BucketFill
from services.signaling.core.stored_records import AccessRecord, StoredRecords, access_room

FILL_FRESH_S = 5.0
"""Maximum age of the bucket's fill; what this process has written since is added."""


@dataclass(slots=True)
class AccessRecords:
    """One process's writer: it counts what it has written, and deletes a tenant's oldest records beyond its share."""

    _stored: StoredRecords = field(default_factory=StoredRecords)
    _fill: BucketFill = field(default_factory=BucketFill)

    async def write(self, bucket: Bucket, tenant: TenantId, records: list[AccessRecord]) -> None:
        """Write the records of a call to ``bucket``, always the same one.

        Raises:
            nats.errors.Error: the bucket does not answer.
            BucketFullError: it is full.
        """
        size = sum(len(record.value) + ENTRY_BYTES for record in records)
        with self._fill.write(size):
            fill = await self._fill.read(bucket, fresh_s=FILL_FRESH_S)
            await asyncio.gather(*(bucket.put(one.key, one.value, ttl_s=one.ttl_s) for one in records))
        now = clock.monotonic()
        keys = tuple(record.key for record in records)
        self._stored.add(tenant, keys, size, now=now, end=now + max(record.ttl_s for record in records))
        if fill.max_bytes < 0:  # on a NATS server that is not ours
            return
        surplus = self._stored.pop_surplus(tenant, room=access_room(bound=fill.max_bytes, used=fill.used_bytes))
        await asyncio.gather(*(bucket.remove(key) for key in surplus))
        metrics.ACCESS_DROPPED.inc(len(surplus))
