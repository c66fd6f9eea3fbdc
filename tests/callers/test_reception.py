"""Streams are drawn, a letter per 20 ms: `.` is a lost packet, `_` one that was not sent."""

from services.callers.core.reception import FRAME_TICKS, ReceptionStatistics, ReceptionTotals

SOUND, SILENCE = 40, 3


def reception_of(
    drawing: str, *, sequence: int = 65_530, timestamp: int = (1 << 32) - 3 * FRAME_TICKS, ssrc: int = 7
) -> ReceptionStatistics:
    """`s` is sound and `q` silence; a digit is sound that is so many ms late."""
    reception = ReceptionStatistics(ReceptionTotals())
    feed(reception, drawing, sequence=sequence, timestamp=timestamp, ssrc=ssrc)
    return reception


def feed(reception: ReceptionStatistics, drawing: str, *, sequence: int, timestamp: int, ssrc: int = 7) -> None:
    for index, letter in enumerate(drawing):
        if letter not in "._":
            late_s = int(letter) / 1000 if letter.isdigit() else 0.0
            size = SILENCE if letter == "q" else SOUND
            at = (timestamp + index * FRAME_TICKS) % (1 << 32)
            reception.packet_received(ssrc, sequence % (1 << 16), at, size, 100 + index * 0.02 + late_s)
        sequence += letter != "_"


def totals(reception: ReceptionStatistics) -> ReceptionTotals:
    reception.close()
    return reception._heard  # noqa: SLF001 - what it was given


def test_a_steady_stream_is_twenty_ms_apart_and_never_late() -> None:
    sums = totals(reception_of("ssssssssss"))
    assert (sums.received, sums.lost) == (10, 0)
    assert sums.spacing.counts == {200: 9}
    assert sums.lateness.counts == {0: 10}


def test_lateness_is_against_the_earliest_of_the_spurt() -> None:
    sums = totals(reception_of("55085"))
    assert sums.lateness.counts == {50: 3, 0: 1, 80: 1}
    assert sums.spacing.counts == {200: 1, 150: 1, 280: 1, 170: 1}


def test_packets_of_40_ms_are_two_frames_each_and_no_pause() -> None:
    reception = ReceptionStatistics(ReceptionTotals())
    for sequence, frame in enumerate((0, 1, 3, 5, 6)):
        reception.packet_received(7, sequence, frame * FRAME_TICKS, SOUND, frame * 0.02)
    sums = totals(reception)
    assert (sums.received, sums.lost) == (7, 0)
    assert sums.spacing.counts == {200: 2, 400: 2}
    assert sums.lateness.counts == {0: 5}


def test_lost_packets_are_counted_and_are_no_spacing() -> None:
    sums = totals(reception_of("sss..ss"))
    assert (sums.received, sums.lost) == (5, 2)
    assert sums.spacing.total == 3
    assert sums.lateness.counts == {0: 5}


def test_a_pause_of_the_sender_is_neither_loss_nor_spacing() -> None:
    sums = totals(reception_of("sss" + "_" * 20 + "sss"))
    assert (sums.received, sums.lost) == (6, 0)
    assert sums.spacing.counts == {200: 4}


def test_a_single_packet_has_no_spacing_or_lateness() -> None:
    sums = totals(reception_of("s___s"))
    assert sums.received == 2
    assert sums.spacing.total == sums.lateness.total == 0


def test_a_packet_that_overtook_another_is_not_lost() -> None:
    reception = ReceptionStatistics(ReceptionTotals())
    for sequence, at_s in ((1, 0.0), (3, 0.04), (2, 0.041), (4, 0.06)):
        reception.packet_received(7, sequence, sequence * FRAME_TICKS, SOUND, at_s)
    sums = totals(reception)
    assert (sums.received, sums.lost) == (4, 0)
    assert sums.lateness.total == 4


def test_another_source_begins_anew_and_the_loss_of_the_first_is_kept() -> None:
    reception = reception_of("ss.s")
    feed(reception, "ss", sequence=9, timestamp=5, ssrc=8)
    assert reception.ssrc == 8
    assert reception.lost == 0
    sums = totals(reception)
    assert (sums.received, sums.lost) == (5, 1)


def test_silence_is_a_packet_but_no_sound() -> None:
    reception = reception_of("qqsqsq")
    assert reception.first_sound_at == 100.04
    assert reception.last_sound_at == 100.08
    assert reception.last_packet_at == 100.1
    assert reception.packets == 6


def test_the_first_sound_can_be_reset() -> None:
    reception = reception_of("ss")
    reception.reset_first_sound()
    assert reception.first_sound_at is None
    feed(reception, "qs", sequence=50, timestamp=1)
    assert reception.first_sound_at == 100.02


def test_a_long_spurt_is_counted_in_parts() -> None:
    reception = reception_of("s" * 600)
    assert reception._heard.lateness.total == 500  # noqa: SLF001 - what it was given
    assert totals(reception).spacing.total == 599


def test_a_receiver_report_contains_the_loss_since_the_last_one() -> None:
    reception = reception_of("s.s.s.ss", sequence=65_533)
    assert reception.lost == 3
    assert reception.next_fraction_lost() == 3 * 256 // 8
    assert reception.next_fraction_lost() == 0
    assert reception.highest_sequence == 65_540
    assert reception.jitter == 0


def test_before_the_first_packet_there_is_nothing_to_report() -> None:
    reception = ReceptionStatistics(ReceptionTotals())
    assert reception.ssrc is None
    assert reception.lost == reception.next_fraction_lost() == 0
    assert totals(reception).received == 0


def test_jitter_grows_when_packets_come_unevenly() -> None:
    assert reception_of("0909090909").jitter > 48
