"""Faults of the provider's audio: late, slow, in bursts, with stalls, with jitter, in odd chunk sizes.

Configured as text for a process (`REHEARSAL_FAULTS`) or a session (in its instructions); the same text
with the same seed produces the same faults again.
"""

import random
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.rehearsal.core.refusal import EventRefusedError
from services.rehearsal.core.sound import BYTES_PER_MS

_STATED = re.compile(r"\brehearsal faults: *([a-z0-9_=,]+(?: +[a-z0-9_]+=[0-9]+)*)", re.IGNORECASE)
_CHUNKS_MS = (100, 200, 400, 300, 200)
"""Chunks of varying length, the first one short, as providers send them."""
_ODD_BYTES = (2, 3, 1, 4801, 2, 9599, 6, 14_401, 5, 1919)
"""Single samples, halves of samples, and lengths that are no multiple of a frame."""
_HUNDRED = 100


class Faults(BaseModel):
    """The faults to produce. The defaults are a provider without faults, ten times faster than real time."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    seed: int = Field(default=1, ge=0, lt=2**63)
    """Seed of stalls and jitter."""
    first_ms: int = Field(default=0, ge=0, le=30_000)
    """Delay of the first audio of a response."""
    rate: int = Field(default=1000, ge=10, le=1_000_000)
    """Audio is sent at this percentage of real time; below 100 every player underruns."""
    burst_ms: int = Field(default=0, ge=0, le=600_000)
    """Audio of this length is sent at once, then nothing until it is due."""
    stall_ms: int = Field(default=0, ge=0, le=30_000)
    """The longest stall in the middle of an answer; the shortest is a tenth of it."""
    stall_every_ms: int = Field(default=2000, ge=100, le=600_000)
    """Mean length of audio between two stalls."""
    jitter_ms: int = Field(default=0, ge=0, le=5000)
    """Each delta is late by up to this."""
    odd: int = Field(default=0, ge=0, le=1)
    """Deltas of odd lengths: one sample, three bytes, half a frame."""


NO_FAULTS = Faults()
PRESETS: dict[str, dict[str, int]] = {
    "none": {},
    "slow": {"first_ms": 1500, "rate": 97},
    "whole": {"rate": 1_000_000},
    "bursty": {"burst_ms": 3000, "rate": 125},
    "stalling": {"rate": 150, "stall_ms": 3000, "stall_every_ms": 2000},
    "jittery": {"rate": 130, "jitter_ms": 600},
    "odd": {"odd": 1},
}


class InvalidFaultsError(ValueError):
    """The fault text cannot be parsed; the message lists what is allowed."""


def faults_of(words: str) -> Faults:
    """Parse presets and `name=number`, separated by commas or spaces; later ones win. Empty text: no faults.

    Raises:
        InvalidFaultsError: an unknown word, or a number out of range.
    """
    chosen: dict[str, Any] = {}
    for word in re.split(r"[\s,]+", words.strip().lower()):
        name, assigned, number = word.partition("=")
        if not word:
            continue
        if assigned:
            chosen[name] = number
        elif name in PRESETS:
            chosen |= PRESETS[name]
        else:
            raise InvalidFaultsError(
                f"faults are {', '.join(PRESETS)} or NAME=NUMBER with {', '.join(Faults.model_fields)}"
            )
    try:
        return Faults.model_validate(chosen)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        raise InvalidFaultsError(f"faults: {'.'.join(map(str, first['loc']))}: {first['msg']}") from exc


def faults_in(instructions: str, default: Faults) -> Faults:
    """Return the faults in a session's instructions ("rehearsal faults: stalling, seed=7"), else ``default``.

    Raises:
        EventRefusedError: they cannot be parsed.
    """
    stated = _STATED.search(instructions)
    if stated is None:
        return default
    try:
        return faults_of(stated.group(1))
    except InvalidFaultsError as exc:
        raise EventRefusedError("invalid_value", f"Invalid value: {exc}.", "session.instructions") from exc


class AudioSchedule:
    """When the audio of one response is sent, and in which chunks. ``number``: index of the response in its session."""

    def __init__(self, faults: Faults, number: int = 0) -> None:
        self.first_s = faults.first_ms / 1000
        self._faults = faults
        self._random = random.Random(f"{faults.seed}/{number}")  # noqa: S311 - repeatable, not secret
        self._position = 0  # bytes sent
        self._chunk = 0
        self._stalled_s = 0.0
        self._next_stall = self._draw_stall_position()
        self._due_s = 0.0

    def chunk_bytes(self) -> int:
        """Length of the next delta."""
        self._chunk += 1
        if self._faults.odd:
            return _ODD_BYTES[(self._chunk - 1) % len(_ODD_BYTES)]
        return _CHUNKS_MS[(self._chunk - 1) % len(_CHUNKS_MS)] * BYTES_PER_MS

    def chunk_sent(self, length: int) -> float:
        """Record that a delta of ``length`` bytes is sent; returns the seconds until the next one is due."""
        self._position += length
        self._stall()
        # A delta is never early: a late one delays those after it, by no more than that.
        due_s = max(self._due_s, self._in_time_s() + self._random.uniform(0, self._faults.jitter_ms / 1000))
        waits_s, self._due_s = due_s - self._due_s, due_s
        return waits_s

    def _in_time_s(self) -> float:
        """Seconds at which the audio at the current position is due without jitter."""
        burst = self._faults.burst_ms * BYTES_PER_MS
        position = self._position // burst * burst if burst else self._position
        return position / BYTES_PER_MS / 1000 * _HUNDRED / self._faults.rate + self._stalled_s

    def _stall(self) -> None:
        if self._faults.stall_ms and self._position >= self._next_stall:
            longest_s = self._faults.stall_ms / 1000
            self._stalled_s += self._random.uniform(longest_s / 10, longest_s)
            self._next_stall = self._position + self._draw_stall_position()

    def _draw_stall_position(self) -> int:
        return round(self._faults.stall_every_ms * self._random.uniform(0.5, 1.5)) * BYTES_PER_MS
