"""One call's trace as a tree, as shown in docs/tracing.md. `make trace-example` prints it again."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from services.callers.caller import Caller
from services.callers.speech import synthesise
from tests.collector import ReceivedSpan, running_collector
from tests.system.gateway import Up, running_up

TIMEOUT_S = 30.0
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SHOWN = ("outcome", "reason", "process", "worker", "tool", "subject")


async def call(up: Up) -> None:
    """A question, an interrupted answer, a function call."""
    async with Caller.call(up.url, up.tenant_key, session={"type": "realtime", "tools": [TOOL]}) as caller:
        asked = await caller.speak(await synthesise("tell me a long story"))
        await caller.audio_sink.first_sound(since_s=asked.ended_s, timeout_s=TIMEOUT_S)
        await caller.speak(await synthesise("what time is it"))
        await caller.next_event("output_audio_buffer.stopped", timeout_s=TIMEOUT_S)
        text = {"type": "input_text", "text": "What is the weather in Oslo?"}
        write(caller, {"type": "message", "role": "user", "content": [text]})
        called = await caller.next_event("response.function_call_arguments.done", timeout_s=TIMEOUT_S)
        output = json.dumps({"weather": "rain"})
        write(caller, {"type": "function_call_output", "call_id": called.event["call_id"], "output": output})
        await caller.next_event("output_audio_buffer.stopped", timeout_s=TIMEOUT_S)
        await caller.hang_up()


def write(caller: Caller, item: dict[str, Any]) -> None:
    """Send an item and ask for a response."""
    caller.send_event({"type": "conversation.item.create", "item": item})
    caller.send_event({"type": "response.create"})


def is_whole(spans: Sequence[ReceivedSpan]) -> bool:
    """Wait until the call's end is in the ledger, and every span has its parent."""
    ids = {span.id for span in spans}
    names = [span.name for span in spans]
    return (
        names.count("record") == 2
        and {"set_up", "session"} <= set(names)
        and all(span.parent in ids for span in spans if span.parent)
    )


def tree(spans: Sequence[ReceivedSpan], parent: str = "", depth: int = 0) -> Iterator[tuple[str, ReceivedSpan]]:
    """The spans, each below its parent, in the order of their start."""
    for span in sorted((span for span in spans if span.parent == parent), key=lambda span: span.start_ns):
        yield "  " * depth + span.name, span
        yield from tree(spans, span.id, depth + 1)


def lines(spans: Sequence[ReceivedSpan]) -> Iterator[str]:
    """Format the tree: start and length in ms, process, attributes."""
    began = min(span.start_ns for span in spans)
    for name, span in tree(spans):
        noted = " ".join(
            str(span.attributes[key]) for shown in SHOWN if (key := f"hushgate.{shown}") in span.attributes
        )
        moments = " ".join(f"· {event.name}" for event in span.events)
        by = span.service.removeprefix("hushgate-")
        at_ms = (span.start_ns - began) / 1e6
        yield f"{name:<26}{at_ms:>8.0f}{span.ms:>8.0f}  {by:<10} {noted} {moments}".rstrip()


def main() -> None:
    """Print the tree."""
    with tempfile.TemporaryDirectory() as home, running_collector() as collector:
        with running_up(Path(home) / "data", "--otlp-endpoint", collector.url) as up:
            asyncio.run(call(up))
            spans = collector.wait(is_whole)
        sys.stdout.write("span                         at ms    lasts  service    outcome, events\n")
        sys.stdout.write("\n".join(lines(spans)) + "\n")


if __name__ == "__main__":
    main()
