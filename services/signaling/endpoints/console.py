"""The demo page and its tokens. Enabled by `hushgate up` and the chart's `page`."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import SecretStr
from starlette.exceptions import HTTPException

from services.contracts.ids import TenantId
from services.signaling.auth import own
from services.signaling.core import origins
from services.signaling.core.mint import Extension, MintRequest
from services.signaling.endpoints.client_secrets import ClientSecrets
from services.signaling.errors import ApiError, unavailable

MIN_PAGE_SECRET_CHARS = 16
CONSOLE = Path(__file__).parent.parent / "console"
_SERVED = frozenset({".css", ".html", ".ico", ".js", ".json", ".png", ".svg", ".webmanifest", ".woff2"})
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
}


def console_files(console: Path = CONSOLE) -> dict[str, Path]:
    """Return the page's files by URL path. Only these are served, so no request path reaches the file system."""
    names = ((path.relative_to(console), path) for path in console.rglob("*") if path.suffix in _SERVED)
    return {
        name.as_posix(): path
        for name, path in names
        if path.is_file() and not any(part.startswith(".") for part in name.parts)
    }


@dataclass(frozen=True, slots=True)
class ConsolePage:
    """Handlers of the demo page."""

    secrets: ClientSecrets
    tenant: TenantId
    page_secret: SecretStr
    """Secret that a visitor must send as `Authorization: Bearer` to get a token."""
    provider: str
    charged: bool
    files: Mapping[str, Path]
    """The files that are served, by their name under /assets/."""

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes to ``app``."""
        app.add_api_route("/", self.index, methods=["GET", "HEAD"], response_model=None)
        app.add_api_route("/assets/{path:path}", self.asset, methods=["GET", "HEAD"], response_model=None)
        app.add_api_route("/demo/info", self.info, methods=["GET"], response_model=None)
        app.add_api_route("/demo/token", self.token, methods=["POST"], response_model=None)

    async def index(self) -> Response:
        """Serve the page."""
        return self._file("index.html")

    async def asset(self, path: str) -> Response:
        """Serve a file of the page."""
        return self._file(path)

    async def info(self, request: Request) -> Response:
        """Return provider, model and whether calls cost money. Requests of other origins are refused."""
        if "origin" in request.headers:
            _check_origin(request)
        model = self.secrets.authority.tenants.current().by_id(self.tenant)
        shown = (model.session.get("model") if model else None) or self.secrets.default_model
        info = {"provider": self.provider, "charged": self.charged, "model": shown}
        return JSONResponse(info, headers={"Cache-Control": "no-store"})

    async def token(self, request: Request) -> Response:
        """Mint a token for one call of the page. It counts against the rate of the visitor's address."""
        _check_origin(request)
        self.secrets.authority.limiter.count_unauthenticated(request)
        self._check_secret(request)
        tenant = self.secrets.authority.tenants.current().by_id(self.tenant)
        if tenant is None:
            raise unavailable("The demo's tenant is no longer in the tenants file.", "demo_tenant_gone")
        self.secrets.authority.limiter.count_mint(tenant)
        return await self.secrets.issue(tenant, MintRequest(hushgate=Extension(events=["gate", "gate.score", "usage"])))

    def _check_secret(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        if not hmac.compare_digest(given, self.page_secret.get_secret_value().encode()):
            raise ApiError(
                403,
                "The page needs the secret of this start: open the whole address, with what follows the #, that "
                "`hushgate up` or the chart's notes print.",
                code="page_secret_wrong",
            )

    def _file(self, name: str) -> Response:
        path = self.files.get(name)
        if path is None:
            raise HTTPException(404)
        cache = "no-store" if path.suffix == ".html" else "no-cache"
        return FileResponse(path, headers={**_HEADERS, "Cache-Control": cache})


def _check_origin(request: Request) -> None:
    if not origins.is_own_page(request.headers.get("origin"), own=own(request)):
        raise ApiError(
            403,
            "Tokens of the demo page are given to the page itself only, opened at http://127.0.0.1 or over https.",
            code="origin_not_allowed",
        )
