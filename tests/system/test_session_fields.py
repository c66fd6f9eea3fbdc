"""Each field of a session has its effect on a whole call, or is refused; a line of the tables without a proof fails."""

import asyncio
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from services.callers.speech import synthesise
from services.contracts.session.registry import RESPONSE_FIELDS, SESSION_FIELDS
from tests.system import test_response_fields, test_turn_detection
from tests.system.field_walk import (
    MANUAL,
    PROVEN,
    TEXT,
    bills_of,
    calling,
    event,
    mint,
    nested,
    proves,
    refused,
    respond,
    said,
    say,
    spoken,
    transcribed,
    update,
    write,
)
from tests.system.gateway import Up

pytestmark = pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite: apt-get install flite")
LINES = {entry.path: entry for entry in (*SESSION_FIELDS, *RESPONSE_FIELDS)}


@proves("session", "type")
async def test_only_realtime_sessions_are_served(up: Up) -> None:
    status, body = await mint(up, {"type": "transcription"})
    assert (status, body["error"]["param"]) == (400, "session.type")
    async with calling(up) as (caller, session):
        assert session["type"] == "realtime"
        await refused(caller, "session", {"type": "transcription"}, "session.type")


@proves("session", "model", "tracing", "tracing.workflow_name", "tracing.group_id", "tracing.metadata")
async def test_the_model_and_the_trace_are_the_providers(up: Up) -> None:
    trace = {"workflow_name": "w", "group_id": "walk", "metadata": {"k": "v"}}
    async with calling(up, model="gpt-realtime-2.1-mini", tracing=trace) as (caller, session):
        assert session["model"] == "gpt-realtime-2.1-mini"
        assert session["tracing"] == trace
        (bill,) = await bills_of(up, "walk")
        assert (bill["model"], bill["trace"]) == ("gpt-realtime-2.1-mini", trace)
        await refused(caller, "session", {"tracing": "auto"}, "session.tracing")
        assert (await update(caller, tracing=None))["tracing"] is None
        await respond(caller, **TEXT)  # behind the update
        assert await bills_of(up, "walk") == []


@proves("session", "audio.input.format.type", "audio.input.format.rate", "audio.input.transcription")
async def test_the_clients_own_audio_is_pcm_and_is_transcribed_if_the_session_says_so(up: Up) -> None:
    samples = await spoken("what time is it")
    async with calling(up, audio={"input": MANUAL}) as (caller, _session):
        for wrong, name in (({"type": "audio/pcma"}, "type"), ({"type": "audio/pcm", "rate": 8000}, "rate")):
            fields = {"audio": {"input": {"format": wrong}}}
            await refused(caller, "session", fields, f"session.audio.input.format.{name}")
            assert (await mint(up, fields))[0] == 400
        await say(caller, samples)
        assert said(await respond(caller, **TEXT)).startswith("It is ")
        assert not caller.events.of("conversation.item.input_audio_transcription.completed")
        assert (await transcribed(caller, samples))["transcript"] == "what time is it"


@proves(
    "session",
    "audio.input.transcription.model",
    "audio.input.transcription.language",
    "audio.input.transcription.languages",
    "audio.input.transcription.prompt",
    "audio.input.transcription.keywords",
    "audio.input.transcription.delay",
    "include",
)
async def test_transcription_is_as_the_session_says(up: Up) -> None:
    samples = await spoken("my name is robert")
    async with calling(up) as (caller, _session):
        plain = await transcribed(caller, samples, model="whisper-1", language="en")
        assert (plain["usage"]["type"], plain["transcript"]) == ("duration", "my name is robert")
        assert "logprobs" not in plain
        await update(caller, include=["item.input_audio_transcription.logprobs"])
        spelled = await transcribed(caller, samples, model="gpt-4o-transcribe", prompt="Robert")
        assert (spelled["usage"]["type"], spelled["transcript"]) == ("tokens", "my name is Robert")
        assert [found["token"] for found in spelled["logprobs"]] == ["my", " name", " is", " Robert"]
        assert all(found["logprob"] < 0 for found in spelled["logprobs"])
        known = await transcribed(caller, samples, model="gpt-transcribe", languages=["en"], keywords=["ROBERT"])
        assert (known["languages"], known["transcript"]) == ([{"code": "en"}], "my name is ROBERT")
        for name, value, place in (
            ("model", "ears-1", ""),
            ("language", "de", ""),
            ("languages", ["de"], "[0]"),
            ("keywords", ["a"], ""),
            ("delay", "low", ""),
        ):
            fields = {"audio": {"input": {"transcription": {name: value}}}}
            await refused(caller, "session", fields, f"session.audio.input.transcription.{name}{place}")


@proves(
    "session",
    "audio.input.noise_reduction",
    "audio.input.noise_reduction.type",
    "audio.input.noise_reduction.strength",
    "prompt",
)
async def test_what_is_off_may_be_null_and_is_not_turned_on_in_vain(up: Up) -> None:
    async with calling(up) as (caller, _session):
        shown = await update(caller, prompt=None, audio={"input": {"noise_reduction": None}})
        assert (shown["prompt"], shown["audio"]["input"]["noise_reduction"]) == (None, None)
        for wanted in ({"type": "near_field"}, {"type": "far_field", "strength": 0.5}):
            fields = {"audio": {"input": {"noise_reduction": wanted}}}
            await refused(caller, "session", fields, "session.audio.input.noise_reduction")
    asked = {"input": {"noise_reduction": {"type": "near_field"}}}
    async with calling(up, audio=asked, instructions='Say "apple".') as (caller, session):
        assert session["audio"]["input"]["noise_reduction"] is None
        assert (await event(caller, "error"))["error"]["param"] == "session.audio.input.noise_reduction"
        assert said(await respond(caller, **TEXT)) == "apple"


@proves("session", "audio.output.speed")
async def test_speech_is_faster_or_slower(up: Up) -> None:
    async def tokens_at(speed: float) -> int:
        async with calling(up, instructions='Say "what a lovely day".', audio={"output": {"speed": speed}}) as (
            caller,
            _,
        ):
            used: int = (await respond(caller))["usage"]["output_token_details"]["audio_tokens"]
            return used

    slow, fast = await asyncio.gather(tokens_at(0.75), tokens_at(1.5))
    assert slow > 1.5 * fast


@proves(
    "session",
    "truncation",
    "truncation.type",
    "truncation.retention_ratio",
    "truncation.token_limits.post_instructions",
)
async def test_a_long_conversation_is_truncated_as_the_session_says(up: Up) -> None:
    async with calling(up) as (caller, _session):
        for letter in "abcd":
            await write(caller, letter * 40_000)  # 10,000 tokens each
        await update(caller, truncation="disabled")
        failed = await respond(caller, **TEXT)
        assert (failed["status"], failed["status_details"]["error"]["code"]) == ("failed", "context_length_exceeded")
        await update(caller, truncation="auto", instructions='Say "yes".')
        assert 20_000 <= (await respond(caller, **TEXT))["usage"]["input_tokens"] < 28_224
        limits = {"token_limits": {"post_instructions": 15_000}}
        await update(caller, truncation={"type": "retention_ratio", "retention_ratio": 0.8, **limits})
        assert 10_000 <= (await respond(caller, **TEXT))["usage"]["input_tokens"] < 12_100
        await update(caller, truncation={"type": "retention_ratio", "retention_ratio": 0.0, "token_limits": {
            "post_instructions": 5_000}})  # fmt: skip
        assert (await respond(caller, **TEXT))["usage"]["input_tokens"] < 100


@proves("session", *(entry.path.removeprefix("session.") for entry in SESSION_FIELDS if entry.by == "refused"))
async def test_refused_fields_of_a_session_are_refused_when_minted_and_in_a_call(up: Up) -> None:
    async with calling(up) as (caller, _session):
        for entry in SESSION_FIELDS:
            if entry.by == "refused":
                fields = nested(entry.path.removeprefix("session."), 1)
                status, body = await mint(up, fields)
                assert (status, body["error"]["param"]) == (400, entry.path)
                assert entry.effect in body["error"]["message"]
                await refused(caller, "session", fields, entry.path)


@proves("session", "audio.input.turn_detection.create_response")
async def test_a_turn_is_answered_if_the_session_says_so(up: Up) -> None:
    words = await synthesise("hello", voice="slt")
    silent: dict[str, Any] = {"turn_detection": {"type": "server_vad", "create_response": False}, "transcription": {}}
    answering = {"turn_detection": {"type": "server_vad", "create_response": True}}
    async with calling(up, audio={"input": silent}) as (caller, _session):
        await caller.speak(words)
        await event(caller, "conversation.item.input_audio_transcription.completed")
        await update(caller, audio={"input": answering})
        await caller.speak(words)
        await event(caller, "response.done")
        await event(caller, "conversation.item.input_audio_transcription.completed")
        assert len(caller.events.of("input_audio_buffer.committed")) == 2
        assert len(caller.events.of("response.created")) == 1


_PAUSE = test_turn_detection.test_a_pause_is_the_end_of_a_turn_or_not_as_the_session_says_at_any_time
ELSEWHERE = {
    f"session.audio.input.turn_detection{name}": test
    for name, test in {
        "": test_turn_detection.test_in_push_to_talk_speech_stops_nothing_and_whispers_are_committed,
        ".type": _PAUSE,
        ".silence_duration_ms": _PAUSE,
        ".eagerness": _PAUSE,
        ".threshold": test_turn_detection.test_speech_in_noise_is_a_turn_or_not_by_the_threshold,
        ".prefix_padding_ms": test_turn_detection.test_padding_is_audio_from_before_the_speech,
        ".interrupt_response": test_turn_detection.test_speech_does_not_stop_an_answer_where_the_session_says_so,
        ".idle_timeout_ms": test_turn_detection.test_a_caller_who_says_nothing_after_an_answer_is_asked_again,
    }.items()
}
"""Lines that tests of whole calls in another module prove."""


def test_each_line_has_a_proof(record_property: Callable[[str, object], None]) -> None:
    assert test_response_fields.__name__  # whose import notes what it proves
    assert not PROVEN & ELSEWHERE.keys()
    proven = PROVEN | ELSEWHERE.keys()
    record_property("lines", len(LINES))
    record_property("proven", len(proven))
    assert sorted(LINES.keys() - proven) == [], "fields without a proof of their effect"
    assert sorted(proven - LINES.keys()) == [], "proofs of fields that are not in the table"
