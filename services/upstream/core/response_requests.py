"""The requests for responses that the provider has not begun: few are sent at a time, the others wait.

Of the conversation, and of all that may sound, one response is requested or generated at a time. Text outside the
conversation is generated beside it, if the provider does that.
"""

from dataclasses import dataclass
from typing import Literal

from services.upstream.core.command_buffer import Origin
from services.upstream.core.json_shape import Json
from services.upstream.core.response import StopReason

MAX_WAITING = 8
"""Most requests outside the conversation that wait; of the conversation's, one waits for each asker."""
MAX_CANCELLED = 16
"""Cancelled requests whose turn has not come; the client's further ones are not taken."""
MAX_BESIDE = 4
"""Most responses that are generated beside the conversation."""
CREATED_TIMEOUT_S = 15.0
"""When a requested response that the provider has not begun is given up."""
RETRY_S = 0.25
MAX_RETRIES = 8

Asker = Literal["turn", "client"]


@dataclass(slots=True, kw_only=True, eq=False)
class ResponseRequest:
    """A `response.create` that waits, or that the provider has not answered."""

    fields: Json
    asker: Asker
    client_event_id: str | None
    asked_at: float
    hangover_ms: int = 0
    beside: bool = False  # generated beside the conversation's response
    origin: Origin | None = None  # of the event for the provider
    sent_at: float = 0.0
    sent_behind: int | None = None  # the items requested before it
    retries: int = 0
    retry_at: float = 0.0
    stop: StopReason | None = None  # why it must be stopped as soon as it begins
    admission: Literal["not_asked", "asked", "granted"] = "not_asked"  # by the rates

    @property
    def out_of_band(self) -> bool:
        """Whether it is outside the conversation, so that speech does not interrupt it."""
        return self.fields.get("conversation") == "none"


class ResponseRequests:
    """The requests of one session."""

    def __init__(self) -> None:
        self._waiting: list[ResponseRequest] = []
        self.sent: list[ResponseRequest] = []
        """The requests that the provider has not answered, oldest first: at most one of the conversation, one other."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is requested."""
        return not (self._waiting or self.sent)

    @property
    def has_active(self) -> bool:
        """Whether a response of the conversation is requested and not cancelled."""
        return any(not request.out_of_band and not request.stop for request in (*self.sent, *self._waiting))

    def add(self, new: ResponseRequest) -> bool:
        """Let a request wait; False if too many do.

        A turn takes the place of one that waits: their common answer follows both.
        """
        if new.out_of_band and sum(request.out_of_band for request in self._waiting) >= MAX_WAITING:
            return False
        if new.asker == "turn":
            self._waiting = [request for request in self._waiting if request.asker != "turn" or request.stop]
        self._waiting.append(new)
        return True

    def next(self, *, is_free: bool, beside: int, now: float) -> ResponseRequest | None:
        """Return the next request to send, those of the conversation first; None if none may be sent.

        ``is_free``: no response is generated but the ``beside`` that are so beside the conversation.
        """
        is_free = is_free and all(request.beside for request in self.sent)
        beside += sum(request.beside for request in self.sent)
        is_clear = not any(request.out_of_band for request in self.sent)  # begins are told apart by their conversation
        for request in sorted(self._waiting, key=lambda request: request.out_of_band):
            has_room = beside < MAX_BESIDE if request.beside else is_free
            if not request.stop and has_room and now >= request.retry_at and (is_clear or not request.out_of_band):
                return request
            is_free = is_free and request.beside  # those behind it do not overtake
        return None

    def waits(self, request: ResponseRequest) -> bool:
        """Return whether the request waits: it was neither sent nor cancelled."""
        return request in self._waiting

    def remove(self, request: ResponseRequest) -> bool:
        """Remove a request that waits; False if it does not."""
        if not self.waits(request):
            return False
        self._waiting.remove(request)
        return True

    def pop_begun(self, *, in_conversation: bool | None) -> ResponseRequest | None:
        """Remove and return the request of a response that the provider has begun; None if there is none.

        ``in_conversation``: None if the provider does not say.
        """
        if in_conversation:
            fitting = [request for request in self.sent if not request.out_of_band]
        else:  # some providers name no conversation, or say null for each
            fitting = sorted(self.sent, key=lambda request: in_conversation is False and not request.out_of_band)
        return self._pop(fitting[0]) if fitting else None

    def pop_refused(self, origin: Origin | None) -> ResponseRequest | None:
        """Remove and return the request that was sent for ``origin``, or the oldest if that is unknown."""
        found = [request for request in self.sent if origin is None or request.origin is origin]
        return self._pop(found[0]) if found else None

    def pop_expired(self, *, now: float) -> ResponseRequest | None:
        """Remove and return a sent request that the provider has not answered in time, or None."""
        found = [request for request in self.sent if now - request.sent_at >= CREATED_TIMEOUT_S]
        return self._pop(found[0]) if found else None

    def stop_conversation(self, reason: StopReason) -> bool:
        """Stop the requests of the conversation; False if there are none. Those that wait keep their places."""
        found = [request for request in (*self.sent, *self._waiting) if not (request.out_of_band or request.stop)]
        for request in found:
            request.stop = reason
        return bool(found)

    @property
    def takes_cancelled(self) -> bool:
        """Whether few of those that wait are cancelled."""
        return sum(request.stop is not None for request in self._waiting) < MAX_CANCELLED

    def pop_cancelled(self) -> ResponseRequest | None:
        """Remove and return the first that waits and is cancelled; None if there is none, or if one is before it.

        Before it: a cancelled request that the provider has not answered.
        """
        found = [request for request in self._waiting if request.stop]
        if not found or any(request.stop for request in self.sent):
            return None
        self._waiting.remove(found[0])
        return found[0]

    def retry(self, refused: ResponseRequest, *, now: float) -> bool:
        """Let a request that the provider refused wait again, beside nothing; False if it was refused too often."""
        if refused.retries >= MAX_RETRIES:
            return False
        refused.retries += 1
        refused.beside = False
        refused.retry_at = now + RETRY_S
        self._waiting.insert(0, refused)
        return True

    def retry_now(self) -> None:
        """Allow retries now: the provider has ended a response."""
        for request in self._waiting:
            request.retry_at = 0.0

    def clear(self) -> None:
        """Drop all that wait."""
        self._waiting.clear()

    def _pop(self, request: ResponseRequest) -> ResponseRequest:
        self.sent.remove(request)
        return request
