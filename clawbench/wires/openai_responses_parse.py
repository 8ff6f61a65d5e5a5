"""Requests of OpenAI's Responses API, read: bytes of a body → `ChatRequest`.

`parse_body` reads what clients send and says which field is wrong; `parse_recorded` reads what was once sent to a
provider and forgives what providers forgive. Nothing that is unknown is refused: fields of this API alone, and tools
that are no functions, go to `extra["openai_responses"]`, items without a place in a chat message to the assistant's
`output_items`. Knows no provider.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import Meta, Struct

from clawbench.errors import RequestError
from clawbench.types import ChatRequest, Message
from clawbench.wires.openai_responses_items import TEXT_HERE, reasoning_details
from clawbench.wires.tolerant_json import NotJson, loads

OWN: Final = "openai_responses"
"""Key of `ChatRequest.extra` for what only this API can be told."""

LOGPROBS: Final = "message.output_text.logprobs"
ENCRYPTED: Final = "reasoning.encrypted_content"

OWN_FIELDS: Final = frozenset(
    {"include", "previous_response_id", "conversation", "background", "max_tool_calls", "truncation", "prompt"}
    | {"context_management", "client_metadata", "moderation"}
)
_Limit = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class Fields(Struct, frozen=True):
    """The fields of a body that have a place in a chat request, with types and ranges."""

    model: str | None = None
    input: str | list[dict[str, Any]] | None = None
    instructions: str | list[dict[str, Any]] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    include: list[Any] | None = None
    max_output_tokens: _Limit | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


KNOWN: Final = frozenset(Fields.__struct_fields__)
_TYPES: Final[dict[str, Any]] = get_type_hints(Fields, include_extras=True)


def parse_body(body: bytes) -> ChatRequest:
    """The request in a client's body. Raises `RequestError` (400 `bad_request`) naming the first bad field."""
    try:
        value = loads(body)[0]
    except NotJson as error:
        raise _bad(f"the body is {error}", None) from None
    if type(value) is not dict:
        raise _bad("the body must be a JSON object", None)
    try:
        fields = msgspec.convert(value, Fields)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$.")
        raise _bad(text[:1].lower() + text[1:], place.rstrip("`") or None) from None
    if not fields.model:
        raise _bad("is required", "model")
    if fields.input is None and not OWN_FIELDS & {"prompt", "previous_response_id", "conversation"} & value.keys():
        raise _bad("is required", "input")
    return _request(fields, value)


def _bad(what: str, param: str | None) -> RequestError:
    return RequestError(
        f"The request is not valid: {f'{param}: ' if param else ''}{what}.",
        status=400,
        code="bad_request",
        type="invalid_request_error",
        param=param,
    )


def parse_recorded(body: bytes, *, model: str = "") -> ChatRequest:
    """The request in a recorded body; `model` stands in where the body names none. Raises `ValueError`."""
    value = loads(body)[0]
    if type(value) is not dict:
        raise ValueError("the body is no JSON object")
    if type(value.get("input")) not in (str, list):
        raise ValueError("the body has no input")
    if type(value.get("model")) is not str:
        value = {**value, "model": model}
    try:
        fields = msgspec.convert(value, Fields)
    except msgspec.ValidationError:
        good = {key: item for key, item in value.items() if key in KNOWN and _fits(key, item)}
        if "input" not in good:
            good["input"] = [item for item in value["input"] if type(item) is dict]
        fields = msgspec.convert(good, Fields)
    return _request(fields, value)


def _fits(key: str, item: Any) -> bool:
    try:
        msgspec.convert(item, _TYPES[key])
    except msgspec.ValidationError:
        return False
    return True


def _request(fields: Fields, value: dict[str, Any]) -> ChatRequest:
    extra: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, item in value.items():
        if key not in KNOWN and item is not None:
            (own if key in OWN_FIELDS else extra)[key] = item
    include = fields.include or []
    # Sealed reasoning is asked for in every call, and logprobs have a place of their own.
    if further := [word for word in include if word not in (ENCRYPTED, LOGPROBS)]:
        own["include"] = further
    tools = _tools(fields.tools, own)
    choice = _tool_choice(fields.tool_choice, own)
    effort, response_format = None, None
    if fields.reasoning is not None:
        rest = dict(fields.reasoning)
        word = rest.pop("effort", None)
        effort = word if type(word) is str else None
        if rest:
            extra["reasoning"] = rest
    if fields.text is not None:
        rest = dict(fields.text)
        response_format = _response_format(rest.pop("format", None))
        extra.update(rest)
    if own:
        extra[OWN] = own
    top_logprobs = fields.top_logprobs
    return ChatRequest(
        model=fields.model or "",
        messages=messages_of(fields.input or [], fields.instructions),
        stream=fields.stream is True,
        include_usage=fields.stream is True,  # usage is part of the last event, asked for or not
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=fields.parallel_tool_calls,
        response_format=response_format,
        max_output_tokens=fields.max_output_tokens,
        temperature=fields.temperature,
        top_p=fields.top_p,
        logprobs=True if top_logprobs or LOGPROBS in include else None,
        top_logprobs=top_logprobs,
        reasoning_effort=effort,
        extra=extra,
    )


def _tools(stated: list[dict[str, Any]] | None, own: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Function tools in chat's shape; the others go to `own`. Not strict is the same as not said: chat's default."""
    if stated is None:
        return None
    functions, others = [], []
    for tool in stated:
        if tool.get("type") == "function" and type(tool.get("name")) is str:
            inner = {key: tool[key] for key in ("name", "description", "parameters") if tool.get(key) is not None}
            if tool.get("strict") is True:
                inner["strict"] = True
            rest = {key: item for key, item in tool.items() if key not in _FUNCTION_FIELDS}
            functions.append({"type": "function", "function": inner, **rest})
        elif tool.get("type") == "function" and type(tool.get("function")) is dict:
            functions.append(tool)  # chat's own shape, which some imitators take
        else:
            others.append(tool)
    if others:
        own["tools"] = others
    return functions or (None if others else [])


_FUNCTION_FIELDS: Final = frozenset({"type", "name", "description", "parameters", "strict"})


def _tool_choice(choice: Any, own: dict[str, Any]) -> Any:
    if type(choice) is not dict:
        return choice
    kind = choice.get("type")
    if kind == "function" and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    if kind == "allowed_tools" and type(choice.get("tools")) is list:
        tools = choice["tools"]
        if all(type(tool) is dict and tool.get("type") == "function" and "name" in tool for tool in tools):
            named = [{"type": "function", "function": {"name": tool["name"]}} for tool in tools]
            allowed = {"mode": choice.get("mode", "auto"), "tools": named}
            return {"type": "allowed_tools", "allowed_tools": allowed}
    if kind == "function":
        return choice
    own["tool_choice"] = choice
    return None


def _response_format(stated: Any) -> dict[str, Any] | None:
    if type(stated) is not dict:
        return None
    if stated.get("type") == "json_schema" and "json_schema" not in stated:
        return {"type": "json_schema", "json_schema": {key: stated[key] for key in stated if key != "type"}}
    return None if stated.get("type") == "text" else stated


def messages_of(input: str | list[dict[str, Any]], instructions: Any = None) -> list[Message]:
    """Input items as chat messages: what belongs to one turn of the assistant becomes one message."""
    reader = _Reader()
    if instructions:
        if type(instructions) is str:
            reader.messages.append({"role": "system", "content": instructions})
        else:
            reader.read(instructions)
    if type(input) is str:
        reader.messages.append({"role": "user", "content": input})
    else:
        reader.read(input)
    return reader.finish()


class _Reader:
    """Gathers messages while items come. Reasoning and unknown items wait for the message that they belong to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._details: list[dict[str, Any]] = []
        self._others: list[dict[str, Any]] = []
        self._place = 0  # within the message that is open
        self._waits_from: int | None = None  # place of the first item that waits
        self._in_turn = False

    def read(self, items: Any) -> None:
        for item in items:
            if type(item) is not dict:
                continue
            kind = item.get("type", "message")
            if kind == "reasoning":
                self._wait(self._details, *reasoning_details(item, self._place))
            elif kind == "message" and item.get("role") != "assistant":
                self._close()
                self.messages.append({"role": item.get("role", "user"), "content": _content(item.get("content"))})
                continue
            elif kind == "message":
                self._assistant(item)
            elif kind == "function_call" or kind == "custom_tool_call":
                self._call(item, custom=kind == "custom_tool_call")
            elif kind == "function_call_output" or kind == "custom_tool_call_output":
                self._close()
                output = _content(item.get("output"))
                self.messages.append({"role": "tool", "tool_call_id": item.get("call_id", ""), "content": output})
                continue
            else:
                self._wait(self._others, item)
            self._place += 1

    def finish(self) -> list[Message]:
        """All messages; call once."""
        self._close()
        return self.messages

    def _wait(self, waiting: list[dict[str, Any]], *found: dict[str, Any]) -> None:
        waiting += found
        if self._waits_from is None:
            self._waits_from = self._place

    def _close(self) -> None:
        """Ends the assistant's turn; what waits becomes a message of its own."""
        if self._in_turn:
            self._take_waiting(self.messages[-1])
        elif self._details or self._others:
            self._open_message()
        self._in_turn = False
        self._place = 0

    def _open_message(self) -> Message:
        """A new message of the assistant, with what waited; places count from its own start."""
        start = self._place if self._waits_from is None else self._waits_from
        self._place -= start
        for detail in self._details:
            detail["index"] -= start
        message: Message = {"role": "assistant", "content": None}
        self.messages.append(message)
        self._take_waiting(message)
        self._in_turn = True
        return message

    def _take_waiting(self, message: Message) -> None:
        if self._details:
            message["reasoning_details"] = [*message.get("reasoning_details", ()), *self._details]
        if self._others:
            known = message.get("output_items", [])
            if message["content"] is not None and TEXT_HERE not in known:
                known = [*known, TEXT_HERE]
            message["output_items"] = [*known, *self._others]
        self._details, self._others, self._waits_from = [], [], None

    def _assistant(self, item: dict[str, Any]) -> None:
        content, refusal = _said(item.get("content"))
        if self._in_turn and "tool_calls" in self.messages[-1]:
            message = self.messages[-1]
            before = message["content"]
            message["content"] = f"{before}\n\n{content}" if before and content else before or content
            self._take_waiting(message)
        else:
            message = self._open_message()
            message["content"] = content
        if refusal:
            message["refusal"] = refusal
        if item.get("phase"):
            message["phase"] = item["phase"]

    def _call(self, item: dict[str, Any], *, custom: bool) -> None:
        message = self.messages[-1] if self._in_turn else self._open_message()
        self._take_waiting(message)
        call: dict[str, Any] = {"id": item.get("call_id") or item.get("id") or ""}
        name = item.get("name", "")
        if custom:
            call |= {"type": "custom", "custom": {"name": name, "input": item.get("input", "")}}
        else:
            arguments = item.get("arguments", "")
            if type(arguments) is not str:
                arguments = msgspec.json.encode(arguments).decode()
            call |= {"type": "function", "function": {"name": name, "arguments": arguments}}
            more = call_extra(item)
            if more:
                message["tool_call_extra"] = {**message.get("tool_call_extra", {}), call["id"]: more}
        message.setdefault("tool_calls", []).append(call)


def call_extra(item: dict[str, Any]) -> dict[str, Any]:
    """What a function call says beyond name and arguments and must be told again (its namespace)."""
    return {key: item[key] for key in ("namespace", "caller") if item.get(key) is not None}


def _said(content: Any) -> tuple[str | None, str | None]:
    """(text, refusal) of an assistant's message; parts are joined, as the API's own `output_text` does."""
    if type(content) is not list:
        return (content if type(content) is str else None), None
    texts = [part["text"] for part in content if type(part) is dict and type(part.get("text")) is str]
    refused = [part["refusal"] for part in content if type(part) is dict and type(part.get("refusal")) is str]
    return "".join(texts) if texts else None, "".join(refused) or None


def _content(content: Any) -> Any:
    """Content of an input message or a tool's output in chat's shape."""
    if type(content) is list:
        return [_part(part) if type(part) is dict else {"type": "text", "text": str(part)} for part in content]
    return "" if content is None else content


def _part(part: dict[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text"):
        kept = {key: item for key, item in part.items() if key not in ("type", "annotations", "logprobs")}
        return {"type": "text", **kept}
    if kind == "input_image" and type(part.get("image_url")) is str:
        image = {"url": part["image_url"]}
        if part.get("detail") not in (None, "auto"):
            image["detail"] = part["detail"]
        return {"type": "image_url", "image_url": image}
    if kind == "input_file":
        return {"type": "file", "file": {key: item for key, item in part.items() if key != "type"}}
    return part
