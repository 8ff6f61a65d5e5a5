"""Streamed answers of Gemini: server-sent events (`alt=sse`), or the elements of one JSON array, whatever the split.

There is no end marker: an answer is whole once its candidates have a finish reason. Old models put one into every
piece, so a reason does not end the reading. Usage is repeated and cumulative: the last one stands. Calls come whole,
unless they were asked for in pieces (`gemini_partial`).
"""

from __future__ import annotations

import re
from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.types import Delta, StreamEnd, ToolCall, ToolCallDelta, Usage
from clawbench.usage.gemini import normalise_noted
from clawbench.wires.failures import read_error
from clawbench.wires.gemini_partial import BadPiece, PartialCall
from clawbench.wires.gemini_parts import call_of, detail_of
from clawbench.wires.gemini_reply import (
    blocked_note,
    broke_off,
    finish_reason,
    logprobs_of,
    other_part,
    sources_of,
)
from clawbench.wires.sse import EVENT_BYTES_MAX, SseEvent
from clawbench.wires.sse_json import SseJsonStream
from clawbench.wires.unsaid import made_up_id

_OUTSIDE: Final = re.compile(rb'[{}\[\]"]')
_INSIDE: Final = re.compile(rb'["\\]')
_PLAIN_KEYS: Final = frozenset({"content", "index", "safetyRatings"})


class ArraySplitter:
    """Splits a body that is one JSON array into its elements, as `SseSplitter` splits events.

    Looks at brackets and strings only; each byte is looked at once.
    """

    __slots__ = ("_at", "_bytes_max", "_depth", "_escaped", "_held", "_quoted", "oversize")

    def __init__(self, bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._held = bytearray()  # from the start of an element on
        self._at = 0  # how much of it was looked at
        self._depth = 0  # 1: inside the array, between elements
        self._quoted = self._escaped = False
        self.oversize = False

    def feed(self, data: bytes) -> list[SseEvent]:
        """Elements that these bytes complete."""
        events: list[SseEvent] = []
        if self.oversize:
            return events
        self._held += data
        start = 0
        while (found := self._next()) is not None:
            byte, at = found
            if byte in b"{[":
                self._depth += 1
                if self._depth == 2:
                    start = at
            elif byte in b"}]":
                self._depth -= 1
                if self._depth == 1:
                    if at + 1 - start > self._bytes_max:
                        self.oversize = True
                        return events
                    events.append(SseEvent(bytes(self._held[start : at + 1])))
                    start = at + 1
        if self._depth < 2:
            start = len(self._held)  # nothing between elements is needed
        del self._held[:start]
        self._at = len(self._held)
        self.oversize = len(self._held) > self._bytes_max
        return events

    def unfinished(self) -> SseEvent | None:
        """The element that the body ended in, None if it ended between elements."""
        return SseEvent(bytes(self._held)) if self._held and not self.oversize else None

    def _next(self) -> tuple[int, int] | None:
        """The next bracket that is outside of strings, and its place; None at the end of what is held."""
        held = self._held
        while self._at < len(held):
            if self._escaped:
                self._escaped = False
                self._at += 1
                continue
            found = (_INSIDE if self._quoted else _OUTSIDE).search(held, self._at)
            if found is None:
                self._at = len(held)
                return None
            at = found.start()
            self._at = at + 1
            byte = held[at]
            if byte == 0x22:
                self._quoted = not self._quoted
            elif byte == 0x5C:
                self._escaped = True
            else:
                return byte, at
        return None


class _Candidate:
    """What is known of one candidate."""

    __slots__ = ("calls", "ended", "partial", "sources", "texts")

    def __init__(self) -> None:
        self.calls = 0
        self.ended = False
        self.partial: PartialCall | None = None  # a call whose last piece is still to come
        self.texts: list[str] = []
        self.sources: dict[str, Any] = {}  # grounding and citations, until the end


class GeminiStream(SseJsonStream):
    """Decodes one stream. See `SseJsonStream` for what is raised when."""

    __slots__ = ("_blocked", "_candidates", "_finish", "_id", "_model", "_raw_usage")

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        super().__init__(event_bytes_max=event_bytes_max)
        self._candidates: dict[int, _Candidate] = {}
        self._finish: str | None = None
        self._blocked = False
        self._id: str | None = None
        self._model: str | None = None
        self._raw_usage: Any = None

    def _is_plain(self, data: bytes) -> bool:
        if self._plain is None and data.lstrip(b" \t\r\n")[:1] == b"[":
            self._splitter = ArraySplitter(self._event_bytes_max)
            self._started = True
            return False
        return super()._is_plain(data)

    def _object(self, value: dict[str, Any], name: str, out: list[Delta]) -> bool:
        if value.get("error") or name == "error":
            return self._broke_off(read_error(value), "error", out)
        if self._id is None or self._model is None:
            self._name(value)
        raw = value.get("usageMetadata")
        if raw:
            self._raw_usage = raw
        candidates = value.get("candidates")
        if type(candidates) is list and candidates:
            for place, candidate in enumerate(candidates):
                if type(candidate) is dict and not self._candidate(candidate, place, out):
                    return False
        elif value.get("promptFeedback"):
            self._block(value, out)
        elif not raw and read_error(value) is not None:
            return self._broke_off(read_error(value), name, out)
        if raw and self._finish is not None:
            usage = self._usage()[0]
            if usage is not None:
                out.append(Delta(usage=usage))
        return True

    def _candidate(self, candidate: dict[str, Any], place: int, out: list[Delta]) -> bool:
        index = candidate.get("index")
        if type(index) is not int or index < 0:
            index = place
        known = self._candidates.get(index)
        if known is None:
            known = self._candidates[index] = _Candidate()
        content = candidate.get("content")
        parts = content.get("parts") if type(content) is dict else None
        for part in parts if type(parts) is list else ():
            if type(part) is not dict:
                continue
            text = part.get("text")
            if type(text) is str and len(part) == 1:
                if text:
                    known.texts.append(text)
                    out.append(Delta(index=index, content=text))
            elif not self._part(part, index, known, out):
                return False
        if _PLAIN_KEYS.issuperset(candidate):
            return True
        for key in ("groundingMetadata", "citationMetadata", "urlContextMetadata"):
            if candidate.get(key):
                known.sources[key] = candidate[key]
        logprobs = logprobs_of(candidate.get("logprobsResult"))
        reason = finish_reason(candidate.get("finishReason"), self._notes)
        if reason == "error":
            return self._fail(broke_off(candidate, "error_event", None), out)
        if reason is not None:
            reason = "tool_calls" if reason == "stop" and known.calls else reason
            known.ended = True
            self._finish = reason
        extra: dict[str, Any] = {}
        if known.ended and known.sources:
            extra = sources_of(known.sources, "".join(known.texts))
            known.sources = {}
        if reason or logprobs or extra:
            out.append(Delta(index=index, finish_reason=reason, logprobs=logprobs, extra=extra or None))
        return True

    def _part(self, part: dict[str, Any], index: int, known: _Candidate, out: list[Delta]) -> bool:
        """A part that is more than text."""
        text, signature = part.get("text"), part.get("thoughtSignature")
        content = reasoning = call_id = None
        tools: tuple[ToolCallDelta, ...] = ()
        extra: dict[str, Any] = {}
        if type(text) is str:
            if part.get("thought") is True:
                reasoning = text or None
            else:
                content = text or None
                known.texts.append(text)
        elif type(part.get("functionCall")) is dict:
            made_up = made_up_id(known.calls, self._id)
            if (
                known.partial is not None
                or "partialArgs" in part["functionCall"]
                or "willContinue" in part["functionCall"]
            ):
                try:
                    whole = self._partial(part, known, made_up)
                except BadPiece as error:
                    return self._fail(UpstreamError(f"Unreadable tool call: {error}.", outcome="protocol_error"), out)
                if whole is None:
                    return True
                part, call = whole
                signature = part.get("thoughtSignature")
            else:
                call = call_of(part, made_up)
            tools = (ToolCallDelta(known.calls, call.id, call.name, call.arguments),)
            known.calls += 1
            call_id = call.id
        else:
            extra = other_part(part)
            signature = None
        if type(signature) is str and signature:
            extra["reasoning_details"] = [detail_of(part, signature, call_id)]
        if content or reasoning or tools or extra:
            out.append(Delta(index=index, content=content, reasoning=reasoning, tool_calls=tools, extra=extra or None))
        return True

    def _partial(self, part: dict[str, Any], known: _Candidate, id: str) -> tuple[dict[str, Any], ToolCall] | None:
        """(first part, whole call) once the last piece of a call is there. Raises `BadPiece`."""
        if known.partial is None:
            known.partial = PartialCall(part)
        if not known.partial.add(part["functionCall"]):
            return None
        done, known.partial = known.partial, None
        return done.part, done.whole(id)

    def _block(self, value: dict[str, Any], out: list[Delta]) -> None:
        feedback = value["promptFeedback"]
        if type(feedback) is dict and feedback.get("blockReason"):
            self._note(blocked_note(value, None))
            self._blocked = True
            self._finish = "content_filter"
            out.append(Delta(finish_reason="content_filter"))

    def _name(self, value: dict[str, Any]) -> None:
        id, model = value.get("responseId"), value.get("modelVersion")
        if self._id is None and type(id) is str and id:
            self._id = id
        if self._model is None and type(model) is str and model:
            self._model = model

    def _usage(self) -> tuple[Usage | None, tuple[str, ...]]:
        return (None, ()) if self._raw_usage is None else normalise_noted(self._raw_usage)

    def _has_ended(self) -> bool:
        candidates = self._candidates.values()
        return self._blocked or (
            bool(candidates) and all(candidate.ended and candidate.partial is None for candidate in candidates)
        )

    def _end(self, complete: bool) -> StreamEnd:
        usage, notes = self._usage()
        return StreamEnd(
            complete=complete,
            finish_reason=self._finish,
            usage=usage,
            id=self._id,
            model=self._model,
            notes=(*self._notes, *notes),
        )
