"""Streams are drawn, a letter for each 20 ms: `.` is a packet that was lost, `_` one that was not sent."""

from services.callers.core.hearing import FRAME_TICKS, Heard, Hearing

SOUND, SILENCE = 40, 3


def hear(
    drawing: str, *, sequence: int = 65_530, timestamp: int = (1 << 32) - 3 * FRAME_TICKS, ssrc: int = 7
) -> Hearing:
    """`s` is sound and `q` silence; a digit is sound that is so many ms late."""
    hearing = Hearing(Heard())
    feed(hearing, drawing, sequence=sequence, timestamp=timestamp, ssrc=ssrc)
    return hearing


def feed(hearing: Hearing, drawing: str, *, sequence: int, timestamp: int, ssrc: int = 7) -> None:
    for index, letter in enumerate(drawing):
        if letter not in "._":
            late_s = int(letter) / 1000 if letter.isdigit() else 0.0
            size = SILENCE if letter == "q" else SOUND
            at = (timestamp + index * FRAME_TICKS) % (1 << 32)
            hearing.hear(ssrc, sequence % (1 << 16), at, size, 100 + index * 0.02 + late_s)
        sequence += letter != "_"


def heard(hearing: Hearing) -> Heard:
    hearing.close()
    return hearing._heard  # noqa: SLF001 - what it was given


def test_a_steady_stream_is_twenty_ms_apart_and_never_late() -> None:
    sums = heard(hear("ssssssssss"))
    assert (sums.received, sums.lost) == (10, 0)
    assert sums.spacing.counts == {200: 9}
    assert sums.lateness.counts == {0: 10}


def test_lateness_is_against_the_earliest_of_the_spurt() -> None:
    sums = heard(hear("55085"))
    assert sums.lateness.counts == {50: 3, 0: 1, 80: 1}
    assert sums.spacing.counts == {200: 1, 150: 1, 280: 1, 170: 1}


def test_packets_of_40_ms_are_two_frames_each_and_no_pause() -> None:
    hearing = Hearing(Heard())
    for sequence, frame in enumerate((0, 1, 3, 5, 6)):
        hearing.hear(7, sequence, frame * FRAME_TICKS, SOUND, frame * 0.02)
    sums = heard(hearing)
    assert (sums.received, sums.lost) == (7, 0)
    assert sums.spacing.counts == {200: 2, 400: 2}
    assert sums.lateness.counts == {0: 5}


def test_lost_packets_are_counted_and_are_no_spacing() -> None:
    sums = heard(hear("sss..ss"))
    assert (sums.received, sums.lost) == (5, 2)
    assert sums.spacing.total == 3
    assert sums.lateness.counts == {0: 5}


def test_a_pause_of_the_sender_is_neither_loss_nor_spacing() -> None:
    sums = heard(hear("sss" + "_" * 20 + "sss"))
    assert (sums.received, sums.lost) == (6, 0)
    assert sums.spacing.counts == {200: 4}


def test_one_packet_alone_says_nothing_about_spacing_and_lateness() -> None:
    sums = heard(hear("s___s"))
    assert sums.received == 2
    assert sums.spacing.total == sums.lateness.total == 0


def test_a_packet_that_overtook_another_is_not_lost() -> None:
    hearing = Hearing(Heard())
    for sequence, at_s in ((1, 0.0), (3, 0.04), (2, 0.041), (4, 0.06)):
        hearing.hear(7, sequence, sequence * FRAME_TICKS, SOUND, at_s)
    sums = heard(hearing)
    assert (sums.received, sums.lost) == (4, 0)
    assert sums.lateness.total == 4


def test_another_source_begins_anew_and_the_loss_of_the_first_is_kept() -> None:
    hearing = hear("ss.s")
    feed(hearing, "ss", sequence=9, timestamp=5, ssrc=8)
    assert hearing.ssrc == 8
    assert hearing.lost == 0
    sums = heard(hearing)
    assert (sums.received, sums.lost) == (5, 1)


def test_silence_is_a_packet_but_no_sound() -> None:
    hearing = hear("qqsqsq")
    assert hearing.first_sound_at == 100.04
    assert hearing.last_sound_at == 100.08
    assert hearing.last_packet_at == 100.1
    assert hearing.packets == 6


def test_the_first_sound_is_looked_for_anew_when_told() -> None:
    hearing = hear("ss")
    hearing.listen()
    assert hearing.first_sound_at is None
    feed(hearing, "qs", sequence=50, timestamp=1)
    assert hearing.first_sound_at == 100.02


def test_a_long_spurt_is_counted_in_parts() -> None:
    hearing = hear("s" * 600)
    assert hearing._heard.lateness.total == 500  # noqa: SLF001 - what it was given
    assert heard(hearing).spacing.total == 599


def test_a_receiver_report_tells_of_loss_since_the_last_one() -> None:
    hearing = hear("s.s.s.ss", sequence=65_533)
    assert hearing.lost == 3
    assert hearing.take_fraction_lost() == 3 * 256 // 8
    assert hearing.take_fraction_lost() == 0
    assert hearing.highest_sequence == 65_540
    assert hearing.jitter == 0


def test_before_the_first_packet_there_is_nothing_to_report() -> None:
    hearing = Hearing(Heard())
    assert hearing.ssrc is None
    assert hearing.lost == hearing.take_fraction_lost() == 0
    assert heard(hearing).received == 0


def test_jitter_grows_when_packets_come_unevenly() -> None:
    assert hear("0909090909").jitter > 48
