"""Where a reply says what it cost: found by shape, exact as it was written, and never guessed."""

from __future__ import annotations

from fractions import Fraction

import pytest

from clawbench.usage.admission import parse
from clawbench.usage.stated_costs import StatedCost, stated_in_headers, stated_in_usage


def stated(text: str) -> StatedCost | None:
    return stated_in_usage(parse(text.encode()))


@pytest.mark.parametrize(
    ("text", "usd", "where"),
    [
        ('{"cost_in_usd_ticks": 4420000}', "0.000442", "usage.cost_in_usd_ticks"),
        ('{"cost": 1.2345678901234568e-05}', "0.000012345678901234568", "usage.cost"),
        ('{"cost": 0}', "0", "usage.cost"),
        ('{"cost": 5e-5, "is_byok": true, "cost_details": {"upstream_inference_cost": 1}}', "1.00005", "usage.cost"),
        ('{"cost": 0.5, "is_byok": false, "cost_details": {"upstream_inference_cost": 0.5}}', "0.5", "usage.cost"),
        ('{"cost": 0, "market_cost": 0.25, "is_byok": true}', "0.25", "usage.cost"),
        ('{"cost": {"total_cost": 0.04629}}', "0.04629", "usage.cost.total_cost"),
        (
            '{"pydantic_ai_gateway": {"cost_estimate": 0.0000311}}',
            "0.0000311",
            "usage.pydantic_ai_gateway.cost_estimate",
        ),
    ],
)  # fmt: skip
def test_an_amount_is_what_its_literal_says(text: str, usd: str, where: str) -> None:
    found = stated(text)
    assert found is not None
    assert (found.usd, found.where) == (Fraction(usd), where)


def test_perplexity_s_total_is_rounded_and_a_gateway_s_reckoning_is_an_estimate() -> None:
    total = stated('{"cost": {"total_cost": 0.006, "input_tokens_cost": 0.001, "output_tokens_cost": 0.0}}')
    assert total is not None
    assert total.within_usd == Fraction(1, 1000)
    assert total.parts == {"input": Fraction("0.001"), "output": Fraction(0)}
    estimate = stated('{"pydantic_ai_gateway": {"cost_estimate": 0.1}}')
    assert estimate is not None
    assert estimate.kind == "estimate"


def test_parts_that_are_zero_all_over_are_no_breakdown() -> None:
    details = '{"upstream_inference_prompt_cost": 0, "upstream_inference_completions_cost": 0}'
    found = stated(f'{{"cost": 0.0005, "cost_details": {details}}}')
    assert found is not None
    assert not found.parts


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"cost": null}',
        '{"cost": "0.1"}',
        '{"cost": true}',
        '{"cost": -1}',
        '{"cost": 1e300}',
        '{"cost": {"total_cost": "x"}}',
        '{"cost_in_usd_ticks": -1}',
        '{"cost_in_usd_ticks": 0.5}',
        '{"pydantic_ai_gateway": 1}',
    ],
)
def test_what_is_no_amount_is_not_stated(text: str) -> None:
    assert stated(text) is None


def test_headers_state_amounts_to_the_decimals_that_they_write() -> None:
    found = stated_in_headers({"pydantic-ai-gateway-price-estimate": "0.0002USD"})
    assert found is not None
    assert (found.usd, found.within_usd, found.kind) == (Fraction("0.0002"), Fraction(1, 20_000), "estimate")
    exact = stated_in_headers({"x-litellm-response-cost": "3.9e-05"})
    assert exact is not None
    assert (exact.usd, exact.within_usd) == (Fraction("0.000039"), None)


@pytest.mark.parametrize("text", ["", "free", "-1", "NaN", "1e999", "1" * 40, "0.1EUR"])
def test_a_header_that_is_no_amount_is_not_stated(text: str) -> None:
    assert stated_in_headers({"x-litellm-response-cost": text}) is None
