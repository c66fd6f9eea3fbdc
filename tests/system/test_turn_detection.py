"""Turn detection on whole calls: every field has its effect, also when it changes in mid-call."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest

from services.callers.caller import Caller
from services.callers.speech import SPEECH_HZ, Clip, Samples, clip, synthesise
from tests.system.gateway import Up

pytestmark = pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite: apt-get install flite")

STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"
COMMITTED, CLEARED = "input_audio_buffer.committed", "input_audio_buffer.cleared"
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
STORY = "Tell a long story."
Turns = dict[str, Any] | None


def session_of(turns: Turns) -> dict[str, Any]:
    transcription = {"model": "gpt-4o-mini-transcribe"}
    return {"type": "realtime", "audio": {"input": {"turn_detection": turns, "transcription": transcription}}}


@asynccontextmanager
async def call(up: Up, turns: Turns) -> AsyncIterator[Caller]:
    async with Caller.call(up.url, up.tenant_key, session=session_of(turns)) as caller:
        await caller.next_event("session.created", timeout_s=10)
        yield caller


async def update(caller: Caller, turns: Turns) -> Turns:
    """Change the turn detection; return the one that is shown."""
    caller.send_event({"type": "session.update", "session": session_of(turns)})
    updated = await caller.next_event("session.updated", timeout_s=10)
    shown: Turns = updated.event["session"]["audio"]["input"]["turn_detection"]
    return shown


async def wait(caller: Caller, kind: str) -> dict[str, Any]:
    return (await caller.next_event(kind, timeout_s=20)).event


def number(caller: Caller, kind: str) -> int:
    return len(caller.events.of(kind))


def ids(caller: Caller, kind: str) -> list[str]:
    return [received.event["item_id"] for received in caller.events.of(kind)]


def silence(seconds: float) -> Samples:
    return np.zeros(round(SPEECH_HZ * seconds), np.int16)


def joined(*pieces: Samples) -> Clip:
    return clip(np.concatenate(pieces), hz=SPEECH_HZ)


async def phrase(text: str = "what time is it") -> Samples:
    """Return speech without the silence around it."""
    spoken = await synthesise(text)
    return spoken.samples[spoken.onset : spoken.end]


def vad(**fields: object) -> Turns:
    return {"type": "server_vad", "create_response": False, **fields}


def semantic(eagerness: str) -> Turns:
    return {"type": "semantic_vad", "create_response": False, "eagerness": eagerness}


async def turns_taken(caller: Caller, spoken: Clip) -> int:
    """Speak a clip and return how many turns it was. It ends with a silence that ends a turn in any case."""
    before = number(caller, STARTED)
    await caller.speak(spoken)
    while not number(caller, STARTED) == number(caller, COMMITTED) > before:
        await wait(caller, COMMITTED)
    return number(caller, STARTED) - before


@pytest.mark.parametrize(
    ("pause_s", "patient", "hasty"),
    [(1.2, vad(silence_duration_ms=2000), vad(silence_duration_ms=300)), (0.75, semantic("low"), semantic("high"))],
)
async def test_a_pause_is_the_end_of_a_turn_or_not_as_the_session_says_at_any_time(
    up: Up, pause_s: float, patient: Turns, hasty: Turns
) -> None:
    words = await phrase()
    with_pause = joined(words, silence(pause_s), words)
    async with call(up, patient) as caller:
        assert await turns_taken(caller, with_pause) == 1
        await update(caller, hasty)
        assert await turns_taken(caller, with_pause) == 2
        await update(caller, patient)
        assert await turns_taken(caller, with_pause) == 1


async def test_speech_in_noise_is_a_turn_or_not_by_the_threshold(up: Up) -> None:
    words = (await phrase()).astype(float)
    words *= 4000 / np.sqrt(np.mean(words**2))
    clear, noise = words.clip(-32000, 32000).astype(np.int16), np.random.default_rng(1).normal(0, 3000, len(words))
    unclear = (words * 0.75 + noise).clip(-32000, 32000).astype(np.int16)
    async with call(up, vad(threshold=0.95)) as caller:
        assert await turns_taken(caller, joined(unclear, silence(1), clear)) == 1
        await update(caller, vad(threshold=0.1))
        assert await turns_taken(caller, joined(unclear, silence(1), clear)) == 2


async def test_padding_is_audio_from_before_the_speech(up: Up) -> None:
    later = joined(silence(1.5), await phrase())
    lengths = []
    async with call(up, vad(prefix_padding_ms=0)) as caller:
        for padding in (0, 1000):
            shown = await update(caller, vad(prefix_padding_ms=padding))
            assert shown is not None
            assert shown["prefix_padding_ms"] == padding
            await caller.speak(later)
            started, stopped = await wait(caller, STARTED), await wait(caller, STOPPED)
            lengths.append(stopped["audio_end_ms"] - started["audio_start_ms"])
    assert lengths[1] - lengths[0] == pytest.approx(1000, abs=100)


async def test_speech_does_not_stop_an_answer_where_the_session_says_so(up: Up) -> None:
    async with call(up, vad(interrupt_response=False)) as caller:
        caller.send_event({"type": "response.create", "response": {"instructions": STORY}})
        begun = await caller.next_event("output_audio_buffer.started", timeout_s=20)
        spoken = await caller.speak(joined(await phrase()))
        await wait(caller, TRANSCRIBED)
        await caller.audio_sink.first_sound(since_s=spoken.ended_s, timeout_s=10)
        assert number(caller, "output_audio_buffer.cleared") == number(caller, "conversation.item.truncated") == 0
        await update(caller, vad())
        await caller.speak(joined(await phrase()))
        cleared = await wait(caller, "output_audio_buffer.cleared")
    assert cleared["response_id"] == begun.event["response_id"]


async def test_a_caller_who_says_nothing_after_an_answer_is_asked_again(up: Up) -> None:
    async with call(up, {"type": "server_vad", "idle_timeout_ms": 5000}) as caller:
        caller.send_event({"type": "response.create", "response": {"instructions": 'Say "Yes."'}})
        await wait(caller, "output_audio_buffer.stopped")
        timeout = await wait(caller, "input_audio_buffer.timeout_triggered")
        assert (await wait(caller, COMMITTED))["item_id"] == timeout["item_id"]
        assert timeout["audio_end_ms"] - timeout["audio_start_ms"] == 5000
        await wait(caller, "response.created")
        await wait(caller, "response.created")


async def received_ms(up: Up) -> int:
    """Return how much audio the provider received in its newest session."""
    async with httpx.AsyncClient() as http:
        sessions = (await http.get(f"{up.service('rehearsal')}/billing")).json()["sessions"]
    return int(sessions[-1]["audio_received_ms"])


async def test_in_push_to_talk_speech_stops_nothing_and_whispers_are_committed(up: Up) -> None:
    words = await phrase()
    dice = np.random.default_rng(1)
    whisper = (dice.standard_normal(len(words)) * np.abs(words) * 0.01).astype(np.int16)
    async with call(up, None) as caller:
        caller.send_event({"type": "response.create", "response": {"instructions": STORY}})
        await wait(caller, "output_audio_buffer.started")
        spoken = await caller.speak(joined(words))
        await caller.audio_sink.first_sound(since_s=spoken.ended_s, timeout_s=10)
        caller.send_event({"type": "input_audio_buffer.clear"})
        caller.send_event({"type": "output_audio_buffer.clear"})
        await wait(caller, "output_audio_buffer.cleared")
        await wait(caller, CLEARED)
        before = await received_ms(up)
        await caller.speak(joined(whisper))
        caller.send_event({"type": "input_audio_buffer.commit"})
        item = (await wait(caller, COMMITTED))["item_id"]
        assert await received_ms(up) - before >= 1000 * len(whisper) / SPEECH_HZ - 200
        caller.send_event({"type": "conversation.item.retrieve", "item_id": item})
        assert (await wait(caller, "conversation.item.retrieved"))["item"]["role"] == "user"
        assert number(caller, STARTED) == number(caller, "error") == 0


async def test_a_turn_that_is_open_when_voice_detection_ends_is_the_clients(up: Up) -> None:
    async with call(up, vad(silence_duration_ms=5000)) as caller:
        await caller.speak(joined(await phrase()))
        await wait(caller, STARTED)
        assert await update(caller, None) is None
        await wait(caller, STOPPED)
        caller.send_event({"type": "input_audio_buffer.commit"})
        await wait(caller, COMMITTED)
        assert ids(caller, STARTED) == ids(caller, STOPPED) == ids(caller, COMMITTED)
        await caller.speak(joined(await phrase()))
        await update(caller, vad())
        await wait(caller, CLEARED)


async def test_a_commit_amid_speech_has_the_item_of_that_speech(up: Up) -> None:
    words = await phrase("one two three four five")
    async with call(up, vad()) as caller:
        speaking = asyncio.create_task(caller.speak(joined(silence(0.5), words, words)))
        await wait(caller, STARTED)
        caller.send_event({"type": "input_audio_buffer.commit"})
        await speaking
        await wait(caller, COMMITTED)
        await wait(caller, COMMITTED)
        assert ids(caller, STARTED) == ids(caller, STOPPED) == ids(caller, COMMITTED)
        assert number(caller, "error") == 0


async def test_a_value_that_the_operator_does_not_allow_is_refused_by_its_name(up: Up) -> None:
    async with call(up, vad(silence_duration_ms=700)) as caller:
        caller.send_event({"type": "session.update", "session": session_of(vad(silence_duration_ms=20))})
        error = (await wait(caller, "error"))["error"]
        assert error["param"] == "session.audio.input.turn_detection.silence_duration_ms"
        assert "100 to 10000 ms" in error["message"]
        shown = await update(caller, vad(silence_duration_ms=710))
        assert shown is not None
        assert shown["silence_duration_ms"] == 720
        assert number(caller, "session.updated") == 1
