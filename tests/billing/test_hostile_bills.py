"""Worked bills of usage that must not be believed, in every API: nothing is charged that was not counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clawbench.billing.vectors import PriceSheet, read_vectors
from clawbench.billing.worked_bills import WorkedBill, work

PRICES = {
    "uncached_input": "2",
    "cache_read": "0.5",
    "cache_write_5m": "2.5",
    "cache_write_1h": "4",
    "output_text": "10",
    "reasoning": "10",
    "audio_in": "3",
    "audio_cache_read": "1",
    "image_out": "30",
}
CHAT = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
RESPONSES = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
MESSAGES = {"input_tokens": 100, "output_tokens": 20}
GEMINI = {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120}
CONVERSE = {"inputTokens": 100, "outputTokens": 20, "totalTokens": 120}

Shape = tuple[str, str, dict[str, Any]]
SHAPES: tuple[Shape, ...] = (
    *(
        (provider, "chat.completions", CHAT)
        for provider in (
            "openai",
            "azure",
            "xai",
            "mistral",
            "together",
            "groq",
            "fireworks",
            "perplexity",
            "vercel-gw",
        )
    ),
    ("deepseek", "chat.completions", CHAT | {"prompt_cache_hit_tokens": 40, "prompt_cache_miss_tokens": 60}),
    ("openrouter", "chat.completions", CHAT | {"cost": 0.001}),
    ("gemini", "openai-compat chat.completions", CHAT),
    ("openai", "responses", RESPONSES),
    ("xai", "responses", RESPONSES),
    ("anthropic", "messages", MESSAGES),
    ("bedrock", "invoke", MESSAGES),
    ("gemini", "generateContent", GEMINI),
    ("vertex_ai", "generateContent", GEMINI),
    ("bedrock", "converse", CONVERSE),
    ("ollama", "api/chat", {"prompt_eval_count": 100, "eval_count": 20}),
)
NAMES = [f"{provider} {api}" for provider, api, _ in SHAPES]
HOSTILE = (
    "-1", "12.5", "12.0", "true", '"12"', "1000000000000000", "[1]", "{}", "1e400", "1e2", "NaN", "Infinity",
    "-Infinity", "1" * 30, "9999999999999999999",
)  # fmt: skip


def row(provider: str, api: str, usage: Any, outcome: str, usd: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": json.dumps(usage)[:80],
        "provider": provider,
        "api": api,
        "model": "m",
        "price_key": "m",
        "price_per_mtok": PRICES,
        "usage_raw": usage,
        "expected_outcome": outcome,
        "expected_cost_usd": usd,
    } | more


def worked(tmp_path: Path, rows: list[dict[str, Any]]) -> list[WorkedBill]:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return [work(each, PriceSheet([each])) for each in read_vectors(path)]


def differing(tmp_path: Path, rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [(each.id, *each.differences, *each.reasons) for each in worked(tmp_path, rows) if each.differences]


def primaries(usage: dict[str, Any]) -> list[str]:
    return list(usage)[:2]


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_a_primary_count_that_is_no_count_is_refused(tmp_path: Path, shape: Shape) -> None:
    provider, api, usage = shape
    texts = [json.dumps(usage | {key: "@"}).replace('"@"', literal) for key in primaries(usage) for literal in HOSTILE]
    assert not differing(tmp_path, [row(provider, api, text, "quarantine") for text in texts])


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_an_absent_count_is_estimated_and_a_stated_zero_is_charged(tmp_path: Path, shape: Shape) -> None:
    provider, api, usage = shape
    rows = [row(provider, api, usage | {key: None}, "estimate_and_flag") for key in primaries(usage)]
    rows += [
        row(provider, api, {name: n for name, n in usage.items() if name != key}, "estimate_and_flag")
        for key in primaries(usage)
    ]
    rows += [row(provider, api, None, "estimate_and_flag"), row(provider, api, {}, "estimate_and_flag")]
    zero = dict.fromkeys(usage, 0)
    rows.append(row(provider, api, zero, "charge_provider_reported" if "cost" in usage else "charge", "0"))
    assert not differing(tmp_path, rows)


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_a_repeated_key_is_refused_and_a_bucket_without_a_price_is_not_charged(tmp_path: Path, shape: Shape) -> None:
    provider, api, usage = shape
    key = primaries(usage)[0]
    twice = json.dumps(usage)[:-1] + f', "{key}": 1}}'
    unpriced = row(provider, api, usage, "quarantine", price_per_mtok={"uncached_input": "2"})
    if "cost" in usage:
        unpriced["expected_outcome"] = "charge_provider_reported"
    assert not differing(tmp_path, [row(provider, api, twice, "quarantine"), unpriced])


@pytest.mark.parametrize("provider", ["openai", "azure", "groq", "fireworks", "openrouter", "xai", "mistral"])
def test_a_part_above_its_whole_is_refused_and_one_that_is_all_of_it_is_charged(tmp_path: Path, provider: str) -> None:
    usage = CHAT | ({"cost": 0.001} if provider == "openrouter" else {})
    good = "charge_provider_reported" if provider == "openrouter" else "charge"
    parts: list[tuple[Any, str]] = [(101, "quarantine"), (100, good), (0, good), (None, good)]
    odd: tuple[Any, ...] = (-1, True, "5", 0.5, [], 10**15)
    parts += [(bad, "quarantine") for bad in odd]
    rows = [
        row(provider, "chat.completions", usage | {"prompt_tokens_details": {"cached_tokens": cached}}, outcome)
        for cached, outcome in parts
    ]
    if provider != "mistral":  # its reasoning is completion like any other
        rows += [
            row(provider, "chat.completions", usage | {"completion_tokens_details": {"reasoning_tokens": n}}, outcome)
            for n, outcome in ((21, "quarantine"), (20, good), (-1, "quarantine"))
        ]
    rows += [
        row(provider, "chat.completions", usage | {"prompt_tokens_details": none}, "quarantine")
        for none in ([1], "x", 1)
    ]
    odd_total = {"xai": "quarantine", "openrouter": good}.get(provider, "charge_and_flag")
    rows.append(row(provider, "chat.completions", usage | {"total_tokens": 999}, odd_total))
    rows.append(row(provider, "chat.completions", usage | {"total_tokens": None}, good))
    assert not differing(tmp_path, rows)


MORE: tuple[tuple[str, str, Any, str, str | None], ...] = (
    ("anthropic", "messages", MESSAGES | {"output_tokens_details": {"thinking_tokens": 25}}, "quarantine", None),
    ("anthropic", "messages", MESSAGES | {"cache_read_input_tokens": 10**12}, "quarantine", None),
    ("anthropic", "messages", MESSAGES | {"server_tool_use": {"web_search_requests": True}}, "quarantine", None),
    ("anthropic", "messages", MESSAGES | {"server_tool_use": {"web_search_requests": 1}}, "quarantine", None),
    ("anthropic", "messages", MESSAGES | {"server_tool_use": {"web_fetch_requests": 3}}, "charge", "0.0004"),
    ("anthropic", "messages", MESSAGES | {"iterations": [{"input_tokens": 5}]}, "estimate_and_flag", None),
    ("anthropic", "messages", MESSAGES | {"iterations": "x"}, "quarantine", None),
    ("anthropic", "messages", MESSAGES | {"iterations": []}, "charge", "0.0004"),
    ("gemini", "generateContent", GEMINI | {"cachedContentTokenCount": 101}, "quarantine", None),
    ("gemini", "generateContent", GEMINI | {"thoughtsTokenCount": -1}, "quarantine", None),
    ("gemini", "generateContent", GEMINI | {"promptTokensDetails": {"a": 1}}, "quarantine", None),
    ("gemini", "generateContent", GEMINI | {"totalTokenCount": 121}, "charge_and_flag", "0.0004"),
    (
        "gemini",
        "generateContent",
        GEMINI | {"candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 15}]},
        "charge",
        "0.0007",
    ),
    ("gemini", "openai-compat chat.completions", CHAT | {"total_tokens": 100}, "charge_and_flag", "0.0004"),
    ("gemini", "openai-compat chat.completions", CHAT | {"total_tokens": 150}, "charge", "0.0007"),
    ("gemini", "openai-compat chat.completions", CHAT | {"total_tokens": 10**15}, "quarantine", None),
    (
        "bedrock",
        "converse",
        CONVERSE | {"cacheWriteInputTokens": 10, "cacheDetails": [{"ttl": "5m", "inputTokens": 5}], "totalTokens": 130},
        "charge_and_flag",
        "0.0004125",
    ),
    ("bedrock", "converse", CONVERSE | {"cacheReadInputTokens": -10}, "quarantine", None),
    ("cohere", "v2/chat", {"billed_units": {"input_tokens": 5.5, "output_tokens": 1}}, "quarantine", None),
    ("cohere", "v2/chat", {"billed_units": {"input_tokens": True, "output_tokens": 1}}, "quarantine", None),
    ("cohere", "v2/chat", {"billed_units": {"input_tokens": 1e15, "output_tokens": 1}}, "quarantine", None),
    ("cohere", "v2/chat", {"tokens": {"input_tokens": 5, "output_tokens": 1}}, "estimate_and_flag", None),
    ("deepseek", "chat.completions", CHAT | {"prompt_cache_miss_tokens": 60}, "charge", "0.00034"),
    ("deepseek", "chat.completions", CHAT | {"prompt_cache_miss_tokens": 160}, "quarantine", None),
    ("xai", "chat.completions", CHAT | {"cost_in_usd_ticks": -5}, "quarantine", None),
    ("xai", "chat.completions", CHAT | {"cost_in_usd_ticks": 5.5}, "quarantine", None),
    ("xai", "chat.completions", CHAT | {"cost_in_usd_ticks": True}, "quarantine", None),
    ("xai", "chat.completions", CHAT | {"cost_in_usd_ticks": 10**18}, "quarantine", None),
    ("xai", "chat.completions", CHAT | {"cost_in_usd_ticks": 0}, "charge_provider_reported", "0"),
    ("openrouter", "chat.completions", CHAT | {"cost": "0.1"}, "quarantine", None),
    ("openrouter", "chat.completions", CHAT | {"cost": True}, "quarantine", None),
    ("openrouter", "chat.completions", CHAT | {"cost": 1e9}, "quarantine", None),
    ("openrouter", "chat.completions", json.dumps(CHAT)[:-1] + ', "cost": NaN}', "quarantine", None),
    ("openrouter", "chat.completions", json.dumps(CHAT)[:-1] + ', "cost": 1e400}', "quarantine", None),
    ("openrouter", "chat.completions", json.dumps(CHAT)[:-1] + ', "cost": 1e-31}', "quarantine", None),
    ("openrouter", "chat.completions", json.dumps(CHAT)[:-1] + f', "cost": 0.{"0" * 39}1}}', "quarantine", None),
    ("openrouter", "chat.completions", CHAT, "charge", "0.0004"),
    (
        "openrouter",
        "chat.completions",
        CHAT | {"cost": 0.00005, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.001}},
        "charge_provider_reported",
        "0.00105",
    ),
    ("perplexity", "chat.completions", CHAT | {"search_context_size": 5}, "quarantine", None),
    ("perplexity", "chat.completions", CHAT | {"search_context_size": "huge"}, "quarantine", None),
    ("perplexity", "chat.completions", CHAT | {"citation_tokens": -1}, "quarantine", None),
    ("perplexity", "chat.completions", CHAT | {"cost": {"total_cost": 1}}, "charge_and_flag", "0.0004"),
    ("perplexity", "chat.completions", CHAT | {"cost": {"total_cost": -1}}, "quarantine", None),
)


def test_what_else_each_api_counts_is_believed_only_where_it_can_be(tmp_path: Path) -> None:
    rows = [row(provider, api, usage, outcome, usd) for provider, api, usage, outcome, usd in MORE]
    assert not differing(tmp_path, rows)


@pytest.mark.parametrize(
    ("usd_per_mtok", "outcome"), [("10", "charge"), ("10.000001", "charge_and_flag"), ("40", "charge_and_flag"),
                                  ("40.000001", "quarantine")],
)  # fmt: skip
def test_a_charge_far_above_its_hold_is_not_believed(tmp_path: Path, usd_per_mtok: str, outcome: str) -> None:
    usage = {"prompt_tokens": 10**6, "completion_tokens": 0, "total_tokens": 10**6}
    prices = {"uncached_input": usd_per_mtok, "output_text": "1"}
    assert not [
        each
        for each in worked(tmp_path, [row("openai", "chat.completions", usage, outcome, price_per_mtok=prices)])
        if each.outcome != outcome
    ]


def arithmetic(outcome: str, charge: str | None = None, **stated: Any) -> dict[str, Any]:
    return {
        "id": json.dumps(stated),
        "provider": "gateway",
        "api": "ledger",
        "usage_raw": {"upstream_cost_usd": "0.01", "margin_bps": 0, "uat_per_usd": "1", "scale": 12} | stated,
        "expected_outcome": outcome,
        "expected_charge_pico_uat": charge,
    }


def test_arithmetic_rounds_up_once_and_refuses_what_no_ledger_holds(tmp_path: Path) -> None:
    most = "9223372036854775807"
    rows = [
        arithmetic("charge", "20000000000", uat_per_usd="2"),
        arithmetic("charge", "3333663333", margin_bps=1, uat_per_usd="0.333333"),
        arithmetic("charge", "1", upstream_cost_usd="1e-18", margin_bps=550),
        arithmetic("charge", "2000000", upstream_cost_usd="0.000001", margin_bps=550, scale=6),
        arithmetic("charge", most, upstream_cost_usd="9223372.036854775807"),
        arithmetic("quarantine", upstream_cost_usd="9223372.0368547758071"),
        arithmetic("quarantine", upstream_cost_usd="9223372", margin_bps=1),
        arithmetic("quarantine", upstream_cost_usd="-1"),
        arithmetic("quarantine", upstream_cost_usd="NaN"),
        arithmetic("quarantine", margin_bps=-1),
        arithmetic("quarantine", uat_per_usd="0"),
        arithmetic("quarantine", uat_per_usd="-1"),
    ]
    assert not differing(tmp_path, rows)


def test_arithmetic_that_states_nothing_is_named_with_its_line(tmp_path: Path) -> None:
    odd = [arithmetic("charge") | {"usage_raw": usage} for usage in ([1], None)] + [arithmetic("charge", scale=13)]
    for line, each in enumerate(worked(tmp_path, odd), 1):
        assert each.outcome == "not run"
        assert each.differences[0].startswith(f"line {line}: ")
