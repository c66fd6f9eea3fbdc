"""Options of a load run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CALLS_PER_PROCESS = 60
"""More fit: 250 were measured on a core. But a process with spare CPU time measures more exactly."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Options of one run. ``minutes`` count from the placement of the last call."""

    url: str
    key: str = field(repr=False)
    calls: int
    per_second: float = 5.0
    """Calls placed per second."""
    minutes: float = 1.0
    talk: float = 0.42
    """Share of the time in which a caller speaks; 1 is all the time, without turns."""
    dtx: bool = True
    """During silence send one packet per 400 ms, as Chromium with `usedtx`; else one per 20 ms."""
    wav: Path | None = None
    """A folder of WAV files to play instead of flite's phrases."""
    model: str | None = None
    processes: int | None = None
    """How many processes; None: one for each `CALLS_PER_PROCESS`, at most one for each CPU."""
    cpus: tuple[int, ...] = ()
    """Which CPUs the processes may use; empty: all."""
    up: Mapping[str, Any] | None = None
    """Content of `up.json`, when the endpoint is this machine's `hushgate up`: its processes are measured, too."""

    @property
    def ramp_s(self) -> float:
        """Seconds until the last call is placed."""
        return (self.calls - 1) / self.per_second

    @property
    def session(self) -> dict[str, Any]:
        """The session to request."""
        return {"type": "realtime"} | ({"model": self.model} if self.model else {})
