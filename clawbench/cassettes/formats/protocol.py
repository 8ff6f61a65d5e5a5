"""What a format is: how recorded traffic was laid out in a file, turned into interactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from clawbench.cassettes.interaction import Interaction, Unreadable


class Format(Protocol):
    """One layout of recorded traffic. Stateless; `recognises` is asked first, then `read` once a file."""

    @property
    def name(self) -> str: ...

    def recognises(self, head: bytes, file: str) -> bool:
        """Whether these first bytes of a file are of this format; `file` is its name, a hint at most."""
        ...

    def read(self, data: bytes, file: str) -> Iterator[Interaction | Unreadable]:
        """The interactions in file order; one that makes no sense is an `Unreadable`, and the others still come.

        Raises `CassetteError`, naming `file` and place, for a file that cannot be read as a whole or is hostile
        (unsafe tags, bombs). It may be raised in the middle: what came before is then not to be used either.
        """
        ...
