"""The local voice: a limited number of recognisers, and a synthesiser. Nothing here blocks the event loop."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.rehearsal import metrics
from services.rehearsal.core.input_audio import MAX_LISTEN_BYTES
from services.rehearsal.core.recordings import Recording
from services.rehearsal.core.transcript import Transcript
from services.rehearsal.core.voices import VoiceName
from services.rehearsal.voice.children import VoiceProcess
from services.rehearsal.voice.pipes import SCORE, SENTENCE, PipeMessage, PipeMessageKind
from services.runtime.errors import HushgateError
from services.runtime.telemetry.logging import get_logger

_START_TIMEOUT_S = 60.0
_SYNTHESIS_TIMEOUT_S = 20.0
_RECOGNITION_TIMEOUT_S = 5.0
"""After this long without a transcript, a recording answers and the recogniser is released."""
_FREE_RECOGNISER_TIMEOUT_S = 1.5
"""A complete utterance waits this long for a free recogniser; then a recording answers."""


class VoiceStartError(HushgateError):
    """The voice processes were not ready in time."""

    retryable = True

    def __init__(self) -> None:
        super().__init__(
            f"the voice processes were not ready within {_START_TIMEOUT_S:g} s: see above why, "
            "or set REHEARSAL_VOICE=echo"
        )


class PooledUtterance:
    """Buffer an utterance until a recogniser is free, then pass its audio on as it arrives."""

    def __init__(self, pool: "RecogniserPool", ref: int, *, recognised: bool) -> None:
        self.ref = ref
        self._recognised = recognised
        self.recogniser: VoiceProcess | None = None
        self._assigned = asyncio.Event()
        self.answer: asyncio.Future[Transcript | None] = asyncio.get_running_loop().create_future()
        self._pool = pool
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._complete = False

    def feed(self, pcm: bytes) -> None:
        """Append audio: s16le mono 24 kHz."""
        if self.recogniser:
            self.recogniser.write(PipeMessageKind.FEED, self.ref, pcm)
        elif self._recognised and self._kept_bytes < MAX_LISTEN_BYTES:
            self._kept.append(pcm)
            self._kept_bytes += len(pcm)

    def assign(self, recogniser: VoiceProcess) -> None:
        """Send the buffered audio to ``recogniser``, which from now on gets the rest."""
        self.recogniser = recogniser
        self._assigned.set()
        while self._kept:
            recogniser.write(PipeMessageKind.FEED, self.ref, self._kept.popleft())
        if self._complete:
            recogniser.write(PipeMessageKind.FINISH, self.ref)

    async def finish(self) -> Transcript | None:
        """Return the transcript; None: paused, or the recogniser was lost, too late, or none was free in time."""
        self._complete = True
        if not self._recognised:
            return None
        if self.recogniser:
            self.recogniser.write(PipeMessageKind.FINISH, self.ref)
        reason = "no_free_recogniser"
        try:
            async with asyncio.timeout(_FREE_RECOGNISER_TIMEOUT_S):
                await self._assigned.wait()
            reason = "timeout"
            async with asyncio.timeout(_RECOGNITION_TIMEOUT_S):
                return await asyncio.shield(self.answer)
        except TimeoutError:
            metrics.VOICE_LATE.labels("recogniser").inc()
            self._pool.record_late(reason)
            self.discard()
            return None

    def discard(self) -> None:
        """Release the recogniser. Safe to call twice."""
        if self.recogniser:
            self.recogniser.write(PipeMessageKind.DISCARD, self.ref)
        self._pool.release(self)


class RecogniserPool:
    """Assigns recognisers to utterances, one each; further utterances wait in order."""

    def __init__(self, size: int) -> None:
        self.recognisers = [self._make() for _ in range(size)]
        self._assignments: dict[VoiceProcess, PooledUtterance] = {}
        self._waiting: deque[PooledUtterance] = deque()
        self._last_ref = 0
        self._is_behind = False
        self.is_paused = False

    def _make(self) -> VoiceProcess:
        return VoiceProcess("recogniser", on_message=self._on_transcript, on_change=self._changed)

    def begin_utterance(self) -> PooledUtterance:
        """Begin an utterance. One that begins while recognition is paused is never recognised."""
        self._last_ref = (self._last_ref + 1) % 2**32
        utterance = PooledUtterance(self, self._last_ref, recognised=not self.is_paused)
        if not self.is_paused:
            self._waiting.append(utterance)
        self._assign_free()
        return utterance

    def record_late(self, reason: str) -> None:
        """Log once that utterances time out, until none waits any more."""
        if not self._is_behind:
            get_logger().warning("voice_late", role="recogniser", reason=reason, waiting=len(self._waiting))
        self._is_behind = True

    def _assign_free(self) -> None:
        """Assign free recognisers to the utterances that have waited longest."""
        for recogniser in self.recognisers:
            if self._waiting and recogniser.ready.is_set() and recogniser not in self._assignments:
                utterance = self._waiting.popleft()
                self._assignments[recogniser] = utterance
                utterance.assign(recogniser)
        metrics.WAITING_UTTERANCES.set(len(self._waiting))
        if self._is_behind and not self._waiting:
            self._is_behind = False
            get_logger().info("voice_in_time", role="recogniser")

    def release(self, utterance: PooledUtterance) -> None:
        """Release the recogniser of ``utterance``."""
        if utterance.recogniser and self._assignments.get(utterance.recogniser) is utterance:
            del self._assignments[utterance.recogniser]
        with contextlib.suppress(ValueError):
            self._waiting.remove(utterance)
        utterance.recogniser = None
        self._assign_free()

    def _on_transcript(self, message: PipeMessage) -> None:
        for utterance in [known for known in self._assignments.values() if known.ref == message.ref]:
            if not utterance.answer.done():
                (logprob,) = SCORE.unpack_from(message.body)
                utterance.answer.set_result(Transcript(message.body[SCORE.size :].decode(), logprob))
            self.release(utterance)

    def _changed(self) -> None:
        """End utterances whose recogniser exited; assign recognisers that are ready."""
        for utterance in [known for recogniser, known in self._assignments.items() if not recogniser.ready.is_set()]:
            if not utterance.answer.done():
                utterance.answer.set_result(None)
            self.release(utterance)
        self._assign_free()


class LocalVoice:
    """Voice of pocketsphinx and espeak-ng processes; use `LocalVoice.open`. With 0 recognisers it only synthesises."""

    def __init__(self, *, recognisers: int) -> None:
        self.recordings: Sequence[Recording] = ()
        self._pool = RecogniserPool(recognisers)
        self._synthesiser = VoiceProcess("synthesiser", on_message=self._on_audio, on_change=self._changed)
        self._sentences: dict[int, asyncio.Future[bytes | None]] = {}
        self._last_ref = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, *, recognisers: int) -> AsyncIterator["LocalVoice"]:
        """Start all processes and wait until their models are loaded; they end with the block.

        Raises:
            VoiceStartError: they are not ready in time.
        """
        voice = cls(recognisers=recognisers)
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
        """All voice processes."""
        return [*self._pool.recognisers, self._synthesiser]

    async def _started(self) -> None:
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                for child in self.processes:
                    await child.ready.wait()
        except TimeoutError:
            raise VoiceStartError from None

    def begin_utterance(self) -> PooledUtterance:
        """Begin an utterance."""
        return self._pool.begin_utterance()

    def pause(self, *, paused: bool) -> None:
        """Stop recognising utterances that begin from now on, or resume."""
        self._pool.is_paused = paused

    async def synthesise(self, text: str, *, speed: float, voice: VoiceName) -> bytes | None:
        """Return ``text`` as s16le mono 24 kHz; None: the synthesiser was lost or too late."""
        self._last_ref = (self._last_ref + 1) % 2**32
        ref = self._last_ref
        await self._synthesiser.ready.wait()
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._sentences[ref] = answer
        head = SENTENCE.pack(round(speed * 100), len(voice))
        self._synthesiser.write(PipeMessageKind.SYNTHESISE, ref, head + f"{voice}{text}".encode())
        try:
            async with asyncio.timeout(_SYNTHESIS_TIMEOUT_S):
                return await answer
        except TimeoutError:
            metrics.VOICE_LATE.labels("synthesiser").inc()
            get_logger().warning("voice_late", role="synthesiser", reason="timeout")
            return None
        finally:
            del self._sentences[ref]

    def _on_audio(self, message: PipeMessage) -> None:
        answer = self._sentences.get(message.ref)
        if answer and not answer.done():
            answer.set_result(message.body)

    def _changed(self) -> None:
        if self._synthesiser.ready.is_set():
            return
        for answer in self._sentences.values():
            if not answer.done():
                answer.set_result(None)
