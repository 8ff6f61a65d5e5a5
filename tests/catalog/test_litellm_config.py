"""Another gateway's configuration as a plan: what is taken over, what is named as left out, what is refused."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from clawbench.catalog.litellm_config import Imported, read_litellm_config
from clawbench.cli import run
from clawbench.config.plan import load_plan
from clawbench.errors import PlanError

PROMPTS = Path(__file__).parents[2] / "cassettes" / "prompts.jsonl"
CONFIG = """\
model_list:
  - model_name: fast
    litellm_params:
      model: groq/llama-3.3-70b
      api_key: os.environ/GROQ_API_KEY
      rpm: 30
      tpm: 6000
  - model_name: fast
    litellm_params:
      model: openai/gpt-x
      api_key: sk-should-never-be-seen
      input_cost_per_token: 1.5e-07
      output_cost_per_token: 0.0000006
      cache_read_input_token_cost: 7.5e-08
      weight: 2
    model_info: {max_input_tokens: 128000, max_output_tokens: 16384, team_id: t1}
  - model_name: smart
    litellm_params: {model: claude-opus-9, input_cost_per_token: 0, output_cost_per_token: 0}
  - model_name: local
    litellm_params: {model: hosted_vllm/qwen, api_base: "http://127.0.0.1:8000/v1/"}
  - model_name: odd
    litellm_params: {model: frobnicate/x}
  - model_name: "*"
    litellm_params: {model: "openai/*"}
router_settings:
  routing_strategy: usage-based-routing-v2
  num_retries: 2
  timeout: 30
  stream_timeout: 5
  cooldown_time: 12
  enable_pre_call_checks: true
  fallbacks: [{"fast": ["smart"]}, {"*": ["local"]}]
litellm_settings:
  drop_params: true
  cache: true
general_settings:
  master_key: sk-master
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "my config.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def imported(config: Path) -> Imported:
    return read_litellm_config(config)


def left(imported: Imported) -> dict[str, tuple[int, str]]:
    return {each.what: (each.line, each.why) for each in imported.left_out}


def test_deployments_become_offers_with_address_limits_and_exact_prices(imported: Imported) -> None:
    groq, openai, claude, local = imported.offers
    assert groq == {
        "id": "groq/fast", "provider": "groq", "model": "fast", "upstream_model": "llama-3.3-70b",
        "base_url": "https://api.groq.com/openai/v1", "requests_per_minute": 30, "tokens_per_minute": 6000,
    }  # fmt: skip
    assert openai["usd_per_mtok"] == {
        "input": Decimal("0.15"), "output": Decimal("0.6"), "cached_input": Decimal("0.075")
    }  # fmt: skip
    assert (openai["context_window"], openai["max_output_tokens"]) == (128_000, 16_384)
    assert (claude["provider"], claude["dialect"], claude["upstream_model"]) == (
        "anthropic", "anthropic", "claude-opus-9"
    )  # fmt: skip
    assert claude["usd_per_mtok"] == {"input": 0, "output": 0}, "zero is a price"
    assert local["base_url"] == "http://127.0.0.1:8000/v1"


def test_settings_become_those_of_the_gateway(imported: Imported) -> None:
    assert imported.strategies == ["least_busy"]
    assert imported.gateway == {
        "attempts_max": 3, "request_timeout_s": 30.0, "ttft_timeout_s": 5.0, "fallback_models": ["local"],
        "default_strategy": "least_busy",
    }  # fmt: skip
    assert imported.routing == {"breaker_open_s": 12.0}
    assert imported.key_variables == {"api.groq.com": "GROQ_API_KEY"}


def test_what_is_not_taken_over_is_named_with_its_line_and_why(imported: Imported) -> None:
    told = left(imported)
    assert told["router_settings.routing_strategy = usage-based-routing-v2"][1].startswith("there is no strategy")
    assert told['model_list "odd" (frobnicate/x)'][0] == 22
    assert 'provider "frobnicate" is not known' in told['model_list "odd" (frobnicate/x)'][1]
    assert "wildcard" in told['model_list "*" (openai/*)'][1]
    assert "client's to ask for" in told["router_settings.fallbacks: fast → smart"][1]
    expected = {
        'model_list "fast" (openai/gpt-x): api_key',
        'model_list "fast" (openai/gpt-x): litellm_params.weight',
        'model_list "fast" (openai/gpt-x): model_info.team_id',
        "router_settings.enable_pre_call_checks",
        "litellm_settings.cache",
        "general_settings",
    }
    assert expected <= set(told)
    assert "litellm_settings.drop_params" not in told


def test_the_plan_that_is_written_is_a_plan(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plan.toml"
    assert run(["catalog", "import", str(config), "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "4 offers taken over" in said
    assert "without a price: groq/fast" in said
    assert f"not taken over: {config}, line 22" in said
    assert "sk-" not in said + out.read_text()
    plan = load_plan(out, overrides=["replay.matching=synthetic", f'workload.prompts="{PROMPTS}"'])
    assert [offer.id for offer in plan.offers] == ["groq/fast", "openai/fast", "anthropic/smart", "vllm/local"]
    rates = plan.offers[1].rates
    assert rates is not None
    assert (rates.input, rates.output, rates.cached_input) == (150_000, 600_000, 75_000)
    assert run(["catalog", "import", str(config), "--out", str(out)]) == 2
    assert "exists" in capsys.readouterr().err


def test_entries_without_prices_take_them_from_a_map(config: Path, tmp_path: Path) -> None:
    prices, out = tmp_path / "prices.json", tmp_path / "plan.toml"
    prices.write_text('{"groq/llama-3.3-70b": {"input_cost_per_token": 5.9e-07, "output_cost_per_token": 7.9e-07}}')
    assert run(["catalog", "import", str(config), "--out", str(out), "--prices", str(prices)]) == 0
    assert re.search(
        r'usd_per_mtok = \{ input = 0.59, output = 0.79, source = "prices.json", read_on = "\d{4}-\d\d-\d\d" \}',
        out.read_text(),
    )


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ("input_cost_per_token: -1\n      output_cost_per_token: 1e-6", "line 5: .*must be a price of 0 or more"),
        ("input_cost_per_token: .nan\n      output_cost_per_token: 1e-6", "line 5: .*is not a decimal number"),
        ("output_cost_per_token: 1e-6", "line 5: .*the input price is missing"),
    ],
)
def test_prices_that_are_none_are_refused_with_file_and_line(tmp_path: Path, params: str, said: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"model_list:\n  - model_name: m\n    litellm_params:\n      model: openai/m\n      {params}\n")
    with pytest.raises(PlanError, match=rf"c\.yaml, {said}"):
        read_litellm_config(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no LiteLLM configuration"),
        ("a: 1", "it has no model_list"),
        ("model_list: []", "no entry of model_list could be taken over"),
        ("model_list: [{model_name: m}]", "it has no litellm_params.model"),
        ("model_list: [\n", "line 2: not valid YAML"),
        ("[" * 200 + "]" * 200, "nested too deeply"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(PlanError, match=said):
        read_litellm_config(path)


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 20)}]" for n in range(1, 8)]
    path = tmp_path / "c.yaml"
    path.write_text("\n".join(["l0: &l0 [a, a]", *levels]))
    with pytest.raises(PlanError, match="repeated too often"):
        read_litellm_config(path)


def test_prices_of_longer_prompts_are_taken_over(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("""
model_list:
  - model_name: long
    litellm_params:
      model: openai/gpt-x
      input_cost_per_token: 1e-06
      output_cost_per_token: 4e-06
      input_cost_per_token_above_200k_tokens: 2e-06
""")
    imported = read_litellm_config(config)
    (tier,) = imported.offers[0]["usd_per_mtok"]["tiers"]
    assert tier == {"above": 200_000, "input": 2, "output": 4}
    assert imported.left_out == []
