"""Synthetic callers against a whole gateway: what load tests and `helm test` build on."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from services.callers.__main__ import main
from services.callers.caller import Caller
from services.callers.correlation import best_match
from services.callers.recogniser import grammar, recognise
from services.callers.speech import Samples, synthesise
from tests.network.fate import Conditions
from tests.network.impairer import impairer
from tests.system.gateway import Up

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite: apt-get install flite"),
]
HZ = 24_000
SESSION = {"type": "realtime", "audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}}


@pytest.fixture
async def caller(up: Up) -> AsyncIterator[Caller]:
    async with Caller.call(up.url, up.tenant_key, session=SESSION) as calling:
        await calling.next_event("session.created", timeout_s=10)
        yield calling


async def sent_by_rehearsal(up: Up) -> Samples:
    """The PCM of the newest item that the rehearsal spoke."""
    async with httpx.AsyncClient() as http:
        billing = (await http.get(f"{up.service('rehearsal')}/billing")).json()
        response = next(s for s in reversed(billing["sessions"]) if s["responses"])["responses"][-1]
        sound = await http.get(f"{up.service('rehearsal')}/audio/{response['item_ids'][0]}")
    return np.frombuffer(sound.content, "<i2")


async def test_the_answer_that_arrives_is_the_sound_that_the_rehearsal_sent(up: Up, caller: Caller) -> None:
    spoken = await caller.speak(await synthesise("count to five"))
    await caller.next_event("output_audio_buffer.stopped", timeout_s=30)
    heard = caller.audio_sink.pcm(hz=HZ, since_s=spoken.ended_s)
    sent = await sent_by_rehearsal(up)
    middle = sent[len(sent) // 2 - HZ // 2 : len(sent) // 2 + HZ // 2]
    assert best_match(middle, heard).peak > 0.9
    counting = grammar("one two three four five", "five four three two one", "hello")
    assert recognise(heard, hz=HZ, jsgf=counting) == "one two three four five"


async def test_a_call_can_go_through_a_bad_network(up: Up) -> None:
    slow = Conditions(delay_ms=50, jitter_ms=20)
    async with (
        impairer(up=slow, down=slow) as network,
        Caller.call(up.url, up.tenant_key, session=SESSION, rewrite_answer=network.rewrite_answer) as caller,
    ):
        await caller.speak(await synthesise("count to five"))
        await caller.next_event("output_audio_buffer.stopped", timeout_s=30)
        assert network.up.counts.media > 50
        assert network.down.counts.media > 50
        await caller.hang_up()


async def test_speech_over_a_long_answer_stops_it(caller: Caller) -> None:
    asked = await caller.speak(await synthesise("tell me a long story"))
    await caller.audio_sink.first_sound(since_s=asked.ended_s, timeout_s=30)
    spoken = await caller.speak(await synthesise("what time is it"))
    last = await caller.audio_sink.last_sound(since_s=spoken.started_s, quiet_s=0.2, timeout_s=30, any_packet=True)
    cleared = await caller.next_event("output_audio_buffer.cleared", timeout_s=30)
    assert spoken.started_s < last.at_s
    assert cleared.at_s < spoken.ended_s


async def test_the_command_calls_the_running_gateway(up: Up, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", str(up.data), "--say", "hello", "--json"]
    assert await asyncio.to_thread(main, arguments) == 0
    account = json.loads(capfd.readouterr().out)
    (turn,) = account["turns"]
    assert turn["heard"] == "hello"
    assert turn["answer"]
    assert account["usage"]["status"] == "ended"
    assert account["usage"]["sent_seconds"] >= turn["speech_s"]
    assert account["usage"]["unheard_seconds"] == 0


async def test_a_wrong_key_does_not_get_through(up: Up, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hg_" + "x" * 43)
    arguments = ["--data", str(tmp_path), "--url", up.url, "--key-file", str(tmp_path / "key")]
    assert await asyncio.to_thread(main, arguments) == 1
    assert "check the key" in capfd.readouterr().err
