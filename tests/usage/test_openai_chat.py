"""Token counts: what each provider means by them, and values that are no counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.types import Usage
from clawbench.usage.openai_chat import VARIANTS, normalise, normalise_noted
from clawbench.wires.openai_quirks import quirks_of


def counts(usage: Usage) -> tuple[int | None, ...]:
    """(input, cached, written, output, reasoning)."""
    return (
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )


def raw(prompt: Any, completion: Any, total: Any = None, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}


def details(cached: Any = None, reasoning: Any = None, **prompt: Any) -> dict[str, Any]:
    return {
        "prompt_tokens_details": {"cached_tokens": cached, **prompt},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


@pytest.mark.parametrize(
    ("variant", "stated", "expected"),
    [
        ("openai", raw(75, 1186, 1261, **details(10, 1024)), (75, 10, None, 1186, 1024)),
        ("openai", raw(100, 20, 120, prompt_tokens_details=None), (100, None, None, 20, None)),
        ("openai", raw(100, 20, 120, **details(10, None, cache_write_tokens=30)), (100, 10, 30, 20, None)),
        ("openai", raw(0, 0, 0), (0, None, None, 0, None)),
        ("deepseek", raw(9, 5, 14, prompt_cache_hit_tokens=4, prompt_cache_miss_tokens=5), (9, 4, None, 5, None)),
        ("xai", raw(125, 48, 473, **details(98, 300)), (125, 98, None, 348, 300)),
        ("xai", raw(125, 348, 473, **details(98, 300)), (125, 98, None, 348, 300)),
        ("compatible", raw(125, 48, 473, **details(98, 300)), (125, 98, None, 348, 300)),
        ("mistral", raw(20, 18, 38, num_cached_tokens=10), (20, 10, None, 18, None)),
        ("groq", {"x_groq": {"usage": raw(18, 200, 218)}}, (18, None, None, 200, None)),
        ("together", raw(92, 16, 108, reasoning_tokens=10, cached_tokens=4), (92, 4, None, 16, 10)),
        ("perplexity", raw(33, 11_395, 11_428, reasoning_tokens=193_947), (33, None, None, 205_342, 193_947)),
        ("gemini", raw(758, 102, 1_725), (758, None, None, 967, 865)),
        ("gemini", raw(10, 5, 15), (10, None, None, 5, 0)),
        (
            "compatible",
            raw(7, 1, 8, cache_read_input_tokens=2, cache_creation_input_tokens=3),
            (7, 2, 3, 1, None),
        ),
        ("compatible", {"prompt_n": 1, "cache_n": 83, "predicted_n": 57}, (84, 83, None, 57, None)),
        ("compatible", {"prompt_n": 37, "predicted_n": 11}, (37, None, None, 11, None)),
        ("never heard of", raw(1, 2, 3), (1, None, None, 2, None)),
    ],
)
def test_totals_are_what_the_provider_means(
    variant: str, stated: dict[str, Any], expected: tuple[int | None, ...]
) -> None:
    usage, notes = normalise_noted(stated, variant)
    assert counts(usage) == expected
    assert notes == ()
    assert usage.raw is stated


@pytest.mark.parametrize(
    ("variant", "stated", "expected", "note"),
    [
        ("openai", raw(100, 20, 500), (100, None, None, 20, None), "usage: total_tokens"),
        ("openai", raw(100, 20, 120, **details(150)), (100, None, None, 20, None), "bad_usage: cached"),
        (
            "openai",
            raw(100, 20, 120, **details(90, cache_write_tokens=11)),
            (100, 90, None, 20, None),
            "bad_usage: cache w",
        ),
        ("openai", raw(9, 2, 11, **details(0, 25)), (9, 0, None, 2, None), "bad_usage: reasoning"),
        ("together", raw(92, 16, 108, reasoning_tokens=18), (92, None, None, 16, None), "usage: reasoning"),
        (
            "deepseek",
            raw(1000, 10, 1010, prompt_cache_hit_tokens=900, prompt_cache_miss_tokens=300),
            (1000, None, None, 10, None),
            "bad_usage: cache hit",
        ),
    ],
)
def test_figures_that_contradict_each_other_are_noted(
    variant: str, stated: dict[str, Any], expected: tuple[int | None, ...], note: str
) -> None:
    usage, notes = normalise_noted(stated, variant)
    assert counts(usage) == expected
    assert len(notes) == 1
    assert notes[0].startswith(note)


@pytest.mark.parametrize("value", [True, 12.0, 12.5, -1, 10**19, "12", [1], float("nan"), float("inf"), {}])
def test_what_is_no_count_is_unknown_and_never_a_guess(value: Any) -> None:
    usage, notes = normalise_noted(raw(value, 20))
    assert counts(usage) == (None, None, None, 20, None)
    assert notes == ("bad_usage: prompt_tokens is no whole number of 0 to 19 digits",)
    assert normalise(raw(10**19 - 1, 1)).input_tokens == 10**19 - 1


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_what_is_no_object_has_no_counts(value: object) -> None:
    assert normalise_noted(value) == (Usage(), ("bad_usage: usage is no object",))


LOOSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.dictionaries(
        st.sampled_from(["cached_tokens", "reasoning_tokens", "usage", "cache_write_tokens"]), inner, max_size=3
    ),
    max_leaves=5,
)
NAMES = st.sampled_from(
    [
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "prompt_cache_hit_tokens",
        "prompt_cache_miss_tokens",
        "num_cached_tokens",
        "cached_tokens",
        "cache_creation_input_tokens",
        "reasoning_tokens",
        "x_groq",
        "prompt_n",
        "cache_n",
        "predicted_n",
    ]
)


@given(st.dictionaries(NAMES, LOOSE | st.integers(0, 50)), st.sampled_from(sorted(VARIANTS)))
def test_parts_never_exceed_what_they_are_part_of_and_nothing_raises(stated: dict[str, Any], variant: str) -> None:
    usage, _ = normalise_noted(stated, variant)
    assert all(count is None or (type(count) is int and count >= 0) for count in counts(usage))
    prompt, output = usage.input_tokens, usage.output_tokens
    if prompt is not None:
        assert (usage.cached_input_tokens or 0) + (usage.cache_write_tokens or 0) <= prompt
    if output is not None:
        assert (usage.reasoning_tokens or 0) <= output


def test_the_billing_vectors_of_this_shape_give_their_buckets(shared: Path) -> None:
    checked = 0
    for line in (shared / "billing" / "vectors.jsonl").read_text().splitlines():
        row = json.loads(line)
        stated = row["usage_raw"]
        if isinstance(stated, list):
            stated = next((one for one in reversed(stated) if one), None)
        if "chat.completions" not in row["api"] or not isinstance(stated, dict):
            continue
        usage, notes = normalise_noted(stated, quirks_of(row["provider"].replace("azure", "azure-openai")).usage)
        # A count far beyond the context window and a negative cost are for billing's admission to find.
        if row["expected_outcome"] == "quarantine" and row["id"] not in ("openai-030", "openrouter-005"):
            assert any(note.startswith("bad_usage") for note in notes), row["id"]
        buckets = row["canonical"]
        if buckets is None:
            continue
        side = {"in": 0, "out": 0}
        for name, tokens in buckets.items():
            if name != "citation":
                side["out" if name in ("output_text", "reasoning", "audio_out", "image_out") else "in"] += tokens
        assert (usage.input_tokens, usage.output_tokens) == (side["in"], side["out"]), row["id"]
        assert (usage.reasoning_tokens or 0) == buckets.get("reasoning", 0), row["id"]
        assert (usage.cached_input_tokens or 0) == buckets.get("cache_read", 0), row["id"]
        assert any(note.startswith("usage:") for note in notes) == (row["expected_outcome"] == "charge_and_flag")
        checked += 1
    assert checked > 30
