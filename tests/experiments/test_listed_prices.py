"""Recorded offers of a plan with price lists are billed by all that these state: tiers, fees, dates, served names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from clawbench.analysis.frames import RunFolder
from clawbench.billing.audit_figures import Figures
from clawbench.billing.offer_prices import OfferPrices
from clawbench.billing.price_book import Tariff
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.writer import write_cassette
from clawbench.config.plan import load_plan
from clawbench.errors import PlanError
from clawbench.experiments.audited_run import audit_run
from clawbench.experiments.runner import run_plan
from clawbench.types import Offer
from tests.billing.tampering import AT

PERPLEXITY, OPENAI, OPENROUTER = "api.perplexity.ai", "api.openai.com/v1", "openrouter.ai/api/v1"
LATER = {
    "perplexity/sonar": {
        "litellm_provider": "perplexity",
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 1e-6,
        "search_context_cost_per_query": {
            "search_context_size_low": 0.005,
            "search_context_size_medium": 0.008,
            "search_context_size_high": 0.012,
        },
    },
    "gpt-5": {
        "litellm_provider": "openai",
        "input_cost_per_token": 2e-6,
        "output_cost_per_token": 8e-6,
        "input_cost_per_token_flex": 1e-6,
        "output_cost_per_token_flex": 4e-6,
    },
    "gpt-5-2025-08-07": {"litellm_provider": "openai", "input_cost_per_token": 4e-6, "output_cost_per_token": 16e-6},
    "gpt-5-tts": {"litellm_provider": "openai", "input_cost_per_token": -1e-6, "output_cost_per_token": 1e-6},
}


def usage(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **more}


def recorded(address: str, model: str, counts: dict[str, Any], *, served: str | None = None, **more: Any) -> Any:
    """A call and its answer; its place in the file comes later."""
    return address, model, {"model": served or model, "usage": counts, **more}


def a_plan(folder: Path, calls: list[Any], prices: list[Any], lists: dict[str, Any]) -> Path:
    tapes = [
        Interaction(
            file="calls.yaml",
            index=number,
            method="POST",
            url=f"https://{address}/chat/completions",
            request_headers={"content-type": "application/json"},
            request_body=json.dumps({"model": model, "messages": [{"role": "user", "content": f"{number}?"}]}).encode(),
            status=200,
            headers={"content-type": "application/json"},
            body=json.dumps(
                {
                    "id": "a",
                    "object": "chat.completion",
                    "created": 1,
                    "choices": [
                        {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
                    ],
                    **answer,
                }
            ).encode(),
        )
        for number, (address, model, answer) in enumerate(calls)
    ]
    write_cassette(folder / "calls.yaml", tapes)
    for name, content in lists.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    profile = "ttft_s_median=1.0\nttft_s_sigma=0.1\ntoken_rate_median=50\ntoken_rate_sigma=0.1\nsource='made'\n"
    path = folder / "plan.toml"
    path.write_text(
        f"""name = "listed"
strategies = ["round_robin"]
[workload]
requests = {4 * len(calls)}
[replay]
cassettes = ["calls.yaml"]
[recorded_offers]
prices = [{", ".join(prices)}]
[recorded_offers.profiles.default]
{profile}"""
    )
    return path


def billed(path: Path) -> tuple[Figures, dict[str, set[str]], RunFolder]:
    """The audit, and by offer what its charges cost in USD."""
    folder = run_plan(load_plan(path), out=path.parent / "runs", created_at=AT, stopwatch=lambda: 0.0, report=False)
    run = RunFolder(folder.path)
    found: dict[str, set[str]] = {}
    for part in run.parts("ledger"):
        for kind, detail in pl.read_parquet(part).select("kind", "detail").iter_rows():
            if kind in ("settle", "quarantine"):
                read = json.loads(detail)
                derivation = read.get("derivation") or read["evidence"]
                found.setdefault(derivation["offer"], set()).add(derivation["cost_usd"] or derivation["flags"][0])
    return audit_run(run), found, run


def test_fees_tiers_and_served_names_of_a_list_are_in_the_bills(tmp_path: Path) -> None:
    calls = [
        recorded(PERPLEXITY, "sonar", usage(10, 20, search_context_size="low")),
        recorded(OPENAI, "gpt-5", usage(10, 20), service_tier="flex"),
        recorded(OPENAI, "gpt-5-mini", usage(10, 20), served="gpt-5-2025-08-07"),
        recorded(OPENAI, "gpt-5-tts", usage(1, 1)),
    ]
    figures, found, run = billed(a_plan(tmp_path, calls, ['"later.json"'], {"later.json": LATER}))
    assert figures.clean, figures.violations
    assert found == {
        "perplexity/sonar": {"0.00503"},
        "openai/gpt-5": {"0.00009"},
        "openai/gpt-5-mini": {"0.00036"},  # by the dated name that answered, which has a price of its own
        "openai/gpt-5-tts": {"openai/gpt-5-tts/gpt-5-tts has no price"},
    }
    assert figures.quarantined_for == {"unpriced_model": figures.quarantined}
    assert figures.quarantined_why == {"unpriced_model": "openai/gpt-5-tts/gpt-5-tts has no price"}
    said = " ".join(run.manifest["warnings"])
    assert "1 listed figures are no price that can be charged (gpt-5-tts.input_cost_per_token: -1e-06)" in said


def test_a_list_holds_from_the_day_on_which_it_was_read(tmp_path: Path) -> None:
    """Virtual time begins on 2026-01-01: the list that was read before is in force, the later one adds models."""
    earlier = {
        "gpt-5": {"litellm_provider": "openai", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6},
    }
    calls = [
        recorded(OPENAI, "gpt-5", usage(10, 20)),
        recorded(PERPLEXITY, "sonar", usage(10, 20, search_context_size="high")),
    ]
    days = ['{ path = "earlier.json", read_on = "2025-12-31" }', '{ path = "later.json", read_on = 2026-11-21 }']
    lists = {"earlier.json": earlier, "later.json": LATER}
    figures, found, _ = billed(a_plan(tmp_path, calls, days, lists))
    assert figures.clean
    assert found == {"openai/gpt-5": {"0.00003"}, "perplexity/sonar": {"0.01203"}}


def test_a_recording_of_the_call_that_lists_prices_is_a_list(tmp_path: Path) -> None:
    listed = {"id": "x/y", "pricing": {"prompt": "0.000001", "completion": "0.000002", "web_search": "0.004"}}
    write_cassette(
        tmp_path / "models.yaml",
        [
            Interaction(
                file="models.yaml",
                index=0,
                method="GET",
                url=f"https://{OPENROUTER}/models",
                status=200,
                headers={"content-type": "application/json"},
                body=json.dumps({"data": [listed]}).encode(),
            )
        ],
    )
    calls = [recorded(OPENROUTER, "x/y", usage(10, 20, server_tool_use_details={"web_search_requests": 1}))]
    _, found, _ = billed(a_plan(tmp_path, calls, ['"models.yaml"'], {}))
    assert found == {"openrouter/x/y": {"0.00405"}}


def test_an_offers_own_price_in_the_plan_is_not_the_lists(tmp_path: Path) -> None:
    path = a_plan(tmp_path, [recorded(OPENAI, "gpt-5", usage(10, 20))], ['"later.json"'], {"later.json": LATER})
    own = f"""
[[offers]]
provider = "openai"
model = "gpt-5"
base_url = "https://{OPENAI}"
usd_per_mtok = {{ input = 10, output = 10 }}
profile = {{ ttft_s_median=1, ttft_s_sigma=0.1, token_rate_median=50, token_rate_sigma=0.1, source="made" }}
"""
    path.write_text(path.read_text() + own)
    _, found, _ = billed(path)
    assert found == {"openai/gpt-5": {"0.0003"}}


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ('{ path = "later.json", read_on = "yesterday" }', "prices"),
        ('{ path = "later.json" }', "read_on"),
        ('"calls.yaml"', "calls.yaml"),
        ("7", "prices"),
    ],
)
def test_a_bad_list_is_refused(stated: str, said: str, tmp_path: Path) -> None:
    path = a_plan(tmp_path, [recorded(OPENAI, "gpt-5", usage(1, 1))], [stated], {"later.json": LATER})
    with pytest.raises(PlanError, match=said):
        billed(path)


def test_a_name_that_answered_has_the_price_of_its_own_row_and_no_other() -> None:
    offer = Offer(id="p/m", provider="p", model="m", upstream_model="m", base_url="https://p", rates=None)
    row = Tariff(provider="p/m", models=("m-high",), rates={"uncached_input": 1, "output_text": 1})
    prices = OfferPrices([offer], rows_of={"p/m": [row]})
    assert prices.served(offer, "m-high", at_s=0.0).model == "m-high"
    assert prices.book.price("p/m", "m-high", 0.0, None, 1) is not None
    assert prices.row(offer, at_s=0.0) is None
