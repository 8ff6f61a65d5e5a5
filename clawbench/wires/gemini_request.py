"""Requests written the way Gemini's generateContent wants them: a `ChatRequest` in, the body out.

The model's name and whether to stream stand in the URL and are the wire's matter. What the dialect cannot say is left
out with a note. Schemas go out as JSON Schema (`parametersJsonSchema`, `responseJsonSchema`): the older fields take a
subset only. Knows no HTTP.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.types import ChatRequest, Message
from clawbench.wires.gemini_models import Traits, thinking_of, traits_of
from clawbench.wires.gemini_parts import model_parts, part_of
from clawbench.wires.unsaid import GATEWAYS_OWN, is_made_up, leave_out, note, part_text, refused, text_in, text_of

TOP_FIELDS: Final[dict[str, str]] = {
    "safetySettings": "safetySettings",
    "safety_settings": "safetySettings",
    "cachedContent": "cachedContent",
    "cached_content": "cachedContent",
    "labels": "labels",
    "serviceTier": "serviceTier",
}
"""Extra fields that the body takes beside contents, by the names that clients give them."""

CONFIG_FIELDS: Final[dict[str, str]] = {
    "top_k": "topK",
    "topK": "topK",
    "mediaResolution": "mediaResolution",
    "media_resolution": "mediaResolution",
    "speechConfig": "speechConfig",
    "imageConfig": "imageConfig",
    "image_config": "imageConfig",
}
"""Extra fields that go into generationConfig."""

SEED_MAX: Final = 2**31 - 1
STOPS_MAX: Final = 5

_NATIVE_TOOLS: Final[dict[str, str]] = {
    "google_search": "googleSearch",
    "googleSearch": "googleSearch",
    "google_search_retrieval": "googleSearchRetrieval",
    "googleSearchRetrieval": "googleSearchRetrieval",
    "code_execution": "codeExecution",
    "codeExecution": "codeExecution",
    "url_context": "urlContext",
    "urlContext": "urlContext",
    "google_maps": "googleMaps",
    "googleMaps": "googleMaps",
    "enterprise_web_search": "enterpriseWebSearch",
    "enterpriseWebSearch": "enterpriseWebSearch",
    "file_search": "fileSearch",
    "fileSearch": "fileSearch",
    "computer_use": "computerUse",
    "computerUse": "computerUse",
    "retrieval": "retrieval",
}
_OF_OPENAI: Final[dict[str, str]] = {
    "web_search": "googleSearch",
    "web_search_preview": "googleSearch",
    "code_interpreter": "codeExecution",
}


def body_of(request: ChatRequest, model: str, limit_max: int | None) -> tuple[dict[str, Any], list[str]]:
    """The body, and notes of what was left out or changed; `limit_max` is the most output tokens of the offer.

    Raises `UpstreamError` (rejected) for a request that cannot be said.
    """
    notes: list[str] = []
    traits = traits_of(model)
    body: dict[str, Any] = {}
    _add_messages(body, request.messages, traits, notes)
    if request.tools:
        tools = _tools(request.tools, notes)
        if tools:
            body["tools"] = tools
    if request.tool_choice is not None and "tools" in body:
        choice = _tool_choice(request.tool_choice, notes)
        if choice:
            body["toolConfig"] = {"functionCallingConfig": choice}
    if request.parallel_tool_calls is False:
        leave_out(notes, "parallel_tool_calls")
    config = _config(request, traits, limit_max, notes)
    if request.extra:
        _add_extra(body, config, request.extra, notes)
    if config:
        body["generationConfig"] = config
    return body, notes


def _config(request: ChatRequest, traits: Traits, limit_max: int | None, notes: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name, value in (
        ("temperature", request.temperature),
        ("topP", request.top_p),
        ("frequencyPenalty", request.frequency_penalty),
        ("presencePenalty", request.presence_penalty),
        ("candidateCount", request.n),
    ):
        if value is not None:
            config[name] = value
    limit = request.max_output_tokens
    if limit is not None:
        config["maxOutputTokens"] = limit if limit_max is None or limit < limit_max else limit_max
    if request.stop:
        config["stopSequences"] = request.stop[:STOPS_MAX]
        if len(request.stop) > STOPS_MAX:
            note(notes, f"stop: only the first {STOPS_MAX} sent")
    if request.seed is not None:
        if -SEED_MAX - 1 <= request.seed <= SEED_MAX:
            config["seed"] = request.seed
        else:
            leave_out(notes, "seed (beyond 32 bits)")
    if request.logprobs:
        config["responseLogprobs"] = True
        if request.top_logprobs is not None:
            config["logprobs"] = request.top_logprobs
    if request.response_format is not None:
        _add_format(config, request.response_format, notes)
    thinking = _thinking(request, traits, notes)
    if thinking:
        config["thinkingConfig"] = thinking
    return config


def _add_format(config: dict[str, Any], wanted: dict[str, Any], notes: list[str]) -> None:
    kind = wanted.get("type")
    if kind == "text":
        return
    if kind not in ("json_object", "json_schema"):
        leave_out(notes, f"response_format {str(kind)[:20]!r}")
        return
    config["responseMimeType"] = "application/json"
    held = wanted.get("json_schema")
    if kind == "json_schema" and type(held) is dict and type(held.get("schema")) is dict:
        config["responseJsonSchema"] = held["schema"]


def _thinking(request: ChatRequest, traits: Traits, notes: list[str]) -> dict[str, Any] | None:
    asked = request.extra.get("reasoning") if request.extra else None
    asked = asked if type(asked) is dict else {}
    config: dict[str, Any] | None = None
    if request.reasoning_effort is not None:
        config, said = thinking_of(request.reasoning_effort, traits)
        if said:
            note(notes, said)
    budget = asked.get("max_tokens")
    if type(budget) is int and traits.thinking != "none" and config is None:
        config = {"includeThoughts": True, "thinkingBudget": budget}
    if config is None and asked.get("enabled") is True and traits.thinking != "none":
        config = {"includeThoughts": True}
    if config is not None and asked.get("exclude") is True:
        config = {key: value for key, value in config.items() if key != "includeThoughts"}
    return config


def _add_extra(body: dict[str, Any], config: dict[str, Any], extra: dict[str, Any], notes: list[str]) -> None:
    own = extra.get("generationConfig")
    if type(own) is dict:
        config.update((key, value) for key, value in own.items() if key not in config)
    for key, value in extra.items():
        if value is None or key in GATEWAYS_OWN or key in ("generationConfig", "reasoning"):
            continue
        if key in TOP_FIELDS:
            body[TOP_FIELDS[key]] = value
        elif key in CONFIG_FIELDS:
            config[CONFIG_FIELDS[key]] = value
        elif key == "modalities" and type(value) is list:
            config["responseModalities"] = [str(each).upper() for each in value]
        elif key == "web_search_options":
            tools = body.setdefault("tools", [])
            if not any("googleSearch" in tool for tool in tools):
                tools.append({"googleSearch": {}})
        elif key == "toolConfig" and type(value) is dict:
            body["toolConfig"] = {**value, **body.get("toolConfig", {})}
        else:
            leave_out(notes, key)


def _tools(tools: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    declared: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for tool in tools:
        function = tool.get("function")
        kind = tool.get("type")
        if type(function) is dict:
            declared.append(_declaration(function, notes))
        elif kind in (None, *_NATIVE_TOOLS) and (native := next((k for k in tool if k in _NATIVE_TOOLS), kind)):
            if native in _NATIVE_TOOLS:
                others.append({_NATIVE_TOOLS[native]: tool.get(native) or {}})
            else:
                leave_out(notes, "a tool of unknown type")
        elif kind in _OF_OPENAI:
            others.append({_OF_OPENAI[kind]: {}})
            note(notes, f"tool {kind} sent as {_OF_OPENAI[kind]}")
        else:
            leave_out(notes, f"a tool of type {str(kind)[:30]!r}")
    return [{"functionDeclarations": declared}, *others] if declared else others


def _declaration(function: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    said = {"name": function.get("name") or ""}
    if function.get("description"):
        said["description"] = function["description"]
    parameters = function.get("parameters")
    if parameters:
        said["parametersJsonSchema"] = parameters
    if function.get("strict"):
        leave_out(notes, "strict")
    return said


def _tool_choice(choice: Any, notes: list[str]) -> dict[str, Any] | None:
    modes = {"none": "NONE", "auto": "AUTO", "required": "ANY", "any": "ANY", "validated": "VALIDATED"}
    if type(choice) is str and choice in modes:
        return {"mode": modes[choice]}
    if type(choice) is dict:
        function = choice.get("function")
        name = function.get("name") if type(function) is dict else choice.get("name")
        if type(name) is str and name:
            return {"mode": "ANY", "allowedFunctionNames": [name]}
        allowed = choice.get("allowed_tools")
        if type(allowed) is dict and type(allowed.get("tools")) is list:
            named = [each["function"].get("name") for each in allowed["tools"] if type(each.get("function")) is dict]
            mode = "ANY" if allowed.get("mode") == "required" else "VALIDATED"
            return {"mode": mode, "allowedFunctionNames": named}
    leave_out(notes, "tool_choice")
    return None


def _add_messages(body: dict[str, Any], messages: list[Message], traits: Traits, notes: list[str]) -> None:
    instructions: list[dict[str, Any]] = []
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # of functions, by the ids of their calls
    answering = False  # the last content holds tool results, and more may join it
    for message in messages:
        role = message.get("role")
        if role in ("system", "developer"):
            if contents:
                note(notes, "system message moved to the front")
            instructions += _texts(message.get("content"))
            continue
        if role in ("tool", "function"):
            part = _result(message, names, notes)
            if answering:
                contents[-1]["parts"].append(part)
            else:
                contents.append({"role": "user", "parts": [part]})
            answering = True
            continue
        answering = False
        if role == "assistant":
            calls = message.get("tool_calls")
            for call in calls if type(calls) is list else ():
                if type(call) is dict and type(call.get("function")) is dict and type(call.get("id")) is str:
                    names[call["id"]] = text_in(call["function"].get("name")) or ""
            parts = model_parts(message, notes, signed=traits.signatures)
            if parts:
                contents.append({"role": "model", "parts": parts})
            else:
                note(notes, "empty assistant message left out")
        else:
            contents.append({"role": "user", "parts": _user_parts(message.get("content"), notes)})
        if "name" in message:
            leave_out(notes, "name of a message")
    if not contents:
        if not instructions:
            raise refused("there is no message with content")
        note(notes, "system message sent as the user's: there is no other")
        instructions, contents = [], [{"role": "user", "parts": instructions}]
    if instructions:
        body["systemInstruction"] = {"parts": instructions}
    body["contents"] = contents


def _texts(content: Any) -> list[dict[str, Any]]:
    """A system message's text parts; empty ones, which Gemini refuses, are left away."""
    if type(content) is str:
        return [{"text": content}] if content else []
    texts = (part if type(part) is str else part_text(part) for part in (content if type(content) is list else ()))
    return [{"text": text} for text in texts if text]


def _user_parts(content: Any, notes: list[str]) -> list[dict[str, Any]]:
    if type(content) is str:
        return [{"text": content}]
    parts = [part_of(part, notes) for part in content] if type(content) is list else []
    if type(content) is list and any(type(part) is dict and "cache_control" in part for part in content):
        leave_out(notes, "cache_control")
    return parts or [{"text": ""}]


def _result(message: Message, names: dict[str, str], notes: list[str]) -> dict[str, Any]:
    """A tool message as a functionResponse; its text stands under `output`, images beside it."""
    id, content = text_in(message.get("tool_call_id")), message.get("content")
    name = text_in(message.get("name")) or names.get(id or "") or "unknown"
    answer: dict[str, Any] = {"name": name, "response": {"output": text_of(content)}}
    if type(content) is list:
        media = [part_of(part, notes) for part in content if type(part) is dict and part_text(part) is None]
        if media:
            answer["parts"] = media
    if not is_made_up(id):
        answer = {"id": id, **answer}
    return {"functionResponse": answer}
