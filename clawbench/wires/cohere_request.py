"""Requests of Cohere's chat API, version 2, written and read.

Messages and tools have OpenAI's shape but for what is said here: text in parts, a plan before tool calls, tool results
as documents, thinking as a content block, `p`, `k` and `stop_sequences`, and penalties and `p` in narrower ranges. What
the dialect cannot say is left out with a note; what must not be lost refuses the request. Knows no HTTP.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.types import ChatRequest, Message
from clawbench.wires.media import image_url
from clawbench.wires.tolerant_json import dumps
from clawbench.wires.unsaid import GATEWAYS_OWN, leave_out, leave_out_reasoning, note, part_text, refused, text_in

NATIVE_FIELDS: Final = frozenset(
    {"documents", "citation_options", "safety_mode", "k", "raw_prompting", "priority", "strict_tools"}
)
"""Extra fields that mean the same here under their own names."""

BUDGETS: Final = {"minimal": 512, "low": 2048, "medium": 8192}
"""Thinking budgets in tokens; the amounts are ours. High has none: the model thinks as long as it wants."""

P_MAX: Final = 0.99
STOPS_MAX: Final = 5

_TOP: Final = frozenset(
    {
        "model", "messages", "stream", "tools", "tool_choice", "response_format", "max_tokens", "temperature", "p",
        "frequency_penalty", "presence_penalty", "stop_sequences", "seed", "logprobs", "thinking",
    }
)  # fmt: skip


def body_of(request: ChatRequest, model: str, limit_max: int | None) -> tuple[dict[str, Any], list[str]]:
    """The body, and notes of what was left out or changed. Raises `UpstreamError` (rejected)."""
    if request.n is not None and request.n > 1:
        raise refused("several answers (n) cannot be asked for")
    notes: list[str] = []
    messages = [_said(message, notes, thinks="reasoning" in model) for message in request.messages]
    body: dict[str, Any] = {"model": model, "messages": messages, "stream": request.stream}
    if request.tools:
        _add_tools(body, request, notes)
    if request.response_format is not None:
        _add_format(body, request.response_format, notes)
    limit = request.max_output_tokens
    if limit is not None:
        body["max_tokens"] = limit if limit_max is None or limit < limit_max else limit_max
    _add_sampling(body, request, notes)
    if request.reasoning_effort is not None:
        _add_thinking(body, request.reasoning_effort, model, notes)
    if request.logprobs:
        body["logprobs"] = True
        if request.top_logprobs:
            leave_out(notes, "top_logprobs")
    if request.parallel_tool_calls is False:
        leave_out(notes, "parallel_tool_calls")
    for key, value in request.extra.items():
        if value is None or key in GATEWAYS_OWN:
            continue
        if key in NATIVE_FIELDS:
            body[key] = value
        elif key == "top_k":
            body["k"] = value
        elif key == "thinking" and "thinking" not in body:
            body[key] = value
        else:
            leave_out(notes, key)
    return body, notes


def _add_sampling(body: dict[str, Any], request: ChatRequest, notes: list[str]) -> None:
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        # Left out it would be 0.75, so that 1 has to be said as nearly as can be.
        body["p"] = min(request.top_p, P_MAX)
        if request.top_p > P_MAX:
            note(notes, f"top_p sent as {P_MAX}")
    for name in ("frequency_penalty", "presence_penalty"):
        value = getattr(request, name)
        if value is None:
            continue
        if 0 <= value <= 1:
            body[name] = value
        elif value > 1:
            body[name] = 1.0
            note(notes, f"{name} sent as 1")
        else:
            leave_out(notes, f"{name} (negative)")
    if request.stop:
        body["stop_sequences"] = request.stop[:STOPS_MAX]
    if request.seed is not None:
        if request.seed >= 0:
            body["seed"] = request.seed
        else:
            leave_out(notes, "seed (negative)")


def _add_thinking(body: dict[str, Any], effort: str, model: str, notes: list[str]) -> None:
    if effort == "none":
        if "reasoning" in model:
            body["thinking"] = {"type": "disabled"}
    elif "reasoning" not in model:
        note(notes, "reasoning_effort left out: this model does not think")
    elif effort in BUDGETS:
        body["thinking"] = {"type": "enabled", "token_budget": BUDGETS[effort]}
    else:
        body["thinking"] = {"type": "enabled"}
        if effort != "high":
            note(notes, f"reasoning_effort {effort[:20]} sent as high")


def _add_format(body: dict[str, Any], wanted: dict[str, Any], notes: list[str]) -> None:
    kind, held = wanted.get("type"), wanted.get("json_schema")
    if kind == "json_schema" and type(held) is dict and type(held.get("schema")) is dict:
        body["response_format"] = {"type": "json_object", "json_schema": held["schema"]}
    elif kind in ("json_object", "json_schema"):
        body["response_format"] = {"type": "json_object"}
    elif kind != "text":
        leave_out(notes, f"response_format {str(kind)[:20]!r}")


def _add_tools(body: dict[str, Any], request: ChatRequest, notes: list[str]) -> None:
    tools: list[dict[str, Any]] = []
    strict = 0
    for tool in request.tools or ():
        function = tool.get("function")
        if type(function) is not dict:
            leave_out(notes, f"a tool of type {str(tool.get('type'))[:30]!r}")
            continue
        strict += function.get("strict") is True
        said = {key: item for key, item in function.items() if key in ("name", "description", "parameters")}
        said.setdefault("parameters", {"type": "object", "properties": {}})
        tools.append({"type": "function", "function": said})
    if not tools:
        return
    if strict == len(tools):
        body["strict_tools"] = True
    elif strict:
        leave_out(notes, "strict (of some tools only)")
    choice = request.tool_choice
    if choice in ("none", "required"):
        body["tool_choice"] = choice.upper()
    elif type(choice) is dict:
        function = choice.get("function")
        name = function.get("name") if type(function) is dict else None
        named = [tool for tool in tools if tool["function"].get("name") == name]
        if named:
            tools, body["tool_choice"] = named, "REQUIRED"
            note(notes, "tool_choice: only the named tool sent")
        else:
            leave_out(notes, "tool_choice")
    body["tools"] = tools


def _said(message: Message, notes: list[str], *, thinks: bool) -> dict[str, Any]:
    role, content = message.get("role"), message.get("content")
    if role == "assistant":
        return _assistant(message, notes, thinks=thinks)
    if role in ("tool", "function"):
        id = text_in(message.get("tool_call_id")) or ""
        return {"role": "tool", "tool_call_id": id, "content": _documents(content)}
    if "name" in message:
        leave_out(notes, "name of a message")
    said = {"role": "system" if role == "developer" else role}
    return {**said, "content": [_part(part, notes) for part in content] if type(content) is list else content or ""}


def _part(part: Any, notes: list[str]) -> dict[str, Any]:
    text = part if type(part) is str else part_text(part)
    if text is not None:
        if type(part) is dict and "cache_control" in part:
            leave_out(notes, "cache_control")
        return {"type": "text", "text": text}
    kind = part.get("type") if type(part) is dict else type(part).__name__
    if kind != "image_url" or type(image_url(part)) is not str:
        raise refused(f"parts of type {str(kind)[:40]!r} cannot be sent to this dialect")
    held = part["image_url"]
    image = {key: held[key] for key in ("url", "detail") if key in held} if type(held) is dict else {"url": held}
    return {"type": "image_url", "image_url": image}


def _assistant(message: Message, notes: list[str], *, thinks: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant"}
    content = message.get("content") or text_in(message.get("refusal"))
    leave_out_reasoning(notes, message)
    parts = [_part(part, notes) for part in content] if type(content) is list else content
    calls = message.get("tool_calls")
    if not calls and type(message.get("function_call")) is dict:
        calls = [{"id": "", "function": message["function_call"]}]
    calls = calls if type(calls) is list else []
    thought, plan = _thought_and_plan(message, plans=bool(calls) and not thinks)
    if thought:
        text = parts if type(parts) is list else [{"type": "text", "text": parts}] if parts else []
        parts = [{"type": "thinking", "thinking": thought}, *text]
    if parts:
        said["content"] = parts
    if calls:
        said["tool_calls"] = [_call(call) for call in calls if type(call) is dict]
        if plan:
            said["tool_plan"] = plan
    citations = message.get("citations")
    if type(citations) is list and citations:
        said["citations"] = citations
    if len(said) == 1:
        said["content"] = ""
    return said


def _thought_and_plan(message: Message, *, plans: bool) -> tuple[str, str]:
    """Reasoning apart from the plan that ends it; all of it is the plan at a model that plans instead of thinking."""
    thought, plan = message.get("reasoning_content") or message.get("reasoning"), message.get("tool_plan")
    thought = thought if type(thought) is str else ""
    if type(plan) is str and plan:
        return thought.removesuffix(plan), plan
    return ("", thought) if plans else (thought, "")


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    function = function if type(function) is dict else {}
    arguments = function.get("arguments")
    text = arguments if type(arguments) is str else dumps({} if arguments is None else arguments).decode()
    said = {"name": text_in(function.get("name")) or "", "arguments": text or "{}"}
    return {"id": text_in(call.get("id")) or "", "type": "function", "function": said}


def _documents(content: Any) -> Any:
    """A tool's result: text as it is, each part of a list a document, so that citations can name it."""
    if type(content) is not list:
        return content if type(content) is str else ""
    documents = []
    for part in content:
        if type(part) is dict and part.get("type") == "document":
            documents.append(part)
            continue
        text = part if type(part) is str else part_text(part)
        if text is None:
            raise refused("tool results other than text cannot be sent to this dialect")
        documents.append({"type": "document", "document": {"data": text}})
    return documents


def request_of(value: dict[str, Any]) -> ChatRequest:
    """The request in a body. Raises `ValueError` for a body without messages."""
    messages = value.get("messages")
    if type(messages) is not list or not messages or not all(type(message) is dict for message in messages):
        raise ValueError("the body has no list of messages")
    extra = {key: item for key, item in value.items() if key not in _TOP and item is not None}
    effort = _effort(value.get("thinking"), extra)
    stop, tools, choice = value.get("stop_sequences"), value.get("tools"), value.get("tool_choice")
    model, logprobs = value.get("model"), value.get("logprobs")
    read = [tool for tool in tools if type(tool) is dict] if type(tools) is list else []
    if extra.get("strict_tools") is True and read:
        del extra["strict_tools"]
        read = [{**tool, "function": {**(tool.get("function") or {}), "strict": True}} for tool in read]
    return ChatRequest(
        model=model if type(model) is str and model else "unnamed",
        messages=[_message(message) for message in messages],
        stream=value.get("stream") is True,
        tools=read or None,
        tool_choice=choice.lower() if type(choice) is str else None,
        response_format=_format(value.get("response_format")),
        max_output_tokens=_whole(value.get("max_tokens")),
        temperature=_number(value.get("temperature")),
        top_p=_number(value.get("p")),
        frequency_penalty=_number(value.get("frequency_penalty")),
        presence_penalty=_number(value.get("presence_penalty")),
        stop=[each for each in stop if type(each) is str] or None if type(stop) is list else None,
        seed=_whole(value.get("seed")),
        logprobs=logprobs if type(logprobs) is bool else None,
        reasoning_effort=effort,
        extra=extra,
    )


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None


def _effort(thinking: Any, extra: dict[str, Any]) -> str | None:
    if type(thinking) is not dict:
        return None
    if thinking == {"type": "disabled"}:
        return "none"
    if thinking == {"type": "enabled"}:
        return "high"
    budget = thinking.get("token_budget")
    word = next((word for word, tokens in BUDGETS.items() if tokens == budget), None)
    if word is None:
        extra["thinking"] = thinking
    return word


def _format(stated: Any) -> dict[str, Any] | None:
    if type(stated) is not dict or stated.get("type") not in ("json_object", "json_schema"):
        return None
    schema = stated.get("json_schema") or stated.get("schema")
    if type(schema) is not dict:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}


def _message(stated: dict[str, Any]) -> Message:
    role, content = stated.get("role"), stated.get("content")
    if role == "tool":
        return {"role": "tool", "tool_call_id": stated.get("tool_call_id"), "content": _of_documents(content)}
    if role != "assistant":
        return {"role": role, "content": content}
    message: Message = {"role": "assistant"}
    if type(content) is list:
        thoughts = [part["thinking"] for part in content if type(part) is dict and type(part.get("thinking")) is str]
        rest = [part for part in content if type(part) is dict and "thinking" not in part]
        plain = len(rest) == 1 and rest[0].keys() == {"type", "text"}
        content = rest[0]["text"] if plain else rest or None
        if thoughts:
            message["reasoning_content"] = "".join(thoughts)
    message["content"] = content
    for key in ("tool_calls", "tool_plan", "citations"):
        if stated.get(key):
            message[key] = stated[key]
    return message


def _of_documents(content: Any) -> Any:
    if type(content) is not list:
        return content if type(content) is str else ""
    parts = []
    for part in content:
        held = part.get("document") if type(part) is dict else None
        data = held.get("data") if type(held) is dict else None
        if type(data) is str and held is not None and held.keys() <= {"data"}:
            parts.append({"type": "text", "text": data})
        elif type(data) is dict and held is not None and held.keys() <= {"data"}:
            parts.append({"type": "text", "text": dumps(data).decode()})
        else:
            parts.append(part)
    plain = len(parts) == 1 and type(parts[0]) is dict and parts[0].keys() == {"type", "text"}
    return parts[0]["text"] if plain else parts
