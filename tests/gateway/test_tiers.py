"""Prices by the length of the prompt: what `@price` chooses by is what the bill says."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from clawbench.config.plan import load_plan
from clawbench.errors import PlanError
from clawbench.types import Offer, Rates, Tier
from tests.lab import chat, completion, in_lab, offer

LONG_TOKENS = 1_000
# Cheaper up to a thousand tokens and dearer beyond, at several times what the flat one costs.
STEEP = structs.replace(
    offer("steep"),
    rates=Rates(
        input=100, output=100, tiers=(Tier(above=LONG_TOKENS, rates=Rates(input=900, output=700, cached_input=90)),)
    ),
)
FLAT = structs.replace(offer("flat"), rates=Rates(input=300, output=300))
SHORT, LONG = "a b c", "word " * 4_000


def usage(prompt_tokens: int, cached: int = 0) -> dict[str, object]:
    details = {"prompt_tokens_details": {"cached_tokens": cached}} if cached else {}
    return {"prompt_tokens": prompt_tokens, "completion_tokens": 5, "total_tokens": prompt_tokens + 5, **details}


@pytest.mark.parametrize(
    ("text", "prompt_tokens", "serves", "cost"),
    [(SHORT, 10, "steep/m", 10 * 100 + 5 * 100), (LONG, 4_000, "flat/m", 4_000 * 300 + 5 * 300)],
)
def test_a_long_prompt_goes_where_it_is_cheaper_beyond_the_threshold(
    text: str, prompt_tokens: int, serves: str, cost: int
) -> None:
    scripts = {each.id: completion(usage=usage(prompt_tokens)) for each in (STEEP, FLAT)}
    _, lab = in_lab([STEEP, FLAT], scripts, chat("m@price", text=text, max_tokens=5))
    (request,) = lab.frame("requests").to_dicts()
    assert (request["offer_id"], request["cost_pico_usd"], request["charge_pico_uat"]) == (serves, cost, cost)


def test_the_bill_of_a_long_prompt_takes_all_of_its_rates_from_the_tier_that_the_score_used() -> None:
    scripts = {"steep/m": completion(usage=usage(4_000, cached=1_000))}
    _, lab = in_lab([STEEP], scripts, chat("m@price", text=LONG, max_tokens=5))
    (request,) = lab.frame("requests").to_dicts()
    assert request["cost_pico_usd"] == 3_000 * 900 + 1_000 * 90 + 5 * 700
    assert request["held_pico_uat"] >= request["charge_pico_uat"]
    (score,) = lab.frame("decisions")["scores"].to_list()[0]
    tokens = (score - 5 * 700) / 900
    assert tokens == pytest.approx(round(tokens)), (
        "the estimated prompt at the tier's rate, the output limit at its own"
    )
    assert tokens > LONG_TOKENS


def planned(tmp_path: Path, prices: str) -> Offer:
    path = tmp_path / "plan.toml"
    path.write_text(
        'name = "p"\nstrategies = ["price"]\n[workload]\nprompts = "p.jsonl"\n[replay]\nmatching = "synthetic"\n'
        f'[[offers]]\nprovider = "x"\nmodel = "m"\nbase_url = "https://x.example/v1"\nusd_per_mtok = {prices}\n'
    )
    (tmp_path / "p.jsonl").write_text("")
    return load_plan(path).offers[0]


def test_a_plan_states_the_prices_of_longer_prompts(tmp_path: Path) -> None:
    tiers = "tiers = [{ above = 1000, input = 2, output = 3 }, { above = 9000, input = 4, output = 5 }]"
    rates = planned(tmp_path, f"{{ input = 1, output = 1, {tiers} }}").rates
    assert rates is not None
    assert [(tier.above, tier.rates.input, tier.rates.output) for tier in rates.tiers] == [
        (9_000, 4_000_000, 5_000_000),
        (1_000, 2_000_000, 3_000_000),
    ]


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        ("[{ above = 10, input = 1, output = 1 }, { above = 10, input = 2, output = 1 }]", "above the same number"),
        ("[{ above = 10, input = -1, output = 1 }]", r"tiers, above 10.input must be a price of 0 or more"),
        ("[{ above = 10, input = 1 }]", "output"),
        ("[{ above = 0, input = 1, output = 1 }]", "above"),
    ],
)
def test_a_tier_that_is_no_table_of_prices_is_named(tmp_path: Path, tiers: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        planned(tmp_path, f"{{ input = 1, output = 1, tiers = {tiers} }}")
