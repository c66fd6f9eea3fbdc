from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.runtime.telemetry.exposition import merge


def exposition(calls: int, reason: str) -> str:
    registry = CollectorRegistry()
    Gauge("calls", "Calls {now}.", registry=registry).set(calls)
    Counter("ended", "Ended.", ["reason"], registry=registry).labels(reason).inc()
    Histogram("late", "Late.", buckets=(1, 2), registry=registry).observe(1.5)
    return generate_latest(registry).decode()


def test_each_sample_names_its_process_and_a_family_stays_together() -> None:
    merged = merge({"0": exposition(1, "hangup"), "1": exposition(2, 'a "quoted" {reason}')})
    families = {family.name: family for family in text_string_to_metric_families(merged)}
    assert [(sample.labels, sample.value) for sample in families["calls"].samples] == [
        ({"process": "0"}, 1.0),
        ({"process": "1"}, 2.0),
    ]
    assert [sample.labels["reason"] for sample in families["ended"].samples if sample.name == "ended_total"] == [
        "hangup",
        'a "quoted" {reason}',
    ]
    assert merged.count("# TYPE late histogram") == 1
    assert {sample.labels["process"] for sample in families["late"].samples} == {"0", "1"}


def test_samples_without_a_head_and_empty_lines_do_no_harm() -> None:
    assert merge({"0": "\nup 1\n", "1": "up 0\n"}) == 'up{process="0"} 1\nup{process="1"} 0\n'


def test_nothing_makes_nothing() -> None:
    assert not merge({})
