"""The bills and recent audio of this process: kept for tests and for reconciliation."""

from collections import OrderedDict

from services.rehearsal.core.billing import SessionBill
from services.rehearsal.core.commands import Json

MAX_KEPT_ITEMS = 64


class SessionArchive:
    """All sessions of this process, and the audio of its newest items."""

    def __init__(self) -> None:
        self._books: list[SessionBill] = []
        self._audio: OrderedDict[str, bytearray] = OrderedDict()

    def session_opened(self, book: SessionBill) -> None:
        """Add a session; its bill is still updated."""
        self._books.append(book)

    def append_audio(self, item_id: str, pcm: bytes) -> None:
        """Append audio of an item; the oldest item is dropped when there are too many."""
        self._audio.setdefault(item_id, bytearray()).extend(pcm)
        if len(self._audio) > MAX_KEPT_ITEMS:
            self._audio.popitem(last=False)

    def audio(self, item_id: str) -> bytes | None:
        """The audio that was sent for an item."""
        kept = self._audio.get(item_id)
        return None if kept is None else bytes(kept)

    def as_json(self) -> Json:
        """`GET /billing`."""
        return {
            "sessions": [book.as_json() for book in self._books],
            "cost_nano_usd": sum(book.cost_nano_usd() for book in self._books),
        }
