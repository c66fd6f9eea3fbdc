"""A tenant has no more calls at once, connected and half-open, than its limits; no other tenant notices."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from services.contracts import subjects
from services.contracts.connect import WebRtcAnswer
from services.contracts.ids import CallId, ProcessId, TenantId
from services.contracts.message import Message
from services.contracts.messages import AnyMessage, Heartbeat, Offer, OfferAnswered, OfferRefused, TenantCalls
from services.runtime.bus.client import Bus
from services.signaling.core.tenants import key_hash
from services.signaling.settings import SignalingSettings
from tests.signaling.fixture_types import HeardHeartbeats, MintToken, OpenSignaling
from tests.signaling.test_rates import bearer, limited, refused

CALLS, WHIP = "/v1/realtime/calls", "/v1/whip"
MEDIA = ProcessId("media-0")


@dataclass
class StubMedia:
    """A media process that answers every offer, and reports its calls when the test says so."""

    bus: Bus
    heard: HeardHeartbeats
    newest: int = 0
    calls: dict[CallId, tuple[TenantId, bool]] = field(default_factory=dict)
    refuse: OfferRefused | None = None

    async def answer(self, message: AnyMessage) -> Message:
        assert isinstance(message, Offer)
        if self.refuse is not None:
            return self.refuse
        self.newest += 1
        self.calls[message.call] = (message.grant.tenant, False)
        return OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n"), number=self.newest)

    async def report(self) -> None:
        """Send a heartbeat and wait until signaling has it."""
        tenants = {tenant for tenant, _ in self.calls.values()}
        beat = Heartbeat(
            process=MEDIA,
            version="0",
            draining=False,
            active=0,
            reserved=0,
            capacity=100,
            loop_lag_ms=0,
            http_url="http://127.0.0.1:1",
            newest=self.newest,
            calls=tuple(
                TenantCalls(
                    tenant=tenant,
                    connected=self._of(tenant, connected=True),
                    half_open=self._of(tenant, connected=False),
                )
                for tenant in sorted(tenants)
            ),
        )
        async with self.heard():
            await self.bus.publish(subjects.heartbeat(MEDIA), beat)

    def _of(self, tenant: TenantId, *, connected: bool) -> tuple[CallId, ...]:
        return tuple(call for call, of in self.calls.items() if of == (tenant, connected))

    async def connect_all(self) -> None:
        self.calls = {call: (tenant, True) for call, (tenant, _) in self.calls.items()}
        await self.report()

    async def end_one(self, tenant: str) -> None:
        del self.calls[next(call for call, (of, _) in self.calls.items() if of == tenant)]
        await self.report()


@pytest.fixture
def settings(tenants_path: Path) -> SignalingSettings:
    return SignalingSettings(tenants_file=tenants_path, live_calls=5, half_open_calls=3)


@pytest.fixture
async def media(bus: Bus, client: httpx.AsyncClient, heard_heartbeats: HeardHeartbeats) -> StubMedia:
    assert client is not None
    stub = StubMedia(bus, heard_heartbeats)
    await bus.serve(subjects.offer(MEDIA), stub.answer)
    await stub.report()
    return stub


async def call(client: httpx.AsyncClient, value: str, offer: str, path: str = CALLS) -> httpx.Response:
    return await client.post(path, content=offer, headers={**bearer(value), "Content-Type": "application/sdp"})


def statuses(replies: Sequence[httpx.Response]) -> list[int]:
    return sorted(reply.status_code for reply in replies)


@pytest.mark.parametrize("path", [CALLS, WHIP])
async def test_of_twenty_offers_at_once_as_many_get_a_call_as_may_be_half_open(
    client: httpx.AsyncClient, media: StubMedia, key: str, other_key: str, offer: str, path: str
) -> None:
    before = await limited(client, "half_open")
    replies = await asyncio.gather(*(call(client, key, offer, path) for _ in range(20)))
    assert statuses(replies) == [201] * 3 + [429] * 17
    assert all(refused(reply, most_s=1) for reply in replies if reply.status_code == 429)
    assert await limited(client, "half_open") == before + 17
    assert (await call(client, other_key, offer, path)).status_code == 201
    assert len(media.calls) == 4


async def test_a_tenant_has_its_calls_and_no_more_until_one_ends(
    client: httpx.AsyncClient, media: StubMedia, key: str, other_key: str, offer: str
) -> None:
    before = await limited(client, "calls")
    for _ in range(2):
        replies = [await call(client, key, offer) for _ in range(3)]
        await media.connect_all()
    assert statuses(replies) == [201] * 2 + [429]
    assert refused(replies[2], most_s=5)
    assert await limited(client, "calls") == before + 1
    assert (await call(client, other_key, offer)).status_code == 201
    await media.end_one("acme")
    assert [(await call(client, key, offer)).status_code for _ in range(2)] == [201, 429]


async def test_a_token_that_met_the_limit_is_still_good(
    client: httpx.AsyncClient, media: StubMedia, mint: MintToken, key: str, offer: str
) -> None:
    for _ in range(3):
        await call(client, key, offer)
    token = await mint()
    assert (await call(client, token, offer)).status_code == 429
    await media.connect_all()
    assert (await call(client, token, offer)).status_code == 201


async def test_offers_that_get_no_answer_do_not_count(
    client: httpx.AsyncClient, media: StubMedia, key: str, offer: str
) -> None:
    media.refuse = OfferRefused(reason="full")
    assert statuses([await call(client, key, offer) for _ in range(6)]) == [503] * 6
    media.refuse = None
    await media.report()
    assert statuses([await call(client, key, offer) for _ in range(4)]) == [201] * 3 + [429]


async def test_another_signaling_process_counts_the_same_calls(
    client: httpx.AsyncClient, open_signaling: OpenSignaling, media: StubMedia, key: str, offer: str
) -> None:
    another = await open_signaling()
    assert statuses([await call(client, key, offer) for _ in range(3)]) == [201] * 3
    await media.connect_all()
    assert statuses([await call(another, key, offer) for _ in range(3)]) == [201] * 2 + [429]


async def test_a_tenant_may_have_limits_of_its_own_and_a_change_of_them_counts_at_once(
    client: httpx.AsyncClient, media: StubMedia, key: str, offer: str, tenants_path: Path
) -> None:
    def write(**rates: int) -> None:
        acme = {"id": "acme", "keys_sha256": [key_hash(key)], "rates": rates}
        tenants_path.write_text(json.dumps({"tenants": [acme]}))

    write(live_calls=1)
    assert [(await call(client, key, offer)).status_code for _ in range(2)] == [201, 429]
    write(live_calls=2)
    assert [(await call(client, key, offer)).status_code for _ in range(2)] == [201, 429]
    write(live_calls=10, half_open_calls=4)
    assert [(await call(client, key, offer)).status_code for _ in range(3)] == [201, 201, 429]
    assert len(media.calls) == 4
