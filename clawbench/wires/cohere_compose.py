"""Answers of Cohere's chat API, version 2, written: whole bodies and named events. The other side of the wire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from clawbench.types import Choice, Completion, Delta, ToolCall, ToolCallDelta, Usage
from clawbench.wires.unsaid import made_up_id

Event = dict[str, Any]

_FINISH: Final = {
    "stop": "COMPLETE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "content_filter": "ERROR_TOXIC",
}


def usage_body(usage: Usage) -> dict[str, Any]:
    """The usage object of these counts; Cohere's own preamble is not imitated, so both counts are the same."""
    said = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    counts = {name: count for name, count in said.items() if count is not None}
    return {"billed_units": counts, "tokens": counts}


def reply_of(completion: Completion) -> dict[str, Any]:
    """The body of a whole answer; the dialect knows one choice."""
    choice = completion.choices[0] if completion.choices else Choice()
    extra = choice.extra or {}
    message: dict[str, Any] = {"role": "assistant"}
    plan = extra.get("tool_plan")
    plan = plan if type(plan) is str else ""
    thought = (choice.reasoning or "").removesuffix(plan)
    parts: list[dict[str, Any]] = [{"type": "thinking", "thinking": thought}] if thought else []
    text = choice.content if choice.content is not None else choice.refusal
    if text is not None:
        parts.append({"type": "text", "text": text})
    if parts:
        message["content"] = parts
    if choice.tool_calls:
        message["tool_calls"] = [_call(call, place) for place, call in enumerate(choice.tool_calls)]
    if plan:
        message["tool_plan"] = plan
    citations = _citations(extra)
    if citations:
        message["citations"] = citations
    finish = _FINISH.get(choice.finish_reason or "stop", "ERROR")
    body: dict[str, Any] = {"id": completion.id, "finish_reason": finish, "message": message}
    if completion.usage is not None:
        body["usage"] = usage_body(completion.usage)
    if choice.logprobs:
        body["logprobs"] = [_logprobs(token) for token in choice.logprobs.get("content") or ()]
    return body


def _call(call: ToolCall, place: int) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id or made_up_id(place, None), "type": "function", "function": function}


def _logprobs(token: dict[str, Any]) -> dict[str, Any]:
    return {"text": token.get("token") or "", "token_ids": [0], "logprobs": [token.get("logprob") or 0.0]}


def _citations(extra: dict[str, Any]) -> list[Any]:
    kept = extra.get("citations")
    if type(kept) is list and kept:
        return kept
    found = []
    annotations = extra.get("annotations")
    for place, annotation in enumerate(annotations if type(annotations) is list else ()):
        link = annotation.get("url_citation") if type(annotation) is dict else None
        if type(link) is dict:
            document = {"id": f"doc_{place}", "url": link.get("url"), "title": link.get("title") or ""}
            source = {"type": "document", "id": f"doc_{place}", "document": document}
            span = {"start": link.get("start_index") or 0, "end": link.get("end_index") or 0, "text": ""}
            found.append({**span, "sources": [source], "type": "TEXT_CONTENT"})
    return found


class _Writer:
    """Writes one stream: content blocks and tool calls are opened and closed as the kind of what comes changes."""

    def __init__(self) -> None:
        self._index = -1  # of the last content block or tool call
        self._block = ""  # kind of the open content block
        self._slot: int | None = None  # the open tool call
        self._calls = -1
        self._citations = 0

    def take(self, delta: Delta) -> Iterator[Event]:
        """The events that a piece of the answer makes."""
        if delta.reasoning:
            yield from self._piece("thinking", delta.reasoning, None)
        text = delta.content or delta.refusal
        if text:
            yield from self._piece("text", text, delta.logprobs)
        for piece in delta.tool_calls:
            yield from self._call(piece)
        for citation in _citations(delta.extra or {}):
            message = {"message": {"citations": citation}}
            yield {"type": "citation-start", "index": self._citations, "delta": message}
            yield {"type": "citation-end", "index": self._citations}
            self._citations += 1

    def close(self) -> Iterator[Event]:
        """Closes what is open."""
        if self._block:
            yield {"type": "content-end", "index": self._index}
        if self._slot is not None:
            yield {"type": "tool-call-end", "index": self._calls}
        self._block, self._slot = "", None

    def _piece(self, kind: str, text: str, logprobs: dict[str, Any] | None) -> Iterator[Event]:
        if self._block != kind:
            yield from self.close()
            self._index += 1
            self._block = kind
            start = {"message": {"content": {"type": kind, kind: ""}}}
            yield {"type": "content-start", "index": self._index, "delta": start}
        event = {"type": "content-delta", "index": self._index, "delta": {"message": {"content": {kind: text}}}}
        tokens = logprobs.get("content") if logprobs else None
        if tokens:
            event["logprobs"] = {**_logprobs(tokens[0]), "logprobs": [token.get("logprob") for token in tokens]}
        yield event

    def _call(self, piece: ToolCallDelta) -> Iterator[Event]:
        if piece.index != self._slot:
            yield from self.close()
            self._slot = piece.index
            self._calls += 1
            call = _call(ToolCall(piece.id or "", piece.name or "", piece.arguments), piece.index)
            yield {"type": "tool-call-start", "index": self._calls, "delta": {"message": {"tool_calls": call}}}
        elif piece.arguments:
            call = {"function": {"arguments": piece.arguments}}
            yield {"type": "tool-call-delta", "index": self._calls, "delta": {"message": {"tool_calls": call}}}


def events_of(deltas: Iterable[Delta], *, id: str) -> Iterator[Event]:
    """The events of a stream; an error ends it with finish reason ERROR."""
    message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield {"id": id, "type": "message-start", "delta": {"message": message}}
    writer = _Writer()
    finish: str | None = None
    usage: Usage | None = None
    for delta in deltas:
        if delta.error is not None:
            yield from writer.close()
            yield {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": delta.error.message}}
            return
        finish, usage = delta.finish_reason or finish, delta.usage or usage
        yield from writer.take(delta)
    yield from writer.close()
    end: dict[str, Any] = {"finish_reason": _FINISH.get(finish or "stop", "ERROR")}
    if usage is not None:
        end["usage"] = usage_body(usage)
    yield {"type": "message-end", "delta": end}
