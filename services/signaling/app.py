"""Wiring of the signaling service."""

from dataclasses import dataclass, field
from pathlib import Path

import httpx
from fastapi import Depends, FastAPI
from pydantic import SecretStr
from starlette.exceptions import HTTPException

from services.contracts.ids import TenantId
from services.runtime.bus.client import Bus
from services.runtime.bus.streams import access_bucket, grants_bucket
from services.runtime.errors import SettingsError
from services.runtime.http.server import serve_http
from services.runtime.process.health import Health, add_routes
from services.runtime.process.runner import Process
from services.runtime.telemetry.tracing import Tracer
from services.signaling import metering_client
from services.signaling.auth import Authority
from services.signaling.call_control import CallControl
from services.signaling.core.placement import Placement
from services.signaling.endpoints import api_page
from services.signaling.endpoints.calls import Calls
from services.signaling.endpoints.client_secrets import ClientSecrets
from services.signaling.endpoints.console import CONSOLE, MIN_PAGE_SECRET_CHARS, ConsolePage, console_files
from services.signaling.endpoints.usage import Usage
from services.signaling.endpoints.whip import Whip
from services.signaling.errors import ApiError, on_api_error, on_http_error
from services.signaling.grants import Grants
from services.signaling.ice_sessions import IceSessions
from services.signaling.key_answers import KeyAnswers
from services.signaling.media_directory import MediaDirectory
from services.signaling.metering_client import UsageSource
from services.signaling.middleware import CatchAllHandler, Cors, RequestMetrics
from services.signaling.placement_publisher import PlacementPublisher
from services.signaling.query import refuse_unknown_query
from services.signaling.request_limiter import RequestLimiter
from services.signaling.settings import SignalingSettings
from services.signaling.tenants_file import TenantsFile
from services.signaling.turn_credentials import TurnCredentials


@dataclass(frozen=True, slots=True)
class Components:
    """Objects that several endpoints use."""

    bus: Bus
    authority: Authority
    directory: MediaDirectory
    usage: UsageSource
    default_model: str
    providers: tuple[str, ...] = ()
    turn: TurnCredentials | None = None
    tracer: Tracer = field(default_factory=Tracer)


async def serve(bus: Bus, settings: SignalingSettings, process: Process) -> None:
    """Serve the public API until the process stops."""
    tenants = TenantsFile(settings.tenants_file)
    if settings.demo_tenant and tenants.current().by_id(TenantId(settings.demo_tenant)) is None:
        raise SettingsError(f"SIGNALING_DEMO_TENANT: {settings.demo_tenant} is not in the tenants file")
    process.health.checks["bus"] = lambda: bus.connected
    token = settings.secret("metering_token").get_secret_value()
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        base_url=settings.metering_url, headers=headers, timeout=metering_client.TIMEOUT_S
    ) as client:
        directory = MediaDirectory(bus, Placement(settings.zone))
        await directory.subscribe_heartbeats()
        await KeyAnswers(bus, tenants).subscribe()
        grants = await open_grants(bus)
        components = Components(
            bus=bus,
            authority=Authority(tenants, grants, RequestLimiter(settings.rates, settings.address_rate)),
            directory=directory,
            usage=UsageSource(client, configured=bool(settings.metering_url)),
            default_model=settings.default_model,
            providers=settings.providers,
            turn=turn_credentials(settings),
            tracer=process.tracer,
        )
        app = build(components, settings, process.health)
        async with serve_http(
            app, host=settings.http_host, port=settings.http_port, tls=settings.tls, limits=settings.http_limits
        ) as url:
            process.ready(url)
            await process.stopping.wait()


async def open_grants(bus: Bus) -> Grants:
    """Open the KV buckets of tokens and of call access.

    Raises:
        StoreTooSmallError: the NATS server's storage limit is too small for them.
        nats.errors.Error: the NATS server did not create them.
    """
    js, store_mb = bus.jetstream, bus.store_mb
    tokens, access = await grants_bucket(js, store_mb=store_mb), await access_bucket(js, store_mb=store_mb)
    return Grants(tokens, access, connected=lambda: bus.connected)


def turn_credentials(settings: SignalingSettings) -> TurnCredentials | None:
    """Return the issuer of TURN credentials, or None if no TURN server is configured.

    Raises:
        TurnSecretError: the servers' secret cannot be read.
    """
    return TurnCredentials(settings.relays, settings.turn_secret_file) if settings.turn_secret_file else None


def page_secret(settings: SignalingSettings) -> SecretStr:
    """Return the secret that the demo page sends to get tokens.

    Raises:
        SettingsError: the file cannot be read, or the secret is too short.
    """
    secret = settings.secret("page_secret")
    if len(secret.get_secret_value()) < MIN_PAGE_SECRET_CHARS:
        raise SettingsError(
            f"SIGNALING_PAGE_SECRET has fewer than {MIN_PAGE_SECRET_CHARS} characters: `openssl rand -hex 16` makes one"
        )
    return secret


def build(parts: Components, settings: SignalingSettings, health: Health, *, console: Path = CONSOLE) -> FastAPI:
    """Return the HTTP application with every endpoint that ``settings`` switch on."""
    app = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(refuse_unknown_query)],
    )
    app.state.body_timeout_s = settings.body_timeout_s
    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(HTTPException, on_http_error)
    add_routes(app, health)
    authority, grants = parts.authority, parts.authority.grants
    placements = PlacementPublisher(parts.bus, parts.providers)
    control = CallControl(parts.bus, authority, parts.directory, parts.default_model, placements)
    secrets = ClientSecrets(authority, parts.directory, parts.default_model, parts.turn)
    secrets.add_routes(app)
    Calls(authority, control, parts.tracer).add_routes(app)
    Usage(authority, parts.usage).add_routes(app)
    api_page.add_routes(app)
    sessions = IceSessions(grants.access, connected=grants.connected)
    Whip(authority, control, sessions, parts.turn, parts.tracer).add_routes(app)
    if settings.demo_tenant:
        files = console_files(console)
        page = ConsolePage(
            secrets=secrets,
            tenant=TenantId(settings.demo_tenant),
            page_secret=page_secret(settings),
            provider=settings.provider,
            charged=settings.charged,
            files=files,
        )
        page.add_routes(app)
    # The middleware added last is the outermost.
    app.add_middleware(CatchAllHandler)
    app.add_middleware(Cors, allowed_origins=settings.allowed_origins)
    app.add_middleware(RequestMetrics)
    return app
