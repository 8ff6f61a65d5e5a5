"""An audit of one log of entries: read once in order, every charge worked again, in bounded memory.

| step | proof |
|---|---|
| A1, A2 | the chain is whole, money is conserved, every invariant holds at every prefix: `ledger/proof.py` |
| A3 | stored usage → buckets → cited book → cost → charge = what the entry moved, to the last digit |
| A4 | raw usage → the normaliser's cited version → the same buckets; another version is a finding |
| A5 | what the provider states against what we make of it: `audit_stated.py` |
| A6 | what is open, quarantined, owed or at risk, with its age |

Where entries come from is their reader's business: `audited_ledger.py` for a file. Knows no file but price books.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, Protocol

from clawbench.billing.audit_books import NoBook, PriceBooks
from clawbench.billing.audit_figures import Conservation, Figures, Group, OpenItem
from clawbench.billing.audit_log import LogProof, Proved
from clawbench.billing.audit_stated import StatedCosts
from clawbench.billing.charge import Terms, charge_pico_uat, terms
from clawbench.billing.ledger.proof import Proof
from clawbench.billing.ledger.protocol import Entry
from clawbench.billing.ledger.quarantines import JUDGED
from clawbench.billing.meters import read_meters
from clawbench.billing.working_again import BadDerivation, WorkedAgain, worked_again
from clawbench.money import PICO, NotMoney

Row = dict[str, Any]
_CHARGES: Final = frozenset({"settle", "late_settle"})
_ENDS: Final = _CHARGES | {"release", "quarantine"}  # what the costs of a request are written behind
_OPEN_KEPT: Final = 20  # of each kind, the largest
_QUARANTINE_DAYS: Final = 3
_US: Final = 1_000_000


class Worked(Protocol):
    """Told of every charge that was worked again, and of every cost: second opinions, sums for an invoice."""

    def charge(self, entry: Entry, derivation: Mapping[str, Any], worked: WorkedAgain) -> None: ...

    def cost(self, entry: Entry, ended: Entry | None) -> None: ...

    def finish(self, figures: Figures, proof: Proof) -> None: ...


class Auditor:
    """`add` every entry of a log in order, then `result`.

    `name` stands before the number of an entry where one is named. Charges before `since_us` are not worked again.
    `differs` is given each differing charge as a row. `apart`: the log as a whole is proved elsewhere, and `result` is
    given what was proved.
    """

    def __init__(
        self,
        books: PriceBooks,
        *,
        name: str = "",
        strategy: str = "",
        surface_of: Callable[[str], str] = lambda request_id: "",
        since_us: int | None = None,
        differs: Callable[[Row], None] = lambda row: None,
        told: Sequence[Worked] = (),
        apart: bool = False,
    ) -> None:
        self.figures = Figures()
        self._log = None if apart else LogProof()
        self._books, self._name, self._since_us = books, name, since_us
        self._strategy, self._surface_of = strategy, surface_of
        self._differs, self._told = differs, told
        self._groups: dict[tuple[str, str, str], Group] = {}
        self._stated = StatedCosts()
        self._ended: Entry | None = None
        self._quarantined: dict[str, int] = {}  # by hold: the number of its entry
        self._owed: tuple[str, str, Fraction] | None = None  # (provider, USD, pico-USD) of a cost that has to follow

    def add(self, entry: Entry, texts: Sequence[bytes] | None = None) -> None:
        """`texts` are the raw usage texts kept beside the entry; None: none are kept beside entries."""
        if self._log is not None:
            self._log.add(entry)
        kind = entry.kind
        if kind == "hold":
            return
        try:
            if kind in _ENDS:
                self._close()
                self._ended = entry
                if kind == "quarantine":
                    self._quarantined[entry.ref] = entry.seq
                if self._since_us is None or entry.at_us >= self._since_us:
                    self._end(entry, texts)
                elif kind in _CHARGES:
                    self.figures.skipped += 1
            elif kind == "cost":
                self._cost(entry)
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            self._violate(entry.seq, "unreadable", f"the detail of a {kind} cannot be read: {error!r}")

    def proved(self) -> Proved:
        """Of the log as a whole, as far as it has been added."""
        return (self._log or LogProof()).result()

    def result(self, proved: Proved | None = None, *, now_us: int | None = None) -> Figures:
        """After the last entry. Ages count up to `now_us`, or to the last entry."""
        self._close()
        proved = proved or self.proved()
        figures, proof = self.figures, proved.proof
        for seq, what in proved.unhashed:
            self._violate(seq, "log", what)
        for finding in proof.findings:
            self._violate(finding.seq, "log", finding.what)
        figures.violated += proof.found - len(proof.findings)
        self._judge_stated()
        figures.entries = proof.entries
        totals = proof.totals
        figures.conservation = Conservation(
            topped_up=-totals.issued,
            available=totals.available,
            held=totals.held,
            shortfall=totals.shortfall,
            charged=totals.revenue,
        )
        self._open(proved, (proof.last_us or 0) if now_us is None else now_us)
        figures.groups = list(self._groups.values())
        for group in figures.groups:
            figures.count(group)
        for each in self._told:
            each.finish(figures, proof)
        return figures

    def _end(self, entry: Entry, texts: Sequence[bytes] | None) -> None:
        detail = entry.detail
        if entry.kind == "release":
            self._group(detail["request_id"], {}).released += 1
            return
        is_charge = entry.kind != "quarantine"
        derivation = _derivation(entry)
        group = self._group(detail["request_id"], derivation)
        if is_charge:
            group.charges += 1
            group.charged_pico_uat += int(detail["amount"])
        else:
            group.quarantined += 1
        if is_charge and derivation.get("outcome") == JUDGED:
            self._judged(entry, derivation, group)
            return
        worked: WorkedAgain | tuple[str, str] | None = None
        if not derivation:
            worked = "underived", f"nothing says what this {entry.kind} was derived from"
        elif is_charge:
            worked = self._evidence(detail.get("evidence", ()), derivation, texts)
        worked = worked or self._work(entry, derivation)
        if isinstance(worked, tuple):
            cause, what = worked
            self._differ(entry, derivation, group, cause, what)
        elif is_charge:
            self._charged(entry, derivation, worked, group)
        else:
            self.figures.held_back(worked.bill.cause or "", "; ".join(worked.bill.reasons))

    def _judged(self, entry: Entry, derivation: Mapping[str, Any], group: Group) -> None:
        """A charge by an operator's word: of a hold in quarantine, and at most that."""
        held = -sum(posting.amount for posting in entry.postings if posting.account.endswith(":held"))
        if self._quarantined.get(entry.ref) != derivation["quarantine"]:
            self._differ(entry, derivation, group, "underived", "an operator judged it, and it was not in quarantine")
        elif int(entry.detail["amount"]) > held:
            self._differ(entry, derivation, group, "amount", f"an operator charged more than the {held} that were held")
        else:
            group.estimated += 1
            self.figures.find("an operator judged a hold in quarantine")

    def _work(self, entry: Entry, derivation: Mapping[str, Any]) -> WorkedAgain | tuple[str, str]:
        """What the derivation comes to, or (cause, what) of the first thing that differs."""
        try:
            worked = worked_again(derivation, self._books.book(derivation.get("book_id")))
        except NoBook as error:
            return "book_missing" if error.missing else "book_changed", str(error)
        except BadDerivation as error:
            return "unreadable", f"the derivation cannot be worked: {error}"
        if worked.newer is not None:
            self.figures.find(f"{derivation['normaliser']} was worked with {worked.newer}")
            if worked.found:
                what = "; ".join(worked.found)
                self._differs(self._row(entry, derivation, "newer_normaliser", what, worked))
                self.figures.find(f"{worked.newer} counts otherwise than {derivation['normaliser']}")
        if worked.differences:
            return worked.differences[0].cause, "; ".join(each.what for each in worked.differences)
        bill = worked.bill
        if entry.kind == "quarantine":
            return worked if bill.hold == "open" else ("outcome", f"it comes to {bill.outcome}, not to a quarantine")
        if bill.hold != "settled":
            return "outcome", f"it comes to {bill.outcome}, for which nothing is charged"
        if bill.charge_pico_uat != int(entry.detail["amount"]):
            what = f"{entry.detail['amount']} pico-UAT were charged, and it comes to {bill.charge_pico_uat}"
            return "amount", what
        for posting in entry.postings:
            if posting.account.endswith(":held") and posting.amount != -int(derivation["hold_pico_uat"]):
                what = f"the derivation states a hold of {derivation['hold_pico_uat']}, and {-posting.amount} were held"
                return "amount", what
        return worked

    def _charged(self, entry: Entry, derivation: Mapping[str, Any], worked: WorkedAgain, group: Group) -> None:
        """A charge that is what it says."""
        bill = worked.bill
        if bill.cost_pico_usd:
            self._owed = (derivation["provider"], derivation["cost_usd"], bill.cost_pico_usd)
        if bill.estimated:
            group.estimated += 1
        elif self._stated.add(entry.seq, derivation, worked):
            group.exact += 1
        else:  # whether another figure of the provider's can be explained shows when all have been seen
            self._stated.pending[entry.seq] = (group, self._row(entry, derivation, "provider_stated", "", worked))
        for each in self._told:
            each.charge(entry, derivation, worked)

    def _evidence(
        self, hashes: Sequence[str], derivation: Mapping[str, Any], texts: Sequence[bytes] | None
    ) -> tuple[str, str] | None:
        """Whether the usage texts are those whose hashes the entry has; those beside it, where there are such."""
        if texts is None and len(hashes) == 1 and hashes[0] == derivation.get("usage_sha256"):
            return None  # of one text that is the same hash, and it is compared when the charge is worked
        kept = [text.encode() for text in derivation.get("usage_raw", ())]
        if texts is not None:
            if kept != list(texts) and kept != list(map(_lossy, texts)):
                return "usage", "the usage texts kept beside the entry are not those of its derivation"
            kept = list(texts)
        elif any("\ufffd" in text for text in derivation.get("usage_raw", ())):
            return None
        if [sha256(text).hexdigest() for text in kept] != list(hashes):
            return "usage", "the usage texts do not hash to what the entry says of its evidence"
        return None

    def _cost(self, entry: Entry) -> None:
        detail, ended = entry.detail, self._ended
        ours = ended is not None and ended.detail.get("request_id") == detail["request_id"]
        at_provider = f":{detail['provider']}"
        if not all(posting.account.endswith(at_provider) for posting in entry.postings):
            self._violate(entry.seq, "cost_entry", f"it says {detail['provider']}, and is booked on another provider")
        for each in self._told:
            each.cost(entry, ended if ours else None)
        if ended is None or not ours or not detail.get("usd"):
            return
        cost = None
        if self._owed is not None and self._owed[:2] == (detail["provider"], detail["usd"]):
            cost, self._owed = self._owed[2], None
        stated, rate = _derivation(ended).get("usd_per_uat"), detail.get("usd_per_uat")
        if rate is not None and stated not in (None, rate):
            what = f"it says {rate} USD for one UAT, and what it is booked behind says {stated}"
            self._violate(entry.seq, "cost_entry", what)
        meters = detail.get("meters")
        if meters and sum(usd for _, usd in read_meters(meters).values()) != Fraction(detail["usd"]) * PICO:
            self._violate(entry.seq, "cost_entry", f"its meters do not come to {detail['usd']} USD")
        rate = stated or rate
        if rate is None:
            return
        try:
            amount = charge_pico_uat(cost or Fraction(detail["usd"]) * PICO, _without_margin(rate))
        except (NotMoney, ZeroDivisionError, ArithmeticError) as error:
            self._violate(entry.seq, "cost_entry", f"its amount cannot be worked: {error}")
            return
        if amount != int(detail["amount"]):
            what = f"{detail['amount']} pico-UAT are booked, and {detail['usd']} USD come to {amount}"
            self._violate(entry.seq, "cost_entry", what)

    def _close(self) -> None:
        """Before the next request's end: whether the provider's cost of the last one was booked."""
        if self._owed is not None and self._ended is not None:
            provider, usd, _ = self._owed
            what = f"no cost of {usd} USD at {provider} is booked behind this charge"
            self._violate(self._ended.seq, "cost_entry", what)
        self._owed = None

    def _differ(self, entry: Entry, derivation: Mapping[str, Any], group: Group, cause: str, what: str) -> None:
        group.differs(cause)
        self._violate(entry.seq, cause, what)
        self._differs(self._row(entry, derivation, cause, what, None))

    def _judge_stated(self) -> None:
        """The charges whose provider states another cost than we make of the call."""
        for seq, verdict, reason in self._stated.judged():
            group, row = self._stated.pending[seq]
            if verdict != "unexplained":
                group.exact += 1
                continue
            group.unexplained += 1
            self._differs({**row, "what": reason})
            self._violate(seq, "provider_stated", reason)
        self.figures.provider_stated = dict(self._stated.verdicts)

    def _open(self, proved: Proved, now_us: int) -> None:
        proof = proved.proof

        def item(kind: str, where: str, of: str, amount: int, since_us: int) -> OpenItem:
            return OpenItem(kind=kind, where=where, of=of, amount=amount, age_s=(now_us - since_us) / _US)

        items = [
            item(
                "quarantined" if hold.quarantined else "open",
                self._where(hold.seq), hold.account, hold.amount, hold.opened_us,
            )
            for hold in proof.open_holds
        ]  # fmt: skip
        items += [
            item("risk", self._where(risk.seq), risk.provider, risk.amount, risk.opened_us) for risk in proof.open_risks
        ]
        items += [
            item("shortfall", self._name, account, proof.balances.get(f"client:{account}:shortfall", 0), since_us)
            for account, since_us in proved.short_since.items()
        ]
        for each in items:
            self.figures.open_found[each.kind] = self.figures.open_found.get(each.kind, 0) + 1
            if each.kind == "quarantined" and each.age_s > _QUARANTINE_DAYS * 86_400:
                self.figures.find(f"a hold is quarantined for more than {_QUARANTINE_DAYS} days")
        self.figures.open_items = largest(items)

    def _row(
        self, entry: Entry, derivation: Mapping[str, Any], cause: str, what: str, worked: WorkedAgain | None
    ) -> Row:
        bill = worked.bill if worked is not None else None
        stated = derivation.get
        return {
            "where": self._where(entry.seq),
            "request_id": entry.detail.get("request_id"),
            "account": entry.account,
            "kind": entry.kind,
            "cause": cause,
            "what": what,
            "strategy": self._strategy or stated("strategy"),
            "provider": stated("provider"),
            "model": stated("model_served"),
            "amount_pico_uat": entry.detail.get("amount"),
            "comes_to_pico_uat": None if bill is None else str(bill.charge_pico_uat),
            "cost_usd": stated("cost_usd"),
            "provider_reported_cost_usd": stated("provider_reported_cost_usd"),
            "book_id": stated("book_id"),
            "row_id": stated("row_id"),
        }

    def _group(self, request_id: str, derivation: Mapping[str, Any]) -> Group:
        """What the log is known to be of goes before what an entry says of itself."""
        provider, strategy, surface = [derivation.get(name) for name in ("provider", "strategy", "surface")]
        key = (
            self._strategy or (strategy if isinstance(strategy, str) else ""),
            provider if isinstance(provider, str) else "",
            self._surface_of(request_id) or (surface if isinstance(surface, str) else ""),
        )
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(strategy=key[0], provider=key[1], surface=key[2])
        return group

    def _violate(self, seq: int, cause: str, what: str) -> None:
        self.figures.violate(self._where(seq), cause, what)

    def _where(self, seq: int) -> str:
        if not seq:
            return self._name or "the log"
        return f"{self._name} entry {seq}" if self._name else f"entry {seq}"


def largest(items: Sequence[OpenItem]) -> list[OpenItem]:
    """The largest of each kind."""
    kept: dict[str, list[OpenItem]] = {}
    for item in sorted(items, key=lambda item: -abs(item.amount)):
        if len(of_kind := kept.setdefault(item.kind, [])) < _OPEN_KEPT:
            of_kind.append(item)
    return [item for kind in sorted(kept) for item in kept[kind]]


def _derivation(entry: Entry) -> Mapping[str, Any]:
    """What a charge or a quarantine was derived from; {} where nothing says so."""
    found = entry.detail.get("evidence" if entry.kind == "quarantine" else "derivation")
    return found if isinstance(found, dict) else {}


@lru_cache(maxsize=64)
def _without_margin(usd_per_uat: str) -> Terms:
    return terms("0", usd_per_uat)


def _lossy(text: bytes) -> bytes:
    """As a derivation can hold it: what is no UTF-8 stands there replaced."""
    return text.decode("utf-8", "replace").encode()
