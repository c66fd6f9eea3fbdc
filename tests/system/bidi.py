"""A minimal client of WebDriver BiDi (W3C), which stock browsers speak: one connection, one session."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

COMMAND_TIMEOUT_S = 60.0
MAX_BYTES = 64 * 1024 * 1024  # a screenshot, or the audio of a call

BidiResult = dict[str, Any]


class BidiError(Exception):
    """The browser refused a command."""


class Session:
    """A session; errors that a page logs are collected in ``errors``."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[BidiResult]] = {}
        self.errors: list[str] = []

    async def command(self, method: str, **parameters: object) -> BidiResult:
        """Send one command; return its result.

        Raises:
            BidiError: the browser refuses it.
        """
        number = next(self._ids)
        answer: asyncio.Future[BidiResult] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            return await answer

    async def read(self) -> None:
        """Pass replies to the commands that wait for them, until the connection closes."""
        async for text in self._socket:
            message = json.loads(text)
            if message["type"] == "event":
                self._logged(message["params"])
                continue
            answer = self._waiting.pop(message["id"], None)
            if answer is None or answer.done():
                continue
            if message["type"] == "success":
                answer.set_result(message["result"])
            else:
                answer.set_exception(BidiError(f"{message['error']}: {message['message']}"))

    def _logged(self, entry: BidiResult) -> None:
        by_page = entry["level"] == "error" and entry["type"] == "javascript"
        if by_page and not entry["text"].startswith("WebRTC: "):  # Firefox's own message about a failed connection
            self.errors.append(str(entry["text"]))


@asynccontextmanager
async def session(url: str) -> AsyncIterator[Session]:
    """Open a session with the browser that listens at ``url``."""
    async with connect(f"{url}/session", max_size=MAX_BYTES, compression=None) as socket:
        made = Session(socket)
        reading = asyncio.create_task(made.read(), name="BiDi answers")
        try:
            await made.command("session.new", capabilities={})
            try:
                await made.command("session.subscribe", events=["log.entryAdded"])
                yield made
            finally:
                await made.command("session.end")  # a browser has one session at a time
        finally:
            reading.cancel()


class Tab:
    """A tab with its own storage."""

    def __init__(self, made: Session, context: str) -> None:
        self._session = made
        self._context = context

    async def evaluate(self, expression: str, argument: object = None) -> Any:  # noqa: ANN401 - JavaScript's
        """Evaluate an expression, or call a function with ``argument``; wait for promises.

        Raises:
            BidiError: it threw.
        """
        source = f"""async (argument) => {{
          const made = ({expression});
          const value = await (typeof made === "function" ? made(JSON.parse(argument)) : made);
          return JSON.stringify(value ?? null);
        }}"""
        result = await self._session.command(
            "script.callFunction",
            functionDeclaration=source,
            arguments=[{"type": "string", "value": json.dumps(argument)}],
            awaitPromise=True,
            target={"context": self._context},
        )
        if result["type"] == "exception":
            raise BidiError(result["exceptionDetails"]["text"])
        return json.loads(result["result"]["value"])

    async def click(self, selector: str) -> None:
        """Click the element with the primary mouse button: the page gets the events of a user's click."""
        found = await self._session.command(
            "browsingContext.locateNodes", context=self._context, locator={"type": "css", "value": selector}
        )
        origin = {"type": "element", "element": {"sharedId": found["nodes"][0]["sharedId"]}}
        pointer: list[dict[str, object]] = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "actions": pointer}
        await self._session.command("input.performActions", context=self._context, actions=[mouse])

    async def screenshot(self) -> str:
        """Return the whole page as a PNG, base64."""
        method = "browsingContext.captureScreenshot"
        return str((await self._session.command(method, context=self._context, origin="document"))["data"])

    async def resize(self, width: int, height: int) -> None:
        """Resize the viewport, in CSS pixels."""
        viewport = {"width": width, "height": height}
        await self._session.command("browsingContext.setViewport", context=self._context, viewport=viewport)


@asynccontextmanager
async def open_tab(made: Session, url: str, *, script: str) -> AsyncIterator[Tab]:
    """Open ``url`` in a new tab; ``script`` runs before the page's own."""
    user = (await made.command("browser.createUserContext"))["userContext"]
    try:
        context = (await made.command("browsingContext.create", type="tab", userContext=user))["context"]
        await made.command("script.addPreloadScript", functionDeclaration=f"() => {{ {script} }}", contexts=[context])
        await made.command("browsingContext.navigate", context=context, url=url, wait="complete")
        yield Tab(made, context)
    finally:
        await made.command("browser.removeUserContext", userContext=user)
