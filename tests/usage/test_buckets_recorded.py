"""Usage objects from real calls, against the counts that genai-prices reads from them; disagreements are explained."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clawbench.usage import normalisers
from clawbench.usage.normalisers import Normaliser, count, normaliser_for

EMBEDDING = "no chat answer but an embedding: there is no output to count, and ours calls that missing; input agrees"
ADVISED = (
    "ours: an advisor's rounds are billed at their own model's price and stand in `iterations` only; the top level, "
    "which genai-prices reads, leaves them out"
)
EXPECTED = {
    "models/cassettes/test_anthropic/test_anthropic_advisor_tool.yaml": ADVISED,
    "models/cassettes/test_anthropic/test_anthropic_advisor_tool_redacted.yaml": ADVISED,
    "models/cassettes/test_openai/test_compatible_api_with_tool_calls_without_id.yaml": (
        "ours: Gemini behind OpenAI's dialect, whose thoughts are in the total alone: 62 tokens more than stated"
    ),
    **{
        f"cassettes/test_embeddings/{name}.yaml": EMBEDDING
        for name in (
            "TestCohere.test_query",
            "TestCohere.test_query_with_truncate",
            "TestOpenAI.test_instrumentation",
            "TestOpenAI.test_query",
            "test_google_task_prefix[asymmetric-document-empty-title]",
            "test_google_task_prefix[asymmetric-document-no-title]",
            "test_google_task_prefix[default-query]",
            "test_google_task_prefix[symmetric-document-ignores-title]",
            "test_google_task_prefix[task-type-ignored-on-embedding-2]",
            "test_google_task_prefix_vertex",
        )
    },
}
"""File → who is right and why."""

EXTRACTORS = {
    "groq": ("groq", "default"),
    "mistral": ("mistral", "default"),
    "openrouter": ("openrouter", "chat"),
    "deepseek": ("deepseek", "chat"),
}
CHAT_PROVIDERS = ("groq", "deepseek", "mistral", "openrouter", "cerebras", "huggingface", "zai", "ollama", "azure")


def bodies(shared: Path) -> list[dict[str, Any]]:
    path = shared / "traces" / "prices" / "genai-prices_usages_even.json.gz"
    if not path.exists():
        pytest.skip("no recorded usages beside the repository")
    found: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    return found


def upstream(body: dict[str, Any], usage: dict[str, Any]) -> tuple[Normaliser, tuple[str, str]]:
    """The normaliser of the API that a body came from, and genai-prices' extractor for it."""
    if "promptTokenCount" in usage:
        return normalisers.GEMINI, ("google", "default")
    if "inputTokens" in usage:
        return normalisers.BEDROCK, ("aws", "default")
    if "billed_units" in usage:
        return normalisers.COHERE, ("cohere", "default")
    if "prompt_tokens" in usage:
        named = next((provider for provider in CHAT_PROVIDERS if provider in body["file"]), "openai")
        provider = "gemini" if body.get("model", "").startswith("gemini") else named
        return normaliser_for("openai_chat", provider), EXTRACTORS.get(provider, ("openai", "chat"))
    if "total_tokens" in usage or "input_tokens_details" in usage:
        return normalisers.OPENAI_RESPONSES, ("openai", "responses")
    return normalisers.ANTHROPIC, ("anthropic", "default")


def test_real_usages_have_the_counts_that_genai_prices_reads_or_a_reason_why_not(shared: Path) -> None:
    found = bodies(shared)
    differing: Counter[str] = Counter()
    for each in found:
        body = each["body"]
        usage = next(body[key] for key in ("usage", "usageMetadata", "meta") if key in body)
        normaliser, extractor = upstream(body, usage)
        counted = count(normaliser, (json.dumps(usage).encode(),))
        assert not counted.refused, (body["file"], counted.refused)
        buckets = counted.buckets
        theirs: dict[str, int] = next(
            (
                extracted["usage"]
                for extracted in each["extracted"]
                if any((by["provider_id"], by["api_flavor"]) == extractor for by in extracted["extractors"])
            ),
            {},
        )
        output = buckets.output_text + buckets.reasoning + buckets.audio_out + buckets.image_out
        ours = (
            buckets.input_tokens,
            output,
            buckets.cache_read + buckets.audio_cache_read,
            buckets.cache_write_5m + buckets.cache_write_1h,
        )
        names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
        if ours != tuple(theirs.get(name, 0) for name in names) or counted.missing or counted.flags:
            differing[body["file"]] += 1
    assert len(found) == 789
    assert set(differing) == set(EXPECTED)
    assert sum(differing.values()) == 13
