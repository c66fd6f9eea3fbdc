"""What all doors to a call do alike: place it, let its client come back on another way, end it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import Request
from pydantic import JsonValue
from starlette.requests import ClientDisconnect

from services.contracts import subjects
from services.contracts.grant import Grant
from services.contracts.ids import CallId
from services.contracts.messages import (
    AnyMessage,
    Done,
    Hangup,
    MalformedMessageError,
    Message,
    OfferAnswered,
    OfferRefused,
    Restart,
)
from services.runtime import tracing
from services.runtime.bus import Bus
from services.runtime.errors import NoRespondersError, RequestTimeoutError
from services.runtime.logging import get_logger
from services.signaling import metrics
from services.signaling.auth import Authority
from services.signaling.core import mint
from services.signaling.core.mint import MintRequest
from services.signaling.core.sdp import Offer
from services.signaling.directory import Directory, NotPlacedError
from services.signaling.errors import PLACEMENT, ApiError, bad_requests, no_such_call, unavailable
from services.signaling.grants import GrantsUnavailableError, Redemption, TokenRejectedError
from services.signaling.trace import stage

_CONTROL_TIMEOUT_S = 2.0
_OTHER_PEER = (
    "The media process cannot answer this offer within the call: an ICE restart keeps the DTLS fingerprint and the "
    "sections of the first offer with their directions. A new peer connection needs a new call."
)
_TOO_MANY = "The call has been restarted too often within a minute. It goes on as it is; try again in some seconds."


@dataclass(frozen=True, slots=True)
class Calls:
    """Places, restarts and ends calls. Who may is asked before."""

    bus: Bus
    authority: Authority
    directory: Directory
    default_model: str

    async def place(
        self,
        request: Request,
        call: CallId,
        offer: Offer,
        session: Mapping[str, JsonValue] | None,
        *,
        keep: Callable[[Grant], Awaitable[object]] | None = None,
    ) -> str:
        """The SDP answer of the media process that takes the call.

        ``keep`` stores what else must be known of the call before its client hears the answer. Nothing is stored of an
        offer that got none.

        Raises:
            ApiError: no such token, a session that is not allowed, or no process takes it.
            ClientDisconnect: the client has gone, so that nobody gets the answer: the call is ended and its token free.
            GrantsUnavailableError: the bus went away.
        """
        async with self._granted(request, call, session) as (granted, redemption):
            tracing.current().note(tenant_id=granted.tenant)
            with stage("placement"):
                answer = await self._answer(call, offer, granted)
            if await request.is_disconnected():
                await self.directory.forget(call)
                raise ClientDisconnect
            beside = None if keep is None else partial(keep, granted)
            try:
                await self.authority.grants.remember(call, granted.tenant, redemption, beside=beside)
            except GrantsUnavailableError:
                await self.directory.forget(call)
                raise
        get_logger().info("call_placed", call_id=call, tenant_id=granted.tenant)
        return answer

    async def hang_up(self, call: CallId) -> None:
        """End a call.

        Raises:
            ApiError: 404, it is over; 503, nobody confirms it.
        """
        reply = await self._control(call, Hangup(call=call))
        if not isinstance(reply, Done):
            raise unavailable("The media process did not confirm the hang-up. Try again.", "hangup_unconfirmed")

    async def restart(self, call: CallId, offer: Offer) -> str:
        """The SDP answer to a client that comes back to its call on another way (ICE restart).

        Raises:
            ApiError: 404, the call is over; 422, the offer is another peer's; 429, too many; 503, the process does not
                answer.
        """
        reply = await self._control(call, Restart(call=call, sdp=offer.serialise()))
        outcome = "answered" if isinstance(reply, OfferAnswered) else "unanswered"
        outcome = reply.reason if isinstance(reply, OfferRefused) else outcome
        metrics.RESTARTS.labels(outcome).inc()
        get_logger().info("call_restarted", call_id=call, outcome=outcome)
        if isinstance(reply, OfferAnswered):
            return reply.sdp
        if outcome == "bad_offer":
            raise ApiError(422, _OTHER_PEER, code="bad_offer", param="sdp")
        if outcome == "too_many":
            raise ApiError(429, _TOO_MANY, code="too_many_restarts", headers={"Retry-After": "2"})
        raise unavailable("The media process did not restart the call. It goes on; try again.", "restart_unconfirmed")

    async def _control(self, call: CallId, message: Message) -> AnyMessage | None:
        """What the media process of a call answers; None: nothing, or nothing that can be read.

        Raises:
            ApiError: 404, no process has such a call; 503, the bus is away.
        """
        try:
            return await self.bus.request(subjects.control(call), message, timeout_s=_CONTROL_TIMEOUT_S)
        except NoRespondersError:
            raise (no_such_call() if self.bus.connected else _no_bus()) from None
        except (RequestTimeoutError, MalformedMessageError) as exc:
            get_logger().warning("control_not_answered", call_id=call, reason=type(exc).__name__)
            return None

    @asynccontextmanager
    async def _granted(
        self, request: Request, call: CallId, session: Mapping[str, JsonValue] | None
    ) -> AsyncIterator[tuple[Grant, Redemption | None]]:
        """What the call may do, and the token that was redeemed for it, which is released if the block fails."""
        tenant = self.authority.tenant_of_key(request)
        if tenant is not None:
            with bad_requests():
                granted = mint.grant(tenant, MintRequest(session=dict(session or {})), default_model=self.default_model)
            yield granted, None
            return
        grants = self.authority.grants
        try:
            with stage("redeem"):
                redemption = await grants.redeem(self.authority.bearer(request), call)
        except TokenRejectedError as exc:
            raise self.authority.rejected(request, exc.reason) from None
        try:
            sealed = redemption.issued.grant
            self.authority.tenant_of_token(request, sealed.tenant)
            with bad_requests():
                granted = mint.redeemed(sealed, session)
            yield granted, redemption
        except (Exception, asyncio.CancelledError):  # cancelled: the process stops before there is an answer
            await grants.release(redemption)
            raise

    async def _answer(self, call: CallId, offer: Offer, granted: Grant) -> str:
        try:
            return await self.directory.place(call, offer.serialise(), granted)
        except NotPlacedError as exc:
            if exc.reason == "bad_offer":
                raise ApiError(
                    422, "The media process cannot answer this offer.", code="bad_offer", param="sdp"
                ) from exc
            raise (unavailable(PLACEMENT[exc.reason], exc.reason) if self.bus.connected else _no_bus()) from exc


def wanted_session(request: Request, session: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
    """Older clients name the model in the query; it counts like one in the session."""
    model = request.query_params.get("model")
    return session if model is None else {"model": model, **(session or {})}


def _no_bus() -> ApiError:
    return unavailable("The gateway has lost its NATS server and is connecting again. Try again.", "bus_unavailable")
