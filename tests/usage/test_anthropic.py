"""Anthropic's token counts: what is part of what, snapshots of streams, and values that are no counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.types import Usage
from clawbench.usage.anthropic import cache_writes, merged, normalise, normalise_noted


def counts(usage: Usage) -> tuple[int | None, ...]:
    """(input, cached, written, output, reasoning)."""
    return (
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )


def raw(fresh: Any, output: Any, read: Any = None, written: Any = None, **more: Any) -> dict[str, Any]:
    stated = {
        "input_tokens": fresh,
        "output_tokens": output,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
    }
    return {**{name: item for name, item in stated.items() if item is not None}, **more}


def split(short: Any, long: Any) -> dict[str, Any]:
    return {"cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long}}


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (raw(10, 5), (10, None, None, 5, None)),
        (raw(3, 550, 0, 12304), (12307, 0, 12304, 550, None)),
        (raw(0, 1, 4096, 0), (4096, 4096, 0, 1, None)),
        (raw(2048, 503, 1800, 248, **split(148, 100)), (4096, 1800, 248, 503, None)),
        (raw(10, 50, output_tokens_details={"thinking_tokens": 30}), (10, None, None, 50, 30)),
        ({"input_tokens": 10, "output_tokens": 5, "cache_creation": None}, (10, None, None, 5, None)),
        ({"output_tokens": 5}, (None, None, None, 5, None)),
    ],
)
def test_the_prompt_is_what_was_fresh_read_and_written_together(stated: dict[str, Any], expected: object) -> None:
    usage, notes = normalise_noted(stated)
    assert counts(usage) == expected
    assert usage.raw == stated
    assert notes == ()


def test_iterations_are_summed_because_the_top_level_leaves_compactions_out() -> None:
    compaction = raw(180_000, 3_500, 0, 0, type="compaction")
    usage = normalise(raw(23_000, 1_000, iterations=[compaction, raw(23_000, 1_000, 0, 0, type="message")]))
    assert counts(usage) == (203_000, 0, 0, 4_500, None)


def test_a_split_that_is_not_the_aggregate_stands_and_is_noted() -> None:
    stated = raw(10, 10, 0, 248, **split(456, 100))
    usage, notes = normalise_noted(stated)
    assert counts(usage) == (566, 0, 556, 10, None)
    assert notes == ("usage: cache writes by lifetime 556 are not the stated 248",)
    assert cache_writes(stated) == (456, 100)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (raw(1, 1, 0, 70), (70, 0)),
        (raw(1, 1, 0, 70, **split(30, 40)), (30, 40)),
        (raw(1, 1), (0, 0)),
        (raw(1, 1, iterations=[raw(1, 1, 0, 5), raw(1, 1, 0, 9, **split(2, 7))]), (7, 7)),
    ],
)
def test_cache_writes_are_told_apart_by_lifetime(stated: dict[str, Any], expected: tuple[int, int]) -> None:
    assert cache_writes(stated) == expected


def test_each_field_of_a_delta_overwrites_the_starts_input_included() -> None:
    usage = normalise(merged(raw(2679, 3, 0, 0), raw(10_682, 510, 0, 0, server_tool_use={"web_search_requests": 1})))
    assert counts(usage) == (10_682, 0, 0, 510, None)
    assert usage.raw is not None
    assert usage.raw["server_tool_use"] == {"web_search_requests": 1}


def test_a_null_in_a_delta_takes_nothing_away() -> None:
    delta = {"input_tokens": None, "output_tokens": 15}
    assert counts(normalise(merged(raw(25, 1), delta))) == (25, None, None, 15, None)


def test_a_split_of_the_start_does_not_outlive_the_aggregate_that_it_divided() -> None:
    stated = merged(raw(5, 1, 0, 0, **split(0, 0)), raw(9, 60, 0, 17_269))
    assert counts(normalise(stated)) == (17_278, 0, 17_269, 60, None)
    assert cache_writes(stated) == (17_269, 0)


def test_without_a_delta_the_output_is_unknown() -> None:
    assert counts(normalise(merged(raw(3000, 1, 0, 0)))) == (3000, 0, 0, None, None)


@pytest.mark.parametrize("bad", [-1, True, 1.0, "5", 10**20, float("nan"), [], {}])
def test_what_is_no_count_is_none_and_noted_as_bad(bad: Any) -> None:
    usage, notes = normalise_noted(raw(bad, 5))
    assert usage.input_tokens is None
    assert notes == ("bad_usage: input_tokens is no whole number of 0 to 19 digits",)


def test_more_thinking_than_output_is_bad() -> None:
    usage, notes = normalise_noted(raw(1, 5, output_tokens_details={"thinking_tokens": 6}))
    assert usage.reasoning_tokens is None
    assert notes[0].startswith("bad_usage: thinking_tokens 6")


LOOSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*raw(1, 1, 1, 1), "cache_creation", "iterations", "message_start", "message_delta", *split(1, 1)]
            ),
            inner,
            max_size=4,
        )
    ),
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
        if row["provider"] != "anthropic" or row["canonical"] is None:
            continue
        usage, _ = normalise_noted(row["usage_raw"])
        canonical = row["canonical"]
        assert usage.raw is not None
        short, long = cache_writes(usage.raw)
        written = canonical.get("cache_write_5m", 0) + canonical.get("cache_write_1h", 0)
        assert (short, long) == (canonical.get("cache_write_5m", 0), canonical.get("cache_write_1h", 0)), row["id"]
        assert (usage.cached_input_tokens or 0) == canonical.get("cache_read", 0), row["id"]
        assert usage.input_tokens == canonical["uncached_input"] + canonical.get("cache_read", 0) + written, row["id"]
        assert usage.output_tokens == canonical["output_text"] + canonical.get("reasoning", 0), row["id"]
        compared += 1
    assert compared > 10
