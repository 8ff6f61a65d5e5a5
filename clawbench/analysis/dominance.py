"""Which strategies another one beats in cost and wait at once, beyond what chance explains.

A strategy that nobody beats in both is a choice that somebody can want; one that is beaten is none. Judged by paired
differences, seed by seed, since all strategies of a run saw the same arrivals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from clawbench.analysis.intervals import over_seeds, paired
from clawbench.analysis.numerals import clipped, column
from clawbench.analysis.sheets import NAME_LENGTH, Sheet

COST: Final = "cost_per_1000_usd"
WAIT: Final = "ttft_s_p95"
_NAMED: Final = 3  # of those that beat a strategy


def dominated_by(figures: pl.DataFrame, order: Sequence[str]) -> dict[str, list[str]]:
    """By strategy, those that are cheaper and quicker than it, both 95 % t intervals beyond zero.

    `figures` is `tables.per_seed`. A strategy whose figures are unknown, or of one seed only, beats none and is beaten
    by none.
    """
    found: dict[str, list[str]] = {}
    for name in order:
        below = paired(figures, [COST, WAIT], baseline=name).filter(pl.col("high") < 0)
        both = below.group_by("strategy", maintain_order=True).len().filter(pl.col("len") == 2)["strategy"].to_list()
        found[name] = [other for other in order if other in both]
    return found


def dominance(figures: pl.DataFrame, order: Sequence[str]) -> Sheet:
    """Cost and wait of every strategy with their intervals, and which others beat it in both."""
    means = {row["strategy"]: row for row in over_seeds(figures, [COST, WAIT]).iter_rows(named=True)}
    names = [name for name in order if name in means]
    beaten = dominated_by(figures, names)
    columns = [
        ("strategy", "", [clipped(name, NAME_LENGTH) for name in names]),
        *(
            (title, unit, column(*([means[name][key] for name in names] for key in (figure, f"{figure}_half_width"))))
            for title, unit, figure in (("cost / 1,000 requests", "USD", COST), ("TTFT p95", "s", WAIT))
        ),
        ("beaten in both by", "", [_listed(beaten[name]) for name in names]),
    ]
    note = (
        "Beaten: another strategy is cheaper and has the lower TTFT p95, both differences, taken seed by seed, beyond "
        "their 95 % t intervals. Who is beaten by none is a choice between money and time."
    )
    headings = tuple((title, unit) for title, unit, _ in columns)
    return Sheet("Money against time", headings, tuple(zip(*(texts for _, _, texts in columns), strict=True)), note)


def _listed(names: Sequence[str]) -> str:
    named = ", ".join(clipped(name, NAME_LENGTH) for name in names[:_NAMED])
    further = len(names) - _NAMED
    return f"{named} and {further} more" if further > 0 else named or "none"
