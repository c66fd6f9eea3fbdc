import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from services.runtime import clock
from tests.network.answer import NoCandidateError, gateway_address, with_one_candidate
from tests.network.fate import CLEAN, Conditions
from tests.network.impairer import Impairer, Port, SocketAddress, impairer

ANSWER = (
    "v=0\r\nm=audio 40000 UDP/TLS/RTP/SAVPF 111\r\n"
    "a=candidate:x 1 udp 2130706431 192.0.2.7 40000 typ host\r\n"
    "a=candidate:y 1 tcp 1 192.0.2.8 9 typ host\r\n"
    "a=end-of-candidates\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\n"
)


class End:
    """A client or a gateway: a port with what came to it."""

    def __init__(self, host: str) -> None:
        self.came: asyncio.Queue[tuple[bytes, SocketAddress]] = asyncio.Queue()
        self.port = Port(host, lambda datagram, sender, _: self.came.put_nowait((datagram, sender)))
        self.address = (host, self.port.number)

    async def next(self) -> tuple[bytes, SocketAddress]:
        async with asyncio.timeout(5):
            return await self.came.get()


@asynccontextmanager
async def ends(
    *, host: str = "127.0.0.1", up: Conditions = CLEAN, down: Conditions = CLEAN
) -> AsyncIterator[tuple[End, Impairer, End]]:
    client, gateway = End(host), End(host)
    async with impairer(up=up, down=down, host=host) as network:
        network.set_gateway(gateway.address)
        yield client, network, gateway
    client.port.close()
    gateway.port.close()


def rtp(number: int) -> bytes:
    return bytes([128, 111]) + number.to_bytes(2, "big") + bytes(8)


def send(client: End, network: Impairer, *datagrams: bytes) -> None:
    for datagram in datagrams:
        client.port.send(datagram, (network.host, network.port))


async def until(network: Impairer, true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        await network.until(true)


def hosts() -> list[str]:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return ["127.0.0.1"]
    return ["127.0.0.1", "::1"]


@pytest.mark.parametrize("host", hosts())
async def test_datagrams_pass_both_ways(host: str) -> None:
    async with ends(host=host) as (client, network, gateway):
        send(client, network, b"up")
        datagram, sender = await gateway.next()
        assert (datagram, sender[1]) == (b"up", network.gateway_side[0])
        gateway.port.send(b"down", sender)
        datagram, sender = await client.next()
        assert (datagram, sender[1]) == (b"down", network.port)


async def test_late_datagrams_arrive_and_keep_their_order() -> None:
    sent = [rtp(number) for number in range(50)]
    async with ends(up=Conditions(delay_ms=5, jitter_ms=20)) as (client, network, gateway):
        send(client, network, *sent)
        assert [(await gateway.next())[0] for _ in sent] == sent


async def test_the_network_records_when_each_packet_arrives() -> None:
    async with ends(down=Conditions(delay_ms=20)) as (client, network, gateway):
        send(client, network, b"hello")
        _, sender = await gateway.next()
        before = clock.monotonic()
        for number in (65_535, 0, 1):
            gateway.port.send(rtp(number), sender)
        after = clock.monotonic()
        for _ in range(3):
            await client.next()
    arrivals = list(network.down_arrivals.items())
    assert [number for number, _ in arrivals] == [65_535, 0, 1]
    assert all(before + 0.015 < at < after + 0.025 for _, at in arrivals)  # the two clocks agree within 5 ms


async def test_each_direction_has_its_own_conditions() -> None:
    async with ends(down=Conditions(loss=1)) as (client, network, gateway):
        send(client, network, b"1")
        gateway.port.send(b"lost", (await gateway.next())[1])
        await until(network, lambda: network.down.counts.lost == 1)
        network.set(down=CLEAN)
        send(client, network, b"2")
        gateway.port.send(b"found", (await gateway.next())[1])
        assert (await client.next())[0] == b"found"
        assert (network.down.counts.passed, network.up.counts.passed) == (1, 2)


async def test_nothing_passes_in_a_blackout() -> None:
    async with ends() as (client, network, gateway):
        network.black_out()
        send(client, network, b"lost")
        await until(network, lambda: network.up.counts.lost_in_blackouts == 1)
        network.black_out(dark=False)
        send(client, network, b"found")
        assert (await gateway.next())[0] == b"found"


async def test_after_a_rebind_the_gateway_sees_another_port_and_the_old_one_is_closed() -> None:
    async with ends() as (client, network, gateway):
        send(client, network, b"before")
        _, old = await gateway.next()
        network.rebind()
        send(client, network, b"after")
        _, new = await gateway.next()
        assert old != new
        gateway.port.send(b"to the old", old)
        gateway.port.send(b"to the new", new)
        assert (await client.next())[0] == b"to the new"
        await until(network, lambda: network.stale == 1)


async def test_two_clients_have_a_port_each() -> None:
    async with ends() as (one, network, gateway):
        two = End("127.0.0.1")
        send(one, network, b"one")
        send(two, network, b"two")
        senders = dict([await gateway.next(), await gateway.next()])
        for datagram, sender in senders.items():
            gateway.port.send(b"for " + datagram, sender)
        assert ((await one.next())[0], (await two.next())[0]) == (b"for one", b"for two")
        two.port.close()


async def test_without_a_gateway_address_nothing_is_forwarded() -> None:
    async with impairer() as network:
        client = End("127.0.0.1")
        send(client, network, b"early")
        await until(network, lambda: network.homeless == 1)
        network.rewrite_answer(ANSWER)
        assert network.gateway_side == ()
        client.port.close()


async def test_datagrams_that_the_socket_rejects_are_counted() -> None:
    end = End("127.0.0.1")
    end.port.send(b"x" * 70_000, ("127.0.0.1", 9))
    assert end.port.unsent == 1
    end.port.close()


async def test_the_answer_names_the_network_in_place_of_the_gateway() -> None:
    async with impairer() as network:
        sdp = network.rewrite_answer(ANSWER)
        assert gateway_address(sdp) == ("127.0.0.1", network.port)
        assert "192.0.2." not in sdp
        assert sdp.count("a=candidate:") == sdp.count("a=end-of-candidates") == 1
        assert "a=ice-ufrag:abcd\r\na=ice-pwd:secret\r\n" in sdp


def test_an_ipv6_candidate_can_be_replaced() -> None:
    assert gateway_address(with_one_candidate(ANSWER, "2001:db8::1", 7)) == ("2001:db8::1", 7)


def test_an_answer_without_a_candidate_is_refused() -> None:
    with pytest.raises(NoCandidateError):
        gateway_address("v=0\r\n")
