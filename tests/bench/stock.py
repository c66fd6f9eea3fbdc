"""The baseline of the media bench: the same work with stock aiortc, as its documentation shows it.

A peer connection per call, a track that plays speech, a loop that decodes what comes, 16 kHz mono to webrtcvad. No bus,
no gate, no metering: what is left out only flatters it. Speaks as much of the Realtime API as callers need.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import uvicorn
import webrtcvad
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, AudioResampler
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.callers.speech import resample, synthesise
from services.contracts.audio import DOWN_FRAME_SAMPLES, DOWN_HZ, FRAME_MS, UP_FRAME_BYTES, UP_HZ
from services.media import metrics as media
from services.runtime import clock
from tests.bench.talker import TEXT

LATENESS = media.PACER_LATENESS  # the same buckets under the same name


class SpeechTrack(MediaStreamTrack):
    """Plays speech continuously, paced as in aiortc's examples."""

    kind = "audio"

    def __init__(self, voice: np.ndarray) -> None:
        super().__init__()
        self._voice = voice
        self._began_at = clock.monotonic()
        self._sent = 0

    async def recv(self) -> AudioFrame:
        """Return the next 20 ms when they are due."""
        due = self._began_at + self._sent * FRAME_MS / 1000
        await asyncio.sleep(max(0.0, due - clock.monotonic()))
        LATENESS.observe(max(0.0, clock.monotonic() - due))
        at = self._sent * DOWN_FRAME_SAMPLES % (len(self._voice) - DOWN_FRAME_SAMPLES)
        samples = self._voice[at : at + DOWN_FRAME_SAMPLES]
        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.time_base = DOWN_HZ, Fraction(1, DOWN_HZ)
        frame.pts = self._sent * DOWN_FRAME_SAMPLES
        self._sent += 1
        return frame


async def hear(track: MediaStreamTrack) -> None:
    """Decode the caller's audio and run the detector."""
    vad, resampler, left = webrtcvad.Vad(3), AudioResampler(format="s16", layout="mono", rate=UP_HZ), b""
    try:
        while True:
            decoded = await track.recv()
            for frame in resampler.resample(decoded):  # type: ignore[arg-type]
                left += bytes(frame.planes[0])[: frame.samples * 2]
            while len(left) >= UP_FRAME_BYTES:
                vad.is_speech(left[:UP_FRAME_BYTES], UP_HZ)
                left = left[UP_FRAME_BYTES:]
    except MediaStreamError:
        return


def app(voice: np.ndarray) -> FastAPI:
    """The HTTP routes."""
    served = FastAPI()
    peers: dict[RTCPeerConnection, list[asyncio.Task[None]]] = {}

    async def mint() -> dict[str, object]:
        return {"value": "ek_stock", "expires_at": 0, "session": {}}

    async def call(request: Request) -> Response:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peers[peer] = []
        peer.on("track", lambda track: peers[peer].append(asyncio.ensure_future(hear(track))))
        peer.addTrack(SpeechTrack(voice))
        await peer.setRemoteDescription(RTCSessionDescription((await request.body()).decode(), "offer"))
        await peer.setLocalDescription()
        headers = {"Location": f"/v1/realtime/calls/rtc_{len(peers)}"}
        return Response(peer.localDescription.sdp, 201, headers=headers, media_type="application/sdp")

    async def hang_up() -> Response:
        return Response(status_code=200)

    async def scrape() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    served.add_api_route("/v1/realtime/client_secrets", mint, methods=["POST"])
    served.add_api_route("/v1/realtime/calls", call, methods=["POST"])
    served.add_api_route("/v1/realtime/calls/{call}/hangup", hang_up, methods=["POST"])
    served.add_api_route("/metrics", scrape, methods=["GET"])
    return served


async def _main(port: int) -> None:
    spoken = await synthesise(TEXT)
    voice = resample(spoken.samples, from_hz=spoken.hz, to_hz=DOWN_HZ)
    server = uvicorn.Server(uvicorn.Config(app(voice), port=port, log_level="warning"))
    serving = asyncio.create_task(server.serve(), name="serve")
    async with asyncio.timeout(60):
        while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)
    sys.stdout.write("ready\n")
    sys.stdout.flush()

    def stop() -> None:
        server.should_exit = True

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    await serving


def main(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_main(parser.parse_args(arguments).port))


if __name__ == "__main__":
    main(sys.argv[1:])
