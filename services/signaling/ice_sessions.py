"""The ICE session of each WHIP call, in the KV bucket `access` under `whip.<call>`.

An ICE session is an entity tag and the call's offer: a WHIP restart names only new ICE credentials, and media needs a
whole offer.
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
from services.runtime.bus.bucket import Bucket
from services.runtime.errors import BucketFullError
from services.runtime.telemetry.logging import get_logger
from services.signaling.core import whip
from services.signaling.core.sdp import ClientOffer
from services.signaling.core.stored_records import AccessRecord
from services.signaling.grants import GrantsUnavailableError

_SLACK_S = 60
"""How much longer than a call's maximum duration its session is stored, in seconds."""


class _SessionRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    etag: str
    sdp: str
    until_unix_ms: int = 0
    """Unix time by which the call is over; the entry expires then."""


@dataclass(frozen=True, slots=True)
class IceSession:
    """ICE session of a call. ``etag`` includes the quotes."""

    etag: str
    offer: ClientOffer
    revision: int
    until_unix_ms: int


@dataclass(frozen=True, slots=True)
class IceSessions:
    """Store of the ICE sessions of WHIP calls."""

    bucket: Bucket
    connected: Callable[[], bool]

    def record(self, call: CallId, offer: ClientOffer, *, etag: str, seconds: int) -> AccessRecord:
        """Return the record of the ICE session of a new call that lasts at most ``seconds``."""
        record = _SessionRecord(
            etag=etag, sdp=whip.without_password(offer), until_unix_ms=clock.unix_ms() + 1000 * seconds
        )
        return AccessRecord(_key(call), record.model_dump_json().encode(), _ttl_s(record))

    async def find(self, call: CallId) -> IceSession | None:
        """Return the ICE session of a call; None: the call was not made by WHIP, or was deleted.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        with self._bucket_errors():
            try:
                entry = await self.bucket.entries.get(_key(call))
            except KeyNotFoundError:  # also raised for a deleted key
                return None
        try:
            record = _SessionRecord.model_validate_json(entry.value or b"")
            offer = whip.read_offer(record.sdp.encode())
        except ValueError as exc:  # InvalidOfferError and pydantic's ValidationError are subclasses
            get_logger().error("ice_session_malformed", call_id=call, reason=type(exc).__name__)
            return None
        return IceSession(record.etag, offer, entry.revision or 0, record.until_unix_ms)

    async def replace(self, call: CallId, last: IceSession, offer: ClientOffer) -> str | None:
        """Store the offer of an ICE restart and return the new entity tag; None: a concurrent restart was stored first.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        record = _SessionRecord(etag=new_etag(), sdp=whip.without_password(offer), until_unix_ms=last.until_unix_ms)
        written, ttl_s = record.model_dump_json().encode(), _ttl_s(record)
        with self._bucket_errors():
            try:
                await self.bucket.update(_key(call), written, last=last.revision, ttl_s=ttl_s)
            except KeyWrongLastSequenceError:
                return None
        return record.etag

    async def delete(self, call: CallId) -> None:
        """Delete the ICE session of a call that is over.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        with self._bucket_errors():
            await self.bucket.remove(_key(call))

    @contextmanager
    def _bucket_errors(self) -> Iterator[None]:
        if not self.connected():
            raise GrantsUnavailableError("not connected to the NATS server")
        try:
            yield
        except (NatsError, TimeoutError, BucketFullError) as exc:
            raise GrantsUnavailableError("the bucket of ICE sessions does not answer") from exc


def new_etag() -> str:
    """Return a new unique entity tag, quotes included."""
    return f'"{secrets.token_urlsafe(12)}"'


def _ttl_s(record: _SessionRecord) -> int:
    return max(1, (record.until_unix_ms - clock.unix_ms()) // 1000 + _SLACK_S)


def _key(call: CallId) -> str:
    return f"whip.{call}"
