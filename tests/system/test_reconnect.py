"""A real browser keeps its call when its network path to the gateway changes."""

from playwright.async_api import Browser, expect

from services.callers.speech import synthesise
from tests.system.gateway import Up
from tests.system.page import TIMEOUT_MS, open_page


async def test_a_browser_restarts_ice_and_keeps_its_call(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        call = await caller.start_call()
        await caller.speak(await synthesise("hello"))
        await caller.wait_for_audio()
        await caller.wait_for_silence()
        async with caller.page.expect_response(f"**/v1/realtime/calls/{call}/restart", timeout=TIMEOUT_MS) as answered:
            await caller.page.evaluate("window.dispatchEvent(new Event('online'))")
        assert (await answered.value).status == 200
        await expect(caller.part("talk")).to_have_text("Hang up")
        await caller.speak(await synthesise("what time is it"))
        await caller.event("response.done", number=2)
        await caller.wait_for_audio()
        assert await caller.page.evaluate("window.hushgate.callId") == call
        await caller.hang_up()
