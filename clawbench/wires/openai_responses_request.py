"""Chat requests written as bodies of OpenAI's Responses API, the way one provider wants to read them.

Nothing is stored at the provider unless the client asked for it, so reasoning is asked for in its encrypted form where
the model has one: that is what makes a later turn possible. What this API cannot be told is left out with a note.
Values in the table at the top come from the providers' references and from recorded calls that succeeded.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import Struct

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Offer
from clawbench.wires.openai_responses_items import Item, ItemWriter
from clawbench.wires.openai_responses_parse import ENCRYPTED, KNOWN, LOGPROBS, OWN, OWN_FIELDS


class Habits(Struct, frozen=True, kw_only=True):
    """What one provider wants to read."""

    path: str = "/responses"  # appended to Offer.base_url
    versioned_path: str = "/responses"  # used instead where base_url ends with /v1
    developer_role: bool = False  # False: `developer` is sent as `system`
    encrypts: bool = False  # gives reasoning in encrypted form, if asked
    output_limit_min: int = 1
    routing_fields: bool = False  # `models` and `provider` mean something to it; elsewhere they are the gateway's own


_HABITS: Final[dict[str, Habits]] = {
    "openai": Habits(developer_role=True, encrypts=True, output_limit_min=16),
    "azure-openai": Habits(
        path="/openai/responses?api-version=2025-03-01-preview",
        developer_role=True,
        encrypts=True,
        output_limit_min=16,
    ),
    "azure-ai": Habits(path="/openai/v1/responses", developer_role=True, encrypts=True, output_limit_min=16),
    "bedrock": Habits(developer_role=True, encrypts=True),
    "openrouter": Habits(developer_role=True, encrypts=True, routing_fields=True),
    "xai": Habits(encrypts=True),
}
_DEFAULT: Final = Habits()

# Models that give encrypted reasoning; others answer the question for it with a 400.
_REASONS: Final = re.compile(r"(^|[/.])(o[1-9]|gpt-[5-9](?!.*chat)|codex|computer-use|grok-4)")
_LOST: Final = ("frequency_penalty", "presence_penalty", "stop", "seed")
_CHAT_ONLY: Final = frozenset(
    {"logit_bias", "prediction", "modalities", "audio", "functions", "function_call", "web_search_options", "best_of"}
    | {"stream_options", "max_tokens", "suffix", "echo"}
)
_ROUTING: Final = frozenset({"models", "provider"})
_REASONING_FIELDS: Final = ("summary", "generate_summary", "context", "mode")


def habits_of(provider: str) -> Habits:
    """The row of a provider, the default for one that has none."""
    return _HABITS.get(provider, _DEFAULT)


def body_of(request: ChatRequest, offer: Offer, notes: list[str]) -> dict[str, Any]:
    """The body of the upstream call; what was left out or changed goes to `notes`.

    Raises `UpstreamError` (rejected) for what must not be lost: more than one answer, video.
    """
    if request.n is not None and request.n > 1:
        raise UpstreamError("The Responses API gives one answer; choose an offer with n.", outcome="rejected")
    habits = habits_of(offer.provider)
    own = _own(request)
    tools = [_tool(tool) for tool in request.tools or ()] + own.get("tools", [])
    custom = frozenset(str(tool.get("name")) for tool in tools if tool.get("type") == "custom")
    writer = ItemWriter(developer=habits.developer_role, custom=custom)
    body: dict[str, Any] = {"model": offer.upstream_model, "input": writer.items(request.messages), "store": False}
    if request.stream:
        body["stream"] = True
    limit = request.max_output_tokens
    if limit is not None:
        body["max_output_tokens"] = _limit(limit, offer, habits, writer)
    for key in ("temperature", "top_p", "top_logprobs", "parallel_tool_calls"):
        value = getattr(request, key)
        if value is not None:
            body[key] = value
    for key in _LOST:
        if getattr(request, key) is not None:
            writer.note(f"{key} left out")
    if tools:
        body["tools"] = tools
    choice = own.get("tool_choice", request.tool_choice)
    if choice is not None:
        body["tool_choice"] = _tool_choice(choice)
    if request.response_format is not None:
        body["text"] = {"format": _format(request.response_format)}
    _add_extra(body, request, own, habits, writer)
    _add_reasoning(body, request, habits, writer)
    include = _include(request, offer, habits, own, writer, stored=body["store"] is True)
    if include:
        body["include"] = include
    notes += writer.notes
    return body


def _own(request: ChatRequest) -> dict[str, Any]:
    """What only this API can be told; nothing else may come this way, for clients of other surfaces write it too."""
    stated = request.extra.get(OWN)
    if type(stated) is not dict:
        return {}
    own = {key: item for key, item in stated.items() if key in OWN_FIELDS}
    for key in ("tools", "include"):
        if type(stated.get(key)) is list:
            own[key] = [item for item in stated[key] if key == "include" or type(item) is dict]
    if type(stated.get("tool_choice")) is dict:
        own["tool_choice"] = stated["tool_choice"]
    return own


def _limit(limit: int, offer: Offer, habits: Habits, writer: ItemWriter) -> int:
    ceiling = offer.max_output_tokens
    if ceiling is not None and limit > ceiling:
        limit = ceiling
    if limit < habits.output_limit_min:
        writer.note(f"max_output_tokens raised to {habits.output_limit_min}")
        limit = habits.output_limit_min
    return limit


def _tool(tool: dict[str, Any]) -> Item:
    function = tool.get("function")
    if type(function) is dict:
        # Strict is this API's default and not chat's.
        rest = {key: item for key, item in tool.items() if key not in ("type", "function", "cache_control")}
        return {"type": "function", "strict": False, "parameters": None, **function, **rest}
    custom = tool.get("custom")
    if type(custom) is dict:
        written = {"type": "custom", **custom}
        form = custom.get("format")
        if type(form) is dict and type(form.get("grammar")) is dict:
            written["format"] = {"type": "grammar", **form["grammar"]}
        return written
    return tool


def _tool_choice(choice: Any) -> Any:
    if type(choice) is not dict:
        return choice
    kind = choice.get("type")
    inner = choice.get(kind) if type(kind) is str else None
    if type(inner) is not dict:
        return choice
    if kind == "allowed_tools":
        return {**inner, "type": kind, "tools": [_tool_choice(tool) for tool in inner.get("tools") or ()]}
    return {"type": kind, **inner}


def _format(stated: dict[str, Any]) -> dict[str, Any]:
    schema = stated.get("json_schema")
    if stated.get("type") == "json_schema" and type(schema) is dict:
        return {"type": "json_schema", **schema}
    return stated


def _add_extra(
    body: dict[str, Any], request: ChatRequest, own: dict[str, Any], habits: Habits, writer: ItemWriter
) -> None:
    for key, value in request.extra.items():
        if key == "reasoning" or key == OWN:
            continue
        if key == "verbosity":
            body["text"] = {**body.get("text", {}), "verbosity": value}
        elif key in _CHAT_ONLY or key in KNOWN:
            writer.note(f"{key} left out")
        elif key not in _ROUTING or habits.routing_fields:
            body[key] = value
    if own:
        body.update((key, value) for key, value in own.items() if key not in ("tools", "tool_choice", "include"))


def _add_reasoning(body: dict[str, Any], request: ChatRequest, habits: Habits, writer: ItemWriter) -> None:
    stated = request.extra.get("reasoning")
    reasoning: dict[str, Any] = {}
    if request.reasoning_effort is not None:
        reasoning["effort"] = request.reasoning_effort
    if type(stated) is dict:
        for key, value in stated.items():
            if key in _REASONING_FIELDS or habits.routing_fields:
                reasoning[key] = value
            else:
                writer.note(f"reasoning.{key} left out")
    if reasoning:
        body["reasoning"] = reasoning


def _include(
    request: ChatRequest, offer: Offer, habits: Habits, own: dict[str, Any], writer: ItemWriter, *, stored: bool
) -> list[Any]:
    include = list(own.get("include", ()))
    if (request.logprobs or request.top_logprobs) and LOGPROBS not in include:
        include.append(LOGPROBS)
    model = offer.upstream_model
    reasons = writer.has_encrypted or _REASONS.search(model) is not None
    # A deployment's name need not tell the model; that effort was asked for does.
    reasons = reasons or (request.reasoning_effort is not None and "gpt-oss" not in model)
    if habits.encrypts and reasons and not stored and ENCRYPTED not in include:
        include.append(ENCRYPTED)
    return include
