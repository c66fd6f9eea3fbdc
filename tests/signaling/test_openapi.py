"""The document at /openapi.json is valid and matches the routes."""

import httpx
from fastapi import FastAPI
from fastapi.routing import APIRoute
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from services.signaling.core.mint import MintRequest
from services.signaling.endpoints.openapi import document

NOT_FOR_CLIENTS = ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/assets", "/demo")


def test_the_document_is_valid() -> None:
    validate(dict(document()), cls=OpenAPIV31SpecValidator)


async def test_it_has_every_public_route_and_no_other(client: httpx.AsyncClient) -> None:
    app = client._transport.app  # type: ignore[attr-defined]  # noqa: SLF001 - httpx has no public name for it
    assert isinstance(app, FastAPI)
    served = {
        (method.lower(), route.path)
        for route in app.routes
        if isinstance(route, APIRoute) and route.path != "/" and not route.path.startswith(NOT_FOR_CLIENTS)
        for method in route.methods or ()
    }
    described = {(method, path) for path, operations in document()["paths"].items() for method in operations}
    assert described == served


async def test_the_page_shows_it_without_any_other_host(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text.replace("<!doctype", "")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js"):
        assert (await client.get(f"/docs/{name}")).status_code == 200
    assert (await client.get("/docs/redoc.standalone.js")).status_code == 404
    assert (await client.get("/openapi.json")).json() == document()


def test_the_request_for_a_token_is_the_one_that_is_read() -> None:
    described = document()["components"]["schemas"]["MintRequest"]["properties"]
    assert set(described) == set(MintRequest.model_fields)
