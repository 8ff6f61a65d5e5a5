"""Streams in Anthropic's messages dialect, written: deltas in, the events that would have brought them out.

Events come as JSON objects; the wire frames them. Blocks are opened and closed as the kind of output changes. Whole
answers are written in `anthropic_reply.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.types import Delta, ToolCallDelta, Usage
from clawbench.wires.anthropic_content import thoughts_of
from clawbench.wires.anthropic_reply import stop_fields, usage_body

Event = dict[str, Any]

_ERROR_TYPES: Final = {
    "rate_limited": "rate_limit_error",
    "auth": "authentication_error",
    "rejected": "invalid_request_error",
    "model_gone": "not_found_error",
    "upstream_5xx": "overloaded_error",
}


class _Writer:
    """Knows which block is open, and of which kind: "text", "thinking", or the place of a tool call."""

    def __init__(self) -> None:
        self._index = -1
        self._kind: str | int | None = None
        self._thought = ""  # what has gone out of the last thinking block
        self.called = False

    def text(self, kind: str, text: str) -> Iterator[Event]:
        if self._kind != kind:
            empty = {"type": "text", "text": ""} if kind == "text" else _thought()
            yield from self._open(kind, empty)
        if kind == "thinking":
            self._thought += text
        yield self._delta({"type": f"{kind}_delta", kind: text})

    def call(self, piece: ToolCallDelta) -> Iterator[Event]:
        if self._kind != piece.index:
            self.called = True
            id, name = piece.id or f"toolu_{piece.index}", piece.name or ""
            yield from self._open(piece.index, {"type": "tool_use", "id": id, "name": name, "input": {}})
        if piece.arguments:
            yield self._delta({"type": "input_json_delta", "partial_json": piece.arguments})

    def thought(self, block: dict[str, Any]) -> Iterator[Event]:
        """A complete thinking or redacted_thinking block, whose text may have gone out already."""
        if block["type"] != "thinking":
            yield from self._open("redacted_thinking", block)
            yield from self.close()
            return
        if self._kind != "thinking":
            if block["thinking"] and block["thinking"] == self._thought:
                return  # its text is out and closed: a second block would say it twice
            yield from self._open("thinking", _thought())
            if block["thinking"]:
                yield self._delta({"type": "thinking_delta", "thinking": block["thinking"]})
        yield self._delta({"type": "signature_delta", "signature": block["signature"]})
        yield from self.close()

    def close(self) -> Iterator[Event]:
        if self._kind is not None:
            self._kind = None
            yield {"type": "content_block_stop", "index": self._index}

    def _open(self, kind: str | int, block: dict[str, Any]) -> Iterator[Event]:
        yield from self.close()
        self._kind, self._index = kind, self._index + 1
        self._thought = "" if kind == "thinking" else self._thought
        yield {"type": "content_block_start", "index": self._index, "content_block": block}

    def _delta(self, delta: dict[str, Any]) -> Event:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}


def _thought() -> dict[str, Any]:
    return {"type": "thinking", "thinking": "", "signature": ""}


def events_of(deltas: Iterable[Delta], *, id: str, model: str) -> Iterator[Event]:
    """The events of a stream, `message_stop` or an error event last. Only choice 0 is written: the dialect has one."""
    writer = _Writer()
    usage: Usage | None = None
    finish: str | None = None
    extra: dict[str, Any] = {}
    yield {"type": "message_start", "message": _start(id, model)}
    for delta in deltas:
        if delta.error is not None:
            yield {"type": "error", "error": error_body(delta.error)}
            return
        usage = delta.usage or usage
        if delta.index:
            continue
        finish = delta.finish_reason or finish
        if delta.reasoning:
            yield from writer.text("thinking", delta.reasoning)
        if delta.extra:
            extra.update(delta.extra)
            for block in thoughts_of(delta.extra.get("reasoning_details"), []):
                yield from writer.thought(block)
        text = delta.content or delta.refusal
        if text:
            yield from writer.text("text", text)
        for piece in delta.tool_calls:
            yield from writer.call(piece)
    yield from writer.close()
    fields = stop_fields(finish or ("tool_calls" if writer.called else "stop"), extra)
    yield {"type": "message_delta", "delta": fields, "usage": usage_body(usage)}
    yield {"type": "message_stop"}


def error_body(error: UpstreamError) -> dict[str, Any]:
    """The error object that Anthropic would have sent for this failure."""
    return {"type": _ERROR_TYPES.get(error.outcome, "api_error"), "message": error.message}


def _start(id: str, model: str) -> dict[str, Any]:
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
