"""The events of Anthropic's streams, however they were framed: decoded JSON objects in, deltas out.

Shared by the API's server-sent events and Bedrock's event stream, whose chunks hold the same objects. A block is
gathered while its pieces go out: signatures, citations and server tools are only known, or only useful, whole. Knows
no bytes.
"""

from __future__ import annotations

from typing import Any

from clawbench.errors import UpstreamError
from clawbench.types import Delta, StreamEnd, ToolCallDelta, Usage
from clawbench.usage.anthropic import merged, normalise_noted
from clawbench.wires.anthropic_content import WHOLE, BlockReader, note_duplicates
from clawbench.wires.anthropic_reply import no_answer, read_message, stop_reason
from clawbench.wires.tolerant_json import NotJson, dumps, loads
from clawbench.wires.unsaid import note


class _Open:
    """A block between its start and its stop."""

    __slots__ = ("block", "call", "pieces", "said")

    def __init__(self, block: dict[str, Any], call: int | None) -> None:
        self.block = block
        self.call = call  # place among the tool calls; None for another kind of block
        self.pieces: list[str] = []  # of its text, thought or input
        self.said = False  # whether arguments have gone out


class AnthropicEvents:
    """One stream. Call `take` for every event in order; after `failed` or `done` is set, events are ignored."""

    __slots__ = (
        "_blocks",
        "_calls",
        "_deltas",
        "_finish",
        "_id",
        "_model",
        "_open",
        "_reader",
        "_start",
        "done",
        "failed",
        "notes",
    )

    def __init__(self, notes: list[str] | None = None) -> None:
        self.done = self.failed = False
        self.notes: list[str] = [] if notes is None else notes  # shared with who reads the frames
        self._reader = BlockReader()
        self._blocks: list[Any] = []
        self._open: dict[int, _Open] = {}
        self._calls = 0
        self._start: Any = None  # usage of message_start
        self._deltas: list[Any] = []  # usage of each message_delta
        self._finish: str | None = None
        self._id: str | None = None
        self._model: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more is to be read: the answer is complete, or it failed."""
        return self.done or self.failed

    def take(self, event: Any, out: list[Delta]) -> None:
        """Adds what one event says to `out`. A failure is the last delta."""
        if type(event) is not dict:
            self._fail(UpstreamError("A stream event is no object.", outcome="protocol_error"), out)
            return
        kind, index = event.get("type"), event.get("index")
        if type(index) is not int:
            index = 0
        if kind == "content_block_delta":
            piece = event.get("delta")
            if type(piece) is dict:
                self._piece(index, piece, out)
        elif kind == "content_block_start":
            self._begin(index, event.get("content_block"), out)
        elif kind == "content_block_stop":
            self._stop(index, out)
        elif kind == "message_start":
            self._message(event.get("message"), out)
        elif kind == "message_delta":
            self._end(event, out)
        elif kind == "message_stop":
            self.done = True
        elif kind == "error" or (kind != "ping" and event.get("error")):
            self._fail(no_answer(event, None, outcome="error_event"), out)

    def fail(self, error: UpstreamError, out: list[Delta]) -> None:
        """Ends the stream with an error that its frames brought."""
        self._fail(error, out)

    @property
    def has_ended(self) -> bool:
        """Whether what was read is a whole answer."""
        return self.done or self._finish is not None

    def end(self, *, complete: bool) -> StreamEnd:
        """What is known at the end of the body; `complete` says that the answer is whole and its frames were."""
        if complete and not self.done:
            note(self.notes, "no message_stop")
        if complete and self._finish is None:
            note(self.notes, "no stop reason")
        usage, notes = self._usage()
        return StreamEnd(
            complete=complete,
            finish_reason=self._finish,
            usage=usage,
            id=self._id,
            model=self._model,
            notes=(*self.notes, *notes),
        )

    def _usage(self) -> tuple[Usage | None, tuple[str, ...]]:
        if self._start is None and not self._deltas:
            return None, ()
        return normalise_noted(merged(self._start, *self._deltas))

    def _fail(self, error: UpstreamError, out: list[Delta]) -> None:
        self.failed = True
        out.append(Delta(error=error))

    def _message(self, message: Any, out: list[Delta]) -> None:
        if type(message) is not dict:
            return
        self._id = _text(message, "id") or self._id
        self._model = _text(message, "model") or self._model
        usage = message.get("usage")
        if type(usage) is dict:
            self._start = usage
        content = message.get("content")
        if type(content) is list and content:
            # A whole message as its own start: seen from servers that imitate the API.
            self._whole(message, out)

    def _whole(self, message: dict[str, Any], out: list[Delta]) -> None:
        choice = read_message({**message, "usage": None}, self.notes).choices[0]
        calls = tuple(
            ToolCallDelta(place, call.id, call.name, call.arguments) for place, call in enumerate(choice.tool_calls)
        )
        self._calls = len(calls)
        out.append(Delta(content=choice.content, reasoning=choice.reasoning, tool_calls=calls, extra=choice.extra))

    def _begin(self, index: int, block: Any, out: list[Delta]) -> None:
        if type(block) is not dict:
            return
        if block.get("type") != "tool_use":
            opened = self._open[index] = _Open(block, None)
            for name in ("text", "thinking"):
                if type(block.get(name)) is str and block[name]:
                    opened.pieces.append(block[name])
                    out.append(Delta(content=block[name]) if name == "text" else Delta(reasoning=block[name]))
            return
        call, self._calls = self._calls, self._calls + 1
        opened = self._open[index] = _Open(block, call)
        given = block.get("input")
        arguments = dumps(given).decode() if given else ""
        if arguments:
            opened.pieces.append(arguments)
            opened.said = True
        out.append(Delta(tool_calls=(ToolCallDelta(call, _text(block, "id"), _text(block, "name"), arguments),)))

    def _piece(self, index: int, piece: dict[str, Any], out: list[Delta]) -> None:
        kind = piece.get("type")
        opened = self._open.get(index)
        if opened is None:
            # Some imitators leave the start out: the piece says what the block is.
            opened = self._open[index] = _Open({"type": "text" if kind == "text_delta" else "thinking"}, None)
        if kind == "text_delta":
            text = piece.get("text")
            if type(text) is str and text:
                opened.pieces.append(text)
                out.append(Delta(content=text))
        elif kind == "input_json_delta":
            text = piece.get("partial_json")
            if type(text) is str and text:
                opened.pieces.append(text)
                if opened.call is not None:
                    opened.said = True
                    out.append(Delta(tool_calls=(ToolCallDelta(opened.call, arguments=text),)))
        elif kind == "thinking_delta":
            text = piece.get("thinking")
            if type(text) is str and text:
                opened.pieces.append(text)
                out.append(Delta(reasoning=text))
        elif kind == "signature_delta":
            signature = piece.get("signature")
            if type(signature) is str:
                opened.block = {**opened.block, "signature": (opened.block.get("signature") or "") + signature}
        elif kind == "citations_delta":
            cited = opened.block.get("citations") or []
            opened.block = {**opened.block, "citations": [*cited, piece.get("citation")]}

    def _stop(self, index: int, out: list[Delta]) -> None:
        opened = self._open.pop(index, None)
        if opened is None:
            return
        if opened.call is not None and not opened.said:
            out.append(Delta(tool_calls=(ToolCallDelta(opened.call, arguments="{}"),)))
        block = self._complete(opened)
        self._blocks.append(block)
        fields = self._reader.add(block)
        if fields:
            out.append(Delta(extra=fields))

    def _complete(self, opened: _Open) -> dict[str, Any]:
        block, text = opened.block, "".join(opened.pieces)
        kind = block.get("type")
        if kind == "text":
            return {**block, "text": text}
        if kind == "thinking":
            return {**block, "thinking": text}
        if not text or "input" not in block:
            return block
        try:
            given = loads(text.encode("utf-8", "replace"))[0]
        except NotJson:
            given = text
        return {**block, "input": given}

    def _end(self, event: dict[str, Any], out: list[Delta]) -> None:
        usage, change = event.get("usage"), event.get("delta")
        stated: Usage | None = None
        if type(usage) is dict:
            self._deltas.append(usage)
            stated = self._usage()[0]
        extra: dict[str, Any] = {}
        reason = stop_reason(change, extra, self.notes) if type(change) is dict else None
        if reason is None:
            if stated is not None:
                out.append(Delta(usage=stated))
            return
        for index in list(self._open):
            self._stop(index, out)
        self._finish = reason
        note_duplicates(self._reader.calls, self.notes)
        if self._reader.special:
            extra[WHOLE] = self._blocks
        out.append(Delta(finish_reason=reason, extra=extra or None, usage=stated))


def _text(source: dict[str, Any], name: str) -> str | None:
    value = source.get(name)
    return value if type(value) is str and value else None
