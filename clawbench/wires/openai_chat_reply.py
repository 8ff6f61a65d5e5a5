"""Whole answers in OpenAI's chat dialect: bytes of a 200 in, `Completion` out.

One tolerant walk over the decoded body instead of typed structs: it costs the same, keeps every field that has no
place of its own (`extra`), and the imitators' shapes need no second path: content as a list of parts, reasoning under
two names, arguments as objects, errors behind a status of 200. What is shared with streams is here too.
Knows nothing of requests and of statuses above 200.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, ToolCall, Usage
from clawbench.usage.openai_chat import normalise_noted
from clawbench.wires.failures import clean, error_in_body, read_error
from clawbench.wires.tolerant_json import NotJson, loads

FINISH_REASONS: Final[dict[str, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "function_call",
    "error": "error",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "complete": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "max_length": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "sensitive": "content_filter",
    "safety": "content_filter",
    "refusal": "content_filter",
    "network_error": "error",
}
"""Providers' words → OpenAI's; `error` means that the provider broke off. Others read as stop, with a note."""

_PLACED: Final = frozenset({"role", "content", "reasoning", "reasoning_content", "refusal", "tool_calls"})
_TOP_PLACED: Final = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint", "error"}
)


def decode_completion(status: int, body: bytes, variant: str) -> Completion:
    """The answer in a 2xx body; `variant` says how its usage is meant.

    Raises `UpstreamError` with outcome `error_200` for an error object, `protocol_error` for what is no answer.
    """
    try:
        value, notes = loads(body)
    except NotJson as error:
        raise unreadable(body, str(error), status) from None
    if type(value) is not dict:
        raise _no_answer(value, status)
    choices = value.get("choices")
    if value.get("error") or type(choices) is not list or not choices:
        raise _no_answer(value, status)
    odd = list(notes)
    usage = _usage(value, variant, odd)
    read = tuple(_choice(choice, place, odd, status) for place, choice in enumerate(choices))
    created, model, tier = value.get("created"), value.get("model"), value.get("service_tier")
    fingerprint, id = value.get("system_fingerprint"), value.get("id")
    extra = {key: item for key, item in value.items() if key not in _TOP_PLACED and item is not None}
    return Completion(
        choices=read,
        id=id if type(id) is str else "",
        model=model if type(model) is str and model else None,
        created=created if type(created) is int else None,
        usage=usage,
        service_tier=tier if type(tier) is str else None,
        system_fingerprint=fingerprint if type(fingerprint) is str else None,
        extra=extra or None,
        notes=tuple(odd),
    )


def unreadable(body: bytes, why: str, status: int | None) -> UpstreamError:
    """The error for a 200 that is no JSON."""
    start = body[:512].lstrip().lower()
    if not start:
        why = "the body is empty"
    elif start.startswith((b"<!doctype", b"<html")):
        why = "the body is an HTML page"
    return UpstreamError(clean(f"Unreadable answer: {why}"), outcome="protocol_error", status=status)


def _no_answer(value: Any, status: int) -> UpstreamError:
    said = read_error(value)
    if said is not None:
        return error_in_body(said, outcome="error_200", status=status)
    return UpstreamError("The answer holds no choice.", outcome="protocol_error", status=status)


def _usage(value: dict[str, Any], variant: str, odd: list[str]) -> Usage | None:
    raw = stated_usage(value) or value.get("timings")
    if raw is None:
        return None
    usage, notes = normalise_noted(raw, variant)
    odd += notes
    return usage


def stated_usage(value: dict[str, Any]) -> Any:
    """The usage object of a body or chunk, wherever it stands; None if it states none."""
    raw = value.get("usage")
    if not raw and "x_groq" in value:
        groq = value["x_groq"]
        raw = groq.get("usage") if type(groq) is dict else None
    return raw or None


def _choice(choice: Any, place: int, odd: list[str], status: int) -> Choice:
    if type(choice) is not dict:
        raise UpstreamError("A choice is no object.", outcome="protocol_error", status=status)
    message = choice.get("message")
    if type(message) is not dict:
        message = choice.get("delta")  # of servers that answer as if they streamed
    if type(message) is not dict:
        message = {"content": choice["text"]} if type(choice.get("text")) is str else {}
    content = message.get("content")
    thought: Any = None
    if type(content) is not str and content is not None:
        content, thought = split_parts(content)
    reasoning = reasoning_of(message) or thought or None
    if choice.get("error") and not content:
        said = read_error({"error": choice["error"]})
        if said is not None:
            raise error_in_body(said, outcome="error_200", status=status)
    calls = message.get("tool_calls")
    refusal, logprobs, index = message.get("refusal"), choice.get("logprobs"), choice.get("index")
    extra = {key: item for key, item in message.items() if key not in _PLACED and item}
    return Choice(
        index=index if type(index) is int and index >= 0 else place,
        content=content,
        reasoning=reasoning,
        refusal=refusal if type(refusal) is str and refusal else None,
        tool_calls=_tool_calls(calls, odd) if calls else (),
        finish_reason=finish_reason(choice.get("finish_reason"), odd),
        logprobs=logprobs if type(logprobs) is dict and logprobs else None,
        extra=extra or None,
    )


def finish_reason(stated: Any, odd: list[str]) -> str | None:
    """OpenAI's word for a provider's finish reason; None while there is none."""
    if not stated or type(stated) is not str:
        return None
    known = FINISH_REASONS.get(stated) or FINISH_REASONS.get(stated.lower())
    if known is None:
        odd.append(f"finish reason {clean(stated[:40])!r} read as stop")
        return "stop"
    return known


def reasoning_of(message: dict[str, Any]) -> str | None:
    """Reasoning text under either name; some providers send the same text under both."""
    for key in ("reasoning_content", "reasoning"):
        text = message.get(key)
        if text and type(text) is str:
            return text
    return None


def split_parts(content: Any) -> tuple[str | None, str | None]:
    """(text, reasoning) of content that is a list of parts, as Mistral and Databricks send it; None where empty."""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content if type(content) is list else [content]:
        if type(part) is str:
            texts.append(part)
        elif type(part) is dict:
            kind = part.get("type")
            if kind in ("thinking", "reasoning"):
                thoughts.append(_part_text(part.get("thinking") or part.get("summary") or part.get("text")))
            elif type(part.get("text")) is str:
                texts.append(part["text"])
    return "".join(texts) or None, "".join(thoughts) or None


def _part_text(value: Any) -> str:
    if type(value) is str:
        return value
    if type(value) is list:
        return "".join(_part_text(item.get("text") if type(item) is dict else item) for item in value)
    return ""


def _tool_calls(calls: Any, odd: list[str]) -> tuple[ToolCall, ...]:
    found = []
    for call in calls if type(calls) is list else ():
        if type(call) is dict:
            id, name, arguments = tool_piece(call)
            found.append(ToolCall(id or "", name or "", arguments))
    ids = [call.id for call in found if call.id]
    if len(set(ids)) < len(ids):
        odd.append("duplicate tool-call ids")
    return tuple(found)


def tool_piece(call: dict[str, Any]) -> tuple[str | None, str | None, str]:
    """(id, name, arguments) of a tool call or a piece of one; None where the piece does not say."""
    function = call.get("function")
    if type(function) is not dict:
        custom = call.get("custom")
        function = {"name": custom.get("name"), "arguments": custom.get("input")} if type(custom) is dict else {}
    id, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
    if type(arguments) is not str:
        arguments = "" if arguments is None else msgspec.json.encode(arguments).decode()
    return (
        id if type(id) is str and id else None,
        name if type(name) is str and name else None,
        arguments,
    )
