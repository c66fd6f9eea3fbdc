"""The conversation as an ordered list: where its items stand for the provider, and what the client is told of it.

An item takes its place when the provider is asked for it. The client knows an item from `committed` or `added` on; its
`previous_item_id` is the nearest item before it that the client knows, so that who inserts each item behind the one
that it names has the conversation's order after every event.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

ROOT = "root"
"""Stands for the beginning in the `previous_item_id` of a request."""

_ProviderState = Literal["requested", "present", "absent"]


@dataclass(slots=True)
class _Place:
    request: int  # number of the request for it
    is_anchored: bool = False  # requested behind another item, or at the beginning
    state: _ProviderState = "requested"  # in the provider's present session
    is_shown: bool = False  # the client knows it
    is_stated: bool = False  # the provider has said where it stands
    is_dropped: bool = False  # only its place is left


class ItemOrder:
    """The items by their ids, which are ours."""

    def __init__(self) -> None:
        self._order: list[str] = []
        self._places: dict[str, _Place] = {}
        self.requests = 0
        """How many items were requested so far."""

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._order)

    def reserve(self, item_id: str, *, behind: str | None = None) -> None:
        """Place an item that the provider is asked for. ``behind``: an item of the list, `ROOT`; None: at the end."""
        self.requests += 1
        at = len(self._order) if behind is None else self._behind(behind)
        self._insert(item_id, at, _Place(self.requests, is_anchored=behind is not None))

    def append(self, item_id: str, *, as_of: int | None = None) -> None:
        """Place an item that the provider made by itself: at the end, before what it has not got yet.

        ``as_of``: how many items were requested before what it answers; None: it answers nothing.
        """
        at = len(self._order)
        for index in reversed(range(len(self._order))):
            place = self._places[self._order[index]]
            if place.state != "requested" or (place.is_shown if as_of is None else place.request <= as_of):
                break
            at = at if place.is_anchored else index  # what is anchored stays with its anchor
        self._insert(item_id, at, _Place(self.requests, state="present"))

    def confirm(self, item_id: str, *, previous: str | None) -> None:
        """Record that the provider has the item, if it is here; move it if the provider names another one before it.

        Only the first confirmation moves it: what the provider says later may be older than what is known.
        """
        place = self._places.get(item_id)
        if place is None:
            return
        is_first, place.is_stated, place.state = not place.is_stated, True, "present"
        if is_first and previous is not None and previous in self._places and not self._follows(item_id, previous):
            self._order.remove(item_id)
            at = self._behind(previous)
            while at < len(self._order) and self._stays_behind(self._order[at]):
                at += 1
            self._order.insert(at, item_id)

    def show(self, item_id: str) -> str | None:
        """Record that the client gets to know the item; return the `previous_item_id` to tell."""
        self._places[item_id].is_shown = True
        return self.previous(item_id)

    def previous(self, item_id: str) -> str | None:
        """Return the item before it, of those that the client knows; None at the beginning, or if it was removed."""
        if item_id not in self._places:
            return None
        before = reversed(self._order[: self._order.index(item_id)])
        return next((other for other in before if self._places[other].is_shown), None)

    def provider_anchor(self, item_id: str) -> str | None:
        """Return the item, or the nearest before it that the provider has or was asked for; None at the beginning."""
        nearest = reversed(self._order[: self._behind(item_id)])
        return next((other for other in nearest if self._places[other].state != "absent"), None)

    def remove(self, item_id: str) -> None:
        """Remove the item, if it is there; its neighbours close up."""
        if self._places.pop(item_id, None) is not None:
            self._order.remove(item_id)

    def is_requested(self, item_id: str) -> bool:
        """Whether the item is here, and the provider has not confirmed it."""
        return item_id in self._places and self._places[item_id].state == "requested"

    def is_absent(self, item_id: str) -> bool:
        """Whether the item is here, and the provider's present session lacks it."""
        return item_id in self._places and self._places[item_id].state == "absent"

    def lose(self, item_id: str) -> None:
        """Record that the provider's present session lacks the item."""
        self._places[item_id].state = "absent"

    def drop_first(self) -> str:
        """Drop the first item that the client knows; return its id.

        Its place is kept, as others may be inserted behind it, until the next one to it is dropped as well.
        """
        kept = [other for other in self._order if not self._places[other].is_dropped]
        dropped = next((other for other in kept if self._places[other].is_shown), kept[0])
        self._places[dropped].is_dropped = True
        for earlier, later in pairwise(self._order[: self._order.index(dropped) + 2]):
            if self._places[earlier].is_dropped and self._places[later].is_dropped:
                self.remove(earlier)
        return dropped

    def begin_new_session(self, repeated: Iterable[str]) -> None:
        """Record that a new session with the provider has none of the items, and is asked for those ``repeated``."""
        for place in self._places.values():
            place.state, place.is_stated, place.is_anchored = "absent", False, False
        for item_id in repeated:
            self.requests += 1
            self._places[item_id].state, self._places[item_id].request = "requested", self.requests

    def _insert(self, item_id: str, at: int, place: _Place) -> None:
        self._places[item_id] = place
        self._order.insert(at, item_id)

    def _behind(self, item_id: str) -> int:
        return 0 if item_id == ROOT else self._order.index(item_id) + 1

    def _stays_behind(self, item_id: str) -> bool:
        """Whether the item stays directly behind the one before it, where the provider puts another one there."""
        place = self._places[item_id]
        return place.state == "absent" or (place.state == "requested" and place.is_anchored)

    def _follows(self, item_id: str, previous: str) -> bool:
        """Whether ``previous`` is the item before it, except for items that the provider may not have."""
        before = reversed(self._order[: self._order.index(item_id)])
        nearest = next((other for other in before if other == previous or self._places[other].state == "present"), None)
        return previous in (item_id, nearest)
