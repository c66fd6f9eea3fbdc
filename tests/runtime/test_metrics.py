"""Metrics that every process exports."""

from prometheus_client import CollectorRegistry, Counter

from services.runtime.telemetry.metrics import announce


def test_series_of_known_labels_start_at_zero() -> None:
    registry = CollectorRegistry()
    announce(Counter("dropped_total", "A test.", ["reason"], registry=registry), ["late", "lost"])
    announce(Counter("asked_total", "A test.", ["route", "code"], registry=registry), [("/", "200")])
    assert registry.get_sample_value("dropped_total", {"reason": "late"}) == 0
    assert registry.get_sample_value("dropped_total", {"reason": "lost"}) == 0
    assert registry.get_sample_value("asked_total", {"route": "/", "code": "200"}) == 0
