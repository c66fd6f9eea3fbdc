"""Traces what one audio packet passes in a media process, on a real call.

A stock aiortc client, a real nats-server, a pool with a WebRTC leg; the wheel is turned by hand, so that one packet at
a time is on its way.
"""

import asyncio

import numpy as np

from services.contracts.audio import DOWN_FRAME_SAMPLES
from services.contracts.connect import WEBRTC, WebRtcAnswer, WebRtcOffer
from services.contracts.frame import Kind
from services.contracts.ids import CallId
from services.contracts.messages import OfferAnswered
from services.media.core.rtp import rtp_packet
from services.media.legs.webrtc.answerer import WebRtcAnswerer
from services.media.legs.webrtc.wheel import Wheel
from services.runtime.audio.opus import VOIP, OpusEncoder
from services.runtime.bus.client import Bus
from tests.life_of_a_packet.tracing import Entered, PacketPath, traced
from tests.media.clients import AiortcClient, a_stack
from tests.media.harness import PoolHarness, an_offer, pool_harness
from tests.media.worker import ITEM

SETTLED_PACKETS = 10
CHUNK_FRAMES = 8
THIRD = 3
_PAYLOAD_TYPE = 96  # aiortc's for Opus
_SSRC = 7


class TracedCall:
    """A call that is up, whose wheel the test runs step by step."""

    def __init__(self, harness: PoolHarness, call: CallId, client: AiortcClient, wheel: Wheel) -> None:
        self.harness, self.call, self.client, self.wheel = harness, call, client, wheel
        self._encoder = OpusEncoder(VOIP)
        self._sent = 0

    def turn(self) -> None:
        """Process one slot of the wheel."""
        self.wheel._run_due_slots()  # noqa: SLF001 - by hand, instead of by its timer
        self.wheel.stop()

    async def speak(self) -> list[Entered]:
        """Send 20 ms of audio; return the calls that they caused."""
        wave = 8000 * np.sin(np.arange(DOWN_FRAME_SAMPLES) / 10)
        payload = self._encoder.encode(wave.astype("<i2").tobytes())
        header = rtp_packet.header(_PAYLOAD_TYPE, self._sent, self._sent * 960, _SSRC)
        self._sent += 1
        await self.harness.bus.flush()
        await self.client.peer.getSenders()[0].transport._send_rtp(header + payload)  # noqa: SLF001 - a packet by itself
        with traced() as roots:
            self.turn()
            await asyncio.sleep(0)  # the detector's batch
        return roots

    async def up(self) -> PacketPath:
        """Trace a packet whose frame is sent to the worker with the one before it, well after the gate opened."""
        while True:
            roots = await self.speak()
            ways = [root for root in roots if root.has("Inbound.on_packet") or root.has("SpeechDetection._detect")]
            sent = any(root.has("Bus.post_audio") for root in ways)
            alone = not any(root.has(other) for root in ways for other in ("Transport.on_dtls", "UdpMux._on_stun"))
            if sent and alone and self._sent > SETTLED_PACKETS:
                return PacketPath([call for root in ways for call in root.walk()])

    async def down(self) -> PacketPath:
        """Trace a chunk of an answer, and the third packet that is made of it."""
        pcm = np.full(CHUNK_FRAMES * DOWN_FRAME_SAMPLES, 1000, "<i2").tobytes()
        came: list[Entered] = []
        for position in (0, CHUNK_FRAMES * DOWN_FRAME_SAMPLES):
            with traced() as roots:
                await self.harness.worker.send(self.call, Kind.AUDIO_DOWN, position, item_id=ITEM, payload=pcm)
                while not any(root.has("Downlink.on_audio") for root in roots):  # noqa: ASYNC110 - it is the trace that tells
                    await asyncio.sleep(0)
            came = [call for root in roots if root.has("Downlink.on_audio") for call in root.walk()]
        left: list[Entered] = []
        while len(left) < THIRD:
            with traced() as roots:
                self.turn()
            left += [root for root in roots if root.has("Outbound._transmit")]
            await asyncio.sleep(0)
        reading = {call.name for root in left[-1].inner if root.name == "UdpMux.read_all" for call in root.walk()}
        return PacketPath([*came, *(call for call in left[-1].walk() if call.name not in reading)])


async def trace(bus: Bus) -> dict[str, PacketPath]:
    """Trace one packet up and one down."""
    with a_stack() as stack:
        async with pool_harness(bus, answerers={WEBRTC: WebRtcAnswerer(stack)}) as harness:
            client = AiortcClient()
            client.peer.getSenders()[0].replaceTrack(None)  # it sends only what it is told to
            offer = an_offer().model_copy(update={"connect": WebRtcOffer(sdp=await client.offer())})
            answer = await harness.ask(offer)
            assert isinstance(answer, OfferAnswered)
            assert isinstance(answer.connect, WebRtcAnswer)
            await client.accept(answer.connect.sdp)
            await client.open.wait()
            stack.wheel.stop()
            call = TracedCall(harness, offer.call, client, stack.wheel)
            paths = {"up": await call.up(), "down": await call.down()}
            await client.close()
            return paths
