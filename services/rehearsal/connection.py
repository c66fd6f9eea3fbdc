"""One Realtime socket: reads, passes messages to the session core, carries out its commands."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from fastapi import WebSocket, WebSocketDisconnect

from services.rehearsal import metrics
from services.rehearsal.core.commands import (
    ArchiveAudio,
    CloseSocket,
    DiscardUtterance,
    FinishRecognition,
    Json,
    Now,
    RecogniseAudio,
    RecordedAnswer,
    RehearsalCommand,
    SendServerEvent,
    SynthesiseSpeech,
)
from services.rehearsal.core.session import RehearsalSession
from services.rehearsal.session_archive import SessionArchive
from services.rehearsal.voice.provided import PendingUtterance, SpeechEngine
from services.runtime import clock
from services.runtime.telemetry.logging import get_logger

_MAX_INBOX = 64

SessionStep = Callable[[Now], list[RehearsalCommand]]


class _EndedError(Exception):
    """The socket is closed by either side: cancels the connection's tasks."""


def _text_of(event: Json) -> str:
    """Serialise ``event``. The base64 of its audio needs no escaping, so the encoder skips it."""
    audio = event.get("delta") if event["type"] == "response.output_audio.delta" else None
    if not isinstance(audio, str):
        return json.dumps(event, separators=(",", ":"))
    rest = json.dumps({name: value for name, value in event.items() if name != "delta"}, separators=(",", ":"))
    return f'{rest[:-1]},"delta":"{audio}"}}'


class _LocalTime:
    """The wall clock in this machine's time zone, computed at most every tenth of a second: that is expensive."""

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
    """The current time; the wall clock in this machine's time zone."""
    monotonic_s = clock.monotonic()
    return Now(monotonic_s, _LOCAL_TIME.at(monotonic_s))


@dataclass(slots=True)
class ClientConnection:
    """One client's socket and its session."""

    socket: WebSocket
    session: RehearsalSession
    voice: SpeechEngine
    ledger: SessionArchive
    _inbox: "asyncio.Queue[SessionStep]" = field(init=False, default_factory=lambda: asyncio.Queue(_MAX_INBOX))
    _utterances: dict[str, PendingUtterance] = field(init=False, default_factory=dict)
    _waits: bool = field(init=False, default=False)
    _asked_s: float | None = field(init=False, default=None)

    async def run(self) -> None:
        """Serve until either side closes."""
        self.ledger.session_opened(self.session.book)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(), name="realtime read")
                await self._work(group)
        except* _EndedError:
            pass
        finally:
            for command in self.session.on_close():
                self._carry_out_at_once(command)
            for utterance in self._utterances.values():
                utterance.discard()

    async def _read(self) -> None:
        while True:
            try:
                text = await self.socket.receive_text()
            except (WebSocketDisconnect, KeyError) as exc:  # KeyError: a binary message
                raise _EndedError from exc
            if self._waits and self._inbox.empty():
                self._receive_at_once(text)
            else:
                await self._inbox.put(lambda at, text=text: self.session.on_client_message(text, at))  # type: ignore[misc]

    def _receive_at_once(self, text: str) -> None:
        """Handle the message without waking the worker when no step is in progress: most only append audio."""
        due_s = self.session.next_due_s
        commands = self.session.on_client_message(text, now())
        if commands or self.session.next_due_s != due_s:
            self._inbox.put_nowait(lambda _at: commands)

    async def _work(self, group: asyncio.TaskGroup) -> None:
        """Run one step after another, never two at once."""
        await self._carry_out(self.session.on_open(), group)
        while True:
            step = await self._next_step()
            await self._carry_out(step(now()), group)

    async def _next_step(self) -> SessionStep:
        wait_s = self.session.next_due_s - clock.monotonic()
        if wait_s <= 0:
            # Yield to the reader: a cancel must be read between two pieces that are both due.
            await asyncio.sleep(0)
            return self.session.on_timer if self._inbox.empty() else self._inbox.get_nowait()
        try:
            self._waits = True
            async with asyncio.timeout(wait_s):
                return await self._inbox.get()
        except TimeoutError:
            # Messages received meanwhile precede this timer event.
            return self.session.on_timer if self._inbox.empty() else self._inbox.get_nowait()
        finally:
            self._waits = False

    async def _carry_out(self, commands: list[RehearsalCommand], group: asyncio.TaskGroup) -> None:
        for command in commands:
            match command:
                case SendServerEvent(event=event):
                    self._measure(event)
                    await self._send(event)
                case FinishRecognition(utterance=name):
                    group.create_task(self._recognise(name), name="understand")
                case SynthesiseSpeech():
                    group.create_task(self._synthesise(command), name="speak")
                case CloseSocket(code=code, reason=reason):
                    await self.socket.close(code, reason)
                    raise _EndedError
                case _:
                    self._carry_out_at_once(command)

    def _carry_out_at_once(self, command: RehearsalCommand) -> None:
        """Carry out a command that does not wait; on a closed socket the others are dropped."""
        match command:
            case RecogniseAudio(utterance=name, pcm=pcm):
                if name not in self._utterances:
                    self._utterances[name] = self.voice.begin_utterance()
                self._utterances[name].feed(pcm)
            case DiscardUtterance(utterance=name):
                with contextlib.suppress(KeyError):
                    self._utterances.pop(name).discard()
            case ArchiveAudio(item_id=item_id, pcm=pcm):
                self.ledger.append_audio(item_id, pcm)
            case RecordedAnswer():
                metrics.RECORDED_ANSWERS.labels(self.session.answers.reason).inc()
            case SendServerEvent(event=event):
                self._measure(event)

    async def _send(self, event: Json) -> None:
        try:
            await self.socket.send_text(_text_of(event))
        except (WebSocketDisconnect, RuntimeError) as exc:  # RuntimeError: Starlette raises it for "already closed"
            raise _EndedError from exc

    async def _recognise(self, name: str) -> None:
        heard = await self._utterances[name].finish()
        del self._utterances[name]
        await self._inbox.put(lambda at: self.session.transcription_finished(name, heard, at))

    async def _synthesise(self, order: SynthesiseSpeech) -> None:
        pcm = await self.voice.synthesise(order.text, speed=order.speed, voice=order.voice)
        await self._inbox.put(lambda at: self.session.synthesis_finished(order.response_id, order.index, pcm, at))

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
