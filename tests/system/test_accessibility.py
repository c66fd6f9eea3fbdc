"""Accessibility of the page: axe-core finds no violation in any state, and the keyboard suffices."""

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from services.callers.speech import synthesise
from tests.system.gateway import Up
from tests.system.page import open_page
from tests.system.test_page import NO_MICROPHONE

VIEWS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 740}},
}


async def assert_accessible(page: Page) -> None:
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("view", VIEWS)
async def test_every_state_of_a_call_is_accessible_and_the_keyboard_is_enough(
    up: Up, browser: Browser, view: str
) -> None:
    async with open_page(browser, up.page_url, **VIEWS[view]) as caller:
        await expect(caller.part("talk")).to_be_enabled()
        await assert_accessible(caller.page)

        await caller.page.keyboard.press("Tab")
        await expect(caller.part("talk")).to_be_focused()
        await caller.page.keyboard.press("Enter")
        await expect(caller.part("talk")).to_have_text("Hang up")
        await caller.speak(await synthesise("what time is it", voice="slt"))
        await caller.event("output_audio_buffer.stopped")
        await expect(caller.part("transcript").get_by_role("listitem")).to_have_count(2)
        await expect(caller.part("questions")).to_have_text("1")
        await assert_accessible(caller.page)

        await expect(caller.part("talk")).to_be_focused()
        await caller.page.keyboard.press("Enter")
        await expect(caller.part("bill")).to_be_visible(timeout=20_000)
        await assert_accessible(caller.page)


@pytest.mark.parametrize("view", VIEWS)
async def test_what_is_wrong_is_told_accessibly(up: Up, browser: Browser, view: str) -> None:
    async with open_page(browser, up.page_url, **VIEWS[view]) as caller:
        await caller.page.evaluate(NO_MICROPHONE, "NotAllowedError")
        await caller.part("talk").click()
        await expect(caller.part("error").get_by_role("listitem").first).to_have_text("Microphone: failed")
        await assert_accessible(caller.page)
