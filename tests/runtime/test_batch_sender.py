import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.errors import MaxPayloadError
from prometheus_client import REGISTRY

from services.runtime.bus.client import Bus
from services.up.nats_server import nats_server

UP = "hg.up.w.c"


def dropped(reason: str) -> float:
    return REGISTRY.get_sample_value("hushgate_bus_frames_dropped_total", {"reason": reason}) or 0.0


class Listener:
    """What arrives, in order."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes] = asyncio.Queue()

    def __call__(self, subject: str, data: bytes) -> None:
        assert subject == UP
        self.got.put_nowait(data)

    async def next(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.got.get()


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 - neither the client nor its socket tells when it notices
            await asyncio.sleep(0.001)  # so that some megabytes wait, not all that fits into the memory


async def test_posted_messages_arrive_in_order(bus: Bus) -> None:
    listener = Listener()
    await bus.subscribe(UP, listener)
    for n in range(100):
        assert (bus.post, bus.post_audio)[n % 2](UP, str(n).encode())
        if n % 10 == 0:
            await bus.publish_bytes(UP, b"sent")
            await asyncio.sleep(0)
    got = [await listener.next() for _ in range(110)]
    assert [data for data in got if data != b"sent"] == [str(n).encode() for n in range(100)]
    assert got[1] == b"sent"


async def test_a_flush_waits_until_the_server_has_all_that_was_posted(bus: Bus) -> None:
    listener = Listener()
    await bus.subscribe(UP, listener)
    bus.post(UP, b"x")
    await bus.flush()
    await bus.flush()
    assert listener.got.get_nowait() == b"x"


async def test_a_burst_of_any_size_is_not_a_backlog(bus: Bus) -> None:
    listener = Listener()
    await bus.subscribe(UP, listener)
    await bus.flush()
    frames = 1024
    assert all(bus.post_audio(UP, bytes(1024)) for _ in range(frames))
    for _ in range(frames):
        await listener.next()


async def test_an_oversized_message_is_refused_at_once(bus: Bus) -> None:
    with pytest.raises(MaxPayloadError):
        bus.post(UP, bytes(16 * 1024 * 1024))


async def test_a_bad_subject_does_not_affect_other_messages(bus: Bus) -> None:
    listener = Listener()
    await bus.subscribe(UP, listener)
    bus.post("no subject", b"x")
    bus.post(UP, b"y")
    assert await listener.next() == b"y"


async def test_while_the_server_is_away_posts_are_dropped_and_counted_and_nothing_stale_arrives_later(
    tmp_path: Path,
) -> None:
    async with nats_server(tmp_path) as server, Bus.connect(server.url, name="test") as bus:
        listener = Listener()
        await bus.subscribe(UP, listener)
        await bus.flush()
        before = dropped("disconnected")
        server.process.kill()
        await server.process.wait()
        await until(lambda: not bus.post_audio(UP, b"stale"))  # accepted, and lost, until the client knows
        assert not bus.post(UP, b"stale")
        assert dropped("disconnected") >= before + 2
        await server.restart()
        await until(lambda: bus.post(UP, b"fresh"))
        assert await listener.next() == b"fresh"


async def test_a_blocked_socket_drops_audio_and_nothing_else(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as server, Bus.connect(server.url, name="test") as bus:
        listener = Listener()
        await bus.subscribe(UP, listener)
        await bus.flush()
        before = dropped("backlog")
        server.process.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: not bus.post_audio(UP, bytes(64 * 1024)))
            assert dropped("backlog") == before + 1
            assert bus.post(UP, b"control")
        finally:
            server.process.send_signal(signal.SIGCONT)
        while await listener.next() != b"control":
            pass
        assert bus.post_audio(UP, b"well again")
        assert await listener.next() == b"well again"
