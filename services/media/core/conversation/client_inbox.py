"""The client's events on their way to the worker: in order, at the worker's rate, each forwarded or refused.

Nothing is dropped. What the worker, or a rate, does not take yet waits here; the more waits, the less the leg takes
from its client (`Leg.hold_events`).
"""

from collections import deque
from dataclasses import dataclass

from pydantic import JsonValue

from services.contracts.client_event import EncodedText, RefusedEvent, not_text, read_event
from services.contracts.frame import NO_FLAGS, Flag, Kind
from services.media.core.commands import SendUp
from services.runtime.core.token_bucket import TokenBucket

MAX_READ_BYTES = 16 * 1024
"""Longer messages are read by the worker: parsing 5 MB would delay the frames of other calls."""
PIECE_BYTES = 64 * 1024
"""Most of an event in one frame."""
MAX_IN_FLIGHT = 256 * 1024
"""Most that the worker has not handled, by `position`: three pieces, or two hundred short events."""
MESSAGE_COST = 1024
"""Added to the bytes of each message and each frame: what its handling and its objects cost."""
EVENTS_PER_S, BURST_EVENTS = 250.0, 1000.0
"""Clients send about five a turn, or 200 a second of their own audio; a history comes at once."""
REFUSALS_PER_S, BURST_REFUSALS = 20.0, 100.0
"""Each is answered by an event of 300 bytes: no client can make the gateway send more than it sends itself."""
MAX_WAITING_BYTES = 32 * 1024 * 1024
"""Twice the longest message; a leg stops long before."""


@dataclass(frozen=True, slots=True)
class ValidClientEvent:
    """An event that was read here."""

    type: str
    fields: dict[str, JsonValue]
    raw: bytes


@dataclass(frozen=True, slots=True)
class DueEvent:
    """A frame that is due. ``type``: of the event that it begins; empty if it was not read here, or continues one."""

    type: str
    frame: SendUp


class ClientInbox:
    """One call's messages of its client."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, bytes] | RefusedEvent] = deque()
        self._offset = 0  # of the first one that waits: what was sent of it
        self._sent = 0  # position of the last frame
        self._handled = 0  # position of the last frame that the worker has handled
        self._events = TokenBucket(EVENTS_PER_S, BURST_EVENTS)
        self._refusals = TokenBucket(REFUSALS_PER_S, BURST_REFUSALS)
        self.waiting_bytes = 0
        """What waits here, each message with `MESSAGE_COST`."""

    def read(self, message: str | EncodedText | bytes) -> ValidClientEvent | bytes | RefusedEvent:
        """Read a message; return its bytes if it is too long to be read here."""
        if isinstance(message, bytes):
            return not_text()
        # Surrogates become invalid UTF-8, which is refused.
        raw = message.utf8 if isinstance(message, EncodedText) else message.encode(errors="surrogatepass")
        if len(raw) > MAX_READ_BYTES:
            return raw
        event = read_event(raw)
        return event if isinstance(event, RefusedEvent) else ValidClientEvent(str(event["type"]), event, raw)

    def append(self, message: bytes | RefusedEvent, *, kind: str = "") -> None:
        """Put an event of type ``kind``, or a refusal, behind those that wait. Call `take_due` then."""
        self._waiting.append((kind, message) if isinstance(message, bytes) else message)
        self.waiting_bytes += MESSAGE_COST + (len(message) if isinstance(message, bytes) else 0)

    def credit(self, position: int) -> None:
        """Record that the worker has handled all up to ``position``."""
        self._handled = min(max(self._handled, position), self._sent)

    def take_due(self, *, now: float) -> list[DueEvent | RefusedEvent]:
        """Return what may be sent and answered now, in order."""
        due: list[DueEvent | RefusedEvent] = []
        while self._waiting:
            head = self._waiting[0]
            step = self._refusal(head, now) if isinstance(head, RefusedEvent) else self._next_piece(*head, now)
            if step is None:
                break
            due.append(step)
        return due

    def _refusal(self, refused: RefusedEvent, now: float) -> RefusedEvent | None:
        if self._refusals.take(now=now):
            return None
        self._waiting.popleft()
        self.waiting_bytes -= MESSAGE_COST
        return refused

    def _next_piece(self, kind: str, raw: bytes, now: float) -> DueEvent | None:
        size = min(PIECE_BYTES, len(raw) - self._offset)
        if self._sent - self._handled + size + MESSAGE_COST > MAX_IN_FLIGHT:
            return None
        if not self._offset and self._events.take(now=now):
            return None
        begins = "" if self._offset else kind
        piece = raw[self._offset : self._offset + size]
        self._sent += size + MESSAGE_COST
        self._offset += size
        self.waiting_bytes -= size
        if self._offset < len(raw):
            return DueEvent(begins, SendUp(Kind.CLIENT_EVENT, self._sent, piece, flags=Flag.MORE))
        self._waiting.popleft()
        self._offset = 0
        self.waiting_bytes -= MESSAGE_COST
        return DueEvent(begins, SendUp(Kind.CLIENT_EVENT, self._sent, piece, flags=NO_FLAGS))
