"""The public API: the provider's wire for tokens and calls, and the usage of both."""

from dataclasses import dataclass, field

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from services.contracts import ids
from services.runtime import clock
from services.runtime.bus import Bus
from services.runtime.tracing import Tracer
from services.signaling import body, metrics
from services.signaling.auth import Authority
from services.signaling.calls import Calls, wanted_session
from services.signaling.core import mint, sdp
from services.signaling.core.mint import MintRequest
from services.signaling.core.tenants import Tenant, key_hash
from services.signaling.directory import Directory
from services.signaling.errors import bad_requests
from services.signaling.grants import TooManyTokensError
from services.signaling.relays import RelayDesk
from services.signaling.trace import set_up, stage
from services.signaling.usage import UsageSource


@dataclass(frozen=True, slots=True)
class Api:
    """The handlers, with what they need."""

    bus: Bus
    authority: Authority
    directory: Directory
    usage: UsageSource
    default_model: str
    relays: RelayDesk | None = None
    tracer: Tracer = field(default_factory=Tracer)

    @property
    def calls(self) -> Calls:
        """What this door and others do alike."""
        return Calls(self.bus, self.authority, self.directory, self.default_model)

    def add_routes(self, app: FastAPI) -> None:
        """Give ``app`` the API."""
        for method, path, handler in (
            ("POST", "/v1/realtime/client_secrets", self.create_client_secret),
            ("POST", "/v1/realtime/calls", self.create_call),
            ("POST", "/v1/realtime/calls/{call_id}/restart", self.restart_call),
            ("POST", "/v1/realtime/calls/{call_id}/hangup", self.hang_up),
            ("GET", "/v1/calls/{call_id}/usage", self.call_usage),
            ("GET", "/v1/usage", self.tenant_usage),
        ):
            app.add_api_route(path, handler, methods=[method], response_model=None)

    async def create_client_secret(self, request: Request) -> Response:
        """Make an ephemeral token for a tenant."""
        tenant = self.authority.tenant(request)
        self.authority.limiter.mint(tenant)
        asked = await body.read_json(request)
        with bad_requests():
            wanted = mint.read(asked)
        return await self.issue(tenant, wanted)

    async def issue(self, tenant: Tenant, wanted: MintRequest) -> Response:
        """The answer to a valid request for a token, which was counted.

        Raises:
            ApiError: 400; 429, the tenant has enough tokens.
        """
        with bad_requests():
            sealed = mint.grant(tenant, wanted, default_model=self.default_model)
        seconds = (wanted.expires_after or mint.ExpiresAfter()).seconds
        most = self.authority.limiter.live_tokens(tenant)
        try:
            value, record = await self.authority.grants.issue(sealed, seconds=seconds, most=most)
        except TooManyTokensError as exc:
            raise self.authority.limiter.refusal(exc.reason, exc.wait_s, tenant=tenant.id) from exc
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
        if self.relays is not None:
            server = self.relays.of_token(key_hash(value), record)
            secret["hushgate"] = self.relays.extension(server)
        return JSONResponse(secret, headers={"Cache-Control": "no-store"})

    async def create_call(self, request: Request) -> Response:
        """Answer an offer."""
        call, began_ns = ids.new_call_id(), clock.unix_ns()
        await self.authority.admit_offer(request, call)
        with set_up(self.tracer, call, door="realtime", began_ns=began_ns):
            with stage("sdp"):
                sent = await body.read_offer(request)
                with bad_requests():
                    offer = sdp.parse(sent.sdp)
            answer = await self.calls.place(request, call, offer, wanted_session(request, sent.session))
        headers = {"Location": f"/v1/realtime/calls/{call}", "Cache-Control": "no-store"}
        return Response(answer, 201, headers=headers, media_type="application/sdp")

    async def restart_call(self, request: Request, call_id: str) -> Response:
        """Answer a new offer of a client whose way to its call has changed."""
        call, _ = await self.authority.call(request, call_id)
        sent = await body.read_sdp(request)
        with bad_requests():
            # The media process knows what the call has; the offer must have the same.
            offer = sdp.parse(sent)
        answer = await self.calls.restart(call, offer)
        return Response(answer, headers={"Cache-Control": "no-store"}, media_type="application/sdp")

    async def hang_up(self, request: Request, call_id: str) -> Response:
        """End a call."""
        call, _ = await self.authority.call(request, call_id)
        await self.calls.hang_up(call)
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
