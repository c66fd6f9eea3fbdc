"""`POST /v1/realtime/client_secrets`: ephemeral tokens, compatible with the Realtime API."""

from dataclasses import dataclass

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from services.contracts import ids
from services.contracts.ids import NO_KEY, KeyId
from services.signaling import body, metrics
from services.signaling.auth import Authority
from services.signaling.core import mint
from services.signaling.core.mint import MintRequest
from services.signaling.core.tenants import Tenant, key_hash, key_id
from services.signaling.errors import bad_requests
from services.signaling.grants import TooManyTokensError
from services.signaling.media_directory import MediaDirectory
from services.signaling.turn_credentials import TurnCredentials


@dataclass(frozen=True, slots=True)
class ClientSecrets:
    """Handler that mints tokens. ``default_model``: the model of sessions that name none."""

    authority: Authority
    directory: MediaDirectory
    default_model: str
    turn: TurnCredentials | None = None

    def add_routes(self, app: FastAPI) -> None:
        """Add the route to ``app``."""
        app.add_api_route("/v1/realtime/client_secrets", self.create, methods=["POST"], response_model=None)

    async def create(self, request: Request) -> Response:
        """Mint a token for the tenant whose key the request carries."""
        tenant = self.authority.tenant(request)
        self.authority.limiter.count_mint(tenant)
        asked = await body.read_json(request)
        with bad_requests():
            wanted = mint.read(asked)
        return await self.issue(tenant, wanted, key=key_id(self.authority.bearer(request)))

    async def issue(self, tenant: Tenant, wanted: MintRequest, *, key: KeyId = NO_KEY) -> Response:
        """Mint the token of a valid request that was already counted against the tenant's rate; return the response.

        Raises:
            ApiError: 400; 429, the tenant has its maximum of live tokens.
        """
        with bad_requests():
            terms = self.directory.turn_terms
            sealed = mint.grant(tenant, wanted, default_model=self.default_model, key=key, turn_terms=terms)
            mint.refuse_needless_limits(wanted, self.authority.limiter.tenant_limits(tenant))
        seconds = (wanted.expires_after or mint.ExpiresAfter()).seconds
        most = self.authority.limiter.token_quota(tenant)
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
            # The latest time at which a call made with this token can still be in progress.
            "expires_at": expires_at + sealed.limits.max_seconds,
        }
        secret = {"value": value, "expires_at": expires_at, "session": session}
        if self.turn is not None:
            secret["hushgate"] = self.turn.extension(self.turn.of_token(key_hash(value), record))
        return JSONResponse(secret, headers={"Cache-Control": "no-store"})
