"""A real call from the page to the ledger: a browser, speech by flite, the rehearsal."""

from decimal import Decimal
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.async_api import Browser, expect

from services.callers.correlation import best_match
from services.callers.recogniser import grammar, recognise
from services.callers.speech import Samples, resample, synthesise
from tests.system.gateway import Up
from tests.system.page import CallPage, open_page

RATE = 24_000


def token_meters(usage: dict[str, Any]) -> dict[str, int]:
    """Return the provider's usage object as our meters, cached input separately."""
    details, out = usage["input_token_details"], usage["output_token_details"]
    cached = details["cached_tokens_details"]
    return {
        "tokens_text_in": details["text_tokens"] - cached["text_tokens"],
        "tokens_text_in_cached": cached["text_tokens"],
        "tokens_text_out": out["text_tokens"],
        "tokens_audio_in": details["audio_tokens"] - cached["audio_tokens"],
        "tokens_audio_in_cached": cached["audio_tokens"],
        "tokens_audio_out": out["audio_tokens"],
    }


async def get(url: str, token: str = "") -> dict[str, Any]:
    async with httpx.AsyncClient() as http:
        response = await http.get(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    response.raise_for_status()
    body: dict[str, Any] = response.json()
    return body


async def billed_session(up: Up) -> dict[str, Any]:
    """Return the rehearsal's bill for its last session with a response."""
    sessions = (await get(f"{up.service('rehearsal')}/billing"))["sessions"]
    spoken: list[dict[str, Any]] = [session for session in sessions if session["responses"]]
    return spoken[-1]


async def sent_audio(up: Up, item: str) -> Samples:
    """Return the PCM that the rehearsal sent for an item."""
    async with httpx.AsyncClient() as http:
        response = await http.get(f"{up.service('rehearsal')}/audio/{item}")
    response.raise_for_status()
    return np.frombuffer(response.content, "<i2")


async def played_audio(caller: CallPage) -> Samples:
    captured, hz = await caller.played_audio()
    return resample(captured, from_hz=hz, to_hz=RATE)


async def ask(caller: CallPage, text: str) -> None:
    await caller.speak(await synthesise(text, voice="slt"))


async def test_a_spoken_question_is_transcribed_answered_and_heard(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        await caller.start_call()
        await ask(caller, "count to five")
        asked = await caller.event("conversation.item.input_audio_transcription.completed")
        assert "five" in asked["transcript"].lower()
        await caller.event("output_audio_buffer.stopped")
        scored = await caller.event("hushgate.gate.score")
        assert max(scored["scores"]) > 0.5
        assert await caller.strip_shows("--score")
        await caller.wait_for_silence()
        await expect(caller.part("transcript")).to_contain_text(asked["transcript"])
        await expect(caller.part("transcript")).to_contain_text("five", ignore_case=True)
        played = await played_audio(caller)
        response = (await billed_session(up))["responses"][-1]
        sent = await sent_audio(up, response["item_ids"][0])
        await caller.hang_up()
    # Half a second each: the clocks of the browser and of the gateway drift, and a busy browser stretches some of it.
    pieces = [sent[at : at + RATE // 2] for at in range(RATE // 2, len(sent) - RATE, RATE // 2)]
    assert max(best_match(piece, played).peak for piece in pieces) > 0.8
    recognised = recognise(played, hz=RATE, jsgf=grammar("one two three four five", "five four three two one", "hello"))
    # A busy machine may drop the end of what it plays, but never reorders it.
    assert len(recognised.split()) >= 4
    assert "one two three four five".startswith(recognised)


async def test_speaking_over_the_answer_stops_it_and_truncates_where_it_was_heard(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        await caller.start_call()
        await ask(caller, "tell me a long story")
        started = await caller.event("output_audio_buffer.started")
        await caller.wait_for_audio()
        await caller.event("response.output_audio_transcript.delta", number=12)  # some seconds of it
        await ask(caller, "what time is it")
        await caller.event("output_audio_buffer.cleared", response_id=started["response_id"])
        cut = await caller.event("conversation.item.truncated")
        cancelled = await caller.event("response.done")
        assert cancelled["response"]["status"] == "cancelled"
        await caller.event("response.done", number=2)  # the response to the second question
        await expect(caller.part("transcript")).to_contain_text("cut here")
        await caller.event("output_audio_buffer.stopped")
        await caller.wait_for_silence()
        played = await played_audio(caller)
        session = await billed_session(up)
        await caller.hang_up()
    truncation = session["truncations"][0]
    assert truncation["audio_end_ms"] == cut["audio_end_ms"]
    assert truncation["audio_end_ms"] > 0
    story = await sent_audio(up, truncation["item_id"])
    cut_at = truncation["audio_end_ms"] * RATE // 1000
    assert cut_at < len(story)
    # What the provider keeps as heard was played (a busy browser stretches some of it) ...
    half = RATE // 2
    believed = [story[at - half : at] for at in range(cut_at - half, cut_at - 4 * half, -half)]
    assert max(best_match(piece, played).peak for piece in believed) > 0.7
    # ... and what follows two seconds later was not.
    unheard = story[cut_at + 2 * RATE : cut_at + 3 * RATE]
    assert best_match(unheard, played).peak < 0.5


async def test_the_ledger_matches_the_providers_own_usage_to_the_unit(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        call = await caller.start_call()
        await ask(caller, "what time is it")
        await caller.event("output_audio_buffer.stopped")
        await ask(caller, "hello")
        await caller.event("output_audio_buffer.stopped", number=2)
        await caller.hang_up()
        shown = await caller.part("cost").inner_text()
    usage = await get(f"{up.url}/v1/calls/{call}/usage", up.tenant_key)
    billed = await billed_session(up)
    of_responses = [token_meters(response["usage"]) for response in billed["responses"]]
    for meter in of_responses[0]:
        assert usage["meters"].get(meter, 0) == sum(used[meter] for used in of_responses), meter
    assert usage["meters"]["audio_sent_ms"] == billed["audio_received_ms"]
    assert usage["meters"]["audio_generated_ms"] == billed["audio_generated_ms"]
    assert usage["cost_nano_usd"] == billed["cost_nano_usd"] > 0
    assert usage["billed_seconds"] == pytest.approx(usage["sent_seconds"] + usage["generated_seconds"])
    assert (usage["status"], usage["ended_reason"]) == ("ended", "hangup")
    assert usage["saved_nano_usd"] == 0
    assert Decimal(shown.strip("$")) == pytest.approx(Decimal(usage["cost_usd"]), abs=Decimal("0.0001"))
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(f"{up.service('metering')}/metrics")).text
    assert 'hushgate_billed_seconds_total{model="gpt-realtime-2.1",provider="rehearsal"' in metrics


async def test_silence_is_not_sent(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        call = await caller.start_call()
        clip = await synthesise("hello", voice="slt")
        await caller.speak(clip)
        await caller.event("output_audio_buffer.stopped")
        await caller.hang_up()
    usage = await get(f"{up.url}/v1/calls/{call}/usage", up.tenant_key)
    assert 0 < usage["sent_seconds"] < clip.speech_s + 0.5
    assert usage["gated_seconds"] > usage["sent_seconds"]


async def test_the_page_tells_how_late_its_ear_is_without_being_asked(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        await caller.start_call()
        await ask(caller, "count to five")
        await caller.event("output_audio_buffer.stopped")
        stats = await caller.sent("hushgate.client_stats")
        await caller.hang_up()
    assert set(stats) == {"type", "jitter_buffer_ms", "playout_delay_ms", "round_trip_ms"}
    assert all(0 <= value < 1000 for name, value in stats.items() if name != "type")
