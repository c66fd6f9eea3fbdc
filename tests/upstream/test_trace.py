"""A worker's spans in a call's trace."""

from typing import Final

from pydantic import JsonValue

from services.contracts.endings import EndReason
from services.contracts.ids import CallId, ProcessId, SessionId, TenantId, WorkerId
from services.contracts.messages import ClaimRefused
from services.runtime.bus.client import Bus
from services.runtime.telemetry.tracing import Tracer, turn_name
from services.upstream.claimed_call import ClaimedCall
from services.upstream.core.commands import ObserveStage
from services.upstream.core.json_shape import Json
from services.upstream.trace import SessionTrace
from tests.spans import RecordedSpans
from tests.upstream.provider import ScriptedProvider
from tests.upstream.running_worker import OTHER, running_worker

FACTS = ClaimedCall(
    CallId("rtc_" + "a" * 26),
    SessionId("sess_1"),
    TenantId("acme"),
    ProcessId("media-0"),
    WorkerId("upstream-0"),
    "rehearsal",
    "m",
)
CREATED: Final = "provider_created"
AUDIO: Final = "provider_first_audio"


def traced(kept: RecordedSpans) -> SessionTrace:
    return SessionTrace(Tracer(kept).start_span("session"))


def created(trace: SessionTrace, name: str = "resp_1") -> None:
    trace.on_server_event({"type": "response.created", "response": {"id": name}})


def done(trace: SessionTrace, name: str = "resp_1", status: str = "completed") -> None:
    trace.on_server_event({"type": "response.done", "response": {"id": name, "status": status}})


def called(trace: SessionTrace, call: str = "call_1", status: str = "completed") -> None:
    item: Json = {"type": "function_call", "call_id": call, "name": "weather", "status": status, "arguments": "{}"}
    trace.on_server_event({"type": "response.output_item.done", "response_id": "resp_1", "item": item})


def answered(trace: SessionTrace, call: str = "call_1") -> None:
    item: Json = {"type": "function_call_output", "call_id": call, "output": "rain"}
    trace.on_client_event({"type": "conversation.item.create", "item": item}, now=20.0)


def test_a_response_belongs_to_the_turn_that_asked_for_it() -> None:
    kept = RecordedSpans()
    trace = traced(kept)
    trace.utterance_ended(40, now=10.0)
    created(trace)
    trace.on_stage(ObserveStage(CREATED, 0.1), now=10.1)
    trace.utterance_ended(90, now=10.2)  # the caller continued
    trace.on_stage(ObserveStage(AUDIO, 0.3), now=10.3)
    done(trace)
    response, first = kept.one("response"), kept.one("first_audio")
    assert response.parent == response.context.derived(turn_name(40))
    assert first.parent == response.context
    assert [event.name for event in response.events] == ["commit", "created"]
    assert round((first.end_ns - first.start_ns) / 1e6) == 300
    assert kept.attribute_values("response", "outcome") == ["completed"]


def test_a_response_that_the_client_asks_for_begins_with_its_wish() -> None:
    kept = RecordedSpans()
    trace = traced(kept)
    trace.on_client_event({"type": "response.create"}, now=10.0)
    created(trace)
    done(trace, status="failed")
    trace.ended(FACTS, EndReason.HANGUP)
    response, session = kept.one("response"), kept.one("session")
    assert (response.parent, response.error) == (session.context, "response_failed")
    assert response.start_ns < session.start_ns  # the parameter is of second 10, the span of now


def test_a_function_call_ends_with_its_output_and_no_other() -> None:
    kept = RecordedSpans()
    trace = traced(kept)
    created(trace)
    called(trace)
    answered(trace, "call_other")
    assert kept.all("tool") == []
    answered(trace)
    answered(trace)
    done(trace)
    assert (kept.attribute_values("tool", "outcome"), kept.attribute_values("tool", "tool")) == (
        ["answered"],
        ["weather"],
    )
    assert kept.one("tool").parent == kept.one("response").context


def test_a_function_call_that_was_broken_off_is_none() -> None:
    kept = RecordedSpans()
    trace = traced(kept)
    called(trace, status="incomplete")
    trace.ended(FACTS, EndReason.HANGUP)
    assert kept.all("tool") == []


def test_what_is_open_at_the_end_ends_with_the_call() -> None:
    kept = RecordedSpans()
    trace = traced(kept)
    trace.started()
    created(trace)
    called(trace)
    trace.ended(FACTS, EndReason.PROVIDER_ERROR)
    assert [kept.attribute_values(name, "outcome") for name in ("tool", "response")] == [["call_ended"]] * 2
    assert [kept.one(name).error for name in ("provider_connect", "session")] == ["provider_error"] * 2
    assert kept.attribute_values("session", "reason") == ["provider_error"]


def test_a_provider_whose_responses_never_end_does_not_fill_the_memory() -> None:
    kept = RecordedSpans()
    trace = traced(kept)
    for number in range(100):
        created(trace, f"resp_{number}")
        called(trace, f"call_{number}")
    assert {len(kept.all(name)) for name in ("response", "tool")} == {36}  # all but 64
    assert {span.error for span in kept.spans} == {"left_open"}


def test_what_a_client_sends_instead_of_events_is_passed_over() -> None:
    trace = traced(RecordedSpans())
    strange: list[JsonValue] = [None, [], "response.create", {"type": "conversation.item.create", "item": 7}]
    for event in strange:
        trace.on_client_event(event, now=10.0)


async def test_a_worker_traces_its_session_from_the_claim_on(bus: Bus) -> None:
    kept = RecordedSpans()
    async with running_worker(bus, ScriptedProvider(answer_ms=400), tracer=Tracer(kept)) as h:
        media = await h.call()
        await media.utter(400)
        await media.event("response.done")
        assert isinstance(await h.claim(OTHER, {"deadline_unix_ms": 0}), ClaimRefused)
    assert kept.attribute_values("session", "reason") == ["drained"]
    assert {kept.one(name).parent for name in ("lease", "provider_connect")} == {kept.one("session").context}
    assert [event.name for event in kept.one("session").events] == ["session_in_force"]
    response = kept.one("response")
    assert response.parent == response.context.derived(turn_name(media.index))
