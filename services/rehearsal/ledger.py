"""What this process would bill, and the last audio that it sent: kept for tests and for reconciliation."""

from collections import OrderedDict

from services.rehearsal.core.billing import Book
from services.rehearsal.core.commands import Json

MAX_KEPT_ITEMS = 64


class Ledger:
    """All sessions of this process's life, and the audio of its newest items."""

    def __init__(self) -> None:
        self._books: list[Book] = []
        self._audio: OrderedDict[str, bytearray] = OrderedDict()

    def open(self, book: Book) -> None:
        """A session began; its book goes on being written."""
        self._books.append(book)

    def keep(self, item_id: str, pcm: bytes) -> None:
        """More audio of an item; the oldest item goes when there are too many."""
        self._audio.setdefault(item_id, bytearray()).extend(pcm)
        if len(self._audio) > MAX_KEPT_ITEMS:
            self._audio.popitem(last=False)

    def audio(self, item_id: str) -> bytes | None:
        """What was sent for an item."""
        kept = self._audio.get(item_id)
        return None if kept is None else bytes(kept)

    def wire(self) -> Json:
        """`GET /billing`."""
        return {
            "sessions": [book.wire() for book in self._books],
            "cost_nano_usd": sum(book.cost_nano_usd() for book in self._books),
        }
