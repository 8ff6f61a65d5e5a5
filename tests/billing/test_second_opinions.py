"""Second opinions: what litellm makes of raw usages, and genai-prices where it is installed or stood in for."""

from __future__ import annotations

import json
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from clawbench.billing.second_opinions import GenaiPricesOpinion, LiteLLMOpinion
from clawbench.errors import UsageError


@pytest.fixture(scope="module")
def litellm() -> LiteLLMOpinion:
    return LiteLLMOpinion()


def text(**usage: Any) -> bytes:
    return json.dumps(usage).encode()


CHAT = text(prompt_tokens=3000, completion_tokens=400, total_tokens=3400, prompt_tokens_details={"cached_tokens": 2048})


@pytest.mark.parametrize(
    ("provider", "model", "dialect", "usage", "usd"),
    [
        ("openai", "gpt-4o", "openai_chat", CHAT, "0.00894"),
        (
            "anthropic",
            "claude-sonnet-4-5",
            "anthropic",
            text(input_tokens=3, cache_creation_input_tokens=12304, cache_read_input_tokens=0, output_tokens=550),
            "0.054399",
        ),
        (
            "gemini",
            "gemini-2.5-pro",
            "gemini",
            text(promptTokenCount=10, candidatesTokenCount=200, thoughtsTokenCount=5000, totalTokenCount=5210),
            "0.0520125",
        ),
        (
            "bedrock",
            "amazon.nova-pro-v1:0",
            "bedrock_converse",
            text(inputTokens=100, outputTokens=50, totalTokens=650, cacheReadInputTokens=500),
            "0.00034",
        ),
        (
            "openai",
            "gpt-5",
            "openai_responses",
            text(
                input_tokens=5000,
                input_tokens_details={"cached_tokens": 3000},
                output_tokens=800,
                output_tokens_details={"reasoning_tokens": 300},
                total_tokens=5800,
            ),
            "0.010875",
        ),
    ],
)
def test_litellm_reads_each_provider_s_own_usage(
    litellm: LiteLLMOpinion, provider: str, model: str, dialect: str, usage: bytes, usd: str
) -> None:
    opinion = litellm.opinion(provider, model, usage, dialect=dialect)
    assert opinion is not None
    assert abs(opinion - Decimal(usd)) <= Decimal("1e-15")  # they reckon in floats


@pytest.mark.parametrize(
    ("provider", "model", "dialect", "usage"),
    [
        ("openai", "no-such-model", "openai_chat", CHAT),
        ("nobody", "gpt-4o", "openai_chat", CHAT),
        ("openai", "gpt-4o", "openai_chat", b'{"prompt_tokens": NaN'),
        ("openai", "gpt-4o", "openai_chat", b"[]"),
        ("ollama", "llama3", "ollama", text(prompt_eval_count=1, eval_count=2)),
    ],
)
def test_what_litellm_does_not_know_is_no_opinion(
    litellm: LiteLLMOpinion, provider: str, model: str, dialect: str, usage: bytes
) -> None:
    assert litellm.opinion(provider, model, usage, dialect=dialect) is None


def test_a_package_that_is_not_installed_is_named_with_the_way_out() -> None:
    def load(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    with pytest.raises(UsageError, match="pip install genai-prices"):
        GenaiPricesOpinion(load)


def test_genai_prices_is_asked_by_its_own_names() -> None:
    asked: list[dict[str, Any]] = []

    def extract_usage(body: dict[str, Any], **how: str) -> Any:
        asked.append({"body": body} | how)
        return SimpleNamespace(calc_price=lambda: SimpleNamespace(total_price=Decimal("0.5")))

    opinions = GenaiPricesOpinion(lambda _: SimpleNamespace(extract_usage=extract_usage))
    assert opinions.opinion("xai", "grok-4.3", CHAT, dialect="openai_chat") == Decimal("0.5")
    assert opinions.opinion("gemini", "g", text(promptTokenCount=1), dialect="gemini") == Decimal("0.5")
    assert [(each["provider_id"], each["api_flavor"]) for each in asked] == [("x-ai", "chat"), ("google", "default")]
    assert asked[1]["body"]["usageMetadata"] == {"promptTokenCount": 1}
    assert opinions.opinion("openai", "gpt-5", CHAT, dialect="openai_chat", service_tier="flex") is None
    assert opinions.opinion("openai", "gpt-5", b"{", dialect="openai_chat") is None
