"""THE record schema, version 1: tables, columns, types, units, and what null means.

Facts are recorded, metrics are derived (`analysis/metrics.py`). Instants are seconds since the start of the
cell, by the clock in force; wall time stands once, in the run's manifest. Money is in whole pico units (1e-12).
Null means unknown or not applicable, never zero. This module imports nothing of clawbench.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True)
class Column:
    """A declared column; `null` says what a null means, or is None where the column has none."""

    name: str
    dtype: pl.DataType
    unit: str
    meaning: str
    null: str | None = None


STR, BOOL, INT, FLOAT = pl.String(), pl.Boolean(), pl.Int64(), pl.Float64()
EXCLUDED = pl.List(pl.Struct({"offer_id": pl.String(), "reason": pl.String()}))

STATUSES: Final = ("ok", "failed", "rejected", "cancelled")
CAUSES: Final = ("first", "retry", "fallback", "hedge")
MATCHES: Final = ("exact", "nearest", "synthetic", "live")
TIMINGS: Final = ("recorded", "header", "body", "duration", "profile", "live")
LEDGER_KINDS: Final = (
    "topup",
    "hold",
    "settle",
    "late_settle",
    "release",
    "expire",
    "quarantine",
    "cost",
    "risk",
    "risk_resolved",
    "adjust",
)
USAGE_SOURCES: Final = ("provider", "tokenizer", "estimate")
OUTCOMES: Final = (
    "ok",
    "connect_error",
    "timeout_first",
    "timeout_attempt",
    "timeout_total",
    "timeout_idle",
    "reset_early",
    "reset_mid",
    "truncated",
    "protocol_error",
    "too_large",
    "error_200",
    "error_event",
    "rate_limited",
    "upstream_5xx",
    "auth",
    "rejected",
    "filtered",
    "model_gone",
    "redirect",
    "bad_usage",
    "client_abort",
    "no_recording",
)
"""What became of an attempt. `timeout_attempt`: no whole answer in time, so another offer was asked.
`no_recording`: the replay had nothing for this request at this offer."""

_TOKENS_NULL = "the provider did not say, or no attempt succeeded"

REQUESTS: Final = (
    Column("run_id", STR, "", "hash of plan, seeds and schema version"),
    Column("request_id", STR, "", "unique in the run"),
    Column("seed", INT, "", "the cell's seed"),
    Column("strategy", STR, "", "the cell's strategy as the plan writes it"),
    Column("workload", STR, "", "name of the workload"),
    Column("fault_plan", STR, "", "name of the fault plan", "no faults"),
    Column("surface", STR, "", "which surface took it: chat"),
    Column("model_requested", STR, "", "model reference as the client sent it; empty if it could not be read"),
    Column("account", STR, "", "who asked"),
    Column("stream", BOOL, "", "the client asked for a stream"),
    Column("t_scheduled_s", FLOAT, "s", "when the workload meant it; latencies count from here"),
    Column("t_arrival_s", FLOAT, "s", "when the gateway got it"),
    Column("t_first_token_s", FLOAT, "s", "first content, reasoning or tool piece", "not streamed, or none came"),
    Column("t_last_token_s", FLOAT, "s", "last such piece", "not streamed, or none came"),
    Column("t_end_s", FLOAT, "s", "arrival of the last byte that the answer needed, or the failure"),
    Column("status", STR, "", " | ".join(STATUSES)),
    Column("error_kind", STR, "", "code of the error that the client was given", "status is ok"),
    Column("attempts", INT, "attempts", "upstream calls made; 0: rejected before any"),
    Column("offer_id", STR, "", "offer that served it", "none did"),
    Column("model", STR, "", "catalogue id of the model that served it", "none did"),
    Column("provider", STR, "", "provider that served it", "none did"),
    Column("input_tokens", INT, "tokens", "whole prompt, cached part included", _TOKENS_NULL),
    Column("cached_input_tokens", INT, "tokens", "part of the prompt read from a cache", _TOKENS_NULL),
    Column("cache_write_tokens", INT, "tokens", "part of the prompt written to a cache", _TOKENS_NULL),
    Column("output_tokens", INT, "tokens", "everything generated, reasoning included", _TOKENS_NULL),
    Column("reasoning_tokens", INT, "tokens", "part of the output", _TOKENS_NULL),
    Column("usage_source", STR, "", " | ".join(USAGE_SOURCES), "no token counts"),
    Column("cost_pico_usd", INT, "1e-12 USD", "upstream cost of all attempts", "a price or a token count is unknown"),
    Column("charge_pico_uat", INT, "1e-12 UAT", "what the account was charged", "nothing was held, or quarantined"),
    Column("held_pico_uat", INT, "1e-12 UAT", "what was held for it", "rejected before anything was held"),
    Column("quality", FLOAT, "score", "quality of the answer", "not scored"),
    Column("scorer", STR, "", "what scored it", "not scored"),
)

ATTEMPTS: Final = (
    Column("request_id", STR, "", "the request"),
    Column("attempt", INT, "", "0, 1, … in order of dispatch"),
    Column("offer_id", STR, "", "offer that was called"),
    Column("cause", STR, "", " | ".join(CAUSES)),
    Column("t_dispatch_s", FLOAT, "s", "the call left"),
    Column("t_headers_s", FLOAT, "s", "response headers came", "none came"),
    Column("t_first_token_s", FLOAT, "s", "first content, reasoning or tool piece", "not streamed, or none came"),
    Column("t_last_token_s", FLOAT, "s", "last such piece", "not streamed, or none came"),
    Column("t_end_s", FLOAT, "s", "last byte needed, or the failure"),
    Column("outcome", STR, "", " | ".join(OUTCOMES)),
    Column("http_status", INT, "", "the provider's status", "no response came"),
    Column("retry_after_s", FLOAT, "s", "wait that the provider asked for", "it asked for none"),
    Column("match", STR, "", " | ".join(MATCHES), "there was no recording to give"),
    Column("timing", STR, "", " | ".join(TIMINGS), "there was no recording to give"),
    Column("interaction", STR, "", "file#index of the recorded interaction", "not replayed"),
    Column("fault", STR, "", "fault that struck", "none did"),
    Column("input_tokens", INT, "tokens", "as in requests", _TOKENS_NULL),
    Column("cached_input_tokens", INT, "tokens", "as in requests", _TOKENS_NULL),
    Column("cache_write_tokens", INT, "tokens", "as in requests", _TOKENS_NULL),
    Column("output_tokens", INT, "tokens", "as in requests", _TOKENS_NULL),
    Column("reasoning_tokens", INT, "tokens", "as in requests", _TOKENS_NULL),
    Column("cost_pico_usd", INT, "1e-12 USD", "upstream cost; 0 for a failure without usage", "price or count unknown"),
    Column("chunks", INT, "chunks", "pieces in which the body arrived"),
    Column("notes", pl.List(pl.String()), "", "what was odd, dropped or lowered", None),
)

DECISIONS: Final = (
    Column("request_id", STR, "", "the request"),
    Column("attempt", INT, "", "the attempt that this decision led to"),
    Column("strategy", STR, "", "strategy that scored"),
    Column("t_s", FLOAT, "s", "when"),
    Column("candidates", pl.List(pl.String()), "", "offer ids considered"),
    Column("scores", pl.List(pl.Float64()), "strategy's", "one a candidate, lower is better"),
    Column("excluded", EXCLUDED, "", "offers not considered, each with its reason"),
    Column("chosen", STR, "", "offer id"),
    Column("propensity", FLOAT, "probability", "with which `chosen` was drawn, in (0, 1]"),
    Column("in_flight", pl.List(pl.Int64()), "attempts", "under way at each candidate"),
)

LEDGER: Final = (
    Column("entry_id", STR, "", "cell and place in its log, from 1: unique, and in order within a cell"),
    Column("t_s", FLOAT, "s", "when"),
    Column("account", STR, "", "the client's; of a cost or a risk the platform's account that it is booked on"),
    Column("request_id", STR, "", "the request", "a top-up"),
    Column("attempt", INT, "", "the attempt, of a cost or a risk", "not of one attempt"),
    Column("kind", STR, "", " | ".join(LEDGER_KINDS)),
    Column("amount_pico_uat", INT, "1e-12 UAT", "what the account has more, available and held together; of a hold 0"),
    Column("balance_pico_uat", INT, "1e-12 UAT", "available, held and shortfall together, after it"),
    Column("at_us", INT, "µs since 1970", "when, as the ledger keeps it"),
    Column("ref", STR, "", "what makes it unique of its kind: hold, attempt, external id, entry"),
    Column("postings", STR, "", "JSON [[account, pico-UAT], …]: which accounts it moves; they sum to 0"),
    Column("detail", STR, "", "JSON: amounts and, of a charge, all that it can be derived from again"),
    Column("hash", STR, "", "SHA-256 over the previous entry's hash and this entry"),
)

CHUNKS: Final = (
    Column("request_id", STR, "", "the request"),
    Column("attempt", INT, "", "the attempt"),
    Column("index", INT, "", "0, 1, …"),
    Column("t_s", FLOAT, "s", "arrival"),
    Column("tokens", INT, "tokens", "tokens in it", "not counted"),
)

TABLES: Final[dict[str, tuple[Column, ...]]] = {
    "requests": REQUESTS,
    "attempts": ATTEMPTS,
    "decisions": DECISIONS,
    "ledger": LEDGER,
    "chunks": CHUNKS,
}

KEYS: Final[dict[str, tuple[str, ...]]] = {
    "requests": ("request_id",),
    "attempts": ("request_id", "attempt"),
    "decisions": ("request_id", "attempt"),
    "ledger": ("entry_id",),
    "chunks": ("request_id", "attempt", "index"),
}


def polars_schema(table: str) -> dict[str, pl.DataType]:
    """Column name → polars type of a table."""
    return {column.name: column.dtype for column in TABLES[table]}
