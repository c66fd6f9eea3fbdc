"""Query parameters that would have no effect are refused by every endpoint of the API."""

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from services.signaling.endpoints.openapi import document
from services.signaling.query import PARAMETERS

FILES_AND_HEALTH = {
    "/",
    "/assets/{path:path}",
    "/docs",
    "/docs/{name}",
    "/healthz",
    "/metrics",
    "/openapi.json",
    "/readyz",
}


async def test_every_endpoint_refuses_a_parameter_that_it_does_not_have(client: httpx.AsyncClient) -> None:
    app = client._transport.app  # type: ignore[attr-defined]  # noqa: SLF001 - httpx has no public name for it
    assert isinstance(app, FastAPI)
    routes = {route.path: sorted(route.methods or ()) for route in app.routes if isinstance(route, APIRoute)}
    assert routes.keys() >= FILES_AND_HEALTH
    checked = routes.keys() - FILES_AND_HEALTH
    assert checked > {*PARAMETERS, "/demo/token"}
    for path in checked:
        for method in routes[path]:
            known = PARAMETERS.get(path, ())
            query = {**dict.fromkeys(known, "x"), "api-version": "1"}
            reply = await client.request(method, path.replace("{call_id}", "rtc_" + "a" * 26), params=query)
            assert reply.status_code == 400, (method, path)
            error = reply.json()["error"]
            assert (error["code"], error["param"]) == ("unknown_parameter", "api-version")
            here = f"This endpoint has {', '.join(known)}." if known else "This endpoint has none."
            assert error["message"] == f"Unknown query parameter: 'api-version'. {here}"


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in PARAMETERS.items() for name in names])
async def test_a_parameter_has_one_value(client: httpx.AsyncClient, path: str, name: str) -> None:
    method = "GET" if path == "/v1/usage" else "POST"
    reply = await client.request(method, f"{path}?{name}=a&{name}=b")
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "invalid_value", name)
    assert (await client.request(method, f"{path}?{name}=a&{name}=a")).status_code == 401


def test_the_document_has_the_same_parameters_and_the_refusal() -> None:
    for path, operations in document()["paths"].items():
        for operation in operations.values():
            named = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"}
            assert named == set(PARAMETERS.get(path, ()))
            assert "400" in operation["responses"]
