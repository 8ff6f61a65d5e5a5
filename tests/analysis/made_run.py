"""Run folders made up for tests: the layout and columns of real ones, figures from a keyed stream.

Two strategies or eight, a few offers with speeds and prices of their own, now and then a failure and a fallback,
some answers that are nearest or synthetic. Nothing here comes from a recording.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from clawbench.rng import Draws, draws
from clawbench.schema import SCHEMA_VERSION, polars_schema

Row = dict[str, Any]

OFFERS = {
    # offer: median TTFT in s, tokens per second, pico-USD per output token, share of calls that fail
    "swift/llama-3.1-8b": (0.18, 420.0, 80_000, 0.02),
    "plain/llama-3.1-8b": (0.42, 110.0, 50_000, 0.01),
    "thrift/llama-3.1-8b": (0.95, 60.0, 20_000, 0.04),
    "steady/llama-3.1-8b": (0.50, 90.0, 60_000, 0.002),
    "north/llama-3.1-8b": (0.35, 150.0, 65_000, 0.03),
}
FAILURES = ("rate_limited", "upstream_5xx", "timeout_first", "reset_mid")


def frame(table: str, rows: Sequence[Row]) -> pl.DataFrame:
    """A table under its declared schema; columns that a row leaves out are null (lists: empty)."""
    schema = polars_schema(table)
    blank: Row = {name: [] if isinstance(dtype, pl.List) else None for name, dtype in schema.items()}
    return pl.DataFrame([{**blank, **row} for row in rows], schema=schema)


def request(request_id: str = "c-000000", **facts: Any) -> Row:
    """One request, streamed and ok unless told otherwise: scheduled at 0, first token at 0.5 s, end at 2 s."""
    base: Row = {
        "run_id": "r",
        "request_id": request_id,
        "seed": 1,
        "strategy": "price",
        "workload": "poisson",
        "surface": "chat",
        "model_requested": "llama-3.1-8b",
        "account": "a",
        "stream": True,
        "t_scheduled_s": 0.0,
        "t_arrival_s": 0.0,
        "t_first_token_s": 0.5,
        "t_last_token_s": 2.0,
        "t_end_s": 2.0,
        "status": "ok",
        "attempts": 1,
        "offer_id": "plain/llama-3.1-8b",
        "input_tokens": 100,
        "output_tokens": 16,
        "usage_source": "provider",
        "cost_pico_usd": 1_000_000,
    }
    return {**base, **facts}


def attempt(request_id: str = "c-000000", number: int = 0, **facts: Any) -> Row:
    """One attempt, ok and exactly replayed unless told otherwise."""
    base: Row = {
        "request_id": request_id,
        "attempt": number,
        "offer_id": "plain/llama-3.1-8b",
        "cause": "first",
        "t_dispatch_s": 0.0,
        "t_headers_s": 0.3,
        "t_first_token_s": 0.5,
        "t_last_token_s": 2.0,
        "t_end_s": 2.0,
        "outcome": "ok",
        "http_status": 200,
        "match": "exact",
        "timing": "recorded",
        "interaction": "plain.yaml#0",
        "cost_pico_usd": 1_000_000,
        "chunks": 16,
    }
    return {**base, **facts}


def made_cell(cell: str, strategy: str, seed: int, requests: int, offers: dict[str, Any]) -> dict[str, list[Row]]:
    """Rows of one cell: Poisson arrivals at 4 requests a second, one in six not streamed."""
    rows: dict[str, list[Row]] = {"requests": [], "attempts": [], "decisions": []}
    at_s = 0.0
    for number in range(requests):
        request_id = f"{cell}-{number:06d}"
        luck = draws(seed, f"{number}", "made")
        at_s += 0.25 * luck.lognormal(0.6, 1.0)
        _made_request(rows, luck, request_id, strategy, seed, at_s, offers)
    return rows


def _made_request(
    rows: dict[str, list[Row]], luck: Draws, request_id: str, strategy: str, seed: int, at_s: float, offers: Row
) -> None:
    stream = luck.random() > 1 / 6
    output_tokens = max(1, int(luck.lognormal(120, 0.7)))
    speed, price_of = (0.0 if strategy.startswith("price") and "@" not in strategy else 1.0), "price" in strategy
    names = sorted(offers, key=lambda name: offers[name][0] ** speed * (offers[name][2] if price_of else 1))
    if strategy.startswith("random"):
        names = sorted(names, key=lambda name: (luck.random(), name))
    t_s, cost = at_s + 0.001, 0
    for number, offer in enumerate(names[:2]):
        if luck.random() < 0.12 and number + 1 < len(names):
            offer = names[(number + 1 + int(at_s / 60)) % len(names)]
        rows["decisions"].append(_decision(request_id, number, strategy, t_s, names, offers, offer))
        storm = 40 < at_s < 55 and number == 0
        facts = _made_attempt(luck, offers[offer], t_s, stream, output_tokens, storm=storm)
        cause = "fallback" if number else "first"
        interaction = None if facts["match"] == "synthetic" else f"{offer.split('/')[0]}.yaml#{luck.below(40)}"
        rows["attempts"].append(
            attempt(request_id, number, **facts, offer_id=offer, cause=cause, interaction=interaction)
        )
        cost += facts["cost_pico_usd"]
        if facts["outcome"] == "ok":
            break
        t_s = facts["t_end_s"] + 0.05
    rows["requests"].append(_outcome(luck, rows["attempts"][-1], request_id, strategy, seed, at_s, stream, cost))


def _decision(
    request_id: str, number: int, strategy: str, t_s: float, names: list[str], offers: Row, chosen: str
) -> Row:
    return {
        "request_id": request_id,
        "attempt": number,
        "strategy": strategy,
        "t_s": t_s,
        "candidates": names,
        "scores": [float(offers[name][0]) for name in names],
        "excluded": [{"offer_id": "down/llama-3.1-8b", "reason": "breaker open"}] if number else [],
        "chosen": chosen,
        "propensity": 1.0,
        "in_flight": [0 for _ in names],
    }


def _made_attempt(
    luck: Draws, offer: tuple[float, float, int, float], t_s: float, stream: bool, output_tokens: int, *, storm: bool
) -> Row:
    ttft_s, rate, price, failing = offer
    first_s = t_s + luck.lognormal(ttft_s, 0.45)
    last_s = first_s + (output_tokens - 1) / luck.lognormal(rate, 0.2)
    failed = luck.random() < (0.6 if storm else failing)
    draw = luck.random()
    match = "exact" if draw < 0.8 else "nearest" if draw < 0.95 else "synthetic"
    return {
        "t_dispatch_s": t_s,
        "t_headers_s": first_s,
        "t_first_token_s": first_s if stream and not failed else None,
        "t_last_token_s": last_s if stream and not failed else None,
        "t_end_s": first_s if failed else last_s + 0.01,
        "outcome": FAILURES[luck.below(4)] if failed else "ok",
        "match": match,
        "timing": "profile" if match == "synthetic" else "recorded" if draw < 0.7 else "header",
        "output_tokens": None if failed else output_tokens,
        "cost_pico_usd": 0 if failed else output_tokens * price,
    }


def _outcome(
    luck: Draws, last: Row, request_id: str, strategy: str, seed: int, at_s: float, stream: bool, cost: int
) -> Row:
    ok = last["outcome"] == "ok"
    status = "ok" if ok else "cancelled" if luck.random() < 0.3 else "failed"
    served = {name: last[name] for name in ("t_first_token_s", "t_last_token_s", "t_end_s", "output_tokens")}
    return request(
        request_id,
        run_id="made",
        seed=seed,
        strategy=strategy,
        stream=stream,
        t_scheduled_s=at_s,
        t_arrival_s=at_s + 0.001,
        status=status,
        error_kind=None if ok else "client_abort" if status == "cancelled" else "upstream_error",
        attempts=last["attempt"] + 1,
        offer_id=last["offer_id"] if ok else None,
        model="llama-3.1-8b" if ok else None,
        provider=last["offer_id"].split("/")[0] if ok else None,
        cost_pico_usd=cost,
        **served,
    )


def write_parts(cell: Path, table: str, rows: pl.DataFrame, parts: int = 1) -> None:
    """A table in so many parts, as the recorder writes them."""
    size = max(1, -(-rows.height // parts))
    for number in range(parts):
        rows.slice(number * size, size).write_parquet(cell / f"{table}-{number:05d}.parquet")


def manifest(strategies: Sequence[str], seeds: Sequence[int], cells: Sequence[Row], **facts: Any) -> Row:
    """A manifest with every key that the runner writes."""
    base: Row = {
        "run_id": "3fa1c09e77d2b85e60aa4b17",
        "schema_version": SCHEMA_VERSION,
        "plan": {"name": "price-or-latency", "path": "configs/plan.toml", "hash": "a91bd0c4e1f2"},
        "seeds": list(seeds),
        "strategies": list(strategies),
        "workload": "poisson",
        "clock": "virtual",
        "created_at": "2026-02-03T10:20:30+00:00",
        "matching": "exact_then_nearest",
        "cassettes": [
            {"path": "cassettes/llama", "hash": "77aa01f3c2d94b5566", "files": 5, "interactions": 200},
        ],
        "prices": {"hash": "0c33fe1290ab", "sources": ["prices/2026-01.toml"]},
        "versions": {"clawbench": "0.1.0", "python": "3.11.9", "polars": "2.1.0", "msgspec": "0.22.0"},
        "digest": "d0" * 32,
        "warnings": [],
        "cells": list(cells),
    }
    return {**base, **facts}


def write_run(
    folder: Path,
    *,
    strategies: Sequence[str] = ("price", "latency"),
    seeds: Sequence[int] = (1, 2, 3),
    requests: int = 60,
    parts: int = 2,
    offers: dict[str, Any] | None = None,
    **facts: Any,
) -> Path:
    """A whole run folder; the same arguments give the same values."""
    cells = []
    for place, (strategy, seed) in enumerate((strategy, seed) for strategy in strategies for seed in seeds):
        name = f"c{place:03d}"
        cell = folder / "cells" / name
        cell.mkdir(parents=True)
        for table, rows in made_cell(name, strategy, seed, requests, offers or OFFERS).items():
            write_parts(cell, table, frame(table, rows), parts)
        (cell / "done.json").write_text("{}")
        cells.append({"id": name, "strategy": strategy, "seed": seed, "requests": requests, "wall_s": 0.2})
    (folder / "manifest.json").write_text(json.dumps(manifest(strategies, seeds, cells, **facts)))
    return folder
