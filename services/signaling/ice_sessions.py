"""The ICE session of each WHIP call, in the KV bucket `grants` under `whip.<call>`.

That is its entity tag and what an offer of the call looks like: a restart by WHIP names a new ICE user and no more, and
media wants a whole offer.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import BaseModel, ConfigDict

from services.contracts.ids import CallId
from services.runtime.logging import get_logger
from services.signaling.core import whip
from services.signaling.core.sdp import Offer
from services.signaling.grants import GrantsUnavailableError


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    etag: str
    sdp: str


@dataclass(frozen=True, slots=True)
class IceSession:
    """Where a call's ICE stands. ``etag`` comes in its quotes."""

    etag: str
    offer: Offer
    revision: int


@dataclass(frozen=True, slots=True)
class IceSessions:
    """Begins, finds, replaces and forgets them."""

    bucket: KeyValue
    connected: Callable[[], bool]

    async def begin(self, call: CallId, offer: Offer) -> str:
        """Remember a new call; gives its entity tag.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        record = _record(offer)
        with self._asking():
            await self.bucket.put(_key(call), record.model_dump_json().encode())
        return record.etag

    async def find(self, call: CallId) -> IceSession | None:
        """The ICE session of a call; None: the call did not begin by WHIP, or was deleted.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        with self._asking():
            try:
                entry = await self.bucket.get(_key(call))
            except KeyNotFoundError:  # a deleted key is one, too
                return None
        try:
            record = _Record.model_validate_json(entry.value or b"")
            offer = whip.read_offer(record.sdp.encode())
        except ValueError as exc:  # InvalidOfferError and pydantic's ValidationError are such
            get_logger().error("ice_session_malformed", call_id=call, reason=type(exc).__name__)
            return None
        return IceSession(record.etag, offer, entry.revision or 0)

    async def replace(self, call: CallId, last: IceSession, offer: Offer) -> str | None:
        """Remember that ICE was restarted; gives the new entity tag. None: another restart was faster.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        record = _record(offer)
        with self._asking():
            try:
                await self.bucket.update(_key(call), record.model_dump_json().encode(), last=last.revision)
            except KeyWrongLastSequenceError:
                return None
        return record.etag

    async def forget(self, call: CallId) -> None:
        """The call is over.

        Raises:
            GrantsUnavailableError: the bucket does not answer.
        """
        with self._asking():
            await self.bucket.delete(_key(call))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        if not self.connected():
            raise GrantsUnavailableError("the NATS server is away")
        try:
            yield
        except (NatsError, TimeoutError) as exc:
            raise GrantsUnavailableError("the bucket of ICE sessions does not answer") from exc


def _record(offer: Offer) -> _Record:
    return _Record(etag=f'"{secrets.token_urlsafe(12)}"', sdp=whip.kept(offer))


def _key(call: CallId) -> str:
    return f"whip.{call}"
