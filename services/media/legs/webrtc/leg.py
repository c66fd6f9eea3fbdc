"""A WebRTC leg: our own ICE, RTP and pacing with aiortc's DTLS and data channel."""

import asyncio

from services.contracts.connect import LegOffer, WebRtcAnswer
from services.contracts.endings import EndReason
from services.contracts.ids import LegId
from services.media import metrics
from services.media.core import sdp
from services.media.core.network.handshake import DtlsFailure, end_reason
from services.media.core.network.presence import Presence
from services.media.core.sdp import ParsedOffer
from services.media.leg import LegClosed, LegConnected, LegOwner, PacedBy
from services.media.legs.webrtc.channel import Channel
from services.media.legs.webrtc.inbound import Inbound
from services.media.legs.webrtc.offer import check_restart, read_offer
from services.media.legs.webrtc.outbound import Outbound
from services.media.legs.webrtc.owner_link import OwnerLink
from services.media.legs.webrtc.private import Dtls
from services.media.legs.webrtc.receiver import Receiver
from services.media.legs.webrtc.reports import Reports
from services.media.legs.webrtc.stack import Stack
from services.media.legs.webrtc.transport import Transport
from services.runtime import clock
from services.runtime.telemetry.logging import get_logger

_CLOSE_S = 5.0


class WebRtcLeg:
    """One client: one audio stream each way and a data channel. Sets its parts up and closes them."""

    pace: PacedBy = "gateway"
    receive_delay_ms = 0  # packets in order are delivered at once

    def __init__(self, leg_id: LegId, offer: ParsedOffer, stack: Stack) -> None:
        self.id = leg_id
        self.receives_audio = offer.audio.receives_audio
        self._offer = offer
        self._stack = stack
        self._setup = sdp.answered_setup(offer.transport.setup)
        self._link = OwnerLink(leg_id)
        self._receiver = Receiver(offer.audio.payload_type, self._link, stack.wheel)
        self._inbound = Inbound(self._receiver, self._link, sends_audio=offer.audio.sends_audio)
        self._outbound = Outbound(offer.audio.payload_type, self._link, stack.wheel, receives_audio=self.receives_audio)
        self._transport = Transport(stack.mux, self._inbound, self._link, remote=offer.transport)
        self._dtls = Dtls(self._transport, stack.certificate, active=self._setup == "active")
        self._channel = Channel(self._dtls, offer.data, self._link, stack.large) if offer.data else None
        self._reports: Reports | None = None
        self._establishing = asyncio.create_task(self._establish(), name="leg establish")
        self._closing: asyncio.Task[None] | None = None

    def answer(self) -> WebRtcAnswer:
        """Return the SDP answer to the offer."""
        return self._answer(self._offer)

    # --- Leg ---

    def attach(self, owner: LegOwner) -> None:
        """Deliver inputs to ``owner`` from now on, see `Leg`."""
        self._link.attach(owner)

    def play(self) -> None:
        """Start playout, see `Leg`."""
        self._outbound.play()

    def send_event(self, text: str) -> None:
        """Send an event; the leg closes if the client does not read fast enough."""
        if self._channel is None:
            metrics.EVENTS_LOST.labels("channel_closed").inc()
        else:
            self._channel.send_event(text)

    def hold_events(self, waiting_bytes: int) -> None:
        """Take less from the client's data channel, see `Leg`."""
        if self._channel is not None:
            self._channel.hold_events(waiting_bytes)

    async def restart(self, offer: LegOffer) -> WebRtcAnswer:
        """Answer a new offer of the same client. DTLS continues, so its certificate must be the same.

        Raises:
            BadOfferError: the offer is invalid.
        """
        restarted = read_offer(offer)
        check_restart(restarted, first=self._offer)
        self._transport.new_credentials(restarted.transport)
        self._offer = restarted
        return self._answer(restarted)

    async def close(self) -> None:
        """Flush the last events for a short time, then hang up. Idempotent."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="leg close")
        await asyncio.shield(self._closing)

    # --- inside ---

    def _answer(self, offer: ParsedOffer) -> WebRtcAnswer:
        return self._stack.answer(offer, self._transport.local, setup=self._setup, ssrc=self._outbound.ssrc)

    async def _establish(self) -> None:
        """Wait for ICE and DTLS, then start media and the data channel."""
        try:
            await self._transport.reached.wait()
            failure = await self._dtls.run_handshake(self._offer.transport.fingerprint)
            if failure is not None:
                self._dtls_failed(failure)
                return
            self._dtls.on("statechange", self._dtls_changed)
            self._transport.set_record_consumer(self._dtls.receive_records)
            self._connected()
            if self._channel is not None:
                await self._channel.start()
        except Exception:  # noqa: BLE001 - the edge of a task: the leg ends, with a reason
            self._link.fail("establish", EndReason.INTERNAL)

    def _connected(self) -> None:
        config, now = self._stack.config, clock.monotonic()
        transmit, protect = self._transport.send_datagram, self._dtls.protect_rtcp
        self._reports = Reports(
            self._receiver,
            self._outbound,
            choice=config.encoder,
            transmit=lambda report: transmit(protect(report)),
            now=now,
        )
        self._inbound.start(self._dtls, self._reports, Presence(config.lost_s, config.gone_s, received_at=now))
        self._stack.wheel.add_member(self._inbound)
        self._outbound.start(protect=self._dtls.protect, send=transmit)
        self._link.hand_up(LegConnected(), now)

    def _dtls_failed(self, failure: DtlsFailure) -> None:
        metrics.DTLS_FAILURES.labels(failure).inc()
        get_logger().warning("dtls_failed", leg=self.id, role=self._setup, cause=failure, alert=self._dtls.alert)
        self._link.fail("dtls", end_reason(failure))

    def _dtls_changed(self) -> None:
        if self._dtls.state in {"closed", "failed"}:
            self._link.hand_up(LegClosed(EndReason.CLIENT_GONE))

    async def _close(self) -> None:
        self._link.hand_up(LegClosed(EndReason.CLIENT_GONE))
        if self._dtls.state == "connecting":
            self._dtls_failed(DtlsFailure.UNFINISHED)
        try:
            async with asyncio.timeout(_CLOSE_S):
                if self._channel is not None:
                    await self._channel.close()
                if self._reports is not None:
                    self._reports.close(now=clock.monotonic())
                self._establishing.cancel()
                await asyncio.gather(self._establishing, return_exceptions=True)
                await self._dtls.stop()
        except Exception:  # noqa: BLE001 - the leg is closed whatever error the stack raises
            metrics.LEG_ERRORS.labels("close").inc()
            get_logger().exception("leg_failed", stage="close", leg=self.id)
        finally:
            self._dtls.remove_all_listeners()
            self._stack.wheel.remove(self._inbound, self._outbound)
            self._transport.close()
