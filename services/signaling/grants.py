"""Tokens in the KV bucket `grants` and call access in the bucket `access`, shared by all signaling processes.

`grants` stores the grant of a token under the token's hash until the token expires. `access` stores for a day
`call.<id>`, the tenant of a call, and `token.<hash>`, the call of a redeemed token. Records in `access` are small.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from pydantic import BaseModel, ConfigDict, ValidationError

from services.contracts.grant import Grant
from services.contracts.ids import CallId, ProcessId, TenantId
from services.runtime import clock
from services.runtime.bus.bucket import ENTRY_BYTES, Bucket
from services.runtime.errors import BucketFullError, HushgateError
from services.runtime.telemetry.logging import get_logger
from services.signaling import metrics
from services.signaling.access_records import AccessRecords
from services.signaling.bucket_fill import BucketFill
from services.signaling.core import token, token_quota
from services.signaling.core.limits import Limited
from services.signaling.core.stored_records import AccessRecord
from services.signaling.core.tenants import key_hash
from services.signaling.core.token import Issued, MalformedRecordError, Redeemed, Rejection, TokenRecord
from services.signaling.core.token_quota import LiveTokens, QuotaExceeded, TokenQuota

_ACCESS_TTL_S = token.REDEEMED_TTL_MS // 1000 + 60


class TokenRejectedError(HushgateError):
    """The token is refused. The reason goes to metric and log, never to the client."""

    def __init__(self, reason: Rejection) -> None:
        super().__init__(f"token refused: {reason}")
        self.reason = reason


class TooManyTokensError(HushgateError):
    """The tenant, or all tenants together, have the maximum of live tokens."""

    retryable = True

    def __init__(self, refused: QuotaExceeded) -> None:
        super().__init__(f"no more tokens: {refused.reason}")
        self.reason = refused.reason
        self.wait_s = refused.wait_s


class GrantsUnavailableError(HushgateError):
    """The KV bucket does not answer."""

    retryable = True


class CallOwner(BaseModel):
    """Tenant of a call and the media process that carries it (empty in older records)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tenant: TenantId
    process: ProcessId = ProcessId("")


@dataclass(frozen=True, slots=True)
class Redemption:
    """A token redeemed, or redeemable, for a call; ``revision`` is that of its record, for the next update."""

    record: Redeemed
    issued: Issued
    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Grants:
    """Issues, redeems and releases tokens, and records the tenant and media process of each call."""

    tokens: Bucket
    access: Bucket
    connected: Callable[[], bool]
    """Whether NATS is connected; if not, requests fail at once instead of waiting for a reconnect."""
    fill_fresh_s: float = 0.25
    """Maximum age, in seconds, of the bucket's fill; writes of other processes since then are not counted."""
    live: LiveTokens = field(default_factory=LiveTokens)
    _fill: BucketFill = field(default_factory=BucketFill)
    _records: AccessRecords = field(default_factory=AccessRecords)

    async def issue(self, grant: Grant, *, seconds: int, most: TokenQuota) -> tuple[str, Issued]:
        """Issue a token; only its hash is stored. ``most``: the tenant's limits of redeemable tokens.

        Raises:
            TooManyTokensError: the tenant has its maximum of live tokens, or the bucket is full.
            GrantsUnavailableError: the bucket does not answer.
        """
        value = f"ek_{secrets.token_urlsafe(32)}"  # 43 characters
        key, now_unix_ms = key_hash(value), clock.unix_ms()
        record = Issued(grant=grant, issued_unix_ms=now_unix_ms, expires_unix_ms=now_unix_ms + seconds * 1000)
        written, ttl_s = record.encode(), token.redeemable_ttl_s(record, now_unix_ms=now_unix_ms)
        size = len(written) + ENTRY_BYTES
        with self._bucket_errors("tokens cannot be stored"):
            fill, now = await self._fill.read(self.tokens, fresh_s=self.fill_fresh_s), clock.monotonic()
            # On a NATS server that is not ours the bucket may be unbounded.
            room = token_quota.share(bound=fill.max_bytes, used=fill.used_bytes) if fill.max_bytes >= 0 else most.room
            allowed = replace(most, room=min(room, most.room))
            refused = self.live.reserve(grant.tenant, key, size, allowed=allowed, now=now, end=now + ttl_s)
            if refused is not None:
                raise TooManyTokensError(refused)
            try:
                with self._fill.write(size):
                    await self.tokens.create(key, written, ttl_s=ttl_s)
            except BaseException as exc:
                self.live.release(grant.tenant, key)
                if isinstance(exc, BucketFullError):
                    raise TooManyTokensError(QuotaExceeded(Limited.STORE_FULL, token_quota.DEFAULT_RETRY_S)) from None
                raise
        return value, record

    async def redeemable(self, value: str, call: CallId) -> Redemption:
        """Return the redemption that `redeem` would make for ``call``, without redeeming the token.

        Raises:
            TokenRejectedError: unknown, expired or used.
            GrantsUnavailableError: the bucket does not answer.
        """
        record, revision = await self._record(self.tokens, value, key_hash(value))
        decided = token.redeem(record, call, now_unix_ms=clock.unix_ms())
        if isinstance(record, Redeemed) or isinstance(decided, Rejection):
            raise TokenRejectedError(decided if isinstance(decided, Rejection) else Rejection.USED)
        return Redemption(decided, record, key_hash(value), revision)

    async def redeem(self, value: str, call: CallId) -> Redemption:
        """Redeem a token for ``call``; of several concurrent attempts one succeeds.

        Raises:
            TokenRejectedError: unknown, expired, used, or redeemed concurrently.
            GrantsUnavailableError: the bucket does not answer.
        """
        planned = await self.redeemable(value, call)
        with self._bucket_errors("a token cannot be redeemed"):
            try:
                revision = await self._replace(planned, planned.record)
            except KeyWrongLastSequenceError:
                raise TokenRejectedError(Rejection.LOST_RACE) from None
        return replace(planned, revision=revision)

    async def release(self, redemption: Redemption) -> None:
        """Make the token redeemable again because its call got no answer. If that fails, it stays redeemed."""
        try:
            await self._replace(redemption, redemption.issued)
        except (NatsError, TimeoutError, BucketFullError) as exc:
            metrics.TOKENS_RELEASED.labels("failed").inc()
            get_logger().warning("token_not_released", reason=type(exc).__name__, call_id=redemption.record.call)
        else:
            metrics.TOKENS_RELEASED.labels("done").inc()

    async def _replace(self, redemption: Redemption, record: TokenRecord) -> int:
        ttl_s = token.redeemable_ttl_s(redemption.issued, now_unix_ms=clock.unix_ms())
        return await self.tokens.update(redemption.key, record.encode(), last=redemption.revision, ttl_s=ttl_s)

    async def record_call(
        self,
        call: CallId,
        owner: CallOwner,
        redemption: Redemption | None = None,
        *,
        also: AccessRecord | None = None,
    ) -> None:
        """Store tenant, media process and token of a call for a day, and the record ``also``.

        The tenant's oldest records are deleted beyond its share of the bucket.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        records = [AccessRecord(_call_key(call), owner.model_dump_json().encode(), _ACCESS_TTL_S)]
        if redemption is not None:
            records.append(AccessRecord(_token_key(redemption.key), redemption.record.encode(), _ACCESS_TTL_S))
        if also is not None:
            records.append(also)
        with self._bucket_errors("a call cannot be stored"):
            await self._records.write(self.access, owner.tenant, records)
        if redemption is not None:
            self.live.release(owner.tenant, redemption.key)

    async def redeemed_call(self, value: str) -> Redeemed:
        """Return the record of a redeemed token.

        Raises:
            TokenRejectedError: unknown, not redeemed, or redeemed more than a day ago.
            GrantsUnavailableError: the bucket does not answer.
        """
        key = key_hash(value)
        try:
            record, _ = await self._record(self.access, value, _token_key(key))
        except TokenRejectedError:
            record, _ = await self._record(self.tokens, value, key)  # only for the reason
        decided = token.redeemed_call(record, now_unix_ms=clock.unix_ms())
        if isinstance(record, Issued) or isinstance(decided, Rejection):
            raise TokenRejectedError(decided if isinstance(decided, Rejection) else Rejection.NOT_REDEEMED)
        return record

    async def owner(self, call: CallId) -> CallOwner | None:
        """Return tenant and media process of a call, or None if the call is unknown.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        found = await self._get(self.access, _call_key(call))
        try:
            return CallOwner.model_validate_json(found[0]) if found else None
        except ValidationError:
            get_logger().error("call_owner_malformed", call_id=call)
            return None

    async def _record(self, bucket: Bucket, value: str, key: str) -> tuple[TokenRecord, int]:
        found = await self._get(bucket, key) if token.well_formed(value) else None
        if found is None:
            raise TokenRejectedError(Rejection.UNKNOWN)
        try:
            return token.decode(found[0]), found[1]
        except MalformedRecordError:
            get_logger().error("grant_malformed")
            raise TokenRejectedError(Rejection.UNKNOWN) from None

    async def _get(self, bucket: Bucket, key: str) -> tuple[bytes, int] | None:
        with self._bucket_errors("the bucket of tokens does not answer"):
            try:
                entry = await bucket.entries.get(key)
            except KeyNotFoundError:  # also raised for a deleted key
                return None
        return entry.value or b"", entry.revision or 0

    @contextmanager
    def _bucket_errors(self, failure: str) -> Iterator[None]:
        if not self.connected():
            raise GrantsUnavailableError("not connected to the NATS server")
        try:
            yield
        except (NatsError, TimeoutError, BucketFullError) as exc:
            raise GrantsUnavailableError(failure) from exc


def _call_key(call: CallId) -> str:
    return f"call.{call}"


def _token_key(key: str) -> str:
    return f"token.{key}"
