"""Calls of the Responses API as chat requests, there and back; and bodies of any shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.cassettes.matching import differences
from clawbench.errors import RequestError, UpstreamError
from clawbench.types import ChatRequest, HttpCall
from clawbench.wires.openai_responses import OpenAIResponses
from clawbench.wires.openai_responses_parse import parse_body
from tests.wires.made import LOOSE, TEXT, offer

WIRE = OpenAIResponses()
HI = {"role": "user", "content": "hi"}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "of a place", "parameters": {"type": "object", "properties": {}}},
}


def called(body: bytes, url: str = "https://h/v1/responses") -> HttpCall:
    return HttpCall(method="POST", url=url, headers={}, body=body)


def parsed(**body: Any) -> ChatRequest:
    return WIRE.parse(called(json.dumps({"model": "m", "input": "hi", **body}).encode()))


def test_a_string_and_instructions_are_two_messages() -> None:
    assert parsed(instructions="Be brief.").messages == [{"role": "system", "content": "Be brief."}, HI]


def test_tools_that_are_no_functions_are_kept_and_never_refused() -> None:
    tools: list[dict[str, Any]] = [
        {"type": "function", "name": "weather", "parameters": {}, "strict": False},
        {"type": "web_search"},
        {"type": "namespace", "name": "n", "tools": []},
        {"type": "custom", "name": "sh"},
    ]
    request = parsed(
        tools=tools,
        tool_choice={"type": "web_search"},
        include=["reasoning.encrypted_content", "web_search_call.action.sources"],
        truncation="auto",
        prompt_cache_key="k",
        background=None,
        text={"format": {"type": "text"}, "verbosity": "high"},
        reasoning={"effort": "low", "summary": "auto"},
    )
    assert request.tools == [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    assert request.tool_choice is None
    assert request.reasoning_effort == "low"
    assert request.response_format is None
    assert request.extra == {
        "openai_responses": {
            "include": ["web_search_call.action.sources"],
            "tools": tools[1:],
            "tool_choice": {"type": "web_search"},
            "truncation": "auto",
        },
        "prompt_cache_key": "k",
        "verbosity": "high",
        "reasoning": {"summary": "auto"},
    }
    body = json.loads(WIRE.encode(request, offer()).body)
    assert body["tools"] == tools
    assert body["tool_choice"] == {"type": "web_search"}
    assert body["include"][0] == "web_search_call.action.sources"


def test_items_of_one_turn_become_one_message() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": "u"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": {"x": 1}},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "2"}]},
        {"type": "item_reference", "id": "x"},
        {"role": "assistant", "content": "b"},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "e2"},
    ]
    sealed = {"type": "reasoning.encrypted", "data": "e", "format": "openai-responses-v1", "index": 0, "id": "rs_1"}
    assert parsed(input=items).messages == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "u"}}],
        },
        {
            "role": "assistant",
            "content": "a",
            "reasoning_details": [sealed],
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "c2", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "2"}]},
        {"role": "assistant", "content": "b", "output_items": [{"type": "item_reference", "id": "x"}]},
        {
            "role": "assistant",
            "content": None,
            "refusal": "no",
            "reasoning_details": [{**sealed, "data": "e2", "id": "rs_2", "index": 1}],
        },
    ]


def test_text_and_the_providers_own_tools_keep_their_order() -> None:
    items = [
        HI,
        {"role": "assistant", "content": "I will search."},
        {"type": "tool_search_call", "call_id": "s", "arguments": {}},
        {"type": "tool_search_output", "call_id": "s", "tools": []},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
    ]
    assert json.loads(WIRE.encode(parsed(input=items), offer()).body)["input"] == items


def test_a_deployments_name_stands_in_for_a_missing_model() -> None:
    url = "https://h/openai/deployments/my%20o3/responses?api-version=1"
    assert WIRE.parse(called(b'{"input":"hi"}', url)).model == "my o3"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"model":"m"}', b'{"model":"m","input":3}', b"\xff"])
def test_what_is_no_request_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the type is the contract, the text varies
        WIRE.parse(called(body))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"nope", None),
        (b"[]", None),
        (b'{"input":"x"}', "model"),
        (b'{"model":"m"}', "input"),
        (b'{"model":"m","input":5}', "input"),
        (b'{"model":"m","input":["x"]}', "input[0]"),
        (b'{"model":"m","input":"x","temperature":3}', "temperature"),
        (b'{"model":"m","input":"x","max_output_tokens":0}', "max_output_tokens"),
    ],
)
def test_a_clients_mistake_is_a_400_that_names_the_field(body: bytes, param: str | None) -> None:
    with pytest.raises(RequestError) as refused:
        parse_body(body)
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "bad_request", param)


def test_what_clients_of_this_api_send_besides_is_accepted() -> None:
    body = {
        "model": "gpt-5",
        "input": [],
        "client_metadata": {"a": 1},
        "prompt_cache_key": "k",
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "tools": [{"type": "custom", "name": "apply_patch", "format": {"type": "grammar"}}],
        "unheard_of": True,
    }
    request = parse_body(json.dumps(body).encode())
    assert request.tools is None
    assert request.extra["openai_responses"]["client_metadata"] == {"a": 1}
    assert request.extra["unheard_of"] is True


def test_a_call_is_told_by_its_content_and_its_path() -> None:
    asked = b'{"model":"m","input":"hi"}'
    answer = b'{"object": "response", "output": []}'
    assert WIRE.recognises(called(asked, "https://h/openai/v1/responses?api-version=1"), b"<html>")
    assert WIRE.recognises(called(asked, "https://h/proxy"), answer)
    assert WIRE.recognises(called(asked, "https://h/proxy"), b'event: response.created\ndata: {"type":"x"}\n\n')
    assert not WIRE.recognises(called(asked, "https://h/v1/embeddings"), b'{"object":"list","data":[]}')
    assert not WIRE.recognises(called(b'{"model":"m","messages":[]}'), answer)
    assert not WIRE.recognises(called(b""), answer)


IDS = st.sampled_from(["call_a", "call_b", "call_c"])
CALLS = st.builds(
    lambda id, name, arguments: {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}},
    IDS,
    st.sampled_from(["f", "g"]),
    st.sampled_from(["{}", '{"a":"ü"}', "no json"]),
)
SAID = st.text(min_size=1, max_size=20)
TURNS = st.one_of(
    st.builds(
        lambda role, content: [{"role": role, "content": content}],
        st.sampled_from(["user", "system", "developer"]),
        SAID | st.lists(st.builds(lambda text: {"type": "text", "text": text}, SAID), min_size=1, max_size=2),
    ),
    st.builds(lambda text: [{"role": "assistant", "content": text}, {"role": "user", "content": "go on"}], SAID),
    st.builds(
        lambda text, calls: [
            {"role": "assistant", "content": text, "tool_calls": calls},
            *({"role": "tool", "tool_call_id": call["id"], "content": "done"} for call in calls),
        ],
        st.none() | SAID,
        st.lists(CALLS, min_size=1, max_size=3, unique_by=lambda call: call["id"]),
    ),
)
REQUESTS = st.builds(
    ChatRequest,
    model=st.just("m-1"),
    messages=st.lists(TURNS, min_size=1, max_size=4).map(lambda turns: [each for turn in turns for each in turn]),
    stream=st.booleans(),
    tools=st.none() | st.just([WEATHER]),
    tool_choice=st.none() | st.sampled_from(["auto", "none", "required"]),
    parallel_tool_calls=st.none() | st.booleans(),
    response_format=st.none()
    | st.just({"type": "json_object"})
    | st.just({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}),
    max_output_tokens=st.none() | st.integers(16, 100_000),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    reasoning_effort=st.none() | st.sampled_from(["minimal", "low", "high"]),
    extra=st.just({}) | st.just({"metadata": {"a": "b"}, "verbosity": "low"}),
)


@given(REQUESTS)
def test_a_request_that_was_written_reads_as_the_same_request(request: ChatRequest) -> None:
    again = WIRE.parse(WIRE.encode(request, offer()))
    assert differences(again, request) == []


_KEYS = [
    "type",
    "role",
    "content",
    "tool_calls",
    "id",
    "call_id",
    "function",
    "name",
    "arguments",
    "output",
    "reasoning_details",
    "output_items",
    "tool_call_extra",
    "summary",
    "custom",
    "text",
    "index",
    "format",
]
_WORDS = st.sampled_from(["message", "reasoning", "function_call", "function_call_output", "assistant", "user", "tool"])
JUNK = st.recursive(
    LOOSE | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=6),
    max_leaves=25,
)
MESSAGES = st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "reasoning_details"]), JUNK)


def written(request: ChatRequest) -> str:
    try:
        WIRE.encode(request, offer())
    except UpstreamError as error:
        return error.outcome
    return "ok"


@given(st.lists(MESSAGES, max_size=4))
def test_messages_of_any_shape_are_written_or_refused_with_a_type(messages: list[dict[str, Any]]) -> None:
    assert written(ChatRequest(model="m", messages=messages)) in ("ok", "rejected")


@given(st.lists(JUNK, max_size=5), st.dictionaries(TEXT, LOOSE, max_size=3))
def test_items_of_any_shape_are_read(items: list[Any], fields: dict[str, Any]) -> None:
    request = WIRE.parse(called(json.dumps({**fields, "model": "m", "input": items}).encode()))
    assert request.model == "m"
    assert written(request) in ("ok", "rejected")


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_are_a_request_or_a_value_error(body: bytes) -> None:
    assert not WIRE.recognises(called(body), b"")
    with pytest.raises(ValueError):  # noqa: PT011 - the type is the contract, the text varies
        WIRE.parse(called(body))
