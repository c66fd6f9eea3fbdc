"""The frames of a call for its worker, on a real bus whose server is restarted."""

import asyncio
from pathlib import Path

from services.contracts import subjects
from services.contracts.frame import Flag, Frame, Kind
from services.contracts.ids import new_call_id
from services.media.core.commands import SendUp
from services.media.worker_link import WorkerLink
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.process.child import stop
from services.up.nats_server import NatsServer, nats_server
from tests.media.harness import count
from tests.media.test_processes import free_ports
from tests.media.worker import EPOCH, PROCESS, WORKER, StubWorker
from tests.runtime.test_batch_sender import until

DROPPED = "bus_frames_dropped_total"


def a_path(bus: Bus) -> WorkerLink:
    return WorkerLink(bus, subject=subjects.up(WORKER, PROCESS, new_call_id()), epoch=EPOCH)


async def gone(server: NatsServer, bus: Bus) -> None:
    await stop(server.process)
    await until(lambda: not bus.connected)


async def test_what_was_said_while_the_bus_was_away_comes_afterwards_in_order_but_no_late_audio(tmp_path: Path) -> None:
    async with nats_server(tmp_path, port=free_ports(1)) as server, Bus.connect(server.url, name="test") as bus:
        worker, path = StubWorker(bus), a_path(bus)
        await worker.open()
        path.publish_command(SendUp(Kind.ALIVE, 6))
        path.publish_command(SendUp(Kind.AUDIO_UP, 6, b"\0\0"))
        assert {(await arrived(worker)).kind for _ in range(2)} == {Kind.ALIVE, Kind.AUDIO_UP}
        await gone(server, bus)
        lost = count(DROPPED, reason="disconnected")
        path.publish_command(SendUp(Kind.UTTERANCE_END, 7, b"{}"))
        path.publish_command(SendUp(Kind.AUDIO_UP, 8, b"\0\0"))
        path.publish_command(SendUp(Kind.ALIVE, 9))
        path.publish_command(SendUp(Kind.PLAYOUT_REPORT, 10, b"{}"))
        assert count(DROPPED, reason="disconnected") == lost + 1  # the audio
        await server.restart()
        await until(lambda: bus.connected)
        path.on_timer(now=clock.monotonic())
        assert Flag.RETURNED in (await arrived(worker)).flags
        path.publish_command(SendUp(Kind.AUDIO_UP, 11, b"\0\0"))  # the worker was not heard yet
        path.frame_received(Frame(Kind.ALIVE, EPOCH, 0, 0), now=clock.monotonic())
        path.publish_command(SendUp(Kind.AUDIO_UP, 12, b"\0\0"))
        came = [await arrived(worker) for _ in range(4)]
        assert [(frame.kind, frame.position) for frame in came] == [
            (Kind.ALIVE, 0),
            (Kind.UTTERANCE_END, 7),
            (Kind.PLAYOUT_REPORT, 10),
            (Kind.AUDIO_UP, 12),
        ]


async def arrived(worker: StubWorker) -> Frame:
    async with asyncio.timeout(10):
        return (await worker.got.get())[1]
