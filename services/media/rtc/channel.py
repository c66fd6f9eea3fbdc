"""The data channel of a leg: events both ways, one channel, nothing that grows without bound."""

import asyncio
import contextlib
from typing import Protocol

from aiortc import RTCDataChannel, RTCSctpCapabilities
from aiortc.exceptions import InvalidStateError

from services.contracts.endings import EndReason
from services.media import metrics
from services.media.core import notices
from services.media.core.sctp import SctpDropped
from services.media.core.sdp import DataSection
from services.media.leg import LegClosed, LegInput, LegMessage, LegOpened
from services.media.rtc.mux import drop
from services.media.rtc.private import Dtls
from services.media.rtc.sctp import Sctp

MAX_UNSENT_BYTES = 4 * 1024 * 1024
MAX_EXTRA_CHANNELS = 8
_LAST_WORDS_S = 0.25


class Owner(Protocol):
    """The leg of a channel."""

    def put(self, item: LegInput) -> None:
        """Something came."""

    def gone_wrong(self, stage: str, reason: EndReason) -> None:
        """The leg cannot go on. An exception that is being handled is logged."""


class Channel:
    """One leg's."""

    def __init__(self, dtls: Dtls, section: DataSection, owner: Owner) -> None:
        self._section = section
        self._owner = owner
        self._sctp = Sctp(dtls, self)
        self._sctp.on("datachannel", self._channel_came)
        self._channel: RTCDataChannel | None = None
        self._extra = 0

    async def start(self) -> None:
        """Open the association; DTLS is up."""
        capabilities = RTCSctpCapabilities(maxMessageSize=self._section.max_message_bytes)
        await self._sctp.start(capabilities, self._section.sctp_port)

    def send(self, text: str) -> None:
        """Send an event; a client that does not read is gone."""
        channel = self._channel
        if channel is None or channel.readyState != "open":
            metrics.EVENTS_LOST.labels("channel_closed").inc()
            return
        if channel.bufferedAmount > MAX_UNSENT_BYTES:
            metrics.EVENTS_LOST.labels("client_too_slow").inc()
            self._owner.put(LegClosed(EndReason.CLIENT_GONE))
            return
        try:
            self._sctp.send_text(channel, text)
        except (InvalidStateError, ValueError, ConnectionError):  # closed meanwhile, or longer than the peer takes
            metrics.EVENTS_LOST.labels("not_accepted").inc()

    async def close(self) -> None:
        """Let what was sent leave, for a moment, then end the association."""
        await self._last_words()
        self._sctp.remove_all_listeners()
        await self._sctp.stop()

    async def _last_words(self) -> None:
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
        """A packet, or the rest of one, was thrown away."""
        drop(reason)
        if flood:
            self._owner.gone_wrong(reason, EndReason.FLOOD)

    def failed(self) -> None:
        """A packet broke aiortc."""
        self._owner.gone_wrong("sctp", EndReason.CLIENT_GONE)

    def _channel_came(self, channel: RTCDataChannel) -> None:
        if self._channel is not None:
            self._extra_channel_came(channel)
            return
        self._channel = channel  # whatever its label: the Realtime wire has one channel
        channel.on("message", lambda content: self._owner.put(LegMessage(content)))
        channel.on("close", lambda: self._owner.put(LegClosed(EndReason.CLIENT_GONE)))
        self._owner.put(LegOpened())

    def _extra_channel_came(self, channel: RTCDataChannel) -> None:
        metrics.INPUT_DROPPED.labels("extra_channel").inc()
        channel.close()
        self._extra += 1
        if self._extra > MAX_EXTRA_CHANNELS:
            self._owner.gone_wrong("extra_channels", EndReason.FLOOD)
        else:
            self.send(notices.extra_channel())
