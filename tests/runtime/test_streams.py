"""Streams and buckets on a real nats-server."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, KeyNotFoundError, KeyWrongLastSequenceError

from services.contracts import subjects
from services.runtime.bus import streams
from services.runtime.bus.client import Bus
from services.runtime.errors import BucketFullError, StoreTooSmallError

MAKERS: tuple[Callable[..., Awaitable[object]], ...] = (
    streams.ensure_usage_stream,
    streams.ensure_calls_stream,
    streams.ensure_placed_stream,
    streams.grants_bucket,
    streams.access_bucket,
    streams.leases_bucket,
    streams.rates_bucket,
)


async def test_streams_may_be_created_concurrently(bus: Bus) -> None:
    js = bus.jetstream
    await asyncio.gather(*(make(js) for make in MAKERS for _ in range(5)))
    names = {info.config.name for info in await js.streams_info()}
    assert names == {"USAGE", "CALLS", "PLACED", "KV_grants", "KV_access", "KV_leases", "KV_rates"}


async def test_the_usage_stream_is_on_disk_and_rejects_when_full(bus: Bus) -> None:
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
    status = await (await streams.access_bucket(bus.jetstream)).entries.status()
    assert status.ttl is not None
    assert status.ttl >= 24 * 3600


async def test_a_token_is_not_stored_longer_than_it_may_be_asked_for(bus: Bus) -> None:
    grants = await streams.grants_bucket(bus.jetstream)
    status = await grants.entries.status()
    assert status.ttl is not None
    assert 7200 <= status.ttl < 8000
    await grants.create("short", b"a token", ttl_s=1)
    await grants.create("long", b"a token", ttl_s=60)
    async with asyncio.timeout(10):
        while (await grants.entries.status()).values > 1:
            await bus.flush()
    assert (await grants.entries.get("long")).value == b"a token"


def bounded(store_mb: int) -> dict[str, int]:
    return {f"{'' if share.isupper() else 'KV_'}{share}": streams.bound(share, store_mb) for share in streams.Share}


@pytest.mark.parametrize("store_mb", [32, 40, 100])
async def test_all_bounds_together_fit_into_the_store(bus: Bus, store_mb: int) -> None:
    for make in MAKERS:
        await make(bus.jetstream, store_mb=store_mb)
    bounds = {info.config.name: info.config.max_bytes for info in await bus.jetstream.streams_info()}
    assert bounds == bounded(store_mb)
    assert sum(streams.bound(share, store_mb) for share in streams.Share) < store_mb * 1024 * 1024


async def test_a_stream_without_a_limit_gets_one_and_keeps_its_messages(bus: Bus) -> None:
    js = bus.jetstream
    old = StreamConfig(
        name="USAGE", subjects=["hg.usage.*"], retention=RetentionPolicy.WORK_QUEUE, discard=DiscardPolicy.NEW
    )
    await js.add_stream(old)
    await js.add_stream(StreamConfig(name="CALLS", subjects=["hg.calls.*"], max_bytes=1024))
    for bucket in ("grants", "leases"):
        await (await js.create_key_value(bucket=bucket, ttl=48 * 3600)).put("k", b"kept")
    ack = await js.publish("hg.usage.acme", b"money")
    await streams.ensure_usage_stream(js, store_mb=bus.store_mb)
    assert (await js.stream_info("USAGE")).config.max_bytes == -1  # only metering changes it
    await streams.ensure_usage_stream(js, store_mb=bus.store_mb, adjust=True)
    await streams.ensure_calls_stream(js, store_mb=bus.store_mb, adjust=True)
    for make in MAKERS[2:]:
        await make(js, store_mb=bus.store_mb)
    bounds = {info.config.name: info.config.max_bytes for info in await js.streams_info()}
    assert bounds == bounded(bus.store_mb)
    assert (await js.get_msg("USAGE", ack.seq)).data == b"money"
    assert (await (await js.key_value("leases")).get("k")).value == b"kept"


@pytest.mark.parametrize("store_mb", [40])
async def test_a_stream_with_more_in_it_than_its_new_bound_loses_nothing(bus: Bus) -> None:
    await streams.ensure_usage_stream(bus.jetstream, store_mb=80)
    sent = 300
    for _ in range(sent):
        await bus.jetstream.publish("hg.usage.media.media-0.acme", b"x" * 80_000)
    await streams.ensure_usage_stream(bus.jetstream, store_mb=40, adjust=True)
    info = await bus.jetstream.stream_info("USAGE")
    assert (info.state.messages, info.config.max_bytes) == (sent, streams.bound(streams.Share.USAGE, 40))
    with pytest.raises(APIError, match="10077"):
        await bus.jetstream.publish("hg.usage.media.media-0.acme", b"x")


@pytest.mark.parametrize("store_mb", [40])
async def test_a_store_smaller_than_the_setting_is_an_error(bus: Bus) -> None:
    for make in MAKERS[:2]:
        await make(bus.jetstream, store_mb=40)
    with pytest.raises(StoreTooSmallError, match=r"set \*_NATS_STORE_MB, now 400, to the MiB of its"):
        await streams.grants_bucket(bus.jetstream, store_mb=400)


@pytest.mark.parametrize("store_mb", [40])
@pytest.mark.parametrize("full", list(streams.Share))
async def test_a_full_stream_leaves_the_others_their_space(bus: Bus, full: streams.Share) -> None:
    for make in MAKERS:
        await make(bus.jetstream, store_mb=40)
    refused = 0
    while refused < 2 and (await size(bus, full)) < 0.97 * streams.bound(full, 40):
        try:
            await fill(bus, full, 20)
        except APIError:
            refused += 1
    for share in streams.Share:
        if share != full:
            await fill(bus, share, 4)  # 0.3 MB
            assert (await size(bus, share)) > 300_000


async def size(bus: Bus, share: streams.Share) -> int:
    name = share if share.isupper() else f"KV_{share}"
    return int((await bus.jetstream.stream_info(name)).state.bytes)


async def fill(bus: Bus, share: streams.Share, count: int) -> None:
    """Messages of 80 kB in all, ``count`` times; those of `PLACED` are small."""
    size, each = (4000, 20) if share is streams.Share.PLACED else (80_000, 1)
    named = {"USAGE": "hg.usage.media.media-0.acme", "CALLS": "hg.calls.media-0.ended", "PLACED": subjects.PLACED}
    for _ in range(count * each):
        await bus.jetstream.publish(named.get(share, f"$KV.{share}.{uuid4().hex}"), bytes(size))


@pytest.mark.parametrize("store_mb", [40])
async def test_a_full_bucket_takes_what_makes_an_entry_smaller_and_nothing_else(bus: Bus) -> None:
    grants = await streams.grants_bucket(bus.jetstream, store_mb=40)
    room = streams.bound(streams.Share.GRANTS, 40) // 80_400
    for number in range(room):
        last = await grants.create(f"k{number}", b"x" * 80_000, ttl_s=600)
    with pytest.raises(BucketFullError):
        await grants.create("more", b"x" * 80_000, ttl_s=600)
    key = f"k{room - 1}"
    with pytest.raises(KeyWrongLastSequenceError):
        await grants.update(key, b"redeemed", last=last + 1, ttl_s=600)
    assert await grants.update(key, b"redeemed", last=last, ttl_s=600) > last
    assert (await grants.entries.get(key)).value == b"redeemed"


@pytest.mark.parametrize("store_mb", [40])
async def test_a_full_access_bucket_deletes_the_oldest(bus: Bus) -> None:
    access = await streams.access_bucket(bus.jetstream, store_mb=40)
    for number in range(100):
        await access.put(f"k{number}", b"x" * 80_000, ttl_s=600)
    assert (await access.entries.get("k99")).value
    with pytest.raises(KeyNotFoundError):
        await access.entries.get("k0")
    await access.remove("k99")
    with pytest.raises(KeyNotFoundError):
        await access.entries.get("k99")


async def test_a_stream_that_cannot_be_made_is_an_error(bus: Bus) -> None:
    await bus.jetstream.add_stream(name="OTHER", subjects=[subjects.USAGE_SUBJECTS])
    with pytest.raises(APIError, match="overlap"):
        await streams.ensure_usage_stream(bus.jetstream)
