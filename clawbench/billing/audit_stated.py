"""What providers state that calls cost against what we make of them, over a whole log in bounded memory.

Most agree at once. Those that do not are kept, up to a limit, beside one agreeing call for each price row and day:
whether a promotion or a day that nobody read explains them is seen only among the others (`stated_comparison.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

from clawbench.billing.stated_comparison import Pair, compared
from clawbench.billing.working_again import WorkedAgain
from clawbench.usage.admission import UsageRefused, parse
from clawbench.usage.stated_costs import StatedCost, stated_in_usage

KEPT: Final = 10_000  # differing calls that are held against each other; more are unexplained
_AGREEING: Final = 10_000
_DAY_S: Final = 86_400
_ROUNDED_USD: Final = Fraction(1, 1000)


class StatedCosts:
    """Classes of all charges for which the provider states a cost."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.pending: dict[int, Any] = {}  # by number of the entry: what the auditor wants to have back
        self._differing: list[Pair] = []
        self._agreeing: dict[tuple[str, int], Pair] = {}
        self._beyond: list[int] = []

    def add(self, seq: int, derivation: Mapping[str, Any], worked: WorkedAgain) -> bool:
        """Whether the charge needs no explanation: nothing is stated, or the two agree."""
        bill, counted = worked.bill, worked.counted
        if counted.reported_usd is None and counted.rounded_usd is None:
            return True
        if bill.difference is None:
            self.verdicts["unpriced"] += 1
            return True
        if bill.difference != "differs":
            self.verdicts[bill.difference] += 1
            basis = bill.basis
            if basis is not None and len(self._agreeing) < _AGREEING:
                key = (basis.prices[0].row_id, int(derivation["at_s"] // _DAY_S))
                if key not in self._agreeing:
                    self._agreeing[key] = _pair("", derivation, worked)
            return True
        if len(self._differing) < KEPT:
            self._differing.append(_pair(str(seq), derivation, worked))
        else:
            self._beyond.append(seq)
        return False

    def judged(self) -> Iterator[tuple[int, str, str]]:
        """(entry, verdict, reason) of every charge that `add` has said no of."""
        if self._differing:
            for each in compared([*self._differing, *self._agreeing.values()]):
                if each.pair.name:
                    self.verdicts[each.verdict] += 1
                    yield int(each.pair.name), each.verdict, each.reason
        for seq in self._beyond:
            self.verdicts["unexplained"] += 1
            yield seq, "unexplained", f"the provider states another cost, as for {KEPT:,} calls before it"


def _pair(name: str, derivation: Mapping[str, Any], worked: WorkedAgain) -> Pair:
    counted = worked.counted
    usd = counted.reported_usd
    within = None
    if usd is None:
        usd, within = counted.rounded_usd or Fraction(0), _ROUNDED_USD
    found = _stated(derivation["usage_raw"])
    parts = found.parts if found is not None and found.usd == usd else {}
    stated = StatedCost(usd=Fraction(usd), where="usage", within_usd=within, parts=parts)
    return Pair(name=name, counted=counted, stated=stated, cost=worked.bill.basis, at_s=derivation["at_s"])


def _stated(texts: list[str]) -> StatedCost | None:
    """What the last usage text states, with its parts."""
    try:
        usage = parse(texts[-1].encode()) if texts else None
    except UsageRefused:
        return None
    return stated_in_usage(usage) if isinstance(usage, dict) else None
