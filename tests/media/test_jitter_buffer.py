"""Drawings: a column is 20 ms.

Sent: a letter is a packet, in capitals one that repeats the packet before it, a digit one that says that the talker
fell silent, `-` one that gets lost, `_` none. Heard: the packets' letters, `+` what was recovered, `~` made up,
`.` silent, `,` silent because it was lost, `|` a jump to the wall clock, `!` another stream.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.media.core.rtp.jitter_buffer import (
    FRAME,
    MAX_FILL,
    Conceal,
    Decode,
    DecodeStep,
    JitterBuffer,
    Realign,
    Recover,
    Silence,
    StreamRestarted,
)
from services.media.core.rtp.rtp_packet import RtpPacket

SSRC = 1
SEQUENCE, TIMESTAMP, NOW = 0xFFFE, 0xFFFFFFFF - 2 * 960, 100.0  # all drawings go over the wraps


def packet(letter: str, *, number: int, column: float, ssrc: int = SSRC) -> RtpPacket:
    first = b"\x08" if letter.isdigit() else bytes((0x08, 0x40 if letter.isupper() else 0x80))
    timestamp = (TIMESTAMP + round(column * FRAME)) & 0xFFFFFFFF
    return RtpPacket(111, (SEQUENCE + number) & 0xFFFF, timestamp, ssrc, first + letter.lower().encode())


def drawn(heard: list[DecodeStep]) -> str:
    out = ""
    for step in heard:
        match step:
            case Decode(payload=payload):
                out += payload[-1:].decode()
            case Recover(samples=samples):
                out += "+" * (samples // FRAME)
            case Conceal(samples=samples):
                out += "~" * (samples // FRAME)
            case Silence(samples=samples, lost=lost):
                out += ("," if lost else ".") * (samples // FRAME)
            case Realign():
                out += "|"
            case StreamRestarted():
                out += "!"
    return out


def hear(sent: str, *, come: str = "", buffer: JitterBuffer | None = None) -> str:
    """What is heard of `sent`; `come`: the order and the columns in which its packets come, if not as sent."""
    buffer = buffer or JitterBuffer()
    columns = [column for column, letter in enumerate(sent) if letter != "_"]
    packets = {column: packet(sent[column], number=n, column=column) for n, column in enumerate(columns)}
    out = ""
    for column, letter in enumerate(come or sent):
        now = NOW + column * 0.02
        if letter not in "_-":
            out += drawn(buffer.insert(packets[sent.index(letter) if come else column], now=now))
        out += drawn(buffer.on_timer(now=now))
    return out


def test_what_comes_in_order_passes_at_once() -> None:
    assert hear("abcdef") == "abcdef"
    buffer = JitterBuffer()
    assert [drawn(buffer.insert(packet(letter, number=n, column=n), now=n)) for n, letter in enumerate("abc")] == [
        *"abc"
    ]


def test_packets_out_of_order_are_put_in_order() -> None:
    assert hear("abcdef", come="acbdef") == "abcdef"
    assert hear("abcdef", come="adcbef") == "abcdef"


def test_a_packet_waits_for_three_and_then_what_is_missing_is_made_up() -> None:
    assert hear("abcdefg", come="abde") == "ab"
    assert hear("abcdefg", come="abdef") == "ab~def"


def test_a_packet_waits_for_60_ms_and_no_longer() -> None:
    assert hear("klmn", come="kln__") == "kl"
    assert hear("klmn", come="kln____") == "kl~n"


def test_what_the_next_packet_repeats_is_recovered() -> None:
    assert hear("ab-Def") == "ab+def"
    assert hear("ab---Ghi") == "ab~~+ghi"


def test_latency_is_as_before_the_loss() -> None:
    buffer = JitterBuffer()
    assert hear("ab-defg", buffer=buffer) == "ab~defg"
    assert drawn(buffer.insert(packet("h", number=7, column=7), now=NOW + 1)) == "h"


def test_concealment_fades_into_silence_after_100_ms() -> None:
    assert hear("ab-----hij") == "ab~~~~~hij"
    assert hear("ab---------Lmn") == "ab~~~~~,,,+lmn"


def test_two_holes_are_told_apart() -> None:
    buffer = JitterBuffer()
    assert hear("ab-D-Fgh", buffer=buffer) == "ab+d+fgh"
    assert buffer.lost == 2


def test_what_comes_too_late_is_dropped_and_counted() -> None:
    buffer = JitterBuffer()
    assert hear("abcdefg", come="abdefcg", buffer=buffer) == "ab~defg"
    assert (buffer.late, buffer.duplicate, buffer.lost) == (1, 0, 1)


def test_after_a_late_packet_others_are_waited_for_longer() -> None:
    buffer = JitterBuffer()
    hear("abcdefg", come="abdefcg", buffer=buffer)
    heard = ""
    for column, number in enumerate((8, 9, 10, 11, 12), 8):
        heard += drawn(buffer.insert(packet("i", number=number, column=number), now=NOW + column * 0.02))
    assert heard == ""
    assert buffer.due == pytest.approx(NOW + 0.16 + 0.12)
    assert drawn(buffer.insert(packet("h", number=7, column=7), now=NOW + 0.25)) == "hiiiii"
    assert drawn(buffer.insert(packet("j", number=14, column=14), now=NOW + 31)) == ""
    assert buffer.due == pytest.approx(NOW + 31 + 0.06)


def test_what_comes_twice_is_dropped_and_counted() -> None:
    buffer = JitterBuffer()
    assert hear("abcdef", come="abbcc", buffer=buffer) == "abc"
    assert hear("abcdef", come="abbdddc", buffer=(held := JitterBuffer())) == "abcd"
    assert [(each.duplicate, each.late) for each in (buffer, held)] == [(2, 0), (3, 0)]
    assert hear("abcdefg", come="abdefccg", buffer=(twice := JitterBuffer())) == "ab~defg"
    assert (twice.duplicate, twice.late) == (1, 1)


def test_silence_that_is_not_sent_passes_as_time_does() -> None:
    buffer = JitterBuffer()
    assert hear("ab0", buffer=buffer) == "ab0"
    passed = [drawn(buffer.on_timer(now=NOW + column * 0.02)) for column in range(3, 8)]
    assert passed == ["", ".", ".", ".", "."]  # a packet may be 20 ms late


def test_when_speech_comes_back_only_the_rest_of_the_silence_is_filled() -> None:
    assert hear("ab0______cd") == "ab0......cd"


def test_silence_is_filled_by_rtp_time_when_its_announcement_was_late() -> None:
    buffer = JitterBuffer()
    assert hear("ab", buffer=buffer) == "ab"
    assert drawn(buffer.insert(packet("c", number=2, column=12), now=NOW + 0.24)) == "..........c"


def test_silence_that_was_given_out_too_early_is_made_good_by_the_next() -> None:
    assert hear("ab0____cd1____ef") == "ab0....cd1....ef"
    assert hear("ab0____cd1____ef", come="ab0_______cd1__ef") == "ab0......cd1..ef"


def test_a_refresh_of_silence_goes_on_with_silence() -> None:
    assert hear("ab0___c1____d2") == "ab0...c1....d2"


def test_a_loss_within_silence_is_silence() -> None:
    assert hear("ab0____-cde") == "ab0.....cde"
    assert hear("ab0____-Cde") == "ab0....+cde"


def test_a_lost_announcement_of_silence_is_made_up_and_the_rest_is_silent() -> None:
    assert hear("ab-_____cde") == "ab~.....cde"


def test_while_packets_merely_fail_to_come_nothing_is_made_up() -> None:
    assert hear("abcdef", come="ab__________cdef") == "abcdef"


def test_a_gap_that_is_too_long_to_fill_jumps_to_the_wall_clock() -> None:
    assert hear("ab" + 49 * "_" + "c") == "ab" + 49 * "." + "c"
    assert hear("ab" + 51 * "_" + "c") == "ab|c"
    assert hear("ab0" + 200 * "_" + "c") == "ab0" + 50 * "." + "|c"


def test_a_timestamp_that_leaps_back_changes_nothing() -> None:
    buffer = JitterBuffer()
    assert hear("ab", buffer=buffer) == "ab"
    assert drawn(buffer.insert(packet("c", number=2, column=-5000), now=NOW + 0.04)) == "c"
    assert drawn(buffer.insert(packet("d", number=3, column=-4999), now=NOW + 0.06)) == "d"


def test_packets_of_other_lengths_follow_each_other() -> None:
    buffer = JitterBuffer()
    heard: list[DecodeStep] = []
    at = 0
    for number, (toc, ms) in enumerate(((0x00, 10), (0x10, 40), (0x18, 60), (0x08, 20))):
        payload = bytes((toc, 0x80)) + b"a"
        heard += buffer.insert(RtpPacket(111, number, at, SSRC, payload), now=NOW)
        at += ms * 48
    assert drawn(heard) == "aaaa"


def test_half_a_frame_is_recovered_as_half_a_frame() -> None:
    buffer = JitterBuffer()
    payload = b"\x00\x40a"  # 10 ms
    heard: list[DecodeStep] = []
    for number in (0, 2, 3, 4):
        heard += buffer.insert(RtpPacket(111, number, number * 480, SSRC, payload), now=NOW)
    assert heard[1] == Recover(payload, 480)


def test_padding_only_takes_its_number() -> None:
    buffer = JitterBuffer()
    assert hear("ab", buffer=buffer) == "ab"
    assert buffer.insert(RtpPacket(111, (SEQUENCE + 2) & 0xFFFF, 0, SSRC, b""), now=NOW + 0.04) == []
    assert drawn(buffer.insert(packet("c", number=3, column=2), now=NOW + 0.06)) == "c"


def test_what_is_no_opus_is_left_to_the_decoder_to_refuse() -> None:
    buffer = JitterBuffer()
    hear("ab", buffer=buffer)
    assert buffer.insert(RtpPacket(111, (SEQUENCE + 2) & 0xFFFF, 0, SSRC, b"\x0b"), now=NOW) == [Decode(b"\x0b")]
    assert drawn(buffer.insert(packet("c", number=3, column=2), now=NOW + 0.06)) == "c"


def test_another_stream_is_heard_whole_once_a_second_packet_proves_it() -> None:
    buffer = JitterBuffer()
    assert hear("abc", buffer=buffer) == "abc"
    assert drawn(buffer.insert(packet("x", number=900, column=70, ssrc=2), now=NOW + 0.06)) == ""
    assert drawn(buffer.insert(packet("y", number=901, column=71, ssrc=2), now=NOW + 0.08)) == "!xy"
    assert (buffer.ssrc, buffer.restarts, buffer.stray) == (2, 1, 0)


def test_another_stream_goes_on_where_the_wall_clock_is() -> None:
    for away, between in ((0.2, 8 * "."), (3.0, "|")):
        buffer = JitterBuffer()
        hear("abc", buffer=buffer)
        buffer.insert(packet("x", number=900, column=70, ssrc=2), now=NOW + 0.04 + away - 0.02)
        assert (
            drawn(buffer.insert(packet("y", number=901, column=71, ssrc=2), now=NOW + 0.04 + away)) == f"!{between}xy"
        )


def test_a_sequence_that_jumps_is_another_stream() -> None:
    buffer = JitterBuffer()
    hear("abc", buffer=buffer)
    assert drawn(buffer.insert(packet("x", number=30_000, column=3), now=NOW + 0.06)) == ""
    assert drawn(buffer.insert(packet("y", number=30_001, column=4), now=NOW + 0.08)) == "!xy"


def test_what_was_held_is_heard_before_another_stream() -> None:
    buffer = JitterBuffer()
    assert hear("klmn", come="kln", buffer=buffer) == "kl"
    buffer.insert(packet("x", number=900, column=70, ssrc=2), now=NOW + 0.06)
    assert drawn(buffer.insert(packet("y", number=901, column=71, ssrc=2), now=NOW + 0.08)) == "~n!xy"


def test_strangers_among_the_packets_of_a_stream_do_not_move_it() -> None:
    buffer = JitterBuffer()
    heard = ""
    for number, letter in enumerate("abcdef"):
        heard += drawn(buffer.insert(packet(letter, number=number, column=number), now=NOW + number * 0.02))
        heard += drawn(buffer.insert(packet("x", number=number, column=number, ssrc=2), now=NOW + number * 0.02))
    assert heard == "abcdef"
    for number in (20_000, 25_000):
        assert buffer.insert(packet("y", number=number, column=9), now=NOW + 0.2) == []
    assert buffer.stray == 2


def test_it_says_when_time_matters() -> None:
    buffer = JitterBuffer()
    assert buffer.due is None
    hear("klmn", come="kln", buffer=buffer)
    assert buffer.due == pytest.approx(NOW + 0.04 + 0.06)
    silent = JitterBuffer()
    hear("a0", buffer=silent)
    assert silent.due == pytest.approx(NOW + 0.02 + 0.04)
    assert drawn(silent.on_timer(now=NOW + 0.0601)) == "."
    assert silent.due == pytest.approx(NOW + 0.02 + 0.06)
    silent.on_timer(now=NOW + 5)
    assert silent.due is None


ANY_PACKET = st.tuples(st.integers(0, 12), st.integers(0, 4000), st.binary(max_size=4), st.integers(0, 1))


@given(st.lists(ANY_PACKET, max_size=30))
def test_whatever_comes_fills_are_bounded_and_time_moves_on(steps: list[tuple[int, int, bytes, int]]) -> None:
    buffer = JitterBuffer()
    now = NOW
    for sequence, column, payload, ssrc in steps:
        now += 0.01
        heard = buffer.insert(RtpPacket(111, sequence, column * 480, ssrc, payload), now=now) + buffer.on_timer(now=now)
        silent = [step.samples for step in heard if isinstance(step, Silence)]
        assert all(0 < samples <= MAX_FILL for samples in silent)
        if (due := buffer.due) is not None:
            assert due > now
            buffer.on_timer(now=due)
            assert buffer.due is None or buffer.due > due
            now = due
