"""Intervals: what several seeds say about a figure, and about the difference between two strategies.

Closed forms only, so no chance is needed: Student's t over the per-seed figures. All strategies of a run
see the same arrivals and the same draws (common random numbers), hence differences are taken seed by seed
and their interval is usually far narrower than those of the two figures. Knows frames of figures, one row a seed;
not where the figures come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import cos, pi, sin, sqrt, tan

import polars as pl

LEVEL = 0.95


@lru_cache(maxsize=1024)
def t_quantile(level: float, degrees: int) -> float:
    """Half-width, in standard errors, of the two-sided interval of `level` for Student's t; about 12 digits.

    The distribution function has a finite closed form for whole degrees of freedom (Abramowitz & Stegun,
    26.7.3 and 26.7.4); it is inverted by bisection over the angle atan(t / sqrt(degrees)). Raises ValueError.
    """
    if not 0 < level < 1 or degrees < 1:
        raise ValueError(f"a level in (0, 1) and at least 1 degree of freedom are needed, got {level!r}, {degrees!r}")
    low, high = 0.0, pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _within(middle, degrees) < level:
            low = middle
        else:
            high = middle
    return sqrt(degrees) * tan((low + high) / 2)


def _within(angle: float, degrees: int) -> float:
    """Probability that |t| is below sqrt(degrees) × tan(angle)."""
    square = cos(angle) ** 2
    if degrees % 2:
        term, total = cos(angle), 0.0
        for step in range(1, (degrees - 1) // 2 + 1):
            total += term
            term *= square * (2 * step) / (2 * step + 1)
        return 2 / pi * (angle + sin(angle) * total)
    term, total = 1.0, 0.0
    for step in range(1, degrees // 2 + 1):
        total += term
        term *= square * (2 * step - 1) / (2 * step)
    return sin(angle) * total


def half_width(values: Sequence[float | None], level: float = LEVEL) -> float | None:
    """Half the width of the t interval for the mean, in the unit of the values; nulls are left out.

    None below two values: one seed says nothing about its spread.
    """
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    mean = sum(known) / len(known)
    variance = sum((value - mean) ** 2 for value in known) / (len(known) - 1)
    return t_quantile(level, len(known) - 1) * sqrt(variance / len(known))


def over_seeds(
    figures: pl.DataFrame, columns: Sequence[str], *, by: Sequence[str] = ("strategy",), level: float = LEVEL
) -> pl.DataFrame:
    """Per group the mean over seeds of each column, and `<column>_half_width` of its t interval.

    `figures` has one row a group and seed. Seeds where a figure is null are left out of it; a half-width is
    null below two seeds. Groups keep their first order.
    """
    t_by_count = _t_by_count(figures, level)
    means = [pl.col(name).mean() for name in columns]
    widths = [_half_width(pl.col(name), t_by_count).alias(f"{name}_half_width") for name in columns]
    return figures.group_by(by, maintain_order=True).agg(*means, *widths)


def paired(
    figures: pl.DataFrame, columns: Sequence[str], *, baseline: str, by: str = "strategy", level: float = LEVEL
) -> pl.DataFrame:
    """Differences to a baseline, taken seed by seed: one row a strategy (not the baseline) and figure.

    Columns: `by`, `figure`, `seeds` (pairs in which both are known), `baseline` and `difference` (means over
    those pairs; difference = strategy − baseline, in the figure's unit), `low` and `high` (t interval of the
    difference; null below two pairs). `figures` has one row a strategy and seed. Raises ValueError where the
    baseline is not among the strategies.
    """
    known = figures[by].unique(maintain_order=True).to_list()
    if baseline not in known:
        raise ValueError(f"{by} {baseline!r} is not in this run; known: {', '.join(map(repr, known))}")
    t_by_count = _t_by_count(figures, level)
    long = figures.unpivot(list(columns), index=[by, "seed"], variable_name="figure", value_name="value")
    base = long.filter(pl.col(by) == baseline).select("seed", "figure", baseline="value")
    pairs = (
        long.filter(pl.col(by) != baseline)
        .join(base, on=["seed", "figure"], how="left", maintain_order="left")
        .with_columns(
            both=pl.col("value").is_not_null() & pl.col("baseline").is_not_null(),
            difference=pl.col("value") - pl.col("baseline"),
        )
    )
    width = _half_width(pl.col("difference"), t_by_count)
    return (
        pairs.group_by([by, "figure"], maintain_order=True)
        .agg(
            seeds=pl.col("both").sum().cast(pl.Int64),
            baseline=pl.col("baseline").filter("both").mean(),
            difference=pl.col("difference").mean(),
            low=pl.col("difference").mean() - width,
            high=pl.col("difference").mean() + width,
        )
        .sort(
            pl.col(by).replace_strict(known, range(len(known)), return_dtype=pl.Int64),
            pl.col("figure").replace_strict(list(columns), range(len(columns)), return_dtype=pl.Int64),
        )
    )


def _t_by_count(figures: pl.DataFrame, level: float) -> dict[int, float]:
    """Number of seeds → half-width in standard errors, for every number that can occur."""
    return {n: t_quantile(level, n - 1) for n in range(2, figures["seed"].n_unique() + 1)}


def _half_width(values: pl.Expr, t_by_count: dict[int, float]) -> pl.Expr:
    count = values.count()
    standard_error = values.std() / count.cast(pl.Float64).sqrt()
    t = count.replace_strict(list(t_by_count), list(t_by_count.values()), default=None, return_dtype=pl.Float64)
    return t * standard_error
