from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from services.contracts.connect import WebRtcAnswer
from services.contracts.messages import OfferAnswered
from services.signaling.metering_client import UsageSource
from tests.signaling.fixture_types import AddMedia, MintToken, OpenSignaling


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


@pytest.fixture
async def metering(open_signaling: OpenSignaling) -> AsyncIterator[tuple[httpx.AsyncClient, list[str]]]:
    """Signaling with a metering server that answers with the status given in `from`."""
    asked: list[str] = []
    app = FastAPI()

    async def answer(request: Request) -> Response:
        asked.append(f"{request.url.path}?{request.url.query}")
        assert request.headers["authorization"] == "Bearer secret"
        wanted = request.query_params.get("from", "")
        if wanted == "html":
            return HTMLResponse("<html>")
        return JSONResponse({"object": "usage"}, int(wanted) if len(wanted) == 3 else 200)

    app.add_route("/internal/v1/{rest:path}", answer)
    transport, headers = httpx.ASGITransport(app), {"Authorization": "Bearer secret"}
    async with httpx.AsyncClient(transport=transport, base_url="http://metering", headers=headers) as client:
        yield await open_signaling(usage=UsageSource(client, configured=True)), asked


async def test_usage_is_asked_for_the_tenant_of_the_key_only(
    metering: tuple[httpx.AsyncClient, list[str]], key: str
) -> None:
    endpoint, asked = metering
    other = await endpoint.get("/v1/usage?from=2026-01-01&to=2026-02-01&tenant=other", headers=bearer(key))
    assert (other.status_code, other.json()["error"]["param"]) == (400, "tenant")
    reply = await endpoint.get("/v1/usage?from=2026-01-01&to=2026-02-01", headers=bearer(key))
    assert reply.json() == {"object": "usage"}
    assert asked == ["/internal/v1/usage?tenant=acme&from=2026-01-01&to=2026-02-01"]


async def test_usage_of_a_call_is_for_its_token_and_its_tenant(
    metering: tuple[httpx.AsyncClient, list[str]], add_media: AddMedia, mint: MintToken, key: str, offer: str
) -> None:
    endpoint, asked = metering
    offers = await add_media("media-0", OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n")))
    token = await mint()
    headers = {**bearer(token), "Content-Type": "application/sdp"}
    await endpoint.post("/v1/realtime/calls", content=offer, headers=headers)
    call = offers[0].call
    for value in (token, key):
        assert (await endpoint.get(f"/v1/calls/{call}/usage", headers=bearer(value))).status_code == 200
    assert asked == [f"/internal/v1/calls/{call}/usage?tenant=acme"] * 2


@pytest.mark.parametrize(
    ("answer", "status"),
    [("404", 404), ("400", 400), ("422", 400), ("500", 503), ("401", 503), ("html", 503)],
)
async def test_an_error_of_metering_has_our_shape(
    metering: tuple[httpx.AsyncClient, list[str]], key: str, answer: str, status: int
) -> None:
    reply = await metering[0].get("/v1/usage", params={"from": answer}, headers=bearer(key))
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


async def test_metering_that_is_away_is_said_so(open_signaling: OpenSignaling, key: str) -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1") as nobody:
        endpoint = await open_signaling(usage=UsageSource(nobody, configured=True))
        reply = await endpoint.get("/v1/usage", headers=bearer(key))
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "usage_unavailable")


async def test_a_fault_of_ours_is_an_error_in_the_providers_shape(open_signaling: OpenSignaling, key: str) -> None:
    async with httpx.AsyncClient() as closed:
        endpoint = await open_signaling(usage=UsageSource(closed, configured=True))
    reply = await endpoint.get("/v1/usage", headers={**bearer(key), "Origin": "https://app.example"})
    assert (reply.status_code, reply.json()["error"]["type"]) == (500, "server_error")
    assert reply.headers["access-control-allow-origin"] == "*"


async def test_without_metering_usage_is_not_available(client: httpx.AsyncClient, key: str) -> None:
    reply = await client.get("/v1/usage", headers=bearer(key))
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "usage_unavailable")
