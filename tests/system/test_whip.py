"""A generic WHIP client: audio only, then it deletes its session."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from aiortc import AudioStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.system.gateway import Up

SDP = {"Content-Type": "application/sdp"}
CONNECTED_S = 20


@asynccontextmanager
async def a_peer() -> AsyncIterator[tuple[RTCPeerConnection, asyncio.Event, asyncio.Event]]:
    """Return a peer with a microphone and no data channel, and events set when it connects and disconnects."""
    peer, up, over = RTCPeerConnection(RTCConfiguration(iceServers=[])), asyncio.Event(), asyncio.Event()

    def changed() -> None:
        if peer.connectionState == "connected":
            up.set()
        elif peer.connectionState in {"closed", "failed"}:
            over.set()

    peer.on("connectionstatechange", changed)
    peer.addTrack(AudioStreamTrack())
    yield peer, up, over
    await peer.close()


async def test_a_whip_client_calls_and_hangs_up(up: Up) -> None:
    headers = {"Authorization": f"Bearer {up.tenant_key}"}
    async with (
        httpx.AsyncClient(base_url=up.url, headers=headers) as http,
        a_peer() as (peer, connected, over),
        asyncio.timeout(2 * CONNECTED_S),
    ):
        await peer.setLocalDescription(await peer.createOffer())
        offer = str(peer.localDescription.sdp)
        answer = await http.post("/v1/whip", content=offer, headers=SDP)
        assert (answer.status_code, answer.headers["Content-Type"]) == (201, "application/sdp")
        assert answer.headers["ETag"]
        await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        await connected.wait()
        session = answer.headers["Location"]
        assert (await http.get(session)).status_code == 405
        assert (await http.delete(session)).is_success
        await over.wait()
        assert (await http.delete(session)).status_code == 404
