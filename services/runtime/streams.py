"""Streams and buckets of JetStream: made by whoever needs them first, the same for all."""

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, KeyValueConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, BucketNotFoundError, NotFoundError
from nats.js.kv import KeyValue

from services.contracts import subjects

GRANT_TTL_S = 48 * 3600
"""A redeemed token works for 24 h; twice that, so that a grant never goes while its token still does."""
LEASE_TTL_S = 10
_WEEK_S = 7 * 24 * 3600
_USAGE_BYTES = 1024**3


async def ensure_usage_stream(js: JetStreamContext) -> None:
    """`USAGE`: kept a week; full, it refuses new events, which then wait in their outboxes."""
    await _ensure(js, subjects.USAGE_STREAM, subjects.USAGE_SUBJECTS)


async def ensure_calls_stream(js: JetStreamContext) -> None:
    """`CALLS`: what began and ended, kept a week."""
    await _ensure(js, subjects.CALLS_STREAM, subjects.CALLS_SUBJECTS)


async def grants_bucket(js: JetStreamContext) -> KeyValue:
    """Grants under the hash of their token."""
    return await _bucket(js, KeyValueConfig(bucket=subjects.GRANTS_BUCKET, ttl=GRANT_TTL_S, storage=StorageType.FILE))


async def leases_bucket(js: JetStreamContext) -> KeyValue:
    """Who owns a call; an entry that is not renewed goes by itself.

    On file, so that a restarted server goes on counting revisions: an epoch must never come twice.
    """
    return await _bucket(js, KeyValueConfig(bucket=subjects.LEASES_BUCKET, ttl=LEASE_TTL_S, storage=StorageType.FILE))


async def _ensure(js: JetStreamContext, name: str, pattern: str) -> None:
    config = StreamConfig(
        name=name,
        subjects=[pattern],
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        max_age=_WEEK_S,
        max_bytes=_USAGE_BYTES,
    )
    try:
        await js.stream_info(name)
    except NotFoundError:
        try:
            await js.add_stream(config)
        except BadRequestError:  # another process was faster, with a server that minds
            await js.stream_info(name)


async def _bucket(js: JetStreamContext, config: KeyValueConfig) -> KeyValue:
    try:
        return await js.key_value(config.bucket)
    except BucketNotFoundError:
        try:
            return await js.create_key_value(config=config)
        except BadRequestError:
            return await js.key_value(config.bucket)
