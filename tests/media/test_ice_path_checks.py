"""What is sent to an address before and after it has answered a check of ours, on real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from aioice import stun
from prometheus_client import REGISTRY

from services.contracts.audio import PcmFrame
from services.contracts.connect import WebRtcOffer
from services.contracts.ids import new_leg_id
from services.media.core import sdp
from services.media.core.network.addresses import Present
from services.media.legs.webrtc import interfaces
from services.media.legs.webrtc.answerer import WebRtcAnswerer
from services.media.legs.webrtc.leg import WebRtcLeg
from services.media.legs.webrtc.stack import Stack, StackConfig, open_stack
from tests.media.clients import WAIT_S, AiortcClient, a_stack, answered, connected

REQUEST, RESPONSE = 0x0001, 0x0101
OFFER = f"""v=0\r
m=audio 9 UDP/TLS/RTP/SAVPF 111\r
a=mid:0\r
a=sendrecv\r
a=rtpmap:111 opus/48000/2\r
a=ice-ufrag:theirs\r
a=ice-pwd:{"p" * 22}\r
a=fingerprint:sha-256 {":".join(["AB"] * 32)}\r
a=setup:actpass\r
"""


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@dataclass(frozen=True)
class Signer:
    """A sender that has both passwords of a call, and answers only on demand."""

    ufrag: str
    password: str
    remote_ufrag: str
    remote_password: str

    @classmethod
    def of(cls, offer: str, answer: str) -> "Signer":
        ours, theirs = (
            dict(line[2:].split(":", 1) for line in text.splitlines() if ":" in line) for text in (answer, offer)
        )
        return cls(ours["ice-ufrag"], ours["ice-pwd"], theirs["ice-ufrag"], theirs["ice-pwd"])

    def check(self, *, nominates: bool = True, username: str | None = None) -> bytes:
        attributes = {
            "USERNAME": username or f"{self.ufrag}:{self.remote_ufrag}",
            "PRIORITY": 1,
            "ICE-CONTROLLING": 1,
        } | ({"USE-CANDIDATE": None} if nominates else {})
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes=attributes)
        message.add_message_integrity(self.password.encode())
        return bytes(message)

    def response(self, request: bytes, *, password: str | None = None, transaction_id: bytes | None = None) -> bytes:
        asked = transaction_id or request[8:20]
        message = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=asked)
        message.attributes["XOR-MAPPED-ADDRESS"] = ("192.0.2.1", 1)
        message.add_message_integrity((password or self.remote_password).encode())
        return bytes(message)


@contextlib.contextmanager
def an_address(stack: Stack, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A socket whose address the gateway has not seen; it talks to ``host``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect((host, stack.mux.port))
        yield sock


async def received(sock: socket.socket) -> bytes:
    async with asyncio.timeout(WAIT_S):
        return await asyncio.get_running_loop().sock_recv(sock, 2048)


async def exchanged(sock: socket.socket, check: bytes) -> tuple[bytes, bytes]:
    """Send a check; return the response to it, and our request that came with it."""
    sock.send(check)
    by_kind = {int.from_bytes(data[:2]): data for data in (await received(sock), await received(sock))}
    return by_kind[RESPONSE], by_kind[REQUEST]


@contextlib.asynccontextmanager
async def waiting(stack: Stack) -> AsyncIterator[tuple[WebRtcLeg, Signer]]:
    """A leg that waits for its client, which is the test."""
    leg, connect = await WebRtcAnswerer(stack)(new_leg_id(), WebRtcOffer(sdp=OFFER))
    try:
        yield leg, Signer.of(OFFER, connect.sdp)
    finally:
        await leg.close()


async def test_nothing_but_checks_goes_to_an_address_that_has_not_answered() -> None:
    with a_stack() as stack, an_address(stack) as victim:
        async with waiting(stack) as (_, signer):
            check = signer.check()
            response, request = await exchanged(victim, check)
            assert stun.parse_message(response).check_message_integrity(signer.password.encode())
            asked = stun.parse_message(request)
            assert asked.check_message_integrity(signer.remote_password.encode())
            assert asked.attributes["USERNAME"] == f"{signer.remote_ufrag}:{signer.ufrag}"
            assert {"PRIORITY", "ICE-CONTROLLED", "FINGERPRINT"} <= asked.attributes.keys()
            assert "USE-CANDIDATE" not in asked.attributes
            assert len(response) <= len(check) >= len(request)
            again = await received(victim)
            assert int.from_bytes(again[:2]) == REQUEST
            assert stun.parse_message(again).transaction_id != asked.transaction_id


async def test_dtls_begins_when_the_address_has_answered() -> None:
    with a_stack() as stack, an_address(stack) as sock:
        async with waiting(stack) as (_, signer):
            _, request = await exchanged(sock, signer.check())
            sock.send(signer.response(request))
            while (data := await received(sock))[0] < 4:
                assert int.from_bytes(data[:2]) == REQUEST  # repeated before our answer was read
            assert data[0] == 22, "a DTLS handshake record"


@pytest.mark.parametrize("wrong", ["password", "transaction", "address"])
async def test_a_forged_response_opens_nothing(wrong: str) -> None:
    with a_stack() as stack, an_address(stack) as victim, an_address(stack) as attacker:
        async with waiting(stack) as (leg, signer):
            before = counted("hushgate_ice_checks_total", result="verified")
            reason = "stun_unverified" if wrong == "password" else "stun_unexpected"
            dropped = counted("hushgate_datagrams_dropped_total", reason=reason)
            _, request = await exchanged(victim, signer.check())
            match wrong:
                case "password":
                    victim.send(signer.response(request, password="x" * 24))
                case "transaction":
                    victim.send(signer.response(request, transaction_id=b"y" * 12))
                case _:
                    attacker.send(signer.response(request))
            while counted("hushgate_datagrams_dropped_total", reason=reason) == dropped:
                await received(victim)  # our requests, again and again
            assert leg._transport.address is None  # noqa: SLF001 - what must not be
            assert counted("hushgate_ice_checks_total", result="verified") == before


async def test_a_call_does_not_move_to_an_address_that_does_not_answer() -> None:
    client = AiortcClient()
    with a_stack() as stack, an_address(stack) as victim:
        offer = await client.offer()
        leg, owner, answer = await answered(stack, client)
        await client.accept(answer)
        await owner.first(PcmFrame)
        home = leg._transport.address  # noqa: SLF001 - what must not change
        victim.send(Signer.of(offer, answer).check(nominates=True))
        owner.playing = True
        leg.play()
        for _ in range(50):
            await owner.first(PcmFrame)
        assert leg._transport.address == home  # noqa: SLF001
        kinds = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                kinds.add(int.from_bytes(victim.recv(2048)[:2]))
        assert kinds == {REQUEST, RESPONSE}
        await leg.close()
    await client.close()


async def test_the_address_of_another_call_is_not_taken_away_by_a_forged_check() -> None:
    client = AiortcClient()
    with a_stack() as stack:
        async with connected(client, stack) as (leg, owner), waiting(stack) as (_, signer):
            await owner.first(PcmFrame)
            connection = client.peer.sctp.transport.transport._connection  # type: ignore[union-attr]  # noqa: SLF001
            pair = connection._nominated[1]  # noqa: SLF001 - a check of the second call from the first one's address
            pair.protocol.transport.sendto(signer.check(), pair.remote_addr)
            for _ in range(25):
                await owner.first(PcmFrame)
            address = leg._transport.address  # noqa: SLF001 - what is looked for
            assert address is not None
            assert stack.mux.routes.by_address[address] is leg._transport  # noqa: SLF001


async def test_a_check_shorter_than_its_response_gets_none() -> None:
    with a_stack(advertised=("::1",)) as stack, an_address(stack, "::1") as sock:
        async with waiting(stack) as (_, signer):
            message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
            message.attributes["USERNAME"] = f"{signer.ufrag}:{signer.remote_ufrag}"
            signed = stun.message_integrity(bytes(message), signer.password.encode())
            message.attributes["MESSAGE-INTEGRITY"] = signed  # nothing else: what no client sends
            before = counted("hushgate_datagrams_dropped_total", reason="stun_too_short")
            sock.send(bytes(message))
            await exchanged(sock, signer.check())  # what comes is for the second check, which is long enough
            assert counted("hushgate_datagrams_dropped_total", reason="stun_too_short") == before + 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.0.0.3"])
async def test_the_answer_comes_from_the_address_that_was_asked(host: str) -> None:
    with a_stack(advertised=("127.0.0.1", "127.0.0.2", "127.0.0.3")) as stack:
        async with waiting(stack) as (_, signer):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(
                    signer.check(), (host, stack.mux.port)
                )  # not connected: from wherever it comes it is received
                loop = asyncio.get_running_loop()
                async with asyncio.timeout(WAIT_S):
                    sources = {(await loop.sock_recvfrom(sock, 2048))[1] for _ in range(2)}
            assert sources == {(host, stack.mux.port)}


def test_candidates_are_told_apart_and_in_order() -> None:
    local = sdp.LocalTransport("u", "p", "F", "active", (("192.0.2.1", 7), ("2001:db8::1", 7), ("192.0.2.2", 7)))
    lines = [line.split() for line in sdp._transport_lines(local) if line.startswith("a=candidate")]  # noqa: SLF001
    assert len({line[0] for line in lines}) == 3, "foundations differ"
    priorities = [int(line[3]) for line in lines]
    assert priorities == sorted(set(priorities), reverse=True)


async def test_addresses_that_come_and_go_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    here = [Present("eth0", "127.0.0.5")]
    monkeypatch.setattr(interfaces, "present", lambda: tuple(here))
    with open_stack(StackConfig(("198.51.100.7",))) as stack:
        assert list(stack.mux.bound) == ["127.0.0.5"]
        here.append(Present("eth1", "127.0.0.6"))
        here.append(Present("eth1", "198.51.100.9"))  # not ready yet: it cannot be bound
        stack.mux.rescan()
        assert list(stack.mux.bound) == ["127.0.0.5", "127.0.0.6"]
        async with waiting(stack) as (_, signer):
            with an_address(stack, "127.0.0.6") as sock:
                await exchanged(sock, signer.check())
            del here[0]
            stack.mux.rescan()
            assert list(stack.mux.bound) == ["127.0.0.6"]
            with an_address(stack, "127.0.0.6") as sock:
                await exchanged(sock, signer.check())
