"""What a load run is asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CALLS_PER_PROCESS = 60
"""More fit: 250 were measured on a core. But the figures of a process that has time to spare are the truer ones."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """One run. ``minutes`` from the moment that the last call is placed."""

    url: str
    key: str = field(repr=False)
    calls: int
    per_second: float = 5.0
    """How many calls are placed a second."""
    minutes: float = 1.0
    talk: float = 0.42
    """Share of the time in which a caller speaks; 1 is all the time, without turns."""
    dtx: bool = True
    """While silent, send a packet each 400 ms, as Chromium with `usedtx`; else one each 20 ms."""
    wav: Path | None = None
    """A folder of files to speak instead of flite's phrases."""
    model: str | None = None
    processes: int | None = None
    """How many processes; None: one for each `CALLS_PER_PROCESS`, at most one for each CPU."""
    cpus: tuple[int, ...] = ()
    """Which CPUs the processes may use; none are all."""
    up: Mapping[str, Any] | None = None
    """What `up.json` says, when the endpoint is the `hushgate up` of this machine: its processes are measured, too."""

    @property
    def ramp_s(self) -> float:
        """Seconds until the last call is placed."""
        return (self.calls - 1) / self.per_second

    @property
    def session(self) -> dict[str, Any]:
        """The session to ask for."""
        return {"type": "realtime"} | ({"model": self.model} if self.model else {})
