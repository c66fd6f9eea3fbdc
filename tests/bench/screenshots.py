"""Screenshots of the page in a real call, for the README: `make screenshots`."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, async_playwright
from rich.progress import Progress

from services.callers.speech import synthesise
from tests.system.conftest import CHROMIUM, CHROMIUM_ARGS
from tests.system.gateway import running_up
from tests.system.page import CallPage, open_page

IMAGES = Path(__file__).parents[2] / "docs" / "images"
VIEWS: dict[str, dict[str, Any]] = {
    "call-light": {"color_scheme": "light", "viewport": {"width": 1180, "height": 900}},
    "call-dark": {"color_scheme": "dark", "viewport": {"width": 1180, "height": 900}},
    "call-phone": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}


async def converse(caller: CallPage) -> None:
    """A question, a long answer that is interrupted, and another one."""
    await caller.start_call()
    await caller.speak(await synthesise("what time is it", voice="slt"))
    await caller.event("output_audio_buffer.stopped")
    await caller.speak(await synthesise("tell me a long story", voice="slt"))
    await caller.event("output_audio_buffer.started", number=2)
    await caller.page.wait_for_timeout(6000)
    await caller.speak(await synthesise("count to five", voice="slt"))
    await caller.event("output_audio_buffer.started", number=3)
    await caller.page.wait_for_timeout(2500)


async def take(browser: Browser, url: str, name: str) -> None:
    """Make a call and take a screenshot in the call and one of its bill."""
    async with open_page(browser, url, **VIEWS[name]) as caller:
        await converse(caller)
        await caller.page.screenshot(path=IMAGES / f"{name}.png", full_page=name == "call-phone")
        await caller.hang_up()
        if name == "call-light":
            await caller.page.screenshot(path=IMAGES / "bill-light.png", full_page=True)


async def main() -> int:
    """Take all screenshots; returns the exit code."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running_up(Path(folder) / "data") as up:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_ARGS))
            with Progress() as progress:
                for name in progress.track(VIEWS, description="Taking pictures"):
                    await take(browser, up.page_url, name)
            await browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
