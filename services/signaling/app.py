"""Where signaling's parts meet."""

from pathlib import Path

import httpx
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.exceptions import HTTPException

from services.contracts.ids import TenantId
from services.runtime.bus import Bus
from services.runtime.errors import SettingsError
from services.runtime.health import Health, add_routes
from services.runtime.http import serve_http
from services.runtime.process import Process
from services.runtime.streams import access_bucket, grants_bucket
from services.signaling import openapi, usage
from services.signaling.api import Api
from services.signaling.auth import Authority
from services.signaling.directory import Directory
from services.signaling.errors import ApiError, on_api_error, on_http_error
from services.signaling.grants import Grants
from services.signaling.ice_sessions import IceSessions
from services.signaling.limiter import Limiter
from services.signaling.middleware import Cors, LastNet, Measured
from services.signaling.page import CONSOLE, MIN_PAGE_SECRET_CHARS, Demo, console_files
from services.signaling.relays import RelayDesk
from services.signaling.settings import SignalingSettings
from services.signaling.tenants_file import TenantsFile
from services.signaling.usage import UsageSource
from services.signaling.whip import Whip


async def serve(bus: Bus, settings: SignalingSettings, process: Process) -> None:
    """Serve the public door until told to stop."""
    tenants = TenantsFile(settings.tenants_file)
    if settings.demo_tenant and tenants.current().by_id(TenantId(settings.demo_tenant)) is None:
        raise SettingsError(f"SIGNALING_DEMO_TENANT: {settings.demo_tenant} is not in the tenants file")
    process.health.checks["bus"] = lambda: bus.connected
    token = settings.secret("metering_token").get_secret_value()
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=settings.metering_url, headers=headers, timeout=usage.TIMEOUT_S) as client:
        directory = Directory(bus)
        await directory.listen()
        grants = await open_grants(bus)
        api = Api(
            bus=bus,
            authority=Authority(tenants, grants, Limiter(settings.rates, settings.address_rate)),
            directory=directory,
            usage=UsageSource(client, configured=bool(settings.metering_url)),
            default_model=settings.default_model,
            relays=relay_desk(settings),
            tracer=process.tracer,
        )
        app = build(api, settings, process.health)
        async with serve_http(
            app, host=settings.http_host, port=settings.http_port, tls=settings.tls, limits=settings.http_limits
        ) as url:
            process.ready(url)
            await process.stopping.wait()


async def open_grants(bus: Bus) -> Grants:
    """The buckets of tokens and of who may ask about calls.

    Raises:
        StoreTooSmallError: the NATS server has no room for them.
        nats.errors.Error: it does not make them.
    """
    js, store_mb = bus.jetstream, bus.store_mb
    tokens, access = await grants_bucket(js, store_mb=store_mb), await access_bucket(js, store_mb=store_mb)
    return Grants(tokens, access, connected=lambda: bus.connected)


def relay_desk(settings: SignalingSettings) -> RelayDesk | None:
    """What hands out credentials for the TURN servers; None: there are none.

    Raises:
        TurnSecretError: their secret cannot be read.
    """
    return RelayDesk(settings.relays, settings.turn_secret_file) if settings.turn_secret_file else None


def page_secret(settings: SignalingSettings) -> SecretStr:
    """Return what the page must know to get tokens.

    Raises:
        SettingsError: its file cannot be read, or it can be guessed.
    """
    secret = settings.secret("page_secret")
    if len(secret.get_secret_value()) < MIN_PAGE_SECRET_CHARS:
        raise SettingsError(
            f"SIGNALING_PAGE_SECRET has fewer than {MIN_PAGE_SECRET_CHARS} characters: `openssl rand -hex 16` makes one"
        )
    return secret


def build(api: Api, settings: SignalingSettings, health: Health, *, console: Path = CONSOLE) -> FastAPI:
    """The HTTP application."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.body_timeout_s = settings.body_timeout_s
    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(HTTPException, on_http_error)
    add_routes(app, health)
    api.add_routes(app)
    openapi.add_routes(app)
    grants = api.authority.grants
    sessions = IceSessions(grants.access, connected=grants.connected)
    Whip(api.authority, api.calls, sessions, api.relays, api.tracer).add_routes(app)
    if settings.demo_tenant:
        files = console_files(console)
        demo = Demo(
            api=api,
            tenant=TenantId(settings.demo_tenant),
            secret=page_secret(settings),
            provider=settings.provider,
            charged=settings.charged,
            files=files,
        )
        demo.add_routes(app)
    # The last one added is the outermost.
    app.add_middleware(LastNet)
    app.add_middleware(Cors, allowed_origins=settings.allowed_origins)
    app.add_middleware(Measured)
    return app
