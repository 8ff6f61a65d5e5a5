"""Plots: a run as pictures, each function a `matplotlib` figure without global state.

Every function takes a run (or frames) as `tables` does. A strategy keeps its colour, dash and shape across
figures of one run. Where a figure cannot be drawn it says why and is drawn empty: a report never breaks on it.
Formulas stand in `metrics.py`; nothing is computed here that a table does not also give, but for binning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from clawbench.analysis import metrics
from clawbench.analysis.frames import RunFolder
from clawbench.analysis.head import strategies_in_order
from clawbench.analysis.labels import placed
from clawbench.analysis.numerals import clipped, count, percent
from clawbench.analysis.palette import (
    FAINT,
    INK,
    MATCH_COLOURS,
    OTHER_COLOUR,
    STATUS_COLOURS,
    TIMING_COLOURS,
    Picture,
    dress,
    empty,
    looks,
    offer_colours,
    plain,
)
from clawbench.analysis.tables import Frame, Source, attempts_by, match_shares, status_shares, summary, timing_shares

_NAME_LENGTH: Final = 26
_OFFERS_SHOWN: Final = 8
_CURVE_POINTS: Final = 400
_BINS: Final = 48


def cost_against_ttft(source: Source, *, quantile: str = "p50") -> Figure:
    """Cost per 1,000 requests over TTFT, a point a strategy: cheaper and faster is lower left.

    `quantile` is p50, p95 or p99. Error bars are 95 % t intervals over seeds, where there are several. Strategies
    without a TTFT or a known cost are named in the corner.
    """
    table = summary(source)
    figure = f"ttft_s_{quantile}"
    order = _order(source, table["strategy"].to_list())
    look = looks(order)
    known = table.filter(pl.col(figure).is_not_null() & pl.col("cost_per_1000_usd").is_not_null())
    if known.is_empty():
        streamed = (table["ttft_requests"].sum() or 0) > 0
        return empty("No upstream cost is known." if streamed else "No TTFT: no streamed request was answered.")
    picture = Picture(height_in=4.8)
    axes = picture.add_subplot()
    rows = {row["strategy"]: row for row in known.iter_rows(named=True)}
    shown = [name for name in order if name in rows]
    for name in shown:
        row = rows[name]
        axes.errorbar(
            row[figure],
            row["cost_per_1000_usd"],
            xerr=row[f"{figure}_half_width"],
            yerr=row["cost_per_1000_usd_half_width"],
            fmt=look[name].shape,
            color=look[name].colour,
            markersize=8,
            elinewidth=1.2,
            capsize=3,
        )
    dress(axes, x=f"TTFT {quantile}, s", y="cost, USD per 1,000 requests")
    _from_zero_or_log(axes, [rows[name] for name in shown], figure)
    points = [(rows[name][figure], rows[name]["cost_per_1000_usd"]) for name in shown]
    for name, (offset, align) in zip(shown, placed(picture, axes, points, [_named(n) for n in shown]), strict=True):
        axes.annotate(
            _named(name),
            (rows[name][figure], rows[name]["cost_per_1000_usd"]),
            xytext=offset,
            textcoords="offset points",
            ha=align,
            va="center",
            fontsize=9,
            color=INK,
            path_effects=[withStroke(linewidth=3, foreground="white")],  # readable across an error bar
        )
    axes.text(0.0, 1.02, "↙ cheaper and faster", transform=axes.transAxes, color=FAINT, fontsize=9)
    if missing := [name for name in order if name not in rows]:
        note = f"not shown, TTFT or cost unknown: {', '.join(map(_named, missing))}"
        axes.text(1.0, 1.02, note, transform=axes.transAxes, ha="right", color=FAINT, fontsize=8)
    return picture


def distributions(source: Source) -> Figure:
    """TTFT and E2E of requests with status ok, as shares of them at or below a time; log scale, a line a strategy.

    TTFT over streamed requests only. Times of 0 or below have no place on a log scale and are drawn at its left end.
    """
    rows = _scan(source, "requests").filter(metrics.is_ok())
    timed = rows.select("strategy", ttft=metrics.ttft_s(), e2e=metrics.e2e_s()).collect()
    if timed.is_empty():
        return empty("No request was answered.")
    order = _order(source, timed["strategy"].unique().to_list())
    look = looks(order)
    picture = Picture(height_in=4.4)
    panels = picture.subplots(1, 2, sharey=True)
    for axes, column, name in zip(panels, ("ttft", "e2e"), ("TTFT", "E2E"), strict=True):
        drawn = False
        for strategy in order:
            values = timed.filter(pl.col("strategy") == strategy)[column].drop_nulls().sort().to_numpy()
            if len(values):
                times, shares = _curve(values)
                style = look[strategy]
                axes.step(times, shares, where="post", color=style.colour, linestyle=style.dash, linewidth=1.7)
                drawn = True
        dress(axes, x=f"{name}, s", y="share of ok requests" if column == "ttft" else "", title=name)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylim(0, 1.02)
        if drawn:
            _log_seconds(axes)
        else:
            axes.text(0.5, 0.5, "nothing was streamed", ha="center", color=FAINT, transform=axes.transAxes)
            axes.set_xticks([])
    handles = [panels[1].plot([], [], color=look[s].colour, linestyle=look[s].dash, linewidth=2)[0] for s in order]
    _legend(picture, handles, [_named(strategy) for strategy in order])
    return picture


def offers_over_time(source: Source, attempts: Frame | None = None) -> Figure:
    """Share of attempts that went to each offer, over the time of the run; one panel a strategy, seeds together.

    The offers called most keep their own colour, the others are drawn together. A time in which nothing was sent
    is blank.
    """
    calls = attempts_by(source, attempts).select("strategy", "offer_id", "t_dispatch_s").collect()
    if calls.is_empty():
        return empty("No attempt was made.")
    order = _order(source, calls["strategy"].unique().to_list())
    ranked = calls.group_by("offer_id").len().sort("len", "offer_id", descending=[True, False])["offer_id"].to_list()
    top = ranked if len(ranked) <= _OFFERS_SHOWN else ranked[: _OFFERS_SHOWN - 1]
    colours = offer_colours(top)
    legend = [(plain(clipped(offer, 34)), colours[offer]) for offer in top]
    if len(top) < len(ranked):
        legend.append((f"{len(ranked) - len(top)} others", OTHER_COLOUR))
    end_s = max(float(calls["t_dispatch_s"].max() or 0.0), 1e-9)  # type: ignore[arg-type]
    edges = np.linspace(0, end_s, min(_BINS, max(4, calls.height // (20 * len(order)))) + 1)
    picture = Picture(height_in=1.0 + 1.25 * len(order))
    panels = np.atleast_1d(picture.subplots(len(order), 1, sharex=True, sharey=True))
    for axes, strategy in zip(panels, order, strict=True):
        of_strategy = calls.filter(pl.col("strategy") == strategy)
        stack = _binned(of_strategy, top, edges)
        shades = [*colours.values(), OTHER_COLOUR]
        base = np.zeros(len(edges) - 1)
        for shares, colour in zip(stack, shades, strict=True):
            axes.stairs(base + shares, edges, baseline=base, fill=True, color=colour, linewidth=0)
            base = base + shares
        dress(axes, title=f"{_named(strategy)}", grid="none")
        axes.set_ylim(0, 1)
        axes.set_xlim(0, end_s)
        axes.set_yticks([0, 0.5, 1])
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    panels[-1].set_xlabel("time of the call, s since the start of the cell", color=INK, fontsize=9.5)
    picture.supylabel("share of attempts", color=INK, fontsize=9.5)
    handles = [panels[0].fill_between([], [], color=colour) for _, colour in legend]
    _legend(picture, handles, [text for text, _ in legend])
    return picture


def status_bars(source: Source) -> Figure:
    """What became of the requests: shares of ok, failed, rejected and cancelled, one bar a strategy."""
    shares = status_shares(source)
    if shares.is_empty():
        return empty("There are no requests.")
    order = _order(source, shares["strategy"].unique().to_list())
    picture = Picture(height_in=1.2 + 0.42 * len(order))
    axes = picture.add_subplot()
    _bars(axes, shares, "status", "requests", order, STATUS_COLOURS)
    dress(axes, x="share of requests", grid="x")
    _legend(picture, *_swatches(shares["status"].to_list(), STATUS_COLOURS))
    return picture


def match_and_timing_bars(source: Source, attempts: Frame | None = None) -> Figure:
    """What the answers rest on: shares of match and of timing among the answered attempts, one bar a strategy."""
    matches, timings = match_shares(source, attempts), timing_shares(source, attempts)
    if matches.is_empty():
        return empty("No attempt was answered.")
    order = _order(source, matches["strategy"].unique().to_list())
    picture = Picture(height_in=1.7 + 0.42 * len(order))
    panels = picture.subplots(1, 2, sharey=True)
    kinds = (("match", matches, MATCH_COLOURS, "answers"), ("timing", timings, TIMING_COLOURS, "times"))
    corners: list[Literal["outside lower left", "outside lower right"]] = ["outside lower left", "outside lower right"]
    for axes, (column, shares, colours, title), corner in zip(panels, kinds, corners, strict=True):
        _bars(axes, shares, column, "answers", order, colours)
        dress(axes, x="share of answers", title=title, grid="x")
        handles, names = _swatches(shares[column].to_list(), colours)
        # Of the picture, not of the panel: only then does the layout keep room for them, however many rows they have.
        picture.legend(
            handles,
            names,
            loc=corner,
            ncols=3,
            title=title,
            frameon=False,
            fontsize=8.5,
            labelcolor=INK,
            handlelength=1.0,
            columnspacing=1.2,
        )
    return picture


def _bars(
    axes: Axes, shares: pl.DataFrame, column: str, counted: str, order: Sequence[str], colours: dict[str, str]
) -> None:
    """Stacked bars of shares, first strategy on top; a piece wide enough carries its percentage."""
    totals = dict(shares.group_by("strategy").agg(pl.col(counted).sum()).iter_rows())
    place = {strategy: number for number, strategy in enumerate(order)}
    left = dict.fromkeys(order, 0.0)
    for row in shares.iter_rows(named=True):
        strategy, share = row["strategy"], row["share"]
        colour = colours.get(row[column], OTHER_COLOUR)
        axes.barh(place[strategy], share, left=left[strategy], height=0.66, color=colour, linewidth=0)
        if share >= 0.07:
            middle = left[strategy] + share / 2
            axes.text(
                middle, place[strategy], f"{percent(share, 100)} %", ha="center", va="center", color="white", fontsize=8
            )
        left[strategy] += share
    labels = [f"{_named(strategy)}\n{count(totals.get(strategy, 0))} {counted}" for strategy in order]
    axes.set_yticks(range(len(order)), labels, fontsize=8.5)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _swatches(found: Sequence[str], colours: dict[str, str]) -> tuple[list[Patch], list[str]]:
    names = [name for name in colours if name in found]
    return [Patch(color=colours[name]) for name in names], names


def _curve(ordered: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Steps of the empirical distribution: the share of values at or below a time; thinned where they are many."""
    places = np.unique(np.linspace(0, len(ordered) - 1, _CURVE_POINTS).round().astype(int))
    times = np.concatenate([ordered[:1], ordered[places]])
    return np.maximum(times, 1e-4), np.concatenate([[0.0], (places + 1) / len(ordered)])


def _binned(calls: pl.DataFrame, top: Sequence[str], edges: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """Share of each top offer, then of all others, in each time bin; 0 in a bin without calls."""
    total, _ = np.histogram(calls["t_dispatch_s"].to_numpy(), edges)
    counts = [
        np.histogram(calls.filter(pl.col("offer_id") == offer)["t_dispatch_s"].to_numpy(), edges)[0] for offer in top
    ]
    rest = total - np.sum(counts, axis=0)
    return [of_offer / np.maximum(total, 1) for of_offer in [*counts, rest]]


def _from_zero_or_log(axes: Axes, rows: Sequence[dict[str, float]], figure: str) -> None:
    """Each axis from zero, or logarithmic where the figures span more than a factor of twenty."""
    for axis, name in (("x", figure), ("y", "cost_per_1000_usd")):
        values = [row[name] for row in rows]
        tops = [row[name] + (row[f"{name}_half_width"] or 0.0) for row in rows]
        if min(values) > 0 and max(values) / min(values) > 20:
            axes.set(**{f"{axis}scale": "log"})
        else:
            axes.set(**{f"{axis}lim": (0, 1.12 * max(*tops, 1e-12))})


def _log_seconds(axes: Axes) -> None:
    """A log axis of times with labels such as 0.2, 1, 5 rather than powers of ten."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    steps = (1.0, 2.0, 5.0) if high / low < 300 else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(10, subs=steps, numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _legend(picture: Figure, handles: Sequence[Artist], names: Sequence[str]) -> None:
    widest = max((len(name) for name in names), default=1)
    columns = max(1, min(len(names), 110 // (widest + 8)))
    picture.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )


def _named(strategy: str) -> str:
    return plain(clipped(strategy, _NAME_LENGTH))


def _order(source: Source, found: Sequence[str]) -> list[str]:
    return strategies_in_order(source, found) if isinstance(source, RunFolder) else sorted(found)


def _scan(source: Source, table: str) -> pl.LazyFrame:
    return source.lazy() if isinstance(source, pl.DataFrame | pl.LazyFrame) else source.scan(table)
