"""What a ledger has to remember: the fold of its log. Balances, open holds, what each key has spent; nothing else.

Bounded by the number of accounts, keys and open holds, however long the log is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct, structs

from clawbench.billing.ledger.protocol import Entry, Hold

DAY_US: Final = 86_400_000_000


class Spent(Struct):
    """What an API key has been charged: in all, and on the day (since 1970, UTC) of its last charge; what it holds."""

    total: int = 0
    day: int = 0
    in_day: int = 0
    held: int = 0


class State(Struct, kw_only=True):
    """After the entry `seq`, whose hash is `hash`; empty before the first."""

    seq: int = 0
    hash: str = ""
    at_us: int = 0
    balances: dict[str, int] = {}
    open: dict[str, Hold] = {}
    spent: dict[str, Spent] = {}

    def apply(self, entry: Entry) -> None:
        """One more entry that is read again; its postings have been found to fit when it was written."""
        balances = self.balances
        for posting in entry.postings:
            balances[posting.account] = balances.get(posting.account, 0) + posting.amount
        self.note(entry)

    def note(self, entry: Entry) -> None:
        """The same for an entry whose postings are in the balances already."""
        self.seq, self.hash, self.at_us = entry.seq, entry.hash, entry.at_us
        kind, detail = entry.kind, entry.detail
        if kind == "hold":
            made = hold_of(entry)
            self.open[entry.ref] = made
            self._of(made.key_id).held += made.amount
        elif kind in ("settle", "release", "expire"):
            gone = self.open.pop(entry.ref)
            key = self._of(gone.key_id)
            key.held -= gone.amount
            if kind == "settle":
                self._charge(gone.key_id, int(detail["amount"]), entry.at_us)
        elif kind == "late_settle":
            self._charge(detail["key_id"], int(detail["amount"]), entry.at_us)
        elif kind == "adjust":
            self._charge(detail["key_id"], -int(detail["amount"]), entry.at_us)
        elif kind == "quarantine":
            self.open[entry.ref] = structs.replace(self.open[entry.ref], quarantined=True)

    def held_and_charged(self, key_id: str) -> tuple[int, int]:
        """What a key holds now, and what it has been charged in all."""
        key = self.spent.get(key_id)
        return (key.held, key.total) if key is not None else (0, 0)

    def in_day(self, key_id: str, at_us: int) -> int:
        """What a key has been charged on the day of an instant."""
        key = self.spent.get(key_id)
        return key.in_day if key is not None and key.day == at_us // DAY_US else 0

    def _of(self, key_id: str) -> Spent:
        found = self.spent.get(key_id)
        if found is None:
            found = self.spent[key_id] = Spent()
        return found

    def _charge(self, key_id: str, amount: int, at_us: int) -> None:
        key, day = self._of(key_id), at_us // DAY_US
        if key.day != day:
            key.day, key.in_day = day, 0
        key.total += amount
        key.in_day += amount


def hold_of(entry: Entry) -> Hold:
    """The hold that an entry of that kind has opened."""
    detail = entry.detail
    return Hold(
        id=entry.ref,
        account=entry.account,
        key_id=detail["key_id"],
        request_id=detail["request_id"],
        attempt=int(entry.ref[entry.ref.rindex("/") + 1 :]),
        body_sha256=detail["body_sha256"],
        amount=int(detail["amount"]),
        expires_at_us=detail["expires_at_us"],
    )


def fold(log: Iterable[Entry]) -> State:
    """The state that a log adds up to."""
    state = State()
    for entry in log:
        state.apply(entry)
    return state
