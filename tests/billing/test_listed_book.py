"""Price books out of published lists: every table that a list states, and what of it cannot be kept."""

from __future__ import annotations

import gzip
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from clawbench.billing.charge import Cost, Served, Unpriced, cost_of
from clawbench.billing.listed_book import ListedBook, Listing, listed_book, read_catwalk, rows_of
from clawbench.billing.listed_figures import Rounding
from clawbench.billing.price_book import BadPriceBook, instant
from clawbench.catalog.genai_prices import GenaiPrices
from clawbench.catalog.litellm_prices import LiteLLMPrices
from clawbench.catalog.openrouter_prices import OpenRouterPrices
from clawbench.money import PICO
from clawbench.usage.buckets import BUCKETS, Buckets, Counted, Part, Uses

AUTUMN_S = instant("2026-10-07T12:00:00Z")  # a Wednesday


def parsed(content: Any) -> Any:
    return json.loads(json.dumps(content), parse_float=str)


def litellm(entries: dict[str, dict[str, Any]]) -> Listing:
    return Listing(rows_of(LiteLLMPrices("litellm", parsed(entries))))


def genai(provider: str, *models: dict[str, Any], since: str | None = None) -> Listing:
    return Listing(rows_of(GenaiPrices("genai", parsed([{"id": provider, "models": models}]))), since)


def book(listing: Listing, provider: str, model: str, *more: Listing, rounding: Rounding = "refuse") -> ListedBook:
    return listed_book([listing, *more], [(provider, model)], rounding=rounding)


def rate(
    listed: ListedBook, provider: str, model: str, bucket: str, *, tier: str | None = None, tokens: int = 1,
    at_s: float = AUTUMN_S,
) -> int | None:  # fmt: skip
    price = listed.book.price(provider, model, at_s, tier, tokens)
    return None if price is None else price.rates[BUCKETS.index(bucket)]


GPT: dict[str, Any] = {
    "litellm_provider": "openai",
    "input_cost_per_token": 2.5e-06,
    "output_cost_per_token": 1.5e-05,
    "cache_read_input_token_cost": 2.5e-07,
    "cache_creation_input_token_cost": 3e-06,
    "cache_creation_input_token_cost_above_1hr": 5e-06,
    "input_cost_per_audio_token": 4e-05,
    "input_cost_per_token_above_272k_tokens": 5e-06,
    "output_cost_per_token_above_272k_tokens": 2.25e-05,
    "input_cost_per_token_flex": 1.25e-06,
    "output_cost_per_token_flex": 7.5e-06,
    "cache_read_input_token_cost_flex": 1.3e-07,
    "output_cost_per_token_above_272k_tokens_priority": 4e-05,
    "input_cost_per_token_priority": 5e-06,
    "output_cost_per_token_priority": 3e-05,
    "input_cost_per_token_batches": 1.2e-06,
    "output_cost_per_token_batches": 7e-06,
    "search_context_cost_per_query": {f"search_context_size_{size}": 0.01 for size in ("low", "medium", "high")},
    "provider_specific_entry": {"us": 1.1, "fast": 2.0},
    "max_input_tokens": 1_050_000,
    "max_output_tokens": 128_000,
    "supported_modalities": ["text"],
}


def test_every_table_of_a_map_s_entry_is_in_the_row() -> None:
    listed = book(litellm({"gpt": GPT}), "openai", "gpt")
    (row,) = listed.book.rows
    assert (row.context_tokens, row.output_tokens_max) == (1_050_000, 128_000)
    assert row.fees == {"web_search": 10**10}
    assert row.multipliers == {"inference_geo_us": "1.1", "fast": "2.0"}

    def found(bucket: str, **where: Any) -> int | None:
        return rate(listed, "openai", "gpt", bucket, **where)

    assert found("uncached_input") == 2_500_000
    assert found("reasoning") == found("output_text") == 15_000_000
    assert (found("cache_write_5m"), found("cache_write_1h")) == (3_000_000, 5_000_000)
    assert found("audio_in") == 40_000_000
    assert found("cache_read", tier="flex") == 130_000  # as published, though half would be 125,000
    assert found("uncached_input", tier="batch") == 1_200_000
    assert found("uncached_input", tokens=272_000) == 2_500_000
    assert found("uncached_input", tokens=272_001) == 5_000_000
    assert found("output_text", tier="priority", tokens=272_001) == 40_000_000


def test_what_a_table_does_not_state_has_no_price_in_it() -> None:
    listed = book(litellm({"gpt": GPT}), "openai", "gpt")
    assert rate(listed, "openai", "gpt", "cache_read", tokens=272_001) is None
    assert rate(listed, "openai", "gpt", "audio_in", tier="flex") is None
    assert listed.book.price("openai", "gpt", AUTUMN_S, "scale", 1) is None


def test_a_price_for_reasoning_goes_before_that_of_output_and_only_where_it_is_stated() -> None:
    entry = GPT | {"output_cost_per_reasoning_token": 3e-06}
    listed = book(litellm({"gpt": entry}), "openai", "gpt")
    assert rate(listed, "openai", "gpt", "reasoning") == 3_000_000
    assert rate(listed, "openai", "gpt", "reasoning", tier="flex") is None


def test_ranges_of_a_map_are_thresholds_of_the_whole_request() -> None:
    ranges = [
        {"range": [0, 32000.0], "input_cost_per_token": 1.2e-06, "output_cost_per_token": 6e-06},
        {"range": [32000.0, 128000.0], "input_cost_per_token": 2.4e-06, "output_cost_per_token": 1.2e-05},
    ]
    entry = {"litellm_provider": "dashscope", "tiered_pricing": ranges}
    listed = book(litellm({"dashscope/qwen": entry}), "alibaba", "qwen")
    assert rate(listed, "alibaba", "qwen", "uncached_input", tokens=32_000) == 1_200_000
    assert rate(listed, "alibaba", "qwen", "output_text", tokens=32_001) == 12_000_000


def test_off_peak_times_of_a_map_are_windows_and_other_zones_leave_no_price() -> None:
    off = {
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 2e-06,
        "windows": [
            {"weekdays": [1, 2, 3, 4, 5], "hours_utc": ["00:00-01:00", "10:00-00:00"]},
            {"weekdays": [6, 7], "hours_utc": "00:00-00:00"},
        ],
    }
    listed = book(litellm({"deepseek/m": GPT | {"off_peak_pricing": off}}), "deepseek", "m")
    at = {
        "2026-10-07T00:59:59Z": 1_000_000,
        "2026-10-07T01:00:00Z": 2_500_000,
        "2026-10-07T09:59:59Z": 2_500_000,
        "2026-10-07T10:00:00Z": 1_000_000,
        "2026-10-07T23:59:59Z": 1_000_000,
        "2026-10-10T05:00:00Z": 1_000_000,
    }
    found = {when: rate(listed, "deepseek", "m", "uncached_input", at_s=instant(when)) for when in at}
    assert found == at
    elsewhere = GPT | {"off_peak_pricing": off | {"weekday_timezone": "Asia/Shanghai"}}
    refused = book(litellm({"deepseek/m": elsewhere}), "deepseek", "m")
    assert refused.unknown == (("deepseek", "m"),)
    assert "another zone" in refused.unread["deepseek/m.off_peak_pricing"]


@pytest.mark.parametrize(
    ("provider", "key", "by_size", "more", "fees"),
    [
        ("perplexity", "perplexity/m", (5, 8, 12), {}, {"request_low": 5, "request_medium": 8, "request_high": 12}),
        ("perplexity", "perplexity/m", (5, 5, 5), {}, {"search_query": 5}),
        ("gemini", "gemini/m", (35, 35, 35), {}, {"google_search_prompt": 35}),
        ("gemini", "gemini/m", (14, 14, 14), {"web_search_billing_unit": "per_query"}, {"google_search_query": 14}),
        ("groq", "groq/m", (5, 5, 5), {}, {"web_search": 5, "visit_website": 1}),
        ("xai", "xai/m", (), {}, {"web_search": 5}),
    ],
)
def test_searches_are_billed_by_what_each_provider_counts(
    provider: str, key: str, by_size: tuple[int, ...], more: dict[str, Any], fees: dict[str, int]
) -> None:
    entry: dict[str, Any] = {"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06} | more
    if by_size:
        sizes = zip(("low", "medium", "high"), by_size, strict=True)
        entry["search_context_cost_per_query"] = {f"search_context_size_{size}": fee / 1000 for size, fee in sizes}
    (row,) = book(litellm({key: entry}), provider, "m").book.rows
    assert row.fees == {kind: thousandths * 10**9 for kind, thousandths in fees.items()}


def test_dust_is_listed_and_taken_only_by_a_rounding_rule() -> None:
    dusty = litellm({"gpt": GPT | {"cache_read_input_token_cost": "1.0000000000000001e-07"}})
    refused, rounded = book(dusty, "openai", "gpt"), book(dusty, "openai", "gpt", rounding="nearest")
    assert refused.dust == rounded.dust == {"gpt.cache_read_input_token_cost": "1.0000000000000001e-07"}
    assert rate(refused, "openai", "gpt", "cache_read") is None
    assert rate(rounded, "openai", "gpt", "cache_read") == 100_000


@pytest.mark.parametrize("bad", [-1e-06, "NaN", "1e999999", "cheap", True])
def test_what_is_no_price_is_listed_and_never_taken(bad: Any) -> None:
    listed = book(litellm({"gpt": GPT | {"cache_read_input_token_cost": bad}}), "openai", "gpt", rounding="nearest")
    assert list(listed.refused) == ["gpt.cache_read_input_token_cost"]
    assert rate(listed, "openai", "gpt", "cache_read") is None


def test_dated_prices_are_rows_of_their_own_and_thresholds_change_what_they_state() -> None:
    model = {
        "id": "m",
        "match": {"equals": "m"},
        "prices": [
            {"prices": {"input_mtok": 3, "output_mtok": 15}},
            {
                "constraint": {"start_date": "2026-09-01"},
                "prices": {
                    "input_mtok": {"base": 2, "tiers": [{"start": 200000, "price": 4}]},
                    "output_mtok": 10,
                    "cache_read_mtok": 0.2,
                },
            },
        ],
    }
    listed = book(genai("anthropic", model), "anthropic", "m")
    before, after = instant("2026-08-31T23:59:59Z"), instant("2026-09-01T00:00:00Z")
    assert rate(listed, "anthropic", "m", "uncached_input", at_s=before) == 3_000_000
    assert rate(listed, "anthropic", "m", "uncached_input", at_s=after) == 2_000_000
    assert rate(listed, "anthropic", "m", "uncached_input", at_s=after, tokens=200_001) == 4_000_000
    assert rate(listed, "anthropic", "m", "output_text", at_s=after, tokens=200_001) == 10_000_000
    assert rate(listed, "anthropic", "m", "cache_read", at_s=before) is None


def test_a_price_by_the_time_of_day_is_a_window_over_midnight() -> None:
    prices = [
        {"prices": {"input_mtok": 2, "output_mtok": 2}},
        {
            "constraint": {"start_time": "16:30:00Z", "end_time": "00:30:00Z"},
            "prices": {"input_mtok": 1, "output_mtok": 1},
        },
    ]
    listed = book(genai("deepseek", {"id": "m", "match": {"equals": "m"}, "prices": prices}), "deepseek", "m")
    hours = {"00:29:59": 1, "00:30:00": 2, "16:29:59": 2, "16:30:00": 1}
    for hour, usd in hours.items():
        at_s = instant(f"2026-10-07T{hour}Z")
        assert rate(listed, "deepseek", "m", "uncached_input", at_s=at_s) == usd * 10**6, hour


def test_a_condition_that_no_row_can_hold_leaves_no_price() -> None:
    prices = [{"constraint": {"region": "eu"}, "prices": {"input_mtok": 1, "output_mtok": 1}}]
    listed = book(genai("openai", {"id": "m", "match": {"equals": "m"}, "prices": prices}), "openai", "m")
    assert listed.unknown == (("openai", "m"),)
    assert "region" in listed.unread["openai/m"]


def flat(usd: float, **more: float) -> dict[str, Any]:
    return {"id": "m", "match": {"equals": "m"}, "prices": {"input_mtok": usd, "output_mtok": usd} | more}


def test_lists_of_several_days_hold_from_their_day_and_the_first_also_before() -> None:
    listed = book(
        genai("openai", flat(3), since="2026-01-01"), "openai", "m", genai("openai", flat(2), since="2026-10-01")
    )
    at = {"2025-01-01": 3, "2026-09-30": 3, "2026-10-01": 2, "2027-01-01": 2}
    for day, usd in at.items():
        assert rate(listed, "openai", "m", "uncached_input", at_s=instant(f"{day}T00:00:00Z")) == usd * 10**6, day
    assert [row.read_on for row in listed.book.rows] == ["2026-01-01", "2026-10-01"]


def test_a_later_list_that_agrees_is_one_row_with_all_that_it_knows() -> None:
    later = genai("openai", flat(3, cache_read_mtok=0.3), since="2026-10-01")
    listed = book(genai("openai", flat(3), since="2026-01-01"), "openai", "m", later)
    (row,) = listed.book.rows
    assert row.read_on == "2026-01-01"
    assert rate(listed, "openai", "m", "cache_read", at_s=0) == 300_000


def test_a_served_name_with_a_day_behind_it_has_its_model_s_price() -> None:
    for served in ("m-2026-08-06", "m-20260806", "m@20260806", "m-0806"):
        listed = book(genai("openai", flat(3)), "openai", served)
        assert rate(listed, "openai", served, "uncached_input") == 3_000_000
    assert book(genai("openai", flat(3)), "openai", "m-mini").unknown == (("openai", "m-mini"),)


def openrouter(*entries: dict[str, Any]) -> Listing:
    return Listing(rows_of(OpenRouterPrices("models", parsed({"data": list(entries)}))), "2025-12-31")


def test_openrouter_s_list_has_fees_and_zeros_that_mean_none() -> None:
    pricing = {
        "prompt": "0.0000003",
        "completion": "0.0000025",
        "input_cache_read": "0.00000003",
        "input_cache_write": "0",
        "internal_reasoning": "0",
        "web_search": "0.01",
    }
    listed = book(openrouter({"id": "google/m", "pricing": pricing}), "openrouter", "google/m")
    (row,) = listed.book.rows
    assert row.rates == {
        "uncached_input": 300_000,
        "cache_read": 30_000,
        "output_text": 2_500_000,
        "reasoning": 2_500_000,
    }
    assert row.fees == {"web_search": 10**10}


def test_openrouter_s_overrides_bill_a_prompt_from_their_length_on() -> None:
    longer = {"min_prompt_tokens": 200, "prompt": "0.000002", "completion": "0.000004"}
    pricing = {"prompt": "0.000001", "completion": "0.000003", "input_cache_read": "0.0000001", "overrides": [longer]}
    listed = book(openrouter({"id": "a/m", "pricing": pricing}), "openrouter", "a/m")

    def usd(prompt: int) -> Fraction:
        counted = Counted(normaliser="n/1", parts=(Part(Buckets(uncached_input=prompt - 10, cache_read=10)),))
        cost = cost_of(listed.book, counted, Served(provider="openrouter", model="a/m", at_s=0.0))
        assert isinstance(cost, Cost)
        return cost.pico_usd

    assert usd(199) == 189 * 1_000_000 + 10 * 100_000
    assert usd(200) == 190 * 2_000_000 + 10 * 100_000
    unclear = pricing | {"overrides": [{"prompt": "0.000002"}]}
    listed = book(openrouter({"id": "a/m", "pricing": unclear}), "openrouter", "a/m")
    assert listed.unknown == (("openrouter", "a/m"),)
    assert "longer prompts" in listed.unread["a/m"]


def test_a_free_variant_is_not_found_under_the_dated_name_that_it_shares() -> None:
    free = {"id": "a/m:free", "canonical_slug": "a/m-0101", "pricing": {"prompt": "0", "completion": "0"}}
    paid = {"id": "a/m", "canonical_slug": "a/m-0101", "pricing": {"prompt": "0.000001", "completion": "0.000002"}}
    listed = book(openrouter(free, paid), "openrouter", "a/m-0101")
    assert rate(listed, "openrouter", "a/m-0101", "uncached_input") == 1_000_000
    gratis = book(openrouter(free, paid), "openrouter", "a/m:free")
    assert rate(gratis, "openrouter", "a/m:free", "cache_read") == 0


def test_catwalk_s_in_cached_is_a_write_and_its_out_cached_a_read(tmp_path: Path) -> None:
    model = {
        "id": "m",
        "cost_per_1m_in": 3,
        "cost_per_1m_out": 15,
        "cost_per_1m_in_cached": 3.75,
        "cost_per_1m_out_cached": 0.3,
    }
    (tmp_path / "vercel.json").write_text(json.dumps({"id": "vercel", "models": [model]}))
    listed = book(Listing(read_catwalk(tmp_path)), "vercel-gw", "m")
    (row,) = listed.book.rows
    assert (row.rates["cache_write_5m"], row.rates["cache_read"]) == (3_750_000, 300_000)
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(BadPriceBook, match=r"bad\.json"):
        read_catwalk(tmp_path)


def test_of_one_day_s_lists_the_first_that_has_a_price_states_all_of_it() -> None:
    listed = book(genai("openai", flat(3)), "openai", "m", genai("openai", flat(2, cache_read_mtok=0.2)))
    assert rate(listed, "openai", "m", "uncached_input") == 3_000_000
    assert rate(listed, "openai", "m", "cache_read") is None


@pytest.mark.parametrize(
    ("uses", "usd"),
    [
        ({"guardrail_content": 2, "guardrail_topic": 1, "guardrail_word": 3}, "0.000453"),
        ({"guardrail_unreadable": 1}, None),
    ],
)
def test_what_a_guardrail_has_used_is_in_the_bill_of_bedrock(uses: dict[str, int], usd: str | None) -> None:
    entry = {"litellm_provider": "bedrock", "input_cost_per_token": "0.000001", "output_cost_per_token": "0.000002"}
    listed = book(Listing(rows_of(LiteLLMPrices("litellm", {"m": entry}))), "bedrock", "m")
    counted = Counted(normaliser="bedrock.converse/1", parts=(Part(Buckets(uncached_input=1, output_text=1)),))
    served = Served(provider="bedrock", model="m", at_s=0.0)
    cost = cost_of(listed.book, counted, served, tuple(Uses({kind: count}) for kind, count in uses.items()))
    if usd is None:
        assert isinstance(cost, Unpriced)
        assert "no fee for guardrail_unreadable" in cost.reason
    else:
        assert isinstance(cost, Cost)
        assert cost.pico_usd == Fraction(usd) * PICO


def test_real_lists_become_one_book_of_thousands_of_rows(shared: Path) -> None:
    from_map = shared / "traces" / "prices" / "litellm-1.109.1_model_prices_and_context_window.json.gz"
    if not from_map.exists():
        pytest.skip("no published price lists beside the repository")
    content = json.loads(gzip.decompress(from_map.read_bytes()), parse_float=str)
    chat = [
        name for name, entry in content.items() if entry.get("mode") == "chat" and "/" in name and name.count("/") < 3
    ]
    served = [tuple(name.split("/", 1)) for name in chat]
    listed = listed_book([Listing(rows_of(LiteLLMPrices("litellm", content)))], served)
    assert len(listed.book.rows) > 1_000
    assert not listed.refused
    assert all("e" in text or "." in text for text in listed.dust.values())
    print(len(listed.book.rows), "rows,", len(listed.dust), "figures of dust")
