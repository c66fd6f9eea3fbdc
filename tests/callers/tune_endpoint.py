"""A Realtime endpoint of plain aiortc, which answers each utterance with a tune."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame

from services.callers.aiortc_private import offer_loopback_when_alone
from services.callers.audio_source import AudioSource
from services.callers.speech import Clip, Samples, clip

KEY = "hg_right"
LOUD = 500
QUIET_FRAMES = 25  # half a second of silence ends an utterance


def noise_like(seconds: float, hz: int = 24_000) -> Samples:
    """A sound that correlates with itself at one lag only."""
    generator = np.random.default_rng(7)
    smooth = np.convolve(generator.normal(size=int(seconds * hz)), np.ones(8) / 8, mode="same")
    swell = 0.6 + 0.4 * np.sin(np.arange(smooth.size) / hz * 9)
    return (smooth * swell * 12_000).astype(np.int16)


@dataclass(slots=True)
class TuneEndpoint:
    """The running endpoint and its observations."""

    url: str = ""
    key: str = KEY
    folder: Path = Path()
    answer: Clip = field(default_factory=lambda: clip(noise_like(1.0), hz=24_000))
    minted: list[dict[str, Any]] = field(default_factory=list)
    client_events: list[dict[str, Any]] = field(default_factory=list)
    heard_frames: int = 0
    utterance_received: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: list[str] = field(default_factory=list)
    peers: list[RTCPeerConnection] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    response_status: str = "completed"
    usage: dict[str, Any] = field(default_factory=lambda: {"status": "ended"})

    @property
    def key_file(self) -> str:
        """Path of its key file."""
        return str(self.folder / "tenant.key")

    def write_key(self, key: str) -> None:
        """Write another key to the file."""
        Path(self.key_file).write_text(f"{key}\n")

    async def close(self) -> None:
        for peer in self.peers:
            await peer.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def accept_offer(self, sdp: str) -> str:
        peer, source = RTCPeerConnection(RTCConfiguration(iceServers=[])), AudioSource()
        self.peers.append(peer)
        channels: asyncio.Queue[RTCDataChannel] = asyncio.Queue()

        @peer.on("datachannel")
        def opened(channel: RTCDataChannel) -> None:
            channel.on("message", lambda text: self.client_events.append(json.loads(text)))
            channel.send(json.dumps({"type": "session.created", "session": {}}))
            channels.put_nowait(channel)

        @peer.on("track")
        def arrived(track: MediaStreamTrack) -> None:
            self.tasks.append(asyncio.create_task(self._listen(track, channels, source)))

        await peer.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        offer_loopback_when_alone(peer.addTrack(source))
        await peer.setLocalDescription(await peer.createAnswer())
        return peer.localDescription.sdp

    async def _listen(
        self, track: MediaStreamTrack, channels: asyncio.Queue[RTCDataChannel], source: AudioSource
    ) -> None:
        channel: RTCDataChannel | None = None
        quiet = QUIET_FRAMES
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, AudioFrame)
            self.heard_frames += 1
            self.utterance_received.set()
            loud = int(np.abs(frame.to_ndarray().astype(np.int32)).max()) > LOUD
            quiet = 0 if loud else quiet + 1
            if quiet == QUIET_FRAMES:
                channel = channel or await channels.get()
                self.tasks.append(asyncio.create_task(self._answer(channel, source)))

    async def _answer(self, channel: RTCDataChannel, source: AudioSource) -> None:
        transcription = "conversation.item.input_audio_transcription.completed"
        channel.send(json.dumps({"type": transcription, "transcript": "what was said"}))
        content = [{"type": "output_audio", "transcript": "a tune"}]
        response = {"status": self.response_status, "output": [{"type": "message", "content": content}]}
        if self.response_status == "completed":
            await source.play(self.answer)
            channel.send(json.dumps({"type": "response.output_audio_transcript.done", "transcript": "a tune"}))
        channel.send(json.dumps({"type": "response.done", "response": response}))
        channel.send(json.dumps({"type": "output_audio_buffer.stopped", "response_id": "resp_1"}))
