"""Spans as data, and the context that joins them across processes."""

import pytest

from services.runtime import tracing
from services.runtime.tracing import MAX_EVENTS, NOTHING, Context, Live, Tracer, parse, stage
from tests.spans import Kept

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADER = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_a_context_survives_its_header() -> None:
    context = parse(HEADER)
    assert context is not None
    assert context.header() == HEADER
    assert parse(Context(1, 2, sampled=False).header()) == Context(1, 2, sampled=False)


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


def test_two_processes_give_a_place_the_same_id_without_a_word() -> None:
    here, there = Context(7, 1), Context(7, 2)
    assert here.named("turn/40") == there.named("turn/40")
    assert here.named("turn/40") != here.named("turn/41")
    assert here.named("turn/40") != Context(8, 1).named("turn/40")


def test_the_stages_of_a_task_nest() -> None:
    kept = Kept()
    with Tracer(kept).begin("set_up", kind="server").whole() as whole:
        whole.note(call_id="rtc_1", attempt=2)
        with stage("placement").whole(), stage("offer", kind="client").whole():
            pass
    offer, placement, root = kept.spans
    assert [span.name for span in kept.spans] == ["offer", "placement", "set_up"]
    assert (offer.parent, placement.parent, root.parent) == (placement.context, root.context, None)
    assert len({span.context.trace_id for span in kept.spans}) == 1
    assert root.attributes == {"hushgate.call_id": "rtc_1", "hushgate.attempt": 2}
    assert root.start_ns <= placement.start_ns <= offer.start_ns <= offer.end_ns <= placement.end_ns <= root.end_ns


def test_a_failure_is_told_by_its_name_and_never_by_its_words() -> None:
    kept = Kept()
    with pytest.raises(ValueError, match="ek_secret"), Tracer(kept).begin("token").whole():
        raise ValueError("ek_secret")
    assert kept.one("token").error == "ValueError"
    assert "ek_secret" not in repr(kept.spans)


def test_a_request_carries_its_place_and_the_answer_goes_on_there() -> None:
    asking, answering = Kept(), Kept()
    with Tracer(asking).begin("offer").whole():
        headers = tracing.outgoing()
    with tracing.asked_by(headers).current():
        Tracer(answering).begin("call").end()
    call = answering.one("call")
    assert call.parent == asking.one("offer").context
    assert call.context.trace_id == asking.one("offer").context.trace_id


def test_a_process_that_does_not_trace_hands_the_context_on() -> None:
    with tracing.asked_by({"traceparent": HEADER}).current(), Tracer().begin("call").whole() as call:
        call.note(call_id="rtc_1")
        with stage("claim").whole():
            assert tracing.outgoing() == {"traceparent": HEADER}
    assert not call.recording


def test_nothing_is_handed_on_where_nothing_came() -> None:
    with Tracer().begin("call").whole():
        assert tracing.outgoing() is None


def test_who_is_asked_follows_the_decision_of_who_asks() -> None:
    kept = Kept()
    with Tracer(kept, ratio=0).begin("set_up").whole() as dropped:
        headers = tracing.outgoing()
    with tracing.asked_by(headers).current():
        Tracer(kept, ratio=1).begin("call").end()
    with tracing.asked_by({"traceparent": HEADER}).current():
        Tracer(kept, ratio=0).begin("session").end()
    assert not dropped.recording
    assert [span.name for span in kept.spans] == ["session"]


def test_a_ratio_keeps_about_its_share() -> None:
    kept = Kept()
    for _ in range(1000):
        Tracer(kept, ratio=0.5).begin("set_up").end()
    assert 350 < len(kept.spans) < 650  # more than nine standard deviations


def test_a_span_ends_once_and_takes_no_children_afterwards() -> None:
    kept = Kept()
    span = Tracer(kept).begin("call")
    span.end(error="internal")
    span.end()
    span.begin("turn").end()
    assert [(kept.name, kept.error) for kept in kept.spans] == [("call", "internal")]


def test_a_clock_that_was_set_back_makes_no_span_that_ends_before_it_begins() -> None:
    kept = Kept()
    Tracer(kept).begin("call", start_ns=2_000).end(at_ns=1_000)
    assert (kept.spans[0].start_ns, kept.spans[0].end_ns) == (2_000, 2_000)


def test_a_long_call_keeps_its_first_events_and_counts_the_rest() -> None:
    kept = Kept()
    span = Tracer(kept).begin("call")
    for number in range(1, MAX_EVENTS + 4):
        span.event("barge_in", at_ns=number, stop_ms=number)
    span.end()
    assert [event.at_ns for event in kept.spans[0].events] == list(range(1, MAX_EVENTS + 1))
    assert kept.spans[0].attributes == {"hushgate.events_left_out": 3}


def test_what_is_not_recorded_keeps_nothing() -> None:
    NOTHING.note(call_id="rtc_1")
    NOTHING.event("barge_in")
    assert vars(NOTHING) == vars(Live(None, None))
