"""One Realtime socket: reads, hands to the session machine, carries out what it says."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from fastapi import WebSocket, WebSocketDisconnect

from services.rehearsal import metrics
from services.rehearsal.core.commands import (
    Close,
    Command,
    Forget,
    Json,
    Keep,
    Listen,
    Now,
    RecordedAnswer,
    Send,
    Speak,
    Understand,
)
from services.rehearsal.core.session import Session
from services.rehearsal.ledger import Ledger
from services.rehearsal.voice.provided import Utterance, Voice
from services.runtime import clock
from services.runtime.logging import get_logger

_MAX_INBOX = 64

Step = Callable[[Now], list[Command]]


class _EndedError(Exception):
    """The socket is closed, by whomever: takes the connection's tasks down."""


def _text_of(event: Json) -> str:
    """``event`` as JSON. The base64 of its audio has nothing to escape, so nothing looks for it."""
    audio = event.get("delta") if event["type"] == "response.output_audio.delta" else None
    if not isinstance(audio, str):
        return json.dumps(event, separators=(",", ":"))
    rest = json.dumps({name: value for name, value in event.items() if name != "delta"}, separators=(",", ":"))
    return f'{rest[:-1]},"delta":"{audio}"}}'


class _LocalTime:
    """The wall clock in this machine's time zone, read again when a tenth of a second has passed: that is dear."""

    def __init__(self) -> None:
        self._until = float("-inf")
        self._wall = clock.utc_now()

    def at(self, monotonic_s: float) -> datetime:
        if monotonic_s >= self._until:
            self._wall = clock.utc_now().astimezone()
            self._until = monotonic_s + 0.1
        return self._wall


_LOCAL_TIME = _LocalTime()


def now() -> Now:
    """The moment, with the wall clock in this machine's time zone."""
    monotonic_s = clock.monotonic()
    return Now(monotonic_s, _LOCAL_TIME.at(monotonic_s))


@dataclass(slots=True)
class Connection:
    """Lives as long as its socket."""

    socket: WebSocket
    session: Session
    voice: Voice
    ledger: Ledger
    _inbox: "asyncio.Queue[Step]" = field(init=False, default_factory=lambda: asyncio.Queue(_MAX_INBOX))
    _utterances: dict[str, Utterance] = field(init=False, default_factory=dict)
    _waits: bool = field(init=False, default=False)
    _asked_s: float | None = field(init=False, default=None)

    async def run(self) -> None:
        """Serve until either side closes."""
        self.ledger.open(self.session.book)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(), name="realtime read")
                await self._work(group)
        except* _EndedError:
            pass
        finally:
            for command in self.session.closed():
                self._keep_house(command)
            for utterance in self._utterances.values():
                utterance.forget()

    async def _read(self) -> None:
        while True:
            try:
                text = await self.socket.receive_text()
            except (WebSocketDisconnect, KeyError) as exc:  # KeyError: a binary message
                raise _EndedError from exc
            if self._waits and self._inbox.empty():
                self._receive_at_once(text)
            else:
                await self._inbox.put(lambda at, text=text: self.session.received(text, at))  # type: ignore[misc]

    def _receive_at_once(self, text: str) -> None:
        """Nothing is going on: take the message without waking the worker, as most only bring audio."""
        due_s = self.session.next_due_s
        commands = self.session.received(text, now())
        if commands or self.session.next_due_s != due_s:
            self._inbox.put_nowait(lambda _at: commands)

    async def _work(self, group: asyncio.TaskGroup) -> None:
        """Take one step after the other, never two at once."""
        await self._carry_out(self.session.opened(), group)
        while True:
            step = await self._next_step()
            await self._carry_out(step(now()), group)

    async def _next_step(self) -> Step:
        wait_s = self.session.next_due_s - clock.monotonic()
        if wait_s <= 0:
            # Give the reader its turn: a cancel must get in between two pieces that are both due.
            await asyncio.sleep(0)
            return self.session.tick if self._inbox.empty() else self._inbox.get_nowait()
        try:
            self._waits = True
            async with asyncio.timeout(wait_s):
                return await self._inbox.get()
        except TimeoutError:
            # What was received at the last moment came before this tick.
            return self.session.tick if self._inbox.empty() else self._inbox.get_nowait()
        finally:
            self._waits = False

    async def _carry_out(self, commands: list[Command], group: asyncio.TaskGroup) -> None:
        for command in commands:
            match command:
                case Send(event=event):
                    self._measure(event)
                    await self._send(event)
                case Understand(utterance=name):
                    group.create_task(self._understand(name), name="understand")
                case Speak():
                    group.create_task(self._speak(command), name="speak")
                case Close(code=code, reason=reason):
                    await self.socket.close(code, reason)
                    raise _EndedError
                case _:
                    self._keep_house(command)

    def _keep_house(self, command: Command) -> None:
        """What needs no waiting; the rest has no meaning any more when the socket is gone."""
        match command:
            case Listen(utterance=name, pcm=pcm):
                if name not in self._utterances:
                    self._utterances[name] = self.voice.listen()
                self._utterances[name].feed(pcm)
            case Forget(utterance=name):
                with contextlib.suppress(KeyError):
                    self._utterances.pop(name).forget()
            case Keep(item_id=item_id, pcm=pcm):
                self.ledger.keep(item_id, pcm)
            case RecordedAnswer():
                metrics.RECORDED_ANSWERS.labels(self.session.answers.reason).inc()
            case Send(event=event):
                self._measure(event)

    async def _send(self, event: Json) -> None:
        try:
            await self.socket.send_text(_text_of(event))
        except (WebSocketDisconnect, RuntimeError) as exc:  # RuntimeError: Starlette's word for "already closed"
            raise _EndedError from exc

    async def _understand(self, name: str) -> None:
        text = await self._utterances[name].finish()
        del self._utterances[name]
        await self._inbox.put(lambda at: self.session.heard(name, text, at))

    async def _speak(self, order: Speak) -> None:
        pcm = await self.voice.say(order.text, speed=order.speed)
        await self._inbox.put(lambda at: self.session.said(order.response_id, order.index, pcm, at))

    def _measure(self, event: Json) -> None:
        match event:
            case {"type": "response.created"}:
                self._asked_s = clock.monotonic()
            case {"type": "response.output_audio.delta"} if self._asked_s is not None:
                metrics.FIRST_AUDIO_SECONDS.observe(clock.monotonic() - self._asked_s)
                self._asked_s = None
            case {"type": "response.done", "response": {"status": str(status)}}:
                metrics.RESPONSES.labels(status).inc()
            case {"type": "error", "error": {"code": str(code)}}:
                metrics.ERRORS.labels(code).inc()
                get_logger().info("client_event_refused", code=code, session_id=self.session.id)
