"""Clients that are not ours, in processes of their own: what a test tells them and what they say."""

import asyncio
import json
import re
import shutil
import struct
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from services.callers.speech import resample, synthesise
from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_HZ
from services.runtime.audio.opus import OpusEncoder

HERE = Path(__file__).parent
PION = HERE / "pion"
DEBIAN_PYTHON = "/usr/bin/python3"
WAIT_S = 60
GO = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
OLDEST_GO = (1, 24)
"""As tests/peers/pion/go.mod asks."""


class PeerError(Exception):
    """The peer's process has ended."""


async def write_speech(text: str, folder: Path) -> Path:
    """Let flite say ``text``, as a file of Opus packets of 20 ms: each two bytes of length, big-endian, and itself."""
    spoken = await synthesise(text)
    pcm = resample(spoken.samples, from_hz=spoken.hz, to_hz=DOWN_HZ).astype("<i2").tobytes()
    encoder = OpusEncoder()
    whole = range(0, len(pcm) - DOWN_FRAME_BYTES + 1, DOWN_FRAME_BYTES)
    packets = [encoder.encode(pcm[start : start + DOWN_FRAME_BYTES]) for start in whole]
    file = folder / f"{abs(hash(text))}.packets"
    file.write_bytes(b"".join(struct.pack(">H", len(packet)) + packet for packet in packets))
    return file


def missing_gstreamer() -> str:
    """Why GStreamer cannot be used here; empty: it can."""
    needed = "import gi; gi.require_version('GstWebRTC', '1.0'); from gi.repository import GstWebRTC"
    try:
        subprocess.run([DEBIAN_PYTHON, "-c", needed], check=True, capture_output=True)  # noqa: S603 - Debian's own
    except (OSError, subprocess.CalledProcessError):
        return "GStreamer's webrtcbin is not installed: run `make test-packages`"
    return ""


def missing_go() -> str:
    """Why Pion's client cannot be built here; empty: it can."""
    if GO is None:
        return "Go is not installed: Pion is a Go library; see https://go.dev/doc/install"
    found = subprocess.run([GO, "env", "GOVERSION"], check=True, capture_output=True, text=True)  # noqa: S603
    numbers = re.match(r"go(\d+)\.(\d+)", found.stdout)
    if numbers is None or tuple(map(int, numbers.groups())) < OLDEST_GO:
        return f"Pion needs Go {'.'.join(map(str, OLDEST_GO))} or later; this is {found.stdout.strip()}"
    return ""


def build_pion(folder: Path) -> Path:
    """Build the client of Pion; a minute, once."""
    assert GO is not None
    program = folder / "pion"
    subprocess.run([GO, "build", "-buildvcs=false", "-o", program, "."], cwd=PION, check=True)  # noqa: S603
    return program


class PeerProcess:
    """A peer's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.offer = ""
        self.states: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.packets: list[int] = [0]
        """Of sound that it was sent, ten times a second."""
        self._changed = asyncio.Event()
        self._over = False

    async def listen(self) -> None:
        """Take what it says, to its end."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            match json.loads(line):
                case {"offer": str(offer)}:
                    self.offer = offer
                case {"state": str(state)}:
                    self.states.append(state)
                case {"packets": int(packets)}:
                    self.packets.append(packets)
                case {"event": dict(event)}:
                    self.events.append(event)
            self._changed.set()
        self._over = True
        self._changed.set()

    def tell(self, **command: str) -> None:
        """Give it a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def until(self, true: Callable[[], bool], what: str) -> None:
        """Wait for what it will have said."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not true():
                    if self._over:
                        raise PeerError(f"the peer has ended; waited for: {what}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            seen = (self.states, [event["type"] for event in self.events], self.packets[-20:])
            raise TimeoutError(f"not within {WAIT_S} s: {what}; seen: {seen}") from None

    def has(self, kind: str) -> bool:
        """It was sent an event of this type."""
        return any(event["type"] == kind for event in self.events)

    def is_silent(self) -> bool:
        """It was sent no sound for 0.3 s."""
        return len(self.packets) > 4 and len(set(self.packets[-4:])) == 1


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[PeerProcess]:
    """A peer with its offer."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 20)
    peer = PeerProcess(process)
    listening = asyncio.create_task(peer.listen())
    try:
        await peer.until(lambda: bool(peer.offer), "its offer")
        yield peer
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening
