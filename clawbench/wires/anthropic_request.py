"""Requests written the way Anthropic's messages API wants them: a `ChatRequest` in, the body out.

The model's name and the stream flag are left to the wire (Bedrock puts them into the URL). What the dialect cannot say
is left out with a note; what must not be lost (several answers, log probabilities, audio) refuses the request, so that
another offer gets it. Knows no HTTP.
"""

from __future__ import annotations

import re
from typing import Any, Final

from clawbench.types import ChatRequest, Message
from clawbench.wires.anthropic_content import assistant_blocks, block_of
from clawbench.wires.anthropic_models import Traits, closed, sampling_of, thinking_of, traits_of
from clawbench.wires.unsaid import GATEWAYS_OWN, leave_out, note, refused

OUTPUT_LIMIT_DEFAULT: Final = 4096
BETAS: Final = "anthropic_beta"
"""Extra field that holds the names of beta features; the API wants them in a header, Bedrock in the body."""

NATIVE_FIELDS: Final = frozenset(
    {
        "cache_control",
        "container",
        "context_management",
        "diagnostics",
        "inference_geo",
        "mcp_servers",
        "metadata",
        "output_config",
        "service_tier",
        "speed",
        "thinking",
        "top_k",
        "user_profile_id",
    }
)
"""Extra fields that mean the same here under their own names."""

_LEFT_OUT: Final = ("frequency_penalty", "presence_penalty", "seed")
_SERVER_TOOL: Final = re.compile(r"_20\d{6}$")  # web_search_20250305: the API's own tools carry a date


def body_of(request: ChatRequest, model: str, limit_max: int | None) -> tuple[dict[str, Any], list[str]]:
    """The body without `model` and `stream`, and notes of what was left out or changed.

    `limit_max` is the most output tokens that the offer gives. Raises `UpstreamError` (rejected) for a request that
    cannot be said.
    """
    notes: list[str] = []
    traits = traits_of(model)
    if request.n is not None and request.n > 1:
        raise refused("several answers (n) cannot be asked for")
    if request.logprobs:
        raise refused("log probabilities cannot be asked for")
    body: dict[str, Any] = {"max_tokens": _limit(request, limit_max, notes)}
    _add_messages(body, request.messages, traits, notes)
    if request.tools:
        _add_tools(body, request, traits, notes)
    if request.stop:
        _add_stop(body, request.stop, notes)
    if request.extra:
        _add_extra(body, request.extra, notes)
    if request.response_format is not None:
        _add_format(body, request.response_format, traits, notes)
    if request.reasoning_effort is not None and "thinking" not in body:
        _add_thinking(body, request, traits, limit_max, notes)
    if request.temperature is not None or request.top_p is not None:
        config = body.get("thinking")
        thinks = type(config) is dict and config.get("type") != "disabled"
        heat, mass = sampling_of(request.temperature, request.top_p, traits, thinks, notes)
        if heat is not None:
            body["temperature"] = heat
        if mass is not None:
            body["top_p"] = mass
    for name in _LEFT_OUT:
        if getattr(request, name) is not None:
            leave_out(notes, name)
    return body, notes


def _limit(request: ChatRequest, limit_max: int | None, notes: list[str]) -> int:
    asked = request.max_output_tokens
    if asked is None:
        limit = OUTPUT_LIMIT_DEFAULT if limit_max is None else limit_max
        notes.append(f"max_tokens set to {limit}: the dialect needs one")
        return limit
    if limit_max is not None and asked > limit_max:
        notes.append(f"max_tokens lowered to {limit_max}")
        return limit_max
    return asked


def _add_messages(body: dict[str, Any], messages: list[Message], traits: Traits, notes: list[str]) -> None:
    system: list[Any] = []
    turns: list[dict[str, Any]] = []
    results: list[Any] | None = None  # tool results of the turn that is being gathered
    for message in messages:
        role = message.get("role")
        if role == "tool" or role == "function":
            if results is None:
                results = []
                turns.append({"role": "user", "content": results})
            results.append(_result(message))
            continue
        results = None
        if role == "user":
            turns.append({"role": "user", "content": _content(message)})
        elif role == "assistant":
            _add_assistant(turns, message, notes)
        elif role == "system" or role == "developer":
            if turns and traits.inner_system:
                turns.append({"role": "system", "content": _content(message)})
            else:
                if turns:
                    note(notes, "system message moved to the front")
                system.append(_content(message))
        else:
            raise refused(f"messages of role {str(role)[:40]!r} cannot be sent to this dialect")
    if len(system) == 1:
        body["system"] = system[0]
    elif system:
        body["system"] = [block for each in system for block in _as_blocks(each)]
    body["messages"] = turns


def _content(message: Message) -> Any:
    content = message.get("content")
    mark = message.get("cache_control")
    if type(content) is list:
        blocks = [block_of(part) for part in content]
    elif mark is None:
        return "" if content is None else content
    else:
        blocks = _as_blocks(content or "")
    if mark is not None and blocks:
        blocks[-1] = {**blocks[-1], "cache_control": mark}
    return blocks


def _as_blocks(content: Any) -> list[Any]:
    return content if type(content) is list else [{"type": "text", "text": content}]


def _add_assistant(turns: list[dict[str, Any]], message: Message, notes: list[str]) -> None:
    content = message.get("content")
    if type(content) is str and content and message.keys() <= {"role", "content", "name", "refusal"}:
        turns.append({"role": "assistant", "content": content})
        return
    legacy = message.get("function_call")
    if type(legacy) is dict:
        name = str(legacy.get("name") or "")
        call = {"id": f"call_{name}", "function": legacy}
        message = {**message, "tool_calls": [call]}
    blocks = assistant_blocks(message, notes)
    if blocks:
        turns.append({"role": "assistant", "content": blocks})
    else:
        note(notes, "empty assistant message left out")


def _result(message: Message) -> dict[str, Any]:
    content = message.get("content")
    if type(content) is list:
        content = [block_of(part) for part in content]
    id = message.get("tool_call_id") or f"call_{message.get('name') or 0}"
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": id, "content": "" if content is None else content}
    if message.get("is_error"):
        result["is_error"] = True
    if "cache_control" in message:
        result["cache_control"] = message["cache_control"]
    return result


def _add_tools(body: dict[str, Any], request: ChatRequest, traits: Traits, notes: list[str]) -> None:
    tools = [tool for tool in (_tool(each, traits, notes) for each in request.tools or ()) if tool is not None]
    if not tools:
        return
    body["tools"] = tools
    asked, single = request.tool_choice, request.parallel_tool_calls is False
    choice: dict[str, Any] | None = None
    if asked == "required":
        choice = {"type": "any"}
    elif asked == "none":
        choice, single = {"type": "none"}, False
    elif asked == "auto":
        choice = {"type": "auto"}
    elif type(asked) is dict:
        choice = _named_choice(asked, notes)
    if choice is not None and choice["type"] in ("any", "tool") and not traits.forced_tools:
        raise refused("this model cannot be made to call a tool")
    if single:
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice is not None:
        body["tool_choice"] = choice


def _named_choice(asked: dict[str, Any], notes: list[str]) -> dict[str, Any] | None:
    function = asked.get("function")
    name = function.get("name") if type(function) is dict else asked.get("name")
    if type(name) is str and name:
        return {"type": "tool", "name": name}
    note(notes, "tool_choice left out: it names no tool")
    return None


def _tool(tool: Any, traits: Traits, notes: list[str]) -> dict[str, Any] | None:
    if type(tool) is not dict:
        raise refused("a tool is no object")
    function = tool.get("function")
    if type(function) is not dict:
        if "input_schema" in tool or _SERVER_TOOL.search(str(tool.get("type"))):
            return tool
        note(notes, f"tool of type {str(tool.get('type'))[:40]!r} left out")
        return None
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    made = {"name": function.get("name") or "", "input_schema": schema}
    if function.get("description"):
        made["description"] = function["description"]
    if function.get("strict"):
        if traits.json_schema:
            made["strict"] = True
        else:
            note(notes, "strict left out of tools: this model does not know it")
    if len(tool) > 2:
        made.update((key, item) for key, item in tool.items() if key not in ("type", "function"))
    return made


def _add_stop(body: dict[str, Any], stop: list[str], notes: list[str]) -> None:
    sequences = [sequence for sequence in stop if sequence.strip()]
    if len(sequences) < len(stop):
        notes.append("stop sequences of white space left out")
    if sequences:
        body["stop_sequences"] = sequences


def _add_extra(body: dict[str, Any], extra: dict[str, Any], notes: list[str]) -> None:
    for name, item in extra.items():
        if name == "user":
            if type(item) is str and "metadata" not in extra:
                body["metadata"] = {"user_id": item}
        elif name == BETAS or name in GATEWAYS_OWN:
            continue
        elif name not in NATIVE_FIELDS or not _is_native(name, item):
            leave_out(notes, name)
        elif item is not None:
            body[name] = item


def _is_native(name: str, item: Any) -> bool:
    """Whether a field that OpenAI has too is meant as Anthropic's."""
    if name == "service_tier":
        return item in ("auto", "standard_only")
    if name == "metadata":
        return type(item) is dict and set(item) == {"user_id"}
    return True


def _add_format(body: dict[str, Any], wanted: dict[str, Any], traits: Traits, notes: list[str]) -> None:
    kind = wanted.get("type")
    if kind == "json_object":
        notes.append("response_format json_object left out: the dialect knows schemas only")
    elif kind == "json_schema":
        stated = wanted.get("json_schema")
        schema = stated.get("schema") if type(stated) is dict else None
        if type(schema) is not dict:
            raise refused("response_format holds no JSON schema")
        if not traits.json_schema:
            raise refused("this model cannot be held to a JSON schema")
        config = body.get("output_config")
        output = {"type": "json_schema", "schema": closed(schema)}
        if output["schema"] != schema:
            notes.append("objects of the schema closed: additionalProperties set to false")
        body["output_config"] = {**(config if type(config) is dict else {}), "format": output}


def _add_thinking(
    body: dict[str, Any], request: ChatRequest, traits: Traits, limit_max: int | None, notes: list[str]
) -> None:
    free = request.max_output_tokens is None and limit_max is None
    thinking = thinking_of(request.reasoning_effort or "", traits, None if free else body["max_tokens"])
    config = thinking.config
    if thinking.note is not None:
        notes.append(thinking.note)
    forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
    if config is not None and config["type"] != "disabled" and forced:
        notes.append("thinking left out: it does not go with a forced tool")
        config = None
    if config is not None:
        body["thinking"] = config
        if free and "budget_tokens" in config:
            body["max_tokens"] = config["budget_tokens"] + OUTPUT_LIMIT_DEFAULT
            notes.append(f"max_tokens raised to {body['max_tokens']}: it includes the thinking")
    if thinking.effort is not None:
        stated = body.get("output_config")
        body["output_config"] = {**(stated if type(stated) is dict else {}), "effort": thinking.effort}
