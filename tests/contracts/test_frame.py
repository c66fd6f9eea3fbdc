from dataclasses import replace

import pytest

from services.contracts.frame import (
    Flag,
    Frame,
    Kind,
    MalformedFrameError,
    decode,
    decode_server_event,
    encode,
    encode_audio_up,
    encode_server_event,
    mark_resent,
    without_flags,
)
from services.contracts.ids import Epoch, ItemId


def audio_down() -> Frame:
    return Frame(
        kind=Kind.AUDIO_DOWN,
        epoch=Epoch(7),
        position=480,
        sent_unix_ms=1_700_000_000_000,
        item_id=ItemId("item_a"),
        flags=Flag.ITEM_END,
        payload=b"\x01\x02",
    )


def test_a_frame_survives_the_wire() -> None:
    assert decode(encode(audio_down())) == audio_down()


def test_the_header_is_the_agreed_one() -> None:
    assert encode(audio_down()).hex() == ("010602000700000000000000e0010000000000000068e5cf8b010000066974656d5f610102")


def test_the_short_way_for_caller_audio_makes_the_same_bytes() -> None:
    frame = Frame(Kind.AUDIO_UP, Epoch(7), 480, 1_700_000_000_000, flags=Flag.PRE_ROLL, payload=b"\x01\x02")
    assert encode_audio_up(Epoch(7), 480, 1_700_000_000_000, Flag.PRE_ROLL, b"\x01\x02") == encode(frame)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01" * 28,
        b"\x02" + encode(audio_down())[1:],
        b"\x01\x63" + encode(audio_down())[2:],
        encode(audio_down())[:31],
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        decode(data)


def test_unknown_flags_are_ignored() -> None:
    data = bytearray(encode(audio_down()))
    data[3] = 0x80
    assert decode(bytes(data)).flags == Flag.ITEM_END


def test_a_server_event_carries_its_sequence() -> None:
    assert decode_server_event(encode_server_event(9, b"{}")) == (9, b"{}")
    with pytest.raises(MalformedFrameError):
        decode_server_event(b"1234567")


def test_what_is_said_again_says_so_and_is_the_same_without_its_flags() -> None:
    once = encode(audio_down())
    again = mark_resent(once)
    assert decode(again).flags == Flag.ITEM_END | Flag.RESENT
    assert without_flags(again) == without_flags(once)
    assert without_flags(once) != without_flags(encode(replace(audio_down(), position=481)))
