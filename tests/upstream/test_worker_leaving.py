"""The end of a call while its provider is still generating, over the real bus."""

import asyncio

import pytest

from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import Ended, UtteranceEnd, UtteranceStart
from services.contracts.usage import Meter
from services.runtime.bus.client import Bus
from tests.upstream.provider import Json, ProviderSession, ScriptedProvider
from tests.upstream.running_worker import MediaSide, RunningWorker, configured_session, running_worker

USAGE: Json = {"input_tokens": 7, "output_tokens": 0, "input_token_details": {"audio_tokens": 7}}


async def speaking(h: RunningWorker, media: MediaSide) -> ProviderSession:
    """Begin a response of the provider; return its session."""
    await media.utter(400)
    provider_session = await configured_session(h.provider)
    await provider_session.until("response.create")
    await provider_session.send_event(
        "response.created", response={"id": "resp_P9", "status": "in_progress", "output": []}
    )
    await media.event("response.created")
    return provider_session


async def hang_up(media: MediaSide) -> None:
    await media.send(Kind.ENDED, Ended(reason=EndReason.HANGUP).encode())


async def test_an_answer_under_way_is_cancelled_and_its_usage_booked(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(answer_ms=0)) as h:
        media = await h.call()
        provider_session = await speaking(h, media)
        await hang_up(media)
        cancel = await provider_session.until("response.cancel")
        assert cancel["response_id"] == "resp_P9"
        shown = len(media.all)
        await provider_session.send_event(
            "response.done", response={"id": "resp_P9", "status": "cancelled", "usage": USAGE}
        )
        await h.wait_for_release()
        assert len(media.all) == shown
    assert h.usage.latest(Meter.TOKENS_AUDIO_IN) == 7


async def test_a_provider_that_does_not_answer_is_left_after_a_while(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(answer_ms=0)) as h:
        media = await h.call()
        provider_session = await speaking(h, media)
        await hang_up(media)
        async with asyncio.timeout(5):
            await provider_session.closed.wait()
        await h.wait_for_release()
    assert h.usage.latest(Meter.AUDIO_SENT_MS) == 400


async def test_a_provider_that_goes_meanwhile_is_not_waited_for(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.upstream.session_runner.SETTLE_S", 60)
    async with running_worker(bus, ScriptedProvider(answer_ms=0)) as h:
        media = await h.call()
        provider_session = await speaking(h, media)
        await hang_up(media)
        await provider_session.until("response.cancel")
        await provider_session.socket.close(1001)
        await h.wait_for_release()
    assert h.usage.latest(Meter.AUDIO_SENT_MS) == 400


async def test_hanging_up_while_speaking_asks_for_no_answer(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        provider_session = await configured_session(h.provider)
        await media.send(Kind.UTTERANCE_START, UtteranceStart(cause="speech", onset_index=0).encode())
        for index in (0, 2, 4, 6, 8):
            await media.send(Kind.AUDIO_UP, bytes(1280), position=index)
        await media.send(Kind.UTTERANCE_END, UtteranceEnd(reason="hangup", speech_end_index=10).encode(), position=10)
        await provider_session.until("input_audio_buffer.clear")
        await hang_up(media)
        async with asyncio.timeout(5):
            await provider_session.closed.wait()
        assert provider_session.types() == ["session.update", "input_audio_buffer.clear"]
