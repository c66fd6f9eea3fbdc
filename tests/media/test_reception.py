from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.media.core.rtcp.reception import Reception, ReceptionReport
from services.media.core.rtcp.reporting import ReportClock
from services.media.core.rtcp.sending import MAX_ROUND_TRIP_S, SenderReport, Sending

OURS, THEIRS = 1, 2
NTP = 0x0123_4567_89AB_CDEF
MIDDLE = 0x4567_89AB


def heard(numbers: Iterable[int]) -> Reception:
    """Return a `Reception` of packets with these sequence numbers, each received on time."""
    reception = Reception(THEIRS)
    for number in numbers:
        reception.packet_received(number & 0xFFFF, number * 960, now=number * 0.02)
    return reception


def test_without_loss_nothing_is_lost() -> None:
    report = heard(range(10, 20)).report(now=1)
    assert (report.ssrc, report.packets_lost, report.fraction_lost, report.highest_sequence) == (THEIRS, 0, 0, 19)


def test_before_the_first_packet_there_is_nothing_to_say() -> None:
    assert Reception(THEIRS).report(now=1) == ReceptionReport(THEIRS, 0, 0, 0, 0, 0, 0)


def test_the_fraction_is_that_since_the_last_report_and_the_number_that_of_all() -> None:
    reception = heard([*range(10), *range(12, 20)])
    first = reception.report(now=1)
    assert (first.packets_lost, first.fraction_lost) == (2, 2 * 256 // 20)
    for number in (20, 22, 23):
        reception.packet_received(number, number * 960, now=number * 0.02)
    second = reception.report(now=2)
    assert (second.packets_lost, second.fraction_lost) == (3, 256 // 4)
    assert reception.report(now=3).fraction_lost == 0


def test_all_lost_is_as_much_as_a_byte_holds() -> None:
    reception = heard([0])
    reception.report(now=1)
    reception.packet_received(2000, 0, now=2)
    reception.packet_received(2000, 0, now=2)
    assert reception.report(now=3).fraction_lost == 255


def test_order_does_not_matter_and_what_came_late_is_not_lost() -> None:
    assert heard([0, 1, 3, 2, 5, 4]).packets_lost == 0


def test_what_came_twice_is_less_than_nothing_lost() -> None:
    reception = heard([0, 1, 1, 2])
    assert reception.packets_lost == -1
    assert reception.report(now=1).fraction_lost == 0


@pytest.mark.parametrize("missing", [set(), {65_535}, {65_536}, {65_535, 65_536}])
def test_wraps_are_counted(missing: set[int]) -> None:
    report = heard(number for number in range(65_530, 65_540) if number not in missing).report(now=1)
    assert (report.highest_sequence, report.packets_lost) == (65_539, len(missing))


def test_a_late_packet_from_before_the_wrap_does_not_wrap_again() -> None:
    report = heard([65_534, 65_536, 65_535, 65_537]).report(now=1)
    assert (report.highest_sequence, report.packets_lost) == (65_537, 0)


def test_one_number_far_off_is_ignored_and_two_in_a_row_begin_anew() -> None:
    reception = heard(range(10))
    reception.packet_received(30_000, 0, now=1)
    assert (reception.packets_lost, reception.received) == (0, 10)
    reception.packet_received(30_001, 0, now=1)
    assert reception.report(now=1).highest_sequence == 30_001
    assert (reception.packets_lost, reception.received) == (0, 1)


def test_packets_on_time_have_no_jitter_and_late_ones_have() -> None:
    assert heard(range(100)).jitter == pytest.approx(0, abs=1e-6)
    reception = Reception(THEIRS)
    for number in range(200):
        reception.packet_received(number, number * 960, now=number * 0.02 + (number % 2) * 0.01)
    assert reception.jitter_s == pytest.approx(0.01, rel=0.01)
    assert reception.report(now=5).jitter == pytest.approx(480, abs=5)


def test_jitter_does_not_see_the_wrap_of_timestamps_nor_pauses() -> None:
    reception = Reception(THEIRS)
    for number, column in enumerate((0, 1, 2, 40, 41)):
        reception.packet_received(number, (0xFFFFFFFF - 960 + column * 960) & 0xFFFFFFFF, now=column * 0.02)
    assert reception.jitter == pytest.approx(0, abs=1e-6)


def test_the_last_sender_report_is_named_with_its_age() -> None:
    reception = heard(range(3))
    reception.sender_reported(NTP, now=10.0)
    report = reception.report(now=12.5)
    assert (report.last_report, report.report_delay) == (MIDDLE, 2.5 * 65536)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.floats(0, 1e6)), max_size=50))
def test_whatever_comes_a_report_fits_its_fields(packets: list[tuple[int, int, float]]) -> None:
    reception = Reception(THEIRS)
    for sequence, timestamp, now in packets:
        reception.packet_received(sequence, timestamp, now=now)
        report = reception.report(now=0)
        assert 0 <= report.fraction_lost <= 255
        assert -0x800000 <= report.packets_lost <= 0x7FFFFF
        assert 0 <= report.jitter <= 0xFFFFFFFF
        assert report.report_delay == 0


def test_who_sent_nothing_has_nothing_to_report() -> None:
    assert Sending(OURS).report(NTP, now=1) is None


def test_a_sender_report_says_what_was_sent_and_what_time_it_is_in_rtp() -> None:
    sending = Sending(OURS)
    sending.packet_sent(100, 0xFFFFFFFF - 959, now=10.0)
    sending.packet_sent(50, 0, now=10.02)
    assert sending.report(NTP, now=11.02) == SenderReport(NTP, timestamp=48_000, packets=2, octets=150)


def reported(*, last_report: int = MIDDLE, delay_s: float = 0.0, ssrc: int = OURS, lost: int = 0) -> ReceptionReport:
    return ReceptionReport(ssrc, lost, 0, 0, 480, last_report, round(delay_s * 65536))


def sending() -> Sending:
    made = Sending(OURS)
    made.packet_sent(1, 0, now=9.0)
    made.report(NTP, now=10.0)
    return made


def test_the_round_trip_is_the_time_that_the_peer_did_not_keep_the_report() -> None:
    peer = sending().peer_reported(reported(delay_s=2.0, lost=64), now=12.15)
    assert peer is not None
    assert (peer.fraction_lost, peer.jitter_s) == (0.25, 0.01)
    assert peer.round_trip_s == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("report", "now"),
    [
        (reported(last_report=0), 12.0),  # it got none yet
        (reported(last_report=MIDDLE + 1), 12.0),  # we sent no such report
        (reported(delay_s=2.1), 12.0),  # it kept it for longer than it had it
        (reported(), 10.0 + MAX_ROUND_TRIP_S + 1),
    ],
)
def test_a_round_trip_that_cannot_be_is_none(report: ReceptionReport, now: float) -> None:
    peer = sending().peer_reported(report, now=now)
    assert peer is not None
    assert peer.round_trip_s is None


def test_a_round_trip_below_the_grain_is_nought() -> None:
    peer = sending().peer_reported(reported(delay_s=2.0), now=11.9995)
    assert peer is not None
    assert peer.round_trip_s == 0


def test_reports_on_other_streams_are_not_about_us() -> None:
    assert sending().peer_reported(reported(ssrc=THEIRS), now=11) is None


def test_the_first_report_is_soon_and_the_others_spread_around_five_seconds() -> None:
    dues = []
    for random in (iter((0.0, 0.0, 0.0)), iter((1.0, 1.0, 1.0))):
        clock = ReportClock(now=100.0, random=random.__next__)
        dues.append(clock.due)
        clock.reported(busy=True, now=200.0)
        dues.append(clock.due)
        clock.reported(busy=False, now=300.0)
        dues.append(clock.due)
    assert dues == [100.5, 202.5, 307.5, 101.5, 207.5, 322.5]
