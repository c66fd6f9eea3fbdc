"""Holds events for the client until the audio before them has been played, and releases them in order.

The rules are those of the frame's flags (contracts/frame.py). Nothing is released before the client's channel is open.
"""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from services.contracts.frame import NO_FLAGS, Flag
from services.contracts.ids import ItemId

MAX_HELD_EVENTS = 4096
MAX_HELD_BYTES = 4 * 1024 * 1024


class ItemProgress(Protocol):
    """Playout progress of items."""

    def played(self, item_id: ItemId) -> int:
        """Return the samples of the item that were sent to the client."""

    def is_over(self, item_id: ItemId) -> bool:
        """Return whether the item was played to its end or cut."""


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event for the client, released once ``position`` samples of ``item_id`` have been played."""

    text: str
    item_id: ItemId | None = None
    position: int = 0
    flags: Flag = NO_FLAGS


class ReleaseQueue:
    """One call's events for the client, first in, first out, except those flagged to be sent at once."""

    def __init__(self, progress: ItemProgress) -> None:
        self._progress = progress
        self._held: deque[HeldEvent] = deque()
        self._ahead: list[HeldEvent] = []  # to be sent first, when the channel opens
        self._bytes = 0
        self._forced = 0  # events at the head that are released whatever was played
        self._sequence = -1
        self._cut: dict[ItemId, int] = {}
        self.is_open = False
        self.overflowed = 0
        self.out_of_sequence = 0

    @property
    def awaits_channel(self) -> bool:
        """Whether events wait for the client's channel to open."""
        return not self.is_open and bool(self._held or self._ahead)

    def may_release(self, item_id: ItemId, played: int) -> bool:
        """Whether `release` may return something after ``played`` samples of ``item_id`` were sent. Cheap."""
        if not self._held:
            return False
        head = self._held[0]
        return head.item_id != item_id or head.position <= played

    def channel_opened(self) -> list[str]:
        """Release what is due: events can be sent from now on."""
        self.is_open = True
        shown = self.release()
        shown += [event.text for event in self._ahead]
        self._ahead.clear()
        return shown

    def enqueue_server_event(self, event: HeldEvent, *, sequence: int) -> list[str]:
        """Accept an event of the worker; return what is released now. Repeated ones are dropped by ``sequence``."""
        if sequence <= self._sequence:
            self.out_of_sequence += Flag.RESENT not in event.flags
            return []
        self._sequence = sequence
        return self.enqueue(event)

    def enqueue(self, event: HeldEvent) -> list[str]:
        """Accept an event, also one of our own; return what is released now."""
        if Flag.AT_ONCE in event.flags:
            return self.send_ahead(event)
        self._held.append(event)
        if Flag.RELEASE_ALL in event.flags:
            self._forced = len(self._held)
        self._bytes += len(event.text)
        self._bound()
        return self.release()

    def send_ahead(self, event: HeldEvent) -> list[str]:
        """Release ``event`` ahead of all held ones, as soon as the channel is open."""
        if self.is_open:
            return [event.text]
        self._ahead.append(event)
        if len(self._ahead) > MAX_HELD_EVENTS:
            self._ahead.pop(0)
            self.overflowed += 1
        return []

    def release(self) -> list[str]:
        """Return the events that are due."""
        if not self.is_open:
            return []
        shown: list[str] = []
        while self._held and (self._forced or self._due(self._held[0])):
            event = self._pop()
            if not self._hidden(event):
                shown.append(event.text)
        return shown

    def cut(self, item_id: ItemId, *, played: int) -> list[str]:
        """Handle a cut after ``played`` samples: drop cuttable events beyond that, return the rest."""
        self._cut[item_id] = played
        while len(self._cut) > MAX_HELD_EVENTS:
            self._cut.pop(next(iter(self._cut)))
        return self.release()

    def _due(self, event: HeldEvent) -> bool:
        if event.item_id is None:
            return True
        return self._progress.is_over(event.item_id) or self._progress.played(event.item_id) >= event.position

    def _hidden(self, event: HeldEvent) -> bool:
        if event.item_id is None or Flag.CUTTABLE not in event.flags:
            return False
        cut_at = self._cut.get(event.item_id)
        return cut_at is not None and event.position > cut_at

    def _pop(self) -> HeldEvent:
        event = self._held.popleft()
        self._bytes -= len(event.text)
        self._forced = max(0, self._forced - 1)
        return event

    def _bound(self) -> None:
        # For a client without a channel, or a worker that never ends its item: bounds the memory.
        while len(self._held) > MAX_HELD_EVENTS or self._bytes > MAX_HELD_BYTES:
            self._pop()
            self.overflowed += 1
