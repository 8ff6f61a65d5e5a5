"""Streams of Bedrock's ConverseStream: events in, deltas out; and deltas written as events.

Usage and timing come in a `metadata` event after the stop reason. Nova's own stream has the same events, one inside
each chunk. Frames are `bedrock_calls.py`'s.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Iterable, Iterator
from typing import Any

from clawbench.errors import UpstreamError
from clawbench.types import Delta, StreamEnd, ToolCallDelta, Usage
from clawbench.usage.bedrock import normalise_noted
from clawbench.wires.anthropic_content import note_duplicates
from clawbench.wires.bedrock_calls import EventFrames
from clawbench.wires.bedrock_converse_content import WHOLE, detail_of, link_of, read_blocks, thoughts_of
from clawbench.wires.bedrock_converse_reply import routed_model, stop_reason, stop_word, usage_body
from clawbench.wires.tolerant_json import NotJson, loads
from clawbench.wires.unsaid import note

Event = tuple[str, dict[str, Any]]


class _Open:
    """A block between its first piece and its stop."""

    __slots__ = ("call", "cited", "kind", "pieces", "redacted", "said", "signature", "start")

    def __init__(self, kind: str, start: dict[str, Any], call: int | None = None) -> None:
        self.kind = kind  # text, toolUse, reasoningContent, or another kind's name
        self.start = start
        self.call = call  # place among the tool calls
        self.pieces: list[str] = []
        self.redacted: list[str] = []
        self.signature = ""
        self.cited: list[Any] = []
        self.said = False  # whether arguments have gone out


class ConverseEvents:
    """One stream. Call `take` for every event in order."""

    __slots__ = ("_blocks", "_calls", "_finish", "_length", "_model", "_open", "_raw_usage", "failed", "notes")

    def __init__(self) -> None:
        self.failed = False
        self.notes: list[str] = []
        self._blocks: list[Any] = []
        self._open: dict[int, _Open] = {}
        self._calls = 0
        self._length = 0  # characters of text so far
        self._finish: str | None = None
        self._raw_usage: Any = None
        self._model: str | None = None

    def take(self, kind: str, event: dict[str, Any], out: list[Delta]) -> None:
        """Adds what one event says to `out`."""
        index = event.get("contentBlockIndex")
        if type(index) is not int:
            index = 0
        if kind == "contentBlockDelta":
            piece = event.get("delta")
            if type(piece) is dict:
                self._piece(index, piece, out)
        elif kind == "contentBlockStart":
            self._begin(index, event.get("start"), out)
        elif kind == "contentBlockStop":
            self._stop(index, out)
        elif kind == "messageStop":
            self._end(event, out)
        elif kind == "metadata":
            self._model = routed_model(event) or self._model
            if event.get("usage") is not None:
                self._raw_usage = event["usage"]
                out.append(Delta(usage=normalise_noted(self._raw_usage)[0]))

    def fail(self, error: UpstreamError, out: list[Delta]) -> None:
        """Ends the stream with an error."""
        self.failed = True
        out.append(Delta(error=error))

    def end(self, *, cut: bool) -> StreamEnd:
        """What is known at the end of the body; `cut` says that it ended within a frame."""
        usage: Usage | None = None
        notes: tuple[str, ...] = ()
        if self._raw_usage is not None:
            usage, notes = normalise_noted(self._raw_usage)
        return StreamEnd(
            complete=not self.failed and not cut and self._finish is not None,
            finish_reason=self._finish,
            usage=usage,
            model=self._model,
            notes=(*self.notes, *notes),
        )

    def _begin(self, index: int, start: Any, out: list[Delta]) -> None:
        kind, held = next(iter(start.items())) if type(start) is dict and start else ("text", {})
        held = held if type(held) is dict else {}
        if kind != "toolUse" or held.get("type") == "server_tool_use":
            self._open[index] = _Open(kind, held)
            return
        call, self._calls = self._calls, self._calls + 1
        self._open[index] = _Open(kind, held, call)
        id, name = held.get("toolUseId"), held.get("name")
        first = ToolCallDelta(call, id if type(id) is str else None, name if type(name) is str else None)
        out.append(Delta(tool_calls=(first,)))

    def _piece(self, index: int, piece: dict[str, Any], out: list[Delta]) -> None:
        kind, held = next(iter(piece.items()), ("", None))
        opened = self._open.get(index)
        if opened is None or (opened.kind == "text" and not opened.pieces and kind not in ("text", "citation")):
            # Only tools announce themselves; other blocks begin with their first piece.
            self._begin(index, {"text" if kind == "citation" else kind: {}}, out)
            opened = self._open[index]
        if kind == "text" and type(held) is str:
            opened.pieces.append(held)
            if held:
                out.append(Delta(content=held))
        elif kind == "toolUse" and type(held) is dict and type(held.get("input")) is str:
            opened.pieces.append(held["input"])
            if opened.call is not None and held["input"]:
                opened.said = True
                out.append(Delta(tool_calls=(ToolCallDelta(opened.call, arguments=held["input"]),)))
        elif kind == "reasoningContent" and type(held) is dict:
            self._thought(opened, held, out)
        elif kind == "citation":
            opened.cited.append(held)
        elif kind == "toolResult" and type(held) is list:
            opened.cited += held

    def _thought(self, opened: _Open, held: dict[str, Any], out: list[Delta]) -> None:
        text, signature, redacted = held.get("text"), held.get("signature"), held.get("redactedContent")
        if type(text) is str and text:
            opened.pieces.append(text)
            out.append(Delta(reasoning=text))
        if type(signature) is str:
            opened.signature += signature
        if type(redacted) is str:
            opened.redacted.append(redacted)

    def _stop(self, index: int, out: list[Delta]) -> None:
        opened = self._open.pop(index, None)
        if opened is None:
            return
        block = self._block(opened)
        self._blocks.append(block)
        if opened.call is not None and not opened.said:
            out.append(Delta(tool_calls=(ToolCallDelta(opened.call, arguments="{}"),)))
        elif opened.kind == "reasoningContent":
            out.append(Delta(extra={"reasoning_details": [detail_of(block["reasoningContent"])]}))
        elif opened.kind == "text":
            start, self._length = self._length, self._length + sum(map(len, opened.pieces))
            links = [link_of(each, start, self._length) for each in opened.cited]
            found = [link for link in links if link is not None]
            others = [each for each, link in zip(opened.cited, links, strict=True) if link is None]
            fields = {name: item for name, item in (("annotations", found), ("citations", others)) if item}
            if fields:
                out.append(Delta(extra=fields))

    def _block(self, opened: _Open) -> dict[str, Any]:
        """The block as a whole answer would have held it."""
        text = "".join(opened.pieces)
        if opened.kind == "text":
            if opened.cited:
                return {"citationsContent": {"content": [{"text": text}], "citations": opened.cited}}
            return {"text": text}
        if opened.kind == "reasoningContent":
            if opened.redacted:
                return {"reasoningContent": {"redactedContent": _joined(opened.redacted)}}
            signed = {"signature": opened.signature} if opened.signature else {}
            return {"reasoningContent": {"reasoningText": {"text": text, **signed}}}
        if opened.kind == "toolUse":
            try:
                given = loads(text.encode("utf-8", "replace"))[0] if text else {}
            except NotJson:
                given = text
            return {"toolUse": {**opened.start, "input": given}}
        return {opened.kind: {**opened.start, **({"content": opened.cited} if opened.cited else {})}}

    def _end(self, event: dict[str, Any], out: list[Delta]) -> None:
        for index in list(self._open):
            self._stop(index, out)
        extra: dict[str, Any] = {}
        reason = stop_reason(event.get("stopReason"), extra, self.notes)
        if reason is None:
            note(self.notes, "no stop reason")
            reason = "stop"
        read = read_blocks(self._blocks)
        note_duplicates(read.calls, self.notes)
        if read.whole:
            extra[WHOLE] = self._blocks
        self._finish = reason
        out.append(Delta(finish_reason=reason, extra=extra or None))


def _joined(pieces: list[str]) -> str:
    """Base64 of the bytes that these pieces of base64 hold together."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        return b64encode(b"".join(b64decode(piece, validate=True) for piece in pieces)).decode()
    except (BadBase64, ValueError):
        return "".join(pieces)


class ConverseStream:
    """Decodes one stream. `finish` raises `UpstreamError` for a body that never was an event stream."""

    __slots__ = ("_events", "_frames")

    def __init__(self) -> None:
        self._frames = EventFrames()
        self._events = ConverseEvents()

    def feed(self, data: bytes) -> list[Delta]:
        """Deltas completed by these bytes; a failure comes as the last one."""
        out: list[Delta] = []
        if self._events.failed:
            return out
        for kind, event in self._frames.feed(data):
            self._events.take(kind, event, out)
        if self._frames.error is not None:
            self._events.fail(self._frames.error, out)
        return out

    def finish(self) -> StreamEnd:
        """What is known at the end of the body."""
        plain = self._frames.plain_error()
        if plain is not None:
            raise plain
        return self._events.end(cut=self._frames.cut)


def events_of(deltas: Iterable[Delta], failure: list[UpstreamError]) -> Iterator[Event]:
    """The events that would have brought these deltas out; a delta's error ends them and is put into `failure`."""
    writer = _Writer()
    usage: Usage | None = None
    finish: str | None = None
    extra: dict[str, Any] = {}
    yield "messageStart", {"role": "assistant"}
    for delta in deltas:
        if delta.error is not None:
            failure.append(delta.error)
            return
        usage = delta.usage or usage
        if delta.index:
            continue
        finish = delta.finish_reason or finish
        if delta.reasoning:
            yield from writer.thought({"text": delta.reasoning})
        if delta.extra:
            extra.update(delta.extra)
            for block in thoughts_of(delta.extra.get("reasoning_details"), []):
                yield from writer.detail(block["reasoningContent"])
        text = delta.content or delta.refusal
        if text:
            yield from writer.piece("text", {"text": text})
        for piece in delta.tool_calls:
            yield from writer.call(piece)
    yield from writer.close()
    yield "messageStop", {"stopReason": stop_word(finish or ("tool_calls" if writer.called else "stop"), extra)}
    yield "metadata", {"usage": usage_body(usage), "metrics": {"latencyMs": 0}}


class _Writer:
    """Knows which block is open, and of which kind: "text", "reasoning", or the place of a tool call."""

    def __init__(self) -> None:
        self._index = -1
        self._kind: str | int | None = None
        self._thought = ""  # what has gone out of the last block of reasoning
        self.called = False

    def piece(self, kind: str | int, delta: dict[str, Any]) -> Iterator[Event]:
        if self._kind != kind:
            yield from self.close()
            self._kind, self._index = kind, self._index + 1
        yield "contentBlockDelta", {"contentBlockIndex": self._index, "delta": delta}

    def thought(self, held: dict[str, Any]) -> Iterator[Event]:
        if "text" in held:
            self._thought = (self._thought if self._kind == "reasoning" else "") + held["text"]
        yield from self.piece("reasoning", {"reasoningContent": held})

    def detail(self, held: dict[str, Any]) -> Iterator[Event]:
        """A complete block of reasoning, whose text may have gone out already."""
        if "redactedContent" in held:
            yield from self.close()
            yield from self.thought(held)
        else:
            text = held["reasoningText"]["text"]
            if self._kind != "reasoning":
                if text and text == self._thought:
                    return  # its text is out and closed: a second block would say it twice
                if text:
                    yield from self.thought({"text": text})
            yield from self.thought({"signature": held["reasoningText"]["signature"]})
        yield from self.close()

    def call(self, piece: ToolCallDelta) -> Iterator[Event]:
        if self._kind != piece.index:
            yield from self.close()
            self._kind, self._index, self.called = piece.index, self._index + 1, True
            start = {"toolUse": {"toolUseId": piece.id or f"tooluse_{piece.index}", "name": piece.name or ""}}
            yield "contentBlockStart", {"contentBlockIndex": self._index, "start": start}
        if piece.arguments:
            yield from self.piece(piece.index, {"toolUse": {"input": piece.arguments}})

    def close(self) -> Iterator[Event]:
        if self._kind is not None:
            self._kind = None
            yield "contentBlockStop", {"contentBlockIndex": self._index}
