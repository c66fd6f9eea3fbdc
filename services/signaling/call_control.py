"""Operations on calls that all endpoints share: place, restart ICE, hang up."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import Request
from pydantic import JsonValue
from starlette.requests import ClientDisconnect

from services.contracts import subjects
from services.contracts.connect import WebRtcAnswer, WebRtcOffer
from services.contracts.endings import EndReason
from services.contracts.grant import Grant, MinuteLimits
from services.contracts.ids import CallId, ProcessId
from services.contracts.message import Message
from services.contracts.messages import (
    AnyMessage,
    Done,
    Hangup,
    MalformedMessageError,
    OfferAnswered,
    OfferRefused,
    Restart,
)
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.errors import NoRespondersError, RequestTimeoutError
from services.runtime.telemetry import tracing
from services.runtime.telemetry.logging import get_logger
from services.signaling import metrics
from services.signaling.auth import Authority
from services.signaling.core import mint
from services.signaling.core.live_calls import RETRY_S
from services.signaling.core.mint import MintRequest
from services.signaling.core.sdp import ClientOffer
from services.signaling.core.stored_records import AccessRecord
from services.signaling.core.tenants import Tenant, key_id
from services.signaling.errors import PLACEMENT, ApiError, bad_requests, no_such_call, unavailable
from services.signaling.grants import CallOwner, GrantsUnavailableError, Redemption, TokenRejectedError
from services.signaling.media_directory import MediaDirectory, NotPlacedError
from services.signaling.placement_publisher import PlacementPublisher
from services.signaling.trace import stage

_CONTROL_TIMEOUT_S = 2.0
_OTHER_PEER = (
    "The media process cannot answer this offer within the call: an ICE restart keeps the DTLS fingerprint and the "
    "sections of the first offer with their directions. A new peer connection needs a new call."
)
_TOO_MANY = "The call has been restarted too often within a minute. It continues unchanged; try again in a few seconds."


@dataclass(frozen=True, slots=True)
class CallControl:
    """Place calls, restart their ICE and end them. The request must already be authenticated."""

    bus: Bus
    authority: Authority
    directory: MediaDirectory
    default_model: str
    placements: PlacementPublisher

    async def place(
        self,
        request: Request,
        tenant: Tenant,
        call: CallId,
        offer: ClientOffer,
        session: Mapping[str, JsonValue] | None,
        *,
        store: Callable[[Grant], AccessRecord] | None = None,
    ) -> str:
        """Place a call of ``tenant`` and return the SDP answer of the media process that carries it.

        ``store`` returns a further record of the call, which is stored before its client receives the answer. Nothing
        is stored for an offer that got no answer.

        Raises:
            ApiError: unknown token, a session that is not allowed, no process accepts the call, or 429: the tenant has
                its maximum of calls. Its token is then still valid.
            ClientDisconnect: the client closed the connection before the answer; call ended, token released.
            GrantsUnavailableError: the connection to NATS was lost.
        """
        with self._counted(tenant, call):
            limits = self.authority.limiter.tenant_limits(tenant)
            answer = await self._place_counted(request, call, offer, session, limits, store)
        get_logger().info("call_placed", call_id=call, tenant_id=tenant.id)
        return answer

    @contextmanager
    def _counted(self, tenant: Tenant, call: CallId) -> Iterator[None]:
        """Count a call against the tenant's limits, at least until the block ends."""
        limiter, live_calls = self.authority.limiter, self.directory.live_calls
        allowed = limiter.call_quota(tenant)
        limit = live_calls.reserve(tenant.id, call, allowed=allowed, now=clock.monotonic())
        if limit is not None:
            raise limiter.refusal(limit, RETRY_S[limit], tenant=tenant.id)
        try:
            yield
        finally:
            live_calls.release(tenant.id, call)

    async def _place_counted(
        self,
        request: Request,
        call: CallId,
        offer: ClientOffer,
        session: Mapping[str, JsonValue] | None,
        limits: MinuteLimits,
        store: Callable[[Grant], AccessRecord] | None,
    ) -> str:
        async with self._redeemed_grant(request, call, session) as (redeemed, redemption):
            granted = mint.placed(redeemed, limits)
            tracing.current().set_attributes(tenant_id=granted.tenant)
            with stage("placement"):
                process, answer = await self._place(call, offer, granted)
            if await request.is_disconnected():
                await self.directory.cancel_offer(process, call)
                raise ClientDisconnect
            also = None if store is None else store(granted)
            owner = CallOwner(tenant=granted.tenant, process=process)
            try:
                await self.authority.grants.record_call(call, owner, redemption, also=also)
            except GrantsUnavailableError:
                await self.directory.cancel_offer(process, call)
                raise
        return answer

    async def hang_up(self, call: CallId) -> None:
        """End a call.

        Raises:
            ApiError: 404, the call is over; 503, the media process did not confirm.
        """
        reply = await self._control(call, Hangup(call=call, reason=EndReason.HANGUP))
        if not isinstance(reply, Done):
            raise unavailable("The media process did not confirm the hang-up. Try again.", "hangup_unconfirmed")
        self.directory.live_calls.hung_up(call, now=clock.monotonic())

    async def restart(self, call: CallId, offer: ClientOffer) -> str:
        """Restart the ICE of a call and return the SDP answer.

        Raises:
            ApiError: 404, the call is over; 422, the offer is another peer's; 429, too many; 503, the process does not
                answer.
        """
        reply = await self._control(call, Restart(call=call, connect=_connect(offer)))
        outcome = "answered" if isinstance(reply, OfferAnswered) else "unanswered"
        outcome = reply.reason if isinstance(reply, OfferRefused) else outcome
        metrics.RESTARTS.labels(outcome).inc()
        get_logger().info("call_restarted", call_id=call, outcome=outcome)
        if isinstance(reply, OfferAnswered) and isinstance(reply.connect, WebRtcAnswer):
            return reply.connect.sdp
        if outcome == "bad_offer":
            raise ApiError(422, _OTHER_PEER, code="bad_offer", param="sdp")
        if outcome == "too_many":
            raise ApiError(429, _TOO_MANY, code="too_many_restarts", headers={"Retry-After": "2"})
        raise unavailable(
            "The media process did not restart the call. The call continues; try again.", "restart_unconfirmed"
        )

    async def _control(self, call: CallId, message: Message) -> AnyMessage | None:
        """Return the reply of a call's media process; None: no reply, or one that cannot be decoded.

        Raises:
            ApiError: 404, no process has such a call; 503, not connected to NATS.
        """
        owner = await self.authority.grants.owner(call)
        if owner is None or not owner.process:
            raise no_such_call()
        try:
            subject = subjects.control(owner.process, call)
            return await self.bus.request(subject, message, timeout_s=_CONTROL_TIMEOUT_S)
        except NoRespondersError:
            raise (no_such_call() if self.bus.connected else _not_connected()) from None
        except (RequestTimeoutError, MalformedMessageError) as exc:
            get_logger().warning("control_not_answered", call_id=call, reason=type(exc).__name__)
            return None

    @asynccontextmanager
    async def _redeemed_grant(
        self, request: Request, call: CallId, session: Mapping[str, JsonValue] | None
    ) -> AsyncIterator[tuple[Grant, Redemption | None]]:
        """Redeem the request's token for ``call``; it becomes usable again if the block raises."""
        tenant = self.authority.tenant_of_key(request)
        if tenant is not None:
            with bad_requests():
                wanted, key = MintRequest(session=dict(session or {})), key_id(self.authority.bearer(request))
                terms = self.directory.turn_terms
                granted = mint.grant(tenant, wanted, default_model=self.default_model, key=key, turn_terms=terms)
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
            self.authority.tenant_of_token(request, sealed.tenant, sealed.key)
            with bad_requests():
                granted = mint.redeemed(sealed, session, turn_terms=self.directory.turn_terms)
            yield granted, redemption
        except (Exception, asyncio.CancelledError):  # cancelled: the process stops before the answer
            await grants.release(redemption)
            raise

    async def _place(self, call: CallId, offer: ClientOffer, granted: Grant) -> tuple[ProcessId, str]:
        before = partial(self.placements.publish, call, granted)
        try:
            process, answer = await self.directory.place(call, _connect(offer), granted, before=before)
        except NotPlacedError as exc:
            if exc.reason == "bad_offer":
                raise ApiError(
                    422, "The media process cannot answer this offer.", code="bad_offer", param="sdp"
                ) from exc
            raise (unavailable(PLACEMENT[exc.reason], exc.reason) if self.bus.connected else _not_connected()) from exc
        if not isinstance(answer, WebRtcAnswer):
            raise unavailable(PLACEMENT["malformed"], "malformed")
        return process, answer.sdp


def requested_session(request: Request, session: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
    """Return the session that the request asks for; `?model=` counts as the session's model.

    Raises:
        ApiError: 400, the request names several models.
    """
    named = request.query_params.get("model")
    within = (session or {}).get("model")
    if named is not None and within not in (None, named):
        raise ApiError(400, "The request names several models.", code="invalid_value", param="model")
    return session if named is None else {**(session or {}), "model": named}


def _connect(offer: ClientOffer) -> WebRtcOffer:
    return WebRtcOffer(sdp=offer.serialise())


def _not_connected() -> ApiError:
    return unavailable("The gateway has lost its NATS server and is connecting again. Try again.", "bus_unavailable")
