"""Streamed answers in OpenAI's chat dialect: bytes in, deltas out, whatever the split.

One decoder a stream. What is odd but harmless becomes a note of `StreamEnd`; what ends the answer becomes the last
delta's `error`, after which bytes are ignored. Usage may stand in any chunk and any number of times: the last one
wins. Knows nothing of what a client is sent.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.types import Delta, StreamEnd, ToolCallDelta, Usage
from clawbench.usage.openai_chat import normalise_noted
from clawbench.wires.failures import clean, error_in_body, read_error
from clawbench.wires.openai_chat_reply import (
    finish_reason,
    reasoning_of,
    split_parts,
    stated_usage,
    tool_piece,
    unreadable,
)
from clawbench.wires.openai_chat_text import MISSES_MAX, plain_text, plain_texts
from clawbench.wires.sse import EVENT_BYTES_MAX, SseSplitter
from clawbench.wires.tolerant_json import NotJson, loads

# Output of the model that has no place of its own in `Delta`; other unknown fields of a delta are no output.
_MEDIA: Final = (
    "annotations",
    "images",
    "audio",
    "reasoning_details",
    "function_call",
    "executed_tools",
    "extra_content",
    "videos",
)
_TEXT_ONLY: Final = frozenset({"role", "content"})


class OpenAIChatStream:
    """Decodes one stream. `variant` says how its usage is meant (`clawbench/usage/openai_chat.py`).

    `finish` raises `UpstreamError` for a body that never was an event stream (an error object, an HTML page): that is
    known only once it has ended. It does not raise after a delta that carried an error.
    """

    __slots__ = (
        "_calls",
        "_counted",
        "_done",
        "_ended",
        "_event_bytes_max",
        "_failed",
        "_finish",
        "_id",
        "_misses",
        "_model",
        "_notes",
        "_open",
        "_plain",
        "_quick",
        "_raw_usage",
        "_splitter",
        "_started",
        "_variant",
    )

    def __init__(self, variant: str = "compatible", *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._variant = variant
        self._event_bytes_max = event_bytes_max
        self._splitter = SseSplitter(event_bytes_max)
        self._plain: bytearray | None = None  # a body that is no event stream
        self._started = self._done = self._failed = False
        self._open: set[int] = set()  # choices with output and without a finish reason
        self._ended: set[int] = set()  # choices with a finish reason
        self._calls: dict[int, _ToolCalls] = {}
        self._finish: str | None = None
        self._raw_usage: Any = None
        self._counted: tuple[Usage | None, tuple[str, ...]] | None = (None, ())  # None: the raw one is still to be read
        self._id: str | None = None
        self._model: str | None = None
        self._notes: list[str] = []
        self._quick = False  # id and model are known: of what follows, most are pieces of text
        self._misses = 0  # events that were tried as such and were none

    def feed(self, data: bytes) -> list[Delta]:
        """Deltas completed by these bytes; a failure comes as the last one."""
        out: list[Delta] = []
        if self._failed or self._done:
            return out
        if not self._started and self._is_plain(data):
            return out
        one = self._splitter.one_event(data)
        if one is not None:
            if self._quick:
                text = plain_text(one)
                if text is not None and text.index in self._open:
                    out.append(text)
                    return out
                self._misses += 1
            self._event(one, "", out)
            return out
        for event in self._splitter.feed(data):
            if not self._event(event.data, event.name, out):
                return out
        if self._splitter.oversize:
            message = f"A stream event has more than {self._event_bytes_max:,} bytes."
            self._fail(UpstreamError(message, outcome="too_large"), out)
        return out

    def texts(self, data: bytes) -> tuple[list[str], int]:
        """See `TextDecoder.texts`."""
        if (
            self._failed
            or self._done
            or not self._quick
            or 0 not in self._open
            or not self._splitter.is_between_events()
        ):
            return [], 0
        return plain_texts(data, self._event_bytes_max)

    def finish(self) -> StreamEnd:
        """What is known at the end of the body."""
        if self._plain is not None and not self._failed:
            raise self._of_plain(bytes(self._plain))
        left = None if self._failed or self._done else self._splitter.unfinished()
        lost = left is not None and self._loses_output(left.data, left.name)
        finished = self._finish is not None and not self._open
        complete = not self._failed and not lost and (self._done or finished)
        if complete and not self._done:
            self._note("no [DONE]")
        if complete and self._finish is None:
            self._note("no finish reason")
        usage, notes = self._usage()
        return StreamEnd(
            complete=complete,
            finish_reason=self._finish,
            usage=usage,
            id=self._id,
            model=self._model,
            notes=(*self._notes, *notes),
        )

    def _is_plain(self, data: bytes) -> bool:
        """Whether the body is no event stream, told by its first visible byte; gathers it if so."""
        if self._plain is None:
            start = data.lstrip(b" \t\r\n")[:1]
            if not start:
                return False
            self._started = start not in b"{[<"
            if self._started:
                return False
            self._plain = bytearray()
        self._plain += data[: max(self._event_bytes_max - len(self._plain), 0)]
        return True

    def _of_plain(self, body: bytes) -> UpstreamError:
        try:
            said = read_error(loads(body)[0])
        except NotJson as error:
            return unreadable(body, str(error), None)
        if said is not None:
            return error_in_body(said, outcome="error_200", status=None)
        return UpstreamError("A whole body came where a stream was asked for.", outcome="protocol_error")

    def _loses_output(self, data: bytes, name: str) -> bool:
        """Reads an event that lacks its blank line; True if it held output, which cannot be handed over any more."""
        out: list[Delta] = []
        try:
            if not data.startswith(b"[DONE]"):
                loads(data)
        except NotJson:
            self._note("cut within an event")
            return False  # whether the answer had ended before is for the finish reason to say
        self._event(data, name, out)
        self._note("last event without its blank line")
        if out and out[-1].error is not None:
            self._note(f"last event is an error: {out[-1].error.message}")
        return any(delta.has_output for delta in out)

    def _event(self, data: bytes, name: str, out: list[Delta]) -> bool:
        """Appends what the event adds; False if it was the last one."""
        if data.startswith(b"[DONE]"):
            self._done = True
            return False
        if not data.strip():
            return True
        try:
            chunk, notes = loads(data)
        except NotJson as error:
            return self._fail(UpstreamError(clean(f"Unreadable stream event: {error}"), outcome="protocol_error"), out)
        if notes:
            for note in notes:
                self._note(note)
        if type(chunk) is not dict or name == "error" or chunk.get("error"):
            return self._broke_off(chunk, name, out)
        choices = chunk.get("choices")
        raw = chunk.get("usage")
        if raw or "x_groq" in chunk or "timings" in chunk:
            raw = self._keep_usage(chunk)
        if "x_groq" in chunk and type(chunk["x_groq"]) is dict and chunk["x_groq"].get("error"):
            return self._broke_off(chunk["x_groq"], name, out)
        if type(choices) is list:
            for choice in choices:
                if type(choice) is dict and not self._choice(choice, out):
                    return False
        elif raw is None and read_error(chunk) is not None:
            return self._broke_off(chunk, name, out)
        if raw is not None and (not choices or self._finish is not None):
            usage = self._usage()[0]
            if usage is not None:
                out.append(Delta(usage=usage))
        if self._id is None or self._model is None:
            self._name(chunk)
        self._quick = self._id is not None and self._model is not None and self._misses < MISSES_MAX
        return True

    def _choice(self, choice: dict[str, Any], out: list[Delta]) -> bool:
        delta = choice.get("delta")
        if type(delta) is not dict:
            delta = choice.get("message") if "delta" not in choice else None
            if type(delta) is not dict:
                delta = {}
        index = choice.get("index")
        if type(index) is not int or index < 0:
            index = 0
        before = len(out)
        stated = choice.get("finish_reason")
        reason = finish_reason(stated, self._notes) if stated else None
        content = delta.get("content")
        if type(content) is str and content and not reason and _TEXT_ONLY.issuperset(delta):
            logprobs = choice.get("logprobs")
            out.append(Delta(index=index, content=content, logprobs=logprobs if type(logprobs) is dict else None))
        else:
            self._rich(choice, delta, index, content, reason, out)
        if reason:
            self._finish = reason
            self._ended.add(index)
            self._open.discard(index)
        elif index not in self._open and len(out) > before:
            if index in self._ended:
                self._note("output after the finish reason")
            else:
                self._open.add(index)
        if choice.get("error") or reason == "error":
            said = choice.get("error") or "the provider ended with an error"
            return self._broke_off({"error": said}, "", out)
        return True

    def _rich(
        self,
        choice: dict[str, Any],
        delta: dict[str, Any],
        index: int,
        content: Any,
        reason: str | None,
        out: list[Delta],
    ) -> None:
        """A piece that is more than text: reasoning, tools, refusals, media, a finish reason, or nothing."""
        thought = None
        if type(content) is not str and content is not None:
            content, thought = split_parts(content)
        calls = delta.get("tool_calls")
        tools: tuple[ToolCallDelta, ...] = ()
        if calls and type(calls) is list:
            known = self._calls.get(index)
            if known is None:
                known = self._calls[index] = _ToolCalls()
            tools = known.pieces(calls)
            if known.duplicates:
                self._note("duplicate tool-call ids")
        reasoning = reasoning_of(delta) or thought
        refusal, logprobs = delta.get("refusal"), choice.get("logprobs")
        if type(refusal) is not str or not refusal:
            refusal = None
        if type(logprobs) is not dict:
            logprobs = None
        extra = {key: delta[key] for key in _MEDIA if delta.get(key)}
        if content or reasoning or tools or refusal or extra or reason or logprobs:
            out.append(
                Delta(
                    index=index,
                    content=content or None,
                    reasoning=reasoning,
                    refusal=refusal,
                    tool_calls=tools,
                    finish_reason=None if reason == "error" else reason,
                    logprobs=logprobs,
                    extra=extra or None,
                )
            )

    def _keep_usage(self, chunk: dict[str, Any]) -> Any:
        raw = stated_usage(chunk)
        if raw is None and self._raw_usage is None:
            raw = chunk.get("timings")
        if raw is not None:
            self._raw_usage, self._counted = raw, None
        return raw

    def _usage(self) -> tuple[Usage | None, tuple[str, ...]]:
        if self._counted is None:
            self._counted = normalise_noted(self._raw_usage, self._variant)
        return self._counted

    def _broke_off(self, chunk: Any, name: str, out: list[Delta]) -> bool:
        if type(chunk) is dict:
            self._keep_usage(chunk)
        said = read_error(chunk)
        if said is None and name != "error":
            error = UpstreamError("A stream event is no chunk.", outcome="protocol_error")
        elif said is None:
            error = UpstreamError("The provider broke off the stream.", outcome="error_event")
        else:
            error = error_in_body(said, outcome="error_event", status=None)
        return self._fail(error, out)

    def _fail(self, error: UpstreamError, out: list[Delta]) -> bool:
        self._failed = True
        out.append(Delta(error=error))
        return False

    def _name(self, chunk: dict[str, Any]) -> None:
        id, model = chunk.get("id"), chunk.get("model")
        if self._id is None and type(id) is str and id:
            self._id = id
        if self._model is None and type(model) is str and model:
            self._model = model

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)


class _ToolCalls:
    """Numbers the tool calls of one choice by order of appearance, whatever the provider does with `index` and `id`."""

    __slots__ = ("_by_wire", "_ids", "_named", "duplicates")

    def __init__(self) -> None:
        self._by_wire: dict[int, int] = {}
        self._ids: list[str | None] = []
        self._named: list[bool] = []
        self.duplicates = False

    def pieces(self, calls: list[Any]) -> tuple[ToolCallDelta, ...]:
        found = []
        for call in calls:
            if type(call) is not dict:
                continue
            id, name, arguments = tool_piece(call)
            slots = len(self._ids)
            slot = self._slot(call.get("index"), id, name)
            first_id = id if id is not None and self._ids[slot] is None else None
            first_name = name if name is not None and not self._named[slot] else None
            if first_id is not None:
                self.duplicates = self.duplicates or first_id in self._ids
                self._ids[slot] = first_id
            if first_name is not None:
                self._named[slot] = True
            if first_id or first_name or arguments or slot == slots:
                found.append(ToolCallDelta(slot, first_id, first_name, arguments))
        return tuple(found)

    def _slot(self, stated: Any, id: str | None, name: str | None) -> int:
        if type(stated) is int:
            slot = self._by_wire.get(stated)
            # Some servers number every call 0: another id with a name of its own is another call.
            if slot is None or (id and name and self._ids[slot] not in (None, id)):
                slot = self._by_wire[stated] = self._new()
            return slot
        if id is not None and id in self._ids:
            return self._ids.index(id)
        if id is not None or name is not None or not self._ids:
            return self._new()
        return len(self._ids) - 1

    def _new(self) -> int:
        self._ids.append(None)
        self._named.append(False)
        return len(self._ids) - 1
