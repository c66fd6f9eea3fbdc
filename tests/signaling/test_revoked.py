"""Tenants and keys that have left the tenants file: their tokens, and what media is told of them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from services.contracts import subjects
from services.contracts.connect import WebRtcAnswer
from services.contracts.ids import NO_KEY, ProcessId, TenantId
from services.contracts.messages import KeyCheck, KeysChecked, OfferAnswered, TenantKey, expect
from services.runtime.bus.client import Bus
from services.signaling.core.tenants import Tenants, key_hash, key_id
from services.signaling.key_answers import KeyAnswers
from services.signaling.tenants_file import TenantsFile
from tests.signaling.fixture_types import AddMedia, MintToken
from tests.signaling.page import page_headers

ANSWER = OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n"))
CALLS, WHIP = "/v1/realtime/calls", "/v1/whip"
MEDIA = ProcessId("media-0")

Act = Callable[[httpx.AsyncClient, str, str], Awaitable[httpx.Response]]


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def rotate(path: Path, key: str) -> None:
    """Leave ``key`` alone to acme."""
    path.write_text(json.dumps({"tenants": [{"id": "acme", "keys_sha256": [key_hash(key)]}]}))


async def offered(client: httpx.AsyncClient, value: str, offer: str, path: str = CALLS) -> httpx.Response:
    return await client.post(path, content=offer, headers={**bearer(value), "Content-Type": "application/sdp"})


async def rejected(client: httpx.AsyncClient, reason: str) -> float:
    sample = f'hushgate_tokens_rejected_total{{reason="{reason}"}} '
    lines = (await client.get("/metrics")).text.splitlines()
    return float(next(line for line in lines if line.startswith(sample)).removeprefix(sample))


@pytest.mark.parametrize("path", [CALLS, WHIP])
async def test_a_token_of_a_key_that_is_gone_does_nothing(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str, tenants_path: Path, path: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    token, before = await mint(), await rejected(client, "key_gone")
    rotate(tenants_path, "hg_" + "n" * 43)
    reply = await offered(client, token, offer, path)
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
    assert await rejected(client, "key_gone") == before + 1
    assert offers == []


OF_A_CALL: dict[str, Act] = {
    "usage": lambda client, call, token: client.get(f"/v1/calls/{call}/usage", headers=bearer(token)),
    "restart": lambda client, call, token: client.post(f"{CALLS}/{call}/restart", headers=bearer(token)),
    "hangup": lambda client, call, token: client.post(f"{CALLS}/{call}/hangup", headers=bearer(token)),
    "whip patch": lambda client, call, token: client.patch(f"{WHIP}/{call}", headers=bearer(token)),
    "whip delete": lambda client, call, token: client.delete(f"{WHIP}/{call}", headers=bearer(token)),
}


@pytest.mark.parametrize("act", OF_A_CALL)
async def test_neither_does_the_token_of_a_call(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str, tenants_path: Path, act: str
) -> None:
    await add_media("media-0", ANSWER)
    token = await mint()
    call = (await offered(client, token, offer)).headers["location"].rpartition("/")[2]
    assert (await OF_A_CALL[act](client, call, token)).status_code != 401
    rotate(tenants_path, "hg_" + "n" * 43)
    assert (await OF_A_CALL[act](client, call, token)).status_code == 401


async def test_grants_name_the_key_that_made_them_and_the_pages_none(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, key: str, offer: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    page = await client.post("/demo/token", headers=page_headers("http://127.0.0.1:8080"))
    for credential in (await mint(), key, page.json()["value"]):
        assert (await offered(client, credential, offer)).status_code == 201
    assert [sent.grant.key for sent in offers] == [key_id(key), key_id(key), NO_KEY]


async def test_the_pages_tokens_outlive_a_change_of_keys(
    client: httpx.AsyncClient, add_media: AddMedia, offer: str, tenants_path: Path
) -> None:
    await add_media("media-0", ANSWER)
    page = await client.post("/demo/token", headers=page_headers("http://127.0.0.1:8080"))
    rotate(tenants_path, "hg_" + "n" * 43)
    assert (await offered(client, page.json()["value"], offer)).status_code == 201


def pair(tenant: str, key: str = "") -> TenantKey:
    return TenantKey(tenant=TenantId(tenant), key=key_id(key) if key else NO_KEY)


def test_a_pair_is_known_while_the_tenant_has_the_key(tenants_path: Path, key: str, other_key: str) -> None:
    tenants = Tenants.parse(tenants_path.read_bytes())
    known = (pair("acme", key), pair("other", other_key), pair("acme"))
    gone = (pair("acme", other_key), pair("nobody", key), pair("nobody"))
    assert tenants.check((*known, *gone)) == KeysChecked(known=known, gone=gone)


async def test_media_is_answered_from_the_file_as_it_is_now(
    bus: Bus, tenants_path: Path, key: str, other_key: str
) -> None:
    answers: asyncio.Queue[KeysChecked] = asyncio.Queue()
    await bus.subscribe(subjects.keys_checked(MEDIA), lambda _, data: answers.put_nowait(expect(KeysChecked, data)))
    await KeyAnswers(bus, TenantsFile(tenants_path)).subscribe()
    asked = (pair("acme", key), pair("other", other_key))
    await bus.publish_bytes(subjects.key_check(MEDIA), b"nonsense")
    await bus.publish(subjects.key_check(MEDIA), KeyCheck(keys=asked))
    async with asyncio.timeout(5):
        assert await answers.get() == KeysChecked(known=asked)
        rotate(tenants_path, key)
        await bus.publish(subjects.key_check(MEDIA), KeyCheck(keys=asked))
        assert await answers.get() == KeysChecked(known=asked[:1], gone=asked[1:])
