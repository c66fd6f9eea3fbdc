"""Holds events for the client until the audio that they belong to has been played.

An event with an item in its frame's header waits until its position in that item was played, and behind the events of
the same response that wait already. An event without one is released when it comes. The flags are those of
contracts/frame.py. Nothing is released before the client's channel is open.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Protocol

from services.contracts.frame import NO_FLAGS, Flag
from services.contracts.ids import ItemId

MAX_HELD_EVENTS = 4096
MAX_HELD_BYTES = 4 * 1024 * 1024
MAX_REMEMBERED_ITEMS = 512


class ItemProgress(Protocol):
    """Playout progress of items."""

    def played(self, item_id: ItemId) -> int:
        """Return the samples of the item that were sent to the client."""

    def is_over(self, item_id: ItemId) -> bool:
        """Return whether the item was played to its end or cut."""


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event for the client, released once ``position`` samples of ``item_id``, and at least one, were played."""

    text: str
    item_id: ItemId | None = None
    position: int = 0
    flags: Flag = NO_FLAGS


class ReleaseQueue:
    """One call's events for the client: a queue for each response, and for each item whose response is unknown."""

    def __init__(self, progress: ItemProgress) -> None:
        self._progress = progress
        self._held: dict[str, deque[HeldEvent]] = {}  # by response; none is empty
        self._responses: OrderedDict[ItemId, str] = OrderedDict()
        self._early: deque[HeldEvent] = deque()  # of the worker, before the channel is open
        self._own_early: deque[HeldEvent] = deque()  # ours, to follow those
        self._count = 0
        self._bytes = 0
        self._sequence = -1
        self._cut: OrderedDict[ItemId, int] = OrderedDict()
        self.is_open = False
        self.overflowed = 0  # dropped
        self.early = 0  # released before their sound
        self.out_of_sequence = 0

    @property
    def awaits_channel(self) -> bool:
        """Whether events wait for the client's channel to open."""
        return bool(self._early or self._own_early)

    @property
    def received(self) -> int:
        """The number of the worker's newest event that was handled; 0 for none, or while the channel is not open."""
        return max(0, self._sequence) if self.is_open else 0

    def set_response(self, item_id: ItemId, response_id: str) -> None:
        """Record the response of an item, before any event of the item waits."""
        if item_id not in self._held:
            self._responses[item_id] = response_id
            if len(self._responses) > MAX_REMEMBERED_ITEMS:
                self._responses.popitem(last=False)

    def response_of(self, item_id: ItemId) -> str | None:
        """Return the response of an item, or None."""
        return self._responses.get(item_id)

    def may_release(self, item_id: ItemId, played: int) -> bool:
        """Whether `release` would return something after ``played`` samples of ``item_id`` were sent. Cheap."""
        if not self._held:
            return False
        queue = self._held.get(self._responses.get(item_id, item_id))
        return queue is not None and queue[0].item_id == item_id and queue[0].position <= played

    def channel_opened(self) -> list[str]:
        """Release what is due: events can be sent from now on."""
        self.is_open = True
        early, own = self._early, self._own_early
        self._early, self._own_early = deque(), deque()
        self._count = self._bytes = 0
        shown = [text for event in early for text in self.enqueue(event)]
        return shown + [event.text for event in own]

    def enqueue_server_event(self, event: HeldEvent, *, sequence: int) -> list[str]:
        """Accept an event of the worker; return what is released now. Repeated ones are dropped by ``sequence``."""
        if sequence <= self._sequence:
            self.out_of_sequence += Flag.RESENT not in event.flags
            return []
        self._sequence = sequence
        return self.enqueue(event)

    def enqueue(self, event: HeldEvent) -> list[str]:
        """Accept an event; return what is released now."""
        if not self.is_open:
            self._keep_early(self._early, event)
            return []
        item_id = event.item_id
        if item_id is None:
            return [event.text]
        response = self._responses.get(item_id, item_id)
        queue = self._held.setdefault(response, deque())
        queue.append(event)
        self._count += 1
        self._bytes += len(event.text)
        if Flag.RELEASE_ALL in event.flags:
            return self._release(response, len(queue))
        return self._release(response) + self._release_surplus()

    def send_now(self, text: str) -> list[str]:
        """Release an event of our own, as soon as the channel is open."""
        if self.is_open:
            return [text]
        self._keep_early(self._own_early, HeldEvent(text))
        return []

    def release(self, item_id: ItemId) -> list[str]:
        """Return the events that are due since more of the item was played, or it is over."""
        return self._release(self._responses.get(item_id, item_id))

    def cut(self, played: dict[ItemId, int]) -> list[str]:
        """Handle items that were cut after so many samples: drop cuttable events beyond that, return the rest."""
        self._cut.update(played)
        while len(self._cut) > MAX_REMEMBERED_ITEMS:
            self._cut.popitem(last=False)
        return [text for item_id in played for text in self.release(item_id)]

    def _release(self, response: str, forced: int = 0) -> list[str]:
        """Return the events of a response that are due; the first ``forced`` whatever was played."""
        queue = self._held.get(response)
        if queue is None:
            return []
        shown: list[str] = []
        while queue and (forced > 0 or self._due(queue[0])):
            forced -= 1
            event = self._pop(queue)
            if not self._hidden(event):
                shown.append(event.text)
        if not queue:
            del self._held[response]
        return shown

    def _due(self, event: HeldEvent) -> bool:
        if event.item_id is None or self._progress.is_over(event.item_id):
            return True
        return self._progress.played(event.item_id) >= max(event.position, 1)

    def _hidden(self, event: HeldEvent) -> bool:
        if event.item_id is None or Flag.CUTTABLE not in event.flags:
            return False
        cut_at = self._cut.get(event.item_id)
        return cut_at is not None and event.position > cut_at

    def _pop(self, queue: deque[HeldEvent]) -> HeldEvent:
        event = queue.popleft()
        self._count -= 1
        self._bytes -= len(event.text)
        return event

    @property
    def _is_full(self) -> bool:
        return self._count > MAX_HELD_EVENTS or self._bytes > MAX_HELD_BYTES

    def _release_surplus(self) -> list[str]:
        # A worker that never ends its item, or text far ahead of its sound: rather early than lost.
        shown: list[str] = []
        while self._is_full:
            self.early += 1
            shown += self._release(next(iter(self._held)), 1)
        return shown

    def _keep_early(self, queue: deque[HeldEvent], event: HeldEvent) -> None:
        # A client without a channel gets none of them: the oldest are dropped.
        queue.append(event)
        self._count += 1
        self._bytes += len(event.text)
        while self._is_full:
            self.overflowed += 1
            self._pop(self._early or self._own_early)
