"""Whether a log is whole and conserves money, from its entries alone: bounded memory, unbounded integers.

What is proved of every prefix: the chain is whole and has no gap; time never decreases; each entry's postings sum to
zero and are those of its kind; available ≥ 0, shortfall ≤ 0, held = Σ open holds; a hold ends once; a request, a
top-up, a cost, a risk are booked once. Of the whole: −issued = available + held + shortfall + revenue,
cost + payable = 0, risk + accrued = 0.

Memory: accounts, open holds, open risks, and 16 bytes for each charge, top-up, cost and risk.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from clawbench.billing.ledger.chain import hash_of
from clawbench.billing.ledger.lines import request_of
from clawbench.billing.ledger.protocol import Entry
from clawbench.money import INT64_MAX

_KEPT: Final = 100  # findings; the rest is counted
_SHARDS: Final = 256


class Finding(Struct, frozen=True):
    """Something that must not be: at which entry (0: of the log as a whole), and what."""

    seq: int
    what: str


class OpenHold(Struct, frozen=True, kw_only=True):
    """A hold that nothing has ended. `opened_us` in microseconds since 1970; `amount` in pico-UAT."""

    id: str
    account: str
    amount: int
    seq: int
    opened_us: int
    quarantined: bool = False


class OpenRisk(Struct, frozen=True, kw_only=True):
    """What a provider may still bill for an attempt, in pico-UAT; what its entry does not say is ""."""

    attempt_id: str
    provider: str
    amount: int
    seq: int
    opened_us: int
    model: str = ""
    service_tier: str = ""
    usd_per_uat: str = ""


class Totals(Struct, kw_only=True):
    """Sums over all accounts of a kind, in pico-UAT, signed as they are: issued, shortfall, cost and risk are ≤ 0."""

    issued: int = 0
    available: int = 0
    held: int = 0
    shortfall: int = 0
    revenue: int = 0
    cost: int = 0
    payable: int = 0
    risk: int = 0
    accrued: int = 0


class Proof(Struct, kw_only=True):
    """What a log came to. `findings` are the first hundred in order of the entries, `found` how many there were.

    `entries` were read, `charges` of them charged a request; `hash` is the last one's, "" of an empty log. `balances`
    are those of all accounts that are not zero. `first_us`, `last_us`: microseconds since 1970, None of an empty log.
    """

    entries: int = 0
    charges: int = 0
    hash: str = ""
    first_us: int | None = None
    last_us: int | None = None
    totals: Totals
    balances: dict[str, int]
    open_holds: tuple[OpenHold, ...]
    open_risks: tuple[OpenRisk, ...]
    findings: tuple[Finding, ...]
    found: int

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.found


def prove(entries: Iterable[Entry]) -> Proof:
    """Reads a log from its beginning. Raises nothing of its own; what the iterator raises passes through."""
    prover = Prover()
    for entry in entries:
        prover.add(entry)
    return prover.proof()


class Prover:
    """The same in steps: `add` every entry in order; `proof` at any time, of what has been added so far."""

    def __init__(self) -> None:
        self.entries = self.charges = self.found = 0
        self.hash = ""
        self.first_us: int | None = None
        self.last_us: int | None = None
        self.balances: dict[str, int] = {}
        self.holds: dict[str, OpenHold] = {}
        self.held: dict[str, int] = {}  # by account: what is open
        self.expired: dict[str, OpenHold] = {}
        self.risks: dict[str, OpenRisk] = {}
        self.findings: list[Finding] = []
        self.once = {kind: _Once() for kind in ("topup", "charge", "cost", "risk")}

    def note(self, seq: int, what: str) -> None:
        self.found += 1
        if len(self.findings) < _KEPT:
            self.findings.append(Finding(seq, what))

    def add(self, entry: Entry) -> None:
        self._chain(entry)
        self._postings(entry)
        try:
            self._kind(entry)
        except (KeyError, TypeError, ValueError) as error:
            self.note(entry.seq, f"the detail of a {entry.kind} cannot be read: {error!r}")
        if entry.account:
            self._client(entry)

    def proof(self) -> Proof:
        totals, findings = self._totals()
        for kind, once in self.once.items():
            for seq in once.repeated():
                findings.append(Finding(seq, f"a second {kind} for the same request, attempt or id"))
        for what, left in (
            (
                "-issued = available + held + shortfall + revenue",
                totals.issued + totals.available + totals.held + totals.shortfall + totals.revenue,
            ),
            ("cost + payable = 0", totals.cost + totals.payable),
            ("risk + accrued = 0", totals.risk + totals.accrued),
        ):
            if left:
                findings.append(Finding(0, f"{what} does not hold: the difference is {left} pico-UAT"))
        every = sorted([*self.findings, *findings], key=lambda each: each.seq or INT64_MAX)
        return Proof(
            entries=self.entries,
            charges=self.charges,
            hash=self.hash,
            first_us=self.first_us,
            last_us=self.last_us,
            totals=totals,
            balances={name: amount for name, amount in self.balances.items() if amount},
            open_holds=tuple(self.holds.values()),
            open_risks=tuple(self.risks.values()),
            findings=tuple(every[:_KEPT]),
            found=self.found + len(findings),
        )

    def _chain(self, entry: Entry) -> None:
        self.entries += 1
        if entry.seq != self.entries:
            self.note(entry.seq, f"the number is not {self.entries}: the log has a gap or a repetition")
            self.entries = entry.seq
        elif entry.prev_hash != self.hash:
            self.note(entry.seq, "does not follow from the entry before it")
        if entry.hash != hash_of(entry):
            self.note(entry.seq, "its hash is not that of what it says: it was changed after it was written")
        self.hash = entry.hash
        if self.last_us is not None and entry.at_us < self.last_us:
            self.note(entry.seq, "is earlier than the entry before it")
        self.first_us = entry.at_us if self.first_us is None else self.first_us
        self.last_us = entry.at_us

    def _postings(self, entry: Entry) -> None:
        total = 0
        for posting in entry.postings:
            total += posting.amount
            after = self.balances[posting.account] = self.balances.get(posting.account, 0) + posting.amount
            if not -INT64_MAX <= after <= INT64_MAX:
                self.note(entry.seq, f"{posting.account} exceeds a signed 64-bit integer")
            if posting.account.startswith("client:") and not posting.account.startswith(f"client:{entry.account}:"):
                self.note(entry.seq, f"is of {entry.account!r} and moves {posting.account}")
        if total:
            self.note(entry.seq, f"its postings sum to {total}, not to zero")

    def _client(self, entry: Entry) -> None:
        account = entry.account
        for what, wrong in (("available", -1), ("shortfall", 1)):
            balance = self.balances.get(f"client:{account}:{what}", 0)
            if balance * wrong > 0:
                self.note(entry.seq, f"leaves {account!r} with {what} = {balance}")
        held, should = self.balances.get(f"client:{account}:held", 0), self.held.get(account, 0)
        if held != should:
            self.note(entry.seq, f"leaves {account!r} with {held} held, while its open holds are {should}")
            self.held[account] = held  # said once, not of every later entry

    def _kind(self, entry: Entry) -> None:
        kind, ref, detail = entry.kind, entry.ref, entry.detail
        if kind == "hold":
            if ref in self.holds:
                self.note(entry.seq, f"opens hold {ref}, which is open")
            amount = int(detail["amount"])
            self._moved(entry, amount, "held")
            self.held[entry.account] = self.held.get(entry.account, 0) + amount
            self.holds[ref] = OpenHold(
                id=ref, account=entry.account, amount=amount, seq=entry.seq, opened_us=entry.at_us
            )
        elif kind in ("settle", "release", "expire"):
            self._ends(entry)
        elif kind == "late_settle":
            if self.expired.pop(ref, None) is None:
                self.note(entry.seq, f"charges hold {ref} late, which has not expired")
            self._charges(entry)
        elif kind == "topup":
            self.once["topup"].add(ref, entry.seq)
            self._moved(entry, -int(detail["amount"]), "issued")
        elif kind in ("cost", "risk"):
            self.once[kind].add(ref, entry.seq)
            self._moved(entry, -int(detail["amount"]), kind)
            if kind == "risk":
                self.risks[ref] = OpenRisk(
                    attempt_id=ref,
                    provider=detail["provider"],
                    amount=int(detail["amount"]),
                    seq=entry.seq,
                    opened_us=entry.at_us,
                    model=detail.get("model", ""),
                    service_tier=detail.get("service_tier", ""),
                    usd_per_uat=detail.get("usd_per_uat", ""),
                )
        elif kind == "risk_resolved":
            risk = self.risks.pop(ref, None)
            if risk is None:
                self.note(entry.seq, f"resolves a risk of {ref}, which is not open")
            else:
                self._moved(entry, risk.amount, "risk")
        elif kind in ("quarantine", "checkpoint"):
            self._notes(entry)
        elif kind == "adjust":
            self._moved(entry, -int(detail["amount"]), "revenue")
        else:
            self.note(entry.seq, f"is of an unknown kind, {kind!r}")

    def _ends(self, entry: Entry) -> None:
        hold = self.holds.pop(entry.ref, None)
        if hold is None or hold.account != entry.account:
            self.note(entry.seq, f"ends hold {entry.ref}, which is not open: it never was, or has ended before")
            return
        self.held[hold.account] -= hold.amount
        self._moved(entry, -hold.amount, "held")
        if entry.kind == "settle":
            self._charges(entry)
        elif entry.kind == "expire":
            self.expired[hold.id] = hold

    def _charges(self, entry: Entry) -> None:
        self.charges += 1
        self.once["charge"].add(request_of(entry.ref), entry.seq)
        self._moved(entry, int(entry.detail["amount"]), "revenue")

    def _notes(self, entry: Entry) -> None:
        hold = self.holds.get(entry.ref)
        if hold is None or entry.postings:
            self.note(entry.seq, f"a {entry.kind} moves money, or its hold {entry.ref} is not open")
        elif entry.kind == "quarantine":
            self.holds[hold.id] = OpenHold(
                id=hold.id,
                account=hold.account,
                amount=hold.amount,
                seq=hold.seq,
                opened_us=hold.opened_us,
                quarantined=True,
            )

    def _moved(self, entry: Entry, amount: int, what: str) -> None:
        """Whether the postings to accounts of a kind are what the detail says."""
        moved = sum(posting.amount for posting in entry.postings if _what(posting.account) == what)
        if moved != amount:
            self.note(entry.seq, f"says {amount} and moves {moved} pico-UAT of {what}")

    def _totals(self) -> tuple[Totals, list[Finding]]:
        totals, findings = Totals(), list[Finding]()
        for name, amount in self.balances.items():
            what = _what(name)
            if what not in Totals.__struct_fields__:
                findings.append(Finding(0, f"there is an account of an unknown kind, {name!r}"))
                continue
            setattr(totals, what, getattr(totals, what) + amount)
        return totals, findings


class _Once:
    """Finds names that came twice, by 64 bits of each: 16 bytes a name, sorted when the log has ended.

    Two names of which these bits agree would be reported as one: in 100 million, the chance is below 0.03 %.
    """

    def __init__(self) -> None:
        self._shards = [(array("q"), array("q")) for _ in range(_SHARDS)]

    def add(self, name: str, seq: int) -> None:
        bits = hash(name)
        names, places = self._shards[bits & (_SHARDS - 1)]
        names.append(bits)
        places.append(seq)

    def repeated(self) -> list[int]:
        """The numbers of the entries that repeat a name, in order."""
        found = []
        for names, places in self._shards:
            if len(set(names)) == len(names):
                continue
            seen = set[int]()
            for bits, seq in zip(names, places, strict=True):
                if bits in seen:
                    found.append(seq)
                seen.add(bits)
        return sorted(found)


def _what(account: str) -> str:
    """The kind of an account: "available" of "client:a:available", "cost" of "platform:cost:2026-11:p"."""
    if account.startswith("client:"):
        return account[account.rindex(":") + 1 :]
    return account.partition(":")[2].partition(":")[0]
