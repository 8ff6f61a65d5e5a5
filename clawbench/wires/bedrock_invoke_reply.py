"""Answers of the model families behind Bedrock's InvokeModel that write bodies of their own: whole and in pieces.

Titan, Claude's text completions, Cohere, Llama, Mistral, Jurassic, and the families that answer in OpenAI's shape; each
is told by its fields. Nova's answers are Converse's (`bedrock_converse_reply.py`, `bedrock_converse_stream.py`). Read
only.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, Delta, Headers, StreamEnd, ToolCall, ToolCallDelta, Usage
from clawbench.usage.bedrock import METRICS, raw_of_headers
from clawbench.usage.bedrock import normalise_noted as normalise_bedrock
from clawbench.usage.openai_chat import normalise_noted as normalise_openai
from clawbench.wires.bedrock_calls import EventFrames, chunk_event
from clawbench.wires.bedrock_converse_reply import decode_answer
from clawbench.wires.bedrock_converse_stream import ConverseEvents
from clawbench.wires.failures import clean, error_in_body, read_error
from clawbench.wires.tolerant_json import NotJson, loads
from clawbench.wires.unsaid import note

_STOP_WORDS: Final = {
    "complete": "stop",
    "end_turn": "stop",
    "endoftext": "stop",
    "finish": "stop",
    "finished": "stop",
    "stop": "stop",
    "stop_criteria_met": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "error_toxic": "content_filter",
    "tool_calls": "tool_calls",
}
_CONVERSE_EVENTS: Final = frozenset(
    {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"}
)


class Piece(Struct, frozen=True, kw_only=True):
    """What a body or a chunk says, whichever family wrote it; None where it does not say."""

    text: str | None = None
    reasoning: str | None = None
    stop: str | None = None  # the family's own word
    calls: tuple[ToolCall, ...] = ()


def read_piece(value: dict[str, Any]) -> Piece | None:
    """Reads a decoded body or chunk; None for one of no known family."""
    for key in ("results", "generations", "outputs"):
        held = value.get(key)
        if type(held) is list and held and type(held[0]) is dict:
            return _flat(held[0], value)
    choices = value.get("choices")
    completions = value.get("completions")
    if type(completions) is list and completions and type(completions[0]) is dict:
        return _of_jurassic(completions[0])
    if type(choices) is list and choices and type(choices[0]) is dict:
        return _of_choice(choices[0])
    if any(type(value.get(key)) is str for key in ("outputText", "completion", "generation", "text")):
        return _flat(value, value)
    if "is_finished" in value or METRICS in value or "completionReason" in value:
        return _flat(value, value)
    return None


def _flat(held: dict[str, Any], whole: dict[str, Any]) -> Piece:
    texts = (held.get(key) for key in ("outputText", "completion", "generation", "text"))
    words = (
        source.get(key) for source in (held, whole) for key in ("completionReason", "stop_reason", "finish_reason")
    )
    text = next((each for each in texts if type(each) is str), None)
    if whole.get("event_type") == "stream-end":
        text = None  # the whole answer again
    return Piece(text=text, stop=next((each for each in words if type(each) is str and each), None))


def _of_jurassic(held: dict[str, Any]) -> Piece:
    said, reason = held.get("data"), held.get("finishReason")
    text = said.get("text") if type(said) is dict else None
    word = reason.get("reason") if type(reason) is dict else None
    return Piece(text=text if type(text) is str else None, stop=word if type(word) is str and word else None)


def _inner(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice.get("message") or choice.get("delta")
    return message if type(message) is dict else choice


def _of_choice(choice: dict[str, Any]) -> Piece:
    inner = _inner(choice)
    text, thought = inner.get("content", inner.get("text")), inner.get("reasoning_content", inner.get("reasoning"))
    word = choice.get("finish_reason") or choice.get("stop_reason")
    calls = inner.get("tool_calls")
    return Piece(
        text=text if type(text) is str else None,
        reasoning=thought if type(thought) is str and thought else None,
        stop=word if type(word) is str and word else None,
        calls=tuple(map(_call, calls)) if type(calls) is list else (),
    )


def _call(call: Any) -> ToolCall:
    function = call.get("function") if type(call) is dict else None
    if type(function) is not dict:
        return ToolCall("", "", "")
    return ToolCall(str(call.get("id") or ""), str(function.get("name") or ""), str(function.get("arguments") or ""))


def _reason(word: str | None, notes: list[str]) -> str | None:
    if word is None:
        return None
    known = _STOP_WORDS.get(word.lower().strip("<|>"))
    if known is None:
        note(notes, f"stop reason {clean(word[:40])!r} read as stop")
    return known or "stop"


def _usage(value: dict[str, Any], headers: Headers) -> tuple[Usage | None, tuple[str, ...]]:
    """Bedrock's own counts if it states them, else the family's."""
    raw = value.get(METRICS) or raw_of_headers(headers)
    if raw is not None:
        return normalise_bedrock(raw)
    stated = value.get("usage")
    if type(stated) is dict:
        return normalise_openai(stated, "compatible") if "prompt_tokens" in stated else normalise_bedrock(stated)
    if "generation_token_count" in value or "totalOutputTextTokenCount" in value:
        return normalise_bedrock(value)
    results = value.get("results")
    if "inputTextTokenCount" in value and type(results) is list and results and type(results[0]) is dict:
        counts = {"inputTextTokenCount": value["inputTextTokenCount"], "outputTokens": results[0].get("tokenCount")}
        return normalise_bedrock(counts)
    return None, ()


def decode_invoked(status: int, headers: Headers, body: bytes) -> Completion:
    """The answer in a 2xx body.

    Raises `UpstreamError` with outcome `error_200` for an error object, `protocol_error` for what is no answer.
    """
    try:
        value, notes = loads(body)
    except NotJson as error:
        raise UpstreamError(clean(f"Unreadable answer: {error}"), outcome="protocol_error", status=status) from None
    if type(value) is dict and type(value.get("output")) is dict:
        return decode_answer(status, headers, body)
    piece = read_piece(value) if type(value) is dict else None
    if piece is None:
        said = read_error(value)
        if said is not None:
            raise error_in_body(said, outcome="error_200", status=status)
        raise UpstreamError("The answer is of no known family.", outcome="protocol_error", status=status)
    odd = list(notes)
    usage, more = _usage(value, headers)
    id, model = value.get("id") or value.get("generation_id"), value.get("model")
    choice = Choice(
        content=piece.text,
        reasoning=piece.reasoning,
        tool_calls=piece.calls,
        finish_reason=_reason(piece.stop, odd),
    )
    return Completion(
        choices=(choice,),
        id=id if type(id) is str else headers.get("x-amzn-requestid", ""),
        model=model if type(model) is str and model else None,
        usage=usage,
        notes=(*odd, *more),
    )


class InvokedStream:
    """Decodes one stream. `finish` raises `UpstreamError` for a body that never was an event stream."""

    __slots__ = ("_converse", "_failed", "_finish", "_frames", "_id", "_last", "_notes", "_slots", "_usage")

    def __init__(self) -> None:
        self._frames = EventFrames()
        self._converse: ConverseEvents | None = None  # Nova's events
        self._failed = False
        self._finish: str | None = None
        self._id: str | None = None
        self._usage: Usage | None = None
        self._slots: dict[int | str, int] = {}  # how a family names a tool call → ours
        self._last: int | str = 0
        self._notes: list[str] = []

    def feed(self, data: bytes) -> list[Delta]:
        """Deltas completed by these bytes; a failure comes as the last one."""
        out: list[Delta] = []
        if self._failed:
            return out
        for kind, payload in self._frames.feed(data):
            if kind == "chunk" and not self._failed:
                self._chunk(payload, out)
        if self._frames.error is not None and not self._failed:
            self._fail(self._frames.error, out)
        return out

    def finish(self) -> StreamEnd:
        """What is known at the end of the body."""
        plain = self._frames.plain_error()
        if plain is not None:
            raise plain
        cut = self._frames.cut or self._failed
        if self._converse is not None:
            end = self._converse.end(cut=cut)
            return StreamEnd(
                complete=end.complete,
                finish_reason=end.finish_reason,
                usage=end.usage or self._usage,
                notes=(*end.notes, *self._notes),
            )
        return StreamEnd(
            complete=not cut and self._finish is not None,
            finish_reason=self._finish,
            usage=self._usage,
            id=self._id,
            notes=tuple(self._notes),
        )

    def _chunk(self, payload: dict[str, Any], out: list[Delta]) -> None:
        try:
            event = chunk_event(payload)
        except ValueError as error:
            self._fail(UpstreamError(clean(f"Unreadable chunk: {error}"), outcome="protocol_error"), out)
            return
        named = next((kind for kind in event if kind in _CONVERSE_EVENTS), None)
        if named is not None and type(event[named]) is dict:
            self._converse = self._converse or ConverseEvents()
            self._converse.take(named, event[named], out)
        else:
            self._piece(event, out)
        if METRICS in event or "usage" in event or "generation_token_count" in event:
            usage, notes = _usage(event, {})
            self._usage = usage or self._usage
            self._notes += [each for each in notes if each not in self._notes]
            if usage is not None:
                out.append(Delta(usage=usage))

    def _piece(self, event: dict[str, Any], out: list[Delta]) -> None:
        piece = read_piece(event)
        id = event.get("id") or event.get("generation_id")
        if self._id is None and type(id) is str:
            self._id = id
        if piece is None:
            return
        reason = _reason(piece.stop, self._notes)
        if reason is not None:
            self._finish = reason
        tools = self._tools(event, piece.calls) if piece.calls else ()
        if piece.text or piece.reasoning or reason or tools:
            out.append(
                Delta(content=piece.text or None, reasoning=piece.reasoning, tool_calls=tools, finish_reason=reason)
            )

    def _tools(self, event: dict[str, Any], calls: tuple[ToolCall, ...]) -> tuple[ToolCallDelta, ...]:
        """Pieces of calls, numbered by order of appearance; a piece without index and id belongs to the last."""
        pieces = []
        for call, held in zip(calls, _inner(event["choices"][0])["tool_calls"], strict=True):
            index = held.get("index") if type(held) is dict else None
            self._last = index if type(index) is int else call.id or self._last
            slots = len(self._slots)
            slot = self._slots.setdefault(self._last, slots)
            id, name = (call.id, call.name) if slot == slots else (None, None)
            pieces.append(ToolCallDelta(slot, id or None, name or None, call.arguments))
        return tuple(pieces)

    def _fail(self, error: UpstreamError, out: list[Delta]) -> None:
        self._failed = True
        out.append(Delta(error=error))
