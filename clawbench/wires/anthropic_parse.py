"""Requests read the way Anthropic's messages API means them: a recorded body in, a `ChatRequest` out.

The other direction of `anthropic_request.py`. Fields without a place in OpenAI's terms stay in `extra` under their own
names; blocks without one stay in their messages as they are. Knows no HTTP.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.types import ChatRequest, Message
from clawbench.wires.anthropic_content import part_of, read_blocks
from clawbench.wires.anthropic_models import effort_of
from clawbench.wires.anthropic_request import BETAS
from clawbench.wires.tolerant_json import NotJson, loads

SCHEMA_NAME: Final = "output"
"""Name of a JSON schema: OpenAI's response_format needs one, Anthropic's has none."""

_PLACED: Final = frozenset(
    {
        "anthropic_version",
        BETAS,
        "max_tokens",
        "messages",
        "model",
        "output_config",
        "output_format",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_p",
    }
)
_TOOL_PLACED: Final = frozenset({"type", "name", "description", "input_schema", "strict"})


def body_value(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body, as far as it can be a chat request. Raises `ValueError` saying why not."""
    try:
        value = loads(body)[0]
    except NotJson as error:
        raise ValueError(f"the body is {error}") from None
    if type(value) is not dict or type(value.get("messages")) is not list:
        raise ValueError("the body holds no list of messages")
    return value


def request_of(value: dict[str, Any], *, model: str, stream: bool, betas: str = "") -> ChatRequest:
    """The request in a body. `betas` is the header's list, joined by commas. Raises `ValueError` for what is none."""
    extra: dict[str, Any] = {name: item for name, item in value.items() if name not in _PLACED and item is not None}
    metadata = extra.get("metadata")
    if type(metadata) is dict and set(metadata) == {"user_id"} and type(metadata["user_id"]) is str:
        del extra["metadata"]
        extra["user"] = metadata["user_id"]
    stated = value.get(BETAS)
    named = [str(name) for name in stated] if type(stated) is list else []
    named += [name.strip() for name in betas.split(",") if name.strip() and name.strip() not in named]
    if named:
        extra[BETAS] = named
    config, form = _output(value)
    effort, thinking, left = effort_of(value.get("thinking"), config.pop("effort", None))
    if left is not None:
        config["effort"] = left
    for name, item in (("thinking", thinking), ("output_config", config)):
        if item:
            extra[name] = item
    choice, parallel = _choice(value.get("tool_choice"))
    tools = value.get("tools")
    limit, stop = value.get("max_tokens"), value.get("stop_sequences")
    return ChatRequest(
        model=model,
        messages=_messages(value),
        stream=stream,
        tools=[_tool(tool) for tool in tools] if type(tools) is list and tools else None,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_format=form,
        max_output_tokens=limit if type(limit) is int else None,
        temperature=_number(value.get("temperature")),
        top_p=_number(value.get("top_p")),
        stop=[str(sequence) for sequence in stop] if type(stop) is list and stop else None,
        reasoning_effort=effort,
        extra=extra,
    )


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) else None


def _output(value: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """(rest of output_config, response_format); the older API called its format `output_format`."""
    stated = value.get("output_config")
    config: dict[str, Any] = dict(stated) if type(stated) is dict else {}
    form = config.pop("format", None) or value.get("output_format")
    if type(form) is not dict or type(form.get("schema")) is not dict:
        return config, None
    schema = {"name": SCHEMA_NAME, "schema": form["schema"], "strict": True}
    return config, {"type": "json_schema", "json_schema": schema}


def _choice(stated: Any) -> tuple[Any, bool | None]:
    """(tool_choice, parallel_tool_calls)."""
    if type(stated) is not dict:
        return None, None
    kind = stated.get("type")
    single = stated.get("disable_parallel_tool_use")
    choice: Any = {"any": "required", "none": "none", "auto": "auto"}.get(str(kind))
    if kind == "tool":
        choice = {"type": "function", "function": {"name": str(stated.get("name") or "")}}
    return choice, None if type(single) is not bool else not single


def _tool(tool: Any) -> dict[str, Any]:
    if type(tool) is not dict:
        raise ValueError("a tool is no object")
    if tool.get("type") not in (None, "custom", "function") or "name" not in tool:
        return tool
    function: dict[str, Any] = {"name": tool["name"]}
    if tool.get("description"):
        function["description"] = tool["description"]
    if "input_schema" in tool:
        function["parameters"] = tool["input_schema"]
    if tool.get("strict"):
        function["strict"] = True
    more = {key: item for key, item in tool.items() if key not in _TOOL_PLACED and item is not None}
    return {"type": "function", "function": function, **more}


def _messages(value: dict[str, Any]) -> list[Message]:
    messages: list[Message] = []
    system = value.get("system")
    if system:
        messages.append({"role": "system", "content": _content(system)})
    for turn in value["messages"]:
        if type(turn) is not dict:
            raise ValueError("a message is no object")
        role, content = turn.get("role"), turn.get("content")
        if role == "assistant":
            messages.append(_assistant(content))
        elif role == "user" and type(content) is list:
            _add_user(messages, content)
        elif role in ("user", "system"):
            messages.append({"role": role, "content": _content(content)})
        else:
            raise ValueError(f"a message has role {str(role)[:40]!r}")
    return messages


def _content(content: Any) -> Any:
    if type(content) is list:
        return [part_of(block) for block in content]
    return "" if content is None else str(content)


def _assistant(content: Any) -> Message:
    if type(content) is not list:
        return {"role": "assistant", "content": "" if content is None else str(content)}
    if any("cache_control" in block for block in content if type(block) is dict):
        return _marked_assistant(content)
    blocks = read_blocks(content)
    message: Message = {"role": "assistant", "content": blocks.text}
    if blocks.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in blocks.calls
        ]
    extra = blocks.extra()
    for name in ("annotations", "citations"):
        extra.pop(name, None)  # those of a prompt stand in the blocks themselves
    return {**message, **extra}


def _marked_assistant(content: list[Any]) -> Message:
    """A turn with a cache mark: on the last block it is the message's own, anywhere else it stays with its text."""
    *before, last = content
    plain = {key: item for key, item in last.items() if key != "cache_control"} if type(last) is dict else last
    message = _assistant([*before, plain]) if not _marked(before) else _assistant_of_parts(content)
    if not _marked(before):
        message["cache_control"] = last["cache_control"]
    return message


def _marked(blocks: list[Any]) -> bool:
    return any("cache_control" in block for block in blocks if type(block) is dict)


def _assistant_of_parts(content: list[Any]) -> Message:
    bare = [
        {key: item for key, item in block.items() if key != "cache_control"} if type(block) is dict else block
        for block in content
    ]
    message = _assistant(bare)
    texts = [block for block in content if type(block) is dict and block.get("type") == "text"]
    return {**message, "content": texts} if texts else message


def _add_user(messages: list[Message], content: list[Any]) -> None:
    """Tool results become messages of their own, before the rest of the turn: so they stand in OpenAI's order."""
    rest = []
    for block in content:
        if type(block) is not dict or block.get("type") != "tool_result":
            rest.append(part_of(block))
            continue
        result = block.get("content")
        message: Message = {
            "role": "tool",
            "tool_call_id": str(block.get("tool_use_id") or ""),
            "content": _content(result),
        }
        if block.get("is_error"):
            message["is_error"] = True
        if block.get("cache_control"):
            message["cache_control"] = block["cache_control"]
        messages.append(message)
    if rest or not content:
        messages.append({"role": "user", "content": rest})
