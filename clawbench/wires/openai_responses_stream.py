"""Streamed answers of OpenAI's Responses API: events in, deltas out, whatever the split.

One decoder a stream. Deltas carry the text; what only a complete item tells (encrypted reasoning, citations, items of
the provider's own tools) comes with the item's end. Servers that send whole items and no deltas are read too: what
was not streamed is made up for when its end comes. Knows nothing of what a client is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from clawbench.types import Delta, StreamEnd, ToolCallDelta, Usage
from clawbench.wires.failures import ErrorText
from clawbench.wires.openai_responses_items import TEXT_HERE, Item, part_texts, reasoning_details
from clawbench.wires.openai_responses_parse import call_extra
from clawbench.wires.openai_responses_reply import (
    BREAK,
    add_annotations,
    failure,
    finish_reason,
    stated_usage,
    tool_call,
    word,
)
from clawbench.wires.sse import EVENT_BYTES_MAX
from clawbench.wires.sse_json import SseJsonStream

_Part = tuple[str, int | None, int | None]
"""Kind of a piece, output index, place within the item."""

_Handler = Callable[["OpenAIResponsesStream", dict[str, Any], list[Delta]], bool]


class OpenAIResponsesStream(SseJsonStream):
    """Decodes one stream."""

    __slots__ = (
        "_calls",
        "_characters",
        "_finish",
        "_id",
        "_ids",
        "_items_done",
        "_kept",
        "_last_thought",
        "_model",
        "_said",
        "_starts",
        "_text_marked",
        "_usage",
    )

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        super().__init__(event_bytes_max=event_bytes_max)
        self._calls: dict[int, int] = {}  # output index → number of the tool call
        self._ids: set[str] = set()  # of tool calls
        self._characters = 0  # of content so far
        self._starts: dict[int | None, int] = {}  # output index → where in the content its text begins
        self._said: dict[tuple[str, int | None], list[str]] = {}  # (kind, output index) → what was streamed
        self._items_done: set[int | None] = set()
        self._last_thought: _Part | None = None
        self._text_marked = False
        self._kept: list[int | None] = []  # output indexes of the items that a later turn gives back
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._id: str | None = None
        self._model: str | None = None

    def _object(self, value: dict[str, Any], name: str, out: list[Delta]) -> bool:
        kind = value.get("type") or name
        handler = _HANDLERS.get(kind) if type(kind) is str else None
        if handler is not None:
            return handler(self, value, out)
        if kind == "error" or value.get("error"):
            return self._broke_off(_error_event(value), "error", out)
        if type(kind) is not str or not kind:
            return self._broke_off(failure(value), name, out)
        return True  # progress of the provider's own tools, and whatever the API learns to say

    def _has_ended(self) -> bool:
        return self._finish is not None

    def _end(self, complete: bool) -> StreamEnd:
        return StreamEnd(
            complete=complete,
            finish_reason=self._finish,
            usage=self._usage,
            id=self._id,
            model=self._model,
            notes=tuple(self._notes),
        )

    def _text(self, event: dict[str, Any], out: list[Delta]) -> bool:
        text = event.get("delta")
        if type(text) is str and text:
            logprobs = event.get("logprobs")
            self._say(text, _at(event, "output_index"), logprobs if type(logprobs) is list else None, out)
        return True

    def _say(self, text: str, item: int | None, logprobs: list[Any] | None, out: list[Delta]) -> None:
        """A piece of content; a break before it if another message has spoken."""
        lead = ""
        said = self._said.get(("text", item))
        if said is None:
            said = self._said["text", item] = []
            if self._characters:
                lead = BREAK
            else:
                self._kept.append(item)
            self._starts[item] = self._characters = self._characters + len(lead)
        said.append(text)
        self._characters += len(text)
        out.append(Delta(content=lead + text, logprobs={"content": logprobs} if logprobs else None))

    def _thought(self, event: dict[str, Any], out: list[Delta]) -> bool:
        text = event.get("delta")
        if type(text) is str and text:
            kind = "summary_index" if "summary_index" in event else "content_index"
            item = _at(event, "output_index")
            self._think(text, item, (kind, item, _at(event, kind)), out)
        return True

    def _think(self, text: str, item: int | None, part: _Part, out: list[Delta]) -> None:
        """A piece of reasoning; a break before it if it begins a part."""
        said = self._said.setdefault(("reasoning", item), [])
        lead = BREAK if self._last_thought not in (None, part) else ""
        self._last_thought = part
        said.append(lead + text if said else text)
        out.append(Delta(reasoning=lead + text))

    def _refusal(self, event: dict[str, Any], out: list[Delta]) -> bool:
        text = event.get("delta")
        if type(text) is str and text:
            self._said.setdefault(("refusal", _at(event, "output_index")), []).append(text)
            out.append(Delta(refusal=text))
        return True

    def _unsaid(self, kind: str, item: int | None, whole: str) -> str:
        """What of a complete text was not streamed."""
        said = "".join(self._said.get((kind, item), ()))
        return whole[len(said) :] if whole.startswith(said) else ""

    def _arguments(self, event: dict[str, Any], out: list[Delta]) -> bool:
        text, item = event.get("delta"), _at(event, "output_index")
        if type(text) is str and text:
            number = None if item is None else self._calls.get(item)
            if number is None:
                number = self._new_call(item, {"call_id": event.get("item_id")}, out)
            self._said.setdefault(("arguments", item), []).append(text)
            out.append(Delta(tool_calls=(ToolCallDelta(number, arguments=text),)))
        return True

    def _new_call(self, index: int | None, item: Item, out: list[Delta]) -> int:
        call = tool_call(item)
        number = len(self._calls)
        self._calls[-1 - number if index is None else index] = number
        self._kept.append(index)
        if call.id in self._ids:
            self._note("duplicate tool-call ids")
        self._ids.add(call.id)
        out.append(Delta(tool_calls=(ToolCallDelta(number, call.id or None, call.name or None),)))
        return number

    def _added(self, event: dict[str, Any], out: list[Delta]) -> bool:
        item, index = event.get("item"), _at(event, "output_index")
        if type(item) is not dict or item.get("type") not in ("function_call", "custom_tool_call"):
            return True
        if index is None or index not in self._calls:
            self._new_call(index, item, out)
        return True

    def _item_done(self, event: dict[str, Any], out: list[Delta]) -> bool:
        item, index = event.get("item"), _at(event, "output_index")
        if type(item) is dict:
            self._complete(item, index, out)
        return True

    def _complete(self, item: Item, index: int | None, out: list[Delta]) -> None:
        """What a complete item tells beyond what was streamed of it."""
        if index is not None and index in self._items_done:
            return
        self._items_done.add(index)
        kind = item.get("type")
        if kind == "message":
            self._message(item, index, out)
        elif kind == "function_call" or kind == "custom_tool_call":
            number = None if index is None else self._calls.get(index)
            if number is None:
                number = self._new_call(index, item, out)
            call = tool_call(item)
            rest = self._unsaid("arguments", index, call.arguments)
            if rest:
                out.append(Delta(tool_calls=(ToolCallDelta(number, arguments=rest),)))
            more = call_extra(item)
            if more:
                out.append(Delta(extra={"tool_call_extra": {call.id: more}}))
        elif kind == "reasoning":
            whole = BREAK.join(
                text for text in (*part_texts(item.get("summary")), *part_texts(item.get("content"))) if text
            )
            rest = self._unsaid("reasoning", index, whole)
            if rest:
                self._think(rest, index, ("", index, None), out)
            # Some servers end a reasoning item after the message that follows it.
            details = reasoning_details(
                item, sum(index is None or other is None or other < index for other in self._kept)
            )
            if details:
                self._kept.append(index)
                out.append(Delta(extra={"reasoning_details": details}))
        else:
            marker = [TEXT_HERE] if self._characters and not self._text_marked else []
            self._text_marked = self._text_marked or bool(marker)
            self._kept.append(index)
            out.append(Delta(extra={"output_items": [*marker, item]}))

    def _message(self, item: Item, index: int | None, out: list[Delta]) -> None:
        content = item.get("content")
        parts = [part for part in content if type(part) is dict] if type(content) is list else []
        rest = self._unsaid("text", index, "".join(part_texts(parts)))
        if rest:
            self._say(rest, index, None, out)
        rest = self._unsaid("refusal", index, "".join(part["refusal"] for part in parts if word(part, "refusal")))
        if rest:
            out.append(Delta(refusal=rest))
        extra: dict[str, Any] = {}
        start = self._starts.get(index, 0)
        for part in parts:
            if part.get("annotations"):
                add_annotations(extra, part["annotations"], start)
            start += len(word(part, "text") or "")
        if item.get("phase"):
            extra["phase"] = item["phase"]
        if extra:
            out.append(Delta(extra=extra))

    def _response(self, event: dict[str, Any], out: list[Delta]) -> bool:
        """An event that repeats the response: its names, and its failure if it failed."""
        response = event.get("response")
        if type(response) is dict:
            id, model = response.get("id"), response.get("model")
            if type(id) is str and id:
                self._id = id
            if type(model) is str and model:
                self._model = model
        return True

    def _terminal(self, event: dict[str, Any], out: list[Delta]) -> bool:
        """`response.completed` and `response.incomplete`; also for a server that calls a failure completed."""
        self._response(event, out)
        response = event.get("response")
        value = response if type(response) is dict else {}
        said = failure(value) if value.get("error") or value.get("status") in ("failed", "cancelled") else None
        usage = stated_usage(value, self._notes)
        if usage is not None:
            self._usage = usage
        if said is not None:
            return self._broke_off(said, "error", out)
        if not self._items_done and type(value.get("output")) is list:
            for index, item in enumerate(value["output"]):
                if type(item) is dict:
                    self._complete(item, index, out)
        if event.get("type") == "response.incomplete":
            value = {**value, "status": "incomplete"}
        elif not value.get("status"):
            value = {**value, "status": "completed"}
        self._finish = finish_reason(value, bool(self._calls), self._notes)
        self._done = True
        out.append(Delta(finish_reason=self._finish, usage=usage))
        return False

    def _failed_event(self, event: dict[str, Any], out: list[Delta]) -> bool:
        self._response(event, out)
        response = event.get("response")
        value = response if type(response) is dict else {}
        self._usage = stated_usage(value, self._notes) or self._usage
        return self._broke_off(failure(value) or _error_event(event), "error", out)


def _at(event: dict[str, Any], key: str) -> int | None:
    """An index that an event states."""
    value = event.get(key)
    return value if type(value) is int else None


def _error_event(event: dict[str, Any]) -> ErrorText | None:
    """A bare `error` event: its fields stand in the event itself, or in an object `error`."""
    if event.get("error"):
        return failure(event)
    stated = {key: event.get(key) for key in ("code", "message", "param")}
    return failure({"error": stated}) if stated["message"] or stated["code"] else None


_HANDLERS: Final[dict[str, _Handler]] = {
    "response.output_text.delta": OpenAIResponsesStream._text,
    "response.refusal.delta": OpenAIResponsesStream._refusal,
    "response.reasoning_text.delta": OpenAIResponsesStream._thought,
    "response.reasoning_summary_text.delta": OpenAIResponsesStream._thought,
    "response.function_call_arguments.delta": OpenAIResponsesStream._arguments,
    "response.custom_tool_call_input.delta": OpenAIResponsesStream._arguments,
    "response.output_item.added": OpenAIResponsesStream._added,
    "response.output_item.done": OpenAIResponsesStream._item_done,
    "response.created": OpenAIResponsesStream._response,
    "response.in_progress": OpenAIResponsesStream._response,
    "response.queued": OpenAIResponsesStream._response,
    "response.completed": OpenAIResponsesStream._terminal,
    "response.done": OpenAIResponsesStream._terminal,
    "response.incomplete": OpenAIResponsesStream._terminal,
    "response.failed": OpenAIResponsesStream._failed_event,
    "response.cancelled": OpenAIResponsesStream._failed_event,
}
