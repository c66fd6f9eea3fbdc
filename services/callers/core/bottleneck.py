"""Finds the process that limits a load run from each process's CPU time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

CALLERS = "callers"
"""Name of the caller processes, among the services."""
THIS = "load"
"""Name of the process that measures."""
_AT_LIMIT_PCT = 90.0
"""A thread that runs, or waits for a CPU, for this share of the time is saturated."""
_FULL_PCT = 95.0
"""All CPUs of the machine together."""
_ROLES = {"rehearsal": " (provider)", CALLERS: " (this load tool)", THIS: " (this load tool)", "nats": " (bus)"}


@dataclass(frozen=True, slots=True)
class ServiceLoad:
    """CPU and memory of a service. ``cpu_pct`` of one core, mean; ``rss_mb`` maximum.

    ``busiest_pct``: the share of time in which its busiest thread ran or waited for a CPU, if the kernel reports it.
    ``waiting_pct``: the part of it spent waiting for a CPU that others used.
    """

    cpu_pct: float
    rss_mb: float
    busiest_pct: float | None = None
    waiting_pct: float | None = None


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """``service`` is saturated; None: no single one is. ``words`` describe it in half a sentence."""

    where: Literal["provider", "gateway", "callers", "machine", "none", "unknown"]
    service: str | None
    words: str


def bottleneck(services: Mapping[str, ServiceLoad], machine_pct: float | None) -> Bottleneck:
    """Find the limiting service: the one whose busiest thread is nearest to a whole core."""
    busy = {name: _busy(usage) for name, usage in services.items()}
    if not set(busy) - {CALLERS, THIS} and not _is_at_limit(busy):
        return Bottleneck("unknown", None, "Bottleneck unknown, the processes of the endpoint are not on this machine")
    if _is_at_limit(busy):
        name = max(busy, key=lambda each: busy[each])
        return Bottleneck(_where(name), name, f"Bottleneck: {name}{_ROLES.get(name, '')} {_in_words(services[name])}")
    if machine_pct is not None and machine_pct >= _FULL_PCT:
        name = max(services, key=lambda each: services[each].cpu_pct)
        words = f"Bottleneck: this machine, its CPUs are {machine_pct:.0f} % busy, most of our share by {name}"
        return Bottleneck("machine", None, f"{words} ({services[name].cpu_pct:.0f} % of a core)")
    return Bottleneck("none", None, "No process is at its limit")


def _busy(usage: ServiceLoad) -> float:
    return usage.cpu_pct if usage.busiest_pct is None else usage.busiest_pct


def _is_at_limit(busy: Mapping[str, float]) -> bool:
    return max(busy.values(), default=0.0) >= _AT_LIMIT_PCT


def _where(name: str) -> Literal["provider", "gateway", "callers"]:
    if name in {CALLERS, THIS}:
        return "callers"
    return "provider" if name == "rehearsal" else "gateway"


def _in_words(usage: ServiceLoad) -> str:
    words = f"{_busy(usage):.0f} % of a core"
    waiting = usage.waiting_pct or 0.0
    return f"{words}, {waiting:.0f} % of it in wait for a CPU that others had" if waiting >= 1 else words
