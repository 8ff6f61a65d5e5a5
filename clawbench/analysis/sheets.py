"""Sheets: the tables that people read, as text: which columns, which units, how many digits.

Terminal and report print the same sheets, so a figure reads the same in both. Figures come from `tables`; how a
sheet is drawn is left to `terminal` and `report`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from clawbench.analysis.intervals import paired
from clawbench.analysis.metrics import SLO
from clawbench.analysis.numerals import UNKNOWN, clipped, column, count, percent
from clawbench.schema import MATCHES, TIMINGS

OFFERS_SHOWN = 10
NAME_LENGTH = 32


@dataclass(frozen=True)
class Sheet:
    """A table as text. `headings` are (name, unit); the first column is a name, the others are figures.

    `marked` are places of rows that a reader should doubt; `note` says how to read the sheet.
    """

    title: str
    headings: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    marked: frozenset[int] = frozenset()


def _sheet(title: str, columns: Sequence[tuple[str, str, Sequence[str]]], note: str = "") -> Sheet:
    headings = tuple((name, unit) for name, unit, _ in columns)
    return Sheet(title, headings, tuple(zip(*(texts for _, _, texts in columns), strict=True)), note)


def outcome_and_cost(table: pl.DataFrame, slo: SLO | None = None) -> Sheet:
    """How many requests, how many ok, what they cost, how many calls and offers it took."""
    columns = [
        ("strategy", "", _names(table)),
        ("requests", "", [count(n) for n in table["requests"]]),
        ("ok", "%", _percents(table, "ok_share", "requests")),
        ("cost / 1,000 requests", "USD", _figures(table, "cost_per_1000_usd")),
        ("cost / M output tokens", "USD", _figures(table, "cost_per_million_output_tokens_usd")),
        ("attempts", "per request", _figures(table, "attempts_per_request")),
        ("offers", "used", [count(n) for n in table["offers_used"]]),
        ("top offer", "", [clipped(name or UNKNOWN, NAME_LENGTH) for name in table["top_offer"]]),
        ("its share", "% of served", _percents(table, "top_offer_share", "ok_requests")),
    ]
    note = ""
    if slo is not None:
        columns.insert(3, ("in SLO", "%", _percents(table, "slo_share", "requests")))
        columns.insert(4, ("goodput", "requests / s", _figures(table, "goodput_per_s")))
        note = f"SLO: {slo}."
    return _sheet("Outcome and cost", columns, _interval_note(table, note))


def speed(table: pl.DataFrame) -> Sheet:
    """How long requests took, over those that are ok."""
    columns = [("strategy", "", _names(table)), ("streamed", "ok", [count(n) for n in table["ttft_requests"]])]
    for name, figure in (("TTFT", "ttft_s"), ("E2E", "e2e_s")):
        columns.append((f"{name} p50", "s", _figures(table, f"{figure}_p50")))
        columns += [(p, "s", column(table[f"{figure}_{p}"].to_list())) for p in ("p95", "p99")]
    columns.append(("token rate p50", "tokens / s", _figures(table, "token_rate_p50")))
    note = "Over requests with status ok; TTFT and token rate over the streamed ones."
    return _sheet("Speed", columns, _interval_note(table, note))


def evidence(table: pl.DataFrame) -> Sheet:
    """What the answers and their times rest on, by strategy; kinds that no row has are left out."""

    def occurring(kinds: Sequence[str], prefix: str) -> list[str]:
        return [kind for kind in kinds if (table[f"{prefix}_{kind}"].sum() or 0) > 0]

    columns = [("strategy", "", _names(table)), ("answers", "", [count(n) for n in table["answers"]])]
    columns += [(kind, "%", _shares(table, f"match_{kind}", "answers")) for kind in occurring(MATCHES, "match")]
    columns += [
        (f"times {kind}" if place == 0 else kind, "%", _shares(table, f"timing_{kind}", "answers"))
        for place, kind in enumerate(occurring(TIMINGS, "timing"))
    ]
    columns.append(("top interaction", "%", _shares(table, "top_interaction_share", "answers")))
    columns.append(("cost known", "%", _shares(table, "cost_known_share", "requests")))
    sheet = _sheet("What the answers rest on", columns, "Shares of attempts that were answered, failed ones included.")
    marked = frozenset(place for place, one in enumerate(table["one_interaction"]) if one)
    return Sheet(sheet.title, sheet.headings, sheet.rows, sheet.note, marked)


_COMPARED = (
    ("ok", "percentage points", "ok_share", 100.0),
    ("cost / 1,000 requests", "USD", "cost_per_1000_usd", 1.0),
    ("TTFT p50", "s", "ttft_s_p50", 1.0),
    ("TTFT p95", "s", "ttft_s_p95", 1.0),
    ("E2E p50", "s", "e2e_s_p50", 1.0),
)


def differences(figures: pl.DataFrame, baseline: str, order: Sequence[str]) -> Sheet:
    """Paired differences to a baseline, seed by seed; `figures` is `tables.per_seed`, strategies come in `order`."""
    compared = paired(figures, [name for _, _, name, _ in _COMPARED], baseline=baseline)
    others = [name for name in order if name != baseline]
    columns: list[tuple[str, str, Sequence[str]]] = [("strategy", "", [clipped(name, NAME_LENGTH) for name in others])]
    for name, unit, figure, scale in _COMPARED:
        rows = {row["strategy"]: row for row in compared.filter(pl.col("figure") == figure).iter_rows(named=True)}
        values = [_scaled(rows[other]["difference"], scale) for other in others]
        widths = [_scaled(_half(rows[other]), scale) for other in others]
        columns.append((name, unit, [_signed(text) for text in column(values, widths)]))
    note = (
        "Strategy minus baseline, taken seed by seed: all strategies saw the same arrivals and the same luck. "
        "Means with 95 % t intervals; where one spans 0, no difference is shown."
    )
    return _sheet(f"Differences to {baseline}", columns, note)


def outcomes(shares: pl.DataFrame, order: Sequence[str]) -> Sheet:
    """What became of the attempts: a row an outcome, a column a strategy; `shares` is `tables.outcome_shares`."""
    totals = dict(shares.group_by("strategy").agg(pl.col("attempts").sum()).iter_rows())
    by_cell = {(row["strategy"], row["outcome"]): row for row in shares.iter_rows(named=True)}
    summed = shares.group_by("outcome").agg(pl.col("attempts").sum())
    found = summed.sort(pl.col("outcome") != "ok", -pl.col("attempts"), "outcome")["outcome"].to_list()

    def cell(strategy: str, outcome: str) -> str:
        row = by_cell.get((strategy, outcome))
        return f"{percent(row['share'], totals[strategy])} % ({count(row['attempts'])})" if row else "0"

    columns: list[tuple[str, str, Sequence[str]]] = [("outcome", "", found)]
    columns += [
        (clipped(strategy, NAME_LENGTH), "", [cell(strategy, outcome) for outcome in found]) for strategy in order
    ]
    return _sheet("Outcomes of attempts", columns, "Share of the strategy's attempts, and their number.")


def offers(chosen: pl.DataFrame, order: Sequence[str], shown: int = OFFERS_SHOWN) -> Sheet:
    """Which offers were called, most called first, the tail counted together; `chosen` is `tables.offers_chosen`."""
    rows: list[dict[str, Any]] = []
    for strategy in order:
        of_strategy = chosen.filter(pl.col("strategy") == strategy)
        rows += of_strategy.head(shown).iter_rows(named=True)
        tail = of_strategy.slice(shown)
        if tail.height:
            calls = tail["attempts"]
            rows.append(
                {
                    "strategy": strategy,
                    "offer_id": f"{tail.height} others",
                    "attempts": calls.sum(),
                    "share": tail["share"].sum(),
                    "ok_share": float((tail["ok_share"] * calls).sum()) / int(calls.sum()),
                    "ttft_s_p50": None,
                    "cost_usd": tail["cost_usd"].sum() if tail["cost_usd"].count() else None,
                }
            )
    totals = dict(chosen.group_by("strategy").agg(pl.col("attempts").sum()).iter_rows())
    return _sheet(
        "Offers chosen",
        [
            ("strategy", "", [clipped(row["strategy"], NAME_LENGTH) for row in rows]),
            ("offer", "", [clipped(row["offer_id"], 2 * NAME_LENGTH) for row in rows]),
            ("attempts", "", [count(row["attempts"]) for row in rows]),
            ("share", "%", [percent(row["share"], totals[row["strategy"]]) for row in rows]),
            ("ok", "%", [percent(row["ok_share"], row["attempts"]) for row in rows]),
            ("TTFT p50", "s from dispatch", column([row["ttft_s_p50"] for row in rows])),
            ("cost", "USD", column([row["cost_usd"] for row in rows])),
        ],
        "Every attempt counts, also retries and fallbacks. This TTFT is the offer's own, counted from the call.",
    )


def _interval_note(table: pl.DataFrame, note: str) -> str:
    seeds = table["seeds"].to_list()
    if not seeds or max(seeds) < 2:
        return note
    least, most = min(seeds), max(seeds)
    number = f"{most}" if least == most else f"{least} to {most}"
    return f"{note} Figures are means over {number} seeds; ± is half of a 95 % t interval.".strip()


def _names(table: pl.DataFrame) -> list[str]:
    return [clipped(name or UNKNOWN, NAME_LENGTH) for name in table["strategy"]]


def _figures(table: pl.DataFrame, figure: str) -> list[str]:
    return column(table[figure].to_list(), table[f"{figure}_half_width"].to_list())


def _percents(table: pl.DataFrame, share: str, of: str) -> list[str]:
    width = f"{share}_half_width"
    widths = table[width].to_list() if width in table.columns else [None] * table.height
    return [percent(*row) for row in zip(table[share], table[of], widths, strict=True)]


def _shares(table: pl.DataFrame, share: str, of: str) -> list[str]:
    return [percent(*row) for row in zip(table[share], table[of], strict=True)]


def _half(row: dict[str, Any]) -> float | None:
    return None if row["high"] is None else (row["high"] - row["low"]) / 2


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _signed(text: str) -> str:
    """A difference with its sign, unless it is 0 or unknown; a true minus for the hyphen."""
    if text.startswith("-"):
        return "−" + text[1:]
    is_zero = not any(digit in text.split(" ")[0] for digit in "123456789")
    return text if is_zero else f"+{text}"
