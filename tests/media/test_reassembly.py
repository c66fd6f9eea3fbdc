"""Messages come out whole, in whatever order their fragments come."""

from collections.abc import Sequence
from random import Random

import pytest
from aiortc.rtcsctptransport import DataChunk, InboundStream
from hypothesis import given
from hypothesis import strategies as st

from services.media.legs.webrtc.reassembly import Reassembly
from tests.media.sctp_wire import FIRST, LAST, UNORDERED

START = 2**32 - 20


def fragments(messages: Sequence[tuple[int, bool]]) -> list[DataChunk]:
    """Return the fragments of ordered and unordered messages, each of so many fragments."""
    chunks: list[DataChunk] = []
    sequence = 0
    for count, ordered in messages:
        for number in range(count):
            chunk = DataChunk(
                FIRST * (number == 0) | LAST * (number == count - 1) | UNORDERED * (not ordered),
            )
            chunk.tsn = (START + len(chunks)) % 2**32
            chunk.stream_id, chunk.stream_seq, chunk.protocol = 5, sequence % 2**16, 51
            chunk.user_data = b"%d;" % len(chunks)
            chunks.append(chunk)
        sequence += ordered
    return chunks


def received(stream: InboundStream, chunks: Sequence[DataChunk]) -> list[list[tuple[int, int, bytes]]]:
    out = []
    for chunk in chunks:
        stream.add_chunk(chunk)
        out.append(list(stream.pop_messages()))
    return out


def whole(chunks: Sequence[DataChunk]) -> list[bytes]:
    out, data = [], b""
    for chunk in chunks:
        data += chunk.user_data
        if chunk.flags & LAST:
            out.append(data)
            data = b""
    return out


messages = st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=8)


@given(messages, st.randoms(use_true_random=False))
def test_every_message_comes_out_whole_and_once(sent: list[tuple[int, bool]], dice: Random) -> None:
    chunks = fragments(sent)
    expected, late = whole(chunks), list(chunks)
    dice.shuffle(late)
    ours = Reassembly()
    data = [message[2] for step in received(ours, late) for message in step]
    assert sorted(data) == sorted(expected)
    in_order = [one for one, (_, ordered) in zip(expected, sent, strict=True) if ordered]
    assert [one for one in data if one in in_order] == in_order
    assert not ours.reassembly
    assert not ours.partial
    assert ours.held_bytes == 0


@given(messages, st.integers(0, 40), st.sets(st.integers(0, 40)))
def test_what_the_peer_gives_up_is_dropped_and_the_rest_comes_out(
    sent: list[tuple[int, bool]], gives_up: int, lost: set[int]
) -> None:
    chunks = fragments([(count, False) for count, _ in sent])
    expected = whole(chunks)
    gives_up = min(gives_up, len(chunks) - 1)
    came = [chunk for number, chunk in enumerate(chunks) if number not in lost or number > gives_up]
    tsn = chunks[gives_up].tsn
    early, late = came[: len(came) // 2], came[len(came) // 2 :]
    late = [chunk for chunk in late if (chunk.tsn - tsn) % 2**32 - 1 < 2**31]
    stream = Reassembly()
    heard = received(stream, early)
    stream.prune_chunks(tsn)
    data = [message[2] for step in heard + received(stream, late) for message in step]
    assert set(data) <= set(expected)
    assert len(data) == len(set(data))
    after = [one for one in expected if int(one.split(b";")[0]) > gives_up]
    assert set(after) <= set(data)


@pytest.mark.parametrize("order", [range(4000), range(3999, 0, -1)])
def test_a_long_message_collects_in_order_and_what_is_not_in_order_waits(order: range) -> None:
    stream = Reassembly()
    chunks = fragments([(4000, True)])
    assert received(stream, [chunks[number] for number in order if number < 3999]) != []
    in_order = order[0] == 0
    assert bool(stream.partial) is in_order
    assert bool(stream.held_bytes) is not in_order
