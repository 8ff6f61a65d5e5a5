"""Observed latencies, whatever they were read from: recordings, tables of real ones, benchmarks of others.

One observation is one answer. Times are seconds from dispatch (or, where only the provider's clock is known, from its
receiving the call: `clock`). Nothing is assumed here: what a source does not tell is None.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import log
from pathlib import Path
from statistics import pstdev
from typing import Any, Literal

from msgspec import Struct

from clawbench.cassettes.entry import Entry
from clawbench.cassettes.store import CassetteStore
from clawbench.catalog.providers import host_of, provider_of
from clawbench.emulator.specs import PORT
from clawbench.errors import UsageError
from clawbench.types import Delta
from clawbench.wires import WIRES

Grouping = Literal["provider", "offer"]

OUTPUT_TOKENS_MIN = 8  # shorter answers tell no rate
GAPS_MIN = 10  # of a stream, for its jitter
PLAUSIBLE_RATE = 20_000.0  # tokens per second; above it a time was rounded away


class Observation(Struct, frozen=True, kw_only=True):
    """What one answer showed. `outcome` is "ok" or what `schema.OUTCOMES` calls the failure."""

    group: str
    outcome: str = "ok"
    stream: bool = False
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    ttft_s: float | None = None
    e2e_s: float | None = None
    token_rate: float | None = None  # output tokens per second after the first
    jitter: float | None = None  # standard deviation of ln(gap) within the stream
    clock: Literal["caller", "provider"] = "caller"


def of_cassettes(store: CassetteStore, *, by: Grouping) -> Iterator[Observation]:
    """Every chat call of the recordings, with the times that were recorded or that it reveals."""
    for entry in store.entries:
        provider = _provider(entry)
        group = provider if by == "provider" else f"{provider}/{entry.upstream_model}"
        if not entry.is_success:
            yield Observation(group=group, outcome=entry.outcome, stream=entry.stream)
        elif entry.timing is not None:
            yield _of_recorded(store, entry, group)
        elif (told := entry.revealed) is not None:
            ttft_s = told.ttft_s
            if ttft_s is None and entry.stream:
                ttft_s = told.headers_s  # servers send a stream's headers when they have its first token
            yield Observation(
                group=group,
                stream=entry.stream,
                prompt_tokens=entry.input_tokens,
                output_tokens=entry.output_tokens,
                ttft_s=ttft_s,
                e2e_s=told.e2e_s,
                token_rate=_rate(entry.output_tokens, ttft_s, told.e2e_s),
                clock="caller" if told.source == "duration" else "provider",
            )


def _of_recorded(store: CassetteStore, entry: Entry, group: str) -> Observation:
    timing = entry.timing
    assert timing is not None
    end_s = timing.chunks[-1][1] if timing.chunks else timing.headers_s
    at_s: list[float] = []
    if entry.stream:
        body, decoder, start = store.body(entry), WIRES[entry.dialect].stream(), 0
        for length, t_s in timing.chunks:
            if any(map(_is_output, decoder.feed(body[start : start + length]))):
                at_s.append(t_s)
            start += length
    return Observation(
        group=group,
        stream=entry.stream,
        prompt_tokens=entry.input_tokens,
        output_tokens=entry.output_tokens,
        ttft_s=at_s[0] if at_s else None,
        e2e_s=end_s,
        token_rate=_rate(entry.output_tokens, at_s[0], at_s[-1]) if at_s else None,
        jitter=_jitter([later - earlier for earlier, later in pairwise(at_s)]),
    )


def of_attempts(rows: Iterator[Mapping[str, Any]], *, by: Grouping) -> Iterator[Observation]:
    """Rows of a run's table `attempts`."""
    for row in rows:
        offer_id = str(row["offer_id"])
        group = offer_id if by == "offer" else offer_id.partition("/")[0]
        if row["outcome"] != "ok":
            yield Observation(group=group, outcome=row["outcome"])
            continue
        sent_s, first_s, last_s = row["t_dispatch_s"], row["t_first_token_s"], row["t_last_token_s"]
        streamed = first_s is not None and last_s is not None and last_s > first_s
        yield Observation(
            group=group,
            stream=streamed,
            prompt_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            ttft_s=first_s - sent_s if streamed else None,
            e2e_s=row["t_end_s"] - sent_s,
            token_rate=_rate(row["output_tokens"], first_s, last_s) if streamed else None,
        )


def of_file(path: Path, *, by: Grouping) -> Iterator[Observation]:
    """A file of measured latencies: LLMPerf's results, a table of latencies, or gaps of streams.

    Raises `UsageError` for a file that is none of them.
    """
    content = path.read_bytes()
    text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8", "replace")
    name = path.name.removesuffix(".gz")
    try:
        if name.endswith(".csv"):
            return _of_table(csv.DictReader(io.StringIO(text)), by)
        if name.endswith(".jsonl"):
            return _of_gaps([json.loads(line) for line in text.splitlines() if line.strip()])
        rows = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict) or "ttft_s" not in rows[0]:
        raise UsageError(f"{path} holds no latencies that are understood: neither LLMPerf's results nor a table")
    return _of_llmperf(rows, name.removesuffix(".json").replace("_", "/"), by)


def _of_llmperf(rows: list[dict[str, Any]], offer: str, by: Grouping) -> Iterator[Observation]:
    group = offer if by == "offer" else offer.partition("/")[0]
    for row in rows:
        if row.get("error_code"):
            yield Observation(group=group, outcome="rate_limited" if row["error_code"] == 429 else "upstream_5xx")
            continue
        ttft_s, e2e_s, tokens = row["ttft_s"], row["end_to_end_latency_s"], row["number_output_tokens"]
        yield Observation(
            group=group,
            stream=True,
            prompt_tokens=row["number_input_tokens"],
            output_tokens=tokens,
            ttft_s=ttft_s or None,
            e2e_s=e2e_s,
            token_rate=_rate(tokens, ttft_s, e2e_s) if ttft_s else None,
        )


def _of_gaps(rows: list[dict[str, Any]]) -> Iterator[Observation]:
    """Streams of Ollama: gaps between the stamps of their chunks, and the durations at their ends."""
    for row in rows:
        tokens, generating_ms = row["eval_count"], row["eval_ms"]
        yield Observation(
            group="ollama",
            stream=True,
            prompt_tokens=row["prompt_eval_count"],
            output_tokens=tokens,
            ttft_s=(row["load_ms"] + row["prompt_eval_ms"]) / 1000,
            token_rate=_rate(tokens, 0.0, generating_ms / 1000) if generating_ms else None,
            jitter=_jitter([gap_ms / 1000 for gap_ms in row["deltas_ms"]]),
            clock="provider",
        )


def _of_table(rows: Iterator[dict[str, str]], by: Grouping) -> Iterator[Observation]:
    """A table of what recorded exchanges reveal of their times, one a row, in columns named after their sources."""
    for row in rows:
        group = row["provider"] if by == "provider" else f"{row['provider']}/{row['model']}"
        if row["status"] != "200":
            continue  # refusals in recorded tests are asked for: no error mix of a provider
        streamed = row["stream"] == "1"
        told = {name: _number(text) for name, text in row.items()}

        def milliseconds(*names: str, told: dict[str, float | None] = told) -> float | None:
            return next((value / 1000 for name in names if (value := told.get(name))), None)

        until_headers_s = milliseconds(
            "envoy_upstream_ms", "kong_upstream_ms", "openai_processing_ms", "server_timing_ms", "alibaba_req_cost_ms"
        )
        ttft_s = milliseconds("xai_ttft_ms", "fireworks_ttft_ms", "bedrock_first_byte_ms", "llamacpp_prompt_ms")
        e2e_s = milliseconds("xai_e2e_ms", "bedrock_latency_ms", "ollama_total_ms")
        generating_s = milliseconds("ollama_eval_ms", "llamacpp_predicted_ms") or told["completion_time_s"]
        if (prompt_s := told["prompt_time_s"]) is not None:
            ttft_s = (told["queue_time_s"] or 0.0) + prompt_s
        if told["ollama_total_ms"] and told["ollama_eval_ms"]:
            ttft_s = (told["ollama_total_ms"] - told["ollama_eval_ms"]) / 1000
        # What recorders' own clocks measured runs to the headers, which of a whole answer is its end.
        by_recorder_s = milliseconds("har_wait_ms", "client_e2e_ms")
        by_caller = ttft_s is None and e2e_s is None and until_headers_s is None
        if streamed:
            ttft_s = ttft_s or until_headers_s or by_recorder_s
        else:
            e2e_s = e2e_s or until_headers_s or by_recorder_s
        tokens = None if told["output_tokens"] is None else int(told["output_tokens"])
        rate = _rate(tokens, 0.0, generating_s) if generating_s else _rate(tokens, ttft_s, e2e_s)
        yield Observation(
            group=group,
            stream=streamed,
            prompt_tokens=None if told["input_tokens"] is None else int(told["input_tokens"]),
            output_tokens=tokens,
            ttft_s=ttft_s,
            e2e_s=e2e_s,
            token_rate=rate,
            clock="caller" if by_caller else "provider",
        )


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _rate(tokens: int | None, first_s: float | None, last_s: float | None) -> float | None:
    """Output tokens per second after the first; None where too few came, or no time passed."""
    if tokens is None or first_s is None or last_s is None or tokens < OUTPUT_TOKENS_MIN or last_s <= first_s:
        return None
    rate = (tokens - 1) / (last_s - first_s)
    return rate if rate < PLAUSIBLE_RATE else None


def _jitter(gaps_s: list[float]) -> float | None:
    logs = [log(gap_s) for gap_s in gaps_s if gap_s > 1e-6]
    return pstdev(logs) if len(logs) >= GAPS_MIN else None


def _is_output(delta: Delta) -> bool:
    return delta.has_output


def _provider(entry: Entry) -> str:
    """The provider; of the emulator's, the first part of the path, which is what it goes by."""
    if host_of(entry.url).endswith(f":{PORT}"):
        return entry.path.split("/")[1]
    return provider_of(entry.url)


def is_latencies(path: Path) -> bool:
    """Whether a file looks like one that `of_file` reads, by its beginning."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(1000)
    except OSError:
        return False
    return any(mark in head for mark in (b'"ttft_s"', b"openai_processing_ms", b'"deltas_ms"'))
