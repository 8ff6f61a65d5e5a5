"""What each fault of a plan did to each strategy: who noticed, how soon, what it cost, and how soon all was well again.

A fault's window is the time in which it is in force; it is compared with the quiet time just before it, at most as long
and not reaching back into another fault. Requests belong to the window in which they were meant, attempts and decisions
to that of their request.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from clawbench.analysis.frames import RunFolder
from clawbench.config.plan import Plan
from clawbench.errors import UsageError
from clawbench.faults.kinds import AnyFault

RESTING = "resting until"


def fault_figures(folder: RunFolder, plan: Plan) -> pl.DataFrame:
    """One row a strategy, seed and fault of a run of this plan, faults in the plan's order.

    `requests`, `ok_share`, `unexplained` (failed without an error code), `struck` (attempts that the fault struck),
    `retries_per_request` (the same offer again), `fallbacks_per_request`, `wasted_usd` (upstream cost of attempts that
    failed), `ttft_s_p95` and `added_ttft_s_p95` (against the quiet time before, streamed and ok), `notice_s` (from the
    beginning to the first decision that let the offer rest that was struck most; null: none did), `return_s` (from the
    end to the first dispatch to a struck offer that was answered; null: none was).

    Raises `UsageError` for a run of another plan, or a plan without faults.
    """
    if folder.manifest.get("run_id") != plan.run_id:
        raise UsageError(f"{folder.path} is no run of {plan.path} as it stands; give the plan it was run by")
    if plan.faults is None:
        raise UsageError(f"{plan.path} has no [[faults]]")
    requests = folder.requests()
    when = requests.select("request_id", "strategy", "seed", t_s="t_scheduled_s")
    attempts = folder.attempts().join(when, on="request_id", how="inner")
    decisions = folder.decisions().select("request_id", "excluded", decided_s="t_s").join(when, on="request_id")
    cells = requests.select("strategy", "seed").unique(maintain_order=True)
    return pl.concat(
        [
            cells.join(
                _of_fault(fault, _quiet_s(fault, plan.faults.faults), requests, attempts, decisions),
                on=["strategy", "seed"],
                how="left",
            ).select(
                "strategy", "seed", pl.lit(f"{number} {fault.name}").alias("fault"), pl.exclude("strategy", "seed")
            )
            for number, fault in enumerate(plan.faults.faults, start=1)
        ]
    )


def _quiet_s(fault: AnyFault, faults: Sequence[AnyFault]) -> float:
    """When the quiet time before a fault begins."""
    ended_s = (other.until_s for other in faults if other.until_s <= fault.from_s)
    return max(2 * fault.from_s - fault.until_s, max(ended_s, default=0.0))


def _of_fault(
    fault: AnyFault, quiet_s: float, requests: pl.DataFrame, attempts: pl.DataFrame, decisions: pl.DataFrame
) -> pl.DataFrame:
    cell = ["strategy", "seed"]
    ok, seen_s = pl.col("status") == "ok", pl.col("t_first_token_s") - pl.col("t_scheduled_s")
    during = _within(requests, "t_scheduled_s", fault.from_s, fault.until_s)
    before = _within(requests, "t_scheduled_s", quiet_s, fault.from_s)
    figures = during.group_by(cell).agg(
        pl.len().alias("requests"),
        ok.mean().alias("ok_share"),
        (~ok & pl.col("error_kind").is_null()).sum().alias("unexplained"),
        seen_s.filter(ok).quantile(0.95).alias("ttft_s_p95"),
    )
    quiet = before.group_by(cell).agg(seen_s.filter(ok).quantile(0.95).alias("quiet"))
    calls = _within(attempts, "t_s", fault.from_s, fault.until_s).group_by(cell).agg(
        (pl.col("fault") == fault.name).sum().alias("struck"),
        (pl.col("cause") == "retry").sum().alias("retries"),
        (pl.col("cause") == "fallback").sum().alias("fallbacks"),
        (pl.col("cost_pico_usd").filter(pl.col("outcome") != "ok").sum() / 1e12).alias("wasted_usd"),
    )  # fmt: skip
    joined = figures
    for more in (quiet, calls, _noticed(fault, attempts, decisions), _returned(fault, attempts)):
        joined = joined.join(more, on=cell, how="left")
    return joined.select(
        *cell, "requests", "ok_share", "unexplained", "struck",
        (pl.col("retries") / pl.col("requests")).alias("retries_per_request"),
        (pl.col("fallbacks") / pl.col("requests")).alias("fallbacks_per_request"),
        "wasted_usd", "ttft_s_p95", (pl.col("ttft_s_p95") - pl.col("quiet")).alias("added_ttft_s_p95"),
        "notice_s", "return_s",
    )  # fmt: skip


def _noticed(fault: AnyFault, attempts: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    cell = ["strategy", "seed"]
    struck = _within(attempts, "t_dispatch_s", fault.from_s, fault.until_s).filter(pl.col("fault") == fault.name)
    counts = struck.group_by(*cell, "offer_id").len().sort("len", "offer_id", descending=[True, False])
    hit_most = counts.unique(cell, keep="first", maintain_order=True).select(*cell, "offer_id")
    rested = _within(decisions, "decided_s", fault.from_s, fault.until_s).explode("excluded").drop_nulls("excluded")
    rested = rested.unnest("excluded").filter(pl.col("reason").str.starts_with(RESTING))
    mine = rested.join(hit_most, on=[*cell, "offer_id"], how="inner")
    return mine.group_by(cell).agg((pl.col("decided_s").min() - fault.from_s).alias("notice_s"))


def _returned(fault: AnyFault, attempts: pl.DataFrame) -> pl.DataFrame:
    after = attempts.filter((pl.col("t_dispatch_s") >= fault.until_s) & _struck(fault) & (pl.col("outcome") == "ok"))
    return after.group_by("strategy", "seed").agg((pl.col("t_dispatch_s").min() - fault.until_s).alias("return_s"))


def _struck(fault: AnyFault) -> pl.Expr:
    return pl.lit(True) if "*" in fault.offers else pl.col("offer_id").is_in(fault.offers)


def _within(frame: pl.DataFrame, column: str, from_s: float, until_s: float) -> pl.DataFrame:
    return frame.filter((pl.col(column) >= from_s) & (pl.col(column) < until_s))
