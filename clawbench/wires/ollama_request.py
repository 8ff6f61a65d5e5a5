"""Requests of Ollama's native API, written and read: `/api/chat` both ways, `/api/generate` read only.

Arguments of tool calls are objects there, images base64 beside the text, sampling goes into `options`, and a stream is
the default that has to be switched off. What the dialect cannot say is left out with a note; what must not be lost
(images behind a URL, sound, files, several answers) refuses the request. Knows no HTTP.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.types import ChatRequest, Message
from clawbench.wires.media import data_url, image_url, split_data_url, type_of_base64
from clawbench.wires.tolerant_json import NotJson, dumps, loads
from clawbench.wires.unsaid import (
    GATEWAYS_OWN,
    arguments_object,
    is_made_up,
    leave_out,
    leave_out_reasoning,
    made_up_id,
    note,
    part_text,
    refused,
    text_in,
)

OPTIONS: Final = frozenset(
    {
        "num_ctx", "num_keep", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "low_vram", "numa",
        "top_k", "min_p", "typical_p", "tfs_z", "repeat_last_n", "repeat_penalty", "penalize_newline",
        "mirostat", "mirostat_eta", "mirostat_tau",
    }
)  # fmt: skip
"""Extra fields that go into `options` under their own names."""

_SAMPLING: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "num_predict": "max_output_tokens",
    "stop": "stop",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
_TOP: Final = frozenset(
    {
        "model", "messages", "stream", "tools", "format", "options", "think", "logprobs", "top_logprobs",
        "prompt", "system", "images",
    }
)  # fmt: skip
_LEVELS: Final = ("low", "medium", "high")


def body_of(request: ChatRequest, model: str, limit_max: int | None) -> tuple[dict[str, Any], list[str]]:
    """The body, and notes of what was left out or changed. Raises `UpstreamError` (rejected)."""
    if request.n is not None and request.n > 1:
        raise refused("several answers (n) cannot be asked for")
    notes: list[str] = []
    names: dict[str, str] = {}
    messages = [_said(message, names, notes) for message in request.messages]
    body: dict[str, Any] = {"model": model, "messages": messages, "stream": request.stream}
    tools = _tools(request, notes)
    if tools:
        body["tools"] = tools
    if request.response_format is not None:
        _add_format(body, request.response_format, notes)
    if request.reasoning_effort is not None:
        body["think"] = _think(request.reasoning_effort, model, notes)
    if request.logprobs:
        body["logprobs"] = True
        if request.top_logprobs is not None:
            body["top_logprobs"] = request.top_logprobs
    if request.parallel_tool_calls is False:
        leave_out(notes, "parallel_tool_calls")
    options = {key: value for key, name in _SAMPLING.items() if (value := getattr(request, name)) is not None}
    if limit_max is not None and options.get("num_predict", 0) > limit_max:
        options["num_predict"] = limit_max
    for key, value in request.extra.items():
        if value is None or key in GATEWAYS_OWN:
            continue
        if key == "options" and type(value) is dict:
            options = {**value, **options}
        elif key in OPTIONS:
            options[key] = value
        elif key in ("keep_alive", "truncate", "shift"):
            body[key] = value
        else:
            leave_out(notes, key)
    if options:
        body["options"] = options
    return body, notes


def _think(effort: str, model: str, notes: list[str]) -> bool | str:
    if effort == "none":
        return False
    if "gpt-oss" in model.lower():
        level = effort if effort in _LEVELS else "low" if effort == "minimal" else "high"
        if level != effort:
            note(notes, f"reasoning_effort {effort[:20]} sent as {level}")
        return level
    if effort != "medium":
        note(notes, f"reasoning_effort {effort[:20]} sent as think: true")
    return True


def _add_format(body: dict[str, Any], wanted: dict[str, Any], notes: list[str]) -> None:
    kind, held = wanted.get("type"), wanted.get("json_schema")
    if kind == "json_schema" and type(held) is dict and type(held.get("schema")) is dict:
        body["format"] = held["schema"]
    elif kind in ("json_object", "json_schema"):
        body["format"] = "json"
    elif kind != "text":
        leave_out(notes, f"response_format {str(kind)[:20]!r}")


def _tools(request: ChatRequest, notes: list[str]) -> list[dict[str, Any]]:
    """The tools that the choice lets through: Ollama has no tool choice."""
    tools = []
    for tool in request.tools or ():
        if type(tool.get("function")) is dict:
            tools.append(tool)
            if tool["function"].get("strict"):
                note(notes, "strict has no effect in this dialect")
        else:
            leave_out(notes, f"a tool of type {str(tool.get('type'))[:30]!r}")
    choice = request.tool_choice
    if choice is None or choice == "auto" or not tools:
        return tools
    if choice == "none":
        note(notes, "tool_choice none: the tools left out")
        return []
    function = choice.get("function") if type(choice) is dict else None
    name = function.get("name") if type(function) is dict else None
    if name:
        note(notes, "tool_choice: only the named tool sent, and not forced")
        return [tool for tool in tools if tool["function"].get("name") == name]
    leave_out(notes, "tool_choice")
    return tools


def _said(message: Message, names: dict[str, str], notes: list[str]) -> dict[str, Any]:
    role, content = message.get("role"), message.get("content")
    said: dict[str, Any] = {"role": {"developer": "system", "function": "tool"}.get(str(role), role)}
    if type(content) is list:
        said.update(_content(content, notes))
    else:
        said["content"] = content if type(content) is str else ""
    if role == "assistant":
        _add_assistant(said, message, names, notes)
    elif role in ("tool", "function"):
        id = text_in(message.get("tool_call_id"))
        name = text_in(message.get("name")) or names.get(id or "")
        if name:
            said["tool_name"] = name
        if not is_made_up(id):
            said["tool_call_id"] = id
    elif "name" in message:
        leave_out(notes, "name of a message")
    return said


def _content(parts: list[Any], notes: list[str]) -> dict[str, Any]:
    texts: list[str] = []
    images: list[str] = []
    for part in parts:
        if type(part) is dict and "cache_control" in part:
            leave_out(notes, "cache_control")
        text = part if type(part) is str else part_text(part)
        if text is not None:
            texts.append(text)
        elif type(part) is dict and part.get("type") == "image_url":
            held = split_data_url(image_url(part))
            if held is None:
                raise refused("images behind a URL cannot be sent to this dialect")
            images.append(held[1])
        else:
            kind = part.get("type") if type(part) is dict else type(part).__name__
            raise refused(f"parts of type {str(kind)[:40]!r} cannot be sent to this dialect")
    said: dict[str, Any] = {"content": "\n".join(texts)}
    return {**said, "images": images} if images else said


def _add_assistant(said: dict[str, Any], message: Message, names: dict[str, str], notes: list[str]) -> None:
    thinking = message.get("reasoning_content") or message.get("reasoning")
    if type(thinking) is str and thinking:
        said["thinking"] = thinking
    leave_out_reasoning(notes, message)
    said["content"] = said["content"] or text_in(message.get("refusal")) or ""
    calls = message.get("tool_calls")
    if not calls and type(message.get("function_call")) is dict:
        calls = [{"function": message["function_call"]}]
    written = []
    for call in calls if type(calls) is list else ():
        function = call.get("function") if type(call) is dict else None
        if type(function) is not dict:
            continue
        arguments = arguments_object(function.get("arguments"))
        if arguments is None:
            note(notes, "tool arguments that are no JSON object sent as text")
            arguments = {"arguments": function.get("arguments")}
        name, id = text_in(function.get("name")) or "", text_in(call.get("id"))
        if id:
            names[id] = name
        one: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
        written.append(one if is_made_up(id) else {"id": id, **one})
    if written:
        said["tool_calls"] = written


def body_value(body: bytes) -> dict[str, Any]:
    """The body's object. Raises `ValueError` for anything else."""
    try:
        value = loads(body)[0]
    except NotJson as error:
        raise ValueError(str(error)) from None
    if type(value) is not dict:
        raise ValueError("the body is no JSON object")
    return value


def request_of(value: dict[str, Any]) -> ChatRequest:
    """The request in a body of `/api/chat`. Raises `ValueError` for a body without messages."""
    messages = value.get("messages")
    if type(messages) is not list or not messages or not all(type(message) is dict for message in messages):
        raise ValueError("the body has no list of messages")
    return _request(value, _Turns().messages(messages))


def generate_request_of(value: dict[str, Any]) -> ChatRequest:
    """The request in a body of `/api/generate`: one prompt. Raises `ValueError` where there is none."""
    prompt, system = value.get("prompt"), value.get("system")
    if type(prompt) is not str:
        raise ValueError("the body has no prompt")
    messages: list[Message] = [{"role": "system", "content": system}] if system and type(system) is str else []
    messages.append({"role": "user", "content": _with_images(prompt, value.get("images"))})
    return _request(value, messages)


def _request(value: dict[str, Any], messages: list[Message]) -> ChatRequest:
    options = value.get("options")
    options = dict(options) if type(options) is dict else {}
    extra = {key: item for key, item in value.items() if key not in _TOP and item not in (None, "", False)}
    fields: dict[str, Any] = {}
    for key, name in _SAMPLING.items():
        item = options.get(key)
        if item is not None and _fits(name, item):
            del options[key]
            fields[name] = [item] if name == "stop" and type(item) is str else item
    extra.update((key, item) for key, item in options.items() if key in OPTIONS)
    rest = {key: item for key, item in options.items() if key not in OPTIONS and item is not None}
    if rest:
        extra["options"] = rest
    tools = value.get("tools")
    model, top, logprobs = value.get("model"), value.get("top_logprobs"), value.get("logprobs")
    return ChatRequest(
        model=model if type(model) is str and model else "unnamed",
        messages=messages,
        stream=value.get("stream") is not False,  # a stream is what Ollama gives unasked
        tools=[tool for tool in tools if type(tool) is dict] or None if type(tools) is list else None,
        response_format=_format(value.get("format")),
        reasoning_effort=_effort(value.get("think")),
        logprobs=logprobs if type(logprobs) is bool else None,
        top_logprobs=top if type(top) is int else None,
        extra=extra,
        **fields,
    )


def _fits(name: str, item: Any) -> bool:
    if name == "stop":
        return type(item) is str or (type(item) is list and all(type(each) is str for each in item))
    if name in ("max_output_tokens", "seed"):
        return type(item) is int and (name == "seed" or item >= 0)
    return type(item) in (int, float)


def _format(stated: Any) -> dict[str, Any] | None:
    if type(stated) is dict:
        return {"type": "json_schema", "json_schema": {"name": "response", "schema": stated}}
    return {"type": "json_object"} if stated == "json" else None


def _effort(think: Any) -> str | None:
    if type(think) is bool:
        return "medium" if think else "none"
    return think if type(think) is str and think in _LEVELS else None


def _with_images(text: str, images: Any) -> Any:
    held = [image for image in images if type(image) is str] if type(images) is list else []
    if not held:
        return text
    urls = [
        image if image.startswith("data:") else data_url(type_of_base64(image) or "image/png", image) for image in held
    ]
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"type": "text", "text": text}, *parts] if text else parts


class _Turns:
    """Reads messages in order, and ties results to calls, which need not have ids."""

    def __init__(self) -> None:
        self._calls = 0
        self._open: list[tuple[str, str]] = []  # (name, id) of calls without a result

    def messages(self, stated: list[dict[str, Any]]) -> list[Message]:
        return [self._message(message) for message in stated]

    def _message(self, stated: dict[str, Any]) -> Message:
        role, content = stated.get("role"), stated.get("content")
        text = content if type(content) is str else ""
        message: Message = {"role": role, "content": _with_images(text, stated.get("images"))}
        if role == "assistant":
            thinking = stated.get("thinking")
            if type(thinking) is str and thinking:
                message["reasoning_content"] = thinking
            calls = stated.get("tool_calls")
            read = [self._call(call) for call in calls if type(call) is dict] if type(calls) is list else []
            if read:
                message = {**message, "content": message["content"] or None, "tool_calls": read}
        elif role == "tool":
            message["tool_call_id"] = self._answered(stated)
        return message

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        id, name, arguments = call_parts(call)
        id = id or made_up_id(self._calls, None)
        self._calls += 1
        self._open.append((name, id))
        return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}

    def _answered(self, stated: dict[str, Any]) -> str:
        id, name = stated.get("tool_call_id"), stated.get("tool_name") or stated.get("name")
        if type(id) is not str or not id:
            id = next((each for called, each in self._open if called == name), None)
            id = id or (self._open[0][1] if self._open else made_up_id(self._calls, None))
        self._open = [(called, each) for called, each in self._open if each != id]
        return id


def call_parts(call: dict[str, Any]) -> tuple[str, str, str]:
    """(id or "", name, arguments as JSON text) of a tool call in a request or an answer."""
    function = call.get("function")
    function = function if type(function) is dict else {}
    id, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
    text = arguments if type(arguments) is str else dumps({} if arguments is None else arguments).decode()
    return id if type(id) is str else "", name if type(name) is str else "", text
