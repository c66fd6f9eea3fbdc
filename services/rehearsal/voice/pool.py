"""The local voice: a bounded number of ears, and a mouth. Nothing here waits inside the event loop."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.rehearsal import metrics
from services.rehearsal.core.input_audio import MAX_LISTEN_BYTES
from services.rehearsal.core.recordings import Recording
from services.rehearsal.voice.children import VoiceProcess
from services.rehearsal.voice.pipes import Kind, PipeMessage
from services.runtime.errors import HushgateError
from services.runtime.logging import get_logger

_START_TIMEOUT_S = 60.0
_ANSWER_TIMEOUT_S = 20.0
_FREE_EAR_TIMEOUT_S = 1.5
"""So long a complete utterance waits for a free ear; then it is answered with a recording. Callers wait no longer."""


class VoiceStartError(HushgateError):
    """The voice processes were not ready in time."""

    retryable = True

    def __init__(self) -> None:
        super().__init__(
            f"the voice processes were not ready within {_START_TIMEOUT_S:g} s: see above why, "
            "or set REHEARSAL_VOICE=echo"
        )


class PooledUtterance:
    """An utterance: kept until an ear is free, then passed on as it comes."""

    def __init__(self, pool: "EarPool", ref: int) -> None:
        self.ref = ref
        self.ear: VoiceProcess | None = None
        self._has_ear = asyncio.Event()
        self.answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._pool = pool
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._complete = False

    def feed(self, pcm: bytes) -> None:
        """More of it."""
        if self.ear:
            self.ear.send(Kind.FEED, self.ref, pcm)
        elif self._kept_bytes < MAX_LISTEN_BYTES:
            self._kept.append(pcm)
            self._kept_bytes += len(pcm)

    def given(self, ear: VoiceProcess) -> None:
        """An ear is free: it catches up faster than people speak."""
        self.ear = ear
        self._has_ear.set()
        while self._kept:
            ear.send(Kind.FEED, self.ref, self._kept.popleft())
        if self._complete:
            ear.send(Kind.FINISH, self.ref)

    async def finish(self) -> str | None:
        """What was said; None: the ear was lost, is much too late, or none was free in time."""
        self._complete = True
        if self.ear:
            self.ear.send(Kind.FINISH, self.ref)
        reason = "no_free_ear"
        try:
            async with asyncio.timeout(_FREE_EAR_TIMEOUT_S):
                await self._has_ear.wait()
            reason = "timeout"
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                return await asyncio.shield(self.answer)
        except TimeoutError:
            metrics.VOICE_LATE.labels("ear").inc()
            self._pool.was_late(reason)
            self.forget()
            return None

    def forget(self) -> None:
        """Give the ear back. Nothing happens if that was done."""
        if self.ear:
            self.ear.send(Kind.FORGET, self.ref)
        self._pool.give_back(self)


class EarPool:
    """Ears hear one utterance each; who comes when all are taken waits its turn."""

    def __init__(self, size: int) -> None:
        self.ears = [self._make() for _ in range(size)]
        self._hears: dict[VoiceProcess, PooledUtterance] = {}
        self._waiting: deque[PooledUtterance] = deque()
        self._last_ref = 0
        self._is_late = False

    def _make(self) -> VoiceProcess:
        return VoiceProcess("ear", on_message=self._understood, on_change=self._changed)

    def listen(self) -> PooledUtterance:
        """Begin an utterance."""
        self._last_ref = (self._last_ref + 1) % 2**32
        utterance = PooledUtterance(self, self._last_ref)
        self._waiting.append(utterance)
        self._share_out()
        return utterance

    def was_late(self, reason: str) -> None:
        """An utterance was given up on. Logged once, until no utterance waits any more."""
        if not self._is_late:
            get_logger().warning("voice_late", role="ear", reason=reason, waiting=len(self._waiting))
        self._is_late = True

    def _share_out(self) -> None:
        """Give free ears to those who wait longest."""
        for ear in self.ears:
            if self._waiting and ear.ready.is_set() and ear not in self._hears:
                utterance = self._waiting.popleft()
                self._hears[ear] = utterance
                utterance.given(ear)
        metrics.EARS_WAITED_FOR.set(len(self._waiting))
        if self._is_late and not self._waiting:
            self._is_late = False
            get_logger().info("voice_in_time", role="ear")

    def give_back(self, utterance: PooledUtterance) -> None:
        """The utterance needs no ear any more."""
        if utterance.ear and self._hears.get(utterance.ear) is utterance:
            del self._hears[utterance.ear]
        with contextlib.suppress(ValueError):
            self._waiting.remove(utterance)
        utterance.ear = None
        self._share_out()

    def _understood(self, message: PipeMessage) -> None:
        for utterance in [known for known in self._hears.values() if known.ref == message.ref]:
            if not utterance.answer.done():
                utterance.answer.set_result(message.body.decode())
            self.give_back(utterance)

    def _changed(self) -> None:
        """An ear died: what it heard is lost, and said so. Or a new one is ready for those who wait."""
        for utterance in [known for ear, known in self._hears.items() if not ear.ready.is_set()]:
            if not utterance.answer.done():
                utterance.answer.set_result(None)
            self.give_back(utterance)
        self._share_out()


class LocalVoice:
    """pocketsphinx and espeak-ng. Made by `LocalVoice.open`; ``ears`` may be 0, then nothing is ever listened to."""

    def __init__(self, *, ears: int) -> None:
        self.recordings: Sequence[Recording] = ()
        self._pool = EarPool(ears)
        self._mouth = VoiceProcess("mouth", on_message=self._spoken, on_change=self._changed)
        self._sentences: dict[int, asyncio.Future[bytes | None]] = {}
        self._last_ref = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, *, ears: int) -> AsyncIterator["LocalVoice"]:
        """Start all processes and wait until they are warm; they end with the block.

        Raises:
            VoiceStartError: they are not ready in time.
        """
        voice = cls(ears=ears)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(child.run(), name=f"voice {child.role}") for child in voice.processes]
            try:
                await voice._started()
                yield voice
            finally:
                for task in tasks:
                    task.cancel()

    @property
    def processes(self) -> list[VoiceProcess]:
        """All children."""
        return [*self._pool.ears, self._mouth]

    async def _started(self) -> None:
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                for child in self.processes:
                    await child.ready.wait()
        except TimeoutError:
            raise VoiceStartError from None

    def listen(self) -> PooledUtterance:
        """Begin to hear an utterance."""
        return self._pool.listen()

    async def say(self, text: str, *, speed: float) -> bytes | None:
        """``text`` as s16le mono 24 kHz; None: the mouth was lost, or is much too late."""
        self._last_ref = (self._last_ref + 1) % 2**32
        ref = self._last_ref
        await self._mouth.ready.wait()
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._sentences[ref] = answer
        self._mouth.send(Kind.SAY, ref, round(speed * 100).to_bytes(2, "little") + text.encode())
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                return await answer
        except TimeoutError:
            metrics.VOICE_LATE.labels("mouth").inc()
            get_logger().warning("voice_late", role="mouth", reason="timeout")
            return None
        finally:
            del self._sentences[ref]

    def _spoken(self, message: PipeMessage) -> None:
        answer = self._sentences.get(message.ref)
        if answer and not answer.done():
            answer.set_result(message.body)

    def _changed(self) -> None:
        if self._mouth.ready.is_set():
            return
        for answer in self._sentences.values():
            if not answer.done():
                answer.set_result(None)
