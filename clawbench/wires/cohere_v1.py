"""Cohere's chat API, version 1: recorded calls are read, new ones are not made.

One `message` beside a `chat_history`, a preamble for a system message, tools with `parameter_definitions`, arguments as
objects and no ids; streams are JSON lines, or server-sent events for whoever asked for them, told apart by
`event_type`, whose last repeats the whole answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.types import (
    ChatRequest,
    Choice,
    Completion,
    Delta,
    Headers,
    HttpCall,
    Message,
    Offer,
    StreamEnd,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from clawbench.usage.cohere import normalise_noted
from clawbench.wires.cohere_terms import (
    body_value,
    broke_off,
    cohere_refusal,
    finish_reason,
    no_answer,
    usage_of,
)
from clawbench.wires.failures import read_error
from clawbench.wires.json_lines import JsonLinesStream
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.sse import SseSplitter
from clawbench.wires.sse_json import unreadable
from clawbench.wires.tolerant_json import NotJson, dumps, loads
from clawbench.wires.unsaid import made_up_id

LINE_BYTES_MAX: Final = 4 * 1024 * 1024
"""The last line repeats the answer with all documents that were searched."""

_ROLES: Final = {"user": "user", "chatbot": "assistant", "system": "system", "tool": "tool"}
_PLACED: Final = frozenset(
    {
        "message", "chat_history", "preamble", "model", "stream", "tools", "tool_results", "max_tokens", "temperature",
        "p", "stop_sequences", "seed", "frequency_penalty", "presence_penalty", "response_format",
    }
)  # fmt: skip
_TYPES: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "dict": "object"}
_EXTRA: Final = ("citations", "documents", "search_queries", "search_results")
_REPLY: Final = re.compile(rb'"(?:generation_id|response_id|event_type)"\s*:')


class CohereV1:
    """The wire of `/v1/chat`."""

    name = "cohere_v1"

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Whether the body holds one message, not a list of them, and path or reply are of this API."""
        if call.method != "POST":
            return False
        try:
            value = body_value(call.body)
        except ValueError:
            return False
        if type(value.get("message")) is not str or "messages" in value:
            return False
        path = re.split(r"[?#]", call.url, maxsplit=1)[0].rstrip("/")
        return path.endswith("/v1/chat") or _REPLY.search(reply_body[:4096]) is not None

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """Always raises `UpstreamError`."""
        raise UpstreamError("Calls of version 1 are only read, not made; use cohere.", outcome="rejected")

    def decode(self, status: int, headers: Headers, body: bytes) -> Completion:
        """A whole 2xx body. Raises `UpstreamError`: error_200, protocol_error, or what `error` gives outside 2xx."""
        if not 200 <= status < 300:
            raise cohere_refusal(status, headers, body)
        return _decode(status, body)

    def stream(self) -> CohereV1Stream:
        """A decoder for one streamed body."""
        return CohereV1Stream(event_bytes_max=LINE_BYTES_MAX)

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """The typed error for a reply that is no success."""
        return cohere_refusal(status, headers, body)

    def parse(self, call: HttpCall) -> ChatRequest:
        """The request in a call. Raises `ValueError` for what is none."""
        return _request(body_value(call.body))

    def compose(self, completion: Completion) -> ComposedReply:
        """Always raises `ValueError`."""
        raise ValueError("answers of version 1 are only read")

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """Always raises `ValueError`."""
        raise ValueError("answers of version 1 are only read")


def _request(value: dict[str, Any]) -> ChatRequest:
    if type(value.get("message")) is not str:
        raise ValueError("the body has no message")
    messages: list[Message] = []
    if value.get("preamble") and type(value["preamble"]) is str:
        messages.append({"role": "system", "content": value["preamble"]})
    history = value.get("chat_history")
    turns = _Turns()
    for entry in history if type(history) is list else ():
        if type(entry) is not dict:
            raise ValueError("an entry of chat_history is no object")
        messages += turns.messages(entry)
    results = value.get("tool_results")
    if type(results) is list and results:
        messages += turns.results(results)
    if value["message"] or not results:
        messages.append({"role": "user", "content": value["message"]})
    tools, model, stop = value.get("tools"), value.get("model"), value.get("stop_sequences")
    numbers = {
        name: value[name] for name in ("temperature", "frequency_penalty", "presence_penalty") if _is_real(value, name)
    }
    return ChatRequest(
        model=model if type(model) is str and model else "unnamed",
        messages=messages,
        stream=value.get("stream") is True,
        tools=[_tool(tool) for tool in tools if type(tool) is dict] or None if type(tools) is list else None,
        response_format=_format(value.get("response_format")),
        max_output_tokens=value["max_tokens"] if type(value.get("max_tokens")) is int else None,
        top_p=value["p"] if _is_real(value, "p") else None,
        stop=[each for each in stop if type(each) is str] or None if type(stop) is list else None,
        seed=value["seed"] if type(value.get("seed")) is int else None,
        extra={key: item for key, item in value.items() if key not in _PLACED and item is not None},
        **numbers,
    )


def _is_real(value: dict[str, Any], name: str) -> bool:
    return type(value.get(name)) in (int, float)


def _format(stated: Any) -> dict[str, Any] | None:
    if type(stated) is not dict or stated.get("type") != "json_object":
        return None
    schema = stated.get("schema")
    if type(schema) is not dict:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    definitions = tool.get("parameter_definitions")
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, each in definitions.items() if type(definitions) is dict else ():
        held = each if type(each) is dict else {}
        kind = held.get("type")
        said = {"type": _TYPES.get(str(kind).lower(), str(kind).lower())} if kind else {}
        properties[name] = {**said, "description": held["description"]} if held.get("description") else said
        if held.get("required") is True:
            required.append(name)
    parameters = {"type": "object", "properties": properties, **({"required": required} if required else {})}
    function = {"name": tool.get("name") or "", "description": tool.get("description") or "", "parameters": parameters}
    return {"type": "function", "function": function}


class _Turns:
    """Reads a history in order, and ties results to calls, which have no ids."""

    def __init__(self) -> None:
        self._calls = 0
        self._open: list[tuple[str, str]] = []

    def messages(self, entry: dict[str, Any]) -> list[Message]:
        """The messages of one entry of `chat_history`."""
        role = _ROLES.get(str(entry.get("role")).lower(), "user")
        if role == "tool":
            results = entry.get("tool_results")
            return self.results(results if type(results) is list else [])
        text = entry.get("message")
        message: Message = {"role": role, "content": text if type(text) is str else ""}
        calls = entry.get("tool_calls")
        if role == "assistant" and type(calls) is list and calls:
            message["tool_calls"] = [self._call(call) for call in calls if type(call) is dict]
        return [message]

    def results(self, results: list[Any]) -> list[Message]:
        """A tool message for each result."""
        messages: list[Message] = []
        for result in results:
            held = result if type(result) is dict else {}
            call = held.get("call")
            name = call.get("name") if type(call) is dict else None
            id = next((each for called, each in self._open if called == name), None)
            id = id or (self._open[0][1] if self._open else made_up_id(self._calls, None))
            self._open = [(called, each) for called, each in self._open if each != id]
            outputs = held.get("outputs")
            messages.append({"role": "tool", "tool_call_id": id, "content": dumps(outputs or []).decode()})
        return messages

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        id = made_up_id(self._calls, None)
        self._calls += 1
        name, arguments = _call_parts(call)
        self._open.append((name, id))
        return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _call_parts(call: Any) -> tuple[str, str]:
    held = call if type(call) is dict else {}
    name, arguments = held.get("name"), held.get("parameters")
    return name if type(name) is str else "", dumps({} if arguments is None else arguments).decode()


def _decode(status: int, body: bytes) -> Completion:
    try:
        value, forgiven = loads(body)
    except NotJson as error:
        raise unreadable(body, str(error), status) from None
    if type(value) is not dict or type(value.get("text")) is not str:
        raise no_answer(value, status)
    odd = list(forgiven)
    calls = value.get("tool_calls")
    tools = tuple(
        ToolCall(made_up_id(place, None), *_call_parts(call))
        for place, call in enumerate(calls if type(calls) is list else ())
    )
    reason = finish_reason(value.get("finish_reason"), odd)
    if reason == "error" and not value["text"] and not tools:
        raise broke_off(value.get("finish_reason"), None, "error_200", status)
    extra = {key: value[key] for key in _EXTRA if value.get(key)}
    id = value.get("response_id") or value.get("generation_id")
    return Completion(
        choices=(
            Choice(
                content=value["text"] if value["text"] or not tools else None,
                tool_calls=tools,
                finish_reason="tool_calls" if tools and reason == "stop" else reason,
                extra=extra or None,
            ),
        ),
        id=id if type(id) is str else "",
        usage=usage_of(value.get("meta"), odd),
        notes=tuple(odd),
    )


class CohereV1Stream(JsonLinesStream):
    """Decodes one stream. See `JsonLinesStream` for what is raised when."""

    __slots__ = ("_begun", "_calls", "_finish", "_id", "_planned", "_raw_usage")

    def __init__(self, *, event_bytes_max: int = LINE_BYTES_MAX) -> None:
        super().__init__(event_bytes_max=event_bytes_max)
        self._begun = self._planned = False
        self._calls = 0
        self._finish: str | None = None
        self._id: str | None = None
        self._raw_usage: Any = None

    def _is_plain(self, data: bytes) -> bool:
        # A line begins with a brace; what begins with a letter or a colon is a field of an event.
        if data.lstrip(b" \t\r\n")[:1] in (b"d", b"e", b"i", b"r", b":"):
            self._splitter = SseSplitter(self._event_bytes_max)
        return super()._is_plain(data)

    def _object(self, value: dict[str, Any], name: str, out: list[Delta]) -> bool:
        kind = value.get("event_type")
        if type(kind) is not str:
            return self._broke_off(read_error(value), "", out)
        self._begun = True
        if kind == "text-generation":
            text = value.get("text")
            if type(text) is str and text:
                out.append(Delta(content=text))
        elif kind == "stream-start":
            id = value.get("generation_id")
            self._id = id if type(id) is str and id else None
        elif kind == "tool-calls-chunk":
            self._plan(value.get("text"), out)
        elif kind == "tool-calls-generation":
            if not self._planned:
                self._plan(value.get("text"), out)
            self._tool_calls(value.get("tool_calls"), out)
        elif kind == "stream-end":
            return self._ends(value, out)
        else:
            extra = {key: value[key] for key in _EXTRA if type(value.get(key)) is list and value[key]}
            if extra and kind == "citation-generation":
                out.append(Delta(extra=extra))
        return True

    def _plan(self, text: Any, out: list[Delta]) -> None:
        """What the model says it will do, in pieces before its calls or whole with them: `text` of a whole answer."""
        if type(text) is str and text:
            self._planned = True
            out.append(Delta(content=text))

    def _tool_calls(self, calls: Any, out: list[Delta]) -> None:
        for call in calls if type(calls) is list else ():
            name, arguments = _call_parts(call)
            piece = ToolCallDelta(self._calls, made_up_id(self._calls, None), name, arguments)
            out.append(Delta(tool_calls=(piece,)))
            self._calls += 1

    def _ends(self, value: dict[str, Any], out: list[Delta]) -> bool:
        response = value.get("response")
        response = response if type(response) is dict else {}
        meta = response.get("meta")
        self._raw_usage = meta or None
        id = response.get("response_id") or response.get("generation_id")
        self._id = id if type(id) is str and id else self._id
        if not self._calls:
            self._tool_calls(response.get("tool_calls"), out)
        reason = finish_reason(value.get("finish_reason"), self._notes)
        if reason == "error":
            return self._fail(broke_off(value.get("finish_reason"), value.get("error"), "error_event", None), out)
        self._finish = "tool_calls" if self._calls and reason in (None, "stop") else reason or "stop"
        out.append(Delta(finish_reason=self._finish))
        usage = self._usage()[0]
        if usage is not None:
            out.append(Delta(usage=usage))
        self._done = True
        return False

    def _usage(self) -> tuple[Usage | None, tuple[str, ...]]:
        return (None, ()) if self._raw_usage is None else normalise_noted(self._raw_usage)

    def _has_begun(self) -> bool:
        return self._begun

    def _has_ended(self) -> bool:
        return self._finish is not None

    def _end(self, complete: bool) -> StreamEnd:
        usage, notes = self._usage()
        return StreamEnd(
            complete=complete,
            finish_reason=self._finish,
            usage=usage,
            id=self._id,
            notes=(*self._notes, *notes),
        )
