"""What signaling is told: each request is answered once, and what fails has one of the reasons of the wire."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from services.contracts.ids import CallId, InvalidIdError, call_id, tenant_id
from services.contracts.messages import ClaimGranted, Message, Offer, OfferAnswered, OfferRefused, Restart
from services.media.call import Call
from services.media.claims import ClaimFailedError
from services.media.core.police import Verdict
from services.media.leg import BadOfferError
from services.runtime import clock
from services.runtime.logging import get_logger

MAX_REMEMBERED_RESTARTS = 256

K = TypeVar("K", bound=Hashable)


class Once(Generic[K]):
    """Remembers answers: the same question again gets the same answer, also while that is being worked out."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._answers: dict[K, asyncio.Future[Message]] = {}

    async def answer(self, key: K, work: Callable[[], Awaitable[Message]]) -> Message:
        """The answer to ``key``, by ``work`` if there is none yet. A failure is not remembered."""
        if key not in self._answers:
            answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            self._answers[key] = answer
            while len(self._answers) > self._limit:
                self._answers.pop(next(iter(self._answers)))
            try:
                answer.set_result(await work())
            except BaseException as exc:
                self.forget(key)  # the next try is a new one
                answer.set_exception(exc if isinstance(exc, Exception) else asyncio.CancelledError())
                answer.exception()  # seen, also when nobody else waits for it
                raise
            return answer.result()
        return await asyncio.shield(self._answers[key])

    def forget(self, key: K) -> None:
        """The next time work it out again."""
        self._answers.pop(key, None)


class Restarts:
    """Lets live calls answer new offers of their clients (ICE restarts)."""

    def __init__(self) -> None:
        self._answers: Once[tuple[CallId, str]] = Once(limit=MAX_REMEMBERED_RESTARTS)

    async def answer(self, call: Call | None, request: Restart, *, timeout_s: float) -> Message:
        """The answer, or why there is none. The same offer again gets the same answer; a refusal may be tried again."""
        if call is None:  # it ended with the request on its way
            return OfferRefused(reason="internal", detail="the call is over")
        key = (request.call, request.sdp)
        reply = await self._answers.answer(key, partial(_restart, call, request.sdp, timeout_s))
        if isinstance(reply, OfferRefused):
            self._answers.forget(key)
        return reply


async def _restart(call: Call, sdp: str, timeout_s: float) -> OfferAnswered | OfferRefused:
    try:
        if call.restarts.check(now=clock.monotonic()) is not Verdict.TAKE:
            return OfferRefused(reason="too_many")
        async with asyncio.timeout(timeout_s):
            return OfferAnswered(sdp=await call.restart(sdp))
    except BadOfferError as exc:
        reply = OfferRefused(reason="bad_offer", detail=str(exc))
    except Exception as exc:  # noqa: BLE001 - the edge: the call goes on as it was, and the client may try again
        get_logger().exception("restart_failed", call_id=call.facts.id, reason=type(exc).__name__)
        reply = OfferRefused(reason="internal", detail="the media process could not answer")
    get_logger().warning("restart_refused", call_id=call.facts.id, reason=reply.reason, detail=reply.detail)
    return reply


def refused(owner: ClaimGranted | BaseException, answered: object) -> OfferRefused:
    """Why an offer has no answer, when the claim of a worker or the leg failed."""
    if isinstance(answered, BadOfferError):
        return OfferRefused(reason="bad_offer", detail=str(answered))
    if isinstance(owner, ClaimFailedError):
        return OfferRefused(reason=owner.reason, detail=owner.detail)
    for failure in (owner, answered):
        if isinstance(failure, BaseException):
            get_logger().error("offer_failed", reason=type(failure).__name__, exc_info=failure)
    return OfferRefused(reason="internal", detail="the media process could not answer")


def unreadable(offer: Offer) -> OfferRefused | None:
    """The refusal of an offer whose ids are none: they become parts of subjects."""
    try:
        call_id(offer.call)
        tenant_id(offer.grant.tenant)
    except InvalidIdError as exc:
        return OfferRefused(reason="bad_offer", detail=f"no valid {exc.kind}")
    return None
