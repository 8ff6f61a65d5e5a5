"""Admission: what the router needs to know of a request, from the request alone.

The prompt estimate is four characters a token, the usual rule for English text, plus a small overhead for each
message; media parts count as a fixed amount. It is used to choose and to filter, never to bill.
"""

from __future__ import annotations

from typing import Any

from clawbench.types import ChatRequest, Message, RequestShape

CHARACTERS_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
TOKENS_PER_MEDIA_PART = 300

_NO_NEEDS: frozenset[str] = frozenset()
_PART_NEEDS = {"image_url": "vision", "video_url": "vision", "input_audio": "audio"}


def shape_of(request: ChatRequest) -> RequestShape:
    """Prompt size in estimated tokens, output limit, and the capabilities without which an offer cannot serve it."""
    characters = 0
    tokens = TOKENS_PER_MESSAGE * len(request.messages)
    needs: set[str] = set()
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, str):
            characters += len(content)
        elif isinstance(content, list):
            for part in content:
                part_characters, part_tokens = _part_size(part, needs)
                characters += part_characters
                tokens += part_tokens
        if message.get("tool_calls"):
            characters += _tool_call_characters(message)
    if request.tools:
        needs.add("tools")
        characters += sum(len(str(tool)) for tool in request.tools)
    if request.response_format and request.response_format.get("type") == "json_schema":
        needs.add("json_schema")
    if request.n is not None and request.n > 1:
        needs.add("n")
    if request.logprobs:
        needs.add("logprobs")
    return RequestShape(
        prompt_tokens=tokens + characters // CHARACTERS_PER_TOKEN,
        max_output_tokens=request.max_output_tokens,
        stream=request.stream,
        needs=frozenset(needs) if needs else _NO_NEEDS,
    )


def _part_size(part: Any, needs: set[str]) -> tuple[int, int]:
    """(characters, tokens) of one content part; adds what it needs to `needs`."""
    if not isinstance(part, dict):
        return 0, 0
    kind = part.get("type")
    if kind in _PART_NEEDS:
        needs.add(_PART_NEEDS[kind])
        return 0, TOKENS_PER_MEDIA_PART
    text = part.get("text") or part.get("input_text")
    return (len(text), 0) if isinstance(text, str) else (0, TOKENS_PER_MEDIA_PART)


def _tool_call_characters(message: Message) -> int:
    return sum(len(str(call.get("function", ""))) for call in message["tool_calls"] if isinstance(call, dict))
