"""Spans as data, and the context that joins them across processes."""

import pytest

from services.runtime.telemetry import tracing
from services.runtime.telemetry.tracing import MAX_EVENTS, NOTHING, LiveSpan, TraceContext, Tracer, parse, start_child
from tests.spans import RecordedSpans

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADER = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_a_context_survives_its_header() -> None:
    context = parse(HEADER)
    assert context is not None
    assert context.header() == HEADER
    assert parse(TraceContext(1, 2, sampled=False).header()) == TraceContext(1, 2, sampled=False)


def test_a_header_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert parse(f"cc-{TRACE}-00f067aa0ba902b7-03-what-comes") == parse(HEADER)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        HEADER.upper(),
        HEADER + "\n",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-00f067aa0ba902b7",
    ],
)
def test_a_malformed_header_is_none(header: str | None) -> None:
    assert parse(header) is None


def test_two_processes_derive_the_same_span_id() -> None:
    here, there = TraceContext(7, 1), TraceContext(7, 2)
    assert here.derived("turn/40") == there.derived("turn/40")
    assert here.derived("turn/40") != here.derived("turn/41")
    assert here.derived("turn/40") != TraceContext(8, 1).derived("turn/40")


def test_the_stages_of_a_task_nest() -> None:
    kept = RecordedSpans()
    with Tracer(kept).start_span("set_up", kind="server").closing() as whole:
        whole.set_attributes(call_id="rtc_1", attempt=2)
        with start_child("placement").closing(), start_child("offer", kind="client").closing():
            pass
    offer, placement, root = kept.spans
    assert [span.name for span in kept.spans] == ["offer", "placement", "set_up"]
    assert (offer.parent, placement.parent, root.parent) == (placement.context, root.context, None)
    assert len({span.context.trace_id for span in kept.spans}) == 1
    assert root.attributes == {"hushgate.call_id": "rtc_1", "hushgate.attempt": 2}
    assert root.start_ns <= placement.start_ns <= offer.start_ns <= offer.end_ns <= placement.end_ns <= root.end_ns


def test_a_failure_is_recorded_by_name_and_never_by_message() -> None:
    kept = RecordedSpans()
    with pytest.raises(ValueError, match="ek_secret"), Tracer(kept).start_span("token").closing():
        raise ValueError("ek_secret")
    assert kept.one("token").error == "ValueError"
    assert "ek_secret" not in repr(kept.spans)


def test_a_request_carries_its_context_and_the_handler_continues_it() -> None:
    asking, answering = RecordedSpans(), RecordedSpans()
    with Tracer(asking).start_span("offer").closing():
        headers = tracing.outgoing_headers()
    with tracing.remote_parent(headers).current():
        Tracer(answering).start_span("call").end()
    call = answering.one("call")
    assert call.parent == asking.one("offer").context
    assert call.context.trace_id == asking.one("offer").context.trace_id


def test_a_process_without_tracing_propagates_the_context() -> None:
    with tracing.remote_parent({"traceparent": HEADER}).current(), Tracer().start_span("call").closing() as call:
        call.set_attributes(call_id="rtc_1")
        with start_child("claim").closing():
            assert tracing.outgoing_headers() == {"traceparent": HEADER}
    assert not call.recording


def test_without_a_context_none_is_propagated() -> None:
    with Tracer().start_span("call").closing():
        assert tracing.outgoing_headers() is None


def test_the_receiver_follows_the_senders_sampling_decision() -> None:
    kept = RecordedSpans()
    with Tracer(kept, ratio=0).start_span("set_up").closing() as dropped:
        headers = tracing.outgoing_headers()
    with tracing.remote_parent(headers).current():
        Tracer(kept, ratio=1).start_span("call").end()
    with tracing.remote_parent({"traceparent": HEADER}).current():
        Tracer(kept, ratio=0).start_span("session").end()
    assert not dropped.recording
    assert [span.name for span in kept.spans] == ["session"]


def test_a_ratio_keeps_about_its_share() -> None:
    kept = RecordedSpans()
    for _ in range(1000):
        Tracer(kept, ratio=0.5).start_span("set_up").end()
    assert 350 < len(kept.spans) < 650  # more than nine standard deviations


def test_a_span_ends_once_and_takes_no_children_afterwards() -> None:
    kept = RecordedSpans()
    span = Tracer(kept).start_span("call")
    span.end(error="internal")
    span.end()
    span.start_span("turn").end()
    assert [(kept.name, kept.error) for kept in kept.spans] == [("call", "internal")]


def test_a_clock_that_was_set_back_makes_no_span_that_ends_before_it_begins() -> None:
    kept = RecordedSpans()
    Tracer(kept).start_span("call", start_ns=2_000).end(at_ns=1_000)
    assert (kept.spans[0].start_ns, kept.spans[0].end_ns) == (2_000, 2_000)


def test_a_long_call_keeps_its_first_events_and_counts_the_rest() -> None:
    kept = RecordedSpans()
    span = Tracer(kept).start_span("call")
    for number in range(1, MAX_EVENTS + 4):
        span.add_event("barge_in", at_ns=number, stop_ms=number)
    span.end()
    assert [event.at_ns for event in kept.spans[0].events] == list(range(1, MAX_EVENTS + 1))
    assert kept.spans[0].attributes == {"hushgate.events_left_out": 3}


def test_what_is_not_recorded_keeps_nothing() -> None:
    NOTHING.set_attributes(call_id="rtc_1")
    NOTHING.add_event("barge_in")
    assert vars(NOTHING) == vars(LiveSpan(None, None))
