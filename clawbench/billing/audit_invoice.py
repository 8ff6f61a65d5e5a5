"""An invoice against a ledger's costs: line by line, each difference in a class, and how much of it is explained.

| class | meaning | explained |
|---|---|---|
| equal | no more than 1e-9 USD apart | yes |
| rounded | no further apart than half of the line's last digit | yes |
| risk | the rest is no more than what was at risk at that provider in that time, and is not resolved | yes |
| unattributed | the rest is no more than costs of which the ledger does not know the model | yes |
| promotion | all lines of a provider's model have the ledger's quantities, and differ by one and the same ratio | yes |
| quantity | another quantity than was counted | no |
| price | the same quantity at another price | no |
| not_in_ledger | the ledger has no cost for the line | no |
| not_invoiced | costs within the invoice's time and providers that no line covers | no |
| unexplained | none of these | no |

The most particular lines take their costs first, each cost once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any, Final

from msgspec import Struct

from clawbench.billing.amounts import usd as usd_text
from clawbench.billing.audit_costs import Amount, Meter
from clawbench.billing.invoice import InvoiceLine
from clawbench.money import PICO

EXPLAINED: Final = frozenset({"equal", "rounded", "risk", "unattributed", "promotion"})
_EQUAL_USD: Final = Fraction(1, 10**9)


class ClassSum(Struct, frozen=True, kw_only=True):
    """Lines of one class; USD as decimal text, `residue_usd` = invoiced − ledger."""

    lines: int
    invoiced_usd: str
    ledger_usd: str
    residue_usd: str


class Reconciled(Struct, frozen=True, kw_only=True):
    """`explained_percent` of the invoiced USD, cut to two decimals; `clean`: every line and every cost is explained."""

    lines: int
    invoiced_usd: str
    ledger_usd: str
    classes: dict[str, ClassSum]
    explained_percent: str
    clean: bool


class _Compared:
    """A line, or lines for the same thing, with the costs that it takes."""

    def __init__(self, lines: list[InvoiceLine]) -> None:
        self.line = lines[0]
        self.number = ", ".join(str(each.line) for each in lines)
        self.usd = sum((each.usd for each in lines), Fraction(0))
        self.within = sum((each.within_usd for each in lines), Fraction(0))
        stated = [each.quantity for each in lines if each.quantity is not None]
        self.quantity = sum(stated) if len(stated) == len(lines) else None
        self.ledger, self.counted, self.taken = Fraction(0), 0, 0
        self.of = ""

    def fits(self, meter: Meter) -> bool:
        line = self.line
        return (
            line.model in ("", meter.model)
            and line.service_tier in ("", meter.tier)
            and line.meter in ("", meter.meter)
        )

    def take(self, amount: Amount) -> None:
        self.ledger += amount.usd
        self.counted += amount.quantity
        self.taken += 1


def reconciled(
    lines: Sequence[InvoiceLine],
    costs: Mapping[Meter, Amount],
    risks: Mapping[Meter, Fraction],
    differs: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Reconciled:
    """Compares; `differs` is given every line that is neither equal nor rounded, and every cost that has none."""
    compared = _grouped(lines)
    spare = _Spare(risks)
    left: list[tuple[Meter, Amount]] = []
    by_day: dict[tuple[str, str], list[_Compared]] = {}
    for meter, amount in costs.items():
        key = (meter.provider, meter.day)
        if key not in by_day:
            by_day[key] = _takers(compared, meter.provider, date.fromisoformat(meter.day))
        taker = next((each for each in by_day[key] if each.fits(meter)), None)
        if taker is not None:
            taker.take(amount)
        elif by_day[key]:
            if meter.model:
                left.append((meter, amount))
            else:
                spare.unattributed(meter, amount)
    for each in compared:
        each.of = _class(each, spare)
    for each in _promotions(compared):
        each.of = "promotion"
    left += spare.rest()
    for each in compared:
        if each.of not in ("equal", "rounded"):
            differs(_row(each))
    for meter, amount in left:
        differs(_uncovered(meter, amount))
    return _summed(len(lines), compared, left)


def _grouped(lines: Iterable[InvoiceLine]) -> list[_Compared]:
    """Lines for the same thing together, the most particular first."""
    same: dict[tuple[Any, ...], list[InvoiceLine]] = {}
    for line in lines:
        key = (line.provider, line.first, line.end, line.model, line.service_tier, line.meter)
        same.setdefault(key, []).append(line)
    compared = [_Compared(each) for each in same.values()]
    return sorted(
        compared,
        key=lambda each: (
            -sum(map(bool, (each.line.model, each.line.meter, each.line.service_tier))),
            (each.line.end - each.line.first).days,
            each.line.line,
        ),
    )


class _Spare:
    """What can explain that a provider bills more: open risks, and costs whose model is not known. Used up once."""

    def __init__(self, risks: Mapping[Meter, Fraction]) -> None:
        self._risks = dict(risks)
        self._costs: dict[Meter, Fraction] = {}
        self._quantities: dict[Meter, int] = {}

    def unattributed(self, meter: Meter, amount: Amount) -> None:
        self._costs[meter] = self._costs.get(meter, Fraction(0)) + amount.usd
        self._quantities[meter] = self._quantities.get(meter, 0) + amount.quantity

    def explain(self, line: InvoiceLine, more: Fraction, within: Fraction) -> str | None:
        """The class that explains `more`, which is then used up; costs that are certain go first."""
        for name, pool in (("unattributed", self._costs), ("risk", self._risks)):
            fitting = [meter for meter in pool if _may_be_in(line, meter)]
            if more > within + sum((pool[meter] for meter in fitting), Fraction(0)):
                continue
            for meter in sorted(fitting, key=lambda meter: (not meter.model, meter)):
                used = min(more, pool[meter])
                pool[meter] -= used
                more -= used
            return name
        return None

    def rest(self) -> list[tuple[Meter, Amount]]:
        """Costs of unknown models that explained nothing."""
        left: list[tuple[Meter, Amount]] = []
        for meter, usd in self._costs.items():
            if usd:
                amount = Amount()
                amount.usd, amount.quantity = usd, self._quantities[meter]
                left.append((meter, amount))
        return left


def _may_be_in(line: InvoiceLine, meter: Meter) -> bool:
    """Whether a line can cover something of this provider, day and, where it is known, model and tier."""
    if meter.provider != line.provider or not line.first.isoformat() <= meter.day < line.end.isoformat():
        return False
    return not meter.model or (line.model in ("", meter.model) and line.service_tier in ("", meter.tier))


def _class(each: _Compared, spare: _Spare) -> str:
    more = each.usd - each.ledger
    if abs(more) <= _EQUAL_USD:
        return "equal"
    if abs(more) <= each.within:
        return "rounded"
    if more > 0 and (found := spare.explain(each.line, more, each.within)) is not None:
        return found
    if not each.taken:
        return "not_in_ledger"
    if each.quantity is None:
        return "unexplained"
    return "price" if each.quantity == each.counted else "quantity"


def _promotions(compared: Sequence[_Compared]) -> list[_Compared]:
    """Lines at another price whose ratio is that of all priced lines of the model; there must be two at least."""
    groups: dict[tuple[str, str], list[_Compared]] = {}
    for each in compared:
        if each.line.model and each.of in ("equal", "rounded", "price") and each.ledger:
            groups.setdefault((each.line.provider, each.line.model), []).append(each)
    found = []
    for members in groups.values():
        largest = max(members, key=lambda each: each.ledger)
        ratio = largest.usd / largest.ledger
        fits = all(abs(each.usd - ratio * each.ledger) <= max(each.within, _EQUAL_USD) for each in members)
        if fits and len(members) > 1 and ratio < 1:
            found += [each for each in members if each.of == "price"]
    return found


def _takers(compared: Sequence[_Compared], provider: str, day: date) -> list[_Compared]:
    """The lines that can take costs of a provider on a day, in order."""
    return [each for each in compared if each.line.provider == provider and each.line.first <= day < each.line.end]


def _summed(lines: int, compared: Sequence[_Compared], left: Sequence[tuple[Meter, Amount]]) -> Reconciled:
    sums: dict[str, tuple[int, Fraction, Fraction]] = {}
    for each in compared:
        _add(sums, each.of, each.usd, each.ledger)
    for _, amount in left:
        _add(sums, "not_invoiced", Fraction(0), amount.usd)
    invoiced = sum((each.usd for each in compared), Fraction(0))
    explained = sum((each.usd for each in compared if each.of in EXPLAINED), Fraction(0))
    ledger = sum((ours for _, _, ours in sums.values()), Fraction(0))
    percent = explained * 100 / invoiced if invoiced else Fraction(100)
    cut = (Decimal(percent.numerator) / percent.denominator).quantize(Decimal("0.01"), ROUND_FLOOR)
    return Reconciled(
        lines=lines,
        invoiced_usd=_usd(invoiced),
        ledger_usd=_usd(ledger),
        classes={
            name: ClassSum(
                lines=number, invoiced_usd=_usd(theirs), ledger_usd=_usd(ours), residue_usd=_usd(theirs - ours)
            )
            for name, (number, theirs, ours) in sorted(sums.items())
        },
        explained_percent=str(cut),
        clean=all(name in EXPLAINED for name in sums),
    )


def _add(sums: dict[str, tuple[int, Fraction, Fraction]], name: str, theirs: Fraction, ours: Fraction) -> None:
    lines, invoiced, ledger = sums.get(name, (0, Fraction(0), Fraction(0)))
    sums[name] = (lines + 1, invoiced + theirs, ledger + ours)


def _row(each: _Compared) -> dict[str, Any]:
    line = each.line
    return {
        "where": f"invoice line {each.number}",
        "cause": each.of,
        "provider": line.provider,
        "period_start": line.first.isoformat(),
        "period_end": line.end.isoformat(),
        "model": line.model,
        "service_tier": line.service_tier,
        "meter": line.meter,
        "invoiced_quantity": each.quantity,
        "ledger_quantity": each.counted,
        "invoiced_usd": _usd(each.usd),
        "ledger_usd": _usd(each.ledger),
    }


def _uncovered(meter: Meter, amount: Amount) -> dict[str, Any]:
    return {
        "where": "ledger",
        "cause": "not_invoiced",
        "provider": meter.provider,
        "period_start": meter.day,
        "period_end": "",
        "model": meter.model,
        "service_tier": meter.tier,
        "meter": meter.meter,
        "invoiced_quantity": None,
        "ledger_quantity": amount.quantity,
        "invoiced_usd": "0",
        "ledger_usd": _usd(amount.usd),
    }


def _usd(amount: Fraction) -> str:
    return f"-{usd_text(-amount * PICO)}" if amount < 0 else usd_text(amount * PICO)
