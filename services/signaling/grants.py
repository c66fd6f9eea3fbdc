"""Tokens in the KV bucket `grants`, and who may ask about a call in `access`: so every signaling process knows them.

In `grants` lies, under the hash of a token, what it allows, until it expires. In `access` lie, for a day, `call.<id>`:
whose call that is, and `token.<hash>`: which call a redeemed token has become. Those are small.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from pydantic import BaseModel, ConfigDict, ValidationError

from services.contracts.grant import Grant
from services.contracts.ids import CallId, TenantId
from services.runtime import clock
from services.runtime.bucket import ENTRY_BYTES, Bucket, Fill
from services.runtime.errors import BucketFullError, HushgateError
from services.runtime.logging import get_logger
from services.signaling import metrics
from services.signaling.core import shares, token
from services.signaling.core.limits import Limited
from services.signaling.core.shares import Allowance, LiveTokens, Refused
from services.signaling.core.tenants import key_hash
from services.signaling.core.token import Issued, MalformedRecordError, Redeemed, Rejection, TokenRecord

_ACCESS_TTL_S = token.AFTERLIFE_MS // 1000 + 60


class TokenRejectedError(HushgateError):
    """The token does not allow this. The reason is for metric and log, never for the client."""

    def __init__(self, reason: Rejection) -> None:
        super().__init__(f"token refused: {reason}")
        self.reason = reason


class TooManyTokensError(HushgateError):
    """The tenant, or all together, hold as many tokens as may be."""

    retryable = True

    def __init__(self, refused: Refused) -> None:
        super().__init__(f"no more tokens: {refused.reason}")
        self.reason = refused.reason
        self.wait_s = refused.wait_s


class GrantsUnavailableError(HushgateError):
    """The bucket does not answer."""

    retryable = True


class _CallOwner(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    tenant: TenantId


@dataclass(frozen=True, slots=True)
class Redemption:
    """A token that has become a call, or would; the next update of it, its release too, needs ``revision``."""

    record: Redeemed
    issued: Issued
    key: str
    revision: int


@dataclass(slots=True)
class _Room:
    """How full the bucket of tokens is: as the server said last, and what this process has written since."""

    _fill: Fill = field(default_factory=lambda: Fill(0, -1))
    _asked_at: float = float("-inf")
    _written: int = 0
    _writing: int = 0
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def share(self, tokens: Bucket, fresh_s: float) -> int:
        """The bytes that one tenant may hold; the server is asked again after ``fresh_s``."""
        async with self._asking:
            if clock.monotonic() - self._asked_at > fresh_s:
                self._written = 0  # what is written while it is asked counts twice until the next time
                self._fill = await tokens.fill()
                self._asked_at = clock.monotonic()
        used = self._fill.used_bytes + self._written + self._writing
        # A server of somebody else's may keep the bucket without a bound.
        return shares.share(bound=self._fill.max_bytes, used=used) if self._fill.max_bytes >= 0 else 2**63

    @contextmanager
    def write(self, size: int) -> Iterator[None]:
        """The block writes so many bytes, or fails."""
        self._writing += size
        try:
            yield
            self._written += size
        finally:
            self._writing -= size


@dataclass(frozen=True, slots=True)
class Grants:
    """Makes, redeems and releases tokens, and remembers whose calls are whose."""

    tokens: Bucket
    access: Bucket
    connected: Callable[[], bool]
    """Without the server nothing is tried: the client library would wait for it, and so would the caller."""
    fill_fresh_s: float = 0.25
    """How full the bucket is is asked again after so long; what others write meanwhile is not counted."""
    live: LiveTokens = field(default_factory=LiveTokens)
    _room: _Room = field(default_factory=_Room)

    async def issue(self, grant: Grant, *, seconds: int, most: int) -> tuple[str, Issued]:
        """Make a token; only its hash is stored. The tenant may hold ``most`` that can be redeemed, and its share.

        Raises:
            TooManyTokensError: it holds as much as it may, or the bucket is full.
            GrantsUnavailableError: the bucket does not answer.
        """
        value = f"ek_{secrets.token_urlsafe(32)}"  # 43 characters
        key, now_unix_ms = key_hash(value), clock.unix_ms()
        record = Issued(grant=grant, issued_unix_ms=now_unix_ms, expires_unix_ms=now_unix_ms + seconds * 1000)
        written, ttl_s = record.encode(), token.redeemable_ttl_s(record, now_unix_ms=now_unix_ms)
        size = len(written) + ENTRY_BYTES
        with self._asking("tokens cannot be stored"):
            room, now = await self._room.share(self.tokens, self.fill_fresh_s), clock.monotonic()
            allowed = Allowance(tokens=most, room=room)
            refused = self.live.reserve(grant.tenant, key, size, allowed=allowed, now=now, end=now + ttl_s)
            if refused is not None:
                raise TooManyTokensError(refused)
            try:
                with self._room.write(size):
                    await self.tokens.create(key, written, ttl_s=ttl_s)
            except BaseException as exc:
                self.live.release(grant.tenant, key)
                if isinstance(exc, BucketFullError):
                    raise TooManyTokensError(Refused(Limited.STORE_FULL, shares.NOBODY_ELSE_S)) from None
                raise
        return value, record

    async def redeemable(self, value: str, call: CallId) -> Redemption:
        """What redeeming a token for ``call`` would make of it now. Nothing is changed.

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
        """Turn a token into ``call``; of any number that try, one succeeds.

        Raises:
            TokenRejectedError: unknown, expired, used, or another was faster.
            GrantsUnavailableError: the bucket does not answer.
        """
        planned = await self.redeemable(value, call)
        with self._asking("a token cannot be redeemed"):
            try:
                revision = await self._replace(planned, planned.record)
            except KeyWrongLastSequenceError:
                raise TokenRejectedError(Rejection.LOST_RACE) from None
        return replace(planned, revision=revision)

    async def release(self, redemption: Redemption) -> None:
        """Set the token free again because its call got no answer. If that fails it stays used: the safe side."""
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

    async def remember(
        self,
        call: CallId,
        tenant: TenantId,
        redemption: Redemption | None = None,
        *,
        beside: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Keep for a day whose call it is, and which token may ask about it; ``beside`` is what else is to be kept.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        owner = _CallOwner(tenant=tenant).model_dump_json().encode()
        with self._asking("a call cannot be stored"):
            writes: list[Awaitable[object]] = [self.access.put(_call_key(call), owner, ttl_s=_ACCESS_TTL_S)]
            if redemption is not None:
                key, record = _token_key(redemption.key), redemption.record.encode()
                writes.append(self.access.put(key, record, ttl_s=_ACCESS_TTL_S))
            if beside is not None:
                writes.append(beside())
            await asyncio.gather(*writes)
        if redemption is not None:
            self.live.release(tenant, redemption.key)

    async def afterlife(self, value: str) -> tuple[CallId, TenantId]:
        """The call that a redeemed token belongs to.

        Raises:
            TokenRejectedError: unknown, not redeemed, or that was more than a day ago.
            GrantsUnavailableError: the bucket does not answer.
        """
        key = key_hash(value)
        try:
            record, _ = await self._record(self.access, value, _token_key(key))
        except TokenRejectedError:
            record, _ = await self._record(self.tokens, value, key)  # only to tell why
        decided = token.afterlife(record, now_unix_ms=clock.unix_ms())
        if isinstance(record, Issued) or isinstance(decided, Rejection):
            raise TokenRejectedError(decided if isinstance(decided, Rejection) else Rejection.NOT_REDEEMED)
        return decided, record.tenant

    async def owner(self, call: CallId) -> TenantId | None:
        """Whose call it is; None for one that is not known.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        found = await self._get(self.access, _call_key(call))
        try:
            return _CallOwner.model_validate_json(found[0]).tenant if found else None
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
        with self._asking("the bucket of tokens does not answer"):
            try:
                entry = await bucket.entries.get(key)
            except KeyNotFoundError:  # a deleted key is one, too
                return None
        return entry.value or b"", entry.revision or 0

    @contextmanager
    def _asking(self, failure: str) -> Iterator[None]:
        if not self.connected():
            raise GrantsUnavailableError("the NATS server is away")
        try:
            yield
        except (NatsError, TimeoutError, BucketFullError) as exc:
            raise GrantsUnavailableError(failure) from exc


def _call_key(call: CallId) -> str:
    return f"call.{call}"


def _token_key(key: str) -> str:
    return f"token.{key}"
