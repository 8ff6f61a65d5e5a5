"""`clawbench emulate`: the usage that official clients read is the one that our wires read of the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types as google

from clawbench.cassettes.interaction import Interaction
from clawbench.taping.block import recording
from clawbench.types import Usage
from clawbench.wires import WIRES
from tests.emulator.serving import Served, emulator
from tests.taping.made import read

LONG = "The lease begins in May and ends in June of the year after. " * 80
QUESTION = "When does it end?"
Counts = tuple[int, int, int, int, int]
"""Tokens: of the prompt, of these read from a cache, of these written to one, of the answer, of these thoughts."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with emulator(tmp_path_factory.mktemp("emulator")) as running:
        yield running


def by_openai(served: Served, model: str, stream: bool) -> Counts:
    client = openai.OpenAI(base_url=f"{served.origin}/caching/v1", api_key="any", max_retries=0)
    messages: list[Any] = [{"role": "system", "content": LONG}, {"role": "user", "content": QUESTION}]
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    answer: Any = client.chat.completions.create(model=model, messages=messages, **options)
    usage = list(answer)[-1].usage if stream else answer.usage
    thoughts = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else 0
    cached = usage.prompt_tokens_details.cached_tokens
    return usage.prompt_tokens, cached or 0, 0, usage.completion_tokens, thoughts or 0


def by_openai_responses(served: Served, model: str, stream: bool) -> Counts:
    client = openai.OpenAI(base_url=f"{served.origin}/caching/v1", api_key="any", max_retries=0)
    # The provider's cache knows the chat's prompt already, in whichever dialect it comes.
    asked: dict[str, Any] = {"model": model, "instructions": f"Be brief. {LONG}", "input": QUESTION}
    if stream:
        with client.responses.stream(**asked) as events:
            usage = events.until_done().get_final_response().usage
    else:
        usage = client.responses.create(**asked).usage
    assert usage is not None
    cached, thoughts = usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens
    return usage.input_tokens, cached, 0, usage.output_tokens, thoughts


def by_anthropic(served: Served, model: str, stream: bool) -> Counts:
    client = anthropic.Anthropic(base_url=f"{served.origin}/ant", api_key="any", max_retries=0)
    asked: dict[str, Any] = {
        "model": model,
        "max_tokens": 2000,
        "system": [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": QUESTION}],
    }
    if stream:
        with client.messages.stream(**asked) as events:
            usage = events.get_final_message().usage
    else:
        usage = client.messages.create(**asked).usage
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    thoughts = usage.output_tokens_details.thinking_tokens if usage.output_tokens_details else 0
    return usage.input_tokens + cached + written, cached, written, usage.output_tokens, thoughts


def by_google(served: Served, model: str, stream: bool) -> Counts:
    client = genai.Client(api_key="any", http_options=google.HttpOptions(base_url=f"{served.origin}/gem"))
    asked: dict[str, Any] = {
        "model": model,
        "contents": QUESTION,
        "config": google.GenerateContentConfig(system_instruction=LONG),
    }
    if stream:
        usage = list(client.models.generate_content_stream(**asked))[-1].usage_metadata
    else:
        usage = client.models.generate_content(**asked).usage_metadata
    assert usage is not None
    thoughts = usage.thoughts_token_count or 0
    output = (usage.candidates_token_count or 0) + thoughts
    return usage.prompt_token_count or 0, usage.cached_content_token_count or 0, 0, output, thoughts


CLIENTS: dict[str, Callable[[Served, str, bool], Counts]] = {
    "openai_chat": by_openai,
    "openai_responses": by_openai_responses,
    "anthropic": by_anthropic,
    "gemini": by_google,
}


def ours(dialect: str, item: Interaction, stream: bool) -> Counts:
    wire = WIRES[dialect]
    usage: Usage | None
    if stream:
        decoder = wire.stream()
        decoder.feed(item.body)
        usage = decoder.finish().usage
    else:
        usage = wire.decode(200, item.headers, item.body).usage
    assert usage is not None
    counts = (
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )
    whole, cached, written, output, thoughts = (count or 0 for count in counts)
    return whole, cached, written, output, thoughts


@pytest.mark.parametrize("dialect", CLIENTS)
def test_a_clients_usage_is_ours_streamed_or_not_cached_or_not(dialect: str, served: Served, tmp_path: Path) -> None:
    """The calls are recorded on their way, so that both read the same bytes."""
    ways = [(model, stream) for model in ("m-up", "t-up") for stream in (False, True)]
    with recording(tmp_path / "a.yaml", mode="all"):
        theirs = [CLIENTS[dialect](served, model, stream) for model, stream in ways]
    items = read(tmp_path / "a.yaml")
    assert [ours(dialect, item, stream) for item, (_, stream) in zip(items, ways, strict=True)] == theirs
    assert all(prompt > 1000 and answer > 0 for prompt, _, _, answer, _ in theirs)
    cached = [cached > 0 for _, cached, _, _, _ in theirs]
    assert cached == [False, True, False, True], "each model's second call finds the prompt in its cache"
    assert [thoughts > 0 for *_, thoughts in theirs][2:] == [True, True]
