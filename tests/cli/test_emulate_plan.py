"""The plan of `clawbench emulate`: wrong ones are refused with the way out, profiles are layered, recordings made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from clawbench.cli.emulate import command
from clawbench.config.emulator import (
    EmulatedOfferTable,
    EmulatedProviderTable,
    EmulatorProfileTable,
    EmulatorTable,
    FailureTable,
    RecordingTable,
    load_emulator,
)
from clawbench.emulator.dialects import EMULATED
from clawbench.errors import PlanError

ROOT = Path(__file__).parents[2]
QUICK = (
    "ttft_s_median = 0.004, ttft_s_sigma = 0.1, token_rate_median = 50_000, token_rate_sigma = 0.1, network_s = 0.001"
)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return path


ONE = '[[providers]]\nname = "p"\noffers = [{ model = "m" }]\n'
PROFILE = f"profile = {{ {QUICK} }}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("provders = []", r'unknown key "provders"\. Did you mean "providers"'),
        (ONE + "profile = { ttft_s_medain = 1 }", r'profile\.ttft_s_medain".*Did you mean "ttft_s_median"'),
        (ONE + "profile = { failures = [{ share = 0.1, knd = 'overloaded' }] }", 'Did you mean "kind"'),
        (ONE, "ttft_s_median, ttft_s_sigma, token_rate_median, token_rate_sigma missing"),
        (ONE + 'profile = { like = "grok" }', r'no profile "grok"\. Did you mean "groq"'),
        (ONE + PROFILE + 'dialects = ["openai_caht"]', '"openai_caht" is not emulated'),
        (ONE + PROFILE + 'dialects = ["ollama_generate"]', '"ollama_generate" is not emulated'),
        (ONE + 'profile = { like = "groq", hourly = [1, 2] }', "give 24 factors"),
        (ONE + 'profile = { like = "groq", queue_max = 3 }', "without slots nobody queues"),
        (ONE + 'profile = { like = "groq", ttft_quantiles = [2, 1] }', "never fall"),
        (ONE + "profile = { like = 'groq', failures = [{ share = 0.7, kind = 'overloaded' }, "
         "{ share = 0.7, kind = 'server_error' }] }", "add up to 1.4"),
        (ONE + 'profile = { like = "groq", ttft_s_median = -1 }', "> 0"),
        (ONE.replace('"p"', '"openai"') + 'profile = { like = "groq" }', "is a real provider"),
        (ONE + PROFILE + ONE + PROFILE, "given twice"),
        (ONE + PROFILE + '[[recordings]]\nmodel = "n"', 'no provider offers "n"'),
        ("providers = []", "give at least one"),
    ],
)  # fmt: skip
def test_a_plan_that_is_wrong_is_refused_with_the_way_out(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PlanError, match=said) as raised:
        load_emulator(write(tmp_path, text))
    assert "plan.toml" in str(raised.value)


def test_an_offers_keys_go_over_its_providers_and_those_over_the_profile_that_ships(tmp_path: Path) -> None:
    text = (
        '[[providers]]\nname = "p"\nprofile = { like = "groq", ttft_s_median = 2.0, tokens_per_event = 7 }\n'
        'offers = [{ model = "m", profile = { ttft_s_median = 3.0 } }, { model = "n" }]\n'
    )
    (provider,) = load_emulator(write(tmp_path, text)).providers
    first, second = (offer.profile for offer in provider.offers)
    assert (first.ttft_s_median, first.tokens_per_event) == (3.0, 7)
    assert second.ttft_s_median == 2.0
    assert first.token_rate_median == second.token_rate_median > 100


def test_recordings_are_written_and_are_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text(
        '{"id":"a","kind":"x","request":{"messages":[{"role":"user","content":"Why?"}]}}\n'
        '{"id":"b","kind":"y","request":{"messages":[{"role":"user","content":"How?"}]}}\n'
    )
    plan = write(
        tmp_path,
        'port = 1430\nprompts = "prompts.jsonl"\n'
        + ONE.replace('{ model = "m" }', '{ model = "m" }, { model = "n" }')
        + PROFILE
        + '[[recordings]]\nmodel = "m"\nkinds = ["x"]\nstream = "both"\n',
    )
    for folder in ("one", "two"):
        result = CliRunner().invoke(command, [str(plan), "--record", str(tmp_path / folder)], catch_exceptions=False)
        assert result.exit_code == 0
        assert "2 interactions" in result.output
    (one,), (two,) = (list((tmp_path / folder).iterdir()) for folder in ("one", "two"))
    assert one.name == "p-m.yaml"
    assert one.read_bytes() == two.read_bytes()
    assert "http://127.0.0.1:1430/p/v1/chat/completions" in one.read_text()


def test_recording_without_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="needs prompts"):
        CliRunner().invoke(
            command,
            [str(write(tmp_path, ONE + PROFILE)), "--record", str(tmp_path / "x")],
            catch_exceptions=False,
            standalone_mode=False,
        )


def test_the_plan_that_ships_is_in_order() -> None:
    plan = load_emulator(ROOT / "configs" / "emulator.toml")
    assert len(plan.providers) >= 6
    shared_models = set.intersection(*({offer.model for offer in provider.offers} for provider in plan.providers))
    assert len(shared_models) >= 4
    assert {provider.dialects[0] for provider in plan.providers} >= {"openai_chat", "anthropic", "gemini"}


def test_the_plan_that_ships_explains_every_key() -> None:
    text = (ROOT / "configs" / "emulator.toml").read_text()
    explained = text[text.index("# Every key") :]
    tables = (
        EmulatorTable,
        EmulatedProviderTable,
        EmulatedOfferTable,
        EmulatorProfileTable,
        FailureTable,
        RecordingTable,
    )
    missing = [key for table in tables for key in table.__struct_fields__ if not re.search(rf"\b{key}\b", explained)]
    assert not missing
    unknown = set(EMULATED) - set(re.findall(r"\w+", explained))
    assert not unknown
