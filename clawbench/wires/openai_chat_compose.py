"""Answers in OpenAI's chat dialect, written: whole bodies and stream frames as the strictest known clients read them.

The gateway's own surface writes every chunk through `StreamEncoder`, the emulator whole streams through
`compose_frames`. Prefixes of the frames are built once a stream, so that a piece of text costs one string's encoding
and a join. Knows no request, no provider and no HTTP beyond a content type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, Delta, StreamEnd, TextRun, ToolCall, ToolCallDelta, Usage
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.tolerant_json import dumps

DONE: Final = b"data: [DONE]\n\n"

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_TEXT_END: Final = b'},"finish_reason":null}]}\n\n'
_TOP_FIELDS: Final = frozenset({"id", "object", "created", "model", "choices", "usage", "error"})
_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority"})  # other words fail in typed clients
_MESSAGE_FIELDS: Final = frozenset({"role", "content", "refusal", "tool_calls"})


def usage_body(usage: Usage | None) -> dict[str, Any] | None:
    """OpenAI's usage object; None (JSON null) where a primary count is missing."""
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    prompt: dict[str, int] = {"cached_tokens": usage.cached_input_tokens or 0}
    if usage.cache_write_tokens is not None:
        prompt["cache_write_tokens"] = usage.cache_write_tokens
    body: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }
    if usage.estimated:
        body["estimated"] = True
    return body


def compose_completion(completion: Completion, *, reasoning_text: str = "reasoning_content") -> ComposedReply:
    """A whole answer; `reasoning_text` is the message field that holds reasoning."""
    body: dict[str, Any] = {
        "id": completion.id,
        "object": "chat.completion",
        "created": completion.created or 0,
        "model": completion.model or "",
        "system_fingerprint": completion.system_fingerprint,
        "choices": [_choice_body(choice, completion.id, reasoning_text) for choice in completion.choices],
        "usage": usage_body(completion.usage),
    }
    if completion.service_tier in _TIERS:
        body["service_tier"] = completion.service_tier
    if completion.extra:
        body.update((key, item) for key, item in completion.extra.items() if key not in _TOP_FIELDS)
    return ComposedReply(200, {"content-type": "application/json"}, dumps(body))


def _choice_body(choice: Choice, id: str, reasoning_text: str) -> dict[str, Any]:
    content = choice.content
    if content is None and not choice.tool_calls:
        content = ""  # null is for tool calls only
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if choice.refusal is not None:
        message["refusal"] = choice.refusal
    if choice.reasoning is not None:
        message[reasoning_text] = choice.reasoning
    if choice.tool_calls:
        message["tool_calls"] = [_call_body(call, id, place) for place, call in enumerate(choice.tool_calls)]
    if choice.extra:
        message.update((key, item) for key, item in choice.extra.items() if key not in _MESSAGE_FIELDS)
    return {
        "index": choice.index,
        "message": message,
        "logprobs": choice.logprobs,
        "finish_reason": choice.finish_reason or ("tool_calls" if choice.tool_calls else "stop"),
    }


def _call_body(call: ToolCall, id: str, place: int) -> dict[str, Any]:
    return {
        "id": call.id or _call_id(id, place),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _call_id(id: str, place: int) -> str:
    """An id for a call whose provider gave none: the same call gets the same one, whole or streamed."""
    return f"call_{id}_{place}"


class StreamEncoder:
    """Writes one stream: `open`, then `feed` for what came, then `finish` or `fail`; each returns whole frames.

    Finish reasons are kept back until `finish`, so that nothing follows them but usage and the end marker.
    """

    __slots__ = (
        "_called",
        "_id",
        "_prefix",
        "_reasoning_text",
        "_reasons",
        "_started",
        "_text",
        "_thought",
        "include_usage",
    )

    def __init__(
        self, *, id: str, model: str, created: int, include_usage: bool, reasoning_text: str = "reasoning_content"
    ) -> None:
        head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._prefix = b"data: " + dumps(head)[:-1]
        self._id = id
        self.include_usage = include_usage  # may be changed until `finish`
        self._reasoning_text = reasoning_text
        self._text = self._prefix + b',"choices":[{"index":0,"delta":{"content":'
        self._thought = self._prefix + b',"choices":[{"index":0,"delta":{' + dumps(reasoning_text) + b":"
        self._started: set[int] = set()
        self._reasons: dict[int, str] = {}
        self._called: set[tuple[int, int]] = set()  # tool calls that have their id: (choice, place)

    def open(self) -> bytes:
        """The first frame: the role of choice 0."""
        return self._start(0)

    def feed(self, deltas: Sequence[Delta | TextRun]) -> bytes:
        """Frames for these deltas, b"" if none of them is output. Their usage and finish reasons are not written."""
        frames: list[bytes] = []
        for delta in deltas:
            if isinstance(delta, TextRun):
                frames += (self._text, self._texts(delta.pieces), _TEXT_END)
                continue
            content = delta.content
            if (
                content
                and not delta.index
                and delta.reasoning is None
                and not delta.tool_calls
                and delta.refusal is None
                and delta.logprobs is None
                and delta.extra is None
            ):
                try:
                    frames += (self._text, _encode(content), _TEXT_END)
                except UnicodeEncodeError:
                    frames += (self._text, dumps(content), _TEXT_END)
                if delta.finish_reason is not None:
                    self._reasons[0] = delta.finish_reason
            else:
                self._other(delta, frames)
        return b"".join(frames)

    def _texts(self, pieces: list[str]) -> bytes:
        """Pieces of text, with what stands between them in their frames."""
        between = _TEXT_END + self._text
        try:
            return _encode_lines(pieces)[:-1].replace(b"\n", between)  # no JSON text holds a line feed of its own
        except UnicodeEncodeError:
            return between.join(map(dumps, pieces))

    def finish(self, end: StreamEnd | None = None, *, usage: Usage | None = None) -> bytes:
        """The last frames: a finish reason for every choice, usage if it was asked for, the end marker.

        `usage` goes before what `end` says; where neither has both counts, the usage frame says null.
        """
        frames: list[bytes] = []
        stated = end.finish_reason if end is not None else None
        called = {index for index, _ in self._called}
        for index in sorted(self._started | self._reasons.keys() | {0}):
            if index not in self._started:
                frames.append(self._start(index))
            reason = self._reasons.get(index) or stated or ("tool_calls" if index in called else "stop")
            frames.append(self._frame({"index": index, "delta": {}, "finish_reason": reason}))
        if usage is None and end is not None:
            usage = end.usage
        return b"".join(frames) + self._tail(usage)

    def fail(
        self,
        message: str,
        *,
        code: str = "upstream_error",
        type: str = "upstream_error",
        request_id: str | None = None,
        usage: Usage | None = None,
    ) -> bytes:
        """The error frame that ends a broken stream, usage if it was asked for and is known, the end marker."""
        error = {"message": message, "type": type, "param": None, "code": code, "request_id": request_id}
        choices = [{"index": 0, "delta": {}, "finish_reason": "error"}]
        prefix = self._prefix.replace(b'"object":"chat.completion.chunk"', b'"object":"error"', 1)
        frame = prefix + b',"error":' + dumps(error) + b',"choices":' + dumps(choices) + b"}\n\n"
        return frame + (self._tail(usage) if usage is not None else DONE)

    def _start(self, index: int) -> bytes:
        self._started.add(index)
        return self._frame({"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})

    def _tail(self, usage: Usage | None) -> bytes:
        if not self.include_usage:
            return DONE
        return self._prefix + b',"choices":[],"usage":' + dumps(usage_body(usage)) + b"}\n\n" + DONE

    def _frame(self, choice: dict[str, Any]) -> bytes:
        return self._prefix + b',"choices":[' + dumps(choice) + b"]}\n\n"

    def _other(self, delta: Delta, frames: list[bytes]) -> None:
        """Anything but a plain piece of text."""
        if delta.finish_reason is not None:
            self._reasons[delta.index] = delta.finish_reason
        piece: dict[str, Any] = {}
        if delta.content:
            piece["content"] = delta.content
        if delta.reasoning:
            piece[self._reasoning_text] = delta.reasoning
        if delta.refusal:
            piece["refusal"] = delta.refusal
        if delta.tool_calls:
            piece["tool_calls"] = [self._call(delta.index, call) for call in delta.tool_calls]
        if delta.extra:
            piece.update((key, item) for key, item in delta.extra.items() if key not in _MESSAGE_FIELDS)
        if not piece and delta.logprobs is None:
            return
        if delta.index and delta.index not in self._started:
            frames.append(self._start(delta.index))
        if not delta.index and len(piece) == 1 and delta.reasoning and delta.logprobs is None:
            frames += (self._thought, dumps(delta.reasoning), _TEXT_END)
            return
        choice: dict[str, Any] = {"index": delta.index, "delta": piece, "finish_reason": None}
        if delta.logprobs is not None:
            choice["logprobs"] = delta.logprobs
        frames.append(self._frame(choice))

    def _call(self, choice: int, call: ToolCallDelta) -> dict[str, Any]:
        function: dict[str, Any] = {"arguments": call.arguments}
        if call.name is not None:
            function = {"name": call.name, **function}
        key = (choice, call.index)
        if key in self._called:
            return {"index": call.index, "function": function}
        self._called.add(key)
        id = call.id or _call_id(f"{self._id}_{choice}" if choice else self._id, call.index)
        return {"index": call.index, "id": id, "type": "function", "function": function}


def compose_frames(
    deltas: Iterable[Delta], *, id: str, model: str, created: int, reasoning_text: str = "reasoning_content"
) -> Iterator[bytes]:
    """One frame an item, the end marker last; a usage frame if a delta states usage.

    A delta with an error ends the stream with the frame that a gateway in OpenAI's dialect sends for one.
    """
    encoder = StreamEncoder(id=id, model=model, created=created, include_usage=True, reasoning_text=reasoning_text)
    usage: Usage | None = None
    finish: str | None = None
    yield encoder.open()
    for delta in deltas:
        if delta.error is not None:
            yield from _frames(_failure(encoder, delta.error, usage))
            return
        usage = delta.usage or usage
        finish = delta.finish_reason or finish
        yield from _frames(encoder.feed((delta,)))
    encoder.include_usage = usage is not None
    yield from _frames(encoder.finish(StreamEnd(complete=True, finish_reason=finish, usage=usage)))


def _failure(encoder: StreamEncoder, error: UpstreamError, usage: Usage | None) -> bytes:
    return encoder.fail(error.message, code=error.code or "upstream_error", usage=usage)


def _frames(text: bytes) -> Iterator[bytes]:
    """JSON holds no raw line feed, so blank lines stand between frames only."""
    for frame in text.split(b"\n\n"):
        if frame:
            yield frame + b"\n\n"
