"""Many chunks of a recording that one wake-up hands over, without a slice and an object for each.

Of most streams nobody asks for a single chunk: their text is read in one go, and two instants are recorded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import overload

from clawbench.transports.timeline import Instants
from clawbench.types import Chunk


class Burst(Sequence[Chunk]):
    """Chunks that one wake-up brought and that lie in one piece: cut only where somebody asks for one of them.

    Of `body`, they end at the byte offsets `ends[first:]`, and came at `since_s` + the `at_s` at the same places, in
    seconds.
    """

    __slots__ = ("_at_s", "_body", "_ends", "_first", "_since_s", "_start")

    def __init__(
        self, body: bytes, ends: Sequence[int], at_s: Instants, *, since_s: float = 0.0, first: int = 0
    ) -> None:
        self._body, self._ends, self._at_s, self._since_s, self._first = body, ends, at_s, since_s, first
        self._start = ends[first - 1] if first else 0

    @property
    def data(self) -> bytes:
        """All of them."""
        return self._body[self._start : self._ends[-1]]

    def rest(self, first: int) -> Burst:
        """Those from the `first` on."""
        return Burst(self._body, self._ends, self._at_s, since_s=self._since_s, first=self._first + first)

    def come_s(self, length: int) -> float:
        """The instant at which the first `length` bytes had come, one at least."""
        return self._since_s + self._at_s[bisect_left(self._ends, self._start + length, self._first)]

    def after(self, length: int) -> list[Chunk]:
        """What comes behind the first `length` bytes."""
        start = self._start + length
        chunks = []
        for place in range(bisect_right(self._ends, start, self._first), len(self._ends)):
            chunks.append(Chunk(self._body[start : self._ends[place]], self._since_s + self._at_s[place]))
            start = self._ends[place]
        return chunks

    def __len__(self) -> int:
        return len(self._ends) - self._first

    @overload
    def __getitem__(self, place: int) -> Chunk: ...

    @overload
    def __getitem__(self, place: slice) -> list[Chunk]: ...

    def __getitem__(self, place: int | slice) -> Chunk | list[Chunk]:
        places = range(self._first, len(self._ends))[place]
        if isinstance(places, range):
            return [self._chunk(each) for each in places]
        return self._chunk(places)

    def _chunk(self, place: int) -> Chunk:
        start = self._ends[place - 1] if place else 0
        return Chunk(self._body[start : self._ends[place]], self._since_s + self._at_s[place])
