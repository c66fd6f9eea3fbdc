"""A two-way map of our ids and the provider's. Clients get only ours: a new connection changes the provider's."""

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from services.contracts.ids import new_item_id, new_response_id

IdKind = Literal["item", "response", "tool_call"]

MAX_IDS = 8192
"""More than an hour of conversation has; the oldest are forgotten first."""

_WORD = re.compile(r"[A-Za-z0-9_-]{3,}")
# A digit or capital tells an id from a word such as item_reference.
_LOOKS_LIKE_ID = re.compile(r"(?:item|resp|call|event|sess|conv|msg|fc)_(?=[a-z]*[0-9A-Z])[A-Za-z0-9]{4,}\Z")


def new_tool_call_id() -> str:
    """Return a new id: `call_` and 20 random characters."""
    return new_item_id().replace("item_", "call_", 1)


_MAKERS: dict[IdKind, Callable[[], str]] = {
    "item": new_item_id,
    "response": new_response_id,
    "tool_call": new_tool_call_id,
}


class IdMap:
    """The ids of one session. ``theirs`` are the provider's."""

    def __init__(self) -> None:
        self._ours: OrderedDict[tuple[IdKind, str], str] = OrderedDict()
        self._theirs: dict[tuple[IdKind, str], str] = {}

    def bind(self, kind: IdKind, *, ours: str, theirs: str) -> None:
        """Make the two ids name the same thing."""
        self._ours[kind, theirs] = ours
        self._theirs[kind, ours] = theirs
        if len(self._ours) > MAX_IDS:
            (old_kind, old_theirs), old = self._ours.popitem(last=False)
            if self._theirs.get((old_kind, old)) == old_theirs:  # else ours has got another since
                del self._theirs[old_kind, old]

    def forget(self, kind: IdKind, ours: str) -> None:
        """Forget our id and the provider's for it."""
        self._ours.pop((kind, self._theirs.pop((kind, ours), "")), None)

    def ours(self, kind: IdKind, theirs: str) -> str:
        """Return our id for the provider's; a new one if it has none."""
        known = self.known(kind, theirs)
        if known is None:
            known = _MAKERS[kind]()
            self.bind(kind, ours=known, theirs=theirs)
        return known

    def known(self, kind: IdKind, theirs: str) -> str | None:
        """Return our id for the provider's, or None."""
        return self._ours.get((kind, theirs))

    def theirs(self, kind: IdKind, ours: str) -> str | None:
        """Return the provider's id for ours, or None."""
        return self._theirs.get((kind, ours))

    def scrub(self, message: str) -> str:
        """Return the provider's ``message`` with our ids in place of its own; unknown ids become `(unknown id)`."""

        def replaced(match: re.Match[str]) -> str:
            found = match.group()
            kinds: tuple[IdKind, ...] = ("item", "response", "tool_call")
            known = next((ours for kind in kinds if (ours := self.known(kind, found)) is not None), None)
            return known or ("(unknown id)" if _LOOKS_LIKE_ID.match(found) else found)

        return _WORD.sub(replaced, message)
