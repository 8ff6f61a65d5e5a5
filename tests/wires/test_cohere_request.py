"""Requests of Cohere's chat API, version 2: OpenAI's form written as Cohere wants it, and read back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.cassettes.matching import differences
from clawbench.errors import UpstreamError
from clawbench.types import (
    ChatRequest,
    HttpCall,
    Message,
)
from clawbench.wires.cohere import Cohere
from tests.wires.made import offer
from tests.wires.made_requests import OTHER, TEXT, TOOL, called, conversations, request, user

WIRE = Cohere()


def encoded(asked: ChatRequest, model: str = "command-a-03-2025", **more: Any) -> HttpCall:
    return WIRE.encode(asked, offer("cohere", upstream_model=model, **{"base_url": "https://h", **more}))


def body(asked: ChatRequest, model: str = "command-a-03-2025", **more: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(encoded(asked, model, **more).body)
    return value


def parse(value: Any) -> ChatRequest:
    return WIRE.parse(HttpCall(method="POST", url="https://h/v2/chat", headers={}, body=json.dumps(value).encode()))


def test_a_plain_request() -> None:
    said = body(request({"role": "developer", "content": "be brief"}, user("hi"), stream=True))
    assert said == {
        "model": "command-a-03-2025",
        "messages": [{"role": "system", "content": "be brief"}, user("hi")],
        "stream": True,
    }
    for base in ("https://h", "https://h/v1", "https://h/v2", "https://h/compatibility/v1"):
        assert encoded(request(), base_url=base).url == "https://h/v2/chat"


def test_sampling_in_coheres_words_and_ranges() -> None:
    asked = request(
        temperature=0.5, top_p=0.9, max_output_tokens=99, stop=["x"], seed=7, frequency_penalty=0.1,
        presence_penalty=0.2, logprobs=True, extra={"top_k": 4, "safety_mode": "OFF"},
    )  # fmt: skip
    said = body(asked)
    assert {key: said[key] for key in said if key not in ("model", "messages", "stream")} == {
        "temperature": 0.5, "p": 0.9, "max_tokens": 99, "stop_sequences": ["x"], "seed": 7, "frequency_penalty": 0.1,
        "presence_penalty": 0.2, "logprobs": True, "k": 4, "safety_mode": "OFF",
    }  # fmt: skip
    call = encoded(request(top_p=1.0, frequency_penalty=1.5, presence_penalty=-0.5, seed=-1, extra={"user": "u"}))
    said = json.loads(call.body)
    assert (said["p"], said["frequency_penalty"]) == (0.99, 1.0)
    assert call.notes == (
        "top_p sent as 0.99",
        "frequency_penalty sent as 1",
        "presence_penalty (negative) left out",
        "seed (negative) left out",
        "user left out",
    )
    assert body(request(max_output_tokens=500), max_output_tokens=99)["max_tokens"] == 99


def test_formats() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}
    assert body(request(response_format=wanted))["response_format"] == {"type": "json_object", "json_schema": schema}
    assert parse(body(request(response_format=wanted))).response_format == wanted
    assert body(request(response_format={"type": "json_object"}))["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("command-a-reasoning-08-2025", "none", {"type": "disabled"}),
        ("command-a-reasoning-08-2025", "low", {"type": "enabled", "token_budget": 2048}),
        ("command-a-reasoning-08-2025", "high", {"type": "enabled"}),
        ("command-a-03-2025", "high", None),
        ("command-a-03-2025", "none", None),
    ],
)
def test_reasoning_effort(model: str, effort: str, expected: Any) -> None:
    assert body(request(reasoning_effort=effort), model).get("thinking") == expected


@pytest.mark.parametrize(
    ("choice", "names", "said"),
    [
        ("auto", ["f", "g"], None),
        ("none", ["f", "g"], "NONE"),
        ("required", ["f", "g"], "REQUIRED"),
        ({"type": "function", "function": {"name": "g"}}, ["g"], "REQUIRED"),
    ],
)
def test_tool_choice(choice: Any, names: list[str], said: str | None) -> None:
    sent = body(request(tools=[TOOL, OTHER], tool_choice=choice))
    assert [tool["function"]["name"] for tool in sent["tools"]] == names
    assert sent.get("tool_choice") == said


def test_what_another_provider_sealed_is_left_out_with_a_note_and_a_refusal_is_text() -> None:
    details = [{"type": "reasoning.encrypted", "data": "x", "format": "google-gemini-v1"}]
    sealed = {"role": "assistant", "content": None, "refusal": "No.", "reasoning_details": details}
    call = encoded(request(user("x"), sealed, user("so?")))
    assert call.notes == ("reasoning of another provider left out",)
    assert json.loads(call.body)["messages"][1] == {"role": "assistant", "content": "No."}


def test_strict_tools_are_strict_all_or_none() -> None:
    strict = [{**tool, "function": {**tool["function"], "strict": True}} for tool in (TOOL, OTHER)]
    said = body(request(tools=strict))
    assert (said["strict_tools"], said["tools"]) == (True, [TOOL, OTHER])
    assert parse(said).tools == strict
    call = encoded(request(tools=[strict[0], OTHER, {"type": "web_search"}]))
    assert "strict_tools" not in json.loads(call.body)
    assert call.notes == ("a tool of type 'web_search' left out", "strict (of some tools only) left out")


def test_tool_results_are_text_or_documents() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    asked = request(
        user("go"),
        called("a", "b", tool_plan="I will"),
        {"role": "tool", "tool_call_id": "a", "content": "plain"},
        {"role": "tool", "tool_call_id": "b", "content": parts},
    )
    said = body(asked)["messages"]
    assert said[1] == {"role": "assistant", "tool_calls": called("a", "b")["tool_calls"], "tool_plan": "I will"}
    assert said[2] == {"role": "tool", "tool_call_id": "a", "content": "plain"}
    assert said[3]["content"] == [
        {"type": "document", "document": {"data": "one"}},
        {"type": "document", "document": {"data": "two"}},
    ]
    assert parse(body(asked)).messages == asked.messages
    held = {"type": "document", "document": {"data": {"t": 1}}}
    read = parse({"messages": [{"role": "tool", "tool_call_id": "a", "content": [held]}]})
    assert read.messages[0]["content"] == '{"t":1}'


def test_reasoning_goes_back_as_thinking_or_as_the_plan_that_it_was() -> None:
    message = called("a", reasoning_content="I will")
    thinks = body(request(user("x"), message), "command-a-reasoning-08-2025")["messages"][1]
    assert thinks["content"] == [{"type": "thinking", "thinking": "I will"}]
    plans = body(request(user("x"), message))["messages"][1]
    assert (plans["tool_plan"], "content" in plans) == ("I will", False)
    both = body(request(user("x"), {**message, "reasoning_content": "hmI will", "tool_plan": "I will"}))["messages"][1]
    assert (both["content"], both["tool_plan"]) == ([{"type": "thinking", "thinking": "hm"}], "I will")


@pytest.mark.parametrize(
    "asked",
    [
        request(user([{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}])),
        request(user([{"type": "image_url", "image_url": {}}])),
        request({"role": "tool", "tool_call_id": "a", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
        request(n=2),
    ],
)
def test_what_would_be_lost_refuses_the_request_for_this_offer(asked: ChatRequest) -> None:
    with pytest.raises(UpstreamError) as refused:
        encoded(asked)
    assert (refused.value.outcome, refused.value.try_next) == ("rejected", True)


@pytest.mark.parametrize("bad", [b"", b"[]", b"{}", b'{"messages":[]}', b'{"messages":[7]}', b'{"message":"x"}'])
def test_what_is_no_request_is_a_value_error(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        WIRE.parse(HttpCall(method="POST", url="https://h/v2/chat", headers={}, body=bad))


def test_calls_are_told_by_path_and_content() -> None:
    asked = b'{"messages":[{"role":"user"}]}'
    for url, sent, reply, expected in (
        ("https://h/v2/chat", asked, b"", True),
        ("https://proxy/llm", asked, b'{"usage":{"billed_units":{}}}', True),
        ("https://api.writer.com/v1/chat", asked, b'{"choices":[]}', False),
        ("https://h/v2/chat", b'{"message":"x"}', b"", False),
        ("https://h/v2/chat", b"\xff", b"", False),
    ):
        assert WIRE.recognises(HttpCall(method="POST", url=url, headers={}, body=sent), reply) is expected, url


LOOSE: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=5) | st.just([]) | st.just({})
)


IMAGE = {"type": "image_url", "image_url": {"url": "https://h/a.png", "detail": "low"}}


LAST_WORDS: st.SearchStrategy[Message] = TEXT.map(lambda text: {"role": "assistant", "content": text})


@given(
    st.builds(
        ChatRequest,
        model=st.just("command-a-reasoning-08-2025"),
        messages=conversations(IMAGE, LAST_WORDS),
        stream=st.booleans(),
        tools=st.none() | st.just([TOOL]),
        response_format=st.none() | st.just({"type": "json_object"}),
        max_output_tokens=st.none() | st.integers(1, 10**6),
        temperature=st.none() | st.floats(0, 2),
        top_p=st.none() | st.floats(0, 0.99),
        presence_penalty=st.none() | st.floats(0, 1),
        stop=st.none() | st.lists(TEXT, min_size=1, max_size=4),
        seed=st.none() | st.integers(0, 2**40),
        reasoning_effort=st.sampled_from([None, "none", "minimal", "low", "medium", "high"]),
        extra=st.just({}) | st.just({"k": 5, "safety_mode": "OFF"}),
    )
)
def test_what_is_written_is_read_back_the_same(asked: ChatRequest) -> None:
    sent = encoded(asked, "command-a-reasoning-08-2025")
    assert differences(asked, WIRE.parse(sent)) == []
    assert sent.notes == ()


@given(
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant", "tool", "system", None])},
            optional={
                "content": LOOSE | st.lists(LOOSE | st.just(IMAGE) | st.just({"type": "text", "text": "a"})),
                "tool_calls": st.none() | st.lists(st.dictionaries(st.sampled_from(["id", "function"]), LOOSE)),
                "tool_call_id": LOOSE,
                "tool_plan": LOOSE,
                "citations": LOOSE,
            },
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_messages_that_the_gateway_lets_through_are_written_or_refused(messages: list[Message]) -> None:
    try:
        sent = encoded(request(*messages))
    except UpstreamError as refused:
        assert refused.outcome == "rejected"  # noqa: PT017
        return
    WIRE.parse(sent)
