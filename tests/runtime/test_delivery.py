"""Both ends of a call's stream, on a bus that the test takes away; and once on a real one."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.contracts import frame as frames
from services.contracts.frame import Flag, Frame, Kind
from services.contracts.ids import Epoch
from services.runtime.bus import Bus
from services.runtime.delivery import KEPT_S, Delivery, DeliveryFullError
from services.up.natsd import nats_server
from tests.runtime.test_sender import until

EPOCH = Epoch(7)
THERE, BACK = "hg.up.w.c", "hg.down.p.c"


@dataclass
class Wire:
    """A connection whose server the test is; what is posted while it ``loses`` was accepted and arrives nowhere."""

    connected: bool = True
    returns: int = 0
    loses: bool = False
    arrived: list[Frame] = field(default_factory=list)

    def post(self, subject: str, data: bytes) -> bool:
        assert subject == THERE
        if self.connected and not self.loses:
            self.arrived.append(frames.decode(data))
        return self.connected

    def back(self) -> None:
        self.connected, self.loses = True, False
        self.returns += 1

    def told(self) -> list[tuple[int, bool]]:
        """Position of each frame that is no sign of life, and whether it was said again; forgets them."""
        told = [(f.position, Flag.RESENT in f.flags) for f in self.arrived if f.kind is not Kind.ALIVE]
        self.arrived.clear()
        return told


def a_frame(position: int, size: int = 2) -> bytes:
    return frames.encode(Frame(Kind.PLAYOUT_REPORT, EPOCH, position, 0, payload=bytes(size)))


def a_delivery(wire: Wire, *, speaks_first: bool = True, max_bytes: int = 4096) -> Delivery:
    return Delivery(wire, THERE, epoch=EPOCH, max_bytes=max_bytes, speaks_first=speaks_first)


def test_frames_go_as_they_come() -> None:
    wire = Wire()
    delivery = a_delivery(wire)
    for position in (1, 2):
        delivery.send(a_frame(position), now=0)
    delivery.heard(returned=False, now=0)
    assert wire.told() == [(1, False), (2, False)]


def test_whoever_must_not_speak_first_waits_and_says_nothing_of_it() -> None:
    wire = Wire()
    delivery = a_delivery(wire, speaks_first=False)
    delivery.send(a_frame(1), now=0)
    delivery.tick(now=1)
    assert wire.arrived == []
    delivery.heard(returned=False, now=1)
    assert wire.told() == [(1, False)]


def test_who_was_away_says_so_until_answered_and_then_all_that_may_be_lost_before_what_is_new() -> None:
    wire = Wire()
    delivery = a_delivery(wire)
    delivery.send(a_frame(1), now=2)
    delivery.tick(now=KEPT_S)
    wire.told()
    wire.loses = True
    delivery.send(a_frame(2), now=KEPT_S + 1)
    wire.connected = False
    delivery.tick(now=KEPT_S + 2)
    delivery.send(a_frame(3), now=KEPT_S + 3)
    assert delivery.held
    delivery.heard(returned=False, now=KEPT_S + 3)  # was under way
    wire.back()
    delivery.send(a_frame(4), now=KEPT_S + 20)
    for _ in range(2):
        delivery.tick(now=KEPT_S + 20)
    assert [(f.kind, f.flags) for f in wire.arrived] == [(Kind.ALIVE, Flag.RETURNED)] * 2
    delivery.heard(returned=False, now=KEPT_S + 21)
    assert wire.arrived[2].kind is Kind.ALIVE
    assert wire.told() == [(1, True), (2, True), (3, False), (4, False)]
    assert not delivery.held


def test_what_is_older_than_can_be_lost_is_not_said_again() -> None:
    wire = Wire()
    delivery = a_delivery(wire)
    delivery.send(a_frame(1), now=0)
    delivery.tick(now=KEPT_S + 1)
    delivery.heard(returned=True, now=KEPT_S + 1)
    assert wire.told() == [(1, False)]


def test_an_interruption_that_nobody_saw_is_one() -> None:
    wire = Wire()
    delivery = a_delivery(wire)
    wire.back()
    assert delivery.held
    delivery.heard(returned=False, now=0)
    assert not delivery.held


def test_who_hears_that_the_other_side_was_away_answers_and_says_the_last_seconds_again() -> None:
    wire = Wire()
    delivery = a_delivery(wire)
    delivery.send(a_frame(1), now=0)
    wire.told()
    delivery.heard(returned=True, now=1)
    assert wire.arrived[0].kind is Kind.ALIVE
    assert wire.told() == [(1, True)]


def test_what_waits_and_what_is_kept_is_bounded() -> None:
    wire = Wire()
    delivery = a_delivery(wire, max_bytes=100)
    for position in range(3):
        delivery.send(a_frame(position, 20), now=0)
    wire.told()
    delivery.heard(returned=True, now=0)
    assert wire.told() == [(1, True), (2, True)]
    wire.connected = False
    delivery.send(a_frame(3, 60), now=0)
    with pytest.raises(DeliveryFullError):
        delivery.send(a_frame(4, 60), now=0)


async def test_over_a_server_that_dies_and_comes_back_all_arrives_once_and_in_order(tmp_path: Path) -> None:
    async with (
        nats_server(tmp_path) as server,
        Bus.connect(server.url, name="a") as here,
        Bus.connect(server.url, name="b") as there,
    ):
        ours = Delivery(here, THERE, epoch=EPOCH, max_bytes=4096, speaks_first=True)
        theirs = Delivery(there, BACK, epoch=EPOCH, max_bytes=4096, speaks_first=False)
        got: list[int] = []

        def at_theirs(_: str, data: bytes) -> None:
            frame = frames.decode(data)
            theirs.heard(returned=Flag.RETURNED in frame.flags, now=0)
            if frame.kind is not Kind.ALIVE and frame.position not in got:
                got.append(frame.position)

        def at_ours(_: str, data: bytes) -> None:
            ours.heard(returned=Flag.RETURNED in frames.decode(data).flags, now=0)

        await there.listen(THERE, at_theirs)
        await here.listen(BACK, at_ours)
        await there.flush()
        ours.send(a_frame(0), now=0)
        await until(lambda: got == [0])
        server.process.kill()
        ours.send(a_frame(1), now=0)
        await server.process.wait()
        await until(lambda: not (here.connected or there.connected))
        ours.send(a_frame(2), now=0)
        await server.start_again()
        await until(lambda: here.connected)
        ours.send(a_frame(3), now=0)

        async def tick() -> None:
            while True:
                ours.tick(now=0)
                theirs.tick(now=0)
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        try:
            await until(lambda: len(got) == 4)
        finally:
            ticking.cancel()
        assert got == [0, 1, 2, 3]
