"""The figures of a load run: the sums over all processes, in the shape of the JSON file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from services.callers.core.bottleneck import CALLERS, ServiceLoad, bottleneck
from services.callers.core.histogram import Histogram
from services.callers.core.reception import ReceptionTotals
from services.callers.core.requirement import ANY
from services.callers.core.simulated_caller import TurnTotals

Figures = dict[str, Any]
"""Plain values for JSON; the keys are those of docs/load.md."""

_LATE_MS = 60
"""The delay that a receiver with a small buffer tolerates before it conceals a packet."""
_RIG_LATE_MS = 20.0


class Failure(StrEnum):
    """Why a call failed."""

    REFUSED = "refused"
    """The endpoint refused the key or the offer, or had no capacity."""
    UNREACHABLE = "unreachable"
    """Nobody answers HTTP."""
    STRANGE_ANSWER = "strange_answer"
    """Something answers that is no Realtime endpoint."""
    NOT_CONNECTED = "not_connected"
    """The offer was answered, but no WebRTC connection came up."""
    ENDED_EARLY = "ended_early"
    """The other side ended the call."""
    NO_AUDIO = "no_audio"
    """The caller asked and received not one packet."""
    RIG = "rig"
    """The caller process exited: not the endpoint's fault."""


@dataclass(slots=True)
class ProcessFigures:
    """Measurements of one process's calls."""

    connected: int = 0
    failures: dict[Failure, int] = field(default_factory=dict)
    details: dict[Failure, str] = field(default_factory=dict)
    """For each failure, the message of the first call that had it."""
    sent: int = 0
    unsent: int = 0
    """Packets that the local socket did not accept."""
    bills: int = 0
    cost_usd: Decimal = Decimal(0)
    saved_usd: Decimal = Decimal(0)
    set_up: Histogram = field(default_factory=Histogram)
    pacing: Histogram = field(default_factory=Histogram)
    """How late our own packets were sent."""
    received: ReceptionTotals = field(default_factory=ReceptionTotals)
    turns: TurnTotals = field(default_factory=TurnTotals)

    def failed(self, failure: Failure, detail: str, calls: int = 1) -> None:
        """Count failed calls."""
        self.failures[failure] = self.failures.get(failure, 0) + calls
        self.details.setdefault(failure, detail)

    def merge(self, other: "ProcessFigures") -> None:
        """Add the measurements of another process."""
        for failure, count in other.failures.items():
            self.failed(failure, other.details[failure], count)
        self.connected += other.connected
        self.sent += other.sent
        self.unsent += other.unsent
        self.bills += other.bills
        self.cost_usd += other.cost_usd
        self.saved_usd += other.saved_usd
        self.set_up.merge(other.set_up)
        self.pacing.merge(other.pacing)
        self.received.merge(other.received)
        self.turns.merge(other.turns)


@dataclass(frozen=True, slots=True)
class Point:
    """One sample of the run."""

    at_s: float
    connected: int
    """Calls that are connected now."""
    cpu_pct: Mapping[str, float]
    """By service, of one core."""


@dataclass(frozen=True, slots=True)
class Run:
    """The options of a run and its measurements."""

    url: str
    calls: int
    talk: float
    dtx: bool
    seconds: float
    processes: int
    account: ProcessFigures
    services: Mapping[str, ServiceLoad] = field(default_factory=dict)
    points: Sequence[Point] = ()
    machine_pct: float | None = None
    """CPU utilisation of this machine, including other programs; 100 is all CPUs."""
    gateway_concealed: int | None = None
    """Frames from callers that the gateway concealed, if its metrics can be read."""
    interrupted: bool = False


def figures(run: Run) -> Figures:
    """Compute all figures, rounded; None where nothing was measured."""
    account, turns = run.account, run.account.turns
    return {
        "url": run.url,
        "interrupted": run.interrupted,
        "seconds": round(run.seconds, 1),
        "calls": {
            "asked": run.calls,
            "connected": account.connected,
            "failed": sum(account.failures.values()),
            "failed_by": {failure.value: account.failures.get(failure, 0) for failure in Failure},
        },
        "setup_ms": account.set_up.percentiles(),
        "spacing_ms": account.received.spacing.percentiles(),
        "lateness_ms": account.received.lateness.percentiles(),
        "turn_ms": turns.latency.percentiles(),
        "turn_provider_ms": turns.provider.percentiles(),
        "turn_hangover_ms": turns.hangover.percentiles(),
        "turn_gateway_ms": turns.gateway.percentiles(),
        "barge_in_ms": turns.barge_in.percentiles(),
        "frames": {
            "sent": account.sent,
            "received": account.received.received,
            "lost": account.received.lost,
            "concealed": _concealed(run),
        },
        "turns": {
            "asked": turns.asked,
            "answered": turns.answered,
            "overlapped": turns.overlapped,
            "told": turns.provider.total,
            "answered_share": _share(turns.answered, turns.asked),
        },
        "barge_ins": {"tried": turns.barge_ins, "stopped": turns.stopped},
        "talk": {"asked": run.talk, "measured": _share(turns.frames_spoken, turns.frames_passed)},
        "services": {
            name: {
                "cpu_pct": round(usage.cpu_pct, 1),
                "busiest_pct": _rounded(usage.busiest_pct),
                "waiting_pct": _rounded(usage.waiting_pct),
                "rss_mb": round(usage.rss_mb, 1),
            }
            for name, usage in run.services.items()
        },
        "rig": {
            "processes": run.processes,
            "cpu_pct_per_call": _per_call(run),
            "pacing_ms": account.pacing.percentiles(),
            "unsent": account.unsent,
        },
        "cost_usd": float(account.cost_usd) if account.bills else None,
        "saved_usd": float(account.saved_usd) if account.bills else None,
        "machine": {"cpu_pct": _rounded(run.machine_pct)},
        "bottleneck": _bottleneck(run),
        "notes": list(_notes(run)),
        "series": {
            "at_s": [round(point.at_s, 1) for point in run.points],
            "connected": [point.connected for point in run.points],
            "cpu_pct": {
                name: [round(point.cpu_pct.get(name, 0.0), 1) for point in run.points] for name in _names(run.points)
            },
        },
    }


_NOT_FOR_REQUIREMENTS = ("url", "interrupted", "bottleneck", "notes", "series")


def known_figures() -> Figures:
    """The shape of the figures that a requirement may name."""
    empty = Run(url="", calls=0, talk=0, dtx=True, seconds=0, processes=0, account=ProcessFigures())
    shape = {name: value for name, value in figures(empty).items() if name not in _NOT_FOR_REQUIREMENTS}
    return shape | {"services": {ANY: dict.fromkeys(("cpu_pct", "busiest_pct", "waiting_pct", "rss_mb"))}}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _bottleneck(run: Run) -> Figures:
    found = bottleneck(run.services, run.machine_pct)
    return {
        "where": found.where,
        "service": found.service,
        "sentence": f"{found.words}: {_turn_in_words(run.account.turns)}.",
    }


def _turn_in_words(turns: TurnTotals) -> str:
    p50 = [h.quantile(0.5) for h in (turns.latency, turns.provider, turns.hangover, turns.gateway)]
    answered = f"{turns.answered} of {turns.asked} turns answered"
    if p50[0] is None:
        return answered
    turn, *shares = (f"{ms / 1000:.2f} s" for ms in p50 if ms is not None)
    words = f"{answered}, turn p50 {turn}"
    if shares:
        provider, hangover, gateway = shares
        words += f" of which provider {provider}, the gate's hangover {hangover}, gateway and network {gateway}"
    return words


def _concealed(run: Run) -> int:
    if run.gateway_concealed is not None:
        return run.gateway_concealed
    return run.account.received.lost + run.account.received.lateness.above(_LATE_MS)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 3) if whole else None


def _per_call(run: Run) -> float | None:
    usage = run.services.get(CALLERS)
    return round(usage.cpu_pct / run.account.connected, 3) if usage and run.account.connected else None


def _names(points: Sequence[Point]) -> list[str]:
    return sorted({name for point in points for name in point.cpu_pct})


def _notes(run: Run) -> Iterable[str]:
    account = run.account
    if run.interrupted:
        yield f"Interrupted after {run.seconds:.0f} s: the figures are of what was measured until then."
    yield "frames.concealed: " + (
        "frames that the gateway concealed, by its own metrics, over all its callers."
        if run.gateway_concealed is not None
        else f"frames from the gateway that a receiver must conceal: lost, or more than {_LATE_MS} ms late."
    )
    for failure, count in account.failures.items():
        yield f"{count} {'call' if count == 1 else 'calls'} {failure.value}: {account.details[failure]}"
    if run.talk >= 1:
        yield "Callers that talk all the time wait for no answers: there are no turns and no barge-ins to measure."
    if account.bills < account.connected:
        yield f"{account.bills} of {account.connected} calls have a bill: cost_usd and saved_usd are of those."
    late_ms = account.pacing.quantile(0.99)
    if late_ms is not None and late_ms > _RIG_LATE_MS:
        yield f"The rig itself was late, p99 {late_ms:g} ms: use more --processes, or fewer calls on this machine."
