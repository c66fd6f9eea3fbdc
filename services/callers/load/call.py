"""One call of a load run, from token to bill."""

import asyncio
import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from aiortc import RTCBundlePolicy, RTCCertificate, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InvalidStateError, OperationError

from services.callers import aiortc_private
from services.callers.bill import wait_for_bill
from services.callers.core.figures import Failure, ProcessFigures
from services.callers.core.reception import ReceptionStatistics
from services.callers.core.simulated_caller import SimulatedCaller, TalkProfile, TurnShares
from services.callers.endpoint_client import EndpointClient
from services.callers.errors import (
    CallEndedError,
    CallerError,
    EndpointRefusedError,
    NotConnectedError,
    UnexpectedReplyError,
    UnreachableError,
)
from services.callers.load.direct import DirectAudio
from services.callers.load.pacer import Pacer
from services.callers.load.rtp_payloads import RtpPayloads
from services.runtime import clock

_CONNECT_TIMEOUT_S = 15.0
_BILL_TIMEOUT_S = 15.0
_REPORT_FRAMES = 50
_TURN = "turn"
"""The gateway's own event with the latency shares of a turn: docs/clients.md."""
_MALFORMED = (400, 422)
_FAILURES: tuple[tuple[type[CallerError], Failure], ...] = (
    (EndpointRefusedError, Failure.REFUSED),
    (UnreachableError, Failure.UNREACHABLE),
    (UnexpectedReplyError, Failure.STRANGE_ANSWER),
    (NotConnectedError, Failure.NOT_CONNECTED),
    (CallEndedError, Failure.ENDED_EARLY),
)


class TokenSource:
    """Mints tokens for the calls of a process, with the gateway's own events if the endpoint supports them."""

    def __init__(self, wire: EndpointClient, key: str, session: dict[str, Any]) -> None:
        self._wire = wire
        self._key = key
        self._session = session
        self._events: tuple[str, ...] = (_TURN,)

    async def next(self) -> str:
        """Mint a token for one call.

        Raises:
            CallerError: it was refused or nobody answers.
        """
        events = self._events
        try:
            return (await self._wire.mint(self._key, session=self._session, events=events)).token
        except EndpointRefusedError as exc:
            if not events or exc.status not in _MALFORMED:
                raise
        self._events = ()  # another provider's endpoint, or an older gateway
        return (await self._wire.mint(self._key, session=self._session)).token


@dataclass(frozen=True, slots=True)
class LoadContext:
    """What the calls of a process share."""

    wire: EndpointClient
    tokens: TokenSource
    manner: TalkProfile
    voice: RtpPayloads
    pacer: Pacer
    account: ProcessFigures
    certificate: RTCCertificate
    bills: asyncio.Semaphore
    """So that hundreds of calls that end together do not request their bills at the same time."""


class LoadCall:
    """One simulated call; run it once. ``number`` seeds its choice of clips."""

    def __init__(self, shared: LoadContext, number: int) -> None:
        self._shared = shared
        self._number = number
        self._reception = ReceptionStatistics(shared.account.received)
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        aiortc_private.share_certificate(self._peer, shared.certificate)
        self._audio = DirectAudio(self._peer, self._reception, shared.voice)
        self._channel = self._peer.createDataChannel("oai-events")
        self._opened = asyncio.Event()
        self._gone = asyncio.Event()
        self._conversation: SimulatedCaller | None = None
        self._token, self._call_id = "", ""
        self.live = False
        """Whether it is connected now."""

    async def run(self, stop: asyncio.Event) -> None:
        """Call, talk until ``stop``, hang up, fetch the bill; results are added to the process's figures."""
        account = self._shared.account
        try:
            await self._connect()
            await self._talk(stop)
        except CallerError as exc:
            account.failed(_reason(exc), str(exc))
        finally:
            self.live = False
            self._shared.pacer.remove(self)
            await self._hang_up()
            account.sent += self._audio.packets
            self._reception.close()
        await self._fetch_bill()

    def on_frame_due(self, frame: int, now: float) -> None:
        """Send the frame that is due."""
        if self._conversation and not self._audio.send_frame(self._conversation.next_frame(now), frame):
            self._shared.account.unsent += 1
        if frame % _REPORT_FRAMES == self._number % _REPORT_FRAMES:
            self._audio.report()

    async def _connect(self) -> None:
        wire = self._shared.wire
        self._token = await self._shared.tokens.next()
        began = clock.monotonic()
        self._channel.on("open", self._opened.set)
        self._channel.on("close", self._gone.set)
        self._channel.on("message", self._on_message)
        self._peer.on("connectionstatechange", self._on_state_change)
        await self._peer.setLocalDescription(await self._peer.createOffer())
        answer = await wire.offer(self._token, self._peer.localDescription.sdp)
        self._call_id = answer.call_id
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(sdp=answer.sdp, type="answer"))
        except (ValueError, IndexError, InvalidStateError, OperationError) as exc:
            raise UnexpectedReplyError(wire.url, f"its answer is not usable SDP ({exc})") from exc
        await self._both_ways_open()
        self._shared.account.connected += 1
        self._shared.account.set_up.add((clock.monotonic() - began) * 1000)
        self.live = True

    async def _both_ways_open(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await self._audio.opened.wait()
                await self._opened.wait()
        except TimeoutError:
            raise NotConnectedError(self._peer.connectionState, _CONNECT_TIMEOUT_S) from None

    async def _talk(self, stop: asyncio.Event) -> None:
        shared = self._shared
        self._conversation = SimulatedCaller(
            shared.voice.clips,
            manner=shared.manner,
            reception=self._reception,
            turns=shared.account.turns,
            seed=self._number,
            now=clock.monotonic(),
        )
        shared.pacer.add(self)
        waiting = [asyncio.create_task(event.wait(), name="call ends") for event in (stop, self._gone)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        if not stop.is_set():
            raise CallEndedError("the end of the load run")
        if self._conversation.asked and not self._reception.packets:
            shared.account.failed(Failure.NO_AUDIO, "the caller asked, and not one packet came back")

    def _on_message(self, message: str | bytes) -> None:
        """Handle an event. Only one type matters, and hundreds of calls parse none of the others."""
        if self._conversation and isinstance(message, str) and f'"hushgate.{_TURN}"' in message:
            event = json.loads(message)
            match event:
                case {"type": "hushgate.turn", "provider_ms": int(provider_ms), "hangover_ms": int(hangover_ms)}:
                    self._conversation.turn_reported(TurnShares(provider_ms, hangover_ms))

    def _on_state_change(self) -> None:
        if self._peer.connectionState in {"failed", "closed"}:
            self._gone.set()

    async def _hang_up(self) -> None:
        self._audio.close()
        try:
            if self._call_id:
                await self._shared.wire.hang_up(self._token, self._call_id)
        except CallerError:
            self._call_id = ""  # already ended, or no such API: then there is no bill either
        finally:
            await self._peer.close()

    async def _fetch_bill(self) -> None:
        account = self._shared.account
        if not self._call_id:
            return
        try:
            async with self._shared.bills:
                bill = await wait_for_bill(self._shared.wire, self._token, self._call_id, timeout_s=_BILL_TIMEOUT_S)
        except CallerError:
            return  # the report says how many calls have a bill
        try:
            cost, saved = Decimal(str((bill or {})["cost_usd"])), Decimal(str((bill or {}).get("saved_usd", 0)))
        except (KeyError, InvalidOperation):
            return
        account.bills += 1
        account.cost_usd += cost
        account.saved_usd += saved


def _reason(error: CallerError) -> Failure:
    return next((failure for kind, failure in _FAILURES if isinstance(error, kind)), Failure.REFUSED)
