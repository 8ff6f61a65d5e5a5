"""Answers and events of OpenAI's Responses API, made by hand for the tests of its wire."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tests.wires.made import LOOSE

USAGE = {
    "input_tokens": 18,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 15,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 33,
}


def message(*texts: str, **more: Any) -> dict[str, Any]:
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": parts, **more}


CALL: dict[str, Any] = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a":1}'}


def body(*output: dict[str, Any], **top: Any) -> dict[str, Any]:
    stated = {"id": "resp_1", "object": "response", "created_at": 1_748_764_800, "status": "completed", "model": "m-1"}
    return {**stated, "output": list(output), "usage": USAGE, **top}


def events(*stated: tuple[str, dict[str, Any]]) -> bytes:
    frames = []
    for number, (name, fields) in enumerate(stated):
        event = {"type": name, "sequence_number": number, **fields}
        frames.append(f"event: {name}\ndata: {json.dumps(event)}\n\n")
    return "".join(frames).encode()


def text_delta(text: str, item: int = 0, part: int = 0, **more: Any) -> tuple[str, dict[str, Any]]:
    fields = {"item_id": "msg_1", "output_index": item, "content_index": part, "delta": text, "logprobs": []}
    return "response.output_text.delta", {**fields, **more}


def done(item: dict[str, Any], index: int = 0) -> tuple[str, dict[str, Any]]:
    return "response.output_item.done", {"output_index": index, "item": item}


CREATED: tuple[str, dict[str, Any]] = ("response.created", {"response": body(status="in_progress", usage=None)})


def completed(*output: dict[str, Any], **top: Any) -> tuple[str, dict[str, Any]]:
    return "response.completed", {"response": body(*output, **top)}


FIELDS = (
    "type",
    "id",
    "call_id",
    "name",
    "arguments",
    "input",
    "content",
    "summary",
    "text",
    "refusal",
    "annotations",
    "encrypted_content",
    "phase",
    "url_citation",
    "start_index",
    "logprobs",
    "namespace",
    "error",
    "status",
    "output",
    "usage",
    "model",
    "reason",
    "delta",
)
_TYPES = ("message", "function_call", "custom_tool_call", "reasoning", "web_search_call", "output_text", "refusal")
JUNK = st.recursive(
    LOOSE | st.sampled_from(_TYPES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=20,
)
"""Values of any shape, with the words of this API in them."""
