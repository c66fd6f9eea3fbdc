"""Streams and buckets on a real nats-server."""

import asyncio

import pytest
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType
from nats.js.errors import APIError, KeyWrongLastSequenceError

from services.contracts import subjects
from services.runtime import streams
from services.runtime.bus import Bus


async def test_everybody_may_make_everything_at_the_same_time(bus: Bus) -> None:
    js = bus.jetstream
    made = (streams.ensure_usage_stream, streams.ensure_calls_stream, streams.ensure_placed_stream)
    makers = (*made, streams.grants_bucket, streams.leases_bucket)
    await asyncio.gather(*(make(js) for make in makers for _ in range(5)))
    names = {info.config.name for info in await js.streams_info()}
    assert names == {"USAGE", "CALLS", "PLACED", "KV_grants", "KV_leases"}


async def test_usage_is_kept_on_disk_and_refuses_rather_than_forgets(bus: Bus) -> None:
    await streams.ensure_usage_stream(bus.jetstream)
    config = (await bus.jetstream.stream_info(subjects.USAGE_STREAM)).config
    assert (config.storage, config.discard) == (StorageType.FILE, DiscardPolicy.NEW)
    assert config.retention == RetentionPolicy.WORK_QUEUE


async def test_calls_can_be_read_by_several(bus: Bus) -> None:
    await streams.ensure_calls_stream(bus.jetstream)
    for reader in ("metering", "signaling"):
        subscription = await bus.jetstream.pull_subscribe(subjects.CALLS_SUBJECTS, durable=reader, stream="CALLS")
        await subscription.unsubscribe()
    assert len(await bus.jetstream.consumers_info("CALLS")) == 2


async def test_a_lease_belongs_to_who_created_it(bus: Bus) -> None:
    leases = await streams.leases_bucket(bus.jetstream)
    epoch = await leases.create("rtc_x", b"worker-0")
    with pytest.raises(KeyWrongLastSequenceError):
        await leases.create("rtc_x", b"worker-1")
    assert await leases.update("rtc_x", b"worker-0", last=epoch) > epoch
    assert (await leases.status()).ttl == streams.LEASE_TTL_S


async def test_grants_outlive_the_day_in_which_a_token_may_read_its_usage(bus: Bus) -> None:
    status = await (await streams.grants_bucket(bus.jetstream)).status()
    assert status.ttl is not None
    assert status.ttl >= 24 * 3600


async def test_a_stream_that_cannot_be_made_is_an_error(bus: Bus) -> None:
    await bus.jetstream.add_stream(name="OTHER", subjects=[subjects.USAGE_SUBJECTS])
    with pytest.raises(APIError, match="overlap"):
        await streams.ensure_usage_stream(bus.jetstream)
