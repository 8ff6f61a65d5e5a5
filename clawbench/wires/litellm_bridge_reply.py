"""What litellm made of an answer, as `Completion` and `Delta`; what it made up is taken out again.

litellm fills gaps: ids and times at random, token counts by its own tokenizer, numbers for tool calls. A fact of the
provider stands in the provider's bytes, so what does not stand there is left out, or made the same every time.
Knows litellm's objects as plain dicts only.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec.structs import replace

from clawbench.types import Choice, Completion, Delta, Headers, ToolCall, ToolCallDelta, Usage
from clawbench.usage.openai_chat import normalise_noted
from clawbench.wires.tolerant_json import NotJson, loads

JSON_TOOL: Final = "json_tool_call"
"""The tool that litellm invents where a provider knows no JSON schema; its arguments are the answer."""

_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
_COUNTS: Final = re.compile(rb'"[^"]{0,40}(usage|token|count|units)[^"]{0,40}"\s*:\s*\d', re.IGNORECASE)
_MESSAGE_EXTRA: Final = ("annotations", "images", "audio")


def completion_of(made: dict[str, Any], body: bytes, headers: Headers) -> Completion:
    """The answer that litellm read from this body."""
    notes: list[str] = []
    counted = _COUNTS.search(body) is not None or any("token" in name for name in headers)
    raw = made.get("usage")
    usage = None
    if type(raw) is dict and counted:
        usage, odd = usage_of(raw, body)
        notes += odd
    elif raw:
        notes.append("no usage stated")
    created = made.get("created")
    choices = made.get("choices")
    return Completion(
        choices=tuple(_choice(choice, body) for choice in choices if type(choice) is dict) if choices else (),
        id=_stated(made.get("id"), body) or "",
        model=_stated(made.get("model"), body),
        created=created if type(created) is int and created > 0 and str(created).encode() in body else None,
        usage=usage,
        system_fingerprint=_stated(made.get("system_fingerprint"), body),
        notes=tuple(notes),
    )


def usage_of(made: dict[str, Any], body: bytes) -> tuple[Usage, tuple[str, ...]]:
    """Counts as litellm read them; `raw` is the provider's own object where it has the usual name."""
    stated = _without_none(made)
    usage, notes = normalise_noted(stated, "openai")
    try:
        value = loads(body)[0]
    except NotJson:
        value = None
    own = value.get("usage") if type(value) is dict else None
    if type(own) is dict:
        usage = replace(usage, raw=own)
    return usage, notes


def _without_none(value: Any) -> Any:
    if type(value) is dict:
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


def _stated(value: Any, body: bytes) -> str | None:
    return value if type(value) is str and value and value.encode("utf-8", "replace") in body else None


def _choice(made: dict[str, Any], body: bytes) -> Choice:
    message = made.get("message")
    message = message if type(message) is dict else {}
    calls = []
    for place, call in enumerate(_objects(message.get("tool_calls"))):
        id, name, arguments = call_of(call)
        calls.append(ToolCall(_stated(id, body) or f"call_{place}", name or "", arguments))
    content, reason = _text(message.get("content")), reason_of(made.get("finish_reason"), bool(calls))
    if len(calls) == 1 and calls[0].name == JSON_TOOL:
        content, calls, reason = calls[0].arguments, [], "stop" if reason == "tool_calls" else reason
    logprobs = made.get("logprobs")
    index = made.get("index")
    return Choice(
        index=index if type(index) is int else 0,
        content=content,
        reasoning=_text(message.get("reasoning_content")) or None,
        refusal=_text(message.get("refusal")) or None,
        tool_calls=tuple(calls),
        finish_reason=reason,
        logprobs=logprobs if type(logprobs) is dict and logprobs else None,
        extra=extra_of(message),
    )


def reason_of(stated: Any, calls: bool) -> str | None:
    """OpenAI's word; a stop after tool calls means the calls."""
    if not stated or type(stated) is not str:
        return None
    reason = stated if stated in _REASONS else "stop"
    return "tool_calls" if reason == "stop" and calls else reason


def extra_of(message: dict[str, Any]) -> dict[str, Any] | None:
    """Message fields without a place of their own; thinking blocks become `reasoning_details`."""
    extra = {key: message[key] for key in _MESSAGE_EXTRA if message.get(key)}
    details: list[dict[str, Any]] = []
    for block in _objects(message.get("thinking_blocks")):
        if block.get("type") == "redacted_thinking":
            details.append({"type": "reasoning.encrypted", "data": block.get("data", "")})
        else:
            detail = {"type": "reasoning.text", "text": block.get("thinking") or ""}
            details.append({**detail, "signature": block["signature"]} if block.get("signature") else detail)
    if details:
        extra["reasoning_details"] = details
    return extra or None


def thinking_blocks(details: Any) -> list[dict[str, Any]]:
    """The way back: reasoning details as the blocks that litellm gives its providers."""
    blocks: list[dict[str, Any]] = []
    for detail in _objects(details):
        if detail.get("type") == "reasoning.encrypted":
            blocks.append({"type": "redacted_thinking", "data": detail.get("data", "")})
        elif detail.get("signature"):
            text = detail.get("text", "")
            blocks.append({"type": "thinking", "thinking": text, "signature": detail["signature"]})
    return blocks


def call_of(call: dict[str, Any]) -> tuple[str | None, str | None, str]:
    """(id, name, arguments) of a tool call or a piece of one."""
    function = call.get("function")
    function = function if type(function) is dict else {}
    id, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
    return id, name if type(name) is str else None, arguments if type(arguments) is str else ""


def _text(value: Any) -> str | None:
    return value if type(value) is str else None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if type(item) is dict] if type(value) is list else []


class Chunks:
    """litellm's stream chunks, one after the other, as deltas."""

    __slots__ = ("_called", "_ids", "_slots", "finish", "id", "model", "usage")

    def __init__(self) -> None:
        self._slots: dict[Any, int] = {}  # number that litellm gave a call → number by order of appearance
        self._ids: list[str | None] = []
        self._called: set[int] = set()  # calls that have their name
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.id: str | None = None
        self.model: str | None = None

    def take(self, made: dict[str, Any], line: bytes) -> list[Delta]:
        """What this chunk adds; `line` is what it was made of."""
        if "choices" not in made:
            made = _generic(made)
        self.id = self.id or _stated(made.get("id"), line)
        self.model = self.model or _stated(made.get("model"), line)
        out: list[Delta] = []
        for choice in _objects(made.get("choices")):
            piece = self._piece(choice, line)
            if piece is not None:
                out.append(piece)
        raw = made.get("usage")
        if type(raw) is dict and _COUNTS.search(line):
            self.usage = usage_of(raw, line)[0]
            out.append(Delta(usage=self.usage))
        return out

    def _piece(self, choice: dict[str, Any], line: bytes) -> Delta | None:
        delta = choice.get("delta")
        delta = delta if type(delta) is dict else {}
        calls = tuple(self._call(call, line) for call in _objects(delta.get("tool_calls")))
        reason = reason_of(choice.get("finish_reason"), bool(self._ids)) if self.finish is None else None
        self.finish = self.finish or reason
        index = choice.get("index")
        piece = Delta(
            index=index if type(index) is int and index >= 0 else 0,
            content=_text(delta.get("content")) or None,
            reasoning=_text(delta.get("reasoning_content")) or None,
            refusal=_text(delta.get("refusal")) or None,
            tool_calls=calls,
            finish_reason=reason,
            extra=extra_of(delta),
        )
        return piece if piece.has_output or reason else None

    def _call(self, call: dict[str, Any], line: bytes) -> ToolCallDelta:
        id, name, arguments = call_of(call)
        stated = _stated(id, line)
        number = call.get("index")
        key = number if type(number) is int else stated
        slot = self._slots.get(key)
        if slot is None or (stated and name and self._ids[slot] not in (None, stated)):
            slot = self._slots[key] = len(self._ids)
            self._ids.append(None)
        first = slot not in self._called and bool(name)
        if not first:
            return ToolCallDelta(slot, arguments=arguments)
        self._called.add(slot)
        self._ids[slot] = stated
        return ToolCallDelta(slot, stated or f"call_{slot}", name, arguments)


def _generic(made: dict[str, Any]) -> dict[str, Any]:
    """litellm's older, flat form of a chunk in the shape of the newer one."""
    delta: dict[str, Any] = {"content": made.get("text")}
    if type(made.get("tool_use")) is dict:
        delta["tool_calls"] = [made["tool_use"]]
    reason = made.get("finish_reason") if made.get("is_finished") else None
    choice = {"index": made.get("index"), "delta": delta, "finish_reason": reason}
    return {"choices": [choice], "usage": made.get("usage")}
