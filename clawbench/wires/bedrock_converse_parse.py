"""Requests read the way Bedrock's Converse means them: a recorded body in, a `ChatRequest` out.

The other direction of `bedrock_converse_request.py`; also reads Nova's own body, which is Converse's but for the name
of the output limit. Fields without a place in OpenAI's terms stay in `extra` under their own names. Knows no HTTP.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.types import ChatRequest, Message
from clawbench.wires.anthropic_models import effort_of
from clawbench.wires.bedrock_converse_content import mark_of, parts_of, read_blocks
from clawbench.wires.tolerant_json import NotJson, dumps, loads

SCHEMA_NAME: Final = "output"

_PLACED: Final = frozenset(
    {
        "additionalModelRequestFields",
        "inferenceConfig",
        "messages",
        "modelId",
        "outputConfig",
        "schemaVersion",
        "system",
        "toolConfig",
    }
)
_CONFIG_PLACED: Final = frozenset(
    {"maxTokens", "max_new_tokens", "maxNewTokens", "temperature", "topP", "top_p", "stopSequences"}
)


def body_value(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body, as far as it can be a chat request. Raises `ValueError` saying why not."""
    try:
        value = loads(body)[0]
    except NotJson as error:
        raise ValueError(f"the body is {error}") from None
    if type(value) is not dict or type(value.get("messages")) is not list:
        raise ValueError("the body holds no list of messages")
    return value


def request_of(value: dict[str, Any], *, model: str, stream: bool) -> ChatRequest:
    """The request in a body. Raises `ValueError` for what is none."""
    config = _object(value.get("inferenceConfig"))
    extra: dict[str, Any] = {name: item for name, item in value.items() if name not in _PLACED and item is not None}
    extra.update((name, item) for name, item in config.items() if name not in _CONFIG_PLACED)
    effort = _effort(value.get("additionalModelRequestFields"), extra)
    form = _format(value.get("outputConfig"), extra)
    tools, choice = _tools(value.get("toolConfig"))
    limit = next((config[name] for name in ("maxTokens", "max_new_tokens", "maxNewTokens") if name in config), None)
    stop = config.get("stopSequences")
    return ChatRequest(
        model=model,
        messages=_messages(value),
        stream=stream,
        tools=tools,
        tool_choice=choice,
        response_format=form,
        max_output_tokens=limit if type(limit) is int else None,
        temperature=_number(config.get("temperature")),
        top_p=_number(config.get("topP", config.get("top_p"))),
        stop=[str(sequence) for sequence in stop] if type(stop) is list and stop else None,
        reasoning_effort=effort,
        extra=extra,
    )


def _object(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else {}


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) else None


def _effort(stated: Any, extra: dict[str, Any]) -> str | None:
    """The reasoning effort in the fields of a model family; what it does not say stays in `extra`."""
    more = dict(_object(stated))
    output = dict(_object(more.pop("output_config", None)))
    effort, thinking, left = effort_of(more.pop("thinking", None), output.pop("effort", None))
    if left is not None:
        output["effort"] = left
    for name, item in (("thinking", thinking), ("output_config", output)):
        if item:
            more[name] = item
    nova = more.get("reasoningConfig")
    if effort is None and type(nova) is dict and nova.get("type") == "enabled" and len(nova) == 2:
        effort = nova.get("maxReasoningEffort")
        del more["reasoningConfig"]
    if effort is None and type(more.get("reasoning_effort")) is str:
        effort = more.pop("reasoning_effort")
    if more:
        extra["additionalModelRequestFields"] = more
    return effort if type(effort) is str else None


def _format(stated: Any, extra: dict[str, Any]) -> dict[str, Any] | None:
    config = dict(_object(stated))
    form = _object(config.get("textFormat"))
    held = _object(_object(form.get("structure")).get("jsonSchema"))
    schema = held.get("schema")
    try:
        schema = loads(schema.encode())[0] if type(schema) is str else schema
    except (NotJson, UnicodeEncodeError):
        schema = None
    if type(schema) is not dict:
        if config:
            extra["outputConfig"] = config
        return None
    del config["textFormat"]
    if config:
        extra["outputConfig"] = config
    described = {"description": held["description"]} if held.get("description") else {}
    made = {"name": str(held.get("name") or SCHEMA_NAME), **described, "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": made}


def _tools(stated: Any) -> tuple[list[dict[str, Any]] | None, Any]:
    """(tools, tool_choice)."""
    config = _object(stated)
    listed = config.get("tools")
    tools: list[dict[str, Any]] = []
    for each in listed if type(listed) is list else ():
        if type(each) is not dict:
            raise ValueError("a tool is no object")
        if "cachePoint" in each:
            if tools:
                tools[-1] = {**tools[-1], "cache_control": mark_of(each["cachePoint"])}
        else:
            tools.append(_tool(each))
    asked = _object(config.get("toolChoice"))
    choice: Any = "required" if "any" in asked else "auto" if "auto" in asked else None
    if "tool" in asked:
        choice = {"type": "function", "function": {"name": str(_object(asked["tool"]).get("name") or "")}}
    return tools or None, choice


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    spec = tool.get("toolSpec")
    if type(spec) is not dict:
        return tool
    function: dict[str, Any] = {"name": spec.get("name") or ""}
    if spec.get("description"):
        function["description"] = spec["description"]
    schema = _object(spec.get("inputSchema")).get("json")
    if schema is not None:
        function["parameters"] = schema
    if spec.get("strict"):
        function["strict"] = True
    return {"type": "function", "function": function}


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
    """A string where there is one plain text: so OpenAI's clients write it."""
    if type(content) is not list:
        return "" if content is None else str(content)
    parts = parts_of(content)
    if len(parts) == 1 and parts[0].keys() == {"type", "text"} and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts


def _assistant(content: Any) -> Message:
    if type(content) is not list:
        return {"role": "assistant", "content": "" if content is None else str(content)}
    points = [block for block in content if type(block) is dict and "cachePoint" in block]
    blocks = read_blocks([block for block in content if block not in points])
    message: Message = {"role": "assistant", "content": blocks.text}
    if blocks.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in blocks.calls
        ]
    extra = blocks.extra()
    for name in ("annotations", "citations"):
        extra.pop(name, None)  # those of a prompt stand in the blocks themselves
    if points:
        extra["cache_control"] = mark_of(points[-1]["cachePoint"])
    return {**message, **extra}


def _add_user(messages: list[Message], content: list[Any]) -> None:
    """Tool results become messages of their own, before the rest of the turn: so they stand in OpenAI's order."""
    rest: list[Any] = []
    last: Message | None = None
    for block in content:
        held = block.get("toolResult") if type(block) is dict else None
        if type(held) is dict:
            last = {
                "role": "tool",
                "tool_call_id": str(held.get("toolUseId") or ""),
                "content": _result(held.get("content")),
            }
            if held.get("status") == "error":
                last["is_error"] = True
            messages.append(last)
        elif type(block) is dict and "cachePoint" in block and last is not None and not rest:
            last["cache_control"] = mark_of(block["cachePoint"])
        else:
            rest.append(block)
    if rest or not content:
        messages.append({"role": "user", "content": _content(rest)})


def _result(content: Any) -> Any:
    if type(content) is not list:
        return "" if content is None else str(content)
    told = [
        {"text": dumps(block["json"]).decode()} if type(block) is dict and "json" in block else block
        for block in content
    ]
    return _content(told) if told else ""
