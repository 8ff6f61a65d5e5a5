"""One recorder at a time: a lock file beside what is being recorded, with the number of the process that holds it.

The lock is the operating system's (`flock`), so it ends with its process, however that ends: a lock file that was left
behind is taken over. The file and the number in it are for people.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from clawbench.errors import CassetteInUse, WriteFailed

_TRIES: Final = 10


class TapeLock:
    """Holds `path` from its making until `release`. Raises `CassetteInUse`, `WriteFailed`."""

    def __init__(self, path: Path, *, of: Path) -> None:
        """`of` is what is locked, for messages."""
        self._path = path
        self._handle = _taken(path, of)

    def release(self) -> None:
        """Gives the lock back and removes its file; harmless when called twice."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with suppress(OSError):
                self._path.unlink()  # while it is still held: whoever opened it meanwhile notices and opens it anew
            os.close(handle)


def _taken(path: Path, of: Path) -> int:
    for _ in range(_TRIES):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise WriteFailed(f"{of}: cannot be recorded, its lock file cannot be made ({error.strerror})") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(handle, 20).decode("ascii", "replace").strip()
            os.close(handle)
            raise CassetteInUse(of, holder) from None
        if _is_still(path, handle):
            os.truncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
            return handle
        os.close(handle)  # its holder removed it between our opening and our locking
    raise CassetteInUse(of, "")


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
