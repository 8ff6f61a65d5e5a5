"""Requests of Ollama's native API: OpenAI's form written as Ollama wants it, and read back; `/api/generate` too."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.cassettes.matching import differences
from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Completion, HttpCall, Message
from clawbench.wires.ollama import Ollama, OllamaGenerate
from tests.wires.made import offer
from tests.wires.made_requests import OTHER, TEXT, TOOL, called, conversations, request, user

WIRE, GENERATE = Ollama(), OllamaGenerate()


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}


def encoded(asked: ChatRequest, model: str = "qwen3", **more: Any) -> HttpCall:
    return WIRE.encode(asked, offer("ollama", upstream_model=model, **{"base_url": "http://h:11434", **more}))


def body(asked: ChatRequest, model: str = "qwen3", **more: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(encoded(asked, model, **more).body)
    return value


def parse(value: Any, wire: Ollama | OllamaGenerate = WIRE) -> ChatRequest:
    return wire.parse(HttpCall(method="POST", url="http://h/api/chat", headers={}, body=json.dumps(value).encode()))


def test_a_request_says_whether_it_wants_a_stream_because_one_comes_unasked() -> None:
    assert body(request()) == {"model": "qwen3", "messages": [user("hi")], "stream": False}
    assert body(request(stream=True))["stream"] is True
    assert parse({"model": "m", "messages": [user("x")]}).stream is True
    for base in ("http://h:11434", "http://h:11434/v1", "http://h:11434/api"):
        assert encoded(request(), base_url=base).url == "http://h:11434/api/chat"


def test_sampling_goes_into_options() -> None:
    said = body(
        request(
            temperature=0.5, top_p=0.9, max_output_tokens=99, stop=["x"], seed=7, frequency_penalty=0.1,
            presence_penalty=0.2, extra={"top_k": 4, "num_ctx": 8192, "keep_alive": "5m", "options": {"min_p": 0.1}},
        )
    )  # fmt: skip
    assert said["options"] == {
        "min_p": 0.1, "temperature": 0.5, "top_p": 0.9, "num_predict": 99, "stop": ["x"], "seed": 7,
        "frequency_penalty": 0.1, "presence_penalty": 0.2, "top_k": 4, "num_ctx": 8192,
    }  # fmt: skip
    assert said["keep_alive"] == "5m"
    assert body(request(max_output_tokens=500), max_output_tokens=99)["options"] == {"num_predict": 99}


def test_calls_have_objects_for_arguments_and_results_the_name_of_their_tool() -> None:
    asked = request(user("go"), called("a", "call_1"), {"role": "tool", "tool_call_id": "a", "content": "one"})
    assert body(asked)["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "a", "function": {"name": "fa", "arguments": {"x": 1}}},
                {"function": {"name": "fcall_1", "arguments": {"x": 1}}},
            ],
        },
        {"role": "tool", "content": "one", "tool_name": "fa", "tool_call_id": "a"},
    ]
    call = encoded(request(user("go"), called("a", arguments="{oops")))
    assert json.loads(call.body)["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"arguments": "{oops"}
    assert call.notes == ("tool arguments that are no JSON object sent as text",)


def test_images_stand_beside_the_text() -> None:
    asked = request(user([{"type": "text", "text": "look"}, IMAGE]))
    assert body(asked)["messages"] == [{"role": "user", "content": "look", "images": [PNG]}]
    assert parse(body(asked)).messages == asked.messages


@pytest.mark.parametrize(
    "asked",
    [
        request(user([{"type": "image_url", "image_url": {"url": "https://h/a.png"}}])),
        request(user([{"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}}])),
        request(user([{"type": "file", "file": {"file_data": PNG}}])),
        request(n=2),
    ],
)
def test_what_would_be_lost_refuses_the_request_for_this_offer(asked: ChatRequest) -> None:
    with pytest.raises(UpstreamError) as refused:
        encoded(asked)
    assert (refused.value.outcome, refused.value.try_next) == ("rejected", True)


@pytest.mark.parametrize(
    ("choice", "names", "notes"),
    [
        (None, ["f", "g"], ()),
        ("auto", ["f", "g"], ()),
        ("none", [], ("tool_choice none: the tools left out",)),
        ("required", ["f", "g"], ("tool_choice left out",)),
        (
            {"type": "function", "function": {"name": "g"}},
            ["g"],
            ("tool_choice: only the named tool sent, and not forced",),
        ),
    ],
)
def test_a_tool_choice_is_said_by_the_tools_that_are_sent(choice: Any, names: list[str], notes: object) -> None:
    call = encoded(request(tools=[TOOL, OTHER], tool_choice=choice))
    assert [tool["function"]["name"] for tool in json.loads(call.body).get("tools", [])] == names
    assert call.notes == notes


@pytest.mark.parametrize(
    ("model", "effort", "think"),
    [
        ("qwen3", "none", False),
        ("qwen3", "medium", True),
        ("qwen3", "low", True),
        ("gpt-oss:20b", "low", "low"),
        ("gpt-oss:20b", "minimal", "low"),
        ("gpt-oss:20b", "xhigh", "high"),
    ],
)
def test_reasoning_effort(model: str, effort: str, think: Any) -> None:
    assert body(request(reasoning_effort=effort), model)["think"] == think


def test_formats() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}
    assert body(request(response_format=wanted))["format"] == schema
    assert parse(body(request(response_format=wanted))).response_format == wanted
    assert body(request(response_format={"type": "json_object"}))["format"] == "json"
    assert "format" not in body(request(response_format={"type": "text"}))


def test_what_cannot_be_said_is_noted() -> None:
    call = encoded(
        request({**user("x"), "name": "bob"}, parallel_tool_calls=False, tools=[{"type": "web_search"}],
                extra={"user": "u", "models": ["a"], "logit_bias": {}})
    )  # fmt: skip
    assert call.notes == (
        "name of a message left out",
        "a tool of type 'web_search' left out",
        "parallel_tool_calls left out",
        "user left out",
        "logit_bias left out",
    )


SEALED = {
    "role": "assistant",
    "content": None,
    "refusal": "No.",
    "reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "format": "google-gemini-v1"}],
}


def test_what_another_provider_sealed_is_left_out_with_a_note_and_a_refusal_is_text() -> None:
    marked = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
    strict = {"type": "function", "function": {"name": "f", "strict": True}}
    call = encoded(request(user([marked]), SEALED, user("so?"), tools=[strict]))
    assert call.notes == (
        "cache_control left out",
        "reasoning of another provider left out",
        "strict has no effect in this dialect",
    )
    assert json.loads(call.body)["messages"][1] == {"role": "assistant", "content": "No."}


def test_recorded_calls_without_ids_are_tied_to_their_results() -> None:
    def call(name: str) -> dict[str, Any]:
        return {"function": {"name": name, "arguments": {}}}

    asked = parse(
        {
            "model": "m",
            "messages": [
                {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [call("f"), call("g")]},
                {"role": "tool", "content": "2", "tool_name": "g"},
                {"role": "tool", "content": "1"},
                {"role": "assistant", "content": "", "tool_calls": [call("f")]},
                {"role": "tool", "content": "3", "name": "f"},
            ],
            "options": {"temperature": 1, "num_ctx": 5, "strange": 2, "num_predict": -1},
            "format": "",
            "keep_alive": None,
        }
    )
    assert [message.get("tool_call_id") for message in asked.messages] == [None, "call_1", "call_0", None, "call_2"]
    assert asked.messages[0]["reasoning_content"] == "hm"
    assert (asked.temperature, asked.max_output_tokens) == (1, None)
    assert asked.extra == {"num_ctx": 5, "options": {"strange": 2, "num_predict": -1}}


def test_a_generate_call_is_one_prompt() -> None:
    asked = parse(
        {"model": "m", "prompt": "hi", "system": "sys", "images": [PNG], "stream": False, "raw": True, "context": [1]},
        GENERATE,
    )
    assert asked.messages == [
        {"role": "system", "content": "sys"},
        user([{"type": "text", "text": "hi"}, IMAGE]),
    ]
    assert (asked.stream, asked.extra) == (False, {"raw": True, "context": [1]})
    with pytest.raises(UpstreamError, match="only read"):
        GENERATE.encode(asked, offer("ollama"))
    with pytest.raises(ValueError, match="only read"):
        GENERATE.compose(Completion(choices=()))
    with pytest.raises(ValueError, match="only read"):
        GENERATE.compose_stream([], id="", model="", created=0)


@pytest.mark.parametrize("bad", [b"", b"[]", b"{}", b'{"messages":[]}', b'{"messages":[7]}', b'{"prompt":7}'])
def test_what_is_no_request_is_a_value_error(bad: bytes) -> None:
    for wire in (WIRE, GENERATE):
        with pytest.raises(ValueError, match=r"\w"):
            wire.parse(HttpCall(method="POST", url="http://h/api/chat", headers={}, body=bad))


def test_calls_are_told_by_path_and_content() -> None:
    chat, generate = b'{"messages":[{"role":"user"}]}', b'{"prompt":"x"}'
    done = b'{"model":"m","message":{"role":"assistant","content":"x"},"done":false}\n{"done":true}'
    for wire, url, asked, reply, expected in (
        (WIRE, "http://h/api/chat", chat, b"", True),
        (WIRE, "http://h/api/chat?x=1", chat, b'{"error":"no"}', True),
        (WIRE, "http://proxy/llm", chat, done, True),
        (WIRE, "http://h/v1/chat/completions", chat, b'{"choices":[{"message":{}}]}', False),
        (WIRE, "http://h/api/chat", generate, b"", False),
        (WIRE, "http://h/api/chat", b"\xff", b"", False),
        (GENERATE, "http://h/api/generate", generate, b"", True),
        (GENERATE, "http://proxy/llm", generate, b'{"model":"m","response":"x","done":true}', True),
        (GENERATE, "http://h/v1/completions", generate, b'{"choices":[],"done":1}', False),
        (GENERATE, "http://text/models", b"{}", b'[{"name":"m"}]', False),
    ):
        assert wire.recognises(HttpCall(method="POST", url=url, headers={}, body=asked), reply) is expected, url


LOOSE: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=5) | st.just([])


LAST_WORDS: st.SearchStrategy[Message] = st.tuples(TEXT, TEXT).map(
    lambda both: {"role": "assistant", "content": both[0], "reasoning_content": both[1]}
)


@given(
    st.builds(
        ChatRequest,
        model=st.just("qwen3"),
        messages=conversations(IMAGE, LAST_WORDS),
        stream=st.booleans(),
        tools=st.none() | st.just([TOOL]),
        response_format=st.none() | st.just({"type": "json_object"}),
        max_output_tokens=st.none() | st.integers(1, 10**6),
        temperature=st.none() | st.floats(0, 2),
        top_p=st.none() | st.floats(0, 1),
        presence_penalty=st.none() | st.floats(-2, 2),
        stop=st.none() | st.lists(TEXT, min_size=1, max_size=4),
        seed=st.none() | st.integers(-5, 2**40),
        logprobs=st.none() | st.just(True),
        reasoning_effort=st.sampled_from([None, "none", "medium"]),
        extra=st.just({}) | st.just({"top_k": 5, "keep_alive": "1m"}),
    )
)
def test_what_is_written_is_read_back_the_same(asked: ChatRequest) -> None:
    call = encoded(asked)
    assert differences(asked, WIRE.parse(call)) == []
    assert call.notes == ()


MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "system", None])},
        optional={
            "content": LOOSE | st.lists(LOOSE | st.just(IMAGE) | st.just({"type": "text", "text": "a"}), max_size=2),
            "tool_calls": st.none() | st.lists(st.dictionaries(st.sampled_from(["id", "function"]), LOOSE), max_size=2),
            "tool_call_id": LOOSE,
            "reasoning_content": LOOSE,
        },
    ),
    min_size=1,
    max_size=4,
)


@given(MESSAGES)
def test_any_messages_that_the_gateway_lets_through_are_written_or_refused(messages: list[Message]) -> None:
    try:
        call = encoded(request(*messages))
    except UpstreamError as refused:
        assert refused.outcome == "rejected"  # noqa: PT017
        return
    WIRE.parse(call)
