"""Sheets of what a bench finds beyond a run's own records: regret in hindsight, and what each fault did.

Takes frames and draws text; where the figures come from is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from clawbench.analysis.intervals import over_seeds
from clawbench.analysis.numerals import UNKNOWN, clipped, column, count, percent
from clawbench.analysis.sheets import NAME_LENGTH, Sheet

_REGRETS = (
    ("cost / 1,000 requests", "USD", "cost_usd", 1000.0),
    ("TTFT", "s", "ttft_s", 1.0),
    ("E2E", "s", "e2e_s", 1.0),
)
_FAULT_FIGURES = (
    ("retries", "per request", "retries_per_request"),
    ("fallbacks", "per request", "fallbacks_per_request"),
    ("wasted", "USD", "wasted_usd"),
    ("TTFT p95", "s", "ttft_s_p95"),
    ("added p95", "s", "added_ttft_s_p95"),
    ("noticed after", "s", "notice_s"),
    ("back after", "s", "return_s"),
)
_MISSING = {"notice_s": 3, "return_s": 4}
"""Where the number of seeds without it stands."""


def regret(table: pl.DataFrame, order: Sequence[str]) -> Sheet:
    """Mean regret of each strategy against the oracle, with its interval and its share of the oracle's own figure.

    `table` has a row a strategy and figure: `strategy`, `figure`, `oracle`, `regret`, `low`, `high`, `relative`.
    """
    known = {(row["strategy"], row["figure"]): row for row in table.iter_rows(named=True)}
    names = [name for name in order if any((name, figure) in known for _, _, figure, _ in _REGRETS)]
    columns: list[tuple[str, str, Sequence[str]]] = [("strategy", "", [clipped(name, NAME_LENGTH) for name in names])]
    bests = []
    for title, unit, figure, scale in _REGRETS:
        rows = [known.get((name, figure)) for name in names]
        values = [None if row is None or row["regret"] is None else row["regret"] * scale for row in rows]
        widths = [None if row is None or row["high"] is None else (row["high"] - row["regret"]) * scale for row in rows]
        shares = [None if row is None or row["relative"] is None else 100 * row["relative"] for row in rows]
        best = next((row["oracle"] for row in rows if row is not None and row["oracle"] is not None), None)
        share_widths = [None if width is None or not best else 100 * width / (best * scale) for width in widths]
        columns += [(f"{title}", unit, column(values, widths)), ("above best", "%", column(shares, share_widths))]
        bests.append(f"{title} {UNKNOWN if best is None else f'{best * scale:.4g}'} {unit}")
    note = (
        "What a strategy's mean is above the oracle's, which knows for each request the best that any offer would have "
        f"done, idle and alone, each figure for itself: {', '.join(bests)}. ± is half of a 95 % t interval over seeds."
    )
    return Sheet("Regret", tuple((name, unit) for name, unit, _ in columns), _rows(columns), note)


def faults(by_seed: pl.DataFrame, order: Sequence[str]) -> list[Sheet]:
    """A sheet a fault, a row a strategy; `by_seed` has a row a strategy, seed and fault."""
    sheets = []
    for name in by_seed["fault"].unique(maintain_order=True):
        mine = by_seed.filter(pl.col("fault") == name)
        figures = [figure for _, _, figure in _FAULT_FIGURES]
        means = {row["strategy"]: row for row in over_seeds(mine, ["ok_share", *figures]).iter_rows(named=True)}
        sums = {row[0]: row[1:] for row in mine.group_by("strategy").agg(
            pl.col("requests").sum(), pl.col("struck").sum(), pl.col("unexplained").sum(),
            pl.col("notice_s").is_null().sum(), pl.col("return_s").is_null().sum(), pl.len(),
        ).iter_rows()}  # fmt: skip
        rows = [means[each] for each in order if each in means]
        names = [row["strategy"] for row in rows]
        columns: list[tuple[str, str, Sequence[str]]] = [
            ("strategy", "", [clipped(each, NAME_LENGTH) for each in names]),
            ("requests", "", [count(sums[each][0]) for each in names]),
            ("struck", "attempts", [count(sums[each][1] or 0) for each in names]),
            (
                "ok",
                "%",
                [percent(row["ok_share"], sums[row["strategy"]][0], row["ok_share_half_width"]) for row in rows],
            ),
            ("unexplained", "requests", [count(sums[each][2]) for each in names]),
        ]
        for title, unit, figure in _FAULT_FIGURES:
            texts = column([row[figure] for row in rows], [row[f"{figure}_half_width"] for row in rows])
            missing = [sums[each][_MISSING[figure]] if figure in _MISSING else 0 for each in names]
            seeds = [sums[each][5] for each in names]
            columns.append((title, unit, [_of_seeds(*each) for each in zip(texts, missing, seeds, strict=True)]))
        note = (
            "In the fault's window; added p95 against the quiet time before it, at most as long. Noticed: the offer "
            "struck most is left alone; back: the first answer of a struck offer after the end. (n): in n seeds only."
        )
        sheets.append(Sheet(f"Fault {name}", tuple((title, unit) for title, unit, _ in columns), _rows(columns), note))
    return sheets


def _of_seeds(text: str, missing: int, seeds: int) -> str:
    """A figure, with the number of seeds that it is a mean of where some have none."""
    return f"{text} ({seeds - missing})" if 0 < missing < seeds else text


def _rows(columns: Sequence[tuple[str, str, Sequence[str]]]) -> tuple[tuple[str, ...], ...]:
    return tuple(zip(*(texts for _, _, texts in columns), strict=True))
