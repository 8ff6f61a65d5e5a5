"""The price books that charges cite, read by their hashes: a folder of files that are each named after their bytes."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from clawbench.billing.price_book import BadPriceBook, PriceBook

_PREFIX = "sha256:"


class NoBook(Exception):
    """A cited book cannot be used: `missing` or changed; the message names the hash and says why."""

    def __init__(self, message: str, *, missing: bool) -> None:
        self.missing = missing
        super().__init__(message)


class PriceBooks:
    """Books of one folder, each read once, when it is first cited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, PriceBook | NoBook] = {}

    def book(self, book_id: object) -> PriceBook:
        """The book with this hash. Raises `NoBook`, every time that it is asked for."""
        if not isinstance(book_id, str):
            raise NoBook(f"no price book is cited, but {book_id!r}", missing=True)
        found = self._read.get(book_id)
        if found is None:
            found = self._read[book_id] = self._open(book_id)
        if isinstance(found, NoBook):
            raise found
        return found

    def _open(self, book_id: str) -> PriceBook | NoBook:
        name = book_id.removeprefix(_PREFIX)
        if not book_id.startswith(_PREFIX) or len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            return NoBook(f"{book_id!r} is no hash of a price book", missing=True)
        file = self.folder / f"{name}.json"
        try:
            text = file.read_bytes()
        except FileNotFoundError:
            return NoBook(f"price book {book_id} is missing: there is no {file}", missing=True)
        except OSError as error:
            return NoBook(f"price book {book_id} cannot be read: {error}", missing=True)
        if (hashed := sha256(text).hexdigest()) != name:
            return NoBook(f"price book {book_id} was changed: the bytes of {file} hash to {hashed}", missing=False)
        try:
            return PriceBook.from_json(text)
        except BadPriceBook as error:
            return NoBook(f"price book {book_id}: {error}", missing=False)
