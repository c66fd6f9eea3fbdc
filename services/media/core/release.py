"""Holds the session core's events until their sound has been played, and lets them out in order.

The rules are those of the frame's flags (contracts/frame.py). Nothing is shown before the client's channel is open.
"""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from services.contracts.frame import NO_FLAGS, Flag
from services.contracts.ids import ItemId

MAX_HELD_EVENTS = 4096
MAX_HELD_BYTES = 4 * 1024 * 1024


class Progress(Protocol):
    """How far the items have been played."""

    def played(self, item_id: ItemId) -> int:
        """Samples of the item that left the socket."""

    def is_over(self, item_id: ItemId) -> bool:
        """The item was played to its end or cut."""


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event on its way to the client: shown once ``position`` samples of ``item_id`` have been played."""

    text: str
    item_id: ItemId | None = None
    position: int = 0
    flags: Flag = NO_FLAGS


class ReleaseQueue:
    """One call's events, first in, first out, but for those that have no place in the audio."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._held: deque[HeldEvent] = deque()
        self._ahead: list[HeldEvent] = []  # at once, but the channel is not open yet
        self._bytes = 0
        self._forced = 0  # so many events at the head are let out whatever was played
        self._sequence = -1
        self._cut: dict[ItemId, int] = {}
        self.is_open = False
        self.overflowed = 0
        self.out_of_sequence = 0

    def may_release(self, item_id: ItemId, played: int) -> bool:
        """Whether `release` may have something, now ``played`` samples of ``item_id`` have left. Cheap."""
        if not self._held:
            return False
        head = self._held[0]
        return head.item_id != item_id or head.position <= played

    def open(self) -> list[str]:
        """The client can be reached."""
        self.is_open = True
        shown = self.release()
        shown += [event.text for event in self._ahead]
        self._ahead.clear()
        return shown

    def take(self, event: HeldEvent, *, sequence: int) -> list[str]:
        """Accept an event of the session core; returns what is shown now. Repeated ones are thrown away."""
        if sequence <= self._sequence:
            self.out_of_sequence += Flag.RESENT not in event.flags
            return []
        self._sequence = sequence
        return self.put(event)

    def put(self, event: HeldEvent) -> list[str]:
        """Accept an event, also one of our own; returns what is shown now."""
        if Flag.AT_ONCE in event.flags:
            return self.show(event)
        self._held.append(event)
        if Flag.RELEASE_ALL in event.flags:
            self._forced = len(self._held)
        self._bytes += len(event.text)
        self._bound()
        return self.release()

    def show(self, event: HeldEvent) -> list[str]:
        """Show ``event`` ahead of all that is held, as soon as the channel is open."""
        if self.is_open:
            return [event.text]
        self._ahead.append(event)
        if len(self._ahead) > MAX_HELD_EVENTS:
            self._ahead.pop(0)
            self.overflowed += 1
        return []

    def release(self) -> list[str]:
        """What is due by now."""
        if not self.is_open:
            return []
        shown: list[str] = []
        while self._held and (self._forced or self._due(self._held[0])):
            event = self._pop()
            if not self._hidden(event):
                shown.append(event.text)
        return shown

    def cut(self, item_id: ItemId, *, played: int) -> list[str]:
        """The item was stopped after ``played`` samples: forget what may only be shown beyond, release the rest."""
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
        # A client without a channel, or a worker that never ends its item: memory is worth more than the events.
        while len(self._held) > MAX_HELD_EVENTS or self._bytes > MAX_HELD_BYTES:
            self._pop()
            self.overflowed += 1
