"""Runs the slot schedules of a process: one timer for the frames and the timers of all its calls.

A slot is processed stage by stage, not call by call: with a hundred calls that takes a tenth less time, because the
code of libopus, of SRTP and of the kernel then stays in the core's cache while it is used.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from services.media import metrics
from services.media.core.rtp.encoder_complexity import ComplexityControl
from services.media.core.rtp.pacer import FRAME_S, SlotSchedule
from services.runtime import clock

MEASURE_S = 1.0


StageFunction = Callable[[float], bool]
"""Takes a time in monotonic seconds; returns whether the next stage must run."""


class Staged(Protocol):
    """Work in stages. Each stage runs for all members of a slot before the next, so that its code stays cached."""

    @property
    def stages(self) -> tuple[StageFunction, ...]:
        """The stages in order; the last returns False."""

    def failed(self) -> None:
        """Handle that a stage raised an unexpected error. Called in the except block."""


class TimerMember(Protocol):
    """A member with work to do every 20 ms."""

    def on_timer(self, *, now: float) -> None:
        """Do what is due as of ``now``."""

    def failed(self) -> None:
        """Handle that `on_timer` raised an unexpected error. Called in the except block."""


class DatagramSource(Protocol):
    """A source of datagrams that is polled before each slot while the wheel runs."""

    def wake_by_datagrams(self, *, on: bool) -> None:
        """Choose whether each datagram wakes the event loop (``on``), or only `read_all` reads."""

    def read_all(self) -> None:
        """Read and handle all datagrams received by now."""


class Wheel:
    """A timing wheel: players send a frame every 20 ms, receivers process received packets, members are all legs.

    It stops while it has no members. While it runs, datagrams are read with each slot: the event loop then wakes 200
    times a second, however many calls there are.
    """

    def __init__(self, datagrams: DatagramSource) -> None:
        now = clock.monotonic()
        self._datagrams = datagrams
        self._loop = asyncio.get_running_loop()
        self._players: SlotSchedule[Staged] = SlotSchedule(now=now)
        self._receivers: list[Staged] = []  # of this slot
        self._members: SlotSchedule[TimerMember] = SlotSchedule(now=now)
        self._timer: asyncio.Handle | None = None
        self._measured = (now, clock.cpu_s())
        self.complexity = ComplexityControl()

    def add_member(self, member: TimerMember) -> None:
        """Call `on_timer` of ``member`` every 20 ms from now on."""
        self._members.join(member, spread=True)
        self._start()

    def add_receiver(self, receiver: Staged) -> None:
        """Run the stages of ``receiver`` once, when all datagrams of the slot are read."""
        self._receivers.append(receiver)

    def add_player(self, player: Staged) -> None:
        """Run the stages of ``player`` every 20 ms, the first time within 5 ms. Idempotent."""
        self._players.join(player)
        self._start()

    def remove_player(self, player: Staged) -> None:
        """Stop running ``player``. Idempotent."""
        self._players.leave(player)

    def remove(self, member: TimerMember, player: Staged) -> None:
        """Remove a leg's ``member`` and ``player``. Idempotent."""
        self._members.leave(member)
        self._players.leave(player)

    def stop(self) -> None:
        """Stop the timer for good: the port is being closed."""
        if self._timer is not None:
            self._timer.cancel()

    def _measure(self, now: float) -> None:
        (since, cpu_before), cpu = self._measured, clock.cpu_s()
        self._measured = (now, cpu)
        if self.complexity.measured((cpu - cpu_before) / (now - since)):
            metrics.ENCODER_COMPLEXITY.set(self.complexity.now.complexity)
            metrics.ENCODER_BIT_RATE.set(self.complexity.now.bit_rate)
            metrics.ENCODER_PACKET.set(self.complexity.now.frames * FRAME_S)

    def _start(self) -> None:
        if self._timer is None:
            self._datagrams.wake_by_datagrams(on=False)
            self._timer = self._loop.call_soon(self._run_due_slots)

    def _run_due_slots(self) -> None:
        now = clock.monotonic()
        if now - self._measured[0] >= MEASURE_S:
            self._measure(now)
        while (turn := self._players.turn(now=now)) is not None:
            due, players = turn
            _run_stages(players, due)
        self._datagrams.read_all()  # after what is due: a late frame is audible, a packet read late is not
        receivers, self._receivers = self._receivers, []
        _run_stages(receivers, clock.monotonic())
        while (turn_of_members := self._members.turn(now=now)) is not None:
            for member in turn_of_members[1]:
                try:
                    member.on_timer(now=now)
                except Exception:  # noqa: BLE001 - the edge: one call's failure must not stop the wheel of all
                    member.failed()
        if len(self._members) or len(self._players):
            due = min(self._players.next_due, self._members.next_due)
            self._timer = self._loop.call_at(due, self._run_due_slots)
        else:
            self._timer = None
            self._datagrams.wake_by_datagrams(on=True)


def _run_stages(all_of_them: Sequence[Staged], at: float) -> None:
    """Run stage by stage for all. One that raises is left out of the next stages; the others go on."""
    left, number = all_of_them, 0
    while left:
        on: list[Staged] = []
        for one in left:
            try:
                if one.stages[number](at):
                    on.append(one)
            except Exception:  # noqa: BLE001 - the edge: as above
                one.failed()
        left = on
        number += 1
