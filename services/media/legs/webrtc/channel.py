"""The data channel of a leg: events both ways on one channel, with bounded buffers."""

import asyncio
import contextlib

from aiortc import RTCDataChannel, RTCSctpCapabilities
from aiortc.exceptions import InvalidStateError

from services.contracts.endings import EndReason
from services.media import metrics
from services.media.core.conversation import gateway_events
from services.media.core.network.sctp_inspector import SctpDropped
from services.media.core.sdp import DataSection
from services.media.leg import LegClosed, LegMessage, LegOpened
from services.media.legs.webrtc.mux import drop
from services.media.legs.webrtc.owner_link import OwnerLink
from services.media.legs.webrtc.private import Dtls
from services.media.legs.webrtc.sctp import LargeMessages, Sctp

MAX_UNSENT_BYTES = 4 * 1024 * 1024
MAX_EXTRA_CHANNELS = 8
_LAST_WORDS_S = 0.25


class Channel:
    """One leg's data channel and the SCTP association below it."""

    def __init__(self, dtls: Dtls, section: DataSection, link: OwnerLink, large: LargeMessages) -> None:
        self._section = section
        self._link = link
        self._sctp = Sctp(dtls, self, large)
        self._sctp.on("datachannel", self._on_channel)
        self._channel: RTCDataChannel | None = None
        self._extra = 0

    async def start(self) -> None:
        """Start the association; call it once DTLS is up."""
        capabilities = RTCSctpCapabilities(maxMessageSize=self._section.max_message_bytes)
        await self._sctp.start(capabilities, self._section.sctp_port)

    def send_event(self, text: str) -> None:
        """Send an event; closes the leg if the client does not read fast enough."""
        channel = self._channel
        if channel is None or channel.readyState != "open":
            metrics.EVENTS_LOST.labels("channel_closed").inc()
            return
        if channel.bufferedAmount > MAX_UNSENT_BYTES:
            metrics.EVENTS_LOST.labels("client_too_slow").inc()
            self._link.hand_up(LegClosed(EndReason.CLIENT_GONE))
            return
        try:
            self._sctp.send_text(channel, text)
        except ValueError:  # longer than the peer accepts
            metrics.EVENTS_LOST.labels("too_large").inc()
            with contextlib.suppress(InvalidStateError, ValueError, ConnectionError):
                self._sctp.send_text(channel, gateway_events.event_too_large(self._section.max_message_bytes))
        except (InvalidStateError, ConnectionError):  # closed meanwhile
            metrics.EVENTS_LOST.labels("not_accepted").inc()

    def hold_events(self, waiting_bytes: int) -> None:
        """Accept less: ``waiting_bytes`` of the client's messages wait in the call."""
        self._sctp.hold(waiting_bytes)

    async def close(self) -> None:
        """Flush sent events for a short time, then end the association."""
        try:
            await self._flush_events()
            self._sctp.remove_all_listeners()
            await self._sctp.stop()
        finally:
            self._sctp.release()

    async def _flush_events(self) -> None:
        if self._channel is None or self._channel.readyState != "open":
            return
        sent = asyncio.Event()
        self._channel.on("bufferedamountlow", sent.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                if self._channel.bufferedAmount:
                    await sent.wait()

    # --- from SCTP ---

    def dropped(self, reason: SctpDropped, *, flood: bool) -> None:
        """Count a packet, or the rest of one, that was dropped; a flood closes the leg."""
        drop(reason)
        if flood:
            self._link.fail(reason, EndReason.FLOOD)

    def failed(self) -> None:
        """Close the leg: aiortc raised on a packet."""
        self._link.fail("sctp", EndReason.CLIENT_GONE)

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if self._channel is not None:
            self._on_extra_channel(channel)
            return
        self._channel = channel  # whatever its label: the Realtime protocol has one channel
        channel.on("message", lambda content: self._link.hand_up(LegMessage(content)))
        channel.on("close", lambda: self._link.hand_up(LegClosed(EndReason.CLIENT_GONE)))
        self._link.hand_up(LegOpened())

    def _on_extra_channel(self, channel: RTCDataChannel) -> None:
        metrics.INPUT_DROPPED.labels("extra_channel").inc()
        channel.close()
        self._extra += 1
        if self._extra > MAX_EXTRA_CHANNELS:
            self._link.fail("extra_channels", EndReason.FLOOD)
        else:
            self.send_event(gateway_events.extra_channel())
