"""Head: what a reader must know of a run before its first figure.

What was run, from what, with which versions; what the answers and their times rest on; and every reason to doubt
the figures below. Text for people, from the manifest and a `tables.summary`; how it looks is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from clawbench.analysis.billing import doubt as billing_doubt
from clawbench.analysis.frames import RunFolder
from clawbench.analysis.numerals import UNKNOWN, count, mix, percent, short
from clawbench.analysis.tables import TOP_INTERACTION_LIMIT
from clawbench.schema import MATCHES, TIMINGS

_WHAT_IT_MEANS = {
    "nearest": "nearest: the replay had no recording of the request itself and gave the offer's nearest one, "
    "so their length, cost and times are those of another request",
    "synthetic": "synthetic: made by the emulator from the offer's fitted profile, not recorded",
    "live": "live: they came over the network, and another run will get others",
}


@dataclass(frozen=True)
class Head:
    """`warnings` come first, then `evidence`, then `facts`: pairs of a name and its text."""

    title: str
    warnings: tuple[str, ...]
    evidence: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]


def head(run: RunFolder, table: pl.DataFrame) -> Head:
    """The head of a run; `table` is its summary by strategy."""
    plan = _object(run.manifest.get("plan"))
    return Head(
        title=str(plan.get("name") or run.path.name),
        warnings=tuple(_warnings(run, table)),
        evidence=_evidence(table),
        facts=_facts(run.manifest, plan),
    )


def strategies_in_order(run: RunFolder, found: Sequence[str]) -> list[str]:
    """Strategies as the plan lists them, then any others by name."""
    planned = [name for name in run.manifest.get("strategies", []) if name in found]
    return [*dict.fromkeys(planned), *sorted({*found} - {*planned})]


def _evidence(table: pl.DataFrame) -> tuple[tuple[str, str], ...]:
    answers = int(table["answers"].sum() or 0)
    return (
        ("answers", mix([(kind, _overall(table, f"match_{kind}")) for kind in MATCHES], answers)),
        ("times", mix([(kind, _overall(table, f"timing_{kind}")) for kind in TIMINGS], answers)),
    )


def _overall(table: pl.DataFrame, share: str) -> float | None:
    """A share of a row's answers, over all rows."""
    answers = table["answers"].sum()
    return float((table[share] * table["answers"]).sum()) / int(answers) if answers else None


def _facts(manifest: Mapping[str, Any], plan: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    prices = _object(manifest.get("prices"))
    cassettes = [_object(cassette) for cassette in manifest.get("cassettes") or []]
    cells = [_object(cell) for cell in manifest.get("cells") or []]
    virtual_s = [float(cell["virtual_s"]) for cell in cells if cell.get("virtual_s") is not None]
    wall_s = [float(cell["wall_s"]) for cell in cells if cell.get("wall_s") is not None]
    clock = str(manifest.get("clock") or UNKNOWN)
    if virtual_s and wall_s:
        clock += f": {_hours(sum(virtual_s))} of traffic replayed in {_hours(sum(wall_s))}"
    facts = [
        ("run", f"{short(manifest.get('run_id'))}, {manifest.get('created_at') or UNKNOWN}"),
        ("plan", f"{plan.get('path') or UNKNOWN} ({short(plan.get('hash'))})"),
        ("workload", str(manifest.get("workload") or UNKNOWN)),
        ("seeds", seed_text(manifest.get("seeds") or [])),
        ("clock", clock),
        ("matching", str(manifest.get("matching") or UNKNOWN).replace("_", " ")),
        *(("cassette", _cassette(cassette)) for cassette in cassettes),
        ("prices", f"{', '.join(map(str, prices.get('sources') or [])) or UNKNOWN} ({short(prices.get('hash'))})"),
        ("digest", short(manifest.get("digest"), 16)),
        ("versions", ", ".join(f"{name} {version}" for name, version in _object(manifest.get("versions")).items())),
    ]
    return tuple((name, text) for name, text in facts if text)


def _cassette(cassette: Mapping[str, Any]) -> str:
    sizes = [f"{count(cassette[name])} {name}" for name in ("files", "interactions") if name in cassette]
    return f"{cassette.get('path') or UNKNOWN} ({short(cassette.get('hash'))}){', ' if sizes else ''}{', '.join(sizes)}"


def _warnings(run: RunFolder, table: pl.DataFrame) -> list[str]:
    answers = int(table["answers"].sum() or 0)
    found = []
    for kind, meaning in _WHAT_IT_MEANS.items():
        if share := _overall(table, f"match_{kind}"):
            found.append(f"Answers are {percent(share, answers)} % {meaning}.")
    untimed = [kind for kind in TIMINGS if kind not in ("recorded", "live")]
    shares = [(kind, _overall(table, f"timing_{kind}")) for kind in untimed]
    if without := sum(share or 0.0 for _, share in shares):
        found.append(f"The times of {percent(without, answers)} % of the answers are derived: {mix(shares, answers)}.")
    if unanswered := int(table["unanswered"].sum() or 0):
        found.append(
            f"{count(unanswered)} of {count(answers + unanswered)} attempts got no reply: nothing was recorded, "
            "or the offer's dialect could not say the request."
        )
    for row in table.iter_rows(named=True):
        known = row["cost_known_share"]
        if known is not None and known < 1:
            unknown = percent(1 - known, row["requests"])
            found.append(
                f"{row['strategy']}: the cost of {unknown} % of the requests is unknown and in no cost figure."
            )
        if row["one_interaction"]:
            top = percent(row["top_interaction_share"], row["answers"])
            found.append(
                f"{row['strategy']}: one recorded interaction, {row['top_interaction']}, gives {top} % of its answers "
                f"(more than {100 * TOP_INTERACTION_LIMIT:.0f} %)."
            )
    if run.unfinished:
        cells = len(run.unfinished) + len(run.cells)
        found.append(f"{len(run.unfinished)} of {cells} cells did not finish; no figure counts them.")
    if doubt := billing_doubt(run):
        found.append(doubt)
    if table.height and max(table["seeds"].to_list()) < 2:
        found.append("One seed: there are no intervals, and a difference between strategies may be chance.")
    return [*found, *(str(warning) for warning in run.manifest.get("warnings") or [])]


def seed_text(seeds: Sequence[int]) -> str:
    """'1–20 (20)' for a range, else the seeds themselves, at most ten of them."""
    if not seeds:
        return UNKNOWN
    ordered = sorted(seeds)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[0] + len(ordered))):
        return f"{ordered[0]}–{ordered[-1]} ({len(ordered)})"
    shown = ", ".join(map(str, seeds[:10]))
    return shown if len(seeds) <= 10 else f"{shown}, … ({len(seeds)})"


def _hours(seconds: float) -> str:
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} s"


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
