"""Both ends of a call's stream, on a bus that the test interrupts; and once on a real one."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.contracts import frame as frames
from services.contracts.frame import Flag, Frame, Kind
from services.contracts.ids import Epoch
from services.runtime.bus.client import Bus
from services.runtime.bus.reliable_sender import KEPT_S, ReliableSender, SendQueueFullError
from services.up.nats_server import nats_server
from tests.runtime.test_batch_sender import until

EPOCH = Epoch(7)
THERE, BACK = "hg.up.w.c", "hg.down.p.c"


@dataclass
class ControlledConnection:
    """A connection that the test controls; what is posted while it ``loses`` is accepted and never delivered."""

    connected: bool = True
    reconnects: int = 0
    loses: bool = False
    arrived: list[Frame] = field(default_factory=list)

    def post(self, subject: str, data: bytes) -> bool:
        assert subject == THERE
        if self.connected and not self.loses:
            self.arrived.append(frames.decode(data))
        return self.connected

    def back(self) -> None:
        self.connected, self.loses = True, False
        self.reconnects += 1

    def drain_frames(self) -> list[tuple[int, bool]]:
        """Position of each frame except keepalives, and whether it was resent; clears them."""
        drain_frames = [(f.position, Flag.RESENT in f.flags) for f in self.arrived if f.kind is not Kind.ALIVE]
        self.arrived.clear()
        return drain_frames


def a_frame(position: int, size: int = 2) -> bytes:
    return frames.encode(Frame(Kind.PLAYOUT_REPORT, EPOCH, position, 0, payload=bytes(size)))


def a_sender(wire: ControlledConnection, *, may_send_first: bool = True, max_bytes: int = 4096) -> ReliableSender:
    return ReliableSender(wire, THERE, epoch=EPOCH, max_bytes=max_bytes, may_send_first=may_send_first)


def test_frames_are_sent_at_once_and_in_order() -> None:
    wire = ControlledConnection()
    sender = a_sender(wire)
    for position in (1, 2):
        sender.publish_frame(a_frame(position), now=0)
    sender.frame_received(returned=False, now=0)
    assert wire.drain_frames() == [(1, False), (2, False)]


def test_a_side_that_may_not_send_first_waits_silently() -> None:
    wire = ControlledConnection()
    sender = a_sender(wire, may_send_first=False)
    sender.publish_frame(a_frame(1), now=0)
    sender.on_timer(now=1)
    assert wire.arrived == []
    sender.frame_received(returned=False, now=1)
    assert wire.drain_frames() == [(1, False)]


def test_a_reconnected_side_sends_flags_until_answered_and_then_resends_before_new_frames() -> None:
    wire = ControlledConnection()
    sender = a_sender(wire)
    sender.publish_frame(a_frame(1), now=2)
    sender.on_timer(now=KEPT_S)
    wire.drain_frames()
    wire.loses = True
    sender.publish_frame(a_frame(2), now=KEPT_S + 1)
    wire.connected = False
    sender.on_timer(now=KEPT_S + 2)
    sender.publish_frame(a_frame(3), now=KEPT_S + 3)
    assert sender.awaits_peer
    sender.frame_received(returned=False, now=KEPT_S + 3)  # was under way
    wire.back()
    sender.publish_frame(a_frame(4), now=KEPT_S + 20)
    for _ in range(2):
        sender.on_timer(now=KEPT_S + 20)
    assert [(f.kind, f.flags) for f in wire.arrived] == [(Kind.ALIVE, Flag.RETURNED)] * 2
    sender.frame_received(returned=False, now=KEPT_S + 21)
    assert wire.arrived[2].kind is Kind.ALIVE
    assert wire.drain_frames() == [(1, True), (2, True), (3, False), (4, False)]
    assert not sender.awaits_peer


def test_frames_too_old_to_be_lost_are_not_resent() -> None:
    wire = ControlledConnection()
    sender = a_sender(wire)
    sender.publish_frame(a_frame(1), now=0)
    sender.on_timer(now=KEPT_S + 1)
    sender.frame_received(returned=True, now=KEPT_S + 1)
    assert wire.drain_frames() == [(1, False)]


def test_a_reconnect_nobody_observed_is_detected() -> None:
    wire = ControlledConnection()
    sender = a_sender(wire)
    wire.back()
    assert sender.awaits_peer
    sender.frame_received(returned=False, now=0)
    assert not sender.awaits_peer


def test_a_reconnect_flag_of_the_peer_is_answered_by_resending() -> None:
    wire = ControlledConnection()
    sender = a_sender(wire)
    sender.publish_frame(a_frame(1), now=0)
    wire.drain_frames()
    sender.frame_received(returned=True, now=1)
    assert wire.arrived[0].kind is Kind.ALIVE
    assert wire.drain_frames() == [(1, True)]


def test_what_waits_and_what_is_kept_is_bounded() -> None:
    wire = ControlledConnection()
    sender = a_sender(wire, max_bytes=100)
    for position in range(3):
        sender.publish_frame(a_frame(position, 20), now=0)
    wire.drain_frames()
    sender.frame_received(returned=True, now=0)
    assert wire.drain_frames() == [(1, True), (2, True)]
    wire.connected = False
    sender.publish_frame(a_frame(3, 60), now=0)
    with pytest.raises(SendQueueFullError):
        sender.publish_frame(a_frame(4, 60), now=0)


async def test_across_a_server_restart_all_frames_arrive_once_and_in_order(tmp_path: Path) -> None:
    async with (
        nats_server(tmp_path) as server,
        Bus.connect(server.url, name="a") as here,
        Bus.connect(server.url, name="b") as there,
    ):
        ours = ReliableSender(here, THERE, epoch=EPOCH, max_bytes=4096, may_send_first=True)
        theirs = ReliableSender(there, BACK, epoch=EPOCH, max_bytes=4096, may_send_first=False)
        got: list[int] = []

        def at_peer(_: str, data: bytes) -> None:
            frame = frames.decode(data)
            theirs.frame_received(returned=Flag.RETURNED in frame.flags, now=0)
            if frame.kind is not Kind.ALIVE and frame.position not in got:
                got.append(frame.position)

        def at_us(_: str, data: bytes) -> None:
            ours.frame_received(returned=Flag.RETURNED in frames.decode(data).flags, now=0)

        await there.subscribe(THERE, at_peer)
        await here.subscribe(BACK, at_us)
        await there.flush()
        ours.publish_frame(a_frame(0), now=0)
        await until(lambda: got == [0])
        server.process.kill()
        ours.publish_frame(a_frame(1), now=0)
        await server.process.wait()
        await until(lambda: not (here.connected or there.connected))
        ours.publish_frame(a_frame(2), now=0)
        await server.restart()
        await until(lambda: here.connected)
        ours.publish_frame(a_frame(3), now=0)

        async def on_timer() -> None:
            while True:
                ours.on_timer(now=0)
                theirs.on_timer(now=0)
                await asyncio.sleep(0)

        ticking = asyncio.create_task(on_timer())
        try:
            await until(lambda: len(got) == 4)
        finally:
            ticking.cancel()
        assert got == [0, 1, 2, 3]
