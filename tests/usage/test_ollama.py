"""Ollama's token counts, which stand among its timings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.usage.ollama import FIELDS, normalise_noted, stated_usage

LAST = {"model": "m", "done": True, "total_duration": 9, "prompt_eval_count": 26, "eval_count": 298, "eval_duration": 7}


def test_the_counts_and_timings_of_the_last_object_are_its_usage() -> None:
    raw = stated_usage(LAST)
    assert raw == {"total_duration": 9, "prompt_eval_count": 26, "eval_count": 298, "eval_duration": 7}
    usage, notes = normalise_noted(raw)
    assert (usage.input_tokens, usage.output_tokens, usage.raw, notes) == (26, 298, raw, ())


def test_an_object_without_counts_states_no_usage() -> None:
    assert stated_usage({"model": "m", "done": False, "total_duration": 4}) is None


def test_a_prompt_from_the_cache_is_unknown_and_not_zero() -> None:
    usage, _ = normalise_noted({"eval_count": 298})
    assert (usage.input_tokens, usage.output_tokens) == (None, 298)


@pytest.mark.parametrize("bad", [-1, True, 26.0, "26", 10**20])
def test_what_is_no_count_is_none_and_noted_as_bad(bad: Any) -> None:
    usage, notes = normalise_noted({"prompt_eval_count": bad, "eval_count": 1})
    assert usage.input_tokens is None
    assert notes[0].startswith("bad_usage: prompt_eval_count")


@given(st.none() | st.text(max_size=3) | st.dictionaries(st.sampled_from(FIELDS), st.floats() | st.text() | st.none()))
def test_no_value_makes_it_raise(raw: Any) -> None:
    normalise_noted(raw)


def test_the_canonical_counts_of_the_billing_vectors(shared: Path) -> None:
    compared = 0
    for line in (shared / "billing" / "vectors.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["provider"] == "ollama" and row["api"].startswith("api/"):
            usage, _ = normalise_noted(row["usage_raw"])
            if row["canonical"] is None:
                assert usage.input_tokens is None, row["id"]
            else:
                cached = row["canonical"].get("cache_read", 0)
                assert usage.input_tokens == row["canonical"]["uncached_input"] + cached, row["id"]
                assert usage.output_tokens == row["canonical"]["output_text"], row["id"]
            compared += 1
    assert compared >= 2
