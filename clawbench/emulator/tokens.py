"""Token counting by one rule, so that every usage an emulated provider states can be checked by hand.

Four characters are one token, rounded up, for each text on its own; a message costs 4 more, a prompt 3 more, tool
definitions count as their compact JSON, a picture as 256 tokens. No tokenizer: real ones differ by model and need
vocabularies, and what matters here is that prompt, answer and bill agree with each other.
"""

from __future__ import annotations

from typing import Any

import msgspec

from clawbench.types import ChatRequest, Message

CHARS_PER_TOKEN = 4
IMAGE_TOKENS = 256
_PER_MESSAGE = 4
_PER_PROMPT = 3


def count_text(text: str) -> int:
    """Tokens of a text; 0 for an empty one."""
    return -(-len(text) // CHARS_PER_TOKEN)


def count_prompt(request: ChatRequest) -> int:
    """Tokens of a whole prompt: messages and tool definitions."""
    return _PER_PROMPT + count_tools(request) + sum(map(count_message, request.messages))


def count_prefix(request: ChatRequest) -> int:
    """Tokens of the part that a provider's prompt cache can know: tools and all before the last user message.

    That is what the turn before, or the last request under the same instructions, has sent already.
    """
    users = [index for index, message in enumerate(request.messages) if message.get("role") == "user"]
    return count_tools(request) + sum(map(count_message, request.messages[: users[-1] if users else 0]))


def text_of(message: Message) -> str:
    """The text of a message: its content, or the text parts of it; "" where there is none."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def count_images(message: Message) -> int:
    """Pictures in a message's content."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return sum(isinstance(part, dict) and part.get("type") == "image_url" for part in parts)


def count_message(message: Message) -> int:
    """Tokens of one message."""
    calls: Any = message.get("tool_calls")
    text = count_text(text_of(message))
    return _PER_MESSAGE + text + IMAGE_TOKENS * count_images(message) + (_count_json(calls) if calls else 0)


def count_tools(request: ChatRequest) -> int:
    """Tokens of the tool definitions."""
    return _count_json(request.tools) if request.tools else 0


def _count_json(value: Any) -> int:
    return count_text(msgspec.json.encode(value).decode())
