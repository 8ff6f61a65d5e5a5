"""A server's ledger on disk: opened and recovered before the first request, its price books kept beside it.

<ledger file>, -wal, -shm, .lock, .spool   see billing/ledger/sqlite.py
<ledger file>.price-books/<sha>.json       every price book that a charge in it cites, as the bytes that its hash is of
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from clawbench.billing.audited_ledger import books_beside
from clawbench.billing.ledger.protocol import LedgerRefusal
from clawbench.billing.ledger.recovery import Recovery
from clawbench.billing.ledger.sqlite import SqliteLedger
from clawbench.billing.price_book import PriceBook
from clawbench.billing.tokens import estimated_tokens
from clawbench.errors import WriteFailed

EXPIRE_EVERY_S: Final = 60.0


@asynccontextmanager
async def kept_ledger(
    path: Path, book: PriceBook, *, now_us: Callable[[], int]
) -> AsyncIterator[tuple[SqliteLedger, Recovery]]:
    """The ledger, ready for requests, and what was done with the holds that a crash had left open.

    `now_us` gives microseconds since 1970 and is called in another thread. Raises `LedgerFileError`, `WriteFailed`.
    """
    ledger = SqliteLedger(path, now_us=now_us)
    try:
        keep_price_book(path, book)
        estimated_tokens(())  # loads the vocabulary, of which no stream's first note shall wait
        recovery = await ledger.recover()
        expiry = asyncio.get_running_loop().create_task(_expire(ledger))
        try:
            yield ledger, recovery
        finally:
            expiry.cancel()
    finally:
        await ledger.close()


def keep_price_book(ledger: Path, book: PriceBook) -> Path:
    """Writes a book beside the ledger, whole or not at all; where it lies. Raises `WriteFailed`."""
    path = books_beside(ledger) / f"{book.id.removeprefix('sha256:')}.json"
    temporary = path.with_suffix(".tmp")
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(book.text)
            os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WriteFailed(f"Could not write the price book {path}: {error}") from error
    return path


async def _expire(ledger: SqliteLedger) -> None:
    """Gives back, every so often, what is held beyond its time."""
    while True:
        await asyncio.sleep(EXPIRE_EVERY_S)
        with suppress(LedgerRefusal):  # not writable now: the holds stay, and are tried again
            await ledger.expire()
