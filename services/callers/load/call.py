"""One call of a load run, from the token to the bill."""

import asyncio
import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from aiortc import RTCBundlePolicy, RTCCertificate, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InvalidStateError, OperationError

from services.callers import rtc_private
from services.callers.bill import settled
from services.callers.core.conversation import Conversation, Manner, Shares
from services.callers.core.figures import Account, Failure
from services.callers.core.hearing import Hearing
from services.callers.errors import (
    CallEndedError,
    CallerError,
    NotConnectedError,
    RefusedError,
    StrangeAnswerError,
    UnreachableError,
)
from services.callers.load.direct import DirectAudio
from services.callers.load.pacer import Pacer
from services.callers.load.voice import Voice
from services.callers.wire import Wire
from services.runtime import clock

_CONNECT_TIMEOUT_S = 15.0
_BILL_TIMEOUT_S = 15.0
_REPORT_FRAMES = 50
_TURN = "turn"
"""The gateway's own event that says where the time of a turn went: docs/clients.md."""
_MALFORMED = (400, 422)
_FAILURES: tuple[tuple[type[CallerError], Failure], ...] = (
    (RefusedError, Failure.REFUSED),
    (UnreachableError, Failure.UNREACHABLE),
    (StrangeAnswerError, Failure.STRANGE_ANSWER),
    (NotConnectedError, Failure.NOT_CONNECTED),
    (CallEndedError, Failure.ENDED_EARLY),
)


class Tokens:
    """Mints for the calls of a process; they are told the shares of their turns where the endpoint knows how."""

    def __init__(self, wire: Wire, key: str, session: dict[str, Any]) -> None:
        self._wire = wire
        self._key = key
        self._session = session
        self._events: tuple[str, ...] = (_TURN,)

    async def next(self) -> str:
        """A token for one call.

        Raises:
            CallerError: there is none.
        """
        events = self._events
        try:
            return (await self._wire.mint(self._key, session=self._session, events=events)).token
        except RefusedError as exc:
            if not events or exc.status not in _MALFORMED:
                raise
        self._events = ()  # another provider's endpoint, or an older gateway
        return (await self._wire.mint(self._key, session=self._session)).token


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the calls of a process share."""

    wire: Wire
    tokens: Tokens
    manner: Manner
    voice: Voice
    pacer: Pacer
    account: Account
    certificate: RTCCertificate
    bills: asyncio.Semaphore
    """So that hundreds of calls that end together do not ask for their bills all at once."""


class LoadCall:
    """Made and run once. ``number`` seeds what it says."""

    def __init__(self, shared: Surroundings, number: int) -> None:
        self._shared = shared
        self._number = number
        self._hearing = Hearing(shared.account.heard)
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        rtc_private.share_certificate(self._peer, shared.certificate)
        self._audio = DirectAudio(self._peer, self._hearing, shared.voice)
        self._channel = self._peer.createDataChannel("oai-events")
        self._opened = asyncio.Event()
        self._gone = asyncio.Event()
        self._conversation: Conversation | None = None
        self._token, self._call_id = "", ""
        self.live = False
        """Whether it is up now."""

    async def run(self, stop: asyncio.Event) -> None:
        """Call, talk until ``stop``, hang up, ask for the bill; what happened goes into the account."""
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
            self._hearing.close()
        await self._pay()

    def tick(self, frame: int, now: float) -> None:
        """The pacer's: say what is due."""
        if self._conversation and not self._audio.send(self._conversation.tick(now), frame):
            self._shared.account.unsent += 1
        if frame % _REPORT_FRAMES == self._number % _REPORT_FRAMES:
            self._audio.report()

    async def _connect(self) -> None:
        wire = self._shared.wire
        self._token = await self._shared.tokens.next()
        began = clock.monotonic()
        self._channel.on("open", self._opened.set)
        self._channel.on("close", self._gone.set)
        self._channel.on("message", self._told)
        self._peer.on("connectionstatechange", self._changed)
        await self._peer.setLocalDescription(await self._peer.createOffer())
        answer = await wire.offer(self._token, self._peer.localDescription.sdp)
        self._call_id = answer.call_id
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(sdp=answer.sdp, type="answer"))
        except (ValueError, IndexError, InvalidStateError, OperationError) as exc:
            raise StrangeAnswerError(wire.url, f"its answer is not usable SDP ({exc})") from exc
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
        self._conversation = Conversation(
            shared.voice.clips,
            manner=shared.manner,
            hearing=self._hearing,
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
        if self._conversation.asked and not self._hearing.packets:
            shared.account.failed(Failure.NO_AUDIO, "the caller asked, and not one packet came back")

    def _told(self, message: str | bytes) -> None:
        """An event. All but one kind are of no interest, and hundreds of calls parse none of those."""
        if self._conversation and isinstance(message, str) and f'"hushgate.{_TURN}"' in message:
            event = json.loads(message)
            match event:
                case {"type": "hushgate.turn", "provider_ms": int(provider_ms), "hangover_ms": int(hangover_ms)}:
                    self._conversation.turn_told(Shares(provider_ms, hangover_ms))

    def _changed(self) -> None:
        if self._peer.connectionState in {"failed", "closed"}:
            self._gone.set()

    async def _hang_up(self) -> None:
        self._audio.close()
        try:
            if self._call_id:
                await self._shared.wire.hang_up(self._token, self._call_id)
        except CallerError:
            self._call_id = ""  # gone already, or without this API: then it has no bill either
        finally:
            await self._peer.close()

    async def _pay(self) -> None:
        account = self._shared.account
        if not self._call_id:
            return
        try:
            async with self._shared.bills:
                bill = await settled(self._shared.wire, self._token, self._call_id, timeout_s=_BILL_TIMEOUT_S)
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
