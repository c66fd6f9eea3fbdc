"""One trace per call, received by a real collector from a real gateway."""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.callers.caller import Caller
from services.callers.speech import synthesise
from tests.collector import Collector, ReceivedSpan, running_collector
from tests.system.gateway import ECHO_VOICE, Up, running_up, wait_until

TIMEOUT_S = 20.0
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SESSION = {"type": "realtime", "tools": [TOOL]}


@dataclass
class Trace:
    """The spans of one trace, found by name."""

    spans: Sequence[ReceivedSpan]

    def all(self, name: str) -> list[ReceivedSpan]:
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start_ns)

    def one(self, name: str) -> ReceivedSpan:
        (span,) = self.all(name)
        return span

    def parent(self, span: ReceivedSpan) -> ReceivedSpan:
        (parent,) = (other for other in self.spans if other.id == span.parent)
        return parent

    def path(self, span: ReceivedSpan) -> list[str]:
        """The names from the root to ``span``."""
        return [*(self.path(self.parent(span)) if span.parent else []), span.name]


@dataclass
class Traced:
    """A gateway that sends its traces here."""

    up: Up
    collector: Collector

    def of(self, call: str) -> Trace:
        """Return the complete trace of a call that has ended."""

        def mine(spans: Sequence[ReceivedSpan]) -> list[ReceivedSpan]:
            traces = {span.trace for span in spans if span.attributes.get("hushgate.call_id") == call}
            return [span for span in spans if span.trace in traces]

        def is_whole(spans: Sequence[ReceivedSpan]) -> bool:
            names = [span.name for span in mine(spans)]
            return {"set_up", "call", "session"} <= set(names) and names.count("record") == 2  # it began, it ended

        return Trace(mine(self.collector.wait(is_whole)))


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    data = tmp_path_factory.mktemp("traced") / "data"
    with running_collector() as collector, running_up(data, "--otlp-endpoint", collector.url) as up:
        yield Traced(up, collector)


async def answered(caller: Caller, text: str) -> None:
    await caller.speak(await synthesise(text))
    await caller.next_event("output_audio_buffer.stopped", timeout_s=TIMEOUT_S)


def write(caller: Caller, item: dict[str, Any]) -> None:
    caller.send_event({"type": "conversation.item.create", "item": item})
    caller.send_event({"type": "response.create"})


async def call_weather(caller: Caller) -> str:
    """Ask a question that needs a function call, and send its output; return the id of the function call."""
    question = {"type": "input_text", "text": "What is the weather in Oslo?"}
    write(caller, {"type": "message", "role": "user", "content": [question]})
    called = await caller.next_event("response.function_call_arguments.done", timeout_s=TIMEOUT_S)
    output = json.dumps({"weather": "rain, says SECRET-OUTPUT"})
    write(caller, {"type": "function_call_output", "call_id": called.event["call_id"], "output": output})
    await caller.next_event("output_audio_buffer.stopped", timeout_s=TIMEOUT_S)
    return str(called.event["call_id"])


def lost_spans(up: Up, service: str) -> float:
    """Return how many spans of a process the collector did not accept."""
    metrics = httpx.get(f"{up.service(service)}/metrics").text
    found = re.search(r'^hushgate_trace_spans_total\{outcome="failed"\} (\S+)$', metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_a_call_is_one_trace_from_its_token_to_the_ledger(traced: Traced) -> None:
    async with Caller.call(traced.up.url, traced.up.tenant_key) as caller:
        await answered(caller, "count to five")
        await caller.hang_up()
    trace = await asyncio.to_thread(traced.of, caller.call_id)
    assert len({span.trace for span in trace.spans}) == 1
    assert [span.name for span in trace.spans if not span.parent] == ["set_up"]
    assert not [span.name for span in trace.spans if span.failed]
    for name, path, service in (
        ("token", "set_up", "signaling"),
        ("sdp", "set_up", "signaling"),
        ("redeem", "set_up", "signaling"),
        ("offer", "set_up placement", "signaling"),
        ("call", "set_up placement offer", "media"),
        ("answer", "set_up placement offer call", "media"),
        ("claim", "set_up placement offer call", "media"),
        ("connect", "set_up placement offer call", "media"),
        ("session", "set_up placement offer call claim", "upstream"),
        ("lease", "set_up placement offer call claim session", "upstream"),
        ("provider_connect", "set_up placement offer call claim session", "upstream"),
        ("turn", "set_up placement offer call", "media"),
        ("hangover", "set_up placement offer call turn", "media"),
        ("response", "set_up placement offer call turn", "upstream"),
        ("first_audio", "set_up placement offer call turn response", "upstream"),
    ):
        span = trace.one(name)
        assert (trace.path(span), span.service) == ([*path.split(), name], f"hushgate-{service}")
    assert [trace.path(span)[-2:] for span in trace.all("record")] == [["call", "record"]] * 2
    call = trace.one("call").attributes
    assert (call["hushgate.call_id"], call["hushgate.reason"], call["hushgate.turns"]) == (caller.call_id, "hangup", 1)
    assert call["hushgate.tenant_id"] == trace.one("set_up").attributes["hushgate.tenant_id"]


async def test_the_stages_of_a_turn_follow_each_other_from_the_end_of_speech_to_the_first_packet(
    traced: Traced,
) -> None:
    async with Caller.call(traced.up.url, traced.up.tenant_key, events=("gate",)) as caller:
        await answered(caller, "hello")
        events = [event.event for event in caller.events.of("hushgate.gate")]
        await caller.hang_up()
    trace = await asyncio.to_thread(traced.of, caller.call_id)
    turn, hangover, response = trace.one("turn"), trace.one("hangover"), trace.one("response")
    moments = {moment.name: moment.at_ns for moment in response.events}
    assert turn.start_ns == hangover.start_ns
    assert hangover.end_ns <= moments["commit"] + 1_000_000  # two processes' clocks are read to a millisecond
    assert moments["commit"] == response.start_ns == trace.one("first_audio").start_ns
    assert moments["commit"] <= moments["created"] <= trace.one("first_audio").end_ns <= turn.end_ns
    (latency_ms,) = [event["latency_ms"] for event in events if event["state"] == "answered"]
    assert turn.ms == pytest.approx(latency_ms, abs=5)


async def test_a_barge_in_is_in_the_trace(traced: Traced) -> None:
    async with Caller.call(traced.up.url, traced.up.tenant_key) as caller:
        asked = await caller.speak(await synthesise("tell me a long story"))
        await caller.audio_sink.first_sound(since_s=asked.ended_s, timeout_s=TIMEOUT_S)
        await answered(caller, "what time is it")
        await caller.hang_up()
    trace = await asyncio.to_thread(traced.of, caller.call_id)
    (moment,) = (event for event in trace.one("call").events if event.name == "barge_in")
    stopped = trace.one("barge_in")
    assert (trace.path(stopped)[-2], stopped.start_ns) == ("call", moment.at_ns)
    assert stopped.ms == pytest.approx(float(str(moment.attributes["hushgate.stop_ms"])), abs=2)
    outcomes = [response.attributes["hushgate.outcome"] for response in trace.all("response")]
    assert sorted(map(str, outcomes)) == ["cancelled", "completed"]


async def test_a_function_call_lasts_from_the_providers_call_to_the_clients_output(traced: Traced) -> None:
    async with Caller.call(traced.up.url, traced.up.tenant_key, session=SESSION) as caller:
        await call_weather(caller)
        await caller.hang_up()
    trace = await asyncio.to_thread(traced.of, caller.call_id)
    tool = trace.one("tool")
    first, second = trace.all("response")
    assert (tool.attributes["hushgate.tool"], tool.attributes["hushgate.outcome"]) == ("get_weather", "answered")
    assert (trace.parent(tool), trace.path(first)[-2]) == (first, "session")
    assert first.start_ns <= tool.start_ns <= tool.end_ns <= second.start_ns


async def test_nothing_secret_is_in_what_the_collector_gets(traced: Traced) -> None:
    async with Caller.call(traced.up.url, traced.up.tenant_key, session=SESSION) as caller:
        await answered(caller, "hello")
        await call_weather(caller)
        events = [event.event for event in caller.events.of("response.output_audio_transcript.done")]
        await caller.hang_up()
    await asyncio.to_thread(traced.of, caller.call_id)
    sent = b"".join(traced.collector.bodies)
    assert caller.call_id.encode() in sent
    secrets = ["ek_", "hg_", "ice-", "a=", "candidate", "SECRET-OUTPUT", "Oslo", "weather in"]
    words = [str(event["transcript"]) for event in events]
    assert [secret for secret in (*secrets, *words) if secret.encode() in sent] == []


async def test_a_client_does_not_choose_its_trace(traced: Traced) -> None:
    theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"Authorization": f"Bearer {traced.up.tenant_key}", "traceparent": f"00-{theirs}-00f067aa0ba902b7-01"}
    async with httpx.AsyncClient(base_url=traced.up.url, headers=headers) as http:
        refused = await http.post("/v1/realtime/calls", content="v=0", headers={"Content-Type": "application/sdp"})
    assert refused.status_code == 422

    def refusal(spans: Sequence[ReceivedSpan]) -> list[ReceivedSpan]:
        return [span for span in spans if span.name == "set_up" and span.failed]

    spans = await asyncio.to_thread(traced.collector.wait, lambda spans: bool(refusal(spans)))
    assert theirs not in {span.trace for span in spans}
    assert refusal(spans)[0].attributes["error.type"] == "invalid_offer"


async def test_the_last_spans_of_a_gateway_that_stops_still_come(tmp_path: Path) -> None:
    with (
        running_collector() as collector,
        running_up(tmp_path / "data", "--otlp-endpoint", collector.url, environment=ECHO_VOICE) as up,
    ):
        async with Caller.call(up.url, up.tenant_key) as caller:
            await caller.next_event("session.created", timeout_s=TIMEOUT_S)
            assert await asyncio.to_thread(up.stop) == 0
        spans = [span for span in collector.spans if span.name in ("call", "session")]
        reasons = {span.service: span.attributes["hushgate.reason"] for span in spans}
    assert reasons == {"hushgate-media": "drained", "hushgate-upstream": "drained"}


async def test_calls_go_on_without_their_collector(tmp_path: Path) -> None:
    with running_collector() as collector:
        unreachable = collector.url
    with running_up(tmp_path / "data", "--otlp-endpoint", unreachable, environment=ECHO_VOICE) as up:
        async with Caller.call(up.url, up.tenant_key) as caller:
            await answered(caller, "hello")
            await caller.hang_up()
        await asyncio.to_thread(wait_until, lambda: lost_spans(up, "media-0") > 0, "the spans are given up")
        await asyncio.to_thread(wait_until, lambda: lost_spans(up, "signaling") > 0, "the spans are given up")
        assert await asyncio.to_thread(up.stop) == 0
        reported = [event["service"] for event in up.events() if event["event"] == "traces_not_exported"]
    assert {"signaling", "media-0"} <= set(reported)
    assert len(reported) == len(set(reported))  # each process logs it once
