"""How each dialect's providers behave beyond its wire. To add one: a file with a `Manners`, a line here.

A dialect without a line has OpenAI's manners. Wires that only read are not emulated.
"""

from __future__ import annotations

from typing import Final

from clawbench.emulator.dialects.anthropic import AnthropicManners
from clawbench.emulator.dialects.bedrock import BedrockConverseManners, BedrockInvokeManners
from clawbench.emulator.dialects.cohere import CohereManners
from clawbench.emulator.dialects.gemini import GeminiManners
from clawbench.emulator.dialects.manners import Manners
from clawbench.emulator.dialects.ollama import OllamaManners
from clawbench.emulator.dialects.openai import OpenAIResponsesManners
from clawbench.wires import READ_ONLY, WIRES
from clawbench.wires.protocol import Wire

MANNERS: Final[dict[str, Manners]] = {
    "openai_chat": Manners(),
    "openai_responses": OpenAIResponsesManners(),
    "anthropic": AnthropicManners(),
    "gemini": GeminiManners(),
    "bedrock_converse": BedrockConverseManners(),
    "bedrock_anthropic": BedrockInvokeManners(),
    "ollama": OllamaManners(),
    "cohere": CohereManners(),
}

EMULATED: Final[dict[str, Wire]] = {name: wire for name, wire in WIRES.items() if name not in READ_ONLY}
"""The dialects that an emulated provider can speak: those whose wires write answers, not only read them."""

_DEFAULT: Final = Manners()


def manners_of(dialect: str) -> Manners:
    """The ways of a dialect's providers."""
    return MANNERS.get(dialect, _DEFAULT)
