"""The state machine of a ledger: validates an operation against the balances, and appends its entries or nothing.

Synchronous, so that every ledger can run the same code: in memory it is the ledger, for one on disk it decides before
anything is written. It remembers the `State` only; what is past it asks its archive. The clock is handed in; the time
of entries never decreases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import structs

from clawbench.billing.ledger import postings
from clawbench.billing.ledger.archive import Archive
from clawbench.billing.ledger.chain import detail_text, digest
from clawbench.billing.ledger.lines import (
    Line,
    charge_detail,
    cost_lines,
    progress_detail,
    request_of,
    request_prefix,
    resolved_cost,
    risk_lines,
)
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
    KeyLimit,
    KeyLimitReached,
    Kind,
    LedgerOverflow,
    Progress,
    Risk,
    UnknownEntry,
)
from clawbench.billing.ledger.quarantines import UNJUDGED, overdue
from clawbench.billing.ledger.state import State, hold_of
from clawbench.money import INT64_MAX

CHARGES = frozenset({"settle", "late_settle"})
_ONCE = frozenset({"cost", "risk"})  # named by callers, so that a name may come a second time
_STATES: dict[str, HoldState] = {
    "settle": "settled", "late_settle": "settled", "release": "released", "expire": "expired",
}  # fmt: skip


class Books:
    """All accounts of one ledger. `now_us` gives microseconds since 1970, `key_limits` what a key may spend."""

    def __init__(
        self,
        now_us: Callable[[], int],
        archive: Archive,
        *,
        state: State | None = None,
        key_limits: Callable[[str], KeyLimit | None] = lambda key_id: None,
    ) -> None:
        self._now_us, self._archive, self._key_limits = now_us, archive, key_limits
        self.state = state or State()
        self._running = {request_prefix(held.account, held.request_id): held for held in self.state.open.values()}

    def top_up(self, account: str, external_id: str, amount: int) -> Entry:
        """Once for each external id; again with the same amount it is the same entry."""
        known = self._archive.find("topup", external_id)
        if known is not None:
            if known.account != account or known.detail["amount"] != str(amount):
                raise DuplicateRequest("other_amount", external_id)
            return known
        if amount <= 0:
            raise LedgerOverflow("a top-up is more than nothing")
        at_us = self._time()
        moves = postings.top_up(account, amount, -self._of(postings.shortfall(account)), at_us)
        return self._append(at_us, Line("topup", account, external_id, moves, {"amount": str(amount)}))

    def hold(
        self, account: str, key_id: str, request_id: str, body_sha256: str, amount: int, expires_at_us: int
    ) -> Hold:
        """Balance check, limits of the key, and hold in one."""
        if amount < 0:
            raise LedgerOverflow("a hold is not negative")
        request = request_prefix(account, request_id)
        attempt = self._next_attempt(request, body_sha256)
        spare = self._of(postings.available(account))
        if spare < amount or self._of(postings.shortfall(account)) < 0:
            raise InsufficientCredits(amount, spare)
        at_us = self._time()
        self._check_limits(key_id, amount, at_us)
        ref = f"{request}{attempt}"
        detail = {
            "amount": str(amount),
            "body_sha256": body_sha256,
            "expires_at_us": expires_at_us,
            "key_id": key_id,
            "request_id": request_id,
        }
        self._append(at_us, Line("hold", account, ref, postings.hold(account, amount), detail))
        made = self._running[request] = self.state.open[ref]
        return made

    def settle(
        self, hold_id: str, charge: Charge, costs: Sequence[AttemptCost] = (), risks: Sequence[Risk] = ()
    ) -> Entry:
        """Also of a hold that has expired: then from what is available."""
        held = self.state.open.get(hold_id)
        late = held is None
        if held is None:
            held = self.find_hold(hold_id)
            if held.state == "settled":
                known = self._archive.ending(hold_id)
                if known is not None and known.detail["amount"] == str(charge.amount):
                    return known
            if held.state != "expired":
                raise HoldResolved(f"{hold_id} is {held.state}")
            if self._archive.attempts(request_of(hold_id)) != held.attempt:
                raise HoldResolved(f"{hold_id} has expired, and its request was tried again")
        if charge.amount < 0:
            raise LedgerOverflow("a charge is not negative")
        account, at_us = held.account, self._time()
        spare = self._of(postings.available(account))
        moves = postings.settle(account, 0 if late else held.amount, charge.amount, spare, at_us)
        detail = charge_detail(charge)
        detail["key_id"], detail["request_id"] = held.key_id, held.request_id
        kind: Kind = "late_settle" if late else "settle"
        line = Line(kind, account, hold_id, moves, detail, charge.evidence)
        entry = self._append(at_us, line, *_owed(costs, risks, held, at_us))
        self._forget(hold_id)
        return entry

    def release(
        self, hold_id: str, reason: str, costs: Sequence[AttemptCost] = (), risks: Sequence[Risk] = ()
    ) -> Entry:
        """Again: the same entry."""
        held = self.state.open.get(hold_id)
        if held is None:
            held = self.find_hold(hold_id)
            known = self._archive.ending(hold_id)
            if held.state == "released" and known is not None:
                return known
            raise HoldResolved(f"{hold_id} is {held.state}")
        at_us = self._time()
        detail = {"key_id": held.key_id, "reason": reason, "request_id": held.request_id}
        line = Line("release", held.account, hold_id, postings.release(held.account, held.amount), detail)
        entry = self._append(at_us, line, *_owed(costs, risks, held, at_us))
        self._forget(hold_id)
        return entry

    def quarantine(
        self,
        hold_id: str,
        evidence: Mapping[str, Any],
        costs: Sequence[AttemptCost] = (),
        risks: Sequence[Risk] = (),
    ) -> Entry:
        """Again: the same entry."""
        held = self._open(hold_id)
        if held.quarantined:
            known = self._archive.find("quarantine", hold_id)
            assert known is not None
            return known
        detail = {"evidence": dict(evidence), "request_id": held.request_id}
        at_us, line = self._time(), Line("quarantine", held.account, hold_id, (), detail)
        return self._append(at_us, line, *_owed(costs, risks, held, at_us))

    def checkpoint(self, hold_id: str, progress: Progress) -> Entry:
        """Any number of them for an open hold; the last one counts."""
        held = self._open(hold_id)
        detail = {"progress": progress_detail(progress), "request_id": held.request_id}
        texts = progress.charge.evidence if progress.charge is not None else ()
        return self._append(self._time(), Line("checkpoint", held.account, hold_id, (), detail, texts))

    def expire(self) -> list[Entry]:
        """All holds beyond their time; quarantined ones are released after a longer one."""
        now_us = self._time()
        due = [held for held in self.state.open.values() if not held.quarantined and held.expires_at_us <= now_us]
        entries = self.release_unjudged()
        for held in due:
            detail = {"key_id": held.key_id, "request_id": held.request_id}
            line = Line("expire", held.account, held.id, postings.release(held.account, held.amount), detail)
            entries.append(self._append(now_us, line))
            self._forget(held.id)
        return entries

    def release_unjudged(self) -> list[Entry]:
        """The quarantined holds that nobody has judged in time."""
        late = overdue(self.state, self._archive, self._time())
        return [self.release(held.id, UNJUDGED, (), [risk]) for held, risk in late]

    def adjust(self, seq: int, amount: int, reason: str) -> Entry:
        """Cites a charge; what was charged for it in all never becomes negative."""
        cited = self._archive.at(seq)
        if cited is None or cited.kind not in CHARGES:
            raise UnknownEntry(f"{seq} is no charge")
        if not amount or amount + self._archive.adjusted(seq) > int(cited.detail["amount"]):
            raise LedgerOverflow(f"{amount} pico-UAT are not what is left of entry {seq}")
        spare, owed = (self._of(name(cited.account)) for name in (postings.available, postings.shortfall))
        at_us = self._time()
        moves = postings.adjust(cited.account, amount, spare, -owed, at_us)
        detail = {"amount": str(amount), "cites": seq, "key_id": cited.detail["key_id"], "reason": reason}
        return self._append(at_us, Line("adjust", cited.account, f"{seq}/{self.state.seq + 1}", moves, detail))

    def resolve_risk(self, attempt_id: str, billed: int | None) -> list[Entry]:
        """The risk's reversal, and the cost if there was one."""
        risk = self._archive.find("risk", attempt_id)
        if risk is None or self._archive.find("risk_resolved", attempt_id) is not None:
            raise UnknownEntry(f"no risk is open for {attempt_id}")
        at_us, provider, request = self._time(), risk.detail["provider"], risk.detail["request_id"]
        moves = postings.risk(provider, -int(risk.detail["amount"]), risk.at_us)
        lines = [Line("risk_resolved", "", attempt_id, moves, {"provider": provider, "request_id": request})]
        if billed is not None:
            lines += cost_lines([resolved_cost(risk, billed)], request, at_us)
        first = self._append(at_us, *lines)
        cost_entry = None if billed is None else self._archive.find("cost", attempt_id)
        return [first] if cost_entry is None else [first, cost_entry]

    def balance(self, account: str) -> Balance:
        """An account that nobody has named yet has nothing."""
        names = (postings.available(account), postings.held(account), postings.shortfall(account))
        available, held, shortfall = map(self._of, names)
        return Balance(available=available, held=held, shortfall=shortfall)

    def find_hold(self, hold_id: str) -> Hold:
        """An open hold or a resolved one, with its state. Raises `UnknownEntry`."""
        held = self.state.open.get(hold_id)
        if held is not None:
            return held
        entry = self._archive.find("hold", hold_id)
        if entry is None:
            raise UnknownEntry(f"there is no hold {hold_id}")
        ending = self._archive.ending(hold_id)
        assert ending is not None
        return structs.replace(hold_of(entry), state=_STATES[ending.kind])

    def _open(self, hold_id: str) -> Hold:
        held = self.find_hold(hold_id)
        if held.state != "open":
            raise HoldResolved(f"{hold_id} is {held.state}")
        return held

    def _next_attempt(self, request: str, body_sha256: str) -> int:
        last = self._running.get(request)
        if last is None:
            attempts = self._archive.attempts(request)
            if not attempts:
                return 1
            last = self.find_hold(f"{request}{attempts}")
        if last.body_sha256 != body_sha256:
            raise DuplicateRequest("other_body", last.request_id)
        if last.state == "open":
            raise DuplicateRequest("running", last.request_id)
        if last.state == "settled":
            settled = self._archive.ending(last.id)
            raise DuplicateRequest("settled", last.request_id, None if settled is None else settled.seq)
        return last.attempt + 1

    def _check_limits(self, key_id: str, amount: int, at_us: int) -> None:
        limit = self._key_limits(key_id)
        if limit is None:
            return
        held, total = self.state.held_and_charged(key_id)
        rooms: list[tuple[Any, int | None, int]] = [
            ("hold", limit.hold_max, 0),
            ("day", limit.day_max, held + self.state.in_day(key_id, at_us)),
            ("total", limit.total_max, held + total),
        ]
        for which, most, used in rooms:
            if most is not None and used + amount > most:
                raise KeyLimitReached(which, key_id, most, max(most - used, 0), amount)

    def _append(self, at_us: int, *lines: Line) -> Entry:
        """All of the lines or none; the first one as it stands in the log."""
        if len(lines) > 1:  # costs and risks come beside something else
            self._check_once(lines)
        after = self._balances_after(lines)
        seq, prev, made = self.state.seq, self.state.hash, []
        for kind, account, ref, moves, detail, evidence in lines:
            seq += 1
            text = detail_text(detail)
            hashed = digest(prev, seq, kind, at_us, account, ref, moves, text)
            entry = Entry(
                seq=seq,
                kind=kind,
                at_us=at_us,
                account=account,
                ref=ref,
                postings=moves,
                detail=detail,
                prev_hash=prev,
                hash=hashed,
            )
            made.append((entry, text, evidence))
            prev = hashed
        self.state.balances.update(after)
        for entry, text, evidence in made:
            self.state.note(entry)
            self._archive.write(entry, text, evidence)
        return made[0][0]

    def _check_once(self, lines: Sequence[Line]) -> None:
        named = [(line.kind, line.ref) for line in lines if line.kind in _ONCE]
        known = [kind_ref for kind_ref in named if self._archive.find(*kind_ref) is not None]
        if known or (len(named) > 1 and len(set(named)) != len(named)):
            raise DuplicateRequest("settled", ", ".join(ref for _, ref in named))

    def _balances_after(self, lines: Sequence[Line]) -> dict[str, int]:
        """Of the accounts that move."""
        before, after, most = self.state.balances.get, dict[str, int](), INT64_MAX
        for line in lines:
            for posting in line.moves:
                account, amount = posting.account, posting.amount
                balance = after.get(account)
                if balance is None:
                    balance = before(account, 0)
                balance = after[account] = balance + amount
                if balance > most or -balance > most or amount > most or -amount > most:
                    raise LedgerOverflow(f"{account} would exceed a signed 64-bit integer")
        return after

    def _forget(self, hold_id: str) -> None:
        """Of a resolved hold only the archive knows."""
        self._running.pop(request_of(hold_id), None)

    def _of(self, name: str) -> int:
        return self.state.balances.get(name, 0)

    def _time(self) -> int:
        now_us, last_us = self._now_us(), self.state.at_us
        return now_us if now_us > last_us else last_us


def _owed(costs: Sequence[AttemptCost], risks: Sequence[Risk], held: Hold, at_us: int) -> list[Line]:
    """What the attempts of a request cost the platform, or may."""
    return [*cost_lines(costs, held.request_id, at_us), *risk_lines(risks, held.request_id, at_us)]
