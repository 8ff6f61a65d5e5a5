"""Canonical buckets: what each provider's counts mean, what is refused, and that nothing hostile gets through."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.usage import normalisers
from clawbench.usage.buckets import BUCKETS, Buckets, Counted
from clawbench.usage.normalisers import CHAT, Normaliser, count, normaliser_for

ALL = {
    each.name: each
    for each in (
        *CHAT.values(),
        normalisers.OPENAI_RESPONSES,
        normaliser_for("openai_responses", "xai"),
        normaliser_for("openai_responses", "openrouter"),
        normalisers.ANTHROPIC,
        normalisers.GEMINI,
        normalisers.BEDROCK,
        normalisers.BEDROCK_INVOKE,
        normalisers.COHERE,
        normalisers.OLLAMA,
    )
}


def counted(normaliser: Normaliser, *usages: Any, **options: Any) -> Counted:
    texts = [usage if isinstance(usage, bytes) else json.dumps(usage).encode() for usage in usages]
    return count(normaliser, texts, **options)


def stated(normaliser: Normaliser, *usages: Any, **options: Any) -> dict[str, int]:
    found = counted(normaliser, *usages, **options)
    assert not found.refused
    assert not found.missing
    return found.buckets.stated()


CHAT_USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def test_parts_of_openai_s_prompt_and_completion_are_inside_them() -> None:
    usage = {
        "prompt_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 10, "audio_tokens": 5},
        "completion_tokens": 50,
        "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 4, "accepted_prediction_tokens": 7},
        "total_tokens": 150,
    }
    assert stated(normalisers.OPENAI_CHAT, usage) == {
        "uncached_input": 55,
        "cache_read": 30,
        "cache_write_5m": 10,
        "audio_in": 5,
        "output_text": 26,
        "reasoning": 20,
        "audio_out": 4,
    }


def test_cached_audio_is_a_bucket_of_its_own() -> None:
    usage = {
        "prompt_tokens": 100,
        "prompt_tokens_details": {
            "cached_tokens": 30,
            "cached_tokens_details": {"audio_tokens": 10},
            "audio_tokens": 25,
        },
        "completion_tokens": 1,
    }
    found = stated(normalisers.OPENAI_CHAT, usage)
    assert found == {
        "uncached_input": 55,
        "cache_read": 20,
        "audio_in": 15,
        "audio_cache_read": 10,
        "output_text": 1,
    }
    assert sum(found.values()) == 101


def test_both_ways_in_which_xai_reports_a_call_give_one_bill() -> None:
    beside = {"prompt_tokens": 125, "completion_tokens": 48, "total_tokens": 473}
    inside = {"prompt_tokens": 125, "completion_tokens": 348, "total_tokens": 473}
    details = {"completion_tokens_details": {"reasoning_tokens": 300}}
    assert stated(CHAT["xai"], beside | details) == stated(CHAT["xai"], inside | details)


def test_xai_s_ticks_are_ten_billionths_of_a_dollar() -> None:
    found = counted(CHAT["xai"], CHAT_USAGE | {"cost_in_usd_ticks": 4_420_000})
    assert found.reported_usd == Fraction("0.000442")


def test_thoughts_that_gemini_hides_in_the_total_are_found() -> None:
    usage = {"prompt_tokens": 758, "completion_tokens": 102, "total_tokens": 1725}
    assert stated(CHAT["gemini"], usage) == {"uncached_input": 758, "output_text": 102, "reasoning": 865}


def test_gemini_s_audio_is_divided_into_cached_and_not() -> None:
    usage = {
        "promptTokenCount": 1000,
        "candidatesTokenCount": 100,
        "cachedContentTokenCount": 500,
        "toolUsePromptTokenCount": 7,
        "totalTokenCount": 1107,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 300}, {"modality": "AUDIO", "tokenCount": 700}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 400}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 60}],
    }
    assert stated(normalisers.GEMINI, usage) == {
        "uncached_input": 207,
        "cache_read": 100,
        "audio_in": 300,
        "audio_cache_read": 400,
        "output_text": 40,
        "image_out": 60,
    }


def test_gemini_without_candidates_has_only_thought_but_without_thoughts_says_nothing() -> None:
    thought = {"promptTokenCount": 500, "thoughtsTokenCount": 8192, "totalTokenCount": 8692}
    assert stated(normalisers.GEMINI, thought) == {"uncached_input": 500, "reasoning": 8192}
    assert counted(normalisers.GEMINI, {"promptTokenCount": 500}).missing == ("candidatesTokenCount",)


@pytest.mark.parametrize(("asked", "bucket"), [(None, "cache_write_5m"), ("1h", "cache_write_1h")])
def test_written_tokens_without_a_split_have_the_lifetime_that_was_asked_for(asked: str | None, bucket: str) -> None:
    usage = {"input_tokens": 1, "cache_creation_input_tokens": 9, "output_tokens": 2}
    assert stated(normalisers.ANTHROPIC, usage, asked_ttl=asked)[bucket] == 9


def test_a_split_that_disagrees_with_its_sum_stands_and_is_flagged() -> None:
    usage = {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_creation_input_tokens": 248,
        "cache_creation": {"ephemeral_5m_input_tokens": 456, "ephemeral_1h_input_tokens": 100},
    }
    found = counted(normalisers.ANTHROPIC, usage)
    assert found.flags
    assert found.buckets.stated()["cache_write_5m"] == 456
    assert found.buckets.stated()["cache_write_1h"] == 100


def test_anthropic_s_rounds_are_the_bill_each_with_its_own_model() -> None:
    usage = {
        "input_tokens": 23,
        "output_tokens": 10,
        "output_tokens_details": {"thinking_tokens": 6},
        "iterations": [
            {"type": "message", "input_tokens": 20, "output_tokens": 4},
            {"type": "advisor_message", "model": "big", "input_tokens": 50, "output_tokens": 5},
            {"type": "message", "input_tokens": 3, "output_tokens": 6},
        ],
    }
    found = counted(normalisers.ANTHROPIC, usage)
    assert [part.model for part in found.parts] == [None, "big", None]
    assert found.buckets.stated() == {"uncached_input": 73, "output_text": 9, "reasoning": 6}


def test_each_field_of_a_later_snapshot_overwrites_in_anthropic_s_streams() -> None:
    start = {"input_tokens": 2679, "cache_read_input_tokens": 0, "output_tokens": 3}
    found = counted(
        normalisers.ANTHROPIC, start, {"output_tokens": 5}, {"input_tokens": 1, "output_tokens": 9}, stream=True
    )
    assert found.buckets.stated() == {"uncached_input": 1, "output_text": 9}
    assert found.notes == ("input_tokens fell from 2679 to 1 within the stream",)


def test_a_stream_of_anthropic_s_that_was_cut_knows_its_prompt_and_not_its_output() -> None:
    found = counted(normalisers.ANTHROPIC, {"input_tokens": 3000, "output_tokens": 1}, stream=True)
    assert found.missing == ("output_tokens",)
    assert found.buckets.stated() == {"uncached_input": 3000}


def test_the_last_usage_of_a_stream_stands_and_empty_ones_say_nothing() -> None:
    first = {"prompt_tokens": 10, "completion_tokens": 1}
    last = {"prompt_tokens": 10, "completion_tokens": 7}
    assert stated(normalisers.OPENAI_CHAT, b"null", first, last, {}, b"null", stream=True) == {
        "uncached_input": 10,
        "output_text": 7,
    }


def test_cohere_alone_may_write_counts_with_a_fraction_of_zero() -> None:
    assert stated(normalisers.COHERE, {"billed_units": {"input_tokens": 5.0, "output_tokens": 418.0}}) == {
        "uncached_input": 5,
        "output_text": 418,
    }
    assert counted(normalisers.COHERE, {"billed_units": {"input_tokens": 5.5, "output_tokens": 1}}).refused
    assert counted(normalisers.OPENAI_CHAT, CHAT_USAGE | {"prompt_tokens": 100.0}).refused


def test_a_key_of_one_s_own_adds_the_provider_s_cost_to_openrouter_s() -> None:
    costs = {"cost": 0.1, "cost_details": {"upstream_inference_cost": 0.02}}
    assert counted(CHAT["openrouter"], CHAT_USAGE | costs).reported_usd == Fraction("0.1")
    assert counted(CHAT["openrouter"], CHAT_USAGE | costs | {"is_byok": True}).reported_usd == Fraction("0.12")


def test_a_stated_cost_keeps_every_digit_of_its_literal() -> None:
    text = b'{"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.0123456789012345678901234567}'
    assert counted(CHAT["openrouter"], text).reported_usd == Fraction("0.0123456789012345678901234567")


@pytest.mark.parametrize(
    ("usage", "why"),
    [
        ({"prompt_tokens": True}, "no whole number"),
        ({"prompt_tokens": "100"}, "no whole number"),
        ({"prompt_tokens": -1}, "no whole number"),
        ({"prompt_tokens": 10**15}, "no whole number"),
        ({"completion_tokens": 12.5}, "no whole number"),
        ({"total_tokens": 112.5}, "no whole number"),
        ({"prompt_tokens_details": {"cached_tokens": 150}}, "exceeds 100"),
        ({"completion_tokens_details": {"reasoning_tokens": 21}}, "exceeds 20"),
        ({"completion_tokens_details": {"rejected_prediction_tokens": -4}}, "no whole number"),
        ({"prompt_tokens_details": [1]}, "no object"),
    ],
)
def test_figures_that_no_answer_can_have_are_refused(usage: dict[str, Any], why: str) -> None:
    (refused, *_) = counted(normalisers.OPENAI_CHAT, CHAT_USAGE | usage, bound=400_000).refused
    assert why in refused


@pytest.mark.parametrize(
    "text",
    [
        b'{"prompt_tokens": NaN, "completion_tokens": 1}',
        b'{"prompt_tokens": 1, "completion_tokens": Infinity}',
        b'{"prompt_tokens": 1, "prompt_tokens": 2, "completion_tokens": 1}',
        b'{"prompt_tokens": 12345678901234567890, "completion_tokens": 1}',
        b'{"prompt_tokens": 1, "completion_tokens": 1e400}',
        b'{"prompt_tokens": 1, "completion_tokens": 1, "deep": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"prompt_tokens": 1, "completion_tokens": 1, "long": "' + b"x" * 70_000 + b'"}',
        b"[]",
        b'"none"',
        b"{",
        b"\xff",
        b"",
    ],
)
def test_text_that_is_no_sane_usage_object_is_refused(text: bytes) -> None:
    assert counted(normalisers.OPENAI_CHAT, text).refused


@pytest.mark.parametrize("cost", [b"-0.5", b"1e7", b"1e-31", b"0." + b"1" * 40, b'"0.1"', b"true", b"[]"])
def test_a_stated_cost_that_is_none_is_refused(cost: bytes) -> None:
    text = b'{"prompt_tokens": 1, "completion_tokens": 1, "cost": ' + cost + b"}"
    assert counted(CHAT["openrouter"], text).refused


def test_an_absent_primary_count_is_missing_and_an_explicit_zero_is_not() -> None:
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert stated(normalisers.OPENAI_CHAT, zero) == {}
    assert counted(normalisers.OPENAI_CHAT, {"completion_tokens": 3}).missing == ("prompt_tokens",)
    assert counted(normalisers.OPENAI_CHAT, b"null").missing == ("usage",)
    assert counted(normalisers.OPENAI_CHAT).missing == ("usage",)
    assert counted(normalisers.OLLAMA, {"eval_count": 298}).missing == ("prompt_eval_count",)


def test_a_sum_that_does_not_hold_is_flagged_and_its_parts_are_billed() -> None:
    found = counted(normalisers.OPENAI_CHAT, CHAT_USAGE | {"total_tokens": 500})
    assert found.flags == ("total_tokens 500 is not 120",)
    assert found.buckets == Buckets(uncached_input=100, output_text=20)


NUMBERS = st.one_of(
    st.integers(0, 2000),
    st.integers(-(10**25), 10**25),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
)
NAMES = st.sampled_from(
    sorted(
        {
            *["prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cached_tokens"],
            *["reasoning_tokens", "audio_tokens", "cache_write_tokens", "prompt_cache_hit_tokens"],
            *["prompt_cache_miss_tokens", "cost", "is_byok", "upstream_inference_cost", "cost_in_usd_ticks"],
            *["promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount"],
            *["toolUsePromptTokenCount", "totalTokenCount", "tokenCount", "modality", "inputTokens", "outputTokens"],
            *["cacheReadInputTokens", "cacheWriteInputTokens", "totalTokens", "ttl", "prompt_eval_count", "eval_count"],
            *["cache_read_input_tokens", "cache_creation_input_tokens", "ephemeral_5m_input_tokens"],
            *["citation_tokens", "num_search_queries", "search_context_size", "total_cost", "model", "thinking_tokens"],
        }
    )
)
PARENTS = st.sampled_from(
    [
        *["prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details"],
        *["cost_details", "cost", "promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails"],
        *["cacheDetails", "cache_creation", "iterations", "billed_units", "server_tool_use"],
        *["server_side_tool_usage_details", "cached_tokens_details"],
    ]
)
FLAT = st.dictionaries(NAMES, NUMBERS, max_size=8)
HOSTILE = st.builds(
    lambda flat, nested: flat | nested,
    FLAT,
    st.dictionaries(PARENTS, st.one_of(FLAT, st.lists(FLAT, max_size=3), NUMBERS), max_size=4),
)


@given(
    usages=st.lists(HOSTILE, min_size=1, max_size=3),
    name=st.sampled_from(sorted(ALL)),
    stream=st.booleans(),
    asked=st.sampled_from([None, "1h"]),
)
def test_nothing_a_provider_states_raises_or_is_counted_below_zero(
    usages: list[dict[str, Any]], name: str, stream: bool, asked: str | None
) -> None:
    found = counted(ALL[name], *usages, stream=stream, bound=4_000_000, asked_ttl=asked)
    assert found.normaliser == name
    for part in found.parts:
        assert all(type(tokens) is int and tokens >= 0 for tokens in part.buckets)
    if not found.refused:
        assert all(tokens <= 4 * 4_000_000 * 3 for tokens in found.buckets)
        assert found.reported_usd is None or found.reported_usd >= 0
        assert all(number >= 0 for use in found.uses for number in use.counts.values())


@given(text=st.binary(max_size=200), name=st.sampled_from(sorted(ALL)))
def test_no_bytes_at_all_raise(text: bytes, name: str) -> None:
    counted(ALL[name], text)


COUNTS = st.integers(0, 100_000)


@given(prompt=COUNTS, completion=COUNTS, cached=COUNTS, reasoning=COUNTS, name=st.sampled_from(sorted(CHAT)))
def test_buckets_add_up_to_what_was_stated_or_the_usage_is_refused(
    prompt: int, completion: int, cached: int, reasoning: int, name: str
) -> None:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    found = counted(CHAT[name], usage)
    if not found.refused:
        beside = reasoning if name == "vercel-gw" else 0
        assert sum(found.buckets) == prompt + completion + beside
        assert not found.flags
    assert bool(found.refused) <= (cached > prompt or reasoning > completion)


def test_every_bucket_is_named_once_and_in_order() -> None:
    assert Buckets._fields == BUCKETS


def test_an_unknown_provider_of_openai_s_dialect_is_read_as_openai_and_an_unknown_dialect_not_at_all() -> None:
    assert normaliser_for("openai_chat", "nobody-knows") is normalisers.OPENAI_CHAT
    with pytest.raises(KeyError):
        normaliser_for("nobodys_dialect", "bedrock")
