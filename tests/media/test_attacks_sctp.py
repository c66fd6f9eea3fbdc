"""Attacks from within a call, by a client that writes its own SCTP packets, DTLS records and reports.

What they cost the calls beside is for `make bench-attacks`; here is how they end, and that the calls beside go on.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from services.contracts.client_event import EncodedText
from services.contracts.endings import EndReason
from services.contracts.ids import LegId
from services.media.core.rtp import rtp_packet
from services.media.leg import LegClosed, LegConnected, LegInput, LegMessage, LegOpened
from services.media.legs.webrtc.owner_link import OwnerLink
from services.runtime import clock
from tests.media import sctp_attacks
from tests.media.clients import WAIT_S, AiortcClient, Owner, a_stack, connected
from tests.media.sctp_attacks import RawAssociation, SctpAttack, again
from tests.media.sctp_wire import chunk, data, parameter, sack
from tests.media.test_attacks import dropped, from_client, hear

FLOOD = LegClosed(EndReason.FLOOD)


@asynccontextmanager
async def attacked() -> AsyncIterator[tuple[RawAssociation, Owner, AiortcClient, Owner]]:
    """A call whose client attacks by its open data channel, and another call."""
    client, other = AiortcClient(), AiortcClient()
    with a_stack() as stack:
        async with connected(client, stack) as (_, owner), connected(other, stack) as (_, calm):
            await owner.first(LegOpened)
            await calm.first(LegConnected)
            async with asyncio.timeout(WAIT_S):
                await client.open.wait()
            yield RawAssociation(client.peer, client.channel), owner, client, calm


async def ending(owner: Owner, calm: Owner, attack: Iterator[Callable[[], object]]) -> LegInput:
    """Send attack packets with each frame of the other call, until the call ends; no frame of the other is lost."""
    closed = asyncio.create_task(owner.first(LegClosed))
    first, heard = (await hear(calm, 1))[0], 0
    while not closed.done():
        for _ in range(20):
            result = next(attack)()
            if asyncio.iscoroutine(result):
                try:
                    await result
                except ConnectionError:
                    break
        await hear(calm, 1)
        heard += 1
    assert (await hear(calm, 1))[0] == first + heard + 1, "the call beside lost nothing"
    return await closed


@pytest.mark.parametrize(
    "attack",
    [
        sctp_attacks.every_gap,
        sctp_attacks.acknowledges_the_future,
        sctp_attacks.unfinished_fragments,
        sctp_attacks.fragments_with_holes,
        sctp_attacks.one_byte_messages,
        sctp_attacks.streams,
        sctp_attacks.skipped_streams,
        sctp_attacks.refilled_windows,
        sctp_attacks.heartbeats,
        sctp_attacks.few_heartbeats,
        sctp_attacks.resets,
        sctp_attacks.many_resets,
        sctp_attacks.inits,
        sctp_attacks.cookies,
        sctp_attacks.shutdowns,
        sctp_attacks.endless_parameters,
        sctp_attacks.sacks,
        sctp_attacks.nonsense,
    ],
)
async def test_a_client_that_writes_such_packets_is_hung_up_and_the_call_beside_goes_on(
    attack: SctpAttack,
) -> None:
    async with attacked() as (wire, owner, _, calm):
        packets = attack(wire)
        steps = (lambda sent=sent: wire.send(sent) for sent in again(packets))
        assert await ending(owner, calm, steps) == FLOOD


@pytest.mark.parametrize("kind", [1, 2, 4, 5, 6, 9, 130])
async def test_a_parameter_of_no_length_is_dropped_and_the_call_goes_on(kind: int) -> None:
    async with attacked() as (wire, owner, client, calm):
        before = dropped("sctp_malformed")
        body = bytes(16 if kind in (1, 2) else 0) + parameter(1, length=0)
        await wire.send(wire.packet(chunk(kind, body), tag=0 if kind == 1 else None))
        client.channel.send("read after the packet")
        assert await owner.first(LegMessage) == LegMessage("read after the packet")
        await hear(calm, 3)
        assert dropped("sctp_malformed") == before + 1


async def test_a_picture_of_five_megabytes_comes_whole_and_the_call_beside_loses_nothing() -> None:
    async with attacked() as (_, owner, client, calm):
        client.channel.send("p" * 5_000_000)
        arrived = asyncio.create_task(owner.first(LegMessage))
        first, heard = (await hear(calm, 1))[0], 0
        while not arrived.done():
            await hear(calm, 1)
            heard += 1
        assert await arrived == LegMessage(EncodedText(b"p" * 5_000_000))
        assert (await hear(calm, 1))[0] == first + heard + 1


async def test_nothing_more_is_read_of_a_client_that_is_being_hung_up() -> None:
    async with attacked() as (wire, owner, client, calm):
        before = dropped("after_flood")
        await wire.send(wire.packet(sack(wire.heard + 1000)))
        assert await owner.first(LegClosed) == FLOOD
        from_client(client)(b"\x80\x6f" + bytes(60))
        await hear(calm, 3)
        assert dropped("after_flood") > before


async def test_a_hung_up_flood_is_counted_by_what_it_was() -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("hushgate_leg_errors_total", {"stage": "sctp_unsent"}) or 0.0

    before = counted()
    async with attacked() as (wire, owner, _, _):
        await wire.send(wire.packet(sack(wire.heard + 1000)))
        assert await owner.first(LegClosed) == FLOOD
    assert counted() == before + 1


def record(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + b"\xfe\xfd" + struct.pack("!HHLH", 1, 0, 7, len(body)) + body


async def test_datagrams_of_many_records_and_late_handshakes_are_dropped_and_the_call_goes_on() -> None:
    async with attacked() as (_, owner, client, _):
        before = dropped("dtls_malformed"), dropped("dtls_handshake_too_many")
        send = from_client(client)
        for _ in range(60):
            send(record(23, b"") * 90)
            send(record(22, bytes(40)) * 2)
        client.channel.send("still there")
        assert await owner.first(LegMessage) == LegMessage("still there")
        assert dropped("dtls_malformed") == before[0] + 60
        assert dropped("dtls_handshake_too_many") > before[1]


async def test_records_that_share_a_datagram_are_all_read_at_once() -> None:
    async with attacked() as (wire, owner, client, _):
        records: list[bytes] = []
        ssl = wire.sctp.transport._ssl  # noqa: SLF001
        assert ssl is not None
        for number in range(3):
            ssl.send(wire.packet(data(wire.tsn + number, b"%d" % number, stream=wire.stream, sequence=number)))
            records.append(ssl.bio_read(1500))
        from_client(client)(b"".join(records))
        for number in range(3):
            assert await owner.first(LegMessage) == LegMessage(str(number))


async def test_reports_beyond_what_a_bad_network_has_are_dropped_and_the_call_goes_on() -> None:
    async with attacked() as (wire, owner, client, _):
        before = dropped("rtcp_too_many")
        nack = b"\x81\xcd" + struct.pack("!HLL", 302, 1, 2) + b"\xff" * 1200
        protected = wire.sctp.transport._tx_srtp  # noqa: SLF001
        send = from_client(client)
        for _ in range(100):
            send(protected.protect_rtcp(nack))
        client.channel.send("read after the reports")
        assert await owner.first(LegMessage) == LegMessage("read after the reports")
        assert dropped("rtcp_too_many") >= before + 30


async def test_a_client_that_sends_by_one_source_after_another_is_kept_to_a_few_and_the_call_goes_on() -> None:
    async with attacked() as (wire, owner, client, _):
        protected, send = wire.sctp.transport._tx_srtp, from_client(client)  # noqa: SLF001
        for ssrc in (*range(1, 31), *range(1, 31)):
            send(protected.protect(rtp_packet.header(111, 1, 960, ssrc) + bytes(20)))
            if ssrc % 10 == 0:
                send(protected.protect_rtcp(b"\x80\xc9" + struct.pack("!HL", 1, 1000 + ssrc)))
        client.channel.send("still there")
        assert await owner.first(LegMessage) == LegMessage("still there")


@pytest.mark.parametrize(
    ("share", "per_s", "floods"),
    [(0.2, 50, False), (0.2, 2, False), (0.24, 300, False), (0.4, 50, True), (1.0, 300, True), (2.0, 1, True)],
)
def test_a_call_that_takes_more_than_a_quarter_of_a_core_for_what_it_sends_is_a_flood(
    share: float,
    per_s: int,
    floods: bool,  # noqa: FBT001
) -> None:
    link = OwnerLink(LegId("leg_a"))
    for number in range(10 * per_s):
        link.charge_cpu(clock.cpu_s() - share / per_s, now=1000 + number / per_s)
    assert link.flooded is link.closed is floods
