"""One process writes to a ledger: a lock file beside it, with the number of the process that holds it.

The lock is the operating system's (`flock`), so it ends with its process, however that ends. The file stays.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from clawbench.billing.ledger.protocol import LedgerFileError, LedgerInUse


class Ownership:
    """Held from its making until `release`. Raises `LedgerInUse`, `LedgerFileError`."""

    def __init__(self, ledger: Path) -> None:
        try:
            self._handle = os.open(f"{ledger}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LedgerFileError(f"its lock file cannot be made ({error.strerror})", file=ledger) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._handle, 20).decode("ascii", "replace").strip()
            os.close(self._handle)
            raise LedgerInUse(ledger, holder) from None
        os.truncate(self._handle, 0)
        os.write(self._handle, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Harmless when called twice."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)
