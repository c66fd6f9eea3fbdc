"""Load the price books: those of the package and the operator's, which take precedence."""

from pathlib import Path

import yaml

from services.metering.core.books import BadBookError, parse
from services.metering.core.pricing import Books, PriceBook
from services.runtime.errors import HushgateError

SHIPPED = Path(__file__).parent / "books"


class PriceBookError(HushgateError):
    """A price book cannot be used. Metering does not start: without the book calls would be unpriced."""


def load_books(extra: Path | None) -> Books:
    """Return the books of the package and of the directory ``extra``, which replaces a provider's shipped book.

    Raises:
        PriceBookError: a file is unreadable or invalid, or ``extra`` holds no book.
    """
    books = _load(SHIPPED)
    if extra is not None:
        own = _load(extra)
        if not own:
            raise PriceBookError(f"no *.yaml in {extra}: correct METERING_PRICE_BOOKS or put a price book there")
        replaced = {book.provider for book in own}
        books = [book for book in books if book.provider not in replaced] + own
    return Books(books)


def _load(directory: Path) -> list[PriceBook]:
    books: list[PriceBook] = []
    owner: dict[str, str] = {}
    for path in sorted(directory.glob("*.yaml")):
        for book in _read(path):
            if owner.setdefault(book.provider, path.name) != path.name:
                raise PriceBookError(f"price book {path}: provider {book.provider} is also in {owner[book.provider]}")
            books.append(book)
    return books


def _read(path: Path) -> list[PriceBook]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        detail = " ".join(str(exc).split())
        raise PriceBookError(f"price book {path} cannot be read: {detail}") from exc
    try:
        return parse(content, file=str(path))
    except BadBookError as exc:
        raise PriceBookError(str(exc)) from exc
