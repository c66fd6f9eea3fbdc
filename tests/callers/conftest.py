"""Another Realtime WebRTC endpoint: plain aiortc behind FastAPI, which answers each utterance with a tune."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame
from fastapi import FastAPI, Request, Response

from services.callers.mouth import Mouth
from services.callers.speech import Clip, Samples, clip
from services.runtime.http import serve_http

KEY = "hg_right"
LOUD = 500
QUIET_FRAMES = 25  # half a second of silence ends an utterance


def noise_like(seconds: float, hz: int = 24_000) -> Samples:
    """A sound that is like itself at one lag only."""
    generator = np.random.default_rng(7)
    smooth = np.convolve(generator.normal(size=int(seconds * hz)), np.ones(8) / 8, mode="same")
    swell = 0.6 + 0.4 * np.sin(np.arange(smooth.size) / hz * 9)
    return (smooth * swell * 12_000).astype(np.int16)


@dataclass(slots=True)
class Endpoint:
    """The running endpoint and what it saw."""

    url: str = ""
    key: str = KEY
    folder: Path = Path()
    answer: Clip = field(default_factory=lambda: clip(noise_like(1.0), hz=24_000))
    minted: list[dict[str, Any]] = field(default_factory=list)
    client_events: list[dict[str, Any]] = field(default_factory=list)
    heard_frames: int = 0
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: list[str] = field(default_factory=list)
    peers: list[RTCPeerConnection] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    response_status: str = "completed"
    usage: dict[str, Any] = field(default_factory=lambda: {"status": "ended"})

    @property
    def key_file(self) -> str:
        """Where its key lies."""
        return str(self.folder / "tenant.key")

    def write_key(self, key: str) -> None:
        """Let another key lie there."""
        Path(self.key_file).write_text(f"{key}\n")

    async def close(self) -> None:
        for peer in self.peers:
            await peer.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def take(self, sdp: str) -> str:
        peer, mouth = RTCPeerConnection(RTCConfiguration(iceServers=[])), Mouth()
        self.peers.append(peer)
        channels: asyncio.Queue[RTCDataChannel] = asyncio.Queue()

        @peer.on("datachannel")
        def opened(channel: RTCDataChannel) -> None:
            channel.on("message", lambda text: self.client_events.append(json.loads(text)))
            channel.send(json.dumps({"type": "session.created", "session": {}}))
            channels.put_nowait(channel)

        @peer.on("track")
        def arrived(track: MediaStreamTrack) -> None:
            self.tasks.append(asyncio.create_task(self._listen(track, channels, mouth)))

        await peer.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        peer.addTrack(mouth)
        await peer.setLocalDescription(await peer.createAnswer())
        return peer.localDescription.sdp

    async def _listen(self, track: MediaStreamTrack, channels: asyncio.Queue[RTCDataChannel], mouth: Mouth) -> None:
        channel: RTCDataChannel | None = None
        quiet = QUIET_FRAMES
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, AudioFrame)
            self.heard_frames += 1
            self.heard.set()
            loud = int(np.abs(frame.to_ndarray().astype(np.int32)).max()) > LOUD
            quiet = 0 if loud else quiet + 1
            if quiet == QUIET_FRAMES:
                channel = channel or await channels.get()
                self.tasks.append(asyncio.create_task(self._answer(channel, mouth)))

    async def _answer(self, channel: RTCDataChannel, mouth: Mouth) -> None:
        transcription = "conversation.item.input_audio_transcription.completed"
        channel.send(json.dumps({"type": transcription, "transcript": "what was said"}))
        content = [{"type": "output_audio", "transcript": "a tune"}]
        response = {"status": self.response_status, "output": [{"type": "message", "content": content}]}
        if self.response_status == "completed":
            await mouth.say(self.answer)
            channel.send(json.dumps({"type": "response.output_audio_transcript.done", "transcript": "a tune"}))
        channel.send(json.dumps({"type": "response.done", "response": response}))
        channel.send(json.dumps({"type": "output_audio_buffer.stopped", "response_id": "resp_1"}))


def refusal(status: int, code: str, message: str) -> Response:
    error = {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": None}}
    return Response(json.dumps(error), status, media_type="application/json")


def app_of(endpoint: Endpoint) -> FastAPI:
    app = FastAPI()

    @app.post("/v1/realtime/client_secrets")
    async def mint(request: Request) -> Response:
        if request.headers["authorization"] != f"Bearer {KEY}":
            return refusal(401, "invalid_api_key", "Incorrect API key provided.")
        endpoint.minted.append(await request.json())
        return Response(json.dumps({"value": "ek_one"}), media_type="application/json")

    @app.post("/v1/realtime/calls")
    async def calls(request: Request) -> Response:
        if request.headers["authorization"] != "Bearer ek_one":
            return refusal(401, "token_used", "This token is not good any more.")
        sdp = await endpoint.take((await request.body()).decode())
        location = {"Location": "/v1/realtime/calls/rtc_one"}
        return Response(sdp, 201, headers=location, media_type="application/sdp")

    @app.post("/v1/realtime/calls/{call_id}/hangup")
    async def hangup(call_id: str) -> Response:
        endpoint.hung_up.append(call_id)
        return Response()

    @app.get("/v1/calls/{call_id}/usage")
    async def usage(call_id: str) -> Response:
        return Response(json.dumps({"call_id": call_id, **endpoint.usage}), media_type="application/json")

    return app


@pytest.fixture
async def endpoint(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Endpoint]:
    running = Endpoint(folder=tmp_path_factory.mktemp("endpoint"))
    running.write_key(running.key)
    async with serve_http(app_of(running), host="127.0.0.1", port=0) as url:
        running.url = url
        yield running
        await running.close()
