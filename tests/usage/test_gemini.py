"""Gemini's token counts: what is added, what is part of what, and values that are no counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.types import Usage
from clawbench.usage.gemini import modalities, normalise_noted


def raw(prompt: Any = None, candidates: Any = None, total: Any = None, **more: Any) -> dict[str, Any]:
    stated = {"promptTokenCount": prompt, "candidatesTokenCount": candidates, "totalTokenCount": total}
    return {**{name: count for name, count in stated.items() if count is not None}, **more}


def counts(usage: Usage) -> tuple[int | None, ...]:
    """(input, cached, output, reasoning)."""
    return usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (raw(10, 5, 15), (10, None, 5, None)),
        (raw(10, 200, 5210, thoughtsTokenCount=5000), (10, None, 5200, 5000)),
        (raw(74, 103, 625, thoughtsTokenCount=293, toolUsePromptTokenCount=155), (229, None, 396, 293)),
        (raw(500, None, 8692, thoughtsTokenCount=8192), (500, None, 8192, 8192)),
        (raw(1000, 100, 1100, cachedContentTokenCount=500), (1000, 500, 100, None)),
        (raw(20, None, 20), (20, None, None, None)),
        (raw(None, 5), (None, None, 5, None)),
    ],
)
def test_thoughts_and_what_tools_fed_back_are_added(stated: dict[str, Any], expected: object) -> None:
    usage, notes = normalise_noted(stated)
    assert counts(usage) == expected
    assert usage.raw == stated
    assert notes == ()


def test_of_a_streams_snapshots_the_last_stands() -> None:
    usage, _ = normalise_noted([raw(20, 5, 25), None, raw(20, 25, 45), None])
    assert counts(usage) == (20, None, 25, None)


def test_a_total_that_is_no_sum_is_noted_and_changes_nothing() -> None:
    usage, notes = normalise_noted(raw(10, 5, 99))
    assert counts(usage) == (10, None, 5, None)
    assert notes == ("usage: totalTokenCount 99 is not 10 + 5",)


def test_more_cached_than_prompted_is_bad_per_modality_too() -> None:
    usage, notes = normalise_noted(raw(10, 5, 15, cachedContentTokenCount=11))
    assert usage.cached_input_tokens is None
    assert notes[0].startswith("bad_usage: cachedContentTokenCount 11")
    listed = {
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}, {"modality": "AUDIO", "tokenCount": 2}],
        "cacheTokensDetails": [{"modality": 4, "tokenCount": 3}],
    }
    _, notes = normalise_noted(raw(10, 5, 15, cachedContentTokenCount=3, **listed))
    assert notes == ("bad_usage: cached AUDIO tokens 3 exceeds 2, which it is part of",)


def test_counts_by_modality_are_read_with_names_or_numbers() -> None:
    listed = modalities(
        {
            "promptTokensDetails": [{"modality": 1, "tokenCount": 8}, {"modality": "AUDIO", "tokenCount": 2}, 7],
            "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 3}],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}, {"modality": 2, "tokenCount": "x"}],
            "toolUsePromptTokensDetails": None,
        }
    )
    assert (listed.prompt, listed.cached) == ({"TEXT": 8, "AUDIO": 2}, {"TEXT": 3})
    assert (listed.candidates, listed.tool_use) == ({"IMAGE": 1290}, {})


@pytest.mark.parametrize("bad", [-1, True, 1.0, "5", 10**20, float("nan"), [], {}])
def test_what_is_no_count_is_none_and_noted_as_bad(bad: Any) -> None:
    usage, notes = normalise_noted(raw(bad, 5))
    assert usage.input_tokens is None
    assert notes == ("bad_usage: promptTokenCount is no whole number of 0 to 19 digits",)


def test_a_bad_candidate_count_beside_thoughts_is_no_zero() -> None:
    usage, notes = normalise_noted(raw(1, 2.5, thoughtsTokenCount=7))
    assert usage.output_tokens is None
    assert notes[0].startswith("bad_usage: candidatesTokenCount")


LOOSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *raw(1, 1, 1),
                    "thoughtsTokenCount",
                    "cachedContentTokenCount",
                    "toolUsePromptTokenCount",
                    "promptTokensDetails",
                    "cacheTokensDetails",
                    "modality",
                    "tokenCount",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(LOOSE)
def test_no_value_makes_it_raise(stated: Any) -> None:
    usage, _ = normalise_noted(stated)
    assert (
        usage.cached_input_tokens is None
        or usage.input_tokens is None
        or (usage.cached_input_tokens <= usage.input_tokens)
    )


def test_the_canonical_counts_of_the_billing_vectors(shared: Path) -> None:
    compared = 0
    for line in (shared / "billing" / "vectors.jsonl").read_text().splitlines():
        row = json.loads(line)
        native = row["provider"] == "gemini" and "compat" not in row["api"]
        if not native or row["canonical"] is None or not isinstance(row["usage_raw"], dict | list):
            continue
        usage, notes = normalise_noted(row["usage_raw"])
        buckets = row["canonical"]
        prompt = ("uncached_input", "cache_read", "audio_in", "audio_cache_read", "image_in")
        assert usage.input_tokens == sum(buckets.get(name, 0) for name in prompt), row["id"]
        cached = buckets.get("cache_read", 0) + buckets.get("audio_cache_read", 0)
        assert (usage.cached_input_tokens or 0) == cached, row["id"]
        output = ("output_text", "reasoning", "audio_out", "image_out")
        assert usage.output_tokens == sum(buckets.get(name, 0) for name in output), row["id"]
        assert (usage.reasoning_tokens or 0) == buckets.get("reasoning", 0), row["id"]
        assert isinstance(usage.raw, dict)
        listed = modalities(usage.raw)
        audio_cached = listed.cached.get("AUDIO", 0)
        assert listed.prompt.get("AUDIO", 0) - audio_cached == buckets.get("audio_in", 0), row["id"]
        assert audio_cached == buckets.get("audio_cache_read", 0), row["id"]
        assert listed.candidates.get("IMAGE", 0) == buckets.get("image_out", 0), row["id"]
        assert not [note for note in notes if note.startswith("bad_usage")], row["id"]
        compared += 1
    assert compared >= 8
