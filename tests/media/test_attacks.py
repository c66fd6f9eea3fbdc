"""Outcomes of attacks 1 to 3 and 7 to 10 on the media port; `make bench-attacks` measures their cost."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator

import pytest
from aioice import stun
from prometheus_client import REGISTRY

from services.contracts.audio import PcmFrame
from services.contracts.endings import EndReason
from services.media.leg import LegClosed, LegConnected, LegOpened
from services.media.legs.webrtc.stack import Stack
from tests.media.clients import WAIT_S, AiortcClient, Owner, a_stack, answered, connected

CLIENT_HELLO = bytes.fromhex("16fefd0000000000000000") + b"\x00\x40" + b"\x01" + os.urandom(63)


def dropped(reason: str) -> float:
    return REGISTRY.get_sample_value("hushgate_datagrams_dropped_total", {"reason": reason}) or 0.0


def from_client(client: AiortcClient) -> Callable[[bytes], None]:
    """Send from the socket that the client's call uses."""
    assert client.peer.sctp is not None
    connection = client.peer.sctp.transport.transport._connection  # noqa: SLF001 - an attacker has no manners
    pair = connection._nominated[1]  # noqa: SLF001
    return lambda data: pair.protocol.transport.sendto(data, pair.remote_addr)


@contextlib.contextmanager
def stranger(stack: Stack) -> Iterator[socket.socket]:
    """A sender that knows only the port; it must never get a reply."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect(("127.0.0.1", stack.mux.port))
        yield sock
        with pytest.raises(BlockingIOError):
            sock.recv(2048)


async def hear(owner: Owner, count: int) -> list[int]:
    """Wait for ``count`` frames; return their indices."""
    heard = []
    for _ in range(count):
        item = await owner.first(PcmFrame)
        assert isinstance(item, PcmFrame)
        heard.append(item.index)
    return heard


def check_for(ufrag: str, password: str) -> bytes:
    message = stun.Message(
        stun.Method.BINDING,
        stun.Class.REQUEST,
        attributes={"USERNAME": f"{ufrag}:x", "PRIORITY": 1, "ICE-CONTROLLING": 1, "USE-CANDIDATE": None},
    )
    message.add_message_integrity(password.encode())
    return bytes(message)


def ufrag_of(sdp: str) -> str:
    return next(line for line in sdp.splitlines() if line.startswith("a=ice-ufrag:")).partition(":")[2]


async def test_1_a_bogus_client_hello_before_and_during_the_handshake_changes_nothing() -> None:
    client, before = AiortcClient(), dropped("unknown_source")
    with a_stack() as stack, stranger(stack) as attacker:
        leg, owner, sdp = await answered(stack, client)
        attacker.send(CLIENT_HELLO)
        accepting = asyncio.create_task(client.accept(sdp))
        for _ in range(50):
            attacker.send(CLIENT_HELLO)
            await asyncio.sleep(0)
        await accepting
        await owner.first(LegConnected)
        attacker.send(CLIENT_HELLO)
        await hear(owner, 5)
        await leg.close()
    await client.close()
    assert dropped("unknown_source") >= before + 52


async def test_2_a_flood_of_checks_for_nobody_is_met_with_silence_and_the_call_goes_on() -> None:
    client, before = AiortcClient(), dropped("stun_unknown_ufrag")
    with a_stack() as stack, stranger(stack) as attacker:
        async with connected(client, stack) as (_, owner):
            first = (await hear(owner, 1))[0]
            for _ in range(40):
                for _ in range(50):
                    with contextlib.suppress(BlockingIOError):
                        attacker.send(check_for("nobody", "x"))
                await owner.first(PcmFrame)
            assert (await hear(owner, 1))[0] == first + 41
    assert dropped("stun_unknown_ufrag") > before


async def test_3_a_check_with_the_right_ufrag_and_the_wrong_signature_teaches_nothing() -> None:
    client, before = AiortcClient(), dropped("stun_unverified")
    with a_stack() as stack, stranger(stack) as attacker:
        leg, owner, sdp = await answered(stack, client)
        attacker.send(check_for(ufrag_of(sdp), "wrong"))
        await client.accept(sdp)
        await owner.first(LegConnected)
        for _ in range(300):
            attacker.send(check_for(ufrag_of(sdp), "wrong"))
        await hear(owner, 5)
        assert attacker.getsockname() not in stack.mux.routes.by_address
        await leg.close()
    await client.close()
    assert dropped("stun_unverified") > before
    assert dropped("stun_too_many") > 0


async def test_3_a_check_that_was_signed_for_another_client_of_ours_teaches_nothing() -> None:
    mine, theirs = AiortcClient(), AiortcClient()
    with a_stack() as stack, stranger(stack) as attacker:
        my_leg, _, my_sdp = await answered(stack, mine)
        leg, owner, sdp = await answered(stack, theirs)
        password = next(line for line in my_sdp.splitlines() if line.startswith("a=ice-pwd:")).partition(":")[2]
        attacker.send(check_for(ufrag_of(sdp), password))
        await theirs.accept(sdp)
        await hear(owner, 2)
        assert attacker.getsockname() not in stack.mux.routes.by_address
        await my_leg.close()
        await leg.close()
    await mine.close()
    await theirs.close()


async def test_7_a_client_with_another_certificate_than_it_said_gets_no_call() -> None:
    client = AiortcClient()
    offer = await client.offer()
    real = next(line for line in offer.splitlines() if line.startswith("a=fingerprint:"))

    class Liar(AiortcClient):
        async def offer(self) -> str:
            return offer.replace(real, "a=fingerprint:sha-256 " + ":".join(["AB"] * 32))

    liar = Liar()
    liar.peer = client.peer
    with a_stack() as stack:
        leg, owner, sdp = await answered(stack, liar)
        await client.accept(sdp)
        assert await owner.first(LegClosed) == LegClosed(EndReason.DTLS_FAILED)
        await leg.close()
    await client.close()
    assert owner.items.empty(), "nothing was heard, so nothing is billed"


@pytest.mark.interpreted
async def test_8_rtp_of_strangers_and_random_or_replayed_srtp_is_not_heard() -> None:
    client, before = AiortcClient(), (dropped("unknown_source"), dropped("srtp_unverified"))
    with a_stack() as stack, stranger(stack) as attacker:
        leg, owner, sdp = await answered(stack, client)
        seen: list[bytes] = []
        inbound = leg._inbound  # noqa: SLF001 - what it gets is to be seen
        take = inbound.on_packet

        def listen(data: bytes, *, now: float) -> None:
            seen.append(data)
            take(data, now=now)

        inbound.on_packet = listen  # type: ignore[method-assign]
        await client.accept(sdp)
        first = (await hear(owner, 1))[0]
        send = from_client(client)
        for _ in range(20):
            attacker.send(seen[-1])
            send(b"\x80\x6f" + os.urandom(60))
            send(seen[0])
            await owner.first(PcmFrame)
        assert (await hear(owner, 1))[0] == first + 21
        await leg.close()
    await client.close()
    assert dropped("unknown_source") >= before[0] + 20
    assert dropped("srtp_unverified") >= before[1] + 20


@pytest.mark.interpreted
async def test_9_a_flood_from_the_client_itself_is_policed_then_hung_up_and_others_do_not_notice() -> None:
    flooder, other = AiortcClient(), AiortcClient()
    before = dropped("rtp_too_many")
    with a_stack() as stack:
        async with connected(flooder, stack) as (_, owner), connected(other, stack) as (_, calm):
            await owner.first(LegConnected)
            await calm.first(LegConnected)
            first = (await hear(calm, 1))[0]
            send = from_client(flooder)
            closed = asyncio.create_task(owner.first(LegClosed))
            heard = 0
            while not closed.done():
                for _ in range(100):
                    send(b"\x80\x6f" + os.urandom(40))
                await calm.first(PcmFrame)
                heard += 1
            assert await closed == LegClosed(EndReason.FLOOD)
            assert (await hear(calm, 1))[0] == first + heard + 1
    assert dropped("rtp_too_many") > before


async def test_10_a_hundred_channels_end_the_call() -> None:
    client = AiortcClient()
    async with connected(client) as (_, owner):
        await owner.first(LegOpened)
        for number in range(100):
            client.peer.createDataChannel(f"extra-{number}")
        assert await owner.first(LegClosed) == LegClosed(EndReason.FLOOD)


async def test_10_a_few_other_channels_are_closed_and_the_call_goes_on() -> None:
    client = AiortcClient()
    async with connected(client) as (_, owner):
        await owner.first(LegOpened)
        closed = [asyncio.Event() for _ in range(3)]
        for number, event in enumerate(closed):
            client.peer.createDataChannel(f"extra-{number}").on("close", event.set)
        async with asyncio.timeout(WAIT_S):
            for event in closed:
                await event.wait()
        await hear(owner, 3)


async def test_10_a_message_that_never_ends_ends_the_call() -> None:
    client = AiortcClient()
    async with connected(client) as (_, owner):
        await owner.first(LegOpened)
        assert client.peer.sctp is not None
        async with asyncio.timeout(WAIT_S):
            await client.open.wait()
        client.peer.sctp._remote_max_message_size = 0  # noqa: SLF001 - it ignores what we can take
        client.channel.send("x" * 17_000_000)
        assert await owner.first(LegClosed) == LegClosed(EndReason.FLOOD)


async def test_10_bytes_that_are_no_sctp_break_nothing() -> None:
    client = AiortcClient()
    async with connected(client) as (_, owner):
        await owner.first(LegOpened)
        assert client.peer.sctp is not None
        for data in (b"\0", os.urandom(100), os.urandom(1100)):
            await client.peer.sctp.transport._send_data(data)  # noqa: SLF001 - below aiortc's own SCTP
        await hear(owner, 3)
