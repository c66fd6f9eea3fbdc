import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest
from aiortc import rtcsctptransport as theirs
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.client_event import MAX_EVENT_BYTES
from services.media.core.network import sctp_chunks as kinds
from services.media.core.network import sctp_inspector
from services.media.core.network.sctp_chunks import split
from services.media.core.network.sctp_inspector import Association, PacketAdmitted, PacketRefused, SctpInspector
from tests.media.sctp_wire import (
    FIRST,
    LAST,
    UNORDERED,
    chunk,
    data,
    forward,
    init,
    packet,
    parameter,
    reset,
    sack,
)

CUMULATIVE, NEXT = 1000, 5000
IDLE = Association(CUMULATIVE, (), 0, 0, (0,), NEXT, 0)
FRAGMENT = bytes(1150)


def behind(number: int) -> range:
    """TSNs beyond a hole of 60."""
    return range(CUMULATIVE + 61, CUMULATIVE + 61 + number)


def judge(*chunks: bytes, on: Association = IDLE, now: float = 0.0) -> PacketAdmitted | PacketRefused:
    return SctpInspector().inspect(packet(*chunks), on, now=now)


def test_aiortc_reads_the_kinds_of_chunks_that_are_judged() -> None:
    assert set(theirs.CHUNK_TYPES) == kinds.KNOWN


@pytest.mark.parametrize(
    "chunks",
    [
        [sack(NEXT - 1)],
        [sack(NEXT - 100, [(2, 3), (5, 99)], [7, 8])],
        [sack(NEXT - 1 - 2**20)],  # reordered by the network: old, and aiortc's to ignore
        [sack(NEXT - 1), data(1001, FRAGMENT)],
        [data(1001 + number, b'{"type":"x"}', sequence=number) for number in range(40)],
        [data(1000), data(900)],  # sent again though it had come
        [data(1001 + 200, FRAGMENT, flags=0)],
        [forward(1010, [0, 1])],
        [init(parameters=parameter(0xC000) + parameter(0x8008, b"\x82\xc0"))],
        [init(kind=2, parameters=parameter(7, bytes(200)) + parameter(0x8003, b"!"))],
        [chunk(10, bytes(24)), data(1001)],
        [chunk(11), data(1001), data(1002)],
        [chunk(4, parameter(1, bytes(40)))],
        [chunk(5, parameter(1, bytes(40)))],
        [chunk(130, reset(7, [0, 2]) + parameter(16, bytes(8)))],
        [chunk(130, parameter(16, bytes(16)))],
        [chunk(6)],
        [chunk(6, parameter(12, b"User-Initiated Abort"))],
        [chunk(7, bytes(4))],
        [chunk(8)],
        [chunk(9, parameter(3, bytes(8)))],
        [chunk(14)],
    ],
)
def test_what_stacks_send_is_admitted_whole(chunks: list[bytes]) -> None:
    assert judge(*chunks) == PacketAdmitted(len(chunks))


def test_chunks_that_aiortc_skips_are_not_counted() -> None:
    assert judge(chunk(64, bytes(20)), data(1001), chunk(0xC1)) == PacketAdmitted(1)


@pytest.mark.parametrize("on", [replace(IDLE, cumulative_tsn=2**32 - 2, next_tsn=1), replace(IDLE, next_tsn=0)])
def test_tsns_wrap(on: Association) -> None:
    assert on.cumulative_tsn is not None
    ours, its = on.next_tsn, on.cumulative_tsn
    assert judge(sack(ours - 3, [(2, 2)]), data(its + 1), data(its + 2), data(its + 3), on=on) == PacketAdmitted(4)
    assert judge(sack(ours), on=on) == PacketRefused("sctp_unsent", flood=True)


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(0, bytes(12))],  # DATA without data
        [chunk(0, bytes(11))],
        [chunk(0)],
        [chunk(1)],
        [chunk(1, bytes(15))],
        [chunk(3)],
        [chunk(3, struct.pack("!LLHH", NEXT - 1, 0, 1, 0))],  # one gap block, and none is there
        [chunk(3, struct.pack("!LLHH", NEXT - 1, 0, 0, 65535))],
        [chunk(7)],
        [chunk(7, bytes(3))],
        [chunk(192)],
        [chunk(192, bytes(7))],
        [chunk(4, length=3)],
        [chunk(4, length=0)],
        [chunk(4, length=9)],
        [chunk(130, parameter(13, bytes(11)))],
        [chunk(130, parameter(13, bytes(13)))],
        [chunk(130, parameter(16, bytes(4)))],
        [chunk(130, parameter(17))],
        [chunk(130, reset(1) + reset(2) + reset(3))],
        [chunk(4, parameter(1) * 33)],
        [chunk(5, parameter(1, length=40))],
        *(
            [chunk(kind, bytes(16 if kind in (1, 2) else 0) + parameter(1, length=length))]
            for kind in (1, 2, 4, 5, 6, 9, 130)
            for length in range(4)  # of 0, aiortc never comes back
        ),
    ],
)
def test_lengths_that_contradict_each_other_are_malformed(chunks: list[bytes]) -> None:
    assert judge(*chunks) == PacketRefused("sctp_malformed")


@pytest.mark.parametrize("data", [b"", bytes(15)])
def test_what_is_shorter_than_a_chunk_is_malformed(data: bytes) -> None:
    assert SctpInspector().inspect(data, IDLE, now=0) == PacketRefused("sctp_malformed")


@pytest.mark.parametrize(
    "chunks",
    [
        [sack(NEXT - 1)] * 3,
        [forward(1001)] * 3,
        [chunk(4)] * 9,
        [chunk(11)] * 9,
        [chunk(64)] * 97,
        [init(), data(1001)],
        [init(), init()],
        [sack(NEXT - 11, [(1, 10), (1, 10)])],  # each TSN twice
        [sack(NEXT - 5001, [(1, 2049)])],
    ],
)
def test_what_no_stack_sends_is_refused(chunks: list[bytes]) -> None:
    assert judge(*chunks) == PacketRefused("sctp_unexpected")


@pytest.mark.parametrize(
    "chunks",
    [
        [sack(NEXT)],
        [sack(NEXT + 2**30)],
        [sack(NEXT - 1, [(1, 1)])],
        [sack(NEXT - 5, [(1, 65535)] * 270)],
    ],
)
def test_a_peer_that_acknowledges_what_was_never_sent_is_a_flood(chunks: list[bytes]) -> None:
    assert judge(*chunks) == PacketRefused("sctp_unsent", flood=True)


@pytest.mark.parametrize("chunks", [[data(1001)], [forward(1001)]])
def test_there_are_no_data_before_the_association(chunks: list[bytes]) -> None:
    assert judge(*chunks, on=replace(IDLE, cumulative_tsn=None)) == PacketRefused("sctp_early")
    assert judge(init(), on=replace(IDLE, cumulative_tsn=None)) == PacketAdmitted(1)


def test_who_goes_on_sending_nonsense_is_a_flood() -> None:
    inspector = SctpInspector()
    judged = [inspector.inspect(b"", IDLE, now=0.1 * number) for number in range(11)]
    assert judged == [PacketRefused("sctp_malformed")] * 10 + [PacketRefused("sctp_malformed", flood=True)]
    assert inspector.inspect(packet(sack(NEXT - 11, [(1, 10)] * 2)), IDLE, now=2) == PacketRefused(
        "sctp_unexpected", flood=True
    )


@pytest.mark.parametrize(
    "on",
    [
        replace(IDLE, misordered=behind(sctp_inspector.MAX_AHEAD), held_chunks=sctp_inspector.MAX_AHEAD),
        replace(IDLE, misordered=behind(9), held_chunks=sctp_inspector.MAX_HELD_CHUNKS),
        replace(IDLE, misordered=behind(9), held_chunks=9, held_bytes=sctp_inspector.MAX_HELD_BYTES),
    ],
)
def test_with_a_full_window_only_the_next_chunk_is_taken(on: Association) -> None:
    assert judge(data(1003), on=on) == PacketRefused("sctp_window")
    assert judge(data(1001), data(1003), on=on) == PacketAdmitted(1, "sctp_window")


def test_what_is_too_far_ahead_waits() -> None:
    assert judge(data(1000 + sctp_inspector.MAX_AHEAD)) == PacketAdmitted(1)
    assert judge(data(1001 + sctp_inspector.MAX_AHEAD)) == PacketRefused("sctp_window")
    assert judge(data(1001), data(1001 + sctp_inspector.MAX_AHEAD)) == PacketAdmitted(1, "sctp_window")


@pytest.mark.parametrize(
    "on",
    [
        replace(IDLE, held_chunks=2 * sctp_inspector.MAX_HELD_CHUNKS),
        replace(IDLE, held_chunks=100, held_bytes=2 * sctp_inspector.MAX_HELD_BYTES),
    ],
)
def test_a_message_that_never_ends_is_a_flood(on: Association) -> None:
    assert judge(data(1001, flags=0), on=on) == PacketRefused("sctp_held", flood=True)


def test_a_long_message_in_order_costs_nothing_and_short_pieces_of_one_do() -> None:
    long, short = packet(data(1001, FRAGMENT, flags=0)), packet(data(1001, b"x", flags=0))
    assert set(outcomes([long] * 14_500, per_s=5000)) == {PacketAdmitted(1)}
    assert PacketRefused("sctp_too_many") in outcomes([short] * 14_500, per_s=5000)


def test_a_message_longer_than_any_may_be_is_a_flood() -> None:
    on = replace(IDLE, partial_bytes=MAX_EVENT_BYTES)
    assert judge(data(1001, flags=0), on=on) == PacketAdmitted(1)
    on = replace(on, partial_bytes=MAX_EVENT_BYTES + 1)
    assert judge(data(1001, flags=0), on=on) == PacketRefused("sctp_held", flood=True)


def test_a_peer_that_ignores_a_closed_window_is_not_acknowledged_and_a_flood_only_if_it_goes_on() -> None:
    on = replace(IDLE, is_full=True)
    assert judge(data(1001), on=on) == PacketRefused("sctp_window")
    assert judge(data(1000), sack(NEXT - 1), on=on) == PacketAdmitted(2)
    once_a_second = outcomes([packet(data(1001))] * 100, per_s=1, on=on)
    assert set(once_a_second) == {PacketRefused("sctp_window")}
    assert PacketRefused("sctp_window", flood=True) in outcomes([packet(data(1001))] * 9000, per_s=1000, on=on)


def test_a_packet_of_many_chunks_is_taken_as_far_as_it_is_cheap_and_never_refused_for_that() -> None:
    on = replace(IDLE, held_chunks=900)
    judged = judge(*(data(1001 + number, flags=0) for number in range(60)), on=on)
    assert isinstance(judged, PacketAdmitted)
    assert 1 <= judged.chunks < 10
    assert judged.rest == "sctp_too_many"


@pytest.mark.parametrize(
    "chunks",
    [
        [data(1001 + number, stream=number) for number in range(16)],
        [forward(1001, range(16))],
        [data(1001, stream=40), data(1002, stream=40), forward(1001, range(100, 114)), data(1003, stream=50)],
    ],
)
def test_a_peer_that_sends_on_stream_after_stream_is_a_flood(chunks: list[bytes]) -> None:
    on = replace(IDLE, streams=(99,))
    assert judge(*chunks[:-1], on=on) != PacketRefused("sctp_streams", flood=True)
    assert judge(*chunks, on=on) == PacketRefused("sctp_streams", flood=True)


def outcomes(packets: Sequence[bytes], *, per_s: float, on: Association = IDLE) -> list[PacketAdmitted | PacketRefused]:
    inspector = SctpInspector()
    return [inspector.inspect(sent, on, now=number / per_s) for number, sent in enumerate(packets)]


def test_what_waits_already_is_a_duplicate_and_no_further_message() -> None:
    on = replace(IDLE, misordered=behind(500), held_chunks=sctp_inspector.MAX_HELD_CHUNKS)
    assert set(outcomes([packet(data(1100), data(1200))] * 3000, per_s=200, on=on)) == {PacketAdmitted(2)}


@pytest.mark.parametrize(
    ("sent", "on"),
    [
        (packet(*(data(1001 + number) for number in range(54))), IDLE),
        (packet(*[chunk(4)] * 8), IDLE),
        (packet(init()), IDLE),
        (packet(chunk(10, bytes(24))), IDLE),
        (packet(chunk(130, reset(1) + reset(2))), IDLE),
        (packet(chunk(7, bytes(4))), IDLE),
        (packet(*[data(1050, flags=0)] * 8), replace(IDLE, misordered=behind(200), held_chunks=500)),
        (packet(forward(1050, range(16))), replace(IDLE, misordered=behind(200), held_chunks=500, streams=range(16))),
        (packet(sack(NEXT - 1000, [(2, 999)])), replace(IDLE, outstanding=999)),
    ],
    ids=lambda value: "" if isinstance(value, Association) else f"{len(value)} bytes",
)
def test_who_makes_more_work_than_a_conversation_has_is_dropped_then_a_flood(sent: bytes, on: Association) -> None:
    judged = outcomes([sent] * 12_000, per_s=1000, on=on)
    assert isinstance(judged[0], PacketAdmitted)
    first_drop = next(number for number, one in enumerate(judged) if one != judged[0] or one.rest)
    flood = judged.index(PacketRefused("sctp_too_many", flood=True))
    assert first_drop + 300 <= flood < 11_000


def test_a_long_message_after_another_through_loss_is_taken_for_as_long_as_it_goes() -> None:
    lossy = replace(IDLE, misordered=behind(40), held_chunks=100, held_bytes=115_000)
    sent = [packet(data(1041 + number % 9, FRAGMENT, flags=LAST if number % 115 == 0 else 0)) for number in range(6000)]
    assert set(outcomes(sent, per_s=300, on=lossy)) == {PacketAdmitted(1)}


def test_a_history_of_hundreds_of_events_comes_at_once_and_the_rest_of_thousands_later() -> None:
    inspector = SctpInspector()
    now, taken, tries = 0.0, 0, 0
    while taken < 1000:
        sent = packet(*(data(1001 + number) for number in range(10)))
        judged = inspector.inspect(sent, IDLE, now=now)
        if isinstance(judged, PacketAdmitted):
            taken += judged.chunks
            now += 0.004
        else:
            assert not judged.flood
            tries += 1
            now += 1.0  # the peer's retransmission time-out
    assert tries < 10


parameters = st.lists(
    st.builds(
        parameter,
        st.sampled_from([1, 7, 13, 16, 17, 0x8008]),
        st.binary(max_size=24),
        length=st.one_of(st.none(), st.integers(0, 40)),
    ),
    max_size=3,
).map(b"".join)
tsns = st.integers(CUMULATIVE - 5, CUMULATIVE + 300)
any_chunk = st.one_of(
    st.builds(chunk, st.integers(0, 255), st.binary(max_size=40), length=st.one_of(st.none(), st.integers(0, 60))),
    st.builds(data, tsns, st.binary(min_size=1, max_size=9), flags=st.integers(0, 7), stream=st.integers(0, 3)),
    st.builds(sack, st.integers(NEXT - 20, NEXT), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)))),
    st.builds(forward, tsns, st.lists(st.integers(0, 65535), max_size=20)),
    st.builds(chunk, st.sampled_from([4, 5, 6, 9, 130]), parameters),
    st.builds(init, tsns, parameters, kind=st.sampled_from([1, 2])),
)


@given(st.lists(any_chunk, max_size=6), st.binary(max_size=8))
def test_whatever_is_admitted_can_be_read_by_aiortc(chunks: list[bytes], tail: bytes) -> None:
    sent = packet(*chunks, tail)
    judged = SctpInspector().inspect(sent, IDLE, now=0)
    if isinstance(judged, PacketRefused):
        return
    _, _, _, found = theirs.parse_packet(sent)
    assert judged.chunks <= len(found)
    for one in found:
        if isinstance(one, theirs.ReconfigChunk):
            for kind, value in one.params:
                if kind in theirs.RECONFIG_PARAM_TYPES:
                    theirs.RECONFIG_PARAM_TYPES[kind].parse(value)
        if isinstance(one, theirs.SackChunk):
            assert sum(max(0, last - first + 1) for first, last in one.gaps) <= sctp_inspector.MAX_GAP_TSNS


@given(st.binary(max_size=200))
def test_no_bytes_break_it(body: bytes) -> None:
    assert split(packet(body)) is not None
    SctpInspector().inspect(packet(body), IDLE, now=0)


def test_an_unordered_message_is_judged_like_any_other() -> None:
    assert judge(data(1001, flags=FIRST | LAST | UNORDERED)) == PacketAdmitted(1)
