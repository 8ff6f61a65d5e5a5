"""Metrics: the printed formulas, as polars expressions over the columns of `schema.py`.

Records hold facts, and this is the one place where a figure is made of them. Two kinds: figures of a row
(`ttft_s` and its like, over `requests`) and figures of a group (`ok_share` and its like, for `.agg(...)`).
The docstrings are the definitions that a report prints at its foot. Nothing here reads files, and nothing
knows what a strategy is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from inspect import getdoc
from typing import Final

import polars as pl

PICO_PER_USD: Final = 1e12


@dataclass(frozen=True, kw_only=True)
class SLO:
    """What a request must meet to count as good; None states no limit. Seconds, each an inclusive upper bound.

    `ttft_s` and `tpot_s` say nothing of a request that was not streamed, `tpot_s` nothing of an answer of
    fewer than two tokens. A figure that applies and is not known does not meet its limit.
    """

    ttft_s: float | None = None
    e2e_s: float | None = None
    tpot_s: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            limit = getattr(self, field.name)
            if limit is not None and not (math.isfinite(limit) and limit > 0):
                raise ValueError(f"SLO {field.name} must be a finite number of seconds above 0, got {limit!r}")

    def __str__(self) -> str:
        stated = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return ", ".join(f"{name} ≤ {limit:g}" for name, limit in stated if limit is not None) or "no limit"


def is_ok() -> pl.Expr:
    """status = ok: the client was given a whole answer. Never null."""
    return pl.col("status") == "ok"


def ttft_s() -> pl.Expr:
    """t_first_token_s − t_scheduled_s, in seconds. Null: not streamed, or no token came.

    From the scheduled instant, so a queue before the gateway counts (no coordinated omission).
    """
    return pl.when(pl.col("stream")).then(pl.col("t_first_token_s") - pl.col("t_scheduled_s"))


def e2e_s() -> pl.Expr:
    """t_end_s − t_scheduled_s, in seconds. Never null; for a request that failed, the time until it did."""
    return pl.col("t_end_s") - pl.col("t_scheduled_s")


def tpot_s() -> pl.Expr:
    """(t_last_token_s − t_first_token_s) / (output_tokens − 1), in seconds. Null: below 2 tokens, or not streamed.

    The first token is excluded. Same definition as vLLM's serving benchmark; guidellm calls this ITL.
    """
    generated_s = pl.col("t_last_token_s") - pl.col("t_first_token_s")
    return pl.when(pl.col("stream") & (pl.col("output_tokens") >= 2)).then(generated_s / (pl.col("output_tokens") - 1))


def token_rate() -> pl.Expr:
    """1 / TPOT, in output tokens per second after the first. Null: TPOT is null, or 0 (all tokens in one piece)."""
    tpot = tpot_s()
    return pl.when(tpot > 0).then(1 / tpot)


def meets(slo: SLO) -> pl.Expr:
    """status = ok and every stated limit that applies to the request is met. Never null."""
    good = is_ok()
    streamed = pl.col("stream")
    if slo.e2e_s is not None:
        good &= e2e_s() <= slo.e2e_s
    if slo.ttft_s is not None:
        good &= ~streamed | (ttft_s() <= slo.ttft_s).fill_null(False)
    if slo.tpot_s is not None:
        applies = streamed & (pl.col("output_tokens") >= 2).fill_null(True)
        good &= ~applies | (tpot_s() <= slo.tpot_s).fill_null(False)
    return good


def ok_share() -> pl.Expr:
    """requests with status ok / requests, 0 to 1. Null: no requests."""
    return is_ok().mean()


def slo_share(slo: SLO) -> pl.Expr:
    """requests that are ok and meet every stated limit / requests, 0 to 1. Null: no requests."""
    return meets(slo).mean()


def span_s() -> pl.Expr:
    """max(t_end_s) − min(t_scheduled_s) of a cell, in seconds: what goodput divides by. Null: no requests."""
    return pl.col("t_end_s").max() - pl.col("t_scheduled_s").min()


def goodput_per_s(good: pl.Expr, span: pl.Expr) -> pl.Expr:
    """requests that are ok and meet every stated limit / span of their cells, per second. Null: the span is 0."""
    return pl.when(span > 0).then(good / span)


def attempts_per_request() -> pl.Expr:
    """upstream calls / requests; rejected requests without a call count as 0. Null: no requests."""
    return pl.col("attempts").mean()


def cost_known_share() -> pl.Expr:
    """requests whose upstream cost is known / requests, 0 to 1. Null: no requests."""
    return pl.col("cost_pico_usd").is_not_null().mean()


def cost_per_1000_usd() -> pl.Expr:
    """1,000 × upstream cost of all attempts / requests, in USD, over requests of known cost. Null: none is known.

    Failed and rejected requests count, on both sides. The sum is made of whole pico-USD in 128 bits, as
    64 bits end at 9.2 million USD; the one division is the last step.
    """
    cost = pl.col("cost_pico_usd")
    return pl.when(cost.count() > 0).then(1000 * _sum_usd(cost) / cost.count())


def cost_per_million_output_tokens_usd() -> pl.Expr:
    """1,000,000 × upstream cost / output tokens, in USD, where both are known. Null: no token was counted.

    A request that is not ok and has no token count adds its cost and no tokens: what failed has to be paid by
    what came. An ok request without a token count is left out on both sides.
    """
    counted = pl.col("output_tokens").is_not_null() | (pl.col("status") != "ok")
    both = counted & pl.col("cost_pico_usd").is_not_null()
    tokens = pl.when(both).then(pl.col("output_tokens")).sum()
    cost = _sum_usd(pl.when(both).then(pl.col("cost_pico_usd")))
    return pl.when(tokens > 0).then(1_000_000 * cost / tokens)


def _sum_usd(pico: pl.Expr) -> pl.Expr:
    return pico.cast(pl.Int128).sum().cast(pl.Float64) / PICO_PER_USD


def quantile(values: pl.Expr, p: float) -> pl.Expr:
    """The value below which the share p of the figures lies, linear between neighbours. Null: there are none.

    The quantile of numpy's and DuckDB's default: position p × (n − 1) among the sorted figures.
    """
    return values.quantile(p, interpolation="linear")


QUANTILES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

_PRINTED: Final[dict[str, Callable[..., pl.Expr]]] = {
    "TTFT": ttft_s,
    "E2E": e2e_s,
    "TPOT": tpot_s,
    "token rate": token_rate,
    "ok share": ok_share,
    "cost per 1,000 requests": cost_per_1000_usd,
    "cost per million output tokens": cost_per_million_output_tokens_usd,
    "cost known": cost_known_share,
    "attempts per request": attempts_per_request,
    "p50, p95, p99": quantile,
    "SLO share": slo_share,
    "goodput": goodput_per_s,
}


def definitions() -> dict[str, str]:
    """Name of a metric → its definition, for the foot of a report: the docstrings of this module, on one line."""
    return {name: " ".join((getdoc(metric) or "").split()) for name, metric in _PRINTED.items()}
