"""CPU time of the load tool itself: N callers on one core against an endpoint that only sends, on another.

Both ways all the time, then as people talk. Prints a table; writes nothing.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection

from aiortc import RTCBundlePolicy, RTCCertificate, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from fastapi import FastAPI, Request, Response
from rich.console import Console
from rich.table import Table

from services.callers import aiortc_private
from services.callers.core.figures import Figures, ProcessFigures
from services.callers.core.reception import ReceptionStatistics
from services.callers.core.simulated_caller import SimulatedCaller, TalkProfile
from services.callers.load.clips import prepare
from services.callers.load.direct import DirectAudio
from services.callers.load.options import LoadOptions
from services.callers.load.pacer import Pacer
from services.callers.load.rtp_payloads import RtpPayloads
from services.callers.load.run import run_load
from services.runtime import clock
from services.runtime.http.server import serve_http

KEY = "hg_bench"


class PacketTalker:
    """The remote end of one call: sends the same pre-encoded packets continuously."""

    def __init__(self, voice: RtpPayloads, certificate: RTCCertificate, account: ProcessFigures) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        aiortc_private.share_certificate(self.peer, certificate)
        self._hearing = ReceptionStatistics(account.received)
        self._audio = DirectAudio(self.peer, self._hearing, voice)
        self._conversation = SimulatedCaller(
            voice.clips,
            manner=TalkProfile(talk=1),
            reception=self._hearing,
            turns=account.turns,
            seed=1,
            now=clock.monotonic(),
        )

    def on_frame_due(self, frame: int, now: float) -> None:
        self._audio.send_frame(self._conversation.next_frame(now), frame)


def app_of(voice: RtpPayloads) -> FastAPI:
    app, account, talkers = FastAPI(), ProcessFigures(), list[PacketTalker]()
    certificate, pacers = RTCCertificate.generateCertificate(), list[Pacer]()

    @app.post("/v1/realtime/client_secrets")
    async def mint() -> Response:
        return Response(json.dumps({"value": "ek_bench"}), media_type="application/json")

    @app.post("/v1/realtime/calls")
    async def calls(request: Request) -> Response:
        talker = PacketTalker(voice, certificate, account)
        await talker.peer.setRemoteDescription(RTCSessionDescription((await request.body()).decode(), "offer"))
        await talker.peer.setLocalDescription(await talker.peer.createAnswer())
        if not pacers:
            pacers.append(Pacer(account.pacing))
        talkers.append(talker)
        pacers[0].add(talker)
        return Response(talker.peer.localDescription.sdp, 201, media_type="application/sdp")

    return app


def endpoint(pipe: Connection, cpu: int) -> None:
    """Run the endpoint in this process until the pipe closes."""
    os.sched_setaffinity(0, {cpu})
    asyncio.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    speech = await prepare(None)
    async with serve_http(app_of(RtpPayloads(speech.clips, speech.silence)), host="127.0.0.1", port=0) as url:
        pipe.send(url)
        await asyncio.to_thread(pipe.poll, None)


def measure(calls: int, *, talk: float, minutes: float) -> Figures:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=endpoint, args=(theirs, 0), daemon=True)
    process.start()
    options = LoadOptions(
        url=ours.recv(), key=KEY, calls=calls, per_second=10, minutes=minutes, talk=talk, processes=1, cpus=(1,)
    )
    try:
        return asyncio.run(run_load(options)).figures
    finally:
        process.terminate()
        process.join()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[10, 50, 100, 250])
    parser.add_argument("--minutes", type=float, default=0.25)
    options = parser.parse_args(arguments)
    table = Table("calls", "talk", "connected", "% of a core per call", "MB per process", "own packets late p99, ms")
    for talk in (1.0, 0.42):
        for calls in options.calls:
            found = measure(calls, talk=talk, minutes=options.minutes)
            rig = found["rig"]
            cells = (calls, talk, found["calls"]["connected"], rig["cpu_pct_per_call"])
            memory = found["services"]["callers"]["rss_mb"]
            table.add_row(*map(str, (*cells, memory, rig["pacing_ms"]["p99"])))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
