"""The page in a real browser, with a scripted microphone."""

import asyncio
import base64
import io
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from playwright.async_api import Browser, Locator, Page, expect

from services.callers.speech import Clip

CALLER_SCRIPT = (Path(__file__).parent / "browser_caller.js").read_text()
TIMEOUT_MS = 20_000
_STRIP_SHOWS = """(colour) => {
  const strip = document.getElementById("strip");
  const { data } = strip.getContext("2d").getImageData(0, 0, strip.width, strip.height);
  const hex = getComputedStyle(strip).getPropertyValue(colour).trim().slice(1);
  const [red, green, blue] = hex.match(/../g).map((digits) => parseInt(digits, 16));
  return data.some((value, at) => at % 4 === 0 && value === red && data[at + 1] === green && data[at + 2] === blue);
}"""


def wav_base64(clip: Clip) -> str:
    """Return ``clip`` as a WAV file, base64."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(clip.hz)
        out.writeframes(clip.samples.astype("<i2").tobytes())
    return base64.b64encode(file.getvalue()).decode()


class Scripted(Protocol):
    """Runs JavaScript in a page."""

    async def evaluate(self, expression: str, argument: object = None, /) -> Any:  # noqa: ANN401 - JavaScript's
        """Evaluate an expression, or call a function with ``argument``."""


class PageCaller:
    """The caller in a page; subclasses drive the browser."""

    def __init__(self, scripted: Scripted) -> None:
        self._scripted = scripted

    async def press(self, part: str) -> None:
        """Click the part of the page that has this test id."""
        raise NotImplementedError

    async def start_call(self) -> str:
        """Click Talk; return the id of the call when it is live."""
        await self.press("talk")
        await self.until("window.hushgate.state === 'live'")
        await self.event("session.created")
        return str(await self._scripted.evaluate("window.hushgate.callId"))

    async def speak(self, clip: Clip) -> None:
        """Play ``clip`` into the microphone; return when its last sample has been played."""
        await self._scripted.evaluate("wav => window.caller.say(wav)", wav_base64(clip))

    async def event(self, kind: str, *, number: int = 1, **fields: object) -> dict[str, Any]:
        """Wait for the ``number``-th server event of ``kind`` with ``fields``."""
        found: dict[str, Any] = await self.until(
            """window.caller.events.filter((event) => event.type === wanted.kind
                 && Object.entries(wanted.fields).every(([key, value]) => event[key] === value))[wanted.number - 1]""",
            {"kind": kind, "number": number, "fields": fields},
        )
        return found

    async def sent(self, kind: str) -> dict[str, Any]:
        """Wait for a client event of ``kind``; return the newest."""
        find = "window.caller.sent.findLast((event) => event.type === wanted.kind)"
        sent: dict[str, Any] = await self.until(find, {"kind": kind})
        return sent

    async def events(self) -> list[dict[str, Any]]:
        """Return all server events so far."""
        events: list[dict[str, Any]] = await self._scripted.evaluate("window.caller.events")
        return events

    async def wait_for_audio(self) -> None:
        """Wait until audio of the response is played."""
        await self.until("window.caller.sounding(0.2)")

    async def wait_for_silence(self) -> None:
        """Wait until no audio has been played for half a second."""
        await self.until("!window.caller.sounding(0.5)")

    async def until(self, expression: str, wanted: dict[str, object] | None = None) -> Any:  # noqa: ANN401 - JavaScript's
        """Wait until ``expression`` (which may use ``wanted``) is truthy; return its value."""
        async with asyncio.timeout(TIMEOUT_MS / 1000):
            return await self._scripted.evaluate(f"wanted => window.caller.until(() => {expression})", wanted)

    async def played_audio(self) -> tuple[NDArray[np.int16], int]:
        """Return the samples played so far, and their rate."""
        captured = await self._scripted.evaluate("window.caller.heard()")
        return np.frombuffer(base64.b64decode(captured["pcm"]), "<i2"), int(captured["rate"])


class CallPage(PageCaller):
    """The page and its caller in Chromium."""

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.page = page

    def part(self, name: str) -> Locator:
        return self.page.get_by_test_id(name)

    async def press(self, part: str) -> None:
        await self.part(part).click()

    async def strip_shows(self, colour: str) -> bool:
        """Whether the picture of the last 30 seconds has the colour that a variable of the style sheet names."""
        return bool(await self.page.evaluate(_STRIP_SHOWS, colour))

    async def hang_up(self) -> None:
        await self.press("talk")
        await expect(self.part("bill")).to_be_visible(timeout=TIMEOUT_MS)


@asynccontextmanager
async def open_page(
    browser: Browser,
    url: str,
    *,
    scripts: Sequence[str] = (),
    **context: Any,  # noqa: ANN401 - playwright's own
) -> AsyncIterator[CallPage]:
    """Open the page at ``url`` with the scripted caller; whatever the page logs as an error fails the test.

    ``scripts`` run in the page before its own, behind the caller's.
    """
    opened = await browser.new_context(**context)
    page = await opened.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    for script in (CALLER_SCRIPT, *scripts):
        await page.add_init_script(script)
    await page.goto(url)
    try:
        yield CallPage(page)
    finally:
        await opened.close()
    assert not errors
