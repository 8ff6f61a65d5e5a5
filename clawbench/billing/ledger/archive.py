"""What the state machine asks of the past, and where it leaves its entries; the archive that lives in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from clawbench.billing.ledger.protocol import Entry, Kind

ENDINGS: Final = frozenset({"settle", "release", "expire", "late_settle"})


class Archive(Protocol):
    """Everything that has been written. The books look back through it and append to it; nothing is changed in it."""

    def write(self, entry: Entry, detail: bytes, evidence: Sequence[bytes]) -> None:
        """The next entry, with the canonical JSON of its detail and the raw usage texts that it cites."""
        ...

    def find(self, kind: Kind, ref: str) -> Entry | None:
        """The entry of that kind and ref, of a kind that has each ref once."""
        ...

    def ending(self, hold: str) -> Entry | None:
        """The last entry that ended a hold: settle, release, expire or late_settle."""
        ...

    def attempts(self, request: str) -> int:
        """How many holds a request has had; `request` is what `lines.request_prefix` gives for it."""
        ...

    def at(self, seq: int) -> Entry | None:
        """The entry with that number."""
        ...

    def adjusted(self, seq: int) -> int:
        """The sum of what has been given back of the charge with that number, in pico-UAT."""
        ...


class MemoryArchive:
    """Keeps the last `window` entries (None: all of them) and hands each to `sink` as it is written.

    What has left the window is forgotten: its request id may run again, its charge can no longer be corrected, and
    `entries` begins behind it. Open holds and balances are not kept here, so they are never forgotten. `after` is the
    number of the entry before the first.
    """

    def __init__(
        self, *, window: int | None = None, sink: Callable[[Entry, bytes], None] | None = None, after: int = 0
    ) -> None:
        self._window, self._sink = window, sink
        self.log: deque[Entry] = deque()
        self._first = after + 1  # the number of the first entry in the log
        self._named: dict[tuple[str, str], Entry] = {}
        self._endings: dict[str, Entry] = {}
        self._attempts: dict[str, int] = {}
        self._adjusted: dict[int, int] = {}

    def write(self, entry: Entry, detail: bytes, evidence: Sequence[bytes]) -> None:
        if self._sink is not None:
            self._sink(entry, detail)
        if self._window == 0:
            self._first += 1
            return
        kind, ref = entry.kind, entry.ref
        self.log.append(entry)
        if kind in ENDINGS:
            self._endings[ref] = entry
        elif kind == "adjust":
            cited = entry.detail["cites"]
            self._adjusted[cited] = self._adjusted.get(cited, 0) + int(entry.detail["amount"])
        elif kind != "checkpoint":
            self._named[kind, ref] = entry
            if kind == "hold":
                self._attempts[_request(ref)] = int(ref[ref.rindex("/") + 1 :])
        if self._window is not None and len(self.log) > self._window:
            self._drop(self.log.popleft())
            self._first += 1

    def find(self, kind: Kind, ref: str) -> Entry | None:
        return self._named.get((kind, ref))

    def ending(self, hold: str) -> Entry | None:
        return self._endings.get(hold)

    def attempts(self, request: str) -> int:
        return self._attempts.get(request, 0)

    def at(self, seq: int) -> Entry | None:
        place = seq - self._first
        return self.log[place] if 0 <= place < len(self.log) else None

    def adjusted(self, seq: int) -> int:
        return self._adjusted.get(seq, 0)

    def entries(self, account: str | None, after: int, limit: int) -> Iterator[Entry]:
        """In order, from behind the number `after`; of one account, or all."""
        later = islice(self.log, max(after + 1 - self._first, 0), None)
        return islice((entry for entry in later if account is None or entry.account == account), limit)

    def _drop(self, entry: Entry) -> None:
        kind, ref = entry.kind, entry.ref
        if kind in ENDINGS:
            self._adjusted.pop(entry.seq, None)
            if self._endings.get(ref) is entry:
                del self._endings[ref]
                # Without its ending a hold would look open: the request is forgotten as a whole.
                self._named.pop(("hold", ref), None)
                if self._attempts.get(_request(ref)) == int(ref[ref.rindex("/") + 1 :]):
                    del self._attempts[_request(ref)]
        elif kind != "hold":
            self._named.pop((kind, ref), None)


def _request(hold: str) -> str:
    return hold[: hold.rindex("/") + 1]
