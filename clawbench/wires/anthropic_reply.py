"""Whole answers in Anthropic's messages dialect: a message object read as a `Completion`, and written from one.

What is shared with streams is here too: stop reasons, and the usage object written. Knows no HTTP, no requests.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, ToolCall, Usage
from clawbench.usage.anthropic import normalise_noted
from clawbench.wires.anthropic_content import WHOLE, input_of, note_duplicates, read_blocks, thoughts_of
from clawbench.wires.failures import clean, error_in_body, read_error
from clawbench.wires.sse_json import unreadable
from clawbench.wires.tolerant_json import NotJson, loads
from clawbench.wires.unsaid import note

STOP_REASONS: Final[dict[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Anthropic's words → OpenAI's. Others read as stop, with a note."""

_BACK: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_TOP_PLACED: Final = frozenset(
    {"id", "type", "role", "content", "model", "stop_reason", "stop_sequence", "stop_details", "usage"}
)


def decode_message(status: int, body: bytes) -> Completion:
    """The answer in a 2xx body.

    Raises `UpstreamError` with outcome `error_200` for an error object, `protocol_error` for what is no answer.
    """
    try:
        value, notes = loads(body)
    except NotJson as error:
        raise unreadable(body, str(error), status) from None
    if type(value) is not dict or type(value.get("content")) is not list:
        raise no_answer(value, status)
    return read_message(value, list(notes))


def read_message(value: dict[str, Any], odd: list[str]) -> Completion:
    """A decoded message object; `odd` takes the notes."""
    blocks = read_blocks(value["content"])
    note_duplicates(blocks.calls, odd)
    usage = None
    raw = value.get("usage")
    if raw is not None:
        usage, notes = normalise_noted(raw)
        odd += notes
    extra = blocks.extra() if blocks.details or blocks.whole else {}
    reason = stop_reason(value, extra, odd)
    id, model, tier = value.get("id"), value.get("model"), None if type(raw) is not dict else raw.get("service_tier")
    top = {name: item for name, item in value.items() if name not in _TOP_PLACED and item is not None}
    choice = Choice(
        content=blocks.text,
        reasoning=blocks.reasoning,
        tool_calls=blocks.calls,
        finish_reason=reason,
        extra=extra or None,
    )
    return Completion(
        choices=(choice,),
        id=id if type(id) is str else "",
        model=model if type(model) is str and model else None,
        usage=usage,
        service_tier=tier if type(tier) is str else None,
        extra=top or None,
        notes=tuple(odd),
    )


def stop_reason(source: dict[str, Any], extra: dict[str, Any], odd: list[str]) -> str | None:
    """OpenAI's word for a stop reason; what the word does not say is added to `extra` under the provider's names."""
    stated = source.get("stop_reason")
    if type(stated) is not str or not stated:
        return None
    known = STOP_REASONS.get(stated)
    if known is None:
        note(odd, f"stop reason {clean(stated[:40])!r} read as stop")
    if _BACK.get(known or "") != stated:
        extra["stop_reason"] = stated
    for name in ("stop_sequence", "stop_details"):
        if source.get(name) is not None:
            extra[name] = source[name]
    return known or "stop"


def no_answer(value: Any, status: int | None, *, outcome: str = "error_200") -> UpstreamError:
    """The error for JSON that is no answer: the one that it reports, or that it is none."""
    said = read_error(value)
    if said is not None:
        return error_in_body(said, outcome=outcome, status=status)
    return UpstreamError("The answer holds no message.", outcome="protocol_error", status=status)


def message_of(completion: Completion) -> dict[str, Any]:
    """The message object of an answer. Of several choices the first is written: the dialect has one."""
    choice = completion.choices[0] if completion.choices else Choice(finish_reason="stop")
    extra = choice.extra or {}
    usage = usage_body(completion.usage)
    if completion.service_tier is not None:
        usage.setdefault("service_tier", completion.service_tier)
    message = {
        "id": completion.id or "msg_0",
        "type": "message",
        "role": "assistant",
        "model": completion.model or "",
        "content": _content(choice),
        **stop_fields(choice.finish_reason, extra),
        "usage": usage,
    }
    return {**(completion.extra or {}), **message}


def stop_fields(finish_reason: str | None, extra: dict[str, Any]) -> dict[str, Any]:
    """`stop_reason` and what goes with it."""
    fields = {
        "stop_reason": extra.get("stop_reason") or _BACK.get(finish_reason or "stop", "end_turn"),
        "stop_sequence": extra.get("stop_sequence"),
    }
    if "stop_details" in extra:
        fields["stop_details"] = extra["stop_details"]
    return fields


def usage_body(usage: Usage | None) -> dict[str, Any]:
    """Anthropic's usage object; its own where the counts came from there. Unknown primary counts are written as 0."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    raw = usage.raw
    if raw is not None and type(raw.get("input_tokens")) is int and type(raw.get("output_tokens")) is int:
        return dict(raw)
    read, written = usage.cached_input_tokens or 0, usage.cache_write_tokens or 0
    body: dict[str, Any] = {
        "input_tokens": max((usage.input_tokens or 0) - read - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output_tokens or 0,
    }
    if usage.reasoning_tokens is not None:
        body["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return body


def tool_use(call: ToolCall, place: int) -> dict[str, Any]:
    """A tool call as a block."""
    return {
        "type": "tool_use",
        "id": call.id or f"toolu_{place}",
        "name": call.name,
        "input": input_of(call.arguments, []),
    }


def _content(choice: Choice) -> list[Any]:
    extra = choice.extra or {}
    whole = extra.get(WHOLE)
    if type(whole) is list and whole:
        return whole
    blocks: list[Any] = thoughts_of(extra.get("reasoning_details"), [])
    if choice.reasoning and not any(block["type"] == "thinking" for block in blocks):
        blocks.insert(0, {"type": "thinking", "thinking": choice.reasoning, "signature": ""})
    text = choice.content or choice.refusal
    if text is not None:
        blocks.append({"type": "text", "text": text})
    blocks += [tool_use(call, place) for place, call in enumerate(choice.tool_calls)]
    return blocks
