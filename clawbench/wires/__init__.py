"""The dialects that are spoken, by name. To add one: a file with a `Wire`, a line here.

The order is the order of recognition: a dialect whose marks are more particular stands before a more general one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from clawbench.types import HttpCall, Offer
from clawbench.wires.anthropic import AnthropicMessages
from clawbench.wires.bedrock_anthropic import BedrockAnthropic
from clawbench.wires.bedrock_converse import BedrockConverse
from clawbench.wires.bedrock_invoke_other import BedrockInvokeOther
from clawbench.wires.cohere import Cohere
from clawbench.wires.cohere_v1 import CohereV1
from clawbench.wires.gemini import Gemini
from clawbench.wires.litellm_bridge import PREFIX, bridge
from clawbench.wires.ollama import Ollama, OllamaGenerate
from clawbench.wires.openai_chat import OpenAIChat
from clawbench.wires.openai_completions import OpenAICompletions
from clawbench.wires.openai_responses import OpenAIResponses
from clawbench.wires.protocol import Wire

__all__ = ["READ_ONLY", "WIRES", "recognise", "wire_for", "wire_of"]

WIRES: Final[dict[str, Wire]] = {
    wire.name: wire
    for wire in (
        AnthropicMessages(),
        BedrockAnthropic(),
        BedrockConverse(),
        BedrockInvokeOther(),
        OpenAIResponses(),
        OpenAIChat(),
        OpenAICompletions(),
        Gemini(),
        Ollama(),
        OllamaGenerate(),
        Cohere(),
        CohereV1(),
    )
}  # fmt: skip

READ_ONLY: Final = frozenset({"bedrock_invoke_other", "cohere_v1", "ollama_generate", "openai_completions"})
"""Dialects that recordings hold and nobody should speak any more: their `encode` refuses."""

_OF_PROVIDER: Final[dict[str, Callable[[str], Wire]]] = {
    "openai_chat": OpenAIChat.of,
}
"""Dialects whose answers mean different things at different providers."""


def recognise(call: HttpCall, reply_body: bytes) -> Wire | None:
    """The wire whose chat call a recorded exchange is; None if it is no chat call of a known dialect."""
    return next((wire for wire in WIRES.values() if wire.recognises(call, reply_body)), None)


def wire_for(offer: Offer) -> Wire:
    """The wire that reads this offer's answers as its provider means them. Raises `KeyError` for an unknown dialect."""
    if offer.dialect.startswith(PREFIX):
        return bridge(offer.dialect.removeprefix(PREFIX), offer.upstream_model)
    return _wire(offer.dialect, offer.provider)


def wire_of(dialect: str) -> Wire:
    """The wire of a dialect, "litellm:<provider>" included. Raises `KeyError` for an unknown dialect."""
    return bridge(dialect.removeprefix(PREFIX)) if dialect.startswith(PREFIX) else WIRES[dialect]


@lru_cache(maxsize=1024)
def _wire(dialect: str, provider: str) -> Wire:
    of_provider = _OF_PROVIDER.get(dialect)
    return of_provider(provider) if of_provider is not None else WIRES[dialect]
