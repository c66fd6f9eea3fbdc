"""The public API: the provider's wire for tokens and calls, and the usage of both."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import JsonValue

from services.contracts import ids, subjects
from services.contracts.grant import Grant
from services.contracts.ids import CallId
from services.contracts.messages import Done, Hangup, MalformedMessageError
from services.runtime.bus import Bus
from services.runtime.errors import NoRespondersError, RequestTimeoutError
from services.runtime.logging import get_logger
from services.signaling import body, metrics
from services.signaling.auth import Authority, bearer, rejected
from services.signaling.core import mint, sdp
from services.signaling.core.mint import MintRequest
from services.signaling.core.tenants import Tenant
from services.signaling.directory import Directory, NotPlacedError
from services.signaling.errors import PLACEMENT, ApiError, bad_requests, no_such_call, unavailable
from services.signaling.grants import TokenRejectedError
from services.signaling.usage import UsageSource

_CONTROL_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Api:
    """The handlers, with what they need."""

    bus: Bus
    authority: Authority
    directory: Directory
    usage: UsageSource
    default_model: str

    def add_routes(self, app: FastAPI) -> None:
        """Give ``app`` the API."""
        for method, path, handler in (
            ("POST", "/v1/realtime/client_secrets", self.create_client_secret),
            ("POST", "/v1/realtime/calls", self.create_call),
            ("POST", "/v1/realtime/calls/{call_id}/hangup", self.hang_up),
            ("GET", "/v1/calls/{call_id}/usage", self.call_usage),
            ("GET", "/v1/usage", self.tenant_usage),
        ):
            app.add_api_route(path, handler, methods=[method], response_model=None)

    async def create_client_secret(self, request: Request) -> Response:
        """Make an ephemeral token for a tenant."""
        tenant = self.authority.tenant(request)
        asked = await body.read_json(request)
        with bad_requests():
            wanted = mint.read(asked)
        return await self.issue(tenant, wanted)

    async def issue(self, tenant: Tenant, wanted: MintRequest) -> Response:
        """The answer to a valid request for a token."""
        with bad_requests():
            sealed = mint.grant(tenant, wanted, default_model=self.default_model)
        seconds = (wanted.expires_after or mint.ExpiresAfter()).seconds
        value, record = await self.authority.grants.issue(sealed, seconds=seconds)
        metrics.TOKENS_ISSUED.inc()
        expires_at = record.expires_unix_ms // 1000
        session = {
            **sealed.session,
            "id": ids.new_session_id(),
            "object": "realtime.session",
            # The latest time at which a call made with this token can still go on.
            "expires_at": expires_at + sealed.limits.max_seconds,
        }
        secret = {"value": value, "expires_at": expires_at, "session": session}
        return JSONResponse(secret, headers={"Cache-Control": "no-store"})

    async def create_call(self, request: Request) -> Response:
        """Answer an offer."""
        call = ids.new_call_id()
        await self.authority.admit(request, call)
        offer = await body.read_offer(request)
        session = _wanted_session(request, offer.session)
        async with self._granted(request, call, session) as granted:
            answer = await self._answer(call, offer.sdp, granted)
        get_logger().info("call_placed", call_id=call, tenant_id=granted.tenant)
        headers = {"Location": f"/v1/realtime/calls/{call}", "Cache-Control": "no-store"}
        return Response(answer, 201, headers=headers, media_type="application/sdp")

    async def hang_up(self, request: Request, call_id: str) -> Response:
        """End a call."""
        call, _ = await self.authority.call(request, call_id)
        try:
            reply = await self.bus.request(subjects.control(call), Hangup(call=call), timeout_s=_CONTROL_TIMEOUT_S)
        except NoRespondersError:
            if self.bus.connected:
                raise no_such_call() from None
            raise _no_bus() from None
        except (RequestTimeoutError, MalformedMessageError) as exc:
            get_logger().warning("hangup_not_answered", call_id=call, reason=type(exc).__name__)
            reply = None
        if not isinstance(reply, Done):
            raise unavailable("The media process did not confirm the hang-up. Try again.", "hangup_unconfirmed")
        return Response(status_code=200)

    async def call_usage(self, request: Request, call_id: str) -> Response:
        """What a call used and cost."""
        call, tenant = await self.authority.call(request, call_id)
        return await self.usage.of_call(call, tenant.id)

    async def tenant_usage(self, request: Request) -> Response:
        """What a tenant used and paid in a period."""
        tenant = self.authority.tenant(request)
        period = {name: request.query_params[name] for name in ("from", "to") if name in request.query_params}
        return await self.usage.of_tenant(tenant.id, period)

    @asynccontextmanager
    async def _granted(
        self, request: Request, call: CallId, session: Mapping[str, JsonValue] | None
    ) -> AsyncIterator[Grant]:
        """What the call may do. A token that was redeemed for it is released if the block fails."""
        tenant = self.authority.tenant_of_key(request)
        if tenant is not None:
            with bad_requests():
                granted = mint.grant(tenant, MintRequest(session=dict(session or {})), default_model=self.default_model)
            yield granted
            return
        grants = self.authority.grants
        try:
            redemption = await grants.redeem(bearer(request), call)
        except TokenRejectedError as exc:
            raise rejected(exc.reason) from None
        try:
            sealed = redemption.record.grant
            self.authority.tenant_of_token(request, sealed.tenant)
            with bad_requests():
                granted = mint.redeemed(sealed, session)
            yield granted
        except Exception:
            await grants.release(redemption)
            raise

    async def _answer(self, call: CallId, offer: bytes, granted: Grant) -> str:
        with bad_requests():
            sanitised = sdp.sanitise(offer)
        await self.authority.grants.own(call, granted.tenant)
        try:
            return await self.directory.place(call, sanitised, granted)
        except NotPlacedError as exc:
            if exc.reason == "bad_offer":
                raise ApiError(
                    422, "The media process cannot answer this offer.", code="bad_offer", param="sdp"
                ) from exc
            raise (unavailable(PLACEMENT[exc.reason], exc.reason) if self.bus.connected else _no_bus()) from exc


def _wanted_session(request: Request, session: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
    """Older clients name the model in the query; it counts like one in the session."""
    model = request.query_params.get("model")
    return session if model is None else {"model": model, **(session or {})}


def _no_bus() -> ApiError:
    return unavailable("The gateway has lost its NATS server and is connecting again. Try again.", "bus_unavailable")
