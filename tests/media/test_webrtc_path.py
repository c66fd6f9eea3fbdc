"""The network path between a client and the port: addresses, families, moves."""

import asyncio
import socket

import aioice.ice
import pytest

from services.contracts.audio import PcmFrame
from services.contracts.connect import WebRtcOffer
from services.contracts.endings import EndReason
from services.media.core.network.routes import Address
from services.media.leg import BadOfferError, LegClosed, LegConnected, LegLost, LegRecovered
from services.media.legs.webrtc.interfaces import present
from services.media.legs.webrtc.mux import open_mux
from services.media.legs.webrtc.sockets import PortUnavailableError
from services.media.legs.webrtc.stack import StackConfig, open_stack
from tests.media.clients import AiortcClient, a_stack, answered, connected


@pytest.fixture
def quick_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let aioice check consent more often than every 5 s, as browsers do."""
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.2)


async def test_the_answer_offers_the_advertised_address_only_and_one_fingerprint() -> None:
    client = AiortcClient()
    with a_stack() as stack:
        leg, _, sdp = await answered(stack, client)
        await leg.close()
    await client.close()
    candidates = [line.split()[4] for line in sdp.splitlines() if line.startswith("a=candidate:")]
    assert set(candidates) == {"127.0.0.1"}
    assert sdp.count("a=fingerprint:") == sdp.count("a=fingerprint:sha-256") > 0


async def test_an_address_of_another_machine_is_advertised_though_it_cannot_be_bound() -> None:
    with open_mux(("198.51.100.7",)) as mux:
        assert set(mux.bound) == {one.host for one in present() if "." in one.host}
        assert mux.addresses == (("198.51.100.7", mux.port),)


async def test_behind_a_forwarder_on_loopback_all_addresses_are_bound() -> None:
    with open_mux(("127.0.0.1", "::1"), everywhere=True) as mux:
        assert set(mux.bound) == {one.host for one in present() if not one.host.startswith("fe80:")}
        assert mux.addresses == (("127.0.0.1", mux.port), ("::1", mux.port))


async def test_ipv4_and_ipv6_have_the_same_port() -> None:
    with open_mux(("127.0.0.1", "::1")) as mux:
        assert [port for _, port in mux.addresses] == [mux.port] * 2
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe, pytest.raises(OSError, match="in use"):
            probe.bind(("::1", mux.port))


async def test_a_call_over_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["::1"])
    with a_stack(advertised=("127.0.0.1", "::1")) as stack:
        async with connected(AiortcClient(), stack) as (_, owner):
            await owner.first(PcmFrame)
            assert {len(address) for address in stack.mux.routes.by_address} == {4}


async def test_a_port_that_is_taken_is_an_error_that_says_so() -> None:
    with (
        open_mux(("127.0.0.1",)) as mux,
        pytest.raises(PortUnavailableError, match="MEDIA_UDP_PORT"),
        open_stack(StackConfig(("127.0.0.1",), port=mux.port)),
    ):
        pass


async def test_a_client_that_is_silent_is_lost_and_then_gone() -> None:
    client = AiortcClient()
    with a_stack(lost_s=0.3, gone_s=0.6) as stack:
        leg, owner, sdp = await answered(stack, client)
        await client.accept(sdp)
        await owner.first(LegConnected)
        assert client.peer.sctp is not None
        connection = client.peer.sctp.transport.transport._connection  # noqa: SLF001 - its cable
        connection._nominated[1].protocol.transport.abort()  # noqa: SLF001 - is cut
        await owner.first(LegLost)
        assert await owner.first(LegClosed) == LegClosed(EndReason.CLIENT_GONE)
        await leg.close()
    await client.close()


@pytest.mark.usefixtures("quick_consent")
async def test_after_an_ice_restart_the_call_goes_on_with_new_credentials() -> None:
    client = AiortcClient()
    with a_stack(lost_s=0.5) as stack:
        leg, owner, sdp = await answered(stack, client)
        await client.accept(sdp)
        await owner.first(PcmFrame)
        first = stack.mux.routes
        connection = client.peer.sctp.transport.transport._connection  # type: ignore[union-attr]  # noqa: SLF001
        old = str(connection.remote_username)
        offer = (await client.offer()).replace(f"a=ice-ufrag:{connection.local_username}", "a=ice-ufrag:again")
        answer = (await leg.restart(WebRtcOffer(sdp=offer))).sdp
        values = dict(line[2:].partition(":")[::2] for line in answer.splitlines() if line.startswith("a=ice-"))
        assert values["ice-ufrag"] != old
        assert first.peer_of(old) is not None, "the old way is open until the new one is used"
        connection._local_username = "again"  # noqa: SLF001 - aiortc has no ICE restart
        connection.remote_username, connection.remote_password = values["ice-ufrag"], values["ice-pwd"]
        async with asyncio.timeout(10):
            while first.peer_of(old) is not None:
                await owner.first(PcmFrame)
        await owner.first(PcmFrame)
        await leg.close()
    await client.close()


async def test_a_restart_by_another_peer_connection_is_refused() -> None:
    client, other = AiortcClient(), AiortcClient()
    async with connected(client) as (leg, _):
        with pytest.raises(BadOfferError, match="new call"):
            await leg.restart(WebRtcOffer(sdp=await other.offer()))
        with pytest.raises(BadOfferError, match="sections"):
            await leg.restart(WebRtcOffer(sdp=(await client.offer()).replace("a=mid:0", "a=mid:7")))
    await other.close()


@pytest.mark.interpreted
@pytest.mark.usefixtures("quick_consent")
async def test_a_lost_client_comes_back_with_its_packets() -> None:
    client = AiortcClient()
    with a_stack(lost_s=0.3) as stack:
        async with connected(client, stack) as (_, owner):
            await owner.first(PcmFrame)
            read, blackout = stack.mux._route, True  # noqa: SLF001 - the cable of the gateway

            def take(data: bytes, source: Address, local: str, now: float) -> None:
                if not blackout:
                    read(data, source, local, now)

            stack.mux._route = take  # type: ignore[method-assign]  # noqa: SLF001
            await owner.first(LegLost)
            blackout = False
            back = await owner.first(LegRecovered)
            assert isinstance(back, LegRecovered)
            assert back.how == "packets"
            assert back.away_s >= 0.3
            await owner.first(PcmFrame)
