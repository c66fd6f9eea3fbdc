from services.media.core.rtp.encoder_complexity import FULL, LEAST, LESS, ComplexityControl, EncoderComplexity


def made(*busy: float) -> list[EncoderComplexity]:
    complexity = ComplexityControl()
    out = []
    for share in busy:
        before = complexity.now
        assert complexity.measured(share) == (complexity.now is not before)
        out.append(complexity.now)
    return out


def test_a_core_with_time_makes_the_best_of_each_frame() -> None:
    assert made(0.0, 0.29, 0.54) == [FULL, FULL, FULL]


def test_a_busy_core_saves_time_until_it_is_really_free() -> None:
    assert made(0.55, 0.7, 0.4, 0.31, 0.3) == [LESS, LESS, LESS, LESS, FULL]


def test_a_very_busy_core_saves_bits_too_until_it_is_only_busy() -> None:
    assert made(0.75, 0.9, 0.61, 0.6, 0.7) == [LEAST, LEAST, LEAST, LESS, LESS]


def test_calls_that_end_at_once_free_a_very_busy_core() -> None:
    assert made(0.9, 0.1) == [LEAST, FULL]
