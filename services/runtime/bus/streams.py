"""JetStream streams and buckets, each with its own size limit; all calls are idempotent.

Metering creates the streams, which it alone reads; each bucket is created by the service that uses it. The limits are
shares of the server's file store (`max_file_store`). The server reserves them when a stream is created, so whatever
fills one of them, the others keep their space.
"""

import asyncio
from dataclasses import replace
from enum import StrEnum

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError
from nats.js.kv import KeyValue

from services.contracts import subjects
from services.runtime.bus.bucket import Bucket
from services.runtime.errors import StoreTooSmallError

DEFAULT_STORE_MB, MIN_STORE_MB, MAX_STORE_MB = 2048, 32, 16_777_216
LEASE_TTL_S = 10.0
RATE_TTL_S = 120.0
GRANT_TTL_S = 7200 + 60.0
"""The longest time to redeem, plus clock skew. Each token has a TTL of its own, mostly shorter."""
ACCESS_TTL_S = 24 * 3600 + 300.0
"""A redeemed token may hang up its call and read its usage for 24 h; the rest is clock skew."""
_CALLS_AGE_S = 7 * 24 * 3600.0
_MAX_RECORD_BYTES = 4096
_NAME_IN_USE = 10058  # "stream name already in use with a different configuration": another version created it
_NO_ROOM = 10047  # "insufficient storage resources available"
_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8)
_MB = 1024 * 1024


class Share(StrEnum):
    """The parts of the file store."""

    USAGE = subjects.USAGE_STREAM
    CALLS = subjects.CALLS_STREAM
    PLACED = subjects.PLACED_STREAM
    LEASES = subjects.LEASES_BUCKET
    GRANTS = subjects.GRANTS_BUCKET
    ACCESS = subjects.ACCESS_BUCKET
    RATES = subjects.RATES_BUCKET


PERCENT = {
    Share.USAGE: 40,
    Share.CALLS: 8,
    Share.PLACED: 5,
    Share.LEASES: 10,
    Share.GRANTS: 20,
    Share.ACCESS: 12,
    Share.RATES: 1,
}
"""The rest is for the server's own data beside messages. Usage is money, so it has the largest share."""


def bound(share: Share, store_mb: int) -> int:
    """The size limit in bytes of a stream or bucket in a store of ``store_mb`` MiB."""
    return store_mb * _MB * PERCENT[share] // 100


async def ensure_usage_stream(js: JetStreamContext, *, store_mb: int = DEFAULT_STORE_MB, adjust: bool = False) -> None:
    """`USAGE`: kept until metering acknowledges. When full it rejects new messages, which then wait in the outboxes.

    ``adjust``: reconfigure a stream that another version created, or with another limit. Messages are never deleted.

    Raises:
        StoreTooSmallError: the server has no room for it.
        nats.errors.Error: the server rejects it or does not answer.
    """
    config = StreamConfig(
        name=subjects.USAGE_STREAM,
        subjects=[subjects.USAGE_SUBJECTS],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_bytes=bound(Share.USAGE, store_mb),
        duplicate_window=120,
    )
    await _ensure(js, config, store_mb=store_mb, adjust=adjust)


async def ensure_calls_stream(js: JetStreamContext, *, store_mb: int = DEFAULT_STORE_MB, adjust: bool = False) -> None:
    """`CALLS`: a week of history, or as much of it as fits; each reader has its own durable consumer.

    Raises:
        StoreTooSmallError: the server has no room for it.
        nats.errors.Error: the server rejects it or does not answer.
    """
    config = StreamConfig(
        name=subjects.CALLS_STREAM,
        subjects=[subjects.CALLS_SUBJECTS],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_bytes=bound(Share.CALLS, store_mb),
        max_age=_CALLS_AGE_S,
        duplicate_window=120,
    )
    await _ensure(js, config, store_mb=store_mb, adjust=adjust)


async def ensure_placed_stream(js: JetStreamContext, *, store_mb: int = DEFAULT_STORE_MB, adjust: bool = False) -> None:
    """`PLACED`: the calls that were placed, for a week; only signaling writes to it.

    Raises:
        StoreTooSmallError: the server has no room for it.
        nats.errors.Error: the server rejects it or does not answer.
    """
    config = StreamConfig(
        name=subjects.PLACED_STREAM,
        subjects=[subjects.PLACED],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_bytes=bound(Share.PLACED, store_mb),
        max_age=_CALLS_AGE_S,
        max_msg_size=_MAX_RECORD_BYTES,
        duplicate_window=120,
    )
    await _ensure(js, config, store_mb=store_mb, adjust=adjust)


async def grants_bucket(js: JetStreamContext, *, store_mb: int = DEFAULT_STORE_MB) -> Bucket:
    """KV of tokens that can be redeemed, by hash. When full it rejects new ones.

    Raises:
        StoreTooSmallError: the server has no room for it.
        nats.errors.Error: the server rejects it or does not answer.
    """
    await _ensure(js, _bucket(Share.GRANTS, GRANT_TTL_S, DiscardPolicy.NEW, store_mb), store_mb=store_mb, adjust=True)
    return Bucket(js, await js.key_value(Share.GRANTS))


async def access_bucket(js: JetStreamContext, *, store_mb: int = DEFAULT_STORE_MB) -> Bucket:
    """KV of who may read and end a call, for a day. When full it deletes the oldest and rejects no call.

    Raises:
        StoreTooSmallError: the server has no room for it.
        nats.errors.Error: the server rejects it or does not answer.
    """
    await _ensure(js, _bucket(Share.ACCESS, ACCESS_TTL_S, DiscardPolicy.OLD, store_mb), store_mb=store_mb, adjust=True)
    return Bucket(js, await js.key_value(Share.ACCESS))


async def leases_bucket(js: JetStreamContext, *, store_mb: int = DEFAULT_STORE_MB) -> KeyValue:
    """KV of calls and their owners; an entry that is not renewed expires after 10 s.

    Raises:
        StoreTooSmallError: the server has no room for it.
        nats.errors.Error: the server rejects it or does not answer.
    """
    await _ensure(js, _bucket(Share.LEASES, LEASE_TTL_S, DiscardPolicy.NEW, store_mb), store_mb=store_mb, adjust=True)
    return await js.key_value(Share.LEASES)


async def rates_bucket(js: JetStreamContext, *, store_mb: int = DEFAULT_STORE_MB) -> KeyValue:
    """KV of what each tenant has used in the last minute; an entry that is not changed expires after two.

    Raises:
        StoreTooSmallError: the server has no room for it.
        nats.errors.Error: the server rejects it or does not answer.
    """
    await _ensure(js, _bucket(Share.RATES, RATE_TTL_S, DiscardPolicy.NEW, store_mb), store_mb=store_mb, adjust=True)
    return await js.key_value(Share.RATES)


def _bucket(share: Share, ttl_s: float, discard: DiscardPolicy, store_mb: int) -> StreamConfig:
    """A bucket as the client library creates it, except for its discard policy."""
    return StreamConfig(
        name=f"KV_{share}",
        subjects=[f"$KV.{share}.>"],
        max_msgs_per_subject=1,
        max_age=ttl_s,
        max_bytes=bound(share, store_mb),
        discard=discard,
        storage=StorageType.FILE,
        duplicate_window=min(120.0, ttl_s),
        allow_rollup_hdrs=True,
        allow_msg_ttl=True,
        deny_delete=True,
    )


async def _ensure(js: JetStreamContext, config: StreamConfig, *, store_mb: int, adjust: bool) -> None:
    for pause in (*_PAUSES_S, None):
        try:
            await _ensure_config(js, config, adjust=adjust)
        except APIError as exc:
            if exc.err_code != _NO_ROOM:
                raise
            if pause is None:
                raise StoreTooSmallError(str(config.name), store_mb) from exc
            # While several processes create the same stream, the server reserves its space for each of them.
            await asyncio.sleep(pause)
        else:
            return


async def _ensure_config(js: JetStreamContext, config: StreamConfig, *, adjust: bool) -> None:
    try:
        found = (await js.stream_info(str(config.name))).config
    except NotFoundError:
        found = await _add_stream(js, config)
    updated = replace(
        found,
        subjects=config.subjects,  # an earlier version's subjects did not name the publisher
        max_bytes=config.max_bytes,
        max_age=config.max_age,
        discard=config.discard,
        duplicate_window=config.duplicate_window,
        allow_msg_ttl=config.allow_msg_ttl or found.allow_msg_ttl,
    )
    if adjust and _governed(updated) != _governed(found):
        await js.update_stream(updated)


async def _add_stream(js: JetStreamContext, config: StreamConfig) -> StreamConfig:
    try:
        return (await js.add_stream(config)).config
    except BadRequestError as exc:
        if exc.err_code != _NAME_IN_USE:
            raise
    return (await js.stream_info(str(config.name))).config


def _governed(config: StreamConfig) -> tuple[object, ...]:
    """The fields that this project configures; the server writes "none" as 0."""
    limits = (config.max_bytes, config.max_age or 0, config.duplicate_window or 0)
    return (*limits, tuple(config.subjects or ()), config.discard, bool(config.allow_msg_ttl))
