"""Published price lists: exact rates, names, what is refused."""

from __future__ import annotations

import gzip
import json
import re
import tomllib
from pathlib import Path

import pytest

from clawbench.catalog.price_maps import PriceMap, read_price_maps
from clawbench.catalog.tiers import rates_at
from clawbench.cli import run
from clawbench.errors import PlanError

LITELLM = """{
 "sample_spec": {"input_cost_per_token": 0, "mode": "one of: chat, …"},
 "gpt-x": {"input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07, "cache_read_input_token_cost": 7.5e-08,
           "litellm_provider": "openai", "mode": "chat", "max_input_tokens": 128000, "max_output_tokens": 16384},
 "groq/llama-3.3-70b": {"input_cost_per_token": 5.9e-07, "output_cost_per_token": 7.9e-07, "litellm_provider": "groq"},
 "groq/dust": {"input_cost_per_token": 1.0000000000000001e-07, "output_cost_per_token": 1e-07},
 "groq/negative": {"input_cost_per_token": -1, "output_cost_per_token": 1e-07},
 "groq/wild": {"input_cost_per_token": NaN, "output_cost_per_token": 1e-07},
 "groq/whisper": {"input_cost_per_token": 1e-07, "output_cost_per_token": 1e-07, "mode": "audio_transcription"},
 "groq/free": {"input_cost_per_token": 0, "output_cost_per_token": 0}
}"""

GENAI = [
    {
        "id": "openrouter",
        "models": [
            {
                "id": "maker/model",
                "match": {"or": [{"equals": "maker/model"}, {"starts_with": "maker/model-"}]},
                "prices": {"input_mtok": 2.5, "output_mtok": {"base": 10, "tiers": [{"start": 100, "price": 20}]}},
                "context_window": 1000,
            },
            {
                "id": "dated",
                "match": {"contains": "dated"},
                "prices": [
                    {"constraint": {"start_date": "2030-01-01"}, "prices": {"input_mtok": 9, "output_mtok": 9}},
                    {"prices": {"input_mtok": 1, "output_mtok": 2}},
                ],
            },
        ],
    },
    {
        "id": "x-ai",
        "models": [{"id": "grok", "match": {"regex": "^grok"}, "prices": {"input_mtok": 3, "output_mtok": 15}}],
    },
]


@pytest.fixture
def litellm(tmp_path: Path) -> PriceMap:
    path = tmp_path / "map.json"
    path.write_text(LITELLM)
    return read_price_maps([path])


def test_rates_become_whole_pico_usd_without_a_float_in_between(litellm: PriceMap) -> None:
    found = litellm.find("openai", "gpt-x")
    assert found is not None
    listed, name = found
    assert (listed.rates.input, listed.rates.output, listed.rates.cached_input) == (150_000, 600_000, 75_000)
    assert (listed.context_window, listed.max_output_tokens, name) == (128_000, 16_384, "map.json")


def test_a_name_with_other_punctuation_is_found(litellm: PriceMap) -> None:
    found = litellm.find("groq", "llama3.3-70b")
    assert found is not None
    assert found[0].key == "groq/llama-3.3-70b"


def test_a_bare_name_belongs_to_its_owner_only(litellm: PriceMap) -> None:
    assert litellm.find("anthropic", "gpt-x") is None
    assert litellm.find("nobody", "gpt-x") is None


def test_dust_is_rounded_and_named_nonsense_is_refused_and_named(litellm: PriceMap) -> None:
    dust = litellm.find("groq", "dust")
    assert dust is not None
    assert dust[0].rates.input == 100_000
    assert litellm.find("groq", "negative") is None
    assert litellm.find("groq", "wild") is None
    (prices,) = litellm.lists
    assert prices.rounded == {"groq/dust"}
    assert prices.refused == {"groq/negative", "groq/wild"}


def test_zero_is_a_price_and_what_is_no_chat_has_none(litellm: PriceMap) -> None:
    free = litellm.find("groq", "free")
    assert free is not None
    assert free[0].rates.input == 0
    assert litellm.find("groq", "whisper") is None


def test_genai_prices_are_found_by_their_rules_and_the_first_list_wins(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json.gz"
    first.write_text(LITELLM)
    second.write_bytes(gzip.compress(json.dumps(GENAI).encode()))
    prices = read_price_maps([first, second])
    for name in ("maker/model", "maker/model-2025", "MAKER/MODEL-X"):
        found = prices.find("openrouter", name)
        assert found is not None, name
        assert (found[0].rates.input, found[0].rates.output, found[1]) == (2_500_000, 10_000_000, "b.json.gz")
    dated, grok = prices.find("openrouter", "is-dated"), prices.find("xai", "grok-4")
    assert dated is not None
    assert grok is not None
    assert (dated[0].rates.input, grok[0].rates.output) == (1_000_000, 15_000_000)
    assert prices.find("openrouter", "unknown") is None


@pytest.mark.parametrize("content", ["", "[]", "{}", "[1]", '{"a": 1}', "[" * 100_000, "not json"])
def test_a_file_that_is_no_price_map_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(content)
    with pytest.raises(PlanError, match=r"wrong\.json"):
        read_price_maps([path])


def test_a_broken_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.json.gz"
    path.write_bytes(gzip.compress(LITELLM.encode())[:40])
    with pytest.raises(PlanError, match=r"cut\.json\.gz"):
        read_price_maps([path])


def test_the_published_lists_are_read_whole(shared: Path) -> None:
    folder = shared / "traces" / "prices"
    prices = read_price_maps([*sorted(folder.glob("*.json.gz"))[:1], next(folder.glob("litellm*.json.gz"))])
    assert prices.find("openai", "gpt-4o-mini") is not None
    assert prices.find("openrouter", "openai/gpt-4o") is not None


OPENROUTER = {"data": [{"id": "maker/model", "pricing": {"prompt": "0.000001", "completion": "0.000002"}}]}


@pytest.mark.parametrize(
    ("content", "offer_id", "price"),
    [
        (LITELLM, "openai/gpt-x", "input = 0.15, output = 0.6, cached_input = 0.075"),
        (json.dumps(GENAI), "xai/grok", "input = 3, output = 15"),
        (json.dumps(OPENROUTER), "openrouter/maker/model", "input = 1, output = 2"),
    ],
)
def test_a_price_map_becomes_a_plan_with_source_and_date_and_tells_what_it_leaves_out(
    content: str, offer_id: str, price: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "list.json", tmp_path / "plan.toml"
    path.write_text(content)
    assert run(["catalog", "import", str(path), "--out", str(out)]) == 0
    told = capsys.readouterr().err
    written = tomllib.loads(out.read_text())
    (offer,) = [each for each in written["offers"] if each["id"] == offer_id]
    assert offer["usd_per_mtok"]["source"] == "list.json"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", offer["usd_per_mtok"]["read_on"])
    assert price in out.read_text()
    assert f"{len(written['offers'])} offers taken over" in told
    assert "not taken over: prices of images" in told
    if content is LITELLM:
        assert "groq/negative: its price is negative or no number" in told
        assert "groq/wild: its price is negative or no number" in told
        assert "rounded: list.json: groq/dust" in told
        assert not any("whisper" in each["id"] for each in written["offers"])
        assert run(["catalog", "import", str(path), "--provider", "groq"]) == 0
        only = tomllib.loads(capsys.readouterr().out)["offers"]
        assert {each["provider"] for each in only} == {"groq"}
        assert run(["catalog", "import", str(path), "--provider", "nobody"]) == 2
        assert 'provider "nobody" is not known here' in capsys.readouterr().err


LONG = {
    "gpt-long": {
        "input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06, "cache_read_input_token_cost": 1e-07,
        "input_cost_per_token_above_200k_tokens": 2e-06, "output_cost_per_token_above_200k_tokens": 6e-06,
        "cache_read_input_token_cost_above_200k_tokens": 2e-07,
        "input_cost_per_token_above_200k_tokens_priority": 9e-06, "litellm_provider": "openai",
    },
    "xai/grok": {
        "input_cost_per_token": 3e-06, "output_cost_per_token": 15e-06, "input_cost_per_token_above_128k_tokens": 6e-06,
    },
    "dashscope/qwen": {
        "tiered_pricing": [
            {"input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07, "range": [0, 256000.0]},
            {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06, "range": [256000.0, 1000000.0]},
        ],
    },
    "groq/broken": {
        "input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06, "input_cost_per_token_above_200k_tokens": -1,
    },
}  # fmt: skip


def rates_of(prices: PriceMap, provider: str, model: str, prompt_tokens: int) -> tuple[int, int, int | None]:
    found = prices.find(provider, model)
    assert found is not None
    rates = rates_at(found[0].rates, prompt_tokens)
    return rates.input, rates.output, rates.cached_input


def test_prices_of_longer_prompts_are_taken_over_from_litellms_map(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps(LONG))
    prices = read_price_maps([path])
    assert rates_of(prices, "openai", "gpt-long", 200_000) == (1_000_000, 4_000_000, 100_000)
    assert rates_of(prices, "openai", "gpt-long", 200_001) == (2_000_000, 6_000_000, 200_000)
    assert rates_of(prices, "xai", "grok", 127_999) == (3_000_000, 15_000_000, None)
    assert rates_of(prices, "xai", "grok", 128_000) == (6_000_000, 15_000_000, None), "at the threshold, by xai's rule"
    assert rates_of(prices, "alibaba", "qwen", 256_000) == (50_000, 400_000, None)
    assert rates_of(prices, "alibaba", "qwen", 256_001) == (250_000, 2_000_000, None)
    assert prices.find("groq", "broken") is None
    assert prices.lists[0].refused == {"groq/broken"}


def test_prices_of_longer_prompts_are_taken_over_from_genai_prices(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(GENAI))
    prices = read_price_maps([path])
    assert rates_of(prices, "openrouter", "maker/model", 100) == (2_500_000, 10_000_000, None)
    assert rates_of(prices, "openrouter", "maker/model", 101) == (2_500_000, 20_000_000, None)


def test_an_import_writes_the_prices_of_longer_prompts_into_a_plan_that_reads_them_back(tmp_path: Path) -> None:
    source, plan = tmp_path / "map.json", tmp_path / "plan.toml"
    source.write_text(json.dumps(LONG))
    assert run(["catalog", "import", str(source), "--provider", "openai", "--out", str(plan)]) == 0
    (offer,) = tomllib.loads(plan.read_text())["offers"]
    assert offer["usd_per_mtok"]["tiers"] == [{"above": 200_000, "input": 2, "output": 6, "cached_input": 0.2}]
