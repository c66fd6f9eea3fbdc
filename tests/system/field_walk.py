"""Calls on which the lines of the field tables are proven, and which line each test proves."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar

import httpx
import numpy as np
import pytest

from services.callers.caller import Caller
from services.callers.events import ServerEvent
from services.callers.speech import Samples, resample, synthesise
from tests.system.gateway import Up

FieldRoot = Literal["session", "response"]
TIMEOUT_S = 30.0
TEXT = {"output_modalities": ["text"]}
MANUAL = {"turn_detection": None}
WEATHER = {"type": "function", "name": "get_weather", "description": "Get the weather."}
ORDER = {"type": "function", "name": "cancel_order", "description": "Cancel a purchase."}
PROVEN: set[str] = set()
"""The paths of the lines that a test proves."""
Test = TypeVar("Test", bound=Callable[..., object])


def proves(root: FieldRoot, *names: str) -> Callable[[Test], Test]:
    """Note that the test proves the lines ``names`` of the table of ``root``."""
    paths = {f"{root}.{name}" for name in names}
    assert not PROVEN & paths, "proven twice"
    PROVEN.update(paths)
    return lambda test: test


def proves_in_both(*names: str) -> Callable[[Test], Test]:
    """Let the test prove the lines ``names`` of both tables: its parameter ``root`` says which."""
    proves("session", *names)
    proves("response", *names)
    return pytest.mark.parametrize("root", ["session", "response"])


@asynccontextmanager
async def calling(up: Up, **session: Any) -> AsyncIterator[tuple[Caller, ServerEvent]]:  # noqa: ANN401 - any JSON
    """A call whose session has begun, and that session."""
    wanted = {"type": "realtime", **session}
    async with Caller.call(up.url, up.tenant_key, session=wanted) as caller:
        created = await event(caller, "session.created")
        yield caller, created["session"]
        await caller.hang_up()


async def event(caller: Caller, kind: str) -> ServerEvent:
    return (await caller.next_event(kind, timeout_s=TIMEOUT_S)).event


async def update(caller: Caller, **session: Any) -> ServerEvent:  # noqa: ANN401 - any JSON
    """Update the session; return it as shown."""
    caller.send_event({"type": "session.update", "session": {"type": "realtime", **session}})
    shown: ServerEvent = (await event(caller, "session.updated"))["session"]
    return shown


async def respond(caller: Caller, **response: Any) -> ServerEvent:  # noqa: ANN401 - any JSON
    """Request a response; return it when it is done."""
    caller.send_event({"type": "response.create", "response": response})
    done: ServerEvent = (await event(caller, "response.done"))["response"]
    return done


async def respond_with(caller: Caller, root: FieldRoot, fields: dict[str, Any], **response: Any) -> ServerEvent:  # noqa: ANN401
    """Set ``fields`` in the session or for one response; return a response."""
    if root == "session":
        await update(caller, **fields)
        return await respond(caller, **response)
    return await respond(caller, **response, **fields)


async def write(caller: Caller, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    caller.send_event(
        {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}
    )
    await event(caller, "conversation.item.done")


async def refused(caller: Caller, root: FieldRoot, fields: dict[str, Any], param: str) -> None:
    """Send ``fields``, which must be answered by an error that names ``param`` and the event, and by nothing else."""
    kind, body = {
        "session": ("session.update", {"type": "realtime", **fields}),
        "response": ("response.create", fields),
    }[root]
    number = len(caller.events.of("session.updated", "response.created"))
    caller.send_event({"type": kind, "event_id": f"mine_{param}", root: body})
    error = (await event(caller, "error"))["error"]
    assert (error["param"], error["event_id"]) == (param, f"mine_{param}")
    assert error["code"] in {"unknown_parameter", "invalid_value", "invalid_type", "missing_required_parameter"}, error
    assert len(error["message"]) > 20
    assert len(caller.events.of("session.updated", "response.created")) == number


async def mint(up: Up, session: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    async with httpx.AsyncClient(base_url=up.url, headers={"Authorization": f"Bearer {up.tenant_key}"}) as http:
        minted = await http.post("/v1/realtime/client_secrets", json={"session": {"type": "realtime", **session}})
    body: dict[str, Any] = minted.json()
    return minted.status_code, body


def said(response: ServerEvent) -> str:
    part = response["output"][0]["content"][0]
    text: str = part["transcript"] if "transcript" in part else part["text"]
    return text


def nested(path: str, value: object) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = [{**WEATHER, name.removesuffix("[]"): value}] if name.endswith("[]") else {name: value}
    assert isinstance(value, dict)
    return value


async def bills_of(up: Up, group: str) -> list[dict[str, Any]]:
    """The provider's bills of the sessions whose trace is in ``group``."""
    async with httpx.AsyncClient(base_url=up.service("rehearsal")) as http:
        sessions: list[dict[str, Any]] = (await http.get("/billing")).json()["sessions"]
    return [session for session in sessions if session["trace"] and session["trace"]["group_id"] == group]


async def spoken(text: str) -> Samples:
    """Speech at 24 kHz without the silence around it."""
    found = await synthesise(text, voice="slt")
    return resample(found.samples[found.onset : found.end], from_hz=found.hz, to_hz=24_000)


async def say(caller: Caller, samples: Samples) -> None:
    """Append and commit ``samples`` as the client's own audio."""
    audio = base64.b64encode(samples.astype("<i2").tobytes()).decode("ascii")
    caller.send_event({"type": "input_audio_buffer.append", "audio": audio})
    caller.send_event({"type": "input_audio_buffer.commit"})
    await event(caller, "input_audio_buffer.committed")


async def transcribed(caller: Caller, samples: Samples, **transcription: Any) -> ServerEvent:  # noqa: ANN401 - any JSON
    await update(caller, audio={"input": {**MANUAL, "transcription": transcription}})
    await say(caller, samples)
    return await event(caller, "conversation.item.input_audio_transcription.completed")


def pitch_hz(samples: Samples, hz: int) -> float:
    """The median pitch of the loud parts, by autocorrelation."""
    size = hz // 20
    frames = [samples[at : at + size].astype(np.float64) for at in range(0, len(samples) - size, size)]
    levels = np.array([np.sqrt(np.mean(frame**2)) for frame in frames])
    shortest, longest = hz // 350, hz // 60
    found = []
    for frame, level in zip(frames, levels, strict=True):
        if level > levels.max() / 4:
            correlation = np.correlate(frame, frame, "full")[size - 1 :]
            found.append(hz / (shortest + int(np.argmax(correlation[shortest:longest]))))
    return float(np.median(found))
