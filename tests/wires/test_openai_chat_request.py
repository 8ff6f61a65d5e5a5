"""Requests: what clients may send, how a refusal is explained, and what each provider is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from clawbench.errors import RequestError
from clawbench.types import ChatRequest, HttpCall
from clawbench.wires.openai_chat import OpenAIChat, parse_body
from clawbench.wires.openai_chat_fields import problems
from clawbench.wires.openai_quirks import DEFAULT, QUIRKS
from tests.wires.made import offer

WIRE = OpenAIChat()
USER = {"role": "user", "content": "hi"}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [USER], **fields}).encode()


def request(**fields: Any) -> ChatRequest:
    return parse_body(body(**fields))


def sent(asked: ChatRequest, provider: str = "openai", **more: Any) -> dict[str, Any]:
    value = json.loads(WIRE.encode(asked, offer(provider, **more)).body)
    assert isinstance(value, dict)
    return value


def refused(raw: bytes) -> RequestError:
    with pytest.raises(RequestError) as raised:
        parse_body(raw)
    error = raised.value
    assert (error.status, error.code, error.type) == (400, "bad_request", "invalid_request_error")
    return error


def test_every_field_has_its_place_and_unknown_ones_are_kept() -> None:
    asked = request(
        stream=True,
        stream_options={"include_usage": True, "continuous_usage_stats": True},
        max_tokens=5,
        max_completion_tokens=7,
        stop="x",
        reasoning={"effort": "low", "max_tokens": 9},
        temperature=1,
        user="u",
        logit_bias={"1": 2},
        top_k=None,
    )
    assert asked == ChatRequest(
        model="m",
        messages=[USER],
        stream=True,
        include_usage=True,
        max_output_tokens=7,
        stop=["x"],
        reasoning_effort="low",
        temperature=1.0,
        extra={"reasoning": {"max_tokens": 9}, "user": "u", "logit_bias": {"1": 2}, "top_k": None},
    )


def test_null_means_not_said() -> None:
    fields = dict.fromkeys(("stream", "tools", "stop", "temperature", "n", "max_tokens", "stream_options", "seed"))
    assert request(**fields) == request()


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", "  : ")])
def test_any_spacing_is_read(separators: tuple[str, str]) -> None:
    text = json.dumps({"model": "m", "messages": [USER], "stream": True}, separators=separators)
    assert parse_body(f" {text}\n".encode()) == request(stream=True)


def test_messages_keep_every_field_and_unusual_orders_are_fine() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "new_kind", "x": 1}], "cache_control": {}},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}], "reasoning_details": [{"x": 1}]},
        {"role": "assistant", "tool_calls": []},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "system", "content": ""},
        {"role": "user", "content": "b", "tool_calls": None},
        {"role": "user", "content": "c", "name": None},
    ]
    assert request(messages=messages).messages == messages


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b"{}", "model"),
        (b'{"model":"m"}', "messages"),
        (body(model=""), "model"),
        (body(model=None), "model"),
        (body(messages=[]), "messages"),
        (body(messages={}), "messages"),
        (body(messages=[3]), "messages[0]"),
        (body(messages=[{"content": "x"}]), "messages[0].role"),
        (body(messages=[USER, {"role": "robot", "content": "x"}]), "messages[1].role"),
        (body(messages=[{"role": ["user"], "content": "x"}]), "messages[0].role"),
        (body(messages=[{"role": "user"}]), "messages[0].content"),
        (body(messages=[{"role": "user", "content": None}]), "messages[0].content"),
        (body(messages=[{"role": "user", "content": {"text": "x"}}]), "messages[0].content"),
        (body(messages=[{"role": "user", "content": ["x"]}]), "messages[0].content[0]"),
        (body(messages=[{"role": "assistant", "tool_calls": 3}]), "messages[0].tool_calls"),
        (body(messages=[USER] * 10_001), "messages"),
        (body(temperature=2.1), "temperature"),
        (body(temperature="1"), "temperature"),
        (body(temperature=True), "temperature"),
        (body(top_p=-0.1), "top_p"),
        (body(presence_penalty=-2.5), "presence_penalty"),
        (body(frequency_penalty=2.5), "frequency_penalty"),
        (body(stop=["a"] * 5), "stop"),
        (body(stop=[1]), "stop[0]"),
        (body(stream="yes"), "stream"),
        (body(stream_options=3), "stream_options"),
        (body(max_tokens=0), "max_tokens"),
        (body(max_completion_tokens=1.5), "max_completion_tokens"),
        (body(n=0), "n"),
        (body(logprobs=1), "logprobs"),
        (body(top_logprobs=21), "top_logprobs"),
        (body(tools={}), "tools"),
        (body(tools=["x"]), "tools[0]"),
        (body(seed=2**63), "seed"),
        (body(response_format="json"), "response_format"),
        (body(big=10**19), "big"),
        (body(api_base="https://evil"), "api_base"),
        (body(base_url="x"), "base_url"),
        (body(api_key="x"), "api_key"),
        (body(headers={}), "headers"),
        (body(extra_body={}), "extra_body"),
        (body(extra_headers=None), "extra_headers"),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"model":"n"}', "model"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "model": "n"}', "model"),
        (b'{"mod\\u0065l":"m","messages":[{"role":"user","content":"x"}],"model":"n"}', "model"),
        (body(x=float("nan")), None),
        (body(x=float("inf")), None),
        (b'{"model":"m","x":1e999,"messages":[{"role":"user","content":"x"}]}', None),
        (rb'{"model":"m","messages":[{"role":"user","content":"\ud83d"}]}', None),
        (b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', None),
        (body(x=json.loads("[" * 70 + "]" * 70)), None),
        (b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
        (b'{"model":"m","x":' + b"9" * 5_000 + b',"messages":[{"role":"user","content":"x"}]}', None),
    ],
)
def test_a_bad_body_is_refused_and_its_place_is_named(raw: bytes, param: str | None) -> None:
    assert refused(raw).param == param


def test_a_refusal_names_every_bad_field_and_repeats_no_value() -> None:
    error = refused(
        body(temperature=9, stop=["secret"] * 5, messages=[{"role": "secret", "content": 3}], api_key="secret")
    )
    for place in ("temperature", "stop", "messages[0].role", "messages[0].content", "api_key"):
        assert place in error.message
    assert "secret" not in error.message


def test_problems_say_where_by_keys_and_positions() -> None:
    found = problems(body(messages=[USER, {"role": "x", "content": "y"}]))
    assert [problem.loc for problem in found] == [("messages", 1, "role")]
    assert problems(body()) == []


@pytest.mark.parametrize("provider", [*QUIRKS, "unknown.example"])
def test_every_provider_is_sent_its_own_words(provider: str) -> None:
    quirks = QUIRKS.get(provider, DEFAULT)
    asked = request(stream=True, max_tokens=9, seed=3, reasoning_effort="low", parallel_tool_calls=False)
    asked = structs.replace(asked, messages=[{"role": "developer", "content": "be brief"}, USER])
    value = sent(asked, provider)
    assert value["model"] == "m-1"
    assert value["stream"] is True
    assert ("stream_options" in value) == quirks.stream_options
    assert value[quirks.output_limit] == 9
    assert len({"max_tokens", "max_completion_tokens"} & value.keys()) == 1
    assert value["messages"][0]["role"] == ("developer" if quirks.developer_role else "system")
    assert (value[quirks.seed] if quirks.seed else None) == (3 if quirks.seed else None)
    assert value[quirks.reasoning_effort] == ("low" if quirks.reasoning_effort != "reasoning" else {"effort": "low"})
    assert ("parallel_tool_calls" in value) == quirks.parallel_tool_calls


def test_usage_is_asked_for_upstream_whether_the_client_wants_it_or_not() -> None:
    assert sent(request(stream=True))["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent(request())
    assert "stream" not in sent(request(stream=False))


def test_an_output_limit_above_the_offers_is_lowered_and_never_made_up() -> None:
    assert sent(request(max_tokens=32_000), max_output_tokens=4_096)["max_completion_tokens"] == 4_096
    assert sent(request(max_tokens=10), max_output_tokens=4_096)["max_completion_tokens"] == 10
    assert "max_completion_tokens" not in sent(request(), max_output_tokens=4_096)


def test_fields_of_the_gateways_own_stay_here_unless_the_provider_has_them_too() -> None:
    asked = request(models=["a"], provider={"sort": "price"}, user="u")
    assert sent(asked).keys() == {"model", "messages", "user"}
    assert sent(asked, "openrouter")["provider"] == {"sort": "price"}


def test_what_a_provider_cannot_read_in_messages_is_translated_and_the_request_stays_as_it_was() -> None:
    parts = [{"type": "input_text", "input_text": "a"}, {"type": "text", "text": "b", "cache_control": {"type": "x"}}]
    asked = request(messages=[USER, {"role": "user", "content": parts, "cache_control": {}}])
    before = json.dumps(asked.messages)
    assert sent(asked)["messages"][1] == {
        "role": "user",
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
    }
    assert sent(asked, "openrouter")["messages"][1]["content"][1] == parts[1]
    assert json.dumps(asked.messages) == before


@pytest.mark.parametrize(
    ("provider", "base_url", "model", "url"),
    [
        ("openai", "https://api.openai.com/v1", "m", "https://api.openai.com/v1/chat/completions"),
        ("writer", "https://api.writer.com/v1", "m", "https://api.writer.com/v1/chat"),
        (
            "azure-openai",
            "https://x.openai.azure.com",
            "gpt/4 o",
            "https://x.openai.azure.com/openai/deployments/gpt%2F4%20o/chat/completions?api-version=2024-10-21",
        ),
        (
            "azure-openai",
            "https://x.openai.azure.com/openai/v1",
            "m",
            "https://x.openai.azure.com/openai/v1/chat/completions",
        ),
    ],
)
def test_the_call_goes_to_the_offers_address(provider: str, base_url: str, model: str, url: str) -> None:
    call = WIRE.encode(request(stream=True), offer(provider, base_url=base_url, upstream_model=model))
    assert (call.method, call.url, call.offer_id, call.stream) == ("POST", url, f"{provider}/m", True)
    assert call.headers == {"content-type": "application/json", "accept": "text/event-stream"}


def test_a_lone_surrogate_from_elsewhere_does_not_stop_a_call() -> None:
    asked = ChatRequest(model="m", messages=[{"role": "user", "content": "x\ud83d"}])
    assert sent(asked)["messages"][0]["content"] == "x\ufffd"


def recorded(url: str, raw: bytes) -> ChatRequest:
    return WIRE.parse(HttpCall(method="POST", url=url, headers={}, body=raw))


def test_a_recorded_call_is_forgiven_what_its_provider_forgave() -> None:
    asked = recorded(
        "https://host/v1/chat/completions", body(logprobs=1, temperature=7, n=2, random_seed=4, api_key="k")
    )
    assert (asked.logprobs, asked.temperature, asked.n, asked.seed) == (None, None, 2, 4)
    assert asked.extra == {"logprobs": 1, "temperature": 7, "api_key": "k"}


@pytest.mark.parametrize("temperature", [0.5, "warm"], ids=["every field fits", "one is of another type"])
def test_unknown_fields_of_a_recorded_call_keep_their_order(temperature: object) -> None:
    unknown = dict.fromkeys(("zeta", "alpha", "mu", "beta", "omega", "eta", "chi", "delta"), True)
    asked = recorded("https://host/v1/chat/completions", body(**unknown, temperature=temperature))
    assert [name for name in asked.extra if name in unknown] == list(unknown)


def test_azures_model_stands_in_the_address() -> None:
    url = "https://x/openai/deployments/gpt%2D4o/chat/completions?api-version=1"
    assert recorded(url, json.dumps({"messages": [USER]}).encode()).model == "gpt-4o"
    assert recorded(url, body()).model == "gpt-4o"


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"messages":[]}', b'{"messages":["x"]}', body(model=3)])
def test_a_call_that_is_no_request_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        recorded("https://host/v1/chat/completions", raw)


NAMES = st.text("abcdef", min_size=1, max_size=6)
VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
MESSAGES = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "tool", "function"]), "content": st.text(max_size=9)},
        optional={"name": st.text(max_size=4), "tool_call_id": st.text(max_size=4), "odd": VALUES},
    ),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": st.none() | st.text(max_size=9)},
        optional={
            "tool_calls": st.lists(st.fixed_dictionaries({"id": NAMES, "odd": VALUES}), max_size=2),
            "reasoning_details": st.lists(st.dictionaries(NAMES, VALUES), max_size=2),
        },
    ),
    st.fixed_dictionaries(
        {
            "role": st.just("user"),
            "content": st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=5)})),
        }
    ),
)
REQUESTS = st.builds(
    ChatRequest,
    model=st.just("m-1"),
    messages=st.lists(MESSAGES, min_size=1, max_size=4),
    stream=st.booleans(),
    tools=st.none() | st.lists(st.dictionaries(NAMES, VALUES), max_size=2),
    tool_choice=st.sampled_from([None, "auto", "none", {"type": "function", "function": {"name": "f"}}]),
    parallel_tool_calls=st.none() | st.booleans(),
    response_format=st.none() | st.just({"type": "json_object"}),
    max_output_tokens=st.none() | st.integers(1, 9_999),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    frequency_penalty=st.none() | st.floats(-2, 2),
    presence_penalty=st.none() | st.floats(-2, 2),
    stop=st.none() | st.lists(st.text(max_size=3), max_size=4),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    n=st.none() | st.integers(1, 8),
    logprobs=st.none() | st.booleans(),
    top_logprobs=st.none() | st.integers(0, 20),
    reasoning_effort=st.none() | st.sampled_from(["low", "high"]),
    extra=st.dictionaries(NAMES.map(lambda name: f"x_{name}"), VALUES, max_size=3),
)


@given(REQUESTS, st.sampled_from(sorted(QUIRKS)))
def test_what_is_sent_reads_back_as_the_same_request(asked: ChatRequest, provider: str) -> None:
    quirks = QUIRKS[provider]
    expected = structs.replace(
        asked,
        include_usage=asked.stream and quirks.stream_options,
        seed=asked.seed if quirks.seed else None,
        parallel_tool_calls=asked.parallel_tool_calls if quirks.parallel_tool_calls else None,
    )
    call = WIRE.encode(asked, offer(provider))
    assert WIRE.parse(call) == expected
    assert parse_body(call.body) == expected


ANY = st.recursive(
    VALUES | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {
            "model": st.just("m") | ANY,
            "messages": st.just([USER]) | st.lists(st.fixed_dictionaries({"role": ANY, "content": ANY})) | ANY,
        },
        optional=dict.fromkeys(("stream", "stop", "n", "tools", "temperature", "reasoning", "stream_options"), ANY),
    )
)
def test_the_fast_and_the_slow_pass_agree_on_what_is_good(value: dict[str, Any]) -> None:
    raw = json.dumps(value).encode()
    try:
        parse_body(raw)
    except RequestError:
        assert problems(raw)
    else:
        assert not problems(raw)


@given(st.binary(max_size=120))
def test_any_bytes_are_a_request_or_refused(raw: bytes) -> None:
    with pytest.raises(RequestError):
        parse_body(raw)


def test_what_another_dialect_keeps_for_itself_is_not_sent_on() -> None:
    message = {"role": "assistant", "content": "Yes.", "anthropic_content": [], "output_items": [], "phase": "x"}
    asked = ChatRequest(model="m", messages=[message], extra={"openai_responses": {"include": []}, "user": "u"})
    went = sent(asked)
    assert went["messages"] == [{"role": "assistant", "content": "Yes."}]
    assert "openai_responses" not in went
    assert went["user"] == "u"
