"""The exporter against a real collector, and against collectors that fail."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.runtime.telemetry import otlp
from services.runtime.telemetry.otlp import MAX_WAITING, Exporter, open_exporter
from services.runtime.telemetry.tracing import Tracer
from tests.collector import Collector, running_collector

RESOURCE = {"service.name": "hushgate-media", "service.version": "1.2", "service.instance.id": "media-0"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@contextmanager
def exporting(url: str, **headers: str) -> Iterator[Exporter]:
    exporter = open_exporter(url, headers=headers, resource=RESOURCE)
    try:
        yield exporter
    finally:
        exporter.close()


def outcome(name: str) -> float:
    return REGISTRY.get_sample_value("hushgate_trace_spans_total", {"outcome": name}) or 0.0


def test_a_span_arrives_as_it_was(collector: Collector) -> None:
    before = outcome("exported")
    with exporting(collector.url) as exporter:
        call = Tracer(exporter).start_span("call", kind="server", start_ns=1_000)
        call.set_attributes(call_id="rtc_1", turns=2, share=0.5, gated=True)
        call.add_event("barge_in", at_ns=1_500, stop_ms=120)
        child = call.start_span("turn", start_ns=1_200)
        child.end(at_ns=1_400)
        call.end(at_ns=2_000, error="internal")
    turn, got = collector.spans
    assert collector.resources == [RESOURCE]
    assert (got.name, got.kind, got.start_ns, got.end_ns, got.failed, got.parent) == ("call", 2, 1_000, 2_000, True, "")
    assert got.attributes == {
        "hushgate.call_id": "rtc_1",
        "hushgate.turns": 2,
        "hushgate.share": 0.5,
        "hushgate.gated": True,
        "error.type": "internal",
    }
    assert [(e.name, e.at_ns, e.attributes) for e in got.events] == [("barge_in", 1_500, {"hushgate.stop_ms": 120})]
    assert (turn.name, turn.parent, turn.trace, turn.failed) == ("turn", got.id, got.trace, False)
    assert call.context is not None
    assert got.trace == f"{call.context.trace_id:032x}"
    assert outcome("exported") - before == 2


def test_a_span_does_not_wait_for_the_end_of_the_process(collector: Collector) -> None:
    with exporting(collector.url) as exporter:
        Tracer(exporter).start_span("turn").end()
        assert collector.wait(lambda spans: len(spans) == 1)[0].name == "turn"


def test_exported_spans_name_the_service(collector: Collector) -> None:
    with exporting(collector.url + "/", authorization="Bearer abc") as exporter:
        Tracer(exporter).start_span("turn").end()
    assert collector.headers[0]["authorization"] == "Bearer abc"


def test_a_refusing_collector_is_logged_once_until_it_recovers(collector: Collector) -> None:
    collector.status = HTTPStatus.FORBIDDEN
    before = outcome("failed")
    with capture_logs() as logs, exporting(collector.url) as exporter:
        Tracer(exporter).start_span("turn").end()
        collector.wait(lambda _: len(collector.bodies) == 1)
        Tracer(exporter).start_span("turn").end()
        collector.wait(lambda _: len(collector.bodies) == 2)
        collector.status = HTTPStatus.OK
        Tracer(exporter).start_span("turn").end()
        collector.wait(lambda spans: len(spans) == 1)
    assert outcome("failed") - before == 2
    assert [log["event"] for log in logs] == ["traces_not_exported", "traces_exported_again"]
    assert "403" in logs[0]["error"]


def test_a_hanging_collector_delays_nothing(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "FLUSH_S", 0.05)
    collector.holds = threading.Event()
    before = outcome("dropped")
    with exporting(collector.url) as exporter:
        tracer = Tracer(exporter)
        for _ in range(MAX_WAITING + otlp.MAX_BATCH + 10):  # one batch may be on its way
            tracer.start_span("turn").end()
        assert outcome("dropped") - before >= 10
    assert outcome("dropped") - before >= MAX_WAITING  # the end of the process did not wait for them


def test_a_span_after_the_end_is_dropped_and_counted(collector: Collector) -> None:
    with exporting(collector.url) as exporter:
        pass
    before = outcome("dropped")
    Tracer(exporter).start_span("turn").end()
    assert outcome("dropped") - before == 1
    assert collector.spans == []


def test_a_process_that_does_not_trace_does_not_load_the_exporter() -> None:
    # In a process of its own, since the tests have loaded it. FastAPI loads OpenTelemetry's interface, which is small.
    code = (
        "import sys, services.media.app, services.upstream.app, services.signaling.app, services.metering.app;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout.strip() == "[]"
