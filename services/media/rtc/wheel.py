"""Turns the rotas of a process: one timer for the frames and the small duties of all its calls.

The work of a slot goes stage by stage, not call by call: with a hundred calls that takes a tenth less time, because the
code of libopus, of SRTP and of the kernel then stays in the core's cache while it is used.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from services.media import metrics
from services.media.core.effort import Efforts
from services.media.core.pacer import FRAME_S, Rota
from services.runtime import clock

MEASURE_S = 1.0


Stage = Callable[[float], bool]
"""Takes a time in monotonic seconds; returns whether the next stage has something to do."""


class Staged(Protocol):
    """Work in stages. Each stage is taken for all of a slot before the next, so that its code stays in the cache."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One after another; the last returns False."""

    def broke(self) -> None:
        """A stage failed with an error that nobody expected: it is being handled now."""


class Ticks(Protocol):
    """Something that looks after itself every 20 ms."""

    def tick(self, *, now: float) -> None:
        """Time has passed."""

    def broke(self) -> None:
        """That failed with an error that nobody expected: it is being handled now."""


class Datagrams(Protocol):
    """What is read before each slot while the wheel turns."""

    def wake_by_datagrams(self, *, on: bool) -> None:
        """Whether datagrams are read as they come."""

    def read_all(self) -> None:
        """Read what has come."""


class Wheel:
    """Players send frames while they have some, ears hear what came, members are all legs.

    It stands still while nobody is there.

    While it turns, datagrams are read with each slot: the loop then wakes 200 times a second, however many calls.
    """

    def __init__(self, datagrams: Datagrams) -> None:
        now = clock.monotonic()
        self._datagrams = datagrams
        self._loop = asyncio.get_running_loop()
        self._players: Rota[Staged] = Rota(now=now)
        self._ears: list[Staged] = []  # of this slot
        self._members: Rota[Ticks] = Rota(now=now)
        self._timer: asyncio.Handle | None = None
        self._measured = (now, clock.cpu_s())
        self.efforts = Efforts()

    def enter(self, member: Ticks) -> None:
        """Tick ``member`` every 20 ms from now on."""
        self._members.join(member, spread=True)
        self._start()

    def hear(self, ear: Staged) -> None:
        """Let ``ear`` take what came for a member, once all datagrams of the slot are read."""
        self._ears.append(ear)

    def play(self, player: Staged) -> None:
        """Give ``player`` a turn every 20 ms, the first within 5 ms. Safe to repeat."""
        self._players.join(player)
        self._start()

    def rest(self, player: Staged) -> None:
        """``player`` has nothing to send."""
        self._players.leave(player)

    def leave(self, member: Ticks, player: Staged) -> None:
        """Both are gone."""
        self._members.leave(member)
        self._players.leave(player)

    def stop(self) -> None:
        """The port is being closed: turn no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _measure(self, now: float) -> None:
        (since, cpu_before), cpu = self._measured, clock.cpu_s()
        self._measured = (now, cpu)
        if self.efforts.measured((cpu - cpu_before) / (now - since)):
            metrics.ENCODER_COMPLEXITY.set(self.efforts.now.complexity)
            metrics.ENCODER_BIT_RATE.set(self.efforts.now.bit_rate)
            metrics.ENCODER_PACKET.set(self.efforts.now.frames * FRAME_S)

    def _start(self) -> None:
        if self._timer is None:
            self._datagrams.wake_by_datagrams(on=False)
            self._timer = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        now = clock.monotonic()
        if now - self._measured[0] >= MEASURE_S:
            self._measure(now)
        while (turn := self._players.turn(now=now)) is not None:
            due, players = turn
            _take_stages(players, due)
        self._datagrams.read_all()  # what is due goes first: a frame that waits is heard, a packet that waits is not
        ears, self._ears = self._ears, []
        _take_stages(ears, clock.monotonic())
        while (turn_of_members := self._members.turn(now=now)) is not None:
            for member in turn_of_members[1]:
                try:
                    member.tick(now=now)
                except Exception:  # noqa: BLE001 - the edge: one call's failure must not stop the wheel of all
                    member.broke()
        if len(self._members) or len(self._players):
            due = min(self._players.next_due, self._members.next_due)
            self._timer = self._loop.call_at(due, self._turn)
        else:
            self._timer = None
            self._datagrams.wake_by_datagrams(on=True)


def _take_stages(all_of_them: Sequence[Staged], at: float) -> None:
    """Stage by stage for all. Whoever fails in one is out; the others go on."""
    left, number = all_of_them, 0
    while left:
        on: list[Staged] = []
        for one in left:
            try:
                if one.stages[number](at):
                    on.append(one)
            except Exception:  # noqa: BLE001 - the edge: as above
                one.broke()
        left = on
        number += 1
