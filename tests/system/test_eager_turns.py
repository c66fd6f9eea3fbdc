"""A turn that is answered before its end is certain, on a whole call."""

import shutil

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.callers.caller import Caller
from tests.system.gateway import Up
from tests.system.test_turn_detection import (
    COMMITTED,
    STARTED,
    TRANSCRIBED,
    Turns,
    call,
    joined,
    number,
    phrase,
    silence,
    update,
    wait,
)

pytestmark = pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite: apt-get install flite")


async def outcomes(up: Up) -> dict[str, float]:
    async with httpx.AsyncClient() as http:
        exposed = (await http.get(f"{up.service('upstream')}/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(exposed)}
    return {
        sample.labels["outcome"]: sample.value
        for sample in families["hushgate_eager_turns"].samples
        if sample.name.endswith("_total")
    }


async def answered(caller: Caller, *, after_s: float) -> None:
    await caller.audio_sink.first_sound(since_s=after_s, timeout_s=20)
    await wait(caller, "response.done")


def answers_turns(silence_ms: int) -> Turns:
    return {"type": "server_vad", "silence_duration_ms": silence_ms}


async def test_a_caller_who_speaks_on_hears_nothing_of_the_answer_and_sees_one_turn(up: Up) -> None:
    before = await outcomes(up)
    spoken = joined(await phrase("tell me"), silence(0.7), await phrase("what time is it"))
    async with call(up, answers_turns(1200)) as caller:
        asked = await caller.speak(spoken)
        transcript = await wait(caller, TRANSCRIBED)
        assert "time" in transcript["transcript"].lower()
        first = await caller.audio_sink.first_sound(since_s=asked.started_s, timeout_s=20)
        assert first.at_s > asked.ended_s
        await wait(caller, "response.done")
        await update(caller, answers_turns(340))  # the answer comes after the end of the turn
        asked = await caller.speak(joined(await phrase("hello")))
        await answered(caller, after_s=asked.ended_s)
        for kind in (STARTED, COMMITTED, "response.created", "response.done", TRANSCRIBED):
            assert number(caller, kind) == 2, kind
    after = await outcomes(up)
    assert {name: after[name] - before[name] for name in after} == {"taken_back": 1, "kept": 2, "refused": 0}
