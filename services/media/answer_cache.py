"""Replies to signaling: idempotent per request, and each failure with one of the protocol's reasons."""

import asyncio
from collections.abc import Awaitable, Callable, Container, Hashable
from functools import partial
from typing import Generic, TypeVar

from services.contracts.connect import LegOffer
from services.contracts.ids import CallId, InvalidIdError, LegId, call_id, tenant_id
from services.contracts.message import Message
from services.contracts.messages import ClaimGranted, Offer, OfferAnswered, OfferRefused, Restart
from services.media.call import Call
from services.media.claims import ClaimFailedError
from services.media.core.network.rate_limiter import Verdict
from services.media.leg import BadOfferError, Leg
from services.runtime import clock
from services.runtime.telemetry.logging import get_logger

MAX_REMEMBERED_RESTARTS = 256

K = TypeVar("K", bound=Hashable)


class AnswerCache(Generic[K]):
    """Caches replies by request, also while one is being computed: a repeated request gets the same reply."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._answers: dict[K, asyncio.Future[Message]] = {}

    async def answer(self, key: K, work: Callable[[], Awaitable[Message]]) -> Message:
        """Return the cached reply to ``key``, or compute it by ``work``. A failure is raised and not cached."""
        if key not in self._answers:
            answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            self._answers[key] = answer
            while len(self._answers) > self._limit:
                self._answers.pop(next(iter(self._answers)))
            try:
                answer.set_result(await work())
            except BaseException as exc:
                self.forget(key)  # the next attempt computes anew
                answer.set_exception(exc if isinstance(exc, Exception) else asyncio.CancelledError())
                answer.exception()  # marked as retrieved, also when nobody else awaits it
                raise
            return answer.result()
        return await asyncio.shield(self._answers[key])

    def forget(self, key: K) -> None:
        """Remove the reply to ``key``: the next request is computed anew."""
        self._answers.pop(key, None)


class IceRestarts:
    """Answers new offers for live calls (ICE restarts)."""

    def __init__(self) -> None:
        self._answers: AnswerCache[tuple[CallId, LegId, LegOffer]] = AnswerCache(limit=MAX_REMEMBERED_RESTARTS)

    async def answer(self, call: Call | None, request: Restart, *, timeout_s: float) -> Message:
        """Return the answer or a refusal. The same offer again gets the same answer; a refusal may be retried."""
        if call is None:  # it ended while the request was in flight
            return OfferRefused(reason="internal", detail="the call is over")
        if (leg := call.leg(request.leg)) is None:
            return OfferRefused(reason="internal", detail="the leg is gone")
        key = (request.call, leg.id, request.connect)
        reply = await self._answers.answer(key, partial(_restart, call, leg, request.connect, timeout_s))
        if isinstance(reply, OfferRefused):
            self._answers.forget(key)
        return reply


async def _restart(call: Call, leg: Leg, offer: LegOffer, timeout_s: float) -> OfferAnswered | OfferRefused:
    try:
        if call.restarts.check(now=clock.monotonic()) is not Verdict.ACCEPT:
            return OfferRefused(reason="too_many")
        async with asyncio.timeout(timeout_s):
            return OfferAnswered(connect=await leg.restart(offer))
    except BadOfferError as exc:
        reply = OfferRefused(reason="bad_offer", detail=str(exc))
    except Exception as exc:  # noqa: BLE001 - the edge: the call goes on as it was, and the client may try again
        get_logger().exception("restart_failed", call_id=call.facts.id, reason=type(exc).__name__)
        reply = OfferRefused(reason="internal", detail="the media process could not answer")
    get_logger().warning("restart_refused", call_id=call.facts.id, reason=reply.reason, detail=reply.detail)
    return reply


def refused(owner: ClaimGranted | BaseException, answered: object) -> OfferRefused:
    """Return the refusal of an offer whose claim or leg failed, with the reason of that failure."""
    if isinstance(answered, BadOfferError):
        return OfferRefused(reason="bad_offer", detail=str(answered))
    if isinstance(owner, ClaimFailedError):
        return OfferRefused(reason=owner.reason, detail=owner.detail)
    for failure in (owner, answered):
        if isinstance(failure, BaseException):
            get_logger().error("offer_failed", reason=type(failure).__name__, exc_info=failure)
    return OfferRefused(reason="internal", detail="the media process could not answer")


def unreadable(offer: Offer, *, transports: Container[str]) -> OfferRefused | None:
    """Return a refusal if the offer has an unknown transport or invalid ids, which become parts of subjects."""
    try:
        call_id(offer.call)
        tenant_id(offer.grant.tenant)
    except InvalidIdError as exc:
        return OfferRefused(reason="bad_offer", detail=f"no valid {exc.kind}")
    transport = offer.connect.transport
    if transport in transports:
        return None
    # A process of another release may serve it, so the reason is one that signaling retries.
    return OfferRefused(reason="internal", detail=f"no legs by {transport!r} here")
