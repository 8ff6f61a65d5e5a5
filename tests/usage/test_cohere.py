"""Cohere's token counts: what is billed, and which fractions are counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.usage.cohere import normalise_noted


def raw(input_tokens: Any, output_tokens: Any) -> dict[str, Any]:
    billed = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    return {"billed_units": billed, "tokens": {"input_tokens": 71, "output_tokens": 418}, "cached_tokens": 64}


@pytest.mark.parametrize("five", [5, 5.0])
def test_billed_units_count_and_nothing_else(five: Any) -> None:
    usage, notes = normalise_noted(raw(five, 418))
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, notes) == (5, 418, None, ())
    assert type(usage.input_tokens) is int


@pytest.mark.parametrize("bad", [5.5, -1, -1.0, True, "5", 1e30, float("nan"), float("inf"), [5]])
def test_what_is_no_count_is_none_and_noted_as_bad(bad: Any) -> None:
    usage, notes = normalise_noted(raw(bad, 418))
    assert (usage.input_tokens, usage.output_tokens) == (None, 418)
    assert notes[0].startswith("bad_usage: input_tokens")


def test_without_billed_units_nothing_is_known() -> None:
    stated = {"tokens": {"input_tokens": 71, "output_tokens": 418}}
    usage, _ = normalise_noted(stated)
    assert (usage.input_tokens, usage.output_tokens, usage.raw) == (None, None, stated)


@given(
    st.recursive(
        st.none() | st.floats() | st.integers(),
        lambda x: st.dictionaries(st.sampled_from(["billed_units", "input_tokens", "output_tokens"]), x),
    )
)
def test_no_value_makes_it_raise(stated: Any) -> None:
    usage, _ = normalise_noted(stated)
    assert usage.input_tokens is None or usage.input_tokens >= 0


def test_the_canonical_counts_of_the_billing_vectors(shared: Path) -> None:
    compared = 0
    for line in (shared / "billing" / "vectors.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["provider"] != "cohere" or not isinstance(row["usage_raw"], dict):
            continue
        usage, notes = normalise_noted(row["usage_raw"])
        if row["canonical"] is None:
            assert any(note.startswith("bad_usage") for note in notes), row["id"]
        else:
            stated = (row["canonical"]["uncached_input"], row["canonical"]["output_text"])
            assert (usage.input_tokens, usage.output_tokens) == stated, row["id"]
        compared += 1
    assert compared >= 2
