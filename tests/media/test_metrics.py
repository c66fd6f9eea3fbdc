from prometheus_client import REGISTRY, generate_latest

from services.contracts.endings import EndReason
from services.media.metrics import QuickHistogram, announce_owner


def test_a_quick_histogram_counts_like_any_other() -> None:
    quick = QuickHistogram("hushgate_test_seconds", "A test.", buckets=(0.01, 0.1))
    for value in (0.001, 0.01, 0.05, 7.0):
        quick.observe(value)
    text = generate_latest(REGISTRY).decode()
    REGISTRY.unregister(quick)
    assert 'hushgate_test_seconds_bucket{le="0.01"} 2.0' in text
    assert 'hushgate_test_seconds_bucket{le="0.1"} 3.0' in text
    assert 'hushgate_test_seconds_bucket{le="+Inf"} 4.0' in text
    assert "hushgate_test_seconds_count 4.0" in text
    assert "hushgate_test_seconds_sum 7.061" in text


def test_what_is_counted_by_provider_begins_at_nought() -> None:
    announce_owner("nobody", "none")
    found = [
        REGISTRY.get_sample_value("hushgate_calls_ended_total", {"provider": "nobody", "reason": reason})
        for reason in EndReason
    ]
    assert found == [0] * len(EndReason)
    turns = {"provider": "nobody", "model": "none"}
    assert REGISTRY.get_sample_value("hushgate_turn_response_latency_seconds_count", turns) == 0
