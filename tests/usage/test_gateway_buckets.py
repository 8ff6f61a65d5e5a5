"""Gateways that state what they take, and others whose counts stand where nobody else's do. Figures from real calls."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest

from clawbench.usage.buckets import Counted
from clawbench.usage.normalisers import BEDROCK_INVOKE, GEMINI, count, normaliser_for

OPENROUTER = normaliser_for("openai_chat", "openrouter")
VERCEL = normaliser_for("openai_chat", "vercel-gw")
MISTRAL = normaliser_for("openai_chat", "mistral")


def counted(normaliser: Any, **usage: Any) -> Counted:
    return count(normaliser, (json.dumps(usage).encode(),))


def chat(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion} | more


def test_vercel_s_reasoning_stands_beside_the_completion_and_in_no_total() -> None:
    usage = chat(9, 2, cost=0.0000702, market_cost=0.0000702, completion_tokens_details={"reasoning_tokens": 25})
    found = counted(VERCEL, **usage)
    assert found.buckets.stated() == {"uncached_input": 9, "output_text": 2, "reasoning": 25}
    assert (found.refused, found.flags) == ((), ())
    assert found.reported_usd == Fraction("0.0000702") == (9 * 3 + 27 * 25) * Fraction(1, 10**7)


def test_vercel_with_a_key_of_one_s_own_costs_what_the_provider_takes() -> None:
    assert counted(VERCEL, **chat(9, 2, cost=0, market_cost=0.5, is_byok=True)).reported_usd == Fraction("0.5")
    assert counted(VERCEL, **chat(9, 2, cost=0.25, market_cost=0.5, is_byok=False)).reported_usd == Fraction("0.25")
    assert counted(VERCEL, **chat(9, 2, cost=0.25, is_byok="no")).refused


def test_vercel_names_written_tokens_as_anthropic_does() -> None:
    details = {"cached_tokens": 30}
    found = counted(VERCEL, **chat(100, 2, cache_creation_input_tokens=20, prompt_tokens_details=details))
    assert found.buckets.stated() == {
        "uncached_input": 50,
        "cache_read": 30,
        "cache_write_5m": 20,
        "output_text": 2,
    }


def test_a_new_cache_of_google_s_at_openrouter_is_written_and_read_in_one_call() -> None:
    details = {"cached_tokens": 2161, "cache_write_tokens": 2161}
    found = counted(OPENROUTER, **chat(2168, 100, cost=0.0004970133333333333, prompt_tokens_details=details))
    assert not found.refused
    assert found.buckets.stated() == {
        "uncached_input": 7,
        "cache_read": 2161,
        "cache_write_5m": 2161,
        "output_text": 100,
    }
    assert found.flags == ("the 2161 written tokens were read in the same call",)


@pytest.mark.parametrize(
    "details",
    [
        {"cached_tokens": 60, "cache_write_tokens": 50},
        {"cached_tokens": 101, "cache_write_tokens": 101},
        {"cached_tokens": 101, "cache_write_tokens": 0},
    ],
)
def test_other_caches_that_do_not_fit_the_prompt_are_refused(details: dict[str, int]) -> None:
    assert counted(OPENROUTER, **chat(100, 1, prompt_tokens_details=details)).refused


def test_caches_that_fit_the_prompt_stay_apart_also_where_they_are_equal() -> None:
    details = {"cached_tokens": 50, "cache_write_tokens": 50}
    found = counted(OPENROUTER, **chat(100, 1, prompt_tokens_details=details))
    assert found.buckets.uncached_input == 0
    assert not found.flags


def test_searches_and_other_tools_that_ran_at_openrouter_are_uses() -> None:
    used = {"web_search_requests": 1, "tool_calls_requested": 1, "tool_calls_executed": 1}
    assert [each.counts for each in counted(OPENROUTER, **chat(1, 1, server_tool_use_details=used)).uses] == [
        {"web_search": 1}
    ]
    advised = {"tool_calls_requested": 2, "tool_calls_executed": 2}
    assert [each.counts for each in counted(OPENROUTER, **chat(1, 1, server_tool_use_details=advised)).uses] == [
        {"server_tool": 2}
    ]
    assert counted(OPENROUTER, **chat(1, 1, server_tool_use_details={"web_search_requests": -1})).refused


def test_avian_takes_what_it_says_and_counts_as_openai_does() -> None:
    usage = chat(
        154,
        131,
        cost=0.0003287,
        prompt_tokens_details={"cached_tokens": 128, "cache_write_tokens": 0},
        completion_tokens_details={"reasoning_tokens": 87},
    )
    found = counted(normaliser_for("openai_chat", "api.avian.io"), **usage)
    assert found.buckets.stated() == {"uncached_input": 26, "cache_read": 128, "output_text": 44, "reasoning": 87}
    assert found.reported_usd == Fraction("0.0003287")


def test_azure_bills_xai_s_models_itself_so_that_ticks_of_zero_are_no_cost() -> None:
    usage = chat(205, 18, cost_in_usd_ticks=0, prompt_tokens_details={"cached_tokens": 159})
    assert counted(normaliser_for("openai_chat", "azure-ai"), **usage).reported_usd is None
    assert counted(normaliser_for("openai_chat", "xai"), **usage).reported_usd == 0


@pytest.mark.parametrize(
    ("total", "prompt", "buckets"),
    [
        (585, 9, {"uncached_input": 9, "audio_in": 375, "output_text": 201}),
        (210 + 375, 384, {"uncached_input": 9, "audio_in": 375, "output_text": 201}),
    ],
)
def test_mistral_s_audio_is_beside_the_prompt_or_inside_it_as_the_total_says(
    total: int, prompt: int, buckets: dict[str, int]
) -> None:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": 201,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 375},
    }
    found = counted(MISTRAL, **usage)
    assert found.buckets.stated() == buckets
    assert not found.flags


def test_mistral_s_audio_above_a_prompt_that_holds_it_is_refused() -> None:
    assert counted(MISTRAL, **chat(9, 1, prompt_tokens_details={"audio_tokens": 10})).refused


@pytest.mark.parametrize(
    ("usage", "buckets"),
    [
        (
            {"inputTokenCount": 16, "outputTokenCount": 63, "cacheReadInputTokenCount": 5},
            {"uncached_input": 16, "cache_read": 5, "output_text": 63},
        ),
        ({"inputTextTokenCount": 18, "totalOutputTextTokenCount": 51}, {"uncached_input": 18, "output_text": 51}),
        ({"prompt_token_count": 7, "generation_token_count": 9}, {"uncached_input": 7, "output_text": 9}),
        ({"inputTokens": 5, "outputTokens": 10, "totalTokens": 15}, {"uncached_input": 5, "output_text": 10}),
        (chat(5, 10), {"uncached_input": 5, "output_text": 10}),
    ],
)
def test_invoke_model_counts_under_the_names_of_each_family(usage: dict[str, int], buckets: dict[str, int]) -> None:
    assert counted(BEDROCK_INVOKE, **usage).buckets.stated() == buckets


def test_invoke_model_without_a_count_misses_it() -> None:
    assert counted(BEDROCK_INVOKE, inputTokenCount=16).missing == ("outputTokenCount",)
    assert counted(BEDROCK_INVOKE, outputTokenCount=-1).refused


def gemini(**more: Any) -> Counted:
    return counted(GEMINI, promptTokenCount=100, candidatesTokenCount=20, totalTokenCount=120, **more)


def listed(**tokens: int) -> list[dict[str, Any]]:
    return [{"modality": kind, "tokenCount": count} for kind, count in tokens.items()]


def test_a_cached_document_is_images_to_the_cache_and_no_more_than_the_prompt_has() -> None:
    asked = listed(TEXT=10, DOCUMENT=90)
    fits = gemini(cachedContentTokenCount=95, promptTokensDetails=asked, cacheTokensDetails=listed(TEXT=10, IMAGE=85))
    assert not fits.refused
    for kept in (listed(TEXT=11, IMAGE=84), listed(IMAGE=95), listed(AUDIO=1)):
        assert gemini(cachedContentTokenCount=95, promptTokensDetails=asked, cacheTokensDetails=kept).refused
