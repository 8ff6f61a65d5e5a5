"""Billing accuracy of a run, as its manifest has it from the audit at the run's end: nothing is computed anew here.

`billing` of the manifest: counts by strategy, provider and surface, and the line that says it all. A run that was made
before there were audits, or that did not finish, has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from clawbench.analysis.frames import RunFolder
from clawbench.analysis.numerals import clipped, column, count, percent
from clawbench.analysis.sheets import NAME_LENGTH, Sheet

_COUNTS: Final = ("charges", "estimated", "exact", "unexplained", "quarantined", "released")
_PICO: Final = 1e12


def line_of(run: RunFolder) -> str:
    """`billing: N of N exact`; "" where the run was not audited."""
    return str(_figures(run).get("line") or "")


def doubt(run: RunFolder) -> str:
    """What a reader must know before the first figure; "": nothing."""
    figures = _figures(run)
    if not figures or figures.get("clean", True):
        return ""
    first = next((each for each in figures.get("violations") or [] if isinstance(each, Mapping)), None)
    named = f" The first: {first.get('where')}: {first.get('what')}." if first else ""
    return (
        f"Not every bill is proved: {line_of(run).removeprefix('billing: ')}.{named} `clawbench audit` names them all."
    )


def sheet_of(run: RunFolder, order: Sequence[str], *, by_provider: bool) -> list[Sheet]:
    """Billing accuracy by strategy, or by strategy, provider and surface; [] where the run was not audited."""
    groups = [group for group in _figures(run).get("groups") or [] if isinstance(group, Mapping)]
    if not groups:
        return []
    keys = ("strategy", "provider", "surface") if by_provider else ("strategy",)
    rows: dict[tuple[str, ...], dict[str, int]] = {}
    for group in groups:
        row = rows.setdefault(tuple(str(group.get(key) or "–") for key in keys), dict.fromkeys(_COUNTS, 0))
        for name in _COUNTS:
            row[name] += int(group.get(name) or 0)
        row["differing"] = row.get("differing", 0) + sum((group.get("differing") or {}).values())
        row["charged"] = row.get("charged", 0) + int(group.get("charged_pico_uat") or 0)
    place = {name: number for number, name in enumerate(order)}
    ordered = sorted(rows.items(), key=lambda item: (place.get(item[0][0], len(place)), item[0]))
    texts = [list(name) for name, _ in ordered]
    figures = [row for _, row in ordered]
    sums = [row["charges"] - row["estimated"] for row in figures]
    columns: list[tuple[str, str, list[str]]] = [
        (key, "", [clipped(text[number], NAME_LENGTH) for text in texts]) for number, key in enumerate(keys)
    ]
    columns += [
        ("charges", "", [count(total) for total in sums]),
        ("exact", "", [count(row["exact"]) for row in figures]),
        ("exact", "%", [_share(row["exact"], total) for row, total in zip(figures, sums, strict=True)]),
        *((name, "", [count(row[name]) for row in figures]) for name in ("differing", *_COUNTS[3:4], "estimated")),
        *((name, "", [count(row[name]) for row in figures]) for name in _COUNTS[4:]),
        ("charged", "UAT", column([row["charged"] / _PICO for row in figures])),
    ]
    headings = tuple((name, unit) for name, unit, _ in columns)
    marked = frozenset(n for n, row in enumerate(figures) if row["differing"] or row["unexplained"])
    cells = tuple(zip(*(column for _, _, column in columns), strict=True))
    return [Sheet("Billing accuracy", headings, cells, _NOTE + _held_back(_figures(run)), marked)]


_NOTE: Final = (
    "Exact: raw usage and cited price book come to the charge, to the last digit, and to the provider's own figure "
    "where it states one. Estimates of answers that were cut, quarantined and released requests are counted beside."
)


def _held_back(figures: Mapping[str, Any]) -> str:
    """Why answers were quarantined, by cause with the first reason; "" where none was, or the audit does not say."""
    counts, reasons = figures.get("quarantined_for") or {}, figures.get("quarantined_why") or {}
    told = [
        f"{count(int(number))} {cause.replace('_', ' ')} (e.g. {reasons.get(cause)})"
        for cause, number in sorted(counts.items(), key=lambda each: -each[1])
    ]
    return f" Quarantined: {', '.join(told)}." if told else ""


def _share(part: int, of: int) -> str:
    return percent(part / of if of else None, of)


def _figures(run: RunFolder) -> Mapping[str, Any]:
    found = run.manifest.get("billing")
    return found if isinstance(found, Mapping) else {}
