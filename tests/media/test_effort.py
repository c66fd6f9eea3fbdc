from services.media.core.effort import FULL, LEAST, Effort


def complexities(*busy: float) -> list[int]:
    effort = Effort()
    out = []
    for share in busy:
        before = effort.complexity
        assert effort.measured(share) == (effort.complexity != before)
        out.append(effort.complexity)
    return out


def test_a_core_with_time_makes_the_best_of_each_frame() -> None:
    assert complexities(0.0, 0.29, 0.54) == [FULL, FULL, FULL]


def test_a_busy_core_saves_time_until_it_is_really_free() -> None:
    assert complexities(0.55, 0.9, 0.4, 0.31, 0.3) == [LEAST, LEAST, LEAST, LEAST, FULL]
