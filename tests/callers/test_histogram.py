from services.callers.core.histogram import Histogram


def of(*durations_ms: float) -> Histogram:
    histogram = Histogram()
    histogram.add_all(durations_ms)
    return histogram


def test_percentiles_are_durations_that_were_measured() -> None:
    assert of(*range(1, 101)).percentiles() == {"p50": 50, "p95": 95, "p99": 99}


def test_nothing_measured_has_no_percentiles() -> None:
    assert Histogram().percentiles() == {"p50": None, "p95": None, "p99": None}


def test_one_duration_is_all_percentiles() -> None:
    assert set(of(20.04).percentiles().values()) == {20.0}


def test_histograms_of_two_processes_add_up() -> None:
    whole = of(1, 2)
    whole.merge(of(2, 3))
    assert whole.counts == {10: 1, 20: 2, 30: 1}
    assert whole.total == 4


def test_what_is_longer_than_a_limit_is_counted() -> None:
    assert of(59, 60, 60.1, 200).above(60) == 2


def test_a_negative_duration_counts_as_none_at_all() -> None:
    assert of(-3).counts == {0: 1}
