import httpx
import pytest
from pydantic import SecretStr

from services.contracts import subjects
from services.contracts.ids import ProcessId
from services.runtime.bus.client import Bus
from services.signaling.settings import SignalingSettings
from tests.signaling.fixture_types import AddMedia, OpenSignaling
from tests.signaling.page import PAGE_SECRET, page_headers

OWN = "http://127.0.0.1:8080"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,x-stainless-os,x-evil",
}


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


async def test_a_preflight_allows_what_stock_clients_send(client: httpx.AsyncClient) -> None:
    reply = await client.options("/v1/realtime/calls", headers={"Origin": "https://app.example", **PREFLIGHT})
    assert reply.status_code == 204
    assert reply.headers["access-control-allow-origin"] == "*"
    allowed = reply.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type", "x-openai-agents-sdk", "x-stainless-os"} == set(allowed)


async def test_a_preflight_allows_what_whip_clients_send(client: httpx.AsyncClient) -> None:
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "if-match,content-type"}
    reply = await client.options("/v1/whip/rtc_0", headers={"Origin": "https://app.example", **asked})
    assert "if-match" in reply.headers["access-control-allow-headers"]
    assert {"PATCH", "DELETE"} <= set(reply.headers["access-control-allow-methods"].split(", "))


async def test_errors_can_be_read_across_origins(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/realtime/calls", headers={"Origin": "https://app.example"})
    assert reply.status_code == 401
    assert reply.headers["access-control-allow-origin"] == "*"
    assert {"Location", "ETag", "Link"} <= set(reply.headers["access-control-expose-headers"].split(", "))
    assert reply.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://app.example", 401),
        (OWN, 401),
        ("https://app.example.evil.example", 403),
        ("http://app.example", 403),
        ("https://APP.example:444", 403),
        ("null", 403),
        ("", 403),
    ],
)
async def test_only_listed_origins_and_the_own_page_may_use_the_api(
    open_signaling: OpenSignaling, settings: SignalingSettings, origin: str, status: int
) -> None:
    endpoint = await open_signaling(settings.model_copy(update={"allowed_origins": ("https://app.example",)}))
    reply = await endpoint.post("/v1/realtime/calls", headers={"Origin": origin})
    assert reply.status_code == status
    preflight = await endpoint.options("/v1/realtime/calls", headers={"Origin": origin, **PREFLIGHT})
    assert preflight.status_code == (204 if status == 401 else 403)


async def test_a_tenant_may_have_a_list_of_origins(client: httpx.AsyncClient, other_key: str) -> None:
    for origin, status in (("https://other.example", 200), ("https://app.example", 403)):
        headers = {**bearer(other_key), "Origin": origin}
        assert (await client.post("/v1/realtime/client_secrets", headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/v1/realtime/calls", 405), ("GET", "/v1/realtime", 404), ("GET", "/doc", 404)],
)
async def test_errors_of_the_framework_have_the_providers_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    reply = await client.request(method, path)
    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "code", "param"}


async def test_a_bus_that_lost_the_tokens_is_said_so(client: httpx.AsyncClient, key: str, bus: Bus) -> None:
    await bus.jetstream.delete_key_value("grants")
    headers = {**bearer(key), "Origin": "https://app.example"}
    reply = await client.post("/v1/realtime/client_secrets", headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "bus_unavailable")
    assert reply.headers["access-control-allow-origin"] == "*"


async def test_health_needs_the_bus_but_no_media(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).status_code == 200
    assert (await client.get("/readyz")).status_code == 200


async def test_requests_are_counted_by_route_and_never_by_call(client: httpx.AsyncClient) -> None:
    await client.get(f"/v1/calls/rtc_{'q' * 26}/usage")
    await client.get("/nowhere/secret")
    metrics = (await client.get("/metrics")).text
    assert 'hushgate_requests_total{code="401",route="/v1/calls/{call_id}/usage"}' in metrics
    assert 'hushgate_requests_total{code="404",route="none"}' in metrics
    assert "q" * 26 not in metrics
    assert "/nowhere" not in metrics


async def test_what_is_counted_names_no_tenant(client: httpx.AsyncClient, key: str) -> None:
    reply = await client.post("/v1/realtime/client_secrets", headers=bearer(key))
    assert reply.status_code == 200
    metrics = (await client.get("/metrics")).text
    assert "hushgate_tokens_issued_total" in metrics
    assert "acme" not in metrics


async def test_a_heartbeat_that_cannot_be_read_is_counted(
    client: httpx.AsyncClient, add_media: AddMedia, bus: Bus
) -> None:
    await bus.publish_bytes(subjects.heartbeat(ProcessId("media-0")), b"{}")
    await add_media("media-0")
    metrics = (await client.get("/metrics")).text
    assert "hushgate_heartbeats_malformed_total 0.0" not in metrics


async def test_the_page_is_served_with_a_strict_policy(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert (await client.get("/assets/app.js")).headers["content-type"].startswith("text/javascript")
    assert (await client.get("/assets/sub/worklet.js")).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "secret.py",
        "%2e%2e/tenants.json",
        "%2e%2e%2ftenants.json",
        "sub",
        "",
        "a%00.js",
        "%2fetc/x.js",
        "a" * 300 + ".js",
        "sub/" * 2000 + "app.js",
        ".hidden.js",
        ".hidden/app.js",
    ],
)
async def test_nothing_but_the_page_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(f"/assets/{path}")).status_code == 404


async def test_the_page_learns_what_it_talks_to(client: httpx.AsyncClient) -> None:
    reply = await client.get("/demo/info")
    assert reply.json() == {"provider": "rehearsal", "charged": False, "model": "gpt-realtime-2.1"}


async def test_the_page_gets_a_token_with_our_own_events(
    client: httpx.AsyncClient, add_media: AddMedia, offer: str
) -> None:
    offers = await add_media("media-0")
    reply = await client.post("/demo/token", headers=page_headers(OWN))
    assert reply.status_code == 200
    headers = {**bearer(reply.json()["value"]), "Content-Type": "application/sdp", "Origin": OWN}
    await client.post("/v1/realtime/calls", content=offer, headers=headers)
    assert offers[0].grant.events == ("gate", "gate.score", "usage")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:8080"},
        {"Origin": "http://127.0.0.1:8081"},
        {"Origin": "http://127.0.0.1:8080.evil.example"},
        {"Origin": "http://evil.example", "Host": "evil.example"},
    ],
)
async def test_nobody_but_the_page_gets_its_token(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    headers = {**bearer(PAGE_SECRET.get_secret_value()), **headers}
    assert (await client.post("/demo/token", headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"Authorization": b"Bearer "},
        {b"Authorization": b"Bearer wrong"},
        {b"Authorization": b"Bearer \xff"},
        {b"Authorization": b"Bearer " + PAGE_SECRET.get_secret_value()[:-1].encode()},
    ],
)
async def test_an_origin_that_anyone_can_forge_is_not_enough_for_a_token(
    client: httpx.AsyncClient, headers: dict[bytes, bytes]
) -> None:
    reply = await client.post("/demo/token", headers={b"Origin": OWN.encode(), **headers})
    assert reply.status_code == 403
    assert reply.json()["error"]["code"] == "page_secret_wrong"


async def test_another_origin_learns_nothing_from_the_demo(client: httpx.AsyncClient) -> None:
    assert (await client.get("/demo/info", headers={"Origin": "https://evil.example"})).status_code == 403


@pytest.mark.parametrize("path", ["/", "/assets/app.js", "/demo/info"])
async def test_without_a_demo_tenant_there_is_no_demo(
    open_signaling: OpenSignaling, settings: SignalingSettings, path: str
) -> None:
    endpoint = await open_signaling(settings.model_copy(update={"demo_tenant": "", "page_secret": SecretStr("")}))
    assert (await endpoint.get(path)).status_code == 404
