"""Requests written the way Bedrock's Converse wants them: a `ChatRequest` in, the body out.

Turns alternate, so neighbours of one role are merged. What only a model family knows (thinking, top_k) goes into
`additionalModelRequestFields`. What the dialect cannot say is left out with a note; what must not be lost refuses the
request. The model stands in the URL and is the wire's matter.
"""

from __future__ import annotations

import re
from typing import Any, Final

from clawbench.types import ChatRequest, Message
from clawbench.wires.anthropic_models import Traits, closed, sampling_of, thinking_of, traits_of
from clawbench.wires.bedrock_converse_content import assistant_blocks, blocks_of, cache_point
from clawbench.wires.tolerant_json import dumps
from clawbench.wires.unsaid import GATEWAYS_OWN, leave_out, note, refused

OUTPUT_LIMIT_DEFAULT: Final = 4096

NATIVE_FIELDS: Final = frozenset(
    {
        "additionalModelRequestFields",
        "additionalModelResponseFieldPaths",
        "guardrailConfig",
        "outputConfig",
        "performanceConfig",
        "promptVariables",
        "requestMetadata",
        "serviceTier",
    }
)
"""Extra fields that mean the same here under their own names."""

_OF_CLAUDE: Final = frozenset({"thinking", "top_k", "anthropic_beta"})
_LEFT_OUT: Final = ("frequency_penalty", "presence_penalty", "seed")
_CLAUDE: Final = re.compile(r"claude", re.IGNORECASE)
_NOVA_2: Final = re.compile(r"nova-2", re.IGNORECASE)
_GPT: Final = re.compile(r"gpt-oss", re.IGNORECASE)


def body_of(request: ChatRequest, model: str, limit_max: int | None) -> tuple[dict[str, Any], list[str]]:
    """The body, and notes of what was left out or changed; `limit_max` is the most output tokens that the offer gives.

    Raises `UpstreamError` (rejected) for a request that cannot be said.
    """
    notes: list[str] = []
    claude = _CLAUDE.search(model) is not None
    traits = traits_of(model) if claude else Traits(json_schema=True)
    if request.n is not None and request.n > 1:
        raise refused("several answers (n) cannot be asked for")
    if request.logprobs:
        raise refused("log probabilities cannot be asked for")
    body: dict[str, Any] = {}
    _add_messages(body, request.messages, traits, notes)
    if request.tools:
        _add_tools(body, request, traits, notes)
    more: dict[str, Any] = {}  # additionalModelRequestFields
    if request.extra:
        _add_extra(body, more, request.extra, claude, notes)
    if request.response_format is not None:
        _add_format(body, request.response_format, traits, notes)
    config = _limits(request, limit_max, notes)
    if request.reasoning_effort is not None and "thinking" not in more:
        _add_effort(body, more, config, request.reasoning_effort, model, traits, notes)
    if request.temperature is not None or request.top_p is not None:
        thinking = more.get("thinking")
        thinks = type(thinking) is dict and thinking.get("type") != "disabled"
        heat, mass = sampling_of(request.temperature, request.top_p, traits, thinks, notes)
        if heat is not None:
            config["temperature"] = heat
        if mass is not None:
            config["topP"] = mass
    if config:
        body["inferenceConfig"] = config
    if more:
        body["additionalModelRequestFields"] = more
    for name in _LEFT_OUT:
        if getattr(request, name) is not None:
            leave_out(notes, name)
    return body, notes


def _limits(request: ChatRequest, limit_max: int | None, notes: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    asked = request.max_output_tokens
    if asked is not None:
        if limit_max is not None and asked > limit_max:
            notes.append(f"maxTokens lowered to {limit_max}")
            asked = limit_max
        config["maxTokens"] = asked
    if request.stop:
        config["stopSequences"] = request.stop
    return config


def _add_messages(body: dict[str, Any], messages: list[Message], traits: Traits, notes: list[str]) -> None:
    system: list[Any] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = message.get("role")
        if role == "user":
            _add(turns, "user", _content(message))
        elif role == "assistant":
            blocks = assistant_blocks(message, notes)
            if blocks:
                _add(turns, "assistant", blocks)
            else:
                note(notes, "empty assistant message left out")
        elif role == "tool" or role == "function":
            _add(turns, "user", _result(message))
        elif role == "system" or role == "developer":
            if turns and traits.inner_system:
                _add(turns, "system", _content(message))
            else:
                if turns:
                    note(notes, "system message moved to the front")
                system += _content(message)
        else:
            raise refused(f"messages of role {str(role)[:40]!r} cannot be sent to this dialect")
    if system:
        body["system"] = system
    body["messages"] = turns


def _add(turns: list[dict[str, Any]], role: str, blocks: list[Any]) -> None:
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] = [*turns[-1]["content"], *blocks]
    else:
        turns.append({"role": role, "content": blocks})


def _content(message: Message) -> list[Any]:
    content, mark = message.get("content"), message.get("cache_control")
    if type(content) is list:
        blocks = [block for part in content for block in blocks_of(part)]
    else:
        blocks = [{"text": content or ""}]
    return blocks if mark is None else [*blocks, cache_point(mark)]


def _result(message: Message) -> list[Any]:
    mark = message.get("cache_control")
    inner = _content({"content": message.get("content")})
    id = message.get("tool_call_id") or f"call_{message.get('name') or 0}"
    result: dict[str, Any] = {"toolUseId": id, "content": inner}
    if message.get("is_error"):
        result["status"] = "error"
    block = {"toolResult": result}
    return [block] if mark is None else [block, cache_point(mark)]


def _add_tools(body: dict[str, Any], request: ChatRequest, traits: Traits, notes: list[str]) -> None:
    used = any("toolUse" in block or "toolResult" in block for turn in body["messages"] for block in turn["content"])
    if request.tool_choice == "none":
        if not used:
            return  # no tool can be called that is not shown
        note(notes, "tool_choice none left out: earlier turns need their tools shown")
    tools = [each for tool in request.tools or () for each in _tool(tool, traits, notes)]
    if not tools:
        return
    config: dict[str, Any] = {"tools": tools}
    choice = _choice(request.tool_choice, notes)
    if choice is not None:
        if "auto" not in choice and not traits.forced_tools:
            raise refused("this model cannot be made to call a tool")
        config["toolChoice"] = choice
    if request.parallel_tool_calls is False:
        leave_out(notes, "parallel_tool_calls")
    body["toolConfig"] = config


def _choice(asked: Any, notes: list[str]) -> dict[str, Any] | None:
    if asked == "required":
        return {"any": {}}
    if asked == "auto":
        return {"auto": {}}
    if type(asked) is dict:
        function = asked.get("function")
        name = function.get("name") if type(function) is dict else asked.get("name")
        if type(name) is str and name:
            return {"tool": {"name": name}}
        note(notes, "tool_choice left out: it names no tool")
    return None


def _tool(tool: Any, traits: Traits, notes: list[str]) -> list[dict[str, Any]]:
    if type(tool) is not dict:
        raise refused("a tool is no object")
    function = tool.get("function")
    if type(function) is not dict:
        if "systemTool" in tool or "toolSpec" in tool:
            return [tool]
        note(notes, f"tool of type {str(tool.get('type'))[:40]!r} left out")
        return []
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    spec: dict[str, Any] = {"name": function.get("name") or "", "inputSchema": {"json": schema}}
    if function.get("description"):
        spec["description"] = function["description"]
    if function.get("strict") and traits.json_schema:
        spec["strict"] = True
    mark = tool.get("cache_control")
    return [{"toolSpec": spec}] if mark is None else [{"toolSpec": spec}, cache_point(mark)]


def _add_extra(
    body: dict[str, Any], more: dict[str, Any], extra: dict[str, Any], claude: bool, notes: list[str]
) -> None:
    stated = extra.get("additionalModelRequestFields")
    if type(stated) is dict:
        more.update(stated)
    for name, item in extra.items():
        if name == "additionalModelRequestFields" or name in GATEWAYS_OWN:
            continue
        if name in _OF_CLAUDE and claude:
            more.setdefault(name, item)
        elif name in NATIVE_FIELDS:
            body[name] = item
        else:
            leave_out(notes, name)


def _add_format(body: dict[str, Any], wanted: dict[str, Any], traits: Traits, notes: list[str]) -> None:
    kind = wanted.get("type")
    if kind == "json_object":
        notes.append("response_format json_object left out: the dialect knows schemas only")
    elif kind == "json_schema":
        stated = wanted.get("json_schema")
        schema = stated.get("schema") if type(stated) is dict else None
        if type(stated) is not dict or type(schema) is not dict:
            raise refused("response_format holds no JSON schema")
        if not traits.json_schema:
            raise refused("this model cannot be held to a JSON schema")
        if closed(schema) != schema:
            notes.append("objects of the schema closed: additionalProperties set to false")
        made = {"schema": dumps(closed(schema)).decode(), "name": stated.get("name") or "output"}
        if stated.get("description"):
            made["description"] = stated["description"]
        form = {"type": "json_schema", "structure": {"jsonSchema": made}}
        body["outputConfig"] = {**(body.get("outputConfig") or {}), "textFormat": form}


def _add_effort(
    body: dict[str, Any],
    more: dict[str, Any],
    config: dict[str, Any],
    effort: str,
    model: str,
    traits: Traits,
    notes: list[str],
) -> None:
    """Every family has a control of its own; Converse has none that all understand."""
    if _GPT.search(model):
        more["reasoning_effort"] = "low" if effort in ("none", "minimal") else effort
        return
    if _NOVA_2.search(model):
        if effort != "none":
            word = "low" if effort == "minimal" else effort
            more["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": word}
        return
    if not _CLAUDE.search(model):
        leave_out(notes, "reasoning_effort")
        return
    thinking = thinking_of(effort, traits, config.get("maxTokens"))
    wish = thinking.config
    if thinking.note is not None:
        notes.append(thinking.note)
    forced = not {"any", "tool"}.isdisjoint(body.get("toolConfig", {}).get("toolChoice", {}))
    if wish is not None and wish["type"] != "disabled" and forced:
        notes.append("thinking left out: it does not go with a forced tool")
        wish = None
    if wish is not None:
        more["thinking"] = wish
        if "budget_tokens" in wish and "maxTokens" not in config:
            config["maxTokens"] = wish["budget_tokens"] + OUTPUT_LIMIT_DEFAULT
            notes.append(f"maxTokens set to {config['maxTokens']}: it includes the thinking")
    if thinking.effort is not None:
        more["output_config"] = {**(more.get("output_config") or {}), "effort": thinking.effort}
