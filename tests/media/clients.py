"""A stock aiortc peer as the client of a leg, and the owner of a leg for tests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from fractions import Fraction

import numpy as np
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCCertificate,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from services.contracts.audio import DOWN_FRAME_SAMPLES
from services.contracts.connect import WebRtcOffer
from services.contracts.ids import new_leg_id
from services.media.leg import LegInput
from services.media.legs.webrtc.answerer import WebRtcAnswerer
from services.media.legs.webrtc.leg import WebRtcLeg
from services.media.legs.webrtc.stack import Stack, StackConfig, open_stack
from services.signaling.core import sdp
from tests.signaling.offers import sanitise

TONE_HZ = 440
WAIT_S = 20


def tone(samples: int, *, start: int, hz: int, rate: int) -> np.ndarray:
    at = np.arange(start, start + samples)
    return (8000 * np.sin(2 * np.pi * hz * at / rate)).astype("<i2")


class ToneTrack(AudioStreamTrack):
    """A microphone track that sends a tone."""

    async def recv(self) -> AudioFrame:
        silent = await super().recv()
        start = (silent.pts or 0) * 6
        frame = AudioFrame.from_ndarray(tone(960, start=start, hz=TONE_HZ, rate=48000).reshape(1, -1), layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        return frame


class AiortcClient:
    """A stock aiortc peer that behaves like a browser."""

    def __init__(  # noqa: PLR0913 - the ways in which a peer may differ
        self,
        *,
        direction: str = "sendrecv",
        profile: str = sdp.AUDIO_PROFILES[0],
        label: str = "oai-events",
        ordered: bool = True,
        retransmits: int | None = None,
        certificate: RTCCertificate | None = None,
        negotiated: int | None = None,
    ) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        if certificate is not None:
            self.peer._RTCPeerConnection__certificates = [certificate]  # type: ignore[attr-defined]  # noqa: SLF001
        self.peer.addTrack(ToneTrack())
        self.peer.getTransceivers()[0].direction = direction
        self.profile = profile
        self.channel = self.peer.createDataChannel(
            label, ordered=ordered, maxRetransmits=retransmits, negotiated=negotiated is not None, id=negotiated
        )
        self.open = asyncio.Event()
        self.said: asyncio.Queue[str] = asyncio.Queue()
        self.heard: asyncio.Queue[AudioFrame] = asyncio.Queue()
        self.tasks: list[asyncio.Task[None]] = []
        self.channel.on("open", self.open.set)
        self.channel.on("message", self.said.put_nowait)
        self.peer.on("track", lambda track: self.tasks.append(asyncio.ensure_future(self._hear(track))))

    async def _hear(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                self.heard.put_nowait(frame)
        except MediaStreamError:
            pass

    async def offer(self) -> str:
        """The offer as signaling passes it on."""
        await self.peer.setLocalDescription()
        written = self.peer.localDescription.sdp.replace(sdp.AUDIO_PROFILES[0], self.profile)
        return sanitise(written.encode())

    async def accept(self, answer: str) -> None:
        assert f" {self.profile} " in answer
        written = answer.replace(f" {self.profile} ", f" {sdp.AUDIO_PROFILES[0]} ")  # aiortc reads that one alone
        await self.peer.setRemoteDescription(RTCSessionDescription(written, "answer"))

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.peer.close()


class Owner:
    """A leg owner for tests: records inputs, and plays a tone while `playing` is set."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[LegInput] = asyncio.Queue()
        self.playing = False
        self.pulled = 0

    def on_leg_input(self, item: LegInput, *, now: float) -> None:
        assert now > 0
        self.items.put_nowait(item)

    def pull(self, frames: int = 1, *, now: float) -> bytes | None:
        assert now > 0 < frames
        if not self.playing:
            return None
        self.pulled += 1
        start = self.pulled * DOWN_FRAME_SAMPLES
        return tone(DOWN_FRAME_SAMPLES, start=start, hz=TONE_HZ, rate=24000).tobytes()

    async def first(self, wanted: Callable[[LegInput], bool] | type) -> LegInput:
        """Wait for the next input that matches ``wanted``; discard those before it."""
        async with asyncio.timeout(WAIT_S):
            while True:
                item = await self.items.get()
                if isinstance(item, wanted) if isinstance(wanted, type) else wanted(item):
                    return item


@contextmanager
def a_stack(*, advertised: tuple[str, ...] = ("127.0.0.1",), lost_s: float = 5, gone_s: float = 30) -> Iterator[Stack]:
    with open_stack(StackConfig(advertised, lost_s=lost_s, gone_s=gone_s)) as stack:
        yield stack
        assert len(stack.mux.routes) == 0, "the tables must be empty when all legs are closed"


async def answered(stack: Stack, client: AiortcClient) -> tuple[WebRtcLeg, Owner, str]:
    """Return a leg that waits for ``client``, its owner and the SDP answer."""
    leg, connect = await WebRtcAnswerer(stack)(new_leg_id(), WebRtcOffer(sdp=await client.offer()))
    owner = Owner()
    leg.attach(owner)
    return leg, owner, connect.sdp


@asynccontextmanager
async def connected(client: AiortcClient, stack: Stack | None = None) -> AsyncIterator[tuple[WebRtcLeg, Owner]]:
    """A leg and its connected client."""
    if stack is None:
        with a_stack() as own:
            async with connected(client, own) as both:
                yield both
        return
    leg, owner, answer = await answered(stack, client)
    try:
        await client.accept(answer)
        yield leg, owner
    finally:
        await leg.close()
        await client.close()
