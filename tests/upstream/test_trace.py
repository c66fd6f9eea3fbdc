"""What a worker puts into a call's trace."""

from typing import Final

from pydantic import JsonValue

from services.contracts.endings import EndReason
from services.contracts.ids import CallId, ProcessId, SessionId, TenantId, WorkerId
from services.contracts.messages import ClaimRefused
from services.runtime.bus import Bus
from services.runtime.tracing import Tracer, turn_name
from services.upstream.core.commands import ObserveStage
from services.upstream.core.shape import Json
from services.upstream.facts import CallFacts
from services.upstream.trace import CallTrace
from tests.spans import Kept
from tests.upstream.house import OTHER, house
from tests.upstream.provider import Provider

FACTS = CallFacts(
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


def traced(kept: Kept) -> CallTrace:
    return CallTrace(Tracer(kept).begin("session"))


def created(trace: CallTrace, name: str = "resp_1") -> None:
    trace.shown({"type": "response.created", "response": {"id": name}})


def done(trace: CallTrace, name: str = "resp_1", status: str = "completed") -> None:
    trace.shown({"type": "response.done", "response": {"id": name, "status": status}})


def called(trace: CallTrace, call: str = "call_1", status: str = "completed") -> None:
    item: Json = {"type": "function_call", "call_id": call, "name": "weather", "status": status, "arguments": "{}"}
    trace.shown({"type": "response.output_item.done", "response_id": "resp_1", "item": item})


def answered(trace: CallTrace, call: str = "call_1") -> None:
    item: Json = {"type": "function_call_output", "call_id": call, "output": "rain"}
    trace.client_said({"type": "conversation.item.create", "item": item}, now=20.0)


def test_a_response_belongs_to_the_turn_that_asked_for_it() -> None:
    kept = Kept()
    trace = traced(kept)
    trace.utterance_ended(40, now=10.0)
    created(trace)
    trace.stage(ObserveStage(CREATED, 0.1), now=10.1)
    trace.utterance_ended(90, now=10.2)  # the caller spoke on
    trace.stage(ObserveStage(AUDIO, 0.3), now=10.3)
    done(trace)
    response, first = kept.one("response"), kept.one("first_audio")
    assert response.parent == response.context.named(turn_name(40))
    assert first.parent == response.context
    assert [event.name for event in response.events] == ["commit", "created"]
    assert round((first.end_ns - first.start_ns) / 1e6) == 300
    assert kept.noted("response", "outcome") == ["completed"]


def test_a_response_that_the_client_asks_for_begins_with_its_wish() -> None:
    kept = Kept()
    trace = traced(kept)
    trace.client_said({"type": "response.create"}, now=10.0)
    created(trace)
    done(trace, status="failed")
    trace.ended(FACTS, EndReason.HANGUP)
    response, session = kept.one("response"), kept.one("session")
    assert (response.parent, response.error) == (session.context, "response_failed")
    assert response.start_ns < session.start_ns  # the wish is of second 10, the span of now


def test_a_function_call_ends_with_its_output_and_no_other() -> None:
    kept = Kept()
    trace = traced(kept)
    created(trace)
    called(trace)
    answered(trace, "call_other")
    assert kept.all("tool") == []
    answered(trace)
    answered(trace)
    done(trace)
    assert (kept.noted("tool", "outcome"), kept.noted("tool", "tool")) == (["answered"], ["weather"])
    assert kept.one("tool").parent == kept.one("response").context


def test_a_function_call_that_was_broken_off_is_none() -> None:
    kept = Kept()
    trace = traced(kept)
    called(trace, status="incomplete")
    trace.ended(FACTS, EndReason.HANGUP)
    assert kept.all("tool") == []


def test_what_is_open_at_the_end_ends_with_the_call() -> None:
    kept = Kept()
    trace = traced(kept)
    trace.started()
    created(trace)
    called(trace)
    trace.ended(FACTS, EndReason.PROVIDER_ERROR)
    assert [kept.noted(name, "outcome") for name in ("tool", "response")] == [["call_ended"]] * 2
    assert [kept.one(name).error for name in ("provider_connect", "session")] == ["provider_error"] * 2
    assert kept.noted("session", "reason") == ["provider_error"]


def test_a_provider_whose_responses_never_end_does_not_fill_the_memory() -> None:
    kept = Kept()
    trace = traced(kept)
    for number in range(100):
        created(trace, f"resp_{number}")
        called(trace, f"call_{number}")
    assert {len(kept.all(name)) for name in ("response", "tool")} == {36}  # all but 64
    assert {span.error for span in kept.spans} == {"left_open"}


def test_what_a_client_sends_instead_of_events_is_passed_over() -> None:
    trace = traced(Kept())
    strange: list[JsonValue] = [None, [], "response.create", {"type": "conversation.item.create", "item": 7}]
    for event in strange:
        trace.client_said(event, now=10.0)


async def test_a_worker_traces_its_session_from_the_claim_on(bus: Bus) -> None:
    kept = Kept()
    async with house(bus, Provider(answer_ms=400), tracer=Tracer(kept)) as h:
        media = await h.call()
        await media.utter(400)
        await media.event("response.done")
        assert isinstance(await h.ask(OTHER, {"providers": ("nobody",)}), ClaimRefused)
    assert kept.noted("session", "reason") == ["drained"]
    assert {kept.one(name).parent for name in ("lease", "provider_connect")} == {kept.one("session").context}
    response = kept.one("response")
    assert response.parent == response.context.named(turn_name(media.index))
