from services.contracts.liveness import BUS_AWAY_S, SILENT_S, Liveness


def test_a_side_that_is_not_heard_for_5_s_is_gone() -> None:
    other = Liveness(100.0)
    other.record_activity(now=103.0)
    assert other.gone(bus=True, now=103.0 + SILENT_S - 0.1) is None
    assert other.gone(bus=True, now=103.0 + SILENT_S) == "silent"


def test_silence_counts_anew_when_the_bus_is_back() -> None:
    other = Liveness(100.0)
    assert other.gone(bus=False, now=104.0) is None
    assert other.gone(bus=False, now=120.0) is None
    assert other.gone(bus=True, now=121.0) is None
    assert other.gone(bus=True, now=121.0 + SILENT_S - 0.1) is None
    assert other.gone(bus=True, now=121.0 + SILENT_S) == "silent"


def test_nobody_waits_for_the_bus_longer_than_a_minute_at_a_time() -> None:
    other = Liveness(100.0)
    for began in (101.0, 170.0):
        assert other.gone(bus=False, now=began) is None
        assert other.gone(bus=False, now=began + BUS_AWAY_S - 0.1) is None
        assert other.gone(bus=True, now=began + BUS_AWAY_S - 0.1) is None
    assert other.gone(bus=False, now=300.0) is None
    assert other.gone(bus=False, now=300.0 + BUS_AWAY_S) == "bus_away"
