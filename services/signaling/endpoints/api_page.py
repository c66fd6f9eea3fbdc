"""The OpenAPI document at `/openapi.json`, and a page at `/docs` that shows it without internet access."""

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from services.signaling.endpoints.openapi import document

_VIEWER = Path(str(files("fastapi_offline"))) / "static"
_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_START = (
    'SwaggerUIBundle({url: "/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null, '
    "persistAuthorization: false});\n"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hushgate API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


def add_routes(app: FastAPI) -> None:
    """Add `/openapi.json` and `/docs` to ``app``."""
    content = document()

    async def openapi() -> Response:
        return JSONResponse(content)

    async def page() -> Response:
        return HTMLResponse(_PAGE, headers=_HEADERS)

    async def asset(name: str) -> Response:
        if name == "start.js":
            return Response(_START, media_type="text/javascript", headers=_HEADERS)
        if name not in _ASSETS:
            raise HTTPException(404)
        return FileResponse(_VIEWER / name, media_type=_ASSETS[name], headers=_HEADERS)

    app.add_api_route("/openapi.json", openapi, methods=["GET"], response_model=None)
    app.add_api_route("/docs", page, methods=["GET"], response_model=None)
    app.add_api_route("/docs/{name}", asset, methods=["GET"], response_model=None)
