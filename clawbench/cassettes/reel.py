"""Many tapes in one folder, one a name (an offer's id), continued in a further file when one has become long.

A path with a cassette's suffix is one tape for everything. The folder is locked as a whole.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from clawbench.cassettes.scrub import Finding, Scrubber
from clawbench.cassettes.tape import RecordMode, Tape
from clawbench.cassettes.tape_lock import TapeLock
from clawbench.errors import CassetteError, WriteFailed

TAPE_BYTES_MAX: Final = 8 * 2**20
"""Above this a tape goes on in another file: readers refuse files above 64 MiB, and people files above far less."""

_ONE_FILE: Final = frozenset({".yaml", ".yml"})


class Reel:
    """Gives tapes by name. Raises on opening what `Tape` raises."""

    def __init__(
        self,
        path: Path,
        *,
        mode: RecordMode,
        scrubber: Scrubber,
        comment: str = "",
        tape_bytes_max: int = TAPE_BYTES_MAX,
    ) -> None:
        self.path, self.mode, self._scrubber, self._comment = path, mode, scrubber, comment
        self._tape_bytes_max = tape_bytes_max
        self._tapes: dict[str, list[Tape]] = {}
        self._single = path.suffix in _ONE_FILE
        self._lock: TapeLock | None = None
        if not self._single and path.is_file():
            raise CassetteError("is a file; give a folder, or a name that ends in .yaml for one file", file=str(path))
        if not self._single and mode != "none":
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise WriteFailed(f"{path}: the folder cannot be made ({error.strerror})") from error
            self._lock = TapeLock(path / ".lock", of=path)

    def tapes(self, name: str) -> list[Tape]:
        """All parts of a tape, the one that is recorded to last."""
        name = "" if self._single else slug(name)
        parts = self._tapes.get(name)
        if parts is None:
            parts = self._tapes[name] = [self._open(name, 1)]
            while self._part(name, len(parts) + 1).exists():
                parts.append(self._open(name, len(parts) + 1))
        if parts[-1].size > self._tape_bytes_max and not self._single and parts[-1].may_record:
            parts.append(self._open(name, len(parts) + 1))
        return parts

    @property
    def withheld(self) -> list[Finding]:
        """Credentials for whose sake interactions were not written, in all tapes."""
        return [finding for parts in self._tapes.values() for tape in parts for finding in tape.withheld]

    def close(self) -> None:
        """Close all tapes. Raises `WriteFailed` after all were tried."""
        failure: WriteFailed | None = None
        for parts in self._tapes.values():
            for tape in parts:
                try:
                    tape.close()
                except WriteFailed as error:
                    failure = failure or error
        if self._lock is not None:
            self._lock.release()
        if failure is not None:
            raise failure

    def _open(self, name: str, number: int) -> Tape:
        return Tape(self._part(name, number), mode=self.mode, scrubber=self._scrubber, comment=self._comment)

    def _part(self, name: str, number: int) -> Path:
        if self._single:
            return self.path if number == 1 else self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}")
        return self.path / (f"{name}.yaml" if number == 1 else f"{name}-{number}.yaml")


def slug(name: str) -> str:
    """A file name for an offer's id: letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "calls"
