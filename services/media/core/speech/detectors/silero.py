"""The production detector: earshot hears every frame and wakes Silero, and the scores of both are added.

earshot almost never misses speech and is cheap, but hears it in noise, too. Silero tells noise from speech, but its
recurrent state stops hearing in steady noise; so it begins anew when earshot wakes it, and after 4 s without speech.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided

from services.contracts.audio import PcmFrame
from services.media.core.speech.detector import DetectorCounts
from services.media.core.speech.detectors.caller_state import (
    CYCLE,
    ENDS_CHUNK,
    LEFT_OVER,
    REPLAYED_CHUNKS,
    REPLAYED_SAMPLES,
    WAKE,
    CallerState,
)
from services.media.core.speech.detectors.silero_network import (
    CHUNK_SAMPLES,
    CONTEXT_SAMPLES,
    STATE_SIZE,
    Matrix,
    SileroNetwork,
)

MOST_REPLAYS: Final = 4
"""Callers whose last 640 ms are replayed in one batch, about 1.5 ms; others wait for the next batch."""
_CHUNK_SIZE: Final = CONTEXT_SAMPLES + CHUNK_SAMPLES
_FULL_SCALE_ENERGY: Final = 32768.0**2 * CHUNK_SAMPLES
_QUIETEST: Final = 1e-10  # -100 dBFS
_FRESHEST_FIRST: Final = sorted(range(CYCLE), key=LEFT_OVER.__getitem__)
"""Positions in the cycle, by how long ago the newest chunk ended."""


class SileroDetector:
    """The detector of a process, whose callers share one network."""

    has_quick_way = True

    def __init__(self, model: bytes) -> None:
        self._network = SileroNetwork(model)
        self._waiting: deque[CallerState] = deque()
        self.counts = DetectorCounts()

    def new_state(self) -> CallerState:
        """Return the state of a new caller."""
        return CallerState()

    def set_threshold(self, state: CallerState, threshold: float) -> None:
        """Do nothing: the probabilities are always graded."""

    def probabilities(self, batch: Sequence[tuple[CallerState, PcmFrame]], *, quickly: bool = False) -> list[float]:
        """Return the speech probability of each frame. ``quickly``: by earshot alone, 1 for what may be speech."""
        rounds: list[list[int]] = [[]]
        earlier: dict[int, int] = {}
        for index, (caller, _) in enumerate(batch):
            number = earlier.get(id(caller), 0)
            earlier[id(caller)] = number + 1
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(index)
        if len(rounds) == 1:
            return self._one_each(batch, quickly=quickly)
        found = [0.0] * len(batch)
        for indices in rounds:
            probabilities = self._one_each([batch[index] for index in indices], quickly=quickly)
            for index, probability in zip(indices, probabilities, strict=True):
                found[index] = probability
        return found

    def _one_each(self, batch: Sequence[tuple[CallerState, PcmFrame]], *, quickly: bool) -> list[float]:
        """Return the probabilities of frames of different callers."""
        callers = [caller for caller, _ in batch]
        scores = [caller.hear(frame.pcm) for caller, frame in batch]
        if quickly:
            for caller in callers:
                caller.sleep()
            return [float(score >= WAKE) for score in scores]
        woken = [caller for caller, score in zip(callers, scores, strict=True) if caller.wakes(score)]
        if woken:
            self._spread(woken, callers)
            self._waiting += woken
        with_chunk = [caller for caller in callers if caller.has_chunk]
        if with_chunk:
            self._go_on(with_chunk)
        if self._waiting:
            self._replay()
        return [caller.probability(score) for caller, score in zip(callers, scores, strict=True)]

    def _spread(self, woken: list[CallerState], callers: list[CallerState]) -> None:
        """Choose when the chunks of ``woken`` end, so that about as many end in each of the next frames."""
        chunks = [0] * CYCLE  # of the frames to come
        for caller in callers:
            if caller.awake and caller not in woken:
                _add_chunks(chunks, caller.position)
        for caller in woken:
            caller.position = min(_FRESHEST_FIRST, key=lambda position: _in_company(chunks, position))
            _add_chunks(chunks, caller.position)

    def _go_on(self, callers: list[CallerState]) -> None:
        """Run the second stage on the chunk that has ended."""
        samples = _samples([caller.chunk() for caller in callers], _CHUNK_SIZE)
        levels = _levels_dbfs(samples[:, CONTEXT_SAMPLES:])
        pairs = zip(callers, levels, strict=True)
        samples *= np.array([[caller.factor(level)] for caller, level in pairs], np.float32)
        states: Any = np.concatenate([caller.state for caller in callers]).reshape(len(callers), STATE_SIZE)
        logits, states = self._network.step(self._network.encode(samples), states)
        self.counts.chunks += len(callers)
        for index, caller in enumerate(callers):
            if caller.go_on(logits[index], states[index]):
                self._waiting.append(caller)

    def _replay(self) -> None:
        """Make the state of those who wait longest from their last 640 ms."""
        callers: list[CallerState] = []
        while self._waiting and len(callers) < MOST_REPLAYS:
            caller = self._waiting.popleft()
            if caller.awaits_replay and caller not in callers:
                callers.append(caller)
        if not callers:
            return
        count = len(callers)
        samples = _samples([caller.replay() for caller in callers], REPLAYED_SAMPLES)
        row, size = samples.strides
        shape = (count, REPLAYED_CHUNKS, _CHUNK_SIZE)
        chunks: Any = as_strided(samples, shape, (row, CHUNK_SAMPLES * size, size)).reshape(-1, _CHUNK_SIZE)
        levels: Any = np.array(_levels_dbfs(chunks[:, CONTEXT_SAMPLES:])).reshape(count, REPLAYED_CHUNKS)
        pairs = zip(callers, levels.max(1).tolist(), strict=True)
        factors = np.array([caller.factor(level) for caller, level in pairs], np.float32)
        chunks *= factors.repeat(REPLAYED_CHUNKS)[:, np.newaxis]
        inputs: Any = self._network.encode(chunks).reshape(count, REPLAYED_CHUNKS, -1)
        states: Any = np.zeros((count, STATE_SIZE), np.float32)
        logits: list[float] = []
        for number in range(REPLAYED_CHUNKS):
            logits, states = self._network.step(inputs[:, number], states)
        self.counts.replays += count
        for index, caller in enumerate(callers):
            caller.begin(logits[index], states[index])


def _samples(parts: list[bytes], size: int) -> Matrix:
    samples: Matrix = np.frombuffer(b"".join(parts), "<i2").reshape(len(parts), size).astype(np.float32)
    return samples


def _levels_dbfs(samples: Any) -> list[float]:  # noqa: ANN401 - a view of an array, as mypyc takes it
    energies = np.einsum("ij,ij->i", samples, samples) / _FULL_SCALE_ENERGY
    levels: list[float] = (10 * np.log10(np.maximum(energies, _QUIETEST))).tolist()
    return levels


def _add_chunks(chunks: list[int], position: int) -> None:
    for ahead in range(CYCLE):
        chunks[ahead] += ENDS_CHUNK[(position + 1 + ahead) % CYCLE]


def _in_company(chunks: list[int], position: int) -> int:
    """Return how many chunks of others end in the frames in which those of ``position`` would."""
    return sum(chunks[ahead] for ahead in range(CYCLE) if ENDS_CHUNK[(position + 1 + ahead) % CYCLE])
