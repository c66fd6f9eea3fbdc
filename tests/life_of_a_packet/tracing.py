"""Records the functions of `services` that are called while a block runs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[2]
NOT_ITS = frozenset(
    {
        "SlotSchedule.turn",
        "SlotSchedule.__len__",
        "Inbound.on_timer",
        "Wheel._measure",
        "BatchSender.run",
        "Bus.flush",
        "HeardClock._keep",
    }
)
"""Not for the packet: scheduling, timers, the flush of several packets, what depends on the clock."""
EMPTY_UNLESS_CALLING = frozenset({"_run_stages", "Bus.subscribe.receive"})
"""Stages without members, and what the test itself receives."""


@dataclass
class Entered:
    """A function call, and the calls that it made."""

    file: str
    name: str
    inner: list["Entered"] = field(default_factory=list)

    def walk(self) -> Iterator["Entered"]:
        """Yield the calls in order, without those that are not for the packet."""
        if self.name in NOT_ITS or (self.name in EMPTY_UNLESS_CALLING and not self.inner):
            return
        if not self.name.rpartition(".")[2].startswith("<"):  # comprehensions are their function's
            yield self
        for one in self.inner:
            yield from one.walk()

    def has(self, name: str) -> bool:
        """Whether the function ``name`` was called."""
        return any(one.name == name for one in self.walk())


@contextmanager
def traced() -> Iterator[list[Entered]]:
    """Record calls of functions in `services` while the block lasts."""
    roots: list[Entered] = []
    active: dict[FrameType, Entered] = {}
    prefix = f"{ROOT / 'services'}/"

    def on_event(frame: FrameType, event: str, _: object) -> None:
        if event == "return":
            active.pop(frame, None)
        if event != "call" or not frame.f_code.co_filename.startswith(prefix):
            return
        name = frame.f_code.co_qualname.replace(".<locals>", "")  # type: ignore[attr-defined,unused-ignore]
        entered = Entered(frame.f_code.co_filename.removeprefix(prefix), name)
        outer = frame.f_back
        while outer is not None and outer not in active:
            outer = outer.f_back
        (roots if outer is None else active[outer].inner).append(entered)
        active[frame] = entered

    sys.setprofile(on_event)
    try:
        yield roots
    finally:
        sys.setprofile(None)


@dataclass
class PacketPath:
    """The calls for one packet."""

    calls: list[Entered]

    @property
    def files(self) -> int:
        """How many files it passed."""
        return len({call.file for call in self.calls})

    def table(self) -> str:
        """Return a Markdown table with a row per file, in the order in which they are entered first."""
        rows: dict[str, dict[str, None]] = {}
        for call in self.calls:
            rows.setdefault(call.file, {})[f"`{call.name}`"] = None
        lines = [f"| `{file}` | {' '.join(names)} |" for file, names in rows.items()]
        counted = f"{self.files} files, {len(self.calls)} calls."
        return "\n".join([counted, "", "| file in `services/` | functions |", "|---|---|", *lines])
