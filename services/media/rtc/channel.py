"""The data channel of a leg: events both ways, one channel, nothing that grows without bound."""

import asyncio
import contextlib
from typing import Protocol

from aiortc import RTCDataChannel, RTCSctpCapabilities
from aiortc.exceptions import InvalidStateError

from services.contracts.endings import EndReason
from services.media import metrics
from services.media.core.sdp import MAX_MESSAGE_BYTES, DataSection
from services.media.leg import LegClosed, LegInput, LegMessage, LegOpened
from services.media.rtc.private import Dtls, Sctp

LABEL = "oai-events"
MAX_UNSENT_BYTES = 4 * 1024 * 1024
MAX_HELD_BYTES = 2 * MAX_MESSAGE_BYTES
"""Fragments of messages that are not complete; more than the one that may be on its way, and one behind it."""
MAX_EXTRA_CHANNELS = 8
_LAST_WORDS_S = 0.25
_BROKEN = {"malformed": EndReason.CLIENT_GONE, "unfinished": EndReason.FLOOD}


class Owner(Protocol):
    """The leg of a channel."""

    def put(self, item: LegInput) -> None:
        """Something came."""


class Channel:
    """One leg's."""

    def __init__(self, dtls: Dtls, section: DataSection, owner: Owner) -> None:
        self._section = section
        self._owner = owner
        self._sctp = Sctp(dtls, max_held_bytes=MAX_HELD_BYTES, failed=self._broke)
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

    def _channel_came(self, channel: RTCDataChannel) -> None:
        if channel.label != LABEL or self._channel is not None:
            metrics.INPUT_DROPPED.labels("extra_channel").inc()
            channel.close()
            self._extra += 1
            if self._extra > MAX_EXTRA_CHANNELS:
                self._owner.put(LegClosed(EndReason.FLOOD))
            return
        self._channel = channel
        channel.on("message", lambda content: self._owner.put(LegMessage(content)))
        channel.on("close", lambda: self._owner.put(LegClosed(EndReason.CLIENT_GONE)))
        self._owner.put(LegOpened())

    def _broke(self, reason: str) -> None:
        metrics.INPUT_DROPPED.labels(f"sctp_{reason}").inc()
        self._owner.put(LegClosed(_BROKEN[reason]))
