"""The state machine of a ledger: validates an operation against the balances, and appends its entries or nothing.

Synchronous and without I/O, so that every ledger can run the same code: in memory it is the ledger, for one on disk it
decides before anything is written. The clock is handed in; the time of entries never decreases. Balances are nothing
but the fold of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import structs

from clawbench.billing.ledger import postings
from clawbench.billing.ledger.protocol import (
    AttemptCost,
    Balance,
    Charge,
    DuplicateRequest,
    Entry,
    Hold,
    HoldResolved,
    HoldState,
    InsufficientCredits,
    Kind,
    LedgerOverflow,
    Posting,
    Risk,
    UnknownEntry,
)
from clawbench.money import INT64_MAX

_CHARGES = frozenset({"settle", "late_settle"})


class Books:
    """All accounts of one ledger. `now_us` gives microseconds since 1970."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._at_us = 0
        self.log: list[Entry] = []
        self.balances: dict[str, int] = {}
        self.holds: dict[str, Hold] = {}
        self._latest: dict[tuple[str, str], str] = {}  # the last hold of (account, request id)
        self._entries: dict[tuple[str, str], int] = {}  # kind and ref → sequence number
        self._risks: dict[str, tuple[Risk, int]] = {}  # open ones, with the instant of their entry
        self._open: dict[str, None] = {}  # holds, in order of opening
        self._adjusted: dict[int, int] = {}  # by charge, in the client's favour

    def top_up(self, account: str, external_id: str, amount: int) -> Entry:
        """Once for each external id; again with the same amount it is the same entry."""
        known = self._entry("topup", external_id)
        if known is not None:
            if known.account != account or known.detail["amount"] != str(amount):
                raise DuplicateRequest("other_amount", external_id)
            return known
        _positive(amount)
        owed = -self._of(postings.shortfall(account))
        at_us = self._time()
        moves = postings.top_up(account, amount, owed, at_us)
        return self._append(self._line("topup", account, external_id, moves, amount=str(amount)))

    def hold(
        self, account: str, key_id: str, request_id: str, body_sha256: str, amount: int, expires_at_us: int
    ) -> Hold:
        """Balance check and hold in one."""
        if amount < 0:
            raise LedgerOverflow("a hold is not negative")
        attempt = 1
        last = self._latest.get((account, request_id))
        if last is not None:
            attempt = self._next_attempt(self.holds[last], body_sha256)
        spare = self._of(postings.available(account))
        if spare < amount or self._of(postings.shortfall(account)) < 0:
            raise InsufficientCredits(amount, spare)
        made = Hold(
            id=f"{account}/{request_id}/{attempt}",
            account=account,
            key_id=key_id,
            request_id=request_id,
            attempt=attempt,
            body_sha256=body_sha256,
            amount=amount,
            expires_at_us=expires_at_us,
        )
        detail = {"request_id": request_id, "key_id": key_id, "body_sha256": body_sha256, "amount": str(amount)}
        self._append(self._line("hold", account, made.id, postings.hold(account, amount), **detail))
        self.holds[made.id] = made
        self._open[made.id] = None
        self._latest[account, request_id] = made.id
        return made

    def settle(self, hold_id: str, charge: Charge, costs: Sequence[AttemptCost] = ()) -> Entry:
        """Also of a hold that has expired: then from what is available."""
        held = self._hold(hold_id)
        if held.state == "settled":
            known = self._entry("settle", hold_id) or self._entry("late_settle", hold_id)
            if known is not None and known.detail["amount"] == str(charge.amount):
                return known
        late = held.state == "expired"
        if not late and held.state != "open":
            raise HoldResolved(f"{hold_id} is {held.state}")
        if late and self._latest[held.account, held.request_id] != hold_id:
            raise HoldResolved(f"{hold_id} has expired, and its request was tried again")
        if charge.amount < 0:
            raise LedgerOverflow("a charge is not negative")
        spare = self._of(postings.available(held.account))
        kind: Kind = "late_settle" if late else "settle"
        moves = postings.settle(held.account, 0 if late else held.amount, charge.amount, spare, self._time())
        detail = {"request_id": held.request_id, "amount": str(charge.amount), "derivation": dict(charge.derivation)}
        lines = [self._line(kind, held.account, hold_id, moves, **detail), *self._cost_lines(costs, held)]
        entry = self._append(*lines)
        self._resolve(held, "settled")
        return entry

    def release(
        self, hold_id: str, reason: str, costs: Sequence[AttemptCost] = (), risks: Sequence[Risk] = ()
    ) -> Entry:
        """Again: the same entry."""
        held = self._hold(hold_id)
        if held.state == "released":
            known = self._entry("release", hold_id)
            assert known is not None
            return known
        if held.state != "open":
            raise HoldResolved(f"{hold_id} is {held.state}")
        moves = postings.release(held.account, held.amount)
        line = self._line("release", held.account, hold_id, moves, request_id=held.request_id, reason=reason)
        entry = self._append(line, *self._cost_lines(costs, held), *self._risk_lines(risks, held))
        self._resolve(held, "released")
        self._risks.update((each.attempt_id, (each, entry.at_us)) for each in risks)
        return entry

    def quarantine(self, hold_id: str, evidence: Mapping[str, Any]) -> Entry:
        held = self._hold(hold_id)
        if held.state != "open":
            raise HoldResolved(f"{hold_id} is {held.state}")
        if held.quarantined:
            known = self._entry("quarantine", hold_id)
            assert known is not None
            return known
        line = self._line("quarantine", held.account, hold_id, (), request_id=held.request_id, evidence=dict(evidence))
        entry = self._append(line)
        self.holds[hold_id] = structs.replace(held, quarantined=True)
        return entry

    def expire(self) -> list[Entry]:
        """All holds beyond their time, quarantined ones excepted."""
        now_us = self._time()
        due = [
            held
            for held in map(self.holds.__getitem__, self._open)
            if not held.quarantined and held.expires_at_us <= now_us
        ]
        entries = []
        for held in due:
            moves = postings.release(held.account, held.amount)
            line = self._line("expire", held.account, held.id, moves, request_id=held.request_id)
            entries.append(self._append(line))
            self._resolve(held, "expired")
        return entries

    def adjust(self, seq: int, amount: int, reason: str) -> Entry:
        """Cites a charge; what was charged for it in all never becomes negative."""
        if not 0 < seq <= len(self.log) or self.log[seq - 1].kind not in _CHARGES:
            raise UnknownEntry(f"{seq} is no charge")
        cited = self.log[seq - 1]
        adjusted = self._adjusted.get(seq, 0)
        if not amount or amount + adjusted > int(cited.detail["amount"]):
            raise LedgerOverflow(f"{amount} pico-UAT are not what is left of entry {seq}")
        spare, owed = (self._of(name(cited.account)) for name in (postings.available, postings.shortfall))
        moves = postings.adjust(cited.account, amount, spare, -owed, self._time())
        ref = f"{seq}/{len(self.log) + 1}"
        line = self._line("adjust", cited.account, ref, moves, cites=seq, amount=str(amount), reason=reason)
        entry = self._append(line)
        self._adjusted[seq] = adjusted + amount
        return entry

    def resolve_risk(self, attempt_id: str, billed: int | None) -> list[Entry]:
        """The risk's reversal, and the cost if there was one."""
        found = self._risks.get(attempt_id)
        if found is None:
            raise UnknownEntry(f"no risk is open for {attempt_id}")
        risk, opened_us = found
        lines = [self._line("risk_resolved", "", attempt_id, postings.risk(risk.provider, -risk.amount, opened_us))]
        if billed is not None:
            lines += self._cost_lines([AttemptCost(attempt_id=attempt_id, provider=risk.provider, amount=billed)], None)
        first = self._append(*lines)
        del self._risks[attempt_id]
        return self.log[first.seq - 1 :]

    def balance(self, account: str) -> Balance:
        """An account that nobody has named yet has nothing."""
        names = (postings.available(account), postings.held(account), postings.shortfall(account))
        available, held, shortfall = map(self._of, names)
        return Balance(available=available, held=held, shortfall=shortfall)

    def entries(self, account: str | None, after: int, limit: int) -> Iterator[Entry]:
        chosen = (entry for entry in self.log[max(after, 0) :] if account is None or entry.account == account)
        for _, entry in zip(range(limit), chosen, strict=False):
            yield entry

    def _next_attempt(self, last: Hold, body_sha256: str) -> int:
        if last.body_sha256 != body_sha256:
            raise DuplicateRequest("other_body", last.request_id)
        if last.state == "open":
            raise DuplicateRequest("running", last.request_id)
        if last.state == "settled":
            raise DuplicateRequest("settled", last.request_id)
        return last.attempt + 1

    def _cost_lines(self, costs: Sequence[AttemptCost], held: Hold | None) -> list[Entry]:
        request_id = held.request_id if held is not None else ""
        return [
            self._line(
                "cost",
                "",
                each.attempt_id,
                postings.cost(each.provider, _not_negative(each.amount), self._at_us),
                request_id=request_id,
                usd=each.usd,
            )
            for each in costs
        ]

    def _risk_lines(self, risks: Sequence[Risk], held: Hold) -> list[Entry]:
        return [
            self._line(
                "risk",
                "",
                each.attempt_id,
                postings.risk(each.provider, _not_negative(each.amount), self._at_us),
                request_id=held.request_id,
                reason=each.reason,
            )
            for each in risks
        ]

    def _line(self, kind: Kind, account: str, ref: str, moves: tuple[Posting, ...], **detail: Any) -> Entry:
        return Entry(seq=0, kind=kind, at_us=self._time(), account=account, ref=ref, postings=moves, detail=detail)

    def _append(self, *lines: Entry) -> Entry:
        """All of the lines or none; the first one as it stands in the log."""
        overlay: dict[str, int] = {}
        names = [(line.kind, line.ref) for line in lines]
        if len(set(names)) != len(names) or any(name in self._entries for name in names):
            raise DuplicateRequest("settled", lines[0].ref)
        for line in lines:
            for posting in line.postings:
                balance = overlay.get(posting.account, self._of(posting.account)) + posting.amount
                if abs(posting.amount) > INT64_MAX or abs(balance) > INT64_MAX:
                    raise LedgerOverflow(f"{posting.account} would exceed a signed 64-bit integer")
                overlay[posting.account] = balance
        first = len(self.log)
        for line in lines:
            prev = self.log[-1].hash if self.log else ""
            entry = structs.replace(line, seq=len(self.log) + 1, prev_hash=prev)
            self.log.append(structs.replace(entry, hash=hash_of(entry)))
            self._entries[line.kind, line.ref] = len(self.log)
        self.balances.update(overlay)
        return self.log[first]

    def _hold(self, hold_id: str) -> Hold:
        held = self.holds.get(hold_id)
        if held is None:
            raise UnknownEntry(f"there is no hold {hold_id}")
        return held

    def _resolve(self, held: Hold, state: HoldState) -> None:
        self.holds[held.id] = structs.replace(held, state=state)
        self._open.pop(held.id, None)

    def _entry(self, kind: Kind, ref: str) -> Entry | None:
        seq = self._entries.get((kind, ref))
        return None if seq is None else self.log[seq - 1]

    def _of(self, name: str) -> int:
        return self.balances.get(name, 0)

    def _time(self) -> int:
        self._at_us = max(self._at_us, self._now_us())
        return self._at_us


def hash_of(entry: Entry) -> str:
    """SHA-256 over the previous hash and the entry's canonical JSON without its own hash."""
    text = msgspec.json.encode(structs.replace(entry, hash=""), order="sorted")
    return sha256(entry.prev_hash.encode() + text).hexdigest()


def fold(log: Sequence[Entry]) -> dict[str, int]:
    """The balances that a log adds up to, in unbounded integers."""
    balances: dict[str, int] = {}
    for entry in log:
        for posting in entry.postings:
            balances[posting.account] = balances.get(posting.account, 0) + posting.amount
    return balances


def broken_link(log: Sequence[Entry]) -> int | None:
    """The sequence number of the first entry that is not what was chained; None if all are."""
    prev = ""
    for place, entry in enumerate(log, 1):
        if entry.seq != place or entry.prev_hash != prev or entry.hash != hash_of(entry):
            return place
        prev = entry.hash
    return None


def _positive(amount: int) -> int:
    if amount <= 0:
        raise LedgerOverflow("a top-up is more than nothing")
    return amount


def _not_negative(amount: int) -> int:
    if amount < 0:
        raise LedgerOverflow("a cost is not negative")
    return amount
