"""How a worker leaves a call whose provider is still at work, over the real bus."""

import asyncio

import pytest

from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import Ended, UtteranceEnd, UtteranceStart
from services.contracts.usage import Meter
from services.runtime.bus import Bus
from tests.upstream.house import House, Media, house, told
from tests.upstream.provider import Heard, Json, Provider

USAGE: Json = {"input_tokens": 7, "output_tokens": 0, "input_token_details": {"audio_tokens": 7}}


async def speaking(h: House, media: Media) -> Heard:
    """The provider is in the midst of an answer."""
    await media.utter(400)
    heard = await told(h.provider)
    await heard.until("response.create")
    await heard.say("response.created", response={"id": "resp_P9", "status": "in_progress", "output": []})
    await media.event("response.created")
    return heard


async def hang_up(media: Media) -> None:
    await media.send(Kind.ENDED, Ended(reason=EndReason.HANGUP).encode())


async def test_an_answer_under_way_is_cancelled_and_its_usage_booked(bus: Bus) -> None:
    async with house(bus, Provider(answer_ms=0)) as h:
        media = await h.call()
        heard = await speaking(h, media)
        await hang_up(media)
        cancel = await heard.until("response.cancel")
        assert cancel["response_id"] == "resp_P9"
        shown = len(media.all)
        await heard.say("response.done", response={"id": "resp_P9", "status": "cancelled", "usage": USAGE})
        await h.gone()
        assert len(media.all) == shown
    assert h.usage.latest(Meter.TOKENS_AUDIO_IN) == 7


async def test_a_provider_that_does_not_answer_is_left_after_a_while(bus: Bus) -> None:
    async with house(bus, Provider(answer_ms=0)) as h:
        media = await h.call()
        heard = await speaking(h, media)
        await hang_up(media)
        async with asyncio.timeout(5):
            await heard.closed.wait()
        await h.gone()
    assert h.usage.latest(Meter.AUDIO_SENT_MS) == 400


async def test_a_provider_that_goes_meanwhile_is_not_waited_for(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.upstream.call.SETTLE_S", 60)
    async with house(bus, Provider(answer_ms=0)) as h:
        media = await h.call()
        heard = await speaking(h, media)
        await hang_up(media)
        await heard.until("response.cancel")
        await heard.socket.close(1001)
        await h.gone()
    assert h.usage.latest(Meter.AUDIO_SENT_MS) == 400


async def test_hanging_up_while_speaking_asks_for_no_answer(bus: Bus) -> None:
    async with house(bus, Provider()) as h:
        media = await h.call()
        heard = await told(h.provider)
        await media.send(Kind.UTTERANCE_START, UtteranceStart(cause="speech", onset_index=0).encode())
        for index in (0, 2, 4, 6, 8):
            await media.send(Kind.AUDIO_UP, bytes(1280), position=index)
        await media.send(Kind.UTTERANCE_END, UtteranceEnd(reason="hangup", speech_end_index=10).encode(), position=10)
        await heard.until("input_audio_buffer.clear")
        await hang_up(media)
        async with asyncio.timeout(5):
            await heard.closed.wait()
        assert heard.types() == ["session.update", "input_audio_buffer.clear"]
