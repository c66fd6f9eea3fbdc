"""The requests for responses that the provider has not begun: one is sent at a time, the others wait."""

from dataclasses import dataclass
from typing import Literal

from services.upstream.core.json_shape import Json
from services.upstream.core.response import StopReason

MAX_WAITING = 8
"""Most requests outside the conversation that wait; of the conversation's, one waits for each asker."""
CREATED_TIMEOUT_S = 15.0
"""When a requested response that the provider has not begun is given up."""
RETRY_S = 0.25
MAX_RETRIES = 8

Asker = Literal["turn", "client"]


@dataclass(slots=True)
class ResponseRequest:
    """A `response.create` that waits, or that the provider has not answered."""

    fields: Json
    asker: Asker
    client_event_id: str | None
    asked_at: float
    hangover_ms: int = 0
    retries: int = 0
    sent_at: float = 0.0
    stop: StopReason | None = None  # why it must be stopped as soon as it begins

    @property
    def out_of_band(self) -> bool:
        """Whether it is outside the conversation, so that speech does not interrupt it."""
        return self.fields.get("conversation") == "none"


class ResponseRequests:
    """The requests of one session."""

    def __init__(self) -> None:
        self._waiting: list[ResponseRequest] = []
        self._retry_at: float | None = None
        self.sent: ResponseRequest | None = None
        """The request that the provider has not answered."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is requested."""
        return not self._waiting and self.sent is None

    @property
    def has_active(self) -> bool:
        """Whether a response of the conversation is requested and not cancelled."""
        sent = [self.sent] if self.sent is not None and not self.sent.stop else []
        return any(not request.out_of_band for request in (*sent, *self._waiting))

    def add(self, new: ResponseRequest) -> bool:
        """Let a request wait; False if too many do.

        A turn takes the place of one that waits: their common answer follows both.
        """
        if new.out_of_band and sum(request.out_of_band for request in self._waiting) >= MAX_WAITING:
            return False
        if new.asker == "turn":
            self._waiting = [request for request in self._waiting if request.asker != "turn"]
        self._waiting.append(new)
        return True

    def pop_next(self) -> ResponseRequest | None:
        """Remove the next request to send, those of the conversation first; None if none may be sent now."""
        if self.sent is not None or self._retry_at is not None or not self._waiting:
            return None
        chosen = min(self._waiting, key=lambda request: request.out_of_band)
        self._waiting.remove(chosen)
        return chosen

    def pop_sent(self) -> ResponseRequest | None:
        """Remove the sent request: the provider has answered it."""
        sent, self.sent = self.sent, None
        return sent

    def pop_conversation(self) -> list[ResponseRequest]:
        """Remove and return the waiting requests of the conversation."""
        removed = [request for request in self._waiting if not request.out_of_band]
        self._waiting = [request for request in self._waiting if request.out_of_band]
        return removed

    def pop_expired(self, *, now: float) -> ResponseRequest | None:
        """Remove the sent request if the provider has not answered it in time; allow a retry that is due."""
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
        return self.pop_sent() if self.sent is not None and now - self.sent.sent_at >= CREATED_TIMEOUT_S else None

    def retry(self, refused: ResponseRequest, *, now: float) -> bool:
        """Let a request that the provider refused wait again; False if it was refused too often."""
        if refused.retries >= MAX_RETRIES:
            return False
        refused.retries += 1
        self._waiting.insert(0, refused)
        self._retry_at = now + RETRY_S
        return True

    def provider_is_free(self) -> None:
        """Allow a retry now: the provider has ended a response."""
        self._retry_at = None

    def clear(self) -> None:
        """Drop all that wait."""
        self._waiting.clear()
