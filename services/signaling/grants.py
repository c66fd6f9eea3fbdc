"""Tokens and calls in the KV bucket `grants`, so that every signaling process knows them.

Under the hash of a token lies its record, under `call.<id>` whose call that is. Both outlive the call; the bucket
forgets them.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import BaseModel, ConfigDict, ValidationError

from services.contracts.grant import Grant
from services.contracts.ids import CallId, ProcessId, TenantId
from services.runtime import clock
from services.runtime.errors import HushgateError
from services.runtime.logging import get_logger
from services.signaling import metrics
from services.signaling.core import token
from services.signaling.core.tenants import key_hash
from services.signaling.core.token import Issued, MalformedRecordError, Redeemed, Rejection, TokenRecord


class TokenRejectedError(HushgateError):
    """The token does not allow this. The reason is for metric and log, never for the client."""

    def __init__(self, reason: Rejection) -> None:
        super().__init__(f"token refused: {reason}")
        self.reason = reason


class GrantsUnavailableError(HushgateError):
    """The bucket does not answer."""

    retryable = True


class CallOwner(BaseModel):
    """Whose call it is, and the media process that was asked last to carry it; older records do not name it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tenant: TenantId
    process: ProcessId = ProcessId("")


@dataclass(frozen=True, slots=True)
class Redemption:
    """A token that has become a call, or would; the next update of it, its release too, needs ``revision``."""

    record: Redeemed
    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Grants:
    """Makes, redeems and releases tokens, and remembers whose calls are whose."""

    bucket: KeyValue
    connected: Callable[[], bool]
    """Without the server nothing is tried: the client library would wait for it, and so would the caller."""

    async def issue(self, grant: Grant, *, seconds: int) -> tuple[str, Issued]:
        """Make a token; only its hash is stored.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        self._check()
        value = f"ek_{secrets.token_urlsafe(32)}"  # 43 characters
        record = Issued(grant=grant, expires_unix_ms=clock.unix_ms() + seconds * 1000)
        try:
            await self.bucket.create(key_hash(value), record.encode())
        except (NatsError, TimeoutError) as exc:
            raise GrantsUnavailableError("tokens cannot be stored") from exc
        return value, record

    async def redeemable(self, value: str, call: CallId) -> Redemption:
        """What redeeming a token for ``call`` would make of it now. Nothing is changed.

        Raises:
            TokenRejectedError: unknown, expired or used.
            GrantsUnavailableError: the bucket does not answer.
        """
        key = key_hash(value)
        record, revision = await self._record(key)
        decided = token.redeem(record, call, now_unix_ms=clock.unix_ms())
        if isinstance(decided, Rejection):
            raise TokenRejectedError(decided)
        return Redemption(decided, key, revision)

    async def redeem(self, value: str, call: CallId) -> Redemption:
        """Turn a token into ``call``; of any number that try, one succeeds.

        Raises:
            TokenRejectedError: unknown, expired, used, or another was faster.
            GrantsUnavailableError: the bucket does not answer.
        """
        planned = await self.redeemable(value, call)
        try:
            revision = await self.bucket.update(planned.key, planned.record.encode(), last=planned.revision)
        except KeyWrongLastSequenceError:
            raise TokenRejectedError(Rejection.LOST_RACE) from None
        except (NatsError, TimeoutError) as exc:
            raise GrantsUnavailableError("a token cannot be redeemed") from exc
        return replace(planned, revision=revision)

    async def release(self, redemption: Redemption) -> None:
        """Set the token free again because its call got no answer. If that fails it stays used: the safe side."""
        try:
            await self.bucket.update(redemption.key, redemption.record.released().encode(), last=redemption.revision)
        except (NatsError, TimeoutError) as exc:
            metrics.TOKENS_RELEASED.labels("failed").inc()
            get_logger().warning("token_not_released", reason=type(exc).__name__, call_id=redemption.record.call)
        else:
            metrics.TOKENS_RELEASED.labels("done").inc()

    async def afterlife(self, value: str) -> tuple[CallId, TenantId]:
        """The call that a redeemed token belongs to.

        Raises:
            TokenRejectedError: unknown, not redeemed, or that was more than a day ago.
            GrantsUnavailableError: the bucket does not answer.
        """
        record, _ = await self._record(key_hash(value))
        decided = token.afterlife(record, now_unix_ms=clock.unix_ms())
        if isinstance(decided, Rejection):
            raise TokenRejectedError(decided)
        return decided, record.grant.tenant

    async def own(self, call: CallId, owner: CallOwner) -> None:
        """Remember whose call it is and where, before anybody can ask.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        self._check()
        try:
            await self.bucket.put(_call_key(call), owner.model_dump_json().encode())
        except (NatsError, TimeoutError) as exc:
            raise GrantsUnavailableError("a call cannot be stored") from exc

    async def owner(self, call: CallId) -> CallOwner | None:
        """Whose call it is and where; None for one that is not known.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        found = await self._get(_call_key(call))
        try:
            return CallOwner.model_validate_json(found[0]) if found else None
        except ValidationError:
            get_logger().error("call_owner_malformed", call_id=call)
            return None

    async def _record(self, key: str) -> tuple[TokenRecord, int]:
        found = await self._get(key)
        if found is None:
            raise TokenRejectedError(Rejection.UNKNOWN)
        try:
            return token.decode(found[0]), found[1]
        except MalformedRecordError:
            get_logger().error("grant_malformed")
            raise TokenRejectedError(Rejection.UNKNOWN) from None

    def _check(self) -> None:
        if not self.connected():
            raise GrantsUnavailableError("the NATS server is away")

    async def _get(self, key: str) -> tuple[bytes, int] | None:
        self._check()
        try:
            entry = await self.bucket.get(key)
        except KeyNotFoundError:  # a deleted key is one, too
            return None
        except (NatsError, TimeoutError) as exc:
            raise GrantsUnavailableError("the bucket of tokens does not answer") from exc
        return entry.value or b"", entry.revision or 0


def _call_key(call: CallId) -> str:
    return f"call.{call}"
