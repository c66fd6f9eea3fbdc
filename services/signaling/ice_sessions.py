"""The ICE session of each WHIP call, in the KV bucket `access` under `whip.<call>`.

That is its entity tag and what an offer of the call looks like: a restart by WHIP names a new ICE user and no more, and
media wants a whole offer.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from pydantic import BaseModel, ConfigDict

from services.contracts.ids import CallId
from services.runtime import clock
from services.runtime.bucket import Bucket
from services.runtime.errors import BucketFullError
from services.runtime.logging import get_logger
from services.signaling.core import whip
from services.signaling.core.sdp import Offer
from services.signaling.grants import GrantsUnavailableError

_SLACK_S = 60
"""A call that ends at its limit is known a little longer."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    etag: str
    sdp: str
    until_unix_ms: int = 0
    """When the call is over at the latest; the entry goes with it."""


@dataclass(frozen=True, slots=True)
class IceSession:
    """Where a call's ICE stands. ``etag`` comes in its quotes."""

    etag: str
    offer: Offer
    revision: int
    until_unix_ms: int


@dataclass(frozen=True, slots=True)
class IceSessions:
    """Begins, finds, replaces and forgets them."""

    bucket: Bucket
    connected: Callable[[], bool]

    async def begin(self, call: CallId, offer: Offer, *, etag: str, seconds: int) -> None:
        """Remember a new call that may last so many seconds.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        record = _Record(etag=etag, sdp=whip.kept(offer), until_unix_ms=clock.unix_ms() + 1000 * seconds)
        with self._asking():
            await self.bucket.put(_key(call), record.model_dump_json().encode(), ttl_s=_ttl_s(record))

    async def find(self, call: CallId) -> IceSession | None:
        """The ICE session of a call; None: the call did not begin by WHIP, or was deleted.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        with self._asking():
            try:
                entry = await self.bucket.entries.get(_key(call))
            except KeyNotFoundError:  # a deleted key is one, too
                return None
        try:
            record = _Record.model_validate_json(entry.value or b"")
            offer = whip.read_offer(record.sdp.encode())
        except ValueError as exc:  # InvalidOfferError and pydantic's ValidationError are such
            get_logger().error("ice_session_malformed", call_id=call, reason=type(exc).__name__)
            return None
        return IceSession(record.etag, offer, entry.revision or 0, record.until_unix_ms)

    async def replace(self, call: CallId, last: IceSession, offer: Offer) -> str | None:
        """Remember that ICE was restarted; gives the new entity tag. None: another restart was faster.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        record = _Record(etag=new_etag(), sdp=whip.kept(offer), until_unix_ms=last.until_unix_ms)
        written, ttl_s = record.model_dump_json().encode(), _ttl_s(record)
        with self._asking():
            try:
                await self.bucket.update(_key(call), written, last=last.revision, ttl_s=ttl_s)
            except KeyWrongLastSequenceError:
                return None
        return record.etag

    async def forget(self, call: CallId) -> None:
        """The call is over.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        with self._asking():
            await self.bucket.remove(_key(call))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        if not self.connected():
            raise GrantsUnavailableError("the NATS server is away")
        try:
            yield
        except (NatsError, TimeoutError, BucketFullError) as exc:
            raise GrantsUnavailableError("the bucket of ICE sessions does not answer") from exc


def new_etag() -> str:
    """An entity tag that no other ICE session has, in its quotes."""
    return f'"{secrets.token_urlsafe(12)}"'


def _ttl_s(record: _Record) -> int:
    return max(1, (record.until_unix_ms - clock.unix_ms()) // 1000 + _SLACK_S)


def _key(call: CallId) -> str:
    return f"whip.{call}"
