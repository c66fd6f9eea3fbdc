"""A WebRTC leg on aiortc."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidStateError
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcconfiguration import RTCBundlePolicy
from aiortc.stats import RTCRemoteInboundRtpStreamStats
from av import AudioFrame

from services.contracts.endings import EndReason
from services.contracts.ids import LegId
from services.media import metrics
from services.media.leg import (
    BadOfferError,
    Leg,
    LegClosed,
    LegConnected,
    LegInput,
    LegMeasured,
    LegMessage,
    LegOpened,
    Pace,
    PlayoutSource,
)
from services.media.rtc.mailbox import Mailbox
from services.media.rtc.receiver import JITTER_BUFFER_MS, Receiver
from services.media.rtc.sdp import with_one_fingerprint, without_candidates
from services.media.rtc.sender import PlayoutTrack
from services.runtime import clock
from services.runtime.logging import get_logger

CHANNEL = "oai-events"
MAX_OFFER_CHARS = 16 * 1024
"""Signaling's cap; aiortc's parser is slow, and it runs on the loop of all calls."""
MAX_UNSENT_BYTES = 4 * 1024 * 1024
_LAST_WORDS_S = 0.25
_CLOSE_S = 5.0
_MEASURE_S = 2.0


class WebRtcLeg:
    """One peer connection: one audio track each way and one data channel."""

    pace: Pace = "gateway"
    receive_delay_ms = JITTER_BUFFER_MS

    def __init__(self, leg_id: LegId) -> None:
        self.id = leg_id
        # No ICE servers at all: by default aiortc would ask a public one for this machine's address.
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._sending = PlayoutTrack(failed=lambda: self._gone_wrong("play"))
        self._inputs = Mailbox()
        self._channel: RTCDataChannel | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: asyncio.Task[None] | None = None
        self._connected = False

    async def answer(self, offer: str) -> str:
        """Answer ``offer``; from then on the leg waits for its peer.

        Raises:
            BadOfferError: the offer is to blame.
            OSError: this machine is.
        """
        if len(offer) > MAX_OFFER_CHARS:
            raise BadOfferError("the offer is too long")
        self._listen_to_peer()
        audio = self._peer.addTransceiver(self._sending, direction="sendrecv")
        capabilities = RTCRtpSender.getCapabilities("audio").codecs
        audio.setCodecPreferences([codec for codec in capabilities if codec.mimeType.lower() == "audio/opus"])
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(without_candidates(offer), "offer"))
        except Exception as exc:
            # aiortc's parser asserts, indexes and converts as it goes: any error may come out of a bad offer.
            raise BadOfferError(f"the offer cannot be used ({type(exc).__name__})") from exc
        if len(self._peer.getTransceivers()) != 1 or audio.mid is None:
            raise BadOfferError("one audio section is needed, and no video")
        await self._peer.setLocalDescription()
        sdp = with_one_fingerprint(self._peer.localDescription.sdp)
        if "a=candidate:" not in sdp:
            raise OSError("no UDP socket could be bound for the answer")
        self._tasks.append(asyncio.create_task(self._measure(), name="leg measure"))
        return sdp

    def received(self) -> AsyncIterator[LegInput]:
        """All that comes from the client."""
        return self._inputs.items()

    def play(self, source: PlayoutSource) -> None:
        """Play from ``source`` from now on."""
        self._sending.play(source)

    def send_event(self, text: str) -> None:
        """Send an event; a client that does not read is gone."""
        if self._channel is None or self._channel.readyState != "open":
            metrics.EVENTS_LOST.labels("channel_closed").inc()
            return
        if self._channel.bufferedAmount > MAX_UNSENT_BYTES:
            metrics.EVENTS_LOST.labels("client_too_slow").inc()
            self._inputs.put(LegClosed(EndReason.CLIENT_GONE))
            return
        try:
            self._channel.send(text)
        except (InvalidStateError, ValueError, ConnectionError):  # closed meanwhile, or longer than the peer takes
            metrics.EVENTS_LOST.labels("not_accepted").inc()

    async def close(self) -> None:
        """Hang up, after a moment for the last events."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="leg close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._inputs.put(LegClosed(EndReason.CLIENT_GONE))
        await self._last_words()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._peer.close()
        except Exception:  # noqa: BLE001 - the leg is over whatever the stack thinks of it
            self._failed("close")
        self._sending.stop()

    async def _last_words(self) -> None:
        if self._channel is None or self._channel.readyState != "open":
            return
        sent = asyncio.Event()
        self._channel.on("bufferedamountlow", sent.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                if self._channel.bufferedAmount:
                    await sent.wait()

    def _listen_to_peer(self) -> None:
        self._peer.on("connectionstatechange", self._state_changed)
        self._peer.on("track", self._track_came)
        self._peer.on("datachannel", self._channel_came)

    def _state_changed(self) -> None:
        state = self._peer.connectionState
        if state == "connected" and not self._connected:
            self._connected = True
            self._inputs.put(LegConnected())
        elif state in {"failed", "closed"}:
            self._inputs.put(LegClosed(EndReason.CLIENT_GONE))

    def _track_came(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.create_task(self._hear(track), name="leg hear"))

    async def _hear(self, track: MediaStreamTrack) -> None:
        receiver = Receiver()
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, AudioFrame):
                    for pcm in receiver.push(frame, now=clock.monotonic()):
                        self._inputs.put(pcm)
        except MediaStreamError:
            return  # the track ended; the connection says what that means
        except Exception:  # noqa: BLE001 - the edge of a task: a leg that cannot hear ends, with a reason
            self._gone_wrong("hear")

    def _channel_came(self, channel: RTCDataChannel) -> None:
        if channel.label != CHANNEL or self._channel is not None:
            metrics.INPUT_DROPPED.labels("extra_channel").inc()
            channel.close()
            return
        self._channel = channel
        channel.on("message", lambda content: self._inputs.put(LegMessage(content)))
        channel.on("close", lambda: self._inputs.put(LegClosed(EndReason.CLIENT_GONE)))
        self._inputs.put(LegOpened())

    async def _measure(self) -> None:
        """RTCP's round trip, as far as the peer reports on what we send."""
        while True:
            await asyncio.sleep(_MEASURE_S)
            for sender in self._peer.getSenders():
                for stats in (await sender.getStats()).values():
                    if isinstance(stats, RTCRemoteInboundRtpStreamStats) and stats.roundTripTime is not None:
                        self._measured(stats.roundTripTime)

    def _measured(self, round_trip_s: float) -> None:
        if 0 <= round_trip_s < 1:  # while we are silent aiortc repeats a sender report and may mistake its age
            metrics.RTT.observe(round_trip_s)
            self._inputs.put(LegMeasured(round(round_trip_s * 1000)))

    def _gone_wrong(self, stage: str) -> None:
        self._failed(stage)
        self._inputs.put(LegClosed(EndReason.INTERNAL))

    def _failed(self, stage: str) -> None:
        metrics.LEG_ERRORS.labels(stage).inc()
        get_logger().exception("leg_failed", stage=stage, leg=self.id)


async def answer(leg: LegId, sdp: str) -> tuple[Leg, str]:
    """The `Answerer` of WebRTC."""
    made = WebRtcLeg(leg)
    try:
        return made, await made.answer(sdp)
    except BaseException:
        await made.close()
        raise
