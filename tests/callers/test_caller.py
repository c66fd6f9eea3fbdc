import asyncio
import json

import numpy as np
import pytest
from fastapi import FastAPI, Response

from services.callers.caller import Caller
from services.callers.correlation import best_match
from services.callers.errors import (
    CallEndedError,
    EndpointRefusedError,
    UnexpectedReplyError,
    UnreachableError,
    WaitTimeoutError,
)
from services.callers.speech import Clip, clip
from services.runtime import clock
from services.runtime.http.server import serve_http
from tests.callers.tune_endpoint import TuneEndpoint


def speech() -> Clip:
    wave = (np.sin(np.arange(8000) / 16_000 * 2 * np.pi * 300) * 9000).astype(np.int16)
    return clip(np.concatenate((np.zeros(1600, np.int16), wave, np.zeros(1600, np.int16))), hz=16_000)


async def test_a_call_is_answered_with_the_sound_that_was_sent(endpoint: TuneEndpoint) -> None:
    async with Caller.call(endpoint.url, endpoint.key) as caller:
        await caller.next_event("session.created", timeout_s=10)
        spoken = await caller.speak(speech())
        first = await caller.audio_sink.first_sound(since_s=spoken.ended_s, timeout_s=10)
        last = await caller.audio_sink.last_sound(since_s=first.at_s, quiet_s=0.3, timeout_s=10)
        heard = caller.audio_sink.pcm(hz=24_000, since_s=first.at_s - 0.1, until_s=last.at_s + 0.1)
    sent = endpoint.answer.samples[2400:-2400]  # the first and last 100 ms may share a packet with silence
    assert best_match(sent, heard).peak > 0.9
    assert spoken.started_s < spoken.ended_s <= first.at_s


async def test_speech_bounds_are_those_of_the_true_speech(endpoint: TuneEndpoint) -> None:
    async with Caller.call(endpoint.url, endpoint.key) as caller:
        asked = clock.monotonic()
        said = speech()
        spoken = await caller.speak(said)
    # A loop that was stuck catches up by as much as 100 ms, and a frame holds what was spoken in the 20 ms before it.
    assert spoken.started_s > asked - 0.02
    assert spoken.ended_s - spoken.started_s > said.speech_s - 0.12


async def test_a_token_is_taken_as_it_is(endpoint: TuneEndpoint) -> None:
    async with Caller.call(f"{endpoint.url}/v1/realtime/", "ek_one") as caller:
        assert caller.call_id == "rtc_one"
    assert endpoint.minted == []


async def test_the_answer_can_be_rewritten_before_it_is_used(endpoint: TuneEndpoint) -> None:
    answers: list[str] = []

    def keep(sdp: str) -> str:
        answers.append(sdp)
        return sdp

    async with Caller.call(endpoint.url, endpoint.key, rewrite_answer=keep):
        pass
    assert "a=ice-ufrag:" in answers[0]
    with pytest.raises(UnexpectedReplyError):
        async with Caller.call(endpoint.url, endpoint.key, rewrite_answer=lambda _: "nonsense"):
            pass


async def test_own_events_and_limits_are_asked_for_only_when_wanted(endpoint: TuneEndpoint) -> None:
    async with Caller.call(endpoint.url, endpoint.key):
        pass
    async with Caller.call(endpoint.url, endpoint.key, events=["gate"], max_seconds=9):
        pass
    plain, own = endpoint.minted
    assert plain == {"session": {"type": "realtime"}}
    assert own["hushgate"] == {"events": ["gate"], "max_seconds": 9}


async def test_hanging_up_ends_the_call_and_closes_the_account(endpoint: TuneEndpoint) -> None:
    async with Caller.call(endpoint.url, endpoint.key) as caller:
        await caller.hang_up()
        assert endpoint.hung_up == ["rtc_one"]
        assert await caller.bill(timeout_s=5) == {"call_id": "rtc_one", "status": "ended"}


async def test_client_events_reach_the_endpoint(endpoint: TuneEndpoint) -> None:
    async with Caller.call(endpoint.url, endpoint.key) as caller:
        await caller.next_event("session.created", timeout_s=10)
        caller.send_event({"type": "response.create"})
        await caller.speak(speech())
        await caller.next_event("response.done", timeout_s=10)
    assert json.dumps({"type": "response.create"}) in map(json.dumps, endpoint.client_events)


async def test_a_call_leaves_no_task_behind(endpoint: TuneEndpoint) -> None:
    before = asyncio.all_tasks()
    async with Caller.call(endpoint.url, endpoint.key) as caller:
        await caller.next_event("session.created", timeout_s=10)
    await endpoint.close()
    for _ in range(10):  # what was cancelled needs a turn of the loop to end
        await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() - before if "uvicorn" not in repr(task)] == []


async def test_waiting_ends_when_the_other_side_hangs_up(endpoint: TuneEndpoint) -> None:
    async with Caller.call(endpoint.url, endpoint.key) as caller:
        await caller.next_event("session.created", timeout_s=10)
        await endpoint.close()
        with pytest.raises(CallEndedError, match=r"response\.done"):
            await caller.next_event("response.done", timeout_s=30)
        with pytest.raises(CallEndedError):
            caller.send_event({"type": "response.create"})


async def test_what_does_not_come_is_named(endpoint: TuneEndpoint) -> None:
    async with Caller.call(endpoint.url, endpoint.key) as caller:
        with pytest.raises(WaitTimeoutError, match=r"no response\.done within 0\.05 s"):
            await caller.next_event("response.done", timeout_s=0.05)
        with pytest.raises(WaitTimeoutError, match="no sound"):
            await caller.audio_sink.first_sound(since_s=clock.monotonic(), timeout_s=0.05)


async def test_a_wrong_key_is_one_clear_line(endpoint: TuneEndpoint) -> None:
    with pytest.raises(
        EndpointRefusedError, match=r"refused with 401 invalid_api_key: check the key\. It says: Incorrect"
    ):
        async with Caller.call(endpoint.url, "hg_wrong"):
            pass


async def test_nobody_there_is_one_clear_line() -> None:
    with pytest.raises(UnreachableError, match="is it running"):
        async with Caller.call("http://127.0.0.1:1", "hg_any"):
            pass


async def test_an_answer_that_is_no_token_or_no_sdp_is_one_clear_line() -> None:
    app = FastAPI()

    @app.post("/v1/realtime/{path}")
    async def strange(path: str) -> Response:
        return Response(f"<html>{path}</html>", media_type="text/html")

    async with serve_http(app, host="127.0.0.1", port=0) as url:
        for key in ("hg_any", "ek_any"):
            with pytest.raises(UnexpectedReplyError, match="does not speak the Realtime API"):
                async with Caller.call(url, key):
                    pass
