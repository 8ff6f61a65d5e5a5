"""Answers of OpenAI's Responses API, written: whole bodies and event streams.

The gateway's own surface writes every piece through `ResponsesEncoder`, the emulator whole streams through
`compose_events`. Ids of items are made from the response's id, so the same answer gives the same bytes. What the
response repeats of its request (`instructions`, `tools`, …) comes in as `repeated`. Knows no request and no provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from clawbench.types import Choice, Completion, Usage
from clawbench.usage.openai_responses import usage_body
from clawbench.wires.openai_responses_items import Item, around, arranged, reasoning_items
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.tolerant_json import scrub

_encode = msgspec.json.Encoder().encode
_PLACED: Final = frozenset({"id", "object", "created_at", "status", "model", "error", "output", "usage"})
_REASONS: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}

# The codes that clients of this API act on; every other failure is the server's.
_CODES: Final = frozenset({"context_length_exceeded", "insufficient_quota", "rate_limit_exceeded"})


def dumps(value: Any) -> bytes:
    """JSON in one line; lone surrogates, which no UTF-8 can carry, become U+FFFD."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(scrub(value))


def response_id(id: str) -> str:
    """An id that clients of this API take for one."""
    return id if id.startswith("resp_") else f"resp_{id}"


def compose_response(completion: Completion, *, repeated: Mapping[str, Any] | None = None) -> ComposedReply:
    """A whole answer; of several choices only the first, for this API has one."""
    choice = completion.choices[0] if completion.choices else Choice(finish_reason="stop")
    id = response_id(completion.id)
    body = skeleton(id, completion.model or "", completion.created or 0, repeated)
    body["output"] = output_of(choice, id.removeprefix("resp_"))
    body["usage"] = usage_body(completion.usage)
    if completion.service_tier is not None:
        body["service_tier"] = completion.service_tier
    if completion.extra:
        body.update((key, item) for key, item in completion.extra.items() if key not in body)
    close(body, choice.finish_reason)
    return ComposedReply(200, {"content-type": "application/json"}, dumps(body))


def skeleton(id: str, model: str, created: int, repeated: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A response that has just begun."""
    body: dict[str, Any] = {
        "id": id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "model": model,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1,
        "top_p": 1,
        "metadata": {},
        "previous_response_id": None,
        "usage": None,
    }
    if repeated:
        body.update((key, item) for key, item in repeated.items() if key not in _PLACED)
    return body


def close(body: dict[str, Any], finish_reason: str | None) -> None:
    """Writes how the response ended into its body: status, details, the last item's status."""
    reason = _REASONS.get(finish_reason or "")
    body["status"] = "completed" if reason is None else "incomplete"
    if reason is not None:
        body["incomplete_details"] = {"reason": reason}
        if body["output"] and "status" in body["output"][-1]:
            body["output"][-1]["status"] = "incomplete"
    elif finish_reason == "error":
        body["status"] = "failed"
        body["error"] = failure_body("The provider broke off.", None)


def failure_body(message: str, code: str | None) -> dict[str, str]:
    """The error object of a response."""
    code = "rate_limit_exceeded" if code == "rate_limited" else code
    return {"code": code if code in _CODES else "server_error", "message": message}


def output_of(choice: Choice, base: str) -> list[Item]:
    """The items of a choice; `base` makes their ids."""
    extra = choice.extra or {}
    said: list[Item] = []
    others = _objects(extra.get("output_items"))
    parts = content_parts(choice.content, choice.refusal, choice.logprobs, extra)
    if parts or not (choice.tool_calls or others):
        said.append(message_item(f"msg_{base}", parts or [text_part("")], phase=extra.get("phase")))
    rest = around(others, said)
    more = extra.get("tool_call_extra")
    for place, call in enumerate(choice.tool_calls):
        id = call.id or f"call_{base}_{place}"
        item = call_item(f"fc_{base}_{place}", id, call.name, call.arguments)
        known = more.get(id) if type(more) is dict else None
        rest.append({**item, **known} if type(known) is dict else item)
    return arranged(reasoning_of(choice, base), rest)


def reasoning_of(choice: Choice, base: str) -> list[tuple[int | None, Item]]:
    """Reasoning items with their places; from the reasoning text where there are no details."""
    found = reasoning_items(_objects((choice.extra or {}).get("reasoning_details")))
    if choice.reasoning and not any(item["summary"] or item.get("content") for _, item in found):
        summary = [{"type": "summary_text", "text": choice.reasoning}]
        if found:
            found[0][1]["summary"] = summary
        else:
            found = [(None, {"type": "reasoning", "summary": summary})]
    return [(index, {"id": f"rs_{base}_{place}", **item}) for place, (index, item) in enumerate(found)]


def message_item(id: str, content: list[Item], *, status: str = "completed", phase: Any = None) -> Item:
    """A message of the assistant."""
    item: Item = {"type": "message", "id": id, "status": status, "role": "assistant", "content": content}
    return {**item, "phase": phase} if phase else item


def call_item(id: str, call_id: str, name: str, arguments: str, *, status: str = "completed") -> Item:
    """A function call."""
    return {
        "type": "function_call",
        "id": id,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": status,
    }


def text_part(text: str, annotations: list[Item] | None = None, logprobs: list[Any] | None = None) -> Item:
    """A part with text."""
    part: Item = {"type": "output_text", "text": text, "annotations": annotations or []}
    return {**part, "logprobs": logprobs} if logprobs else part


def content_parts(
    content: str | None, refusal: str | None, logprobs: dict[str, Any] | None, extra: dict[str, Any]
) -> list[Item]:
    """The parts of a message; none where nothing was said."""
    parts: list[Item] = []
    stated = (logprobs or {}).get("content")
    annotations = annotations_of(extra)
    if content is not None or annotations:
        parts.append(text_part(content or "", annotations, stated if type(stated) is list else None))
    if refusal is not None:
        parts.append({"type": "refusal", "refusal": refusal})
    return parts


def annotations_of(extra: Mapping[str, Any]) -> list[Item]:
    """Annotations in this API's shape."""
    found = []
    for annotation in _objects(extra.get("annotations")):
        cited = annotation.get("url_citation")
        found.append({"type": "url_citation", **cited} if type(cited) is dict else annotation)
    for name in ("file_citation", "file_path", "container_file_citation"):
        found += _objects(extra.get(name))
    return found


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if type(item) is dict] if type(value) is list else []


def completed(body: dict[str, Any], finish_reason: str | None, usage: Usage | None) -> str:
    """Ends a streamed response's body; the name of the event that says so."""
    body["usage"] = usage_body(usage)
    close(body, finish_reason)
    return f"response.{body['status']}"
