"""More calls than the rehearsal can recognise: the page says why answers are recorded, and turns are attributed."""

import asyncio
from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, expect

from services.callers.caller import Caller
from services.callers.speech import synthesise
from services.rehearsal.core.recordings import RECORDED_TEXTS
from tests.system.gateway import Up, running_up
from tests.system.page import open_page

FOR_ONE = {"REHEARSAL_RECOGNISERS": "1", "REHEARSAL_SESSIONS_PER_RECOGNISER": "1"}


@pytest.fixture(scope="module")
def for_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("one") / "data", environment=FOR_ONE) as up:
        yield up


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("light") / "data", "--rehearsal-voice", "light") as up:
        yield up


async def test_a_page_beside_a_call_is_told_that_the_rehearsal_is_busy(for_one: Up, browser: Browser) -> None:
    async with Caller.call(for_one.url, for_one.tenant_key) as first, open_page(browser, for_one.page_url) as caller:
        await first.next_event("session.created", timeout_s=20)
        await caller.start_call()
        await caller.speak(await synthesise("count to five", voice="slt"))
        failed = await caller.event("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["code"] == "rehearsal_busy"
        await expect(caller.part("transcript")).to_contain_text("the rehearsal is busy and answers with recorded")
        transcript_done = await caller.event("response.output_audio_transcript.done")
        assert transcript_done["transcript"] in RECORDED_TEXTS
        await caller.hang_up()


async def test_a_turn_says_how_much_of_it_was_the_providers(light: Up) -> None:
    slow = {"type": "realtime", "instructions": "rehearsal faults: first_ms=900"}
    async with Caller.call(light.url, light.tenant_key, session=slow, events=("turn",)) as caller:
        await caller.next_event("session.created", timeout_s=20)
        await caller.speak(await synthesise("hello", voice="slt"))
        turn = (await caller.next_event("hushgate.turn", timeout_s=30)).event
        begun = (await caller.next_event("output_audio_buffer.started", timeout_s=30)).event
    assert turn["hangover_ms"] >= 480
    # The answer was requested after 300 ms of silence; what the provider took beyond the hangover is its share.
    assert turn["provider_ms"] + turn["hangover_ms"] >= 300 + 900 - 50
    assert turn["response_id"] == begun["response_id"]


async def test_who_does_not_ask_is_not_told(light: Up) -> None:
    async with Caller.call(light.url, light.tenant_key) as caller:
        await caller.next_event("session.created", timeout_s=20)
        await caller.speak(await synthesise("hello", voice="slt"))
        async with asyncio.timeout(60):
            await caller.next_event("response.done", timeout_s=60)
        assert not [seen for seen in caller.events.all if seen.event["type"].startswith("hushgate.")]
