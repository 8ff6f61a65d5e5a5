"""When a recorded request answers an asked one: the canonical request, its key, and how two requests differ.

In the canonical request stands what can change the answer: messages, tools, tool choice, response format, sampling,
output limit, stream flag, and every field that is not known (`extra`). Left out is what cannot: the model's name (an
offer has one), stream options, who asks, what it is filed under, which cache or service tier it meets, the order of
keys, and ids. Ids of tool calls tie messages together, so they become numbers in order of first appearance. A content
list of one plain text part is that text; a message field that is null is a field that is absent.
Knows requests in OpenAI's chat terms only, no wire and no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Struct

from clawbench.types import ChatRequest, Message

KEY_BYTES: Final = 16

NOT_MATCHED: Final = frozenset(
    {
        "stream_options",
        "user",
        "metadata",
        "store",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
    }
)
"""Fields of `ChatRequest.extra` that cannot change the answer. A service tier changes its price and its time only."""

_REAL: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_AS_IS: Final = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "max_output_tokens",
    "stop",
    "seed",
    "n",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
)
MEDIA_CHARS: Final = 1_200
"""What a picture, a video or a piece of sound counts in a prompt's size: 300 tokens, as admission estimates it."""

_MEDIA_TYPES: Final = frozenset({"image_url", "video_url", "input_audio"})
_TEXT_PART_KEYS: Final = frozenset({"type", "text"})
_TEXT_TYPES: Final = frozenset({"text", "input_text"})

_encode = msgspec.json.Encoder(order="deterministic").encode


class Features(Struct, frozen=True, gc=False):
    """What nearest matching compares, in falling order of weight."""

    stream: bool
    has_tools: bool
    prompt_chars: int  # characters of text in messages and tool calls, and `MEDIA_CHARS` for each part of media


def canonical(request: ChatRequest) -> bytes:
    """The canonical request as JSON with sorted keys; equal bytes mean that one recording answers both."""
    return _encode(_parts(request))


def key(request: ChatRequest) -> bytes:
    """16-byte BLAKE2b of the canonical request."""
    return blake2b(_encode(_parts(request)), digest_size=KEY_BYTES).digest()


def features(request: ChatRequest) -> Features:
    """What a nearest match is looked for by."""
    chars = 0
    for message in request.messages:
        content = message.get("content")
        if type(content) is str:
            chars += len(content)
        elif type(content) is list:
            chars += sum(_size(part) for part in content if type(part) is dict)
        for call in message.get("tool_calls") or ():
            function = call.get("function") if type(call) is dict else None
            arguments = function.get("arguments") if type(function) is dict else None
            chars += len(arguments) if type(arguments) is str else 0
    return Features(request.stream, bool(request.tools), chars)


def _size(part: dict[str, Any]) -> int:
    text = part.get("text")
    if type(text) is str:
        return len(text)
    kind = part.get("type")
    return MEDIA_CHARS if type(kind) is str and kind in _MEDIA_TYPES else 0


def differences(asked: ChatRequest, recorded: ChatRequest) -> list[str]:
    """What keeps two requests from being the same, e.g. `temperature 0.7 vs absent`; the asked one stands first.

    Empty if their keys are equal. Text of prompts is never shown.
    """
    ours, theirs = _parts(asked), _parts(recorded)
    found = _message_differences(ours.pop("messages"), theirs.pop("messages"))
    extras = (ours.pop("extra", {}), theirs.pop("extra", {}))
    for here, there in ((ours, theirs), extras):
        for name in sorted(here.keys() | there.keys()):
            mine, other = here.get(name), there.get(name)
            if _encode(mine) != _encode(other):
                found.append(_difference(name, mine, other))
    return found


def _parts(request: ChatRequest) -> dict[str, Any]:
    parts: dict[str, Any] = {"messages": _messages(request.messages), "stream": request.stream}
    for name in _REAL:
        number = getattr(request, name)
        if number is not None:
            parts[name] = float(number)  # 1 and 1.0 are the same temperature
    for name in _AS_IS:
        value = getattr(request, name)
        if value is not None:
            parts[name] = value
    if request.extra:
        extra = {name: value for name, value in request.extra.items() if value is not None and name not in NOT_MATCHED}
        if extra:
            parts["extra"] = extra
    return parts


def _messages(messages: Sequence[Message]) -> list[Any]:
    numbers: dict[str, str] = {}
    return [
        _message(message, numbers)
        if type(message.get("content")) is not str
        or "tool_calls" in message
        or "tool_call_id" in message
        or "id" in message
        or None in message.values()
        else message
        for message in messages
    ]


def _message(message: Message, numbers: dict[str, str]) -> dict[str, Any]:
    plain = {name: value for name, value in message.items() if value is not None and name != "id"}
    content = plain.get("content")
    if type(content) is list and len(content) == 1 and _is_plain_text(content[0]):
        plain["content"] = content[0]["text"]
    calls = plain.get("tool_calls")
    if type(calls) is list:
        plain["tool_calls"] = [_numbered(call, numbers) for call in calls]
    answered = plain.get("tool_call_id")
    if type(answered) is str:
        plain["tool_call_id"] = numbers.setdefault(answered, f"call_{len(numbers)}")
    return plain


def _is_plain_text(part: Any) -> bool:
    return type(part) is dict and part.keys() == _TEXT_PART_KEYS and part["type"] in _TEXT_TYPES


def _numbered(call: Any, numbers: dict[str, str]) -> Any:
    if type(call) is not dict or type(given := call.get("id")) is not str:
        return call
    return {**call, "id": numbers.setdefault(given, f"call_{len(numbers)}")}


def _message_differences(ours: list[Any], theirs: list[Any]) -> list[str]:
    found = [] if len(ours) == len(theirs) else [f"{len(ours)} vs {len(theirs)} messages"]
    for index, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
        for name in sorted(mine.keys() | other.keys()):
            if _encode(mine.get(name)) != _encode(other.get(name)):
                found.append(_difference(f"messages[{index}].{name}", mine.get(name), other.get(name)))
    return found


def _difference(name: str, mine: Any, other: Any) -> str:
    left, right = _shown(name, mine), _shown(name, other)
    return f"{name} differs" if left == right == "present" else f"{name} {left} vs {right}"


def _shown(name: str, value: Any) -> str:
    """A short value itself; otherwise only whether there is one."""
    if value is None:
        return "absent"
    private = name.startswith("messages[") and not name.endswith(".role")
    if private or not isinstance(value, (bool, int, float, str)) or (isinstance(value, str) and len(value) > 20):
        return "present"
    return msgspec.json.encode(value).decode()
