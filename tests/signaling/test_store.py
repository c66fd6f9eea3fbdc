"""A flood of mints against a NATS store of 40 MB does not affect other tenants."""

import asyncio
import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from services.contracts import subjects
from services.contracts.connect import WebRtcAnswer
from services.contracts.grant import Grant
from services.contracts.ids import ProcessId, TenantId
from services.contracts.messages import OfferAnswered
from services.runtime.bus import streams
from services.runtime.bus.client import Bus
from services.runtime.bus.streams import Share
from services.runtime.errors import BucketFullError
from services.signaling.app import open_grants
from services.signaling.core.limits import Limited, RequestRate
from services.signaling.core.tenants import Rates
from services.signaling.core.token_quota import TokenQuota
from services.signaling.grants import TooManyTokensError
from services.signaling.request_limiter import RequestLimiter
from services.signaling.settings import SignalingSettings
from tests.signaling.fixture_types import AddMedia, OpenSignaling

SECRETS, CALLS, WHIP = "/v1/realtime/client_secrets", "/v1/realtime/calls", "/v1/whip"
ANSWER = OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n"))
STORE_MB = 40
BOUND = streams.bound(Share.GRANTS, STORE_MB)


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


@pytest.fixture
def store_mb() -> int:
    return STORE_MB


@pytest.fixture
def settings(tenants_path: Path) -> SignalingSettings:
    """Settings without rate limits, so that only the store's bounds apply."""
    return SignalingSettings(tenants_file=tenants_path, mints_burst=100_000, mints_per_s=10_000, live_tokens=1_000_000)


async def mint(client: httpx.AsyncClient, key: str, *, letters: int = 0, seconds: int = 60) -> httpx.Response:
    session = {"type": "realtime", "instructions": "x" * letters}
    body = {"session": session, "expires_after": {"anchor": "created_at", "seconds": seconds}}
    return await client.post(SECRETS, json=body, headers=bearer(key))


async def call(client: httpx.AsyncClient, path: str, value: str, offer: str) -> httpx.Response:
    return await client.post(path, content=offer, headers={**bearer(value), "Content-Type": "application/sdp"})


async def taken(bus: Bus, stream: str) -> int:
    return int((await bus.jetstream.stream_info(stream)).state.bytes)


async def flood(endpoints: list[httpx.AsyncClient], key: str, *, letters: int) -> set[int]:
    """Mint tokens of maximum validity until every endpoint refuses."""
    seen: set[int] = set()
    batch: set[int] = {200}
    while 200 in batch:
        replies = await asyncio.gather(
            *(mint(endpoints[n % len(endpoints)], key, letters=letters, seconds=7200) for n in range(24))
        )
        batch = {reply.status_code for reply in replies}
        seen |= batch
        assert all(0 < int(each.headers["retry-after"]) <= 7230 for each in replies if each.status_code == 429)
    return seen


@dataclass(frozen=True, slots=True)
class Victim:
    """A tenant that makes calls while another one floods the store."""

    bus: Bus
    add_media: AddMedia
    key: str
    offer: str

    async def works(self, endpoints: list[httpx.AsyncClient]) -> None:
        """Check that it can mint and call, and that usage, history and leases are stored."""
        await self.add_media(f"media-{uuid4().hex}", ANSWER)
        for endpoint in endpoints:
            for path in (CALLS, WHIP):
                token = await mint(endpoint, self.key, letters=20_000)
                assert token.status_code == 200
                assert (await call(endpoint, path, token.json()["value"], self.offer)).status_code == 201
        js = self.bus.jetstream
        for _ in range(300):
            await js.publish(
                subjects.usage("media", "media-0", TenantId("other")), b"x" * 2000, stream=subjects.USAGE_STREAM
            )
            await js.publish(subjects.call_ended(ProcessId("media-0")), b"x" * 2000, stream=subjects.CALLS_STREAM)
        leases = await streams.leases_bucket(js, store_mb=STORE_MB)
        for _ in range(300):
            name = uuid4().hex
            await leases.update(name, b"x" * 200, last=await leases.create(name, b"x" * 200))


@pytest.fixture
async def victim(bus: Bus, add_media: AddMedia, other_key: str, offer: str) -> Victim:
    await streams.ensure_usage_stream(bus.jetstream, store_mb=STORE_MB)
    await streams.ensure_calls_stream(bus.jetstream, store_mb=STORE_MB)
    return Victim(bus, add_media, other_key, offer)


@pytest.mark.parametrize("letters", [90_000, 9_000])
async def test_a_flood_of_mints_stops_at_a_third_of_the_room_for_tokens_and_nobody_else_notices(
    client: httpx.AsyncClient, bus: Bus, victim: Victim, key: str, letters: int
) -> None:
    assert await flood([client], key, letters=letters) == {200, 429}
    assert 0.25 * BOUND < await taken(bus, "KV_grants") < 0.35 * BOUND
    await victim.works([client])
    assert await flood([client], key, letters=letters) <= {200, 429}


async def test_a_flood_at_three_processes_leaves_room_for_others_at_each(
    client: httpx.AsyncClient, open_signaling: OpenSignaling, bus: Bus, victim: Victim, key: str
) -> None:
    endpoints = [client, await open_signaling(), await open_signaling()]
    assert 429 in await flood(endpoints, key, letters=30_000)
    # Three fifths, and the mints that were on their way when the server was asked.
    assert await taken(bus, "KV_grants") < 0.85 * BOUND
    await victim.works(endpoints)


async def test_what_stays_of_a_call_for_a_day_is_small(
    client: httpx.AsyncClient, bus: Bus, add_media: AddMedia, key: str, offer: str
) -> None:
    await add_media("media-0", ANSWER)
    for _ in range(5):
        token = (await mint(client, key, letters=90_000)).json()["value"]
        assert (await call(client, CALLS, token, offer)).status_code == 201
    assert await taken(bus, "KV_grants") < 5 * 600
    assert await taken(bus, "KV_access") < 5 * 1000


async def test_nothing_stays_of_offers_that_nobody_answered(
    client: httpx.AsyncClient, bus: Bus, key: str, offer: str
) -> None:
    for path in (CALLS, WHIP):
        for _ in range(5):
            assert (await call(client, path, key, offer)).status_code == 503
    assert await taken(bus, "KV_access") == 0


async def test_a_bucket_that_is_full_for_all_is_said_so_and_calls_go_on(
    client: httpx.AsyncClient, bus: Bus, add_media: AddMedia, key: str, offer: str
) -> None:
    token = (await mint(client, key, letters=50_000)).json()["value"]
    grants = await bus.jetstream.key_value("grants")
    room = BOUND - await taken(bus, "KV_grants")
    for number in range(room // 10_100):
        await grants.put(f"other.{number}", b"x" * 10_000)
    async with asyncio.timeout(10):
        while (reply := await mint(client, key)).status_code == 200:
            await bus.flush()
    assert (reply.status_code, reply.json()["error"]["code"]) in {
        (429, "rate_limit_exceeded"),
        (503, "token_store_full"),  # only by how lately the server was asked
    }
    assert 1 <= int(reply.headers["retry-after"]) <= 90
    await add_media("media-0", ANSWER)
    assert (await call(client, CALLS, token, offer)).status_code == 201
    assert (await call(client, CALLS, key, offer)).status_code == 201


async def test_a_bucket_that_others_have_just_filled_is_nobodys_own_fault(bus: Bus) -> None:
    grants = replace(await open_grants(bus), fill_fresh_s=3600)
    grant = Grant(tenant=TenantId("acme"), session={"instructions": "x" * 9000})
    await grants.issue(grant, seconds=60, most=TokenQuota(10, BOUND))
    with contextlib.suppress(BucketFullError):
        for number in range(200):
            await grants.tokens.put(f"other.{number}", b"x" * 90_000, ttl_s=600)
    with contextlib.suppress(BucketFullError):
        for number in range(100):
            await grants.tokens.put(f"small.{number}", b"x" * 4000, ttl_s=600)
    with pytest.raises(TooManyTokensError) as caught:
        await grants.issue(grant, seconds=60, most=TokenQuota(10, BOUND))
    assert caught.value.reason is Limited.STORE_FULL
    assert grants.live.of(TenantId("acme"))[0] == 1
    refusal = RequestLimiter(Rates(), RequestRate(1, 1)).refusal(caught.value.reason, caught.value.wait_s)
    assert (refusal.status, refusal.code, refusal.headers["Retry-After"]) == (503, "token_store_full", "5")


async def test_a_call_that_cannot_be_remembered_is_ended_and_its_token_is_free_again(
    client: httpx.AsyncClient, bus: Bus, add_media: AddMedia, key: str, offer: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    token = (await mint(client, key)).json()["value"]
    ended: asyncio.Queue[str] = asyncio.Queue()
    await bus.subscribe("hg.call.*.*.control", lambda subject, _: ended.put_nowait(subject))
    await bus.flush()
    await bus.jetstream.delete_key_value("access")
    reply = await call(client, CALLS, token, offer)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "bus_unavailable")
    async with asyncio.timeout(5):
        assert await ended.get() == subjects.control(ProcessId("media-0"), offers[0].call)
    await streams.access_bucket(bus.jetstream, store_mb=STORE_MB)
    assert (await call(client, CALLS, token, offer)).status_code == 201
