"""OpenRouter's model list as a price list."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import yaml

from clawbench.catalog.price_maps import PriceMap, read_price_maps
from clawbench.catalog.tiers import rates_at

LISTED = {
    "data": [
        {
            "id": "maker/model",
            "canonical_slug": "maker/model-20260101",
            "context_length": 262144,
            "pricing": {"prompt": "0.000000075", "completion": "0.0000003", "internal_reasoning": "0",
                        "input_cache_read": "0.00000001"},
            "top_provider": {"max_completion_tokens": 16384},
        },
        {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
        {"id": "maker/free", "pricing": {"prompt": "0", "completion": "0"}, "top_provider": None},
        {"id": "maker/broken", "pricing": {"prompt": "NaN", "completion": "0"}},
        {"id": "maker/negative", "pricing": {"prompt": "0.1", "completion": "-0.2"}},
    ]
}  # fmt: skip


@pytest.fixture
def listed(tmp_path: Path) -> PriceMap:
    path = tmp_path / "models.json"
    path.write_text(json.dumps(LISTED))
    return read_price_maps([path])


@pytest.mark.parametrize("name", ["maker/model", "Maker/Model", "maker/model-20260101"])
def test_a_model_is_found_by_its_id_in_any_case_and_by_its_dated_name(listed: PriceMap, name: str) -> None:
    found = listed.find("openrouter", name)
    assert found is not None
    rates = found[0].rates
    assert (rates.input, rates.output, rates.cached_input, rates.reasoning) == (75_000, 300_000, 10_000, None)
    assert (found[0].context_window, found[0].max_output_tokens) == (262_144, 16_384)


def test_prices_hold_for_openrouter_only(listed: PriceMap) -> None:
    assert listed.find("maker", "maker/model") is None


def test_zero_is_a_price_and_minus_one_is_none(listed: PriceMap) -> None:
    free = listed.find("openrouter", "maker/free")
    assert free is not None
    assert (free[0].rates.input, free[0].rates.output) == (0, 0)
    assert listed.find("openrouter", "openrouter/auto") is None


def test_nonsense_is_refused_and_named(listed: PriceMap) -> None:
    assert listed.find("openrouter", "maker/broken") is None
    assert listed.find("openrouter", "maker/negative") is None
    (prices,) = listed.lists
    assert prices.refused == {"maker/broken", "maker/negative"}


def test_the_recorded_list_is_read_whole(shared: Path, tmp_path: Path) -> None:
    recorded = shared / "traces" / "model-lists" / "posit-dev__chatlas__openrouter_list_models.yaml.gz"
    body = yaml.load(gzip.decompress(recorded.read_bytes()), Loader=yaml.CSafeLoader)
    text = body["interactions"][0]["response"]["body"]["string"]
    path = tmp_path / "models.json"
    path.write_text(text)
    prices = read_price_maps([path])
    models = json.loads(text)["data"]
    found = [model["id"] for model in models if prices.find("openrouter", model["id"]) is not None]
    depends = [model["id"] for model in models if model["pricing"]["prompt"] == "-1"]
    assert len(found) == len(models) - len(depends) > 300
    assert not prices.lists[0].refused


def test_prices_of_longer_prompts_hold_from_their_length_up(tmp_path: Path) -> None:
    pricing = {
        "prompt": "0.000001", "completion": "0.000004", "input_cache_read": "0.0000001",
        "overrides": [{"min_prompt_tokens": 200000, "prompt": "0.000002", "completion": "0.000006"}],
    }  # fmt: skip
    path = tmp_path / "models.json"
    path.write_text(json.dumps({"data": [{"id": "maker/long", "pricing": pricing}]}))
    found = read_price_maps([path]).find("openrouter", "maker/long")
    assert found is not None
    short, long = rates_at(found[0].rates, 199_999), rates_at(found[0].rates, 200_000)
    assert (short.input, short.output, short.cached_input) == (1_000_000, 4_000_000, 100_000)
    assert (long.input, long.output, long.cached_input) == (2_000_000, 6_000_000, 100_000), "what it does not say stays"
