"""JetStream streams and buckets; all calls are idempotent.

Metering makes the streams, which it alone reads; each bucket is made by the service that uses it.
"""

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, KeyValueConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, BucketNotFoundError, NotFoundError
from nats.js.kv import KeyValue

from services.contracts import subjects

LEASE_TTL_S = 10.0
GRANT_TTL_S = 48 * 3600.0
"""A redeemed token may hang up its call and read its usage for 24 h; the rest is what a clock may be wrong."""
_CALLS_AGE_S = 7 * 24 * 3600.0
_PLACED_BYTES = 128 * 1024 * 1024  # half a million calls
_MAX_RECORD_BYTES = 4096
_USAGE_BYTES = 1024 * 1024 * 1024  # 400,000 events: hours of a large site with metering away
_CALLS_BYTES = 256 * 1024 * 1024
_NAME_IN_USE = 10058  # "stream name already in use with a different configuration": another version made it


async def ensure_usage_stream(js: JetStreamContext) -> None:
    """`USAGE`: kept until metering acknowledges. Full, it refuses what is new, which then waits in the outboxes.

    Raises:
        nats.errors.Error: the server does not do it.
    """
    await _ensure(
        js,
        StreamConfig(
            name=subjects.USAGE_STREAM,
            subjects=[subjects.USAGE_SUBJECTS],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_bytes=_USAGE_BYTES,
            duplicate_window=120,
        ),
    )


async def ensure_calls_stream(js: JetStreamContext) -> None:
    """`CALLS`: a week of history; each reader has a durable consumer of its own.

    Raises:
        nats.errors.Error: the server does not do it.
    """
    await _ensure(
        js,
        StreamConfig(
            name=subjects.CALLS_STREAM,
            subjects=[subjects.CALLS_SUBJECTS],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.OLD,
            max_bytes=_CALLS_BYTES,
            max_age=_CALLS_AGE_S,
            duplicate_window=120,
        ),
    )


async def ensure_placed_stream(js: JetStreamContext) -> None:
    """`PLACED`: which calls there are, for a week; only signaling writes to it.

    Raises:
        nats.errors.Error: the server does not do it.
    """
    await _ensure(
        js,
        StreamConfig(
            name=subjects.PLACED_STREAM,
            subjects=[subjects.PLACED],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.OLD,
            max_bytes=_PLACED_BYTES,
            max_age=_CALLS_AGE_S,
            max_msg_size=_MAX_RECORD_BYTES,
            duplicate_window=120,
        ),
    )


async def grants_bucket(js: JetStreamContext) -> KeyValue:
    """KV of grants under the hash of their token, on disk; an entry is forgotten after two days.

    Raises:
        nats.errors.Error: the server does not do it.
    """
    return await _bucket(js, KeyValueConfig(bucket=subjects.GRANTS_BUCKET, ttl=GRANT_TTL_S, storage=StorageType.FILE))


async def leases_bucket(js: JetStreamContext) -> KeyValue:
    """KV of calls and their owners; an entry that is not renewed is gone after 10 s.

    Raises:
        nats.errors.Error: the server does not do it.
    """
    return await _bucket(js, KeyValueConfig(bucket=subjects.LEASES_BUCKET, ttl=LEASE_TTL_S, storage=StorageType.FILE))


async def _ensure(js: JetStreamContext, config: StreamConfig) -> None:
    name = str(config.name)
    try:
        found = (await js.stream_info(name)).config
        if found.subjects != config.subjects:  # of a version whose subjects did not name who publishes
            await js.update_stream(found, subjects=config.subjects)
    except NotFoundError:
        try:
            await js.add_stream(config)
        except BadRequestError as exc:
            if exc.err_code != _NAME_IN_USE:
                raise


async def _bucket(js: JetStreamContext, config: KeyValueConfig) -> KeyValue:
    try:
        return await js.key_value(config.bucket)
    except BucketNotFoundError:
        try:
            return await js.create_key_value(config)
        except BadRequestError as exc:
            if exc.err_code != _NAME_IN_USE:
                raise
        return await js.key_value(config.bucket)
