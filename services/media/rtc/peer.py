"""A WebRTC leg: our own path, RTP and pacing around aiortc's DTLS and data channel."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable

from pylibsrtp import Error as SrtpError

from services.contracts.audio import PcmFrame
from services.contracts.endings import EndReason
from services.contracts.ids import LegId
from services.media import metrics
from services.media.core import police, rtp, sdp
from services.media.core.handshake import DtlsFailure, end_reason
from services.media.core.police import Police, Verdict
from services.media.core.presence import How, Presence
from services.media.core.sdp import Offer
from services.media.core.sources import Sources
from services.media.leg import (
    LegClosed,
    LegConnected,
    LegInput,
    LegLost,
    LegMeasured,
    LegOwner,
    LegRecovered,
    Pace,
)
from services.media.rtc.channel import Channel
from services.media.rtc.ear import Ear
from services.media.rtc.mux import drop
from services.media.rtc.offer import check_restart, read_offer
from services.media.rtc.private import Dtls
from services.media.rtc.receiver import Receiver
from services.media.rtc.reports import Reports
from services.media.rtc.sender import Sender
from services.media.rtc.stack import Stack
from services.media.rtc.transport import Transport
from services.runtime import clock
from services.runtime.logging import get_logger

MAX_EARLY_INPUTS = 256
"""What comes before the call attaches: a few events at most."""
_CHECK_S = 0.1
_CLOSE_S = 5.0


class WebRtcLeg:
    """One client: one audio stream each way and a data channel."""

    pace: Pace = "gateway"
    receive_delay_ms = 0  # what is in order is handed up at once

    def __init__(self, leg_id: LegId, offer: Offer, stack: Stack) -> None:
        self.id = leg_id
        self._offer = offer
        self._speaks = offer.audio.speaks
        self.listens = offer.audio.listens
        self._stack = stack
        self._setup = sdp.answered_setup(offer.transport.setup)
        self._transport = Transport(stack.mux, self, remote=offer.transport)
        self._dtls = Dtls(self._transport, stack.certificate, active=self._setup == "active")
        self._channel = Channel(self._dtls, offer.data, self) if offer.data else None
        self._receiver = Receiver(offer.audio.payload_type)
        self._ear = Ear(self._receiver, listens=stack.wheel.hear, give=self._give, failed=self._transport.broke)
        self._sender = Sender(
            offer.audio.payload_type,
            pull=self._pull,
            rest=self._rest,
            failed=lambda: self.gone_wrong("play", EndReason.INTERNAL),
            efforts=stack.wheel.efforts,
        )
        self._reports: Reports | None = None
        self._unprotect: Callable[[bytes], bytes] = bytes  # until DTLS is up nothing gets so far
        self._police, self._reports_police = Police(police.RTP), Police(police.RTCP)
        self._sources = Sources()
        self._presence: Presence | None = None  # None: it never was there
        self._owner: LegOwner | None = None
        self._early: deque[LegInput] = deque(maxlen=MAX_EARLY_INPUTS)
        self._wants_to_play = False
        self._next_check = 0.0
        self._closed = False
        self._tasks = [asyncio.create_task(self._establish(), name="leg establish")]
        self._closing: asyncio.Task[None] | None = None

    def answer(self) -> str:
        """The SDP answer to the offer."""
        return self._answer(self._offer)

    # --- Leg ---

    def attach(self, owner: LegOwner) -> None:
        """Hand everything to ``owner`` from now on."""
        self._owner = owner
        while self._early:
            owner.take(self._early.popleft(), now=clock.monotonic())

    def play(self) -> None:
        """There is something to play."""
        self._wants_to_play = self.listens
        if self._wants_to_play and self._sender.started and not self._closed:
            self._stack.wheel.play(self._sender)

    def send_event(self, text: str) -> None:
        """Send an event; a client that cannot keep up is gone."""
        if self._channel is None:
            metrics.EVENTS_LOST.labels("channel_closed").inc()
        else:
            self._channel.send(text)

    async def restart(self, text: str) -> str:
        """Answer a new offer of the same client. DTLS goes on, so its certificate must be the same.

        Raises:
            BadOfferError: the offer is to blame.
        """
        offer = read_offer(text)
        check_restart(offer, first=self._offer)
        self._transport.new_credentials(offer.transport)
        self._offer = offer
        return self._answer(offer)

    async def close(self) -> None:
        """Hang up, after a moment for the last events."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="leg close")
        await asyncio.shield(self._closing)

    # --- from the transport ---

    def rtp(self, data: bytes, *, now: float) -> None:
        """SRTP or SRTCP came from an address of the client."""
        verdict = self._police.check(now=now)
        if verdict is not Verdict.TAKE:
            drop("rtp_too_many")
            if verdict is Verdict.FLOOD:
                self.gone_wrong("rtp_flood", EndReason.FLOOD)
            return
        if self._reports is None:
            drop("rtp_too_early")
            return
        if rtp.is_rtcp(data):
            self._report_came(data, self._reports, now)
            return
        try:
            packet = self._unprotect(data)
        except SrtpError:
            drop("srtp_unverified")
            return
        self._verified(packet[8:12], now)
        if self._speaks:
            self._ear.take(packet)
        else:
            drop("rtp_not_negotiated")

    def heard(self, *, now: float) -> None:
        """The client is there."""
        if self._presence is not None and (back := self._presence.heard(now=now)) is not None:
            self.put(LegRecovered(back.how, back.away_s), now)
            self.play()

    def moved(self, how: How) -> None:
        """The client is reached elsewhere."""
        metrics.PATH_CHANGES.labels(how).inc()
        if self._presence is not None:
            self._presence.moved(how)

    def gone_wrong(self, stage: str, reason: EndReason) -> None:
        """The leg cannot go on."""
        if not self._closed:
            metrics.LEG_ERRORS.labels(stage).inc()
            failure = sys.exception()
            get_logger().warning("leg_failed", stage=stage, leg=self.id, reason=reason, exc_info=failure)
            if reason is EndReason.FLOOD:
                self._transport.refuse()
            self.put(LegClosed(reason))

    # --- from the wheel ---

    def tick(self, *, now: float) -> None:
        """20 ms have passed."""
        due = self._receiver.due
        if due is not None and now >= due:
            self._give(self._receiver.tick(now=now), now)
        if now < self._next_check:
            return
        self._next_check = now + _CHECK_S
        if self._reports is not None:
            self._reports.tick(now=now)
        match self._presence.tick(now=now) if self._presence is not None else None:
            case "lost":
                self.put(LegLost(), now)
            case "gone":
                self.put(LegClosed(EndReason.CLIENT_GONE), now)

    def broke(self) -> None:
        """`tick` failed with an error that nobody expected: it is being handled now."""
        self.gone_wrong("tick", EndReason.INTERNAL)

    # --- from the channel ---

    def put(self, item: LegInput, now: float | None = None) -> None:
        """Hand ``item`` up; nothing follows a `LegClosed`."""
        if self._closed:
            return
        self._closed = isinstance(item, LegClosed)
        if self._owner is None:
            self._early.append(item)
        else:
            self._owner.take(item, now=clock.monotonic() if now is None else now)

    # --- inside ---

    def _answer(self, offer: Offer) -> str:
        return self._stack.answer(offer, self._transport.local, setup=self._setup, ssrc=self._sender.ssrc)

    def _give(self, frames: list[PcmFrame], now: float) -> None:
        for frame in frames:
            self.put(frame, now)

    def _pull(self, frames: int, now: float) -> bytes | None:
        return self._owner.pull(frames, now=now) if self._owner is not None and not self._closed else None

    def _rest(self) -> None:
        self._wants_to_play = False
        self._stack.wheel.rest(self._sender)

    def _report_came(self, data: bytes, reports: Reports, now: float) -> None:
        if self._reports_police.check(now=now) is not Verdict.TAKE:
            drop("rtcp_too_many")
            return
        began = clock.cpu_s()
        try:
            packets = self._dtls.unprotect_rtcp(data)
        except SrtpError:
            drop("srtcp_unverified")
            return
        self._verified(packets[4:8], now)
        round_trip_ms = reports.take(packets, now=now)
        if round_trip_ms is not None:
            self.put(LegMeasured(round_trip_ms), now)
        self._transport.spent(began, now=now)

    def _verified(self, ssrc: bytes, now: float) -> None:
        if (old := self._sources.heard(ssrc)) is not None:
            self._dtls.forget_stream(int.from_bytes(old))
        self._transport.heard_at = now
        self.heard(now=now)

    async def _establish(self) -> None:
        """ICE, then DTLS, then everything at once."""
        try:
            await self._transport.reached.wait()
            failure = await self._dtls.shake_hands(self._offer.transport.fingerprint)
            if failure is not None:
                self._dtls_failed(failure)
                return
            self._dtls.on("statechange", self._dtls_changed)
            self._transport.give_records(self._dtls.take)
            self._connected()
            if self._channel is not None:
                await self._channel.start()
        except Exception:  # noqa: BLE001 - the edge of a task: the leg ends, with a reason
            self.gone_wrong("establish", EndReason.INTERNAL)

    def _connected(self) -> None:
        config, now = self._stack.config, clock.monotonic()
        transmit, protect = self._transport.send, self._dtls.protect_rtcp
        self._unprotect = self._dtls.unprotect
        self._presence = Presence(config.lost_s, config.gone_s, heard_at=now)
        self._sender.start(protect=self._dtls.protect, send=self._transport.send)
        self._reports = Reports(
            self._receiver,
            self._sender,
            choice=config.encoder,
            transmit=lambda report: transmit(protect(report)),
            now=now,
        )
        self._stack.wheel.enter(self)
        self.put(LegConnected(), now)
        if self._wants_to_play:
            self.play()

    def _dtls_failed(self, failure: DtlsFailure) -> None:
        metrics.DTLS_FAILURES.labels(failure).inc()
        get_logger().warning("dtls_failed", leg=self.id, role=self._setup, cause=failure, alert=self._dtls.alert)
        self.gone_wrong("dtls", end_reason(failure))

    def _dtls_changed(self) -> None:
        if self._dtls.state in {"closed", "failed"}:
            self.put(LegClosed(EndReason.CLIENT_GONE))

    async def _close(self) -> None:
        self.put(LegClosed(EndReason.CLIENT_GONE))
        if self._dtls.state == "connecting":
            self._dtls_failed(DtlsFailure.UNFINISHED)
        try:
            async with asyncio.timeout(_CLOSE_S):
                if self._channel is not None:
                    await self._channel.close()
                if self._reports is not None:
                    self._reports.close(now=clock.monotonic())
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await self._dtls.stop()
        except Exception:  # noqa: BLE001 - the leg is over whatever the stack thinks of it
            metrics.LEG_ERRORS.labels("close").inc()
            get_logger().exception("leg_failed", stage="close", leg=self.id)
        finally:
            self._dtls.remove_all_listeners()
            self._stack.wheel.leave(self, self._sender)
            self._transport.close()
