"""Chat requests in OpenAI's dialect: bytes of a body → `ChatRequest` → bytes of an upstream call.

`parse_body` reads what clients send: validate fast (one typed pass in C), explain
slowly (`openai_chat_fields.problems`, run only when the fast pass failed). `parse_recorded` reads what was once sent to
a provider and forgives what providers forgive. `body_of` writes a request the way one provider wants it.
Messages and tools stay the plain dicts that were parsed: fields that nobody here knows survive.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

from clawbench.types import ChatRequest, Message, Offer
from clawbench.wires.foreign import FOREIGN_FIELDS, FOREIGN_IN_MESSAGES
from clawbench.wires.openai_chat_fields import (
    INTEGER_MAX,
    KNOWN,
    ROLES,
    STEERING,
    TYPES,
    Fields,
    message_problems,
    problems,
    refused,
)
from clawbench.wires.openai_quirks import Quirks
from clawbench.wires.tolerant_json import DEPTH_MAX, NotJson, check_depth, loads

_GATEWAYS_OWN: Final = frozenset({"models", "provider"})

_raw_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def parse_body(body: bytes) -> ChatRequest:
    """The request in a client's body. Raises `RequestError` (400 `bad_request`) that names every bad field."""
    try:
        value = _decode(body)
        fields = msgspec.convert(value, Fields)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise refused(problems(body)) from None
    extra = {key: item for key, item in value.items() if key not in KNOWN} if len(value) > 2 else {}
    if not _is_plain(body, value, fields.messages, extra) or _may_repeat_a_key(body):
        found = problems(body)
        if found:
            raise refused(found)
    return _request(fields, extra)


def _is_plain(body: bytes, value: dict[str, Any], messages: list[Message], extra: dict[str, Any]) -> bool:
    """False where the slow pass must look at a body that the types let through."""
    for message in messages:
        # The common message is settled by four look-ups; anything else is asked about in full.
        role = message.get("role")
        common = type(message.get("content")) is str and type(role) is str and role in ROLES
        if not (common and "tool_calls" not in message) and message_problems(message):
            return False
    for key, item in extra.items():
        if key in STEERING or key.startswith("extra_") or (type(item) is int and abs(item) > INTEGER_MAX):
            return False
    # No value is nested deeper than the number of its opening brackets: most bodies need no walk.
    if body.count(b"{") + body.count(b"[") > DEPTH_MAX:
        try:
            check_depth(value)
        except NotJson:
            return False
    return True


def _may_repeat_a_key(body: bytes) -> bool:
    """Whether a top-level key may stand twice: what was priced must be what the provider reads.

    A body without white space, or spaced as Python spaces it, is exactly its raw values, keys and punctuation; one
    that does not add up to them is left to the slow pass.
    """
    raw = _raw_decode(body)
    whole = body.strip()
    surplus = len(whole) - sum(map(len, raw.values())) - sum(map(len, raw)) - 4 * len(raw) - 1
    if surplus == 0:
        return False
    if surplus != 2 * len(raw) - 1:
        return True
    rebuilt = b", ".join([b'"%b": %b' % (key.encode(), item) for key, item in raw.items()])
    return b"{%b}" % rebuilt != whole


def parse_recorded(body: bytes, *, model: str | None = None) -> ChatRequest:
    """The request in a call that was sent to a provider; `model` goes before what the body names, which may be none.

    A field of a type that the gateway would refuse is kept in `extra`. Raises `ValueError` for what is no request.
    """
    value = loads(body)[0]
    if type(value) is not dict:
        raise ValueError("the body is no JSON object")
    messages = value.get("messages")
    if type(messages) is not list or not messages or not all(type(message) is dict for message in messages):
        raise ValueError("the body has no list of messages")
    if model is not None or not value.get("model"):
        value = {**value, "model": model or "unnamed"}
    try:
        return _request(msgspec.convert(value, Fields), {key: item for key, item in value.items() if key not in KNOWN})
    except msgspec.ValidationError:
        good = {key: item for key, item in value.items() if key in KNOWN and _fits(key, item)}
        if "model" not in good:
            raise ValueError("model is no string") from None
        if "messages" not in good:
            raise ValueError("there are too many messages") from None
        return _request(msgspec.convert(good, Fields), {key: item for key, item in value.items() if key not in good})


def _fits(key: str, item: Any) -> bool:
    try:
        msgspec.convert(item, TYPES[key])
    except msgspec.ValidationError:
        return False
    return True


def _request(fields: Fields, extra: dict[str, Any]) -> ChatRequest:
    options, effort, stop = fields.stream_options, fields.reasoning_effort, fields.stop
    if fields.reasoning is not None:
        effort, extra = _reasoning(fields.reasoning, effort, extra)
    limit = fields.max_completion_tokens
    return ChatRequest(
        model=fields.model,
        messages=fields.messages,
        stream=fields.stream is True,
        include_usage=options is not None and options.get("include_usage") is True,
        tools=fields.tools,
        tool_choice=fields.tool_choice,
        parallel_tool_calls=fields.parallel_tool_calls,
        response_format=fields.response_format,
        max_output_tokens=fields.max_tokens if limit is None else limit,
        temperature=fields.temperature,
        top_p=fields.top_p,
        frequency_penalty=fields.frequency_penalty,
        presence_penalty=fields.presence_penalty,
        stop=[stop] if isinstance(stop, str) else stop,
        seed=fields.random_seed if fields.seed is None else fields.seed,
        n=fields.n,
        logprobs=fields.logprobs,
        top_logprobs=fields.top_logprobs,
        reasoning_effort=effort,
        extra=extra,
    )


def _reasoning(stated: dict[str, Any], effort: str | None, extra: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """`reasoning {effort, …}`: the effort has a place of its own, the rest stays under its name."""
    word = stated.get("effort")
    if type(word) is str:
        stated = {key: item for key, item in stated.items() if key != "effort"}
        effort = word if effort is None else effort
    return effort, {**extra, "reasoning": stated} if stated else extra


def body_of(request: ChatRequest, offer: Offer, quirks: Quirks) -> dict[str, Any]:
    """The body of the upstream call, as the offer's provider wants to read it."""
    body: dict[str, Any] = {"model": offer.upstream_model, "messages": _messages(request.messages, quirks)}
    if request.stream:
        body["stream"] = True
        if quirks.stream_options:
            body["stream_options"] = {"include_usage": True}
    limit = request.max_output_tokens
    if limit is not None:
        ceiling = offer.max_output_tokens
        body[quirks.output_limit] = limit if ceiling is None or limit < ceiling else ceiling
    for key in _PLAIN:
        value = getattr(request, key)
        if value is not None:
            body[key] = value
    if request.seed is not None and quirks.seed is not None:
        body[quirks.seed] = request.seed
    if request.parallel_tool_calls is not None and quirks.parallel_tool_calls:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.extra:
        _add_extra(body, request.extra, quirks)
    if request.reasoning_effort is not None:
        if quirks.reasoning_effort == "reasoning":
            body["reasoning"] = {**body.get("reasoning", {}), "effort": request.reasoning_effort}
        else:
            body["reasoning_effort"] = request.reasoning_effort
    return body


_PLAIN: Final = (
    "tools",
    "tool_choice",
    "response_format",
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "n",
    "logprobs",
    "top_logprobs",
)


_WITH_CACHE_CONTROL: Final = FOREIGN_IN_MESSAGES | {"cache_control"}


def _add_extra(body: dict[str, Any], extra: dict[str, Any], quirks: Quirks) -> None:
    for key, value in extra.items():
        if key in body or key in FOREIGN_FIELDS or (key in _GATEWAYS_OWN and not quirks.routing_fields):
            continue
        if key == "reasoning" and quirks.reasoning_effort != "reasoning":
            continue  # the part of it that every provider can be told is `reasoning_effort`
        body[key] = value


def _messages(messages: list[Message], quirks: Quirks) -> list[Message]:
    """The same list, or a copy with the few messages changed that this provider would not take."""
    for index, message in enumerate(messages):
        if (
            type(message.get("content")) is list
            or (message.get("role") == "developer" and not quirks.developer_role)
            or ("cache_control" in message and not quirks.cache_control)
            or not FOREIGN_IN_MESSAGES.isdisjoint(message)
        ):
            return messages[:index] + [_message(later, quirks) for later in messages[index:]]
    return messages


def _message(message: Message, quirks: Quirks) -> Message:
    changed: Message = {}
    if message.get("role") == "developer" and not quirks.developer_role:
        changed["role"] = "system"
    content = message.get("content")
    if type(content) is list:
        parts = [_part(part, quirks) for part in content]
        if any(part is not before for part, before in zip(parts, content, strict=True)):
            changed["content"] = parts
    dropped = FOREIGN_IN_MESSAGES if quirks.cache_control else _WITH_CACHE_CONTROL
    if not dropped.isdisjoint(message):
        return {key: item for key, item in {**message, **changed}.items() if key not in dropped}
    return {**message, **changed} if changed else message


def _part(part: Any, quirks: Quirks) -> Any:
    if type(part) is not dict:
        return part
    if part.get("type") == "input_text":
        text = part.get("text", part.get("input_text", ""))
        part = {**{key: item for key, item in part.items() if key != "input_text"}, "type": "text", "text": text}
    if "cache_control" in part and not quirks.cache_control:
        part = {key: item for key, item in part.items() if key != "cache_control"}
    return part
