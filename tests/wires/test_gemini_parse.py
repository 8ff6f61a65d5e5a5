"""Requests to Gemini, read: those of other clients, those that were written here, and anything else."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.cassettes.matching import differences
from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, HttpCall, Message
from clawbench.wires.gemini import Gemini
from tests.wires.made import offer
from tests.wires.made_requests import TEXT, TOOL, conversations, request

WIRE = Gemini()


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n>>>???").decode()


SIGNATURE = "CpgEAdHtim8/+=="


def encoded(asked: ChatRequest, model: str = "gemini-2.5-flash", **more: Any) -> HttpCall:
    return WIRE.encode(asked, offer("gemini", upstream_model=model, base_url="https://h/v1beta", **more))


def parse(value: dict[str, Any], url: str = "https://h/v1beta/models/g:generateContent") -> ChatRequest:
    return WIRE.parse(HttpCall(method="POST", url=url, headers={}, body=json.dumps(value).encode()))


def test_requests_of_other_clients_are_read_in_either_spelling() -> None:
    asked = parse(
        {
            "model": "models/g",
            "system_instruction": {"parts": {"text": "sys"}},
            "contents": [
                {"parts": [{"text": "go"}]},
                {"role": "model", "parts": [{"function_call": {"name": "f", "args": {"a_b": 1}}}]},
                {"role": "function", "parts": [{"function_response": {"name": "f", "response": {"result": "r"}}}]},
                {"role": "user", "parts": [{"inline_data": {"mime_type": "image/png", "data": PNG}}]},
            ],
            "tools": [
                {"function_declarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {
                    "a_b": {"type": "INTEGER", "nullable": True}}}}]}
            ],
            "generation_config": {"max_output_tokens": 5, "stopSequences": [], "responseMimeType": "application/json"},
            "safety_settings": [{"category": 7, "threshold": 3}],
        },
        "https://h/v1beta/models/gemini%2Dx:streamGenerateContent?key=k",
    )  # fmt: skip
    assert (asked.model, asked.stream, asked.max_output_tokens, asked.stop) == ("gemini-x", True, 5, None)
    assert asked.messages == [
        {"role": "system", "content": "sys"},
        {"role": "user", "content": "go"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_0", "type": "function", "function": {"name": "f", "arguments": '{"a_b":1}'}}],
        },
        {"role": "tool", "tool_call_id": "call_0", "content": "r"},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}],
        },
    ]
    assert asked.tools is not None
    assert asked.tools[0]["function"]["parameters"] == {
        "type": "object",
        "properties": {"a_b": {"type": ["integer", "null"]}},
    }
    assert asked.response_format == {"type": "json_object"}
    assert asked.extra == {"safetySettings": [{"category": 7, "threshold": 3}]}


def test_results_without_ids_find_their_calls_by_name_and_order() -> None:
    def call(name: str) -> dict[str, Any]:
        return {"functionCall": {"name": name, "args": {}}}

    def answer(name: str) -> dict[str, Any]:
        return {"functionResponse": {"name": name, "response": {"output": name}}}

    asked = parse(
        {
            "contents": [
                {"role": "model", "parts": [call("f"), call("g"), call("f")]},
                {"role": "user", "parts": [answer("g"), answer("f"), answer("f")]},
                {"role": "model", "parts": [call("f")]},
                {"role": "user", "parts": [answer("f")]},
            ]
        }
    )
    assert [message.get("tool_call_id") for message in asked.messages] == [
        None, "call_1", "call_0", "call_2", None, "call_3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [b"", b"[]", b"{}", b'{"contents":[]}', b'{"contents":7}', b'{"contents":[7]}', b'{"contents":[{"parts":[7]}]}'],
)
def test_what_is_no_request_is_a_value_error(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        WIRE.parse(HttpCall(method="POST", url="https://h/models/g:generateContent", headers={}, body=bad))


IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
SIGNED = [{"type": "reasoning.encrypted", "data": SIGNATURE, "format": "google-gemini-v1"}]
LAST_WORDS: st.SearchStrategy[Message] = TEXT.map(lambda text: {"role": "assistant", "content": text}) | TEXT.map(
    lambda text: {"role": "assistant", "content": text, "reasoning_details": SIGNED}
)
REQUESTS = st.builds(
    ChatRequest,
    model=st.just("gemini-2.5-flash"),
    messages=conversations(IMAGE, LAST_WORDS),
    stream=st.booleans(),
    tools=st.none() | st.just([TOOL]),
    response_format=st.none()
    | st.just({"type": "json_object"})
    | st.just({"type": "json_schema", "json_schema": {"name": "response", "schema": {"type": "object"}}}),
    max_output_tokens=st.none() | st.integers(1, 10**6),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    frequency_penalty=st.none() | st.floats(-2, 2),
    stop=st.none() | st.lists(TEXT, min_size=1, max_size=4),
    seed=st.none() | st.integers(-(2**31), 2**31 - 1),
    n=st.none() | st.integers(1, 8),
    reasoning_effort=st.sampled_from([None, "none", "low", "medium", "high"]),
    extra=st.just({}) | st.just({"top_k": 5, "modalities": ["text"], "safetySettings": []}),
)


@given(REQUESTS)
def test_what_is_written_is_read_back_the_same(asked: ChatRequest) -> None:
    call = encoded(asked)
    assert differences(asked, WIRE.parse(call)) == []
    assert call.notes == ()


LOOSE = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "contents",
                    "parts",
                    "role",
                    "text",
                    "functionCall",
                    "functionResponse",
                    "name",
                    "args",
                    "id",
                    "inlineData",
                    "fileData",
                    "data",
                    "fileUri",
                    "mimeType",
                    "thought",
                    "thoughtSignature",
                    "response",
                    "tools",
                    "functionDeclarations",
                    "parameters",
                    "toolConfig",
                    "functionCallingConfig",
                    "mode",
                    "generationConfig",
                    "thinkingConfig",
                    "thinkingLevel",
                    "responseSchema",
                    "stopSequences",
                    "systemInstruction",
                    "inline_data",
                    "allowedFunctionNames",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


def outcome_of_writing(asked: ChatRequest) -> str:
    try:
        json.loads(encoded(asked, "gemini-3-pro").body)
    except UpstreamError as error:
        return error.outcome
    return "written"


@given(st.lists(LOOSE, min_size=1, max_size=4) | LOOSE, LOOSE)
def test_no_body_makes_reading_raise_anything_but_a_value_error(contents: Any, more: Any) -> None:
    value = {**(more if isinstance(more, dict) else {}), "contents": contents}
    call = HttpCall(
        method="POST", url="https://h/models/g:generateContent", headers={}, body=json.dumps(value).encode()
    )
    WIRE.recognises(call, b"{}")
    try:
        asked = WIRE.parse(call)
    except ValueError:
        return
    assert outcome_of_writing(asked) in ("written", "rejected")


@given(
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant", "tool", "system", None])},
            optional={
                "content": LOOSE,
                "tool_calls": st.none() | st.lists(st.dictionaries(st.sampled_from(["id", "function"]), LOOSE)),
                "reasoning_details": LOOSE,
                "images": LOOSE,
                "tool_call_id": LOOSE,
            },
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_messages_that_the_gateway_lets_through_are_written_or_refused(messages: list[Message]) -> None:
    assert outcome_of_writing(request(*messages)) in ("written", "rejected")
