"""Calls through a real coturn with the configuration of docs/turn.md, and what that configuration refuses."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser

from services.callers.caller import Caller
from services.callers.speech import synthesise
from services.runtime import clock
from tests.system.gateway import Up, running_up
from tests.system.page import TIMEOUT_MS, CallPage, open_page
from tests.system.turn import ADDRESS, Coturn, a_client, coturn

_KEEP_PEERS = """(() => {
  const Plain = window.RTCPeerConnection;
  window.peers = [];
  window.RTCPeerConnection = class extends Plain {
    constructor(...settings) { super(...settings); window.peers.push(this); }
  };
})()"""
_PATH = """async () => {
  const stats = await window.peers[0].getStats();
  const transport = [...stats.values()].find(({ type }) => type === "transport");
  const pair = stats.get(transport.selectedCandidatePairId);
  const { candidateType, relayProtocol } = stats.get(pair.localCandidateId);
  const policy = window.peers[0].getConfiguration().iceTransportPolicy;
  return { candidateType, relayProtocol, policy };
}"""
USER_QUOTA = 16
"""What the guide's user-quota says; a test below holds it to that."""


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Coturn]:
    async with coturn(tmp_path) as server:
        yield server


def relayed_up(relay: Coturn, transport: str) -> AbstractContextManager[Up]:
    """Run a gateway whose clients use the relay only."""
    environment = {
        "SIGNALING_TURN_URLS": json.dumps([relay.url(transport)]),
        "SIGNALING_TURN_SECRET_FILE": str(relay.secret_file),
        "SIGNALING_TURN_ONLY": "true",
    }
    return running_up(relay.secret_file.parent / "data", environment=environment)


async def answered(caller: CallPage, number: int) -> None:
    await caller.speak(await synthesise("hello", voice="slt"))
    await caller.event("response.done", number=number)
    await caller.wait_for_audio()
    await caller.wait_for_silence()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_browser_that_may_use_the_relay_alone_makes_its_call_through_it(
    relay: Coturn, browser: Browser, transport: str
) -> None:
    with relayed_up(relay, transport) as up:
        async with open_page(browser, up.page_url, scripts=[_KEEP_PEERS]) as caller:
            call = await caller.start_call()
            expected = {"candidateType": "relay", "relayProtocol": transport, "policy": "relay"}
            assert await caller.page.evaluate(_PATH) == expected
            await answered(caller, 1)
            restarted = caller.page.expect_response(f"**/v1/realtime/calls/{call}/restart", timeout=TIMEOUT_MS)
            async with restarted as response:
                await caller.page.evaluate("window.dispatchEvent(new Event('online'))")
            assert (await response.value).status == 200
            await answered(caller, 2)
            assert await caller.page.evaluate(_PATH) == expected
            await caller.hang_up()


async def test_a_synthetic_caller_goes_through_the_relay_too(relay: Coturn) -> None:
    with relayed_up(relay, "udp") as up:
        async with Caller.call(up.url, up.tenant_key) as caller:
            await caller.next_event("session.created", timeout_s=10)
            await caller.hang_up()
    assert "ALLOCATE processed, success" in (relay.secret_file.parent / "coturn.log").read_text()


async def test_the_relay_sends_to_the_media_address_and_to_no_other(relay: Coturn) -> None:
    async with a_client(relay.port) as client:
        assert await client.allocate(*relay.credential("call", now_unix_s=clock.unix_ms() // 1000)) == 0
        assert await client.permit(ADDRESS) == 0
        others = (
            "127.0.0.2",  # this machine's other names
            "10.0.0.1",  # the cluster
            "100.64.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",  # a cloud's metadata
            "192.0.2.1",
            "198.51.100.1",
            "224.0.0.1",
            "255.255.255.255",
            "8.8.8.8",  # the internet
        )
        assert {address: await client.permit(address) for address in others} == dict.fromkeys(others, 403)
        mapped = ("::1", "::ffff:10.0.0.1", "fd00::1", "fe80::1")
        assert {address: await client.permit(address) for address in mapped} == dict.fromkeys(mapped, 443)
        assert await client.permit(ADDRESS) == 0


async def test_one_credential_gets_no_more_than_its_quota_of_relays(relay: Coturn) -> None:
    credential = relay.credential("greedy", now_unix_s=clock.unix_ms() // 1000)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(a_client(relay.port)) for _ in range(3 * USER_QUOTA)]
        codes = [await client.allocate(*credential) for client in clients]
        assert codes == [0] * USER_QUOTA + [486] * (2 * USER_QUOTA)
        async with a_client(relay.port) as another:
            assert await another.allocate(*relay.credential("modest", now_unix_s=clock.unix_ms() // 1000)) == 0


async def test_a_token_that_asks_three_hundred_times_gets_the_relays_of_one_user(relay: Coturn) -> None:
    with relayed_up(relay, "udp") as up:
        async with httpx.AsyncClient(base_url=up.url, timeout=10) as client:
            minted = await client.post("/v1/realtime/client_secrets", headers=_bearer(up.tenant_key))
            headers = _bearer(minted.json()["value"])
            asked = [await client.options("/v1/whip", headers=headers) for _ in range(300)]
    credentials = {_credential(each.headers["link"]) for each in asked}
    assert len(credentials) == 1
    (credential,) = credentials
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(a_client(relay.port)) for _ in range(USER_QUOTA + 5)]
        codes = [await client.allocate(*credential) for client in clients]
    assert codes == [0] * USER_QUOTA + [486] * 5


async def test_the_quota_is_the_names_whatever_time_stands_before_it(relay: Coturn) -> None:
    now = clock.unix_ms() // 1000
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(a_client(relay.port)) for _ in range(USER_QUOTA + 5)]
        codes = [
            await client.allocate(*relay.credential("greedy", now_unix_s=now + number))
            for number, client in enumerate(clients)
        ]
    assert codes == [0] * USER_QUOTA + [486] * 5


def _bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def _credential(link: str) -> tuple[str, str]:
    """Username and password of a `Link` header."""
    found = re.search(r'username="([^"]+)"; credential="([^"]+)"', link)
    assert found is not None
    return found[1], found[2]


async def test_all_credentials_together_get_no_more_than_the_servers_quota(tmp_path: Path) -> None:
    async with coturn(tmp_path, total_quota="20") as relay, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(a_client(relay.port)) for _ in range(30)]
        now = clock.unix_ms() // 1000
        codes = [
            await client.allocate(*relay.credential(f"call{number}", now_unix_s=now))
            for number, client in enumerate(clients)
        ]
    assert codes == [0] * 20 + [486] * 10


async def test_an_expired_or_forged_credential_gets_no_relay(relay: Coturn) -> None:
    now = clock.unix_ms() // 1000
    good, password = relay.credential("call", now_unix_s=now)
    later = f"{int(good.partition(':')[0]) + 3600}:call"
    for user, secret in (relay.credential("call", now_unix_s=now - 3600), (later, password), (good, "x" * 28)):
        async with a_client(relay.port) as client:
            assert await client.allocate(user, secret) == 401
