"""Bedrock's token counts in all their places, and values that are no counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.types import Usage
from clawbench.usage.bedrock import cache_writes, normalise, normalise_noted, raw_of_headers


def counts(usage: Usage) -> tuple[int | None, ...]:
    """(input, cached, written, output)."""
    return usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens, usage.output_tokens


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (
            {"inputTokens": 11, "outputTokens": 264, "totalTokens": 1303, "cacheWriteInputTokens": 1028},
            (1039, None, 1028, 264),
        ),
        (
            {
                "inputTokens": 433,
                "outputTokens": 16,
                "totalTokens": 3201,
                "cacheReadInputTokens": 2752,
                "cacheReadInputTokenCount": 2752,
                "cacheWriteInputTokens": 0,
            },
            (3185, 2752, 0, 16),
        ),
        ({"inputTokenCount": 16, "outputTokenCount": 63, "invocationLatency": 5849}, (16, None, None, 63)),
        ({"inputTextTokenCount": 5, "totalOutputTextTokenCount": 10}, (5, None, None, 10)),
        ({"prompt_token_count": 9, "generation_token_count": 4}, (9, None, None, 4)),
        ({"outputTokens": 4}, (None, None, None, 4)),
    ],
)
def test_the_prompt_is_what_was_fresh_read_and_written_together(stated: dict[str, Any], expected: object) -> None:
    usage, notes = normalise_noted(stated)
    assert counts(usage) == expected
    assert usage.raw == stated
    assert notes == ()


def test_cache_details_tell_writes_apart_by_lifetime() -> None:
    details = [{"ttl": "1h", "inputTokens": 500}, {"ttl": "5m", "inputTokens": 1000}]
    stated = {"inputTokens": 20, "outputTokens": 100, "cacheWriteInputTokens": 1500, "cacheDetails": details}
    assert cache_writes(stated) == (1000, 500)
    assert cache_writes({"cacheWriteInputTokens": 7}) == (7, 0)
    assert counts(normalise(stated)) == (1520, None, 1500, 100)


def test_a_total_that_is_not_the_sum_is_noted() -> None:
    _, notes = normalise_noted({"inputTokens": 1, "outputTokens": 2, "totalTokens": 9})
    assert notes == ("usage: totalTokens 9 is not 1 + 2",)


def test_counts_of_headers_are_read() -> None:
    headers = {"x-amzn-bedrock-input-token-count": "4", "x-amzn-bedrock-cache-read-input-token-count": "18131"}
    raw = raw_of_headers({**headers, "x-amzn-bedrock-output-token-count": "50"})
    assert raw is not None
    assert counts(normalise(raw)) == (18_135, 18_131, None, 50)
    assert raw_of_headers({"x-amzn-bedrock-input-token-count": "many"}) is None


@pytest.mark.parametrize("bad", [-1, True, 1.5, "5", 10**20])
def test_what_is_no_count_is_none_and_noted_as_bad(bad: Any) -> None:
    usage, notes = normalise_noted({"inputTokens": bad, "outputTokens": 1})
    assert usage.input_tokens is None
    assert notes == ("bad_usage: inputTokens is no whole number of 0 to 19 digits",)


NAMES = ["inputTokens", "outputTokens", "cacheDetails", "totalTokens", "cacheWriteInputTokens", "ttl"]
LOOSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@given(LOOSE)
def test_no_value_makes_it_raise(stated: Any) -> None:
    normalise_noted(stated)
    if isinstance(stated, dict):
        cache_writes(stated)


def test_the_canonical_counts_of_the_billing_vectors(shared: Path) -> None:
    compared = 0
    for line in (shared / "billing" / "vectors.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["provider"] != "bedrock" or row["canonical"] is None:
            continue
        usage, canonical = normalise(row["usage_raw"]), row["canonical"]
        short, long = canonical.get("cache_write_5m", 0), canonical.get("cache_write_1h", 0)
        assert cache_writes(row["usage_raw"]) == (short, long), row["id"]
        assert usage.input_tokens == canonical["uncached_input"] + canonical.get("cache_read", 0) + short + long
        assert usage.output_tokens == canonical["output_text"], row["id"]
        compared += 1
    assert compared > 2
