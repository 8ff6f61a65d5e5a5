"""Tables: the figures of a run, one row a strategy (or whatever `by` names).

Every function takes a run (anything with `scan`, such as `RunFolder`) or a frame of `requests`, with
`attempts` beside it where a figure needs them; rows that a reader should doubt are marked, never left out.
Formulas stand in `metrics.py`, intervals in `intervals.py`; this module groups, joins and names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from clawbench.analysis import metrics
from clawbench.analysis.frames import Records, RunFolder
from clawbench.analysis.intervals import over_seeds
from clawbench.analysis.metrics import QUANTILES, SLO
from clawbench.schema import MATCHES, STATUSES, TIMINGS, polars_schema

Frame = pl.DataFrame | pl.LazyFrame
Source = Records | Frame

TOP_INTERACTION_LIMIT: Final = 0.2
"""A row is marked where one recorded interaction gives more than this share of its answers."""

_CELL: Final = ("run_id", "strategy", "workload", "fault_plan", "seed")
GROUPABLE: Final = (*_CELL, "surface", "model_requested", "account", "stream", "model", "provider")
"""What `by` may name; for offers see `offers_chosen`."""
_TIMED: Final = ("ttft_s", "e2e_s")
FIGURES: Final = (
    "ok_share",
    "cost_per_1000_usd",
    "cost_per_million_output_tokens_usd",
    *(f"{figure}_{p}" for figure in _TIMED for p in QUANTILES),
    "token_rate_p50",
    "attempts_per_request",
    "cost_known_share",
    "slo_share",
    "goodput_per_s",
)
"""Columns of `per_seed` that are figures: means over seeds in `summary`, to be compared seed by seed."""


def summary(
    source: Source, attempts: Frame | None = None, *, by: str | Sequence[str] = "strategy", slo: SLO | None = None
) -> pl.DataFrame:
    """One row a group, in order of name: how many, how well, at what cost, how fast, and on what evidence.

    A figure (see `FIGURES`) is the mean over seeds of the per-seed figure, and `<figure>_half_width` half of its
    95 % t interval: null with one seed. Counts and shares of provenance are over all seeds together. Quantiles
    are over requests with status ok, TTFT over streamed ones of these: `ttft_requests` of them. `match_*` and
    `timing_*` shares are over answers: attempts that a recording, the emulator or a provider replied to.
    `slo_share` and `goodput_per_s` are null without `slo`. Columns that rest on attempts are null without them.
    `one_interaction` marks rows where `top_interaction_share` is over 20 %.
    """
    keys = _keys(by)
    requests, labelled = _frames(source, attempts, keys)
    figures = per_seed(requests, by=by, slo=slo)
    counts = ["requests", "ttft_requests", "ok_requests"]
    pooled = figures.group_by(keys, maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("seeds"), *(pl.col(name).sum() for name in counts)
    )
    means = over_seeds(figures, FIGURES, by=keys)
    used, answers = pl.collect_all([_offers_used(requests, keys), _answers(labelled, keys)])
    table = pooled
    for part in (means, used, _provenance(answers, keys)):
        table = table.join(part, on=keys, how="left", nulls_equal=True, maintain_order="left")
    widths = [f"{name}_half_width" for name in FIGURES]
    rest = [name for name in table.columns if name not in widths]
    return table.select(*rest, *widths).sort(keys)


def per_seed(requests: Frame, *, by: str | Sequence[str] = "strategy", slo: SLO | None = None) -> pl.DataFrame:
    """`FIGURES` and counts, one row a group and seed: what intervals and paired differences are made of."""
    keys = _keys(by)
    unit = keys if "seed" in keys else [*keys, "seed"]
    rows = requests.lazy()
    ok = metrics.is_ok()
    timed = {"ttft_s": metrics.ttft_s(), "e2e_s": metrics.e2e_s(), "token_rate": metrics.token_rate()}
    needed = {*unit, "status", "cost_pico_usd", "output_tokens", "attempts"}
    grouped = (
        rows.select(
            *sorted(needed),
            *(pl.when(ok).then(figure).alias(name) for name, figure in timed.items()),
            good=metrics.meets(slo) if slo else pl.lit(None, dtype=pl.Boolean),
        )
        .group_by(unit)
        .agg(
            pl.len().cast(pl.Int64).alias("requests"),
            ok.sum().cast(pl.Int64).alias("ok_requests"),
            pl.col("ttft_s").count().cast(pl.Int64).alias("ttft_requests"),
            metrics.ok_share().alias("ok_share"),
            metrics.cost_per_1000_usd().alias("cost_per_1000_usd"),
            metrics.cost_per_million_output_tokens_usd().alias("cost_per_million_output_tokens_usd"),
            metrics.attempts_per_request().alias("attempts_per_request"),
            metrics.cost_known_share().alias("cost_known_share"),
            *(
                metrics.quantile(pl.col(figure), p).alias(f"{figure}_{name}")
                for figure in _TIMED
                for name, p in QUANTILES.items()
            ),
            metrics.quantile(pl.col("token_rate"), 0.5).alias("token_rate_p50"),
            slo_share=pl.col("good").mean(),
            good=pl.col("good").sum(),
        )
    )
    if slo:
        # A group may be a part of its cells (one model of many) or several cells: divide by all of their time.
        shared = [name for name in unit if name in _CELL]
        cells = rows.group_by(_CELL).agg(span=metrics.span_s())
        grouped = grouped.join(cells.group_by(shared).agg(pl.col("span").sum()), on=shared, nulls_equal=True)
        goodput = metrics.goodput_per_s(pl.col("good"), pl.col("span"))
    else:
        goodput = pl.lit(None, dtype=pl.Float64)
    order = ["requests", "ok_requests", "ttft_requests", *FIGURES]
    return grouped.with_columns(goodput_per_s=goodput).select(*unit, *order).sort(unit).collect()


def status_shares(source: Source, *, by: str | Sequence[str] = "strategy") -> pl.DataFrame:
    """One row a group and status that occurs: `requests` and `share` of the group's requests."""
    return _shares(_requests(source), _keys(by), "status", "requests", STATUSES)


def error_shares(source: Source, *, by: str | Sequence[str] = "strategy") -> pl.DataFrame:
    """One row a group and error kind: `requests` and `share` among the requests that are not ok."""
    failed = _requests(source).filter(~metrics.is_ok())
    return _shares(failed, _keys(by), "error_kind", "requests", ())


def outcome_shares(
    source: Source, attempts: Frame | None = None, *, by: str | Sequence[str] = "strategy"
) -> pl.DataFrame:
    """One row a group and outcome of an attempt: `attempts` and `share` of the group's attempts."""
    return _shares(attempts_by(source, attempts, by), _keys(by), "outcome", "attempts", ("ok",))


def match_shares(
    source: Source, attempts: Frame | None = None, *, by: str | Sequence[str] = "strategy"
) -> pl.DataFrame:
    """One row a group and match (exact, nearest, synthetic, live): `answers` and `share` of the group's answers."""
    answered = attempts_by(source, attempts, by).filter(pl.col("match").is_not_null())
    return _shares(answered, _keys(by), "match", "answers", MATCHES)


def timing_shares(
    source: Source, attempts: Frame | None = None, *, by: str | Sequence[str] = "strategy"
) -> pl.DataFrame:
    """One row a group and timing (recorded, header, body, …): `answers` and `share` of the group's answers."""
    answered = attempts_by(source, attempts, by).filter(pl.col("timing").is_not_null())
    return _shares(answered, _keys(by), "timing", "answers", TIMINGS)


def offers_chosen(
    source: Source, attempts: Frame | None = None, *, by: str | Sequence[str] = "strategy"
) -> pl.DataFrame:
    """One row a group and offer, most called first within a group.

    `attempts`: calls to it; `share`: of the group's calls; `ok_share`: of its calls, those with outcome ok;
    `ttft_s_p50`: median of t_first_token_s − t_dispatch_s over its streamed ok calls, null where there are none;
    `cost_usd`: sum over its calls of known cost, null where none is known.
    """
    keys = _keys(by)
    ok = pl.col("outcome") == "ok"
    cost = pl.col("cost_pico_usd")
    called = (
        attempts_by(source, attempts, by)
        .group_by(*keys, "offer_id")
        .agg(
            pl.len().cast(pl.Int64).alias("attempts"),
            ok.mean().alias("ok_share"),
            metrics.quantile((pl.col("t_first_token_s") - pl.col("t_dispatch_s")).filter(ok), 0.5).alias("ttft_s_p50"),
            pl.when(cost.count() > 0)
            .then(cost.cast(pl.Int128).sum().cast(pl.Float64) / metrics.PICO_PER_USD)
            .alias("cost_usd"),
        )
    )
    share = (pl.col("attempts") / pl.col("attempts").sum().over(keys)).alias("share")
    order = [*keys, "offer_id", "attempts", "share", "ok_share", "ttft_s_p50", "cost_usd"]
    ranked = called.with_columns(share).select(order)
    return ranked.sort(*keys, "attempts", "offer_id", descending=[*[False] * len(keys), True, False]).collect()


def _shares(rows: pl.LazyFrame, keys: list[str], column: str, counted: str, known: Sequence[str]) -> pl.DataFrame:
    """Counts and shares of a column's values per group, known values in declared order and others behind them."""
    counts = rows.group_by(*keys, column).agg(pl.len().cast(pl.Int64).alias(counted)).collect()
    rank = {value: place for place, value in enumerate(known)}
    place = pl.col(column).replace_strict(rank, default=len(known), return_dtype=pl.Int64)
    share = (pl.col(counted) / pl.col(counted).sum().over(keys)).alias("share")
    return counts.with_columns(share).sort(*keys, place, column)


def _offers_used(requests: pl.LazyFrame, keys: list[str]) -> pl.LazyFrame:
    """Per group: how many offers served a request, the one that served most (by name at a tie), and its share."""
    served = requests.filter(pl.col("offer_id").is_not_null()).group_by(*keys, "offer_id").agg(served=pl.len())
    return (
        served.sort("served", "offer_id", descending=[True, False])
        .group_by(keys, maintain_order=True)
        .agg(
            offers_used=pl.len().cast(pl.Int64),
            top_offer=pl.col("offer_id").first(),
            top_offer_share=pl.col("served").first() / pl.col("served").sum(),
        )
    )


def _answers(attempts: pl.LazyFrame | None, keys: list[str]) -> pl.LazyFrame:
    """Attempts counted by group, match, timing and interaction: small, and all of provenance is in it.

    Without those that got no reply because a fault plan says so: nothing is missing there.
    """
    facts = ["match", "timing", "interaction"]
    if attempts is None:
        requests, declared = polars_schema("requests"), polars_schema("attempts")
        types = {**{key: requests[key] for key in keys}, **{fact: declared[fact] for fact in facts}}
        return pl.LazyFrame(schema={**types, "n": pl.Int64()})
    meant = pl.col("fault").is_not_null() & pl.col("match").is_null()
    return attempts.filter(~meant).group_by(*keys, *facts).agg(n=pl.len().cast(pl.Int64))


def _provenance(counts: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Per group: shares of match and timing among the answers, attempts without one, and the top interaction."""
    n, answered = pl.col("n"), pl.col("match").is_not_null()
    answers = n.filter(answered).sum()
    per_interaction = (
        counts.filter(pl.col("interaction").is_not_null())
        .group_by(*keys, "interaction")
        .agg(n.sum())
        .sort("n", "interaction", descending=[True, False])
        .group_by(keys, maintain_order=True)
        .agg(top_interaction=pl.col("interaction").first(), top=n.first())
    )
    shares = counts.group_by(keys, maintain_order=True).agg(
        answers=answers,
        unanswered=n.filter(~answered).sum(),
        **{f"match_{kind}": n.filter(pl.col("match") == kind).sum() / answers for kind in MATCHES},
        **{f"timing_{kind}": n.filter(answered & (pl.col("timing") == kind)).sum() / answers for kind in TIMINGS},
    )
    share = pl.col("top") / pl.col("answers")
    return (
        shares.with_columns(pl.col("^(match|timing)_.*$").fill_nan(None))
        .join(per_interaction, on=keys, how="left", nulls_equal=True)
        .with_columns(top_interaction_share=share, one_interaction=(share > TOP_INTERACTION_LIMIT).fill_null(False))
        .drop("top")
    )


def _keys(by: str | Sequence[str]) -> list[str]:
    keys = [by] if isinstance(by, str) else list(by)
    if not keys or not {*keys} <= {*GROUPABLE}:
        raise ValueError(f"by={by!r}: rows can be grouped by {', '.join(GROUPABLE)}")
    return keys


def _requests(source: Source) -> pl.LazyFrame:
    return source.lazy() if isinstance(source, pl.DataFrame | pl.LazyFrame) else source.scan("requests")


def attempts_by(source: Source, attempts: Frame | None = None, by: str | Sequence[str] = "strategy") -> pl.LazyFrame:
    """Attempts, lazily, with the columns that `by` names; raises ValueError where the source has no attempts."""
    labelled = _frames(source, attempts, _keys(by))[1]
    if labelled is None:
        raise ValueError("this table rests on attempts: give them beside the requests, or give a run")
    return labelled


def _frames(source: Source, attempts: Frame | None, keys: list[str]) -> tuple[pl.LazyFrame, pl.LazyFrame | None]:
    """Requests, and attempts with the group's columns: by their cell where that suffices, else by their request."""
    requests = _requests(source)
    if attempts is None and isinstance(source, RunFolder) and {*keys} <= {"seed", "strategy"}:
        return requests, source.scan("attempts", with_cell=True)
    if attempts is None and not isinstance(source, pl.DataFrame | pl.LazyFrame):
        attempts = source.scan("attempts")
    if attempts is None:
        return requests, None
    rows = attempts.lazy()
    missing = [key for key in keys if key not in rows.collect_schema().names()]
    if not missing:
        return requests, rows
    return requests, rows.join(requests.select("request_id", *missing), on="request_id", how="left")
