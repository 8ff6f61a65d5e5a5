"""Requests in Gemini's dialect, read: a body and its URL's model in, a `ChatRequest` out.

Both spellings of names are read (`inlineData`, `inline_data`), single objects where lists belong, proto enums as names
or numbers, and schemas in OpenAPI's upper-case types. Calls without ids get made-up ones, and results are matched to
them by name and order. Fields that OpenAI's shape has no word for stay in `extra` under their own names.
"""

from __future__ import annotations

import re
from typing import Any, Final

from clawbench.types import ChatRequest, Message
from clawbench.wires.gemini_models import effort_of
from clawbench.wires.gemini_parts import CODE, FORMAT, call_of, detail_of, from_part
from clawbench.wires.tolerant_json import NotJson, dumps, loads
from clawbench.wires.unsaid import made_up_id

_SNAKE: Final = re.compile(rb'"[a-z]+_[a-z_]+"\s*:')
_FREE: Final = frozenset(
    {"args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "labels"}
)
"""Fields whose keys are somebody else's names."""

_OUTPUT_KEYS: Final = ("output", "result", "return_value", "content", "response")
_TYPES: Final = {1: "string", 2: "number", 3: "integer", 4: "boolean", 5: "array", 6: "object", 7: "null"}
_MODES: Final = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "validated", 1: "auto", 2: "required"}
_TOP: Final = frozenset({"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "model"})
_CONFIG: Final = frozenset(
    {
        "temperature", "topP", "frequencyPenalty", "presencePenalty", "candidateCount", "maxOutputTokens",
        "stopSequences", "seed", "responseLogprobs", "logprobs", "responseMimeType", "responseSchema",
        "responseJsonSchema", "thinkingConfig", "topK", "responseModalities",
    }
)  # fmt: skip


def body_value(body: bytes) -> dict[str, Any]:
    """The body as a value with camel-case names. Raises `ValueError` for what is no request of this dialect."""
    try:
        value = loads(body)[0]
    except NotJson as error:
        raise ValueError(str(error)) from None
    if type(value) is dict and _SNAKE.search(body):
        value = _camelised(value)
    if type(value) is not dict or type(value.get("contents")) not in (list, dict, str) or not value["contents"]:
        raise ValueError("the body has no contents")
    return value


def request_of(value: dict[str, Any], *, model: str, stream: bool) -> ChatRequest:
    """The request in a body's value. Raises `ValueError` where a content is no object."""
    config = value.get("generationConfig")
    config = config if type(config) is dict else {}
    extra = {key: item for key, item in value.items() if key not in _TOP and item is not None}
    rest = {key: item for key, item in config.items() if key not in _CONFIG and item is not None}
    if rest:
        extra["generationConfig"] = rest
    effort: str | None = None
    reasoning: dict[str, Any] = {}
    thinking = config.get("thinkingConfig")
    if type(thinking) is dict:
        effort, reasoning = effort_of(thinking)
    if reasoning:
        extra["reasoning"] = reasoning
    if config.get("topK") is not None:
        extra["top_k"] = config["topK"]
    if type(config.get("responseModalities")) is list:
        extra["modalities"] = [str(each).lower() for each in config["responseModalities"]]
    tools = _tools(value.get("tools"))
    choice = _tool_choice(value.get("toolConfig"), extra)
    logprobs = config.get("responseLogprobs")
    return ChatRequest(
        model=model,
        messages=_messages(value),
        stream=stream,
        tools=tools,
        tool_choice=choice,
        response_format=_format(config),
        max_output_tokens=_whole(config.get("maxOutputTokens")),
        temperature=_number(config.get("temperature")),
        top_p=_number(config.get("topP")),
        frequency_penalty=_number(config.get("frequencyPenalty")),
        presence_penalty=_number(config.get("presencePenalty")),
        stop=config["stopSequences"] or None if type(config.get("stopSequences")) is list else None,
        seed=_whole(config.get("seed")),
        n=_whole(config.get("candidateCount")),
        logprobs=logprobs if type(logprobs) is bool else None,
        top_logprobs=_whole(config.get("logprobs")),
        reasoning_effort=effort,
        extra=extra,
    )


def _camelised(value: Any) -> Any:
    if type(value) is list:
        return [_camelised(item) for item in value]
    if type(value) is not dict:
        return value
    said = {}
    for key, item in value.items():
        head, *more = key.split("_")
        name = head + "".join(word[:1].upper() + word[1:] for word in more) if head else key
        said[name] = item if name in _FREE else _camelised(item)
    return said


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None


def _format(config: dict[str, Any]) -> dict[str, Any] | None:
    schema = config.get("responseJsonSchema")
    if type(schema) is not dict and type(config.get("responseSchema")) is dict:
        schema = json_schema(config["responseSchema"])
    if type(schema) is dict:
        title = schema.get("title")
        name = title if type(title) is str and title else "response"
        return {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}
    return {"type": "json_object"} if config.get("responseMimeType") == "application/json" else None


def json_schema(schema: Any) -> Any:
    """A schema with OpenAPI's upper-case types (or proto numbers) and `nullable` as JSON Schema."""
    if type(schema) is list:
        return [json_schema(item) for item in schema]
    if type(schema) is not dict:
        return schema
    said: dict[str, Any] = {}
    for key, item in schema.items():
        if key == "type" and type(item) in (str, int):
            said[key] = _TYPES.get(item, item) if type(item) is int else item.lower()
        elif key == "properties" and type(item) is dict:
            said[key] = {name: json_schema(inner) for name, inner in item.items()}
        elif key in ("items", "anyOf", "prefixItems", "additionalProperties"):
            said[key] = json_schema(item)
        elif key != "nullable":
            said[key] = item
    if schema.get("nullable") is True and type(said.get("type")) is str:
        said["type"] = [said["type"], "null"]
    return said


def _tools(stated: Any) -> list[dict[str, Any]] | None:
    tools: list[dict[str, Any]] = []
    for tool in stated if type(stated) is list else [stated]:
        if type(tool) is not dict:
            continue
        declared = tool.get("functionDeclarations")
        for each in declared if type(declared) is list else ():
            if type(each) is dict:
                tools.append({"type": "function", "function": _function(each)})
        others = {key: item for key, item in tool.items() if key != "functionDeclarations"}
        tools += [{key: item} for key, item in others.items()]
    return tools or None


def _function(declared: dict[str, Any]) -> dict[str, Any]:
    said = {"name": declared.get("name") or ""}
    if declared.get("description"):
        said["description"] = declared["description"]
    parameters = declared.get("parametersJsonSchema")
    if parameters is None and declared.get("parameters"):
        parameters = json_schema(declared["parameters"])
    if parameters is not None:
        said["parameters"] = parameters
    return said


def _tool_choice(stated: Any, extra: dict[str, Any]) -> Any:
    config = stated.get("functionCallingConfig") if type(stated) is dict else None
    if type(stated) is dict and len(stated) > (config is not None):
        extra["toolConfig"] = {key: item for key, item in stated.items() if key != "functionCallingConfig"}
    if type(config) is not dict:
        return None
    mode = config.get("mode")
    choice = _MODES.get(mode.upper() if type(mode) is str else mode) if type(mode) in (str, int) else None
    names = config.get("allowedFunctionNames")
    if type(names) is list and names:
        if choice == "required" and len(names) == 1:
            return {"type": "function", "function": {"name": names[0]}}
        allowed = [{"type": "function", "function": {"name": name}} for name in names]
        mode = "required" if choice == "required" else "auto"
        return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}
    return choice


def _messages(value: dict[str, Any]) -> list[Message]:
    messages: list[Message] = []
    texts = [text for part in _parts(value.get("systemInstruction")) if (text := part.get("text"))]
    if texts:
        content = texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts]
        messages.append({"role": "system", "content": content})
    reader = _Turns()
    contents = value["contents"]
    for content in contents if type(contents) is list else [contents]:
        parts = _parts(content)
        if type(content) is dict and content.get("role") == "model":
            messages.append(reader.model(parts))
        else:
            messages += reader.user(parts)
    return messages


def _parts(content: Any) -> list[dict[str, Any]]:
    """The parts of a content, which may be a string, a lone part, or parts without a list."""
    if content is None:
        return []
    if type(content) is str:
        return [{"text": content}]
    if type(content) is not dict:
        raise ValueError("a content is no object")
    parts = content.get("parts", content if "text" in content else [])
    found = [part if type(part) is dict else {"text": part} for part in (parts if type(parts) is list else [parts])]
    if not all(type(part.get("text", "")) is str for part in found):
        raise ValueError("a part is neither text nor an object")
    return found


class _Turns:
    """Reads contents in order, and ties results to calls."""

    def __init__(self) -> None:
        self._calls = 0
        self._open: list[tuple[str, str]] = []  # (name, id) of calls without a result

    def model(self, parts: list[dict[str, Any]]) -> Message:
        """An assistant's message."""
        texts: list[str] = []
        calls: list[dict[str, Any]] = []
        details: list[dict[str, Any]] = []
        kept: dict[str, list[Any]] = {}
        for part in parts:
            call_id = None
            if type(part.get("functionCall")) is dict:
                call = call_of(part, made_up_id(self._calls, None))
                self._calls += 1
                self._open.append((call.name, call.id))
                function = {"name": call.name, "arguments": call.arguments}
                calls.append({"id": call.id, "type": "function", "function": function})
                call_id = call.id
            elif part.get("thought") is True:
                if not part.get("thoughtSignature"):
                    details.append({"type": "reasoning.text", "text": part.get("text") or "", "format": FORMAT})
            elif type(part.get("text")) is str:
                texts.append(part["text"])
            elif "executableCode" in part or "codeExecutionResult" in part:
                kept.setdefault(CODE, []).append(part)
                continue
            else:
                kept.setdefault("images", []).append(_signed(part))
                continue
            signature = part.get("thoughtSignature")
            if type(signature) is str and signature:
                details.append(detail_of(part, signature, call_id))
        text = "".join(texts)
        message: Message = {"role": "assistant", "content": text or None if calls or kept or details else text}
        if calls:
            message["tool_calls"] = calls
        if details:
            message["reasoning_details"] = details
        return {**message, **kept}

    def user(self, parts: list[dict[str, Any]]) -> list[Message]:
        """Tool results first, each a message; then the user's own."""
        messages: list[Message] = []
        own: list[dict[str, Any]] = []
        for part in parts:
            if type(part.get("functionResponse")) is dict:
                messages.append(self._result(part["functionResponse"]))
            else:
                own.append(from_part(part))
        if own or not messages:
            plain = len(own) == 1 and own[0].keys() == {"type", "text"}
            messages.append({"role": "user", "content": own[0]["text"] if plain else own or ""})
        return messages

    def _result(self, answer: dict[str, Any]) -> Message:
        name, id = answer.get("name"), answer.get("id")
        if type(id) is not str or not id:
            id = next((each for called, each in self._open if called == name), None)
            id = id or (self._open[0][1] if self._open else made_up_id(self._calls, None))
        self._open = [(called, each) for called, each in self._open if each != id]
        content: Any = _output(answer.get("response"))
        media = answer.get("parts")
        if type(media) is list and media:
            shown = [from_part(part) for part in media if type(part) is dict]
            content = [{"type": "text", "text": content}, *shown]
        return {"role": "tool", "tool_call_id": id, "content": content}


def _signed(part: dict[str, Any]) -> dict[str, Any]:
    signature = part.get("thoughtSignature")
    said = from_part({key: item for key, item in part.items() if key != "thoughtSignature"})
    return {**said, "thought_signature": signature} if signature else said


def _output(response: Any) -> str:
    """What a tool said, as text: the one string under a customary key, or the object as JSON."""
    if type(response) is dict and len(response) == 1:
        key, held = next(iter(response.items()))
        if key in _OUTPUT_KEYS and type(held) is str:
            return held
    return response if type(response) is str else dumps({} if response is None else response).decode()
