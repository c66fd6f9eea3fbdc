"""One synthetic caller: a WebRTC peer that plays clips and records everything it receives."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidStateError, OperationError
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from services.callers.aiortc_private import offer_loopback_when_alone
from services.callers.audio_sink import AudioSink
from services.callers.audio_source import AudioSource, SpeechTimes
from services.callers.bill import wait_for_bill
from services.callers.endpoint_client import EndpointClient, Minted, OfferReply
from services.callers.errors import CallEndedError, NotConnectedError, UnexpectedReplyError
from services.callers.events import EventLog, ReceivedEvent, ServerEvent
from services.callers.speech import Clip
from services.runtime import clock

DEFAULT_SESSION: dict[str, Any] = {"type": "realtime"}
_HTTP_TIMEOUT_S = 15.0
_CONNECT_TIMEOUT_S = 15.0
_LABEL = "oai-events"
_ICE_SERVER = ("urls", "username", "credential")


@dataclass(frozen=True, slots=True)
class SetUp:
    """Durations of the set-up's parts, in seconds."""

    token_s: float
    answer_s: float
    """From the start of the offer to its answer."""
    connected_s: float
    """From the start of the offer to the open data channel: ICE, DTLS and SCTP are up."""


class Caller:
    """A connected call. Create it with `Caller.call`."""

    def __init__(self, wire: EndpointClient, minted: Minted, *, rewrite_answer: Callable[[str], str] = str) -> None:
        self._wire = wire
        self._token = minted.token
        self._rewrite_answer = rewrite_answer
        self._opened = asyncio.Event()
        self._peer = RTCPeerConnection(_configuration(minted))
        self._audio_source = AudioSource()
        self._channel: RTCDataChannel | None = None
        self.audio_sink = AudioSink()
        self.events = EventLog()
        self.call_id = ""
        self.set_up = SetUp(0.0, 0.0, 0.0)

    @classmethod
    @asynccontextmanager
    async def call(
        cls,
        url: str,
        key: str,
        *,
        session: dict[str, Any] | None = None,
        events: Sequence[str] = (),
        max_seconds: int | None = None,
        rewrite_answer: Callable[[str], str] = str,
    ) -> AsyncIterator["Caller"]:
        """Make a call; the connection is closed when the block ends, without a hang-up, like a client that disconnects.

        ``key`` is a tenant's key, or an `ek_` token. ``events`` requests Hushgate's own events (`gate`, `usage`).
        ``rewrite_answer`` may change the answer's SDP before it is applied, to route the call through a relay.

        Raises:
            UnreachableError: nobody answers at ``url``.
            EndpointRefusedError: key, token or offer refused.
            UnexpectedReplyError: the endpoint is no Realtime endpoint.
            NotConnectedError: the offer was answered, but no connection came up.
        """
        async with httpx.AsyncClient(timeout=_HTTP_TIMEOUT_S) as http:
            wire = EndpointClient(http, url)
            began = clock.monotonic()
            minted = await wire.mint(key, session=session or DEFAULT_SESSION, events=events, max_seconds=max_seconds)
            caller = cls(wire, minted, rewrite_answer=rewrite_answer)
            try:
                await caller._connect(clock.monotonic() - began)
                yield caller
            finally:
                await caller._close()

    async def speak(self, clip: Clip) -> SpeechTimes:
        """Play ``clip`` now; returns when the last true speech sample was sent, with the times of onset and end.

        Raises:
            CallEndedError: the call was closed before the end.
        """
        try:
            return await self._audio_source.play(clip)
        except MediaStreamError as exc:
            raise CallEndedError("the end of the clip") from exc

    def send_event(self, event: ServerEvent) -> None:
        """Send a client event.

        Raises:
            CallEndedError: the data channel is closed.
        """
        if self._channel is None or self._channel.readyState != "open":
            raise CallEndedError("the data channel")
        self._channel.send(json.dumps(event))

    async def next_event(self, event_type: str, *, timeout_s: float) -> ReceivedEvent:
        """Wait for the next event of the type that was not returned yet (`events.skip` drops those so far).

        Raises:
            WaitTimeoutError: none arrived in time.
            CallEndedError: the call ended first.
        """
        return await self.events.next(event_type, timeout_s=timeout_s)

    async def hang_up(self) -> None:
        """End the call by HTTP, as an app does, and close the connection.

        Raises:
            EndpointRefusedError: not this token's call.
            UnreachableError: nobody answers.
        """
        if self.call_id:
            await self._wire.hang_up(self._token, self.call_id)
        await self._close()

    async def usage(self) -> dict[str, Any] | None:
        """Usage and cost of the call so far, as the endpoint reports; None when it has no account of it."""
        return await self._wire.usage(self._token, self.call_id) if self.call_id else None

    async def bill(self, *, timeout_s: float) -> dict[str, Any] | None:
        """Poll the account after the end of the call; returns the last state when it is not closed in time.

        Raises:
            EndpointRefusedError: not this token's call, or the ledger was unavailable for too long.
            UnreachableError: nobody answers.
        """
        if not self.call_id:
            return None
        return await wait_for_bill(self._wire, self._token, self.call_id, timeout_s=timeout_s)

    async def _connect(self, token_s: float) -> None:
        began = clock.monotonic()
        self._add_handlers()
        await self._peer.setLocalDescription(await self._peer.createOffer())
        answer = await self._wire.offer(self._token, self._peer.localDescription.sdp)
        answered = clock.monotonic()
        await self._accept(answer)
        self.set_up = SetUp(token_s, answered - began, clock.monotonic() - began)

    def _add_handlers(self) -> None:
        transceiver = self._peer.addTransceiver(self._audio_source, direction="sendrecv")
        offer_loopback_when_alone(transceiver.sender)
        self.audio_sink.attach(transceiver.receiver)
        self._channel = self._peer.createDataChannel(_LABEL)
        self._channel.on("open", self._opened.set)
        self._channel.on("message", self._on_message)
        self._channel.on("close", self.events.close)
        self._peer.on("connectionstatechange", self._on_state_change)

    async def _accept(self, answer: OfferReply) -> None:
        self.call_id = answer.call_id
        try:
            await self._peer.setRemoteDescription(
                RTCSessionDescription(sdp=self._rewrite_answer(answer.sdp), type="answer")
            )
        except (ValueError, IndexError, InvalidStateError, OperationError) as exc:
            raise UnexpectedReplyError(self._wire.url, f"its answer is not usable SDP ({exc})") from exc
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await self._opened.wait()
        except TimeoutError:
            raise NotConnectedError(self._peer.connectionState, _CONNECT_TIMEOUT_S) from None

    def _on_message(self, message: str | bytes) -> None:
        event = json.loads(message)
        if isinstance(event, dict):
            self.events.add(event)

    def _on_state_change(self) -> None:
        if self._peer.connectionState in {"failed", "closed"}:
            self._audio_source.stop()
            self.events.close()

    async def _close(self) -> None:
        self._audio_source.stop()
        await self._peer.close()
        self.events.close()


def _configuration(minted: Minted) -> RTCConfiguration:
    """ICE configuration: with relays if the endpoint returned some, and relays only if it requires that."""
    policy = RTCIceTransportPolicy.RELAY if minted.relay_only else RTCIceTransportPolicy.ALL
    servers = [RTCIceServer(**{name: server[name] for name in _ICE_SERVER}) for server in minted.ice_servers]
    return RTCConfiguration(iceServers=servers, iceTransportPolicy=policy, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
