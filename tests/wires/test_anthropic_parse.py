"""Anthropic's requests read: what was written comes back, what is no request says why, any bytes are survived."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, HttpCall
from clawbench.wires.anthropic import AnthropicMessages
from tests.wires.made import offer
from tests.wires.test_anthropic_request import HIDDEN, PARTS, SIGNED, USER, WEATHER, asked

WIRE = AnthropicMessages()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"messages":3}', b'{"messages":[3]}', b'{"messages":[{"role":"x"}]}', b"\xff{"]
)
def test_a_body_that_is_no_request_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"body|message"):
        WIRE.parse(HttpCall(method="POST", url="https://h/v1/messages", headers={}, body=body))


def test_vertex_states_the_model_in_the_url() -> None:
    body = json.dumps({"anthropic_version": "vertex-2023-10-16", "messages": [USER], "max_tokens": 9}).encode()
    url = "https://us-east5-aiplatform.googleapis.com/v1/projects/p/publishers/anthropic/models/claude-opus-4-6%40x"
    call = HttpCall(method="POST", url=f"{url}:streamRawPredict", headers={}, body=body)
    assert WIRE.recognises(call, b"")
    request = WIRE.parse(call)
    assert (request.model, request.stream, request.extra) == ("claude-opus-4-6@x", True, {})


TEXT = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() != "")
CALLS = st.lists(
    st.builds(
        lambda id, name, given: {
            "id": f"toolu_{id}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(given, separators=(",", ":"), ensure_ascii=False)},
        },
        st.integers(0, 99),
        st.sampled_from(["f", "g"]),
        st.dictionaries(TEXT, st.integers() | TEXT | st.booleans(), max_size=2),
    ),
    min_size=1,
    max_size=3,
)
ASSISTANTS = st.builds(
    lambda content, calls, details: {
        "role": "assistant",
        "content": content,
        **({"tool_calls": calls} if calls else {}),
        **({"reasoning_details": details} if details else {}),
    },
    TEXT,
    st.none() | CALLS,
    st.none() | st.lists(st.sampled_from([SIGNED, HIDDEN]), min_size=1, max_size=2),
)
USERS = st.builds(
    lambda content: {"role": "user", "content": content},
    TEXT | st.lists(st.sampled_from(PARTS), min_size=1, max_size=3),
)
TOOLS = st.builds(
    lambda id, content: {"role": "tool", "tool_call_id": f"toolu_{id}", "content": content}, st.integers(0, 9), TEXT
)
REQUESTS = st.builds(
    lambda system, messages, **more: ChatRequest(
        model="claude-sonnet-4-5",
        messages=[*([{"role": "system", "content": system}] if system else []), *messages],
        **{name: item for name, item in more.items() if item is not None},
    ),
    st.none() | TEXT,
    st.lists(USERS | ASSISTANTS | TOOLS, min_size=1, max_size=5),
    stream=st.booleans(),
    tools=st.none() | st.just([WEATHER]),
    max_output_tokens=st.integers(50_000, 60_000),
    stop=st.none() | st.lists(TEXT, min_size=1, max_size=2),
    temperature=st.none() | st.floats(0, 1),
    reasoning_effort=st.none() | st.sampled_from(["none"]),
)


@given(REQUESTS)
def test_what_is_written_is_read_back(request: ChatRequest) -> None:
    target = offer("anthropic", upstream_model=request.model)
    assert WIRE.parse(WIRE.encode(request, target)) == request


@given(st.sampled_from(["low", "medium", "high", "minimal", "xhigh", "none"]))
def test_a_reasoning_effort_is_read_back(effort: str) -> None:
    _, call = asked(reasoning_effort=effort, max_output_tokens=100_000)
    assert WIRE.parse(call).reasoning_effort == effort


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_are_a_value_error_or_a_request(body: bytes) -> None:
    call = HttpCall(method="POST", url="https://h/v1/messages", headers={}, body=body)
    if not WIRE.recognises(call, b""):
        with pytest.raises(ValueError, match="body"):
            WIRE.parse(call)


BLOCKS = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "text",
                    "source",
                    "content",
                    "input",
                    "id",
                    "name",
                    "tool_use_id",
                    "cache_control",
                    "citations",
                ]
            ),
            inner | st.sampled_from(["text", "image", "document", "tool_use", "tool_result", "thinking", "base64"]),
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(
    st.lists(
        st.builds(
            lambda role, content: {"role": role, "content": content},
            st.sampled_from(["user", "assistant", "system"]),
            BLOCKS,
        ),
        max_size=3,
    ),
    BLOCKS,
    BLOCKS,
)
def test_content_of_any_shape_is_a_value_error_or_a_request(messages: list[Any], system: Any, tools: Any) -> None:
    body = json.dumps({"messages": messages, "system": system, "tools": tools, "thinking": system}).encode()
    call = HttpCall(method="POST", url="https://h/v1/messages", headers={}, body=body)
    try:
        request = WIRE.parse(call)
    except ValueError:
        return
    with suppress(UpstreamError):
        WIRE.encode(request, offer("anthropic"))
