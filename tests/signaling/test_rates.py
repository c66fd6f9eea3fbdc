"""Clients above their rate get 429 with Retry-After; other clients are not affected."""

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from openai import AsyncOpenAI, RateLimitError

from services.contracts.connect import WebRtcAnswer
from services.contracts.grant import Grant
from services.contracts.ids import TenantId
from services.contracts.messages import OfferAnswered
from services.runtime.bus.client import Bus
from services.signaling.app import open_grants
from services.signaling.core.tenants import key_hash
from services.signaling.core.token_quota import TokenQuota
from services.signaling.settings import SignalingSettings
from tests.signaling.fixture_types import AddMedia, OpenSignaling
from tests.signaling.page import PAGE_SECRET, page_headers

SECRETS, CALLS, WHIP = "/v1/realtime/client_secrets", "/v1/realtime/calls", "/v1/whip"
OWN = "http://127.0.0.1:8080"
ANSWER = OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n"))
CALL = f"rtc_{'a' * 26}"


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


@pytest.fixture
def settings(tenants_path: Path) -> SignalingSettings:
    return SignalingSettings(
        tenants_file=tenants_path,
        demo_tenant="acme",
        page_secret=PAGE_SECRET,
        mints_per_s=0.01,
        mints_burst=5,
        offers_per_s=0.01,
        offers_burst=4,
        address_per_s=0.01,
        address_burst=6,
    )


async def mint(client: httpx.AsyncClient, value: str, **body: object) -> httpx.Response:
    return await client.post(SECRETS, json=body, headers=bearer(value))


async def offer_to(client: httpx.AsyncClient, path: str, value: str, offer: str) -> httpx.Response:
    return await client.post(path, content=offer, headers={**bearer(value), "Content-Type": "application/sdp"})


def refused(reply: httpx.Response, *, most_s: int) -> bool:
    """Whether it is a 429 as OpenAI's clients read it, with a time to wait."""
    if reply.status_code != 429:
        return False
    error = reply.json()["error"]
    assert (error["code"], error["type"], error["param"]) == ("rate_limit_exceeded", "rate_limit_error", None)
    assert reply.headers["cache-control"] == "no-store"
    return 1 <= int(reply.headers["retry-after"]) <= most_s


async def limited(client: httpx.AsyncClient, limit: str) -> float:
    text = (await client.get("/metrics")).text
    return float(re.findall(rf'^hushgate_requests_limited_total{{limit="{limit}"}} (\S+)', text, re.MULTILINE)[0])


async def test_mints_of_one_tenant_are_limited_and_another_does_not_notice(
    client: httpx.AsyncClient, key: str, other_key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await limited(client, "mints")
    replies = [await mint(client, key) for _ in range(12)]
    assert [reply.status_code for reply in replies] == [200] * 5 + [429] * 7
    assert all(refused(reply, most_s=100) for reply in replies[5:])
    assert (await mint(client, other_key)).status_code == 200
    assert await limited(client, "mints") == before + 7
    named = [line for line in capsys.readouterr().out.splitlines() if "tenant_limited" in line]
    assert len(named) == 1  # not one a request
    assert "acme" in named[0]


@pytest.mark.parametrize("path", [CALLS, WHIP])
async def test_offers_of_one_tenant_are_limited_by_key_and_token_together(
    client: httpx.AsyncClient, add_media: AddMedia, key: str, other_key: str, offer: str, path: str
) -> None:
    await add_media("media-0", ANSWER)
    tokens = [(await mint(client, key)).json()["value"] for _ in range(3)]
    replies = [await offer_to(client, path, value, offer) for value in (key, tokens[0], tokens[1], key, tokens[2], key)]
    assert [reply.status_code for reply in replies] == [201] * 4 + [429] * 2
    assert all(refused(reply, most_s=100) for reply in replies[4:])
    assert (await offer_to(client, path, other_key, offer)).status_code == 201


async def test_an_offer_that_is_limited_does_not_use_up_its_token(
    open_signaling: OpenSignaling, client: httpx.AsyncClient, add_media: AddMedia, key: str, offer: str
) -> None:
    another = await open_signaling()
    await add_media("media-0", ANSWER)
    token = (await mint(client, key)).json()["value"]
    for _ in range(4):
        assert (await offer_to(client, CALLS, key, "v=0")).status_code == 422  # bad offers count, too
    assert (await offer_to(client, CALLS, token, offer)).status_code == 429
    assert (await offer_to(another, CALLS, token, offer)).status_code == 201


STRANGERS: dict[str, Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]]] = {
    f"POST {SECRETS}": mint,
    f"POST {CALLS}": lambda client, value: offer_to(client, CALLS, value, "v=0"),
    f"POST {CALLS}/{{call_id}}/restart": lambda client, value: client.post(
        f"{CALLS}/{CALL}/restart", headers=bearer(value)
    ),
    f"POST {CALLS}/{{call_id}}/hangup": lambda client, value: client.post(
        f"{CALLS}/{CALL}/hangup", headers=bearer(value)
    ),
    f"POST {WHIP}": lambda client, value: offer_to(client, WHIP, value, "v=0"),
    f"OPTIONS {WHIP}": lambda client, value: client.options(WHIP, headers=bearer(value)),
    f"PATCH {WHIP}/{{call_id}}": lambda client, value: client.patch(f"{WHIP}/{CALL}", headers=bearer(value)),
    f"DELETE {WHIP}/{{call_id}}": lambda client, value: client.delete(f"{WHIP}/{CALL}", headers=bearer(value)),
    "GET /v1/calls/{call_id}/usage": lambda client, value: client.get(f"/v1/calls/{CALL}/usage", headers=bearer(value)),
    "GET /v1/usage": lambda client, value: client.get("/v1/usage", headers=bearer(value)),
}
"""The endpoints that take a tenant key or a token."""
BY_PAGE_SECRET = {"POST /demo/token"}
"""Limited by address whatever the secret is."""
WITHOUT_KEYS = {
    f"OPTIONS {WHIP}/{{call_id}}",
    *(f"GET /{path}" for path in ("", "assets/{path:path}", "demo/info", "healthz", "metrics", "readyz")),
    *(f"HEAD /{path}" for path in ("", "assets/{path:path}")),
    *(f"GET /{path}" for path in ("docs", "docs/{name}", "openapi.json")),
}
"""They look at no credential, so that none can be guessed there."""


def endpoints(client: httpx.AsyncClient) -> set[str]:
    routes = client._transport.app.routes  # type: ignore[attr-defined]  # noqa: SLF001 - all that the API has
    return {f"{method} {route.path}" for route in routes for method in route.methods}


async def test_every_endpoint_is_limited_by_address_or_takes_no_key(client: httpx.AsyncClient) -> None:
    assert endpoints(client) == {*STRANGERS, *BY_PAGE_SECRET, *WITHOUT_KEYS}
    for path in ("/v1/nothing", "/v1/realtime", "/v1/realtime/sessions"):
        replies = [await client.post(path, headers=bearer(value)) for value in ("hg_" + "z" * 43, "x")]
        assert [reply.status_code for reply in replies] == [404] * 2


@pytest.fixture
def turn_settings(settings: SignalingSettings, tmp_path: Path) -> SignalingSettings:
    secret = tmp_path / "turn"
    secret.write_text("s" * 32)
    return settings.model_copy(update={"turn_urls": ("turn:turn.example.com",), "turn_secret_file": secret})


@pytest.mark.parametrize("endpoint", STRANGERS)
@pytest.mark.parametrize("value", ["hg_" + "z" * 43, "ek_" + "z" * 43, "x"])
async def test_an_address_without_a_good_key_is_limited_at_every_endpoint(
    open_signaling: OpenSignaling, turn_settings: SignalingSettings, key: str, endpoint: str, value: str
) -> None:
    client = await open_signaling(turn_settings)
    replies = [await STRANGERS[endpoint](client, value) for _ in range(9)]
    assert [reply.status_code for reply in replies] == [401] * 6 + [429] * 3
    assert all(refused(reply, most_s=100) for reply in replies[6:])
    assert (await mint(client, key)).status_code == 200


@pytest.mark.parametrize("state", ["used", "expired"])
async def test_an_address_with_a_token_that_was_good_is_limited_too(
    client: httpx.AsyncClient, bus: Bus, add_media: AddMedia, key: str, offer: str, state: str
) -> None:
    await add_media("media-0", ANSWER)
    if state == "used":
        token = str((await mint(client, key)).json()["value"])
        assert (await offer_to(client, CALLS, token, offer)).status_code == 201
    else:
        grant = Grant(tenant=TenantId("acme"), session={})
        token, _ = await (await open_grants(bus)).issue(grant, seconds=-1, most=TokenQuota(10, 10_000))
    replies = [await offer_to(client, CALLS, token, offer) for _ in range(3)]
    replies += [await offer_to(client, WHIP, token, offer) for _ in range(3)]
    replies += [await client.get("/v1/usage", headers=bearer(token)) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [401] * 6 + [429] * 3


async def test_an_address_with_a_wrong_page_secret_is_limited(client: httpx.AsyncClient) -> None:
    headers = {**page_headers(OWN), **bearer("x" * 16)}
    replies = [await client.post("/demo/token", headers=headers) for _ in range(9)]
    assert [reply.status_code for reply in replies] == [403] * 6 + [429] * 3


async def test_a_good_key_or_token_is_not_refused_for_a_neighbour_at_its_address(
    client: httpx.AsyncClient, add_media: AddMedia, key: str, offer: str
) -> None:
    await add_media("media-0", ANSWER)
    while (await client.get("/v1/usage")).status_code != 429:
        pass
    token = await mint(client, key)
    assert token.status_code == 200
    begun = await offer_to(client, CALLS, token.json()["value"], offer)
    assert begun.status_code == 201
    hung_up = await client.post(f"{begun.headers['location']}/hangup", headers=bearer(token.json()["value"]))
    assert hung_up.status_code == 404  # the media process of this test has no calls


async def test_addresses_are_limited_each_for_itself(
    open_signaling: OpenSignaling, settings: SignalingSettings
) -> None:
    client = await open_signaling(settings)
    app = client._transport.app  # type: ignore[attr-defined]  # noqa: SLF001 - asked from several addresses
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8:0:1::1"):
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url=OWN) as other:
            assert [(await other.get("/v1/usage")).status_code for _ in range(7)] == [401] * 6 + [429]
    transport = httpx.ASGITransport(app, client=("2001:db8:0:1:ffff::", 1))  # the same customer's
    async with httpx.AsyncClient(transport=transport, base_url=OWN) as other:
        assert (await other.get("/v1/usage")).status_code == 429


async def test_the_pages_tokens_are_limited_by_address_and_by_tenant(client: httpx.AsyncClient) -> None:
    replies = [await client.post("/demo/token", headers=page_headers(OWN)) for _ in range(8)]
    assert [reply.status_code for reply in replies] == [200] * 5 + [429] * 3
    assert all(refused(reply, most_s=100) for reply in replies[5:])


async def test_a_browser_of_another_origin_can_read_when_to_come_again(client: httpx.AsyncClient, key: str) -> None:
    headers = {**bearer(key), "Origin": "https://app.example"}
    replies = [await client.post(SECRETS, headers=headers) for _ in range(6)]
    assert replies[-1].status_code == 429
    assert "Retry-After" in replies[-1].headers["access-control-expose-headers"].split(", ")


async def test_a_tenant_may_have_rates_of_its_own_and_a_change_of_them_counts_at_once(
    client: httpx.AsyncClient, settings: SignalingSettings, key: str, other_key: str
) -> None:
    def write(**rates: float) -> None:
        acme = {"id": "acme", "keys_sha256": [key_hash(key)], "rates": rates}
        other = {"id": "other", "keys_sha256": [key_hash(other_key)]}
        settings.tenants_file.write_text(json.dumps({"tenants": [acme, other]}))

    write(mints_burst=7)
    assert [(await mint(client, key)).status_code for _ in range(8)] == [200] * 7 + [429]
    assert [(await mint(client, other_key)).status_code for _ in range(6)] == [200] * 5 + [429]
    write(mints_burst=9)
    assert [(await mint(client, key)).status_code for _ in range(3)] == [200] * 2 + [429]


async def test_a_tenant_has_no_more_unused_tokens_than_it_may_and_those_that_are_used_do_not_count(
    open_signaling: OpenSignaling,
    settings: SignalingSettings,
    add_media: AddMedia,
    key: str,
    other_key: str,
    offer: str,
) -> None:
    client = await open_signaling(settings.model_copy(update={"mints_burst": 100, "live_tokens": 3}))
    await add_media("media-0", ANSWER)
    replies = [await mint(client, key, expires_after={"seconds": 600}) for _ in range(5)]
    assert [reply.status_code for reply in replies] == [200] * 3 + [429] * 2
    assert refused(replies[3], most_s=630)
    assert int(replies[3].headers["retry-after"]) > 600
    assert (await mint(client, other_key)).status_code == 200
    assert (await offer_to(client, CALLS, replies[0].json()["value"], offer)).status_code == 201
    assert [(await mint(client, key)).status_code for _ in range(2)] == [200, 429]


async def test_the_unused_tokens_of_a_tenant_have_no_more_bytes_than_they_may(
    client: httpx.AsyncClient, settings: SignalingSettings, key: str, other_key: str
) -> None:
    acme = {"id": "acme", "keys_sha256": [key_hash(key)], "rates": {"token_bytes": 10_000}}
    other = {"id": "other", "keys_sha256": [key_hash(other_key)]}
    settings.tenants_file.write_text(json.dumps({"tenants": [acme, other]}))
    session = {"type": "realtime", "instructions": "x" * 4000}
    before = await limited(client, "token_bytes")
    replies = [await mint(client, key, session=session) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200] * 2 + [429]
    assert refused(replies[2], most_s=90)
    assert await limited(client, "token_bytes") == before + 1
    assert (await mint(client, key)).status_code == 200  # a small one fits
    assert (await mint(client, other_key, session=session)).status_code == 200


async def test_the_openai_client_reads_it_as_its_own_error(client: httpx.AsyncClient, key: str) -> None:
    async with AsyncOpenAI(api_key=key, base_url=f"{OWN}/v1", http_client=client, max_retries=0) as openai:  # type: ignore[arg-type]
        for _ in range(5):
            await openai.realtime.client_secrets.create()
        with pytest.raises(RateLimitError) as caught:
            await openai.realtime.client_secrets.create()
    assert caught.value.code == "rate_limit_exceeded"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 100
