"""Requests in OpenAI's terms written for Anthropic, and read back from there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, HttpCall
from clawbench.wires.anthropic import AnthropicMessages
from tests.wires.made import offer

WIRE = AnthropicMessages()
USER = {"role": "user", "content": "hi"}
PNG = "iVBORw0KGgo="
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {}}},
}


def asked(*messages: dict[str, Any], model: str = "claude-sonnet-4-5", **more: Any) -> tuple[dict[str, Any], HttpCall]:
    request = ChatRequest(model=model, messages=list(messages or (USER,)), **{"max_output_tokens": 100, **more})
    call = WIRE.encode(request, offer("anthropic", upstream_model=model, base_url="https://api.anthropic.com"))
    return json.loads(call.body), call


def test_a_plain_request_is_said_in_the_dialects_own_words() -> None:
    system = {"role": "system", "content": "be brief"}
    body, call = asked(system, USER, stream=True, stop=["END"], temperature=0.5, extra={"user": "u-1", "top_k": 5})
    assert call.url == "https://api.anthropic.com/v1/messages"
    assert call.headers["anthropic-version"] == "2023-06-01"
    assert call.notes == ()
    assert body == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 100,
        "system": "be brief",
        "messages": [USER],
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "metadata": {"user_id": "u-1"},
        "top_k": 5,
        "stream": True,
    }


@pytest.mark.parametrize("base", ["https://h", "https://h/v1"])
def test_the_path_is_appended_once(base: str) -> None:
    call = WIRE.encode(ChatRequest(model="m", messages=[USER]), offer("anthropic", base_url=base))
    assert call.url == "https://h/v1/messages"


@pytest.mark.parametrize(
    ("limit", "offered", "expected", "note"),
    [
        (None, None, 4096, "max_tokens set to 4096: the dialect needs one"),
        (None, 8192, 8192, "max_tokens set to 8192: the dialect needs one"),
        (32_000, 8192, 8192, "max_tokens lowered to 8192"),
        (100, 8192, 100, None),
    ],
)
def test_an_output_limit_is_always_sent(
    limit: int | None, offered: int | None, expected: int, note: str | None
) -> None:
    request = ChatRequest(model="m", messages=[USER], max_output_tokens=limit)
    call = WIRE.encode(request, offer("anthropic", max_output_tokens=offered))
    assert json.loads(call.body)["max_tokens"] == expected
    assert call.notes == (() if note is None else (note,))


def test_parallel_calls_and_their_results_become_two_turns() -> None:
    calls = [
        {"id": f"toolu_{n}", "type": "function", "function": {"name": "weather", "arguments": f'{{"n":{n}}}'}}
        for n in (1, 2)
    ]
    turn: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": calls}
    results: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": [{"type": "text", "text": "no"}], "is_error": True},
    ]
    body, call = asked(USER, turn, *results, tools=[WEATHER])
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": f"toolu_{n}", "name": "weather", "input": {"n": n}} for n in (1, 2)],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_2",
                    "content": [{"type": "text", "text": "no"}],
                    "is_error": True,
                },
            ],
        },
    ]
    assert WIRE.parse(call).messages == [USER, turn, *results]


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "null", '"x"'])
def test_arguments_that_are_no_object_still_reach_the_model(arguments: str) -> None:
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": arguments}}
    body, _ = asked(USER, {"role": "assistant", "content": "", "tool_calls": [call]})
    given_input = body["messages"][1]["content"][0]["input"]
    assert given_input == ({"INVALID_JSON": arguments} if arguments else {})


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        ("auto", None, {"type": "auto"}),
        ("required", None, {"type": "any"}),
        ("none", False, {"type": "none"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, True, None),
        (
            {"type": "function", "function": {"name": "weather"}},
            False,
            {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_tool_choice_is_translated(choice: Any, parallel: bool | None, expected: Any) -> None:
    body, _ = asked(tools=[WEATHER], tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == expected
    assert body["tools"] == [
        {"name": "weather", "description": "d", "input_schema": {"type": "object", "properties": {}}}
    ]


def test_the_apis_own_tools_and_fields_pass_through() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    marked = {**WEATHER, "cache_control": {"type": "ephemeral"}, "defer_loading": True}
    body, call = asked(tools=[search, marked, {"type": "code_interpreter"}], extra={"container": "c", "logit_bias": {}})
    assert body["tools"][0] == search
    assert body["tools"][1]["cache_control"] == {"type": "ephemeral"}
    assert body["tools"][1]["defer_loading"] is True
    assert len(body["tools"]) == 2
    assert body["container"] == "c"
    assert call.notes == ("tool of type 'code_interpreter' left out", "logit_bias left out")
    assert WIRE.parse(call).tools == [search, marked]


def test_beta_names_go_into_the_header_and_come_back_from_there() -> None:
    _, call = asked(extra={"anthropic_beta": ["a-1", "b-2"]})
    assert call.headers["anthropic-beta"] == "a-1,b-2"
    assert WIRE.parse(call).extra == {"anthropic_beta": ["a-1", "b-2"]}


PARTS = [
    {"type": "text", "text": "look", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    {"type": "image_url", "image_url": {"url": "https://h/x.png"}, "cache_control": {"type": "ephemeral"}},
    {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
    {"type": "file", "file": {"file_id": "file_011"}},
    {"type": "document", "source": {"type": "url", "url": "https://h/a.pdf"}, "citations": {"enabled": True}},
]


def test_images_files_and_cache_marks_become_blocks_and_come_back() -> None:
    body, call = asked({"role": "user", "content": PARTS})
    assert body["messages"][0]["content"] == [
        PARTS[0],
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "image", "source": {"type": "url", "url": "https://h/x.png"}, "cache_control": {"type": "ephemeral"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "file", "file_id": "file_011"}},
        PARTS[5],
    ]
    assert WIRE.parse(call).messages == [{"role": "user", "content": PARTS}]


def test_a_text_file_is_shown_as_text() -> None:
    part = {"type": "file", "file": {"file_data": "data:text/plain;base64,aMOp", "filename": "a.txt"}}
    body, _ = asked({"role": "user", "content": [part]})
    assert body["messages"][0]["content"][0]["source"] == {"type": "text", "media_type": "text/plain", "data": "hé"}


@pytest.mark.parametrize(
    "request_fields",
    [
        {
            "messages": [
                {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "https://h/v.mp4"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,x"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-openai"}}]}]},
        {"messages": [{"role": "user", "content": [3]}]},
        {"messages": [{"role": "narrator", "content": "x"}]},
        {"n": 2},
        {"logprobs": True},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}, "model": "claude-3-5-haiku-latest"},
        {"tools": [WEATHER], "tool_choice": "required", "model": "claude-opus-5-5"},
    ],
)
def test_what_must_not_be_lost_refuses_the_request_for_another_offer_to_get(request_fields: dict[str, Any]) -> None:
    request = ChatRequest(**{"model": "claude-sonnet-4-5", "messages": [USER], **request_fields})
    with pytest.raises(UpstreamError, match=r"^Not sent: ") as caught:
        WIRE.encode(request, offer("anthropic", upstream_model=request.model))
    assert (caught.value.outcome, caught.value.try_next) == ("rejected", True)


def test_what_the_dialect_has_no_word_for_is_left_out_with_a_note() -> None:
    body, call = asked(
        seed=1,
        frequency_penalty=0.5,
        presence_penalty=0.5,
        temperature=1.5,
        stop=[" ", "x"],
        response_format={"type": "json_object"},
        extra={"service_tier": "flex", "metadata": {"k": "v"}, "models": ["m"]},
    )
    assert body.keys() == {"model", "max_tokens", "messages", "temperature", "stop_sequences"}
    assert (body["temperature"], body["stop_sequences"]) == (1, ["x"])
    assert set(call.notes) == {
        "seed left out",
        "frequency_penalty left out",
        "presence_penalty left out",
        "temperature lowered to 1",
        "stop sequences of white space left out",
        "response_format json_object left out: the dialect knows schemas only",
        "service_tier left out",
        "metadata left out",
    }


def test_a_json_schema_is_asked_for_and_its_objects_are_closed() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    body, call = asked(response_format=form, extra={"output_config": {"task_budget": {"total": 9}}})
    made = body["output_config"]["format"]["schema"]
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert made["additionalProperties"] is False
    assert made["properties"]["a"]["additionalProperties"] is False
    assert body["output_config"]["task_budget"] == {"total": 9}
    assert "additionalProperties" not in schema
    assert call.notes == ("objects of the schema closed: additionalProperties set to false",)
    assert WIRE.parse(call).response_format == {
        "type": "json_schema",
        "json_schema": {"name": "output", "schema": made, "strict": True},
    }


@pytest.mark.parametrize(
    ("model", "effort", "limit", "thinking", "config", "notes"),
    [
        ("claude-sonnet-4-5", "low", 8000, {"type": "enabled", "budget_tokens": 2048}, None, 0),
        ("claude-sonnet-4-5", "high", 8000, {"type": "enabled", "budget_tokens": 4000}, None, 1),
        ("claude-sonnet-4-5", "high", 1000, None, None, 1),
        ("claude-sonnet-4-5", "none", 1000, {"type": "disabled"}, None, 0),
        ("claude-3-5-sonnet-20241022", "low", 8000, None, None, 1),
        ("claude-opus-4-6", "xhigh", 8000, {"type": "adaptive", "display": "summarized"}, {"effort": "high"}, 1),
        ("claude-opus-4-8", "minimal", 800, {"type": "adaptive", "display": "summarized"}, {"effort": "low"}, 1),
        (
            "us.anthropic.claude-opus-5",
            "xhigh",
            800,
            {"type": "adaptive", "display": "summarized"},
            {"effort": "xhigh"},
            0,
        ),
        ("claude-fable-5", "none", 800, None, {"effort": "low"}, 1),
        ("claude-opus-5", "sideways", 800, None, None, 1),
        ("some-other-model", "medium", 9000, {"type": "enabled", "budget_tokens": 8192}, None, 0),
    ],
)
def test_reasoning_effort_is_said_the_way_the_model_understands(
    model: str, effort: str, limit: int, thinking: Any, config: Any, notes: int
) -> None:
    body, call = asked(model=model, reasoning_effort=effort, max_output_tokens=limit)
    assert (body.get("thinking"), body.get("output_config")) == (thinking, config)
    assert len(call.notes) == notes


def test_without_a_limit_there_is_room_for_the_thinking_and_an_answer() -> None:
    body, _ = asked(reasoning_effort="high", max_output_tokens=None)
    assert body["max_tokens"] == body["thinking"]["budget_tokens"] + 4096


@pytest.mark.parametrize(
    ("model", "fields", "sent"),
    [
        ("claude-sonnet-4-20250514", {"temperature": 0.2, "top_p": 0.9}, {"temperature": 0.2, "top_p": 0.9}),
        ("claude-sonnet-4-5", {"temperature": 0.2, "top_p": 0.9}, {"temperature": 0.2}),
        ("claude-sonnet-4-5", {"top_p": 0.9}, {"top_p": 0.9}),
        ("claude-opus-4-7", {"temperature": 0.2, "top_p": 0.9}, {}),
        ("claude-sonnet-4-5", {"temperature": 0.2, "top_p": 0.5, "reasoning_effort": "low"}, {}),
    ],
)
def test_sampling_that_a_model_refuses_is_not_sent(model: str, fields: dict[str, Any], sent: dict[str, Any]) -> None:
    body, call = asked(model=model, max_output_tokens=9000, **fields)
    assert {name: body[name] for name in ("temperature", "top_p") if name in body} == sent
    assert bool(call.notes) == (sent != {name: fields[name] for name in ("temperature", "top_p") if name in fields})


def test_thinking_gives_way_to_a_forced_tool() -> None:
    body, call = asked(tools=[WEATHER], tool_choice="required", reasoning_effort="low", max_output_tokens=9000)
    assert "thinking" not in body
    assert call.notes == ("thinking left out: it does not go with a forced tool",)


@pytest.mark.parametrize(("model", "moved"), [("claude-sonnet-4-5", True), ("claude-opus-4-8", False)])
def test_a_system_message_keeps_its_place_where_the_model_allows_it(model: str, moved: bool) -> None:
    late = {"role": "system", "content": "now in French"}
    body, call = asked({"role": "developer", "content": "be brief"}, USER, late, model=model)
    if moved:
        assert body["system"] == [{"type": "text", "text": "be brief"}, {"type": "text", "text": "now in French"}]
        assert call.notes == ("system message moved to the front",)
    else:
        assert (body["system"], body["messages"][1]) == ("be brief", late)
        assert call.notes == ()


SIGNED = {"type": "reasoning.text", "text": "hm", "format": "anthropic-claude-v1", "signature": "Eq+/=="}
HIDDEN = {"type": "reasoning.encrypted", "data": "Zm9v", "format": "anthropic-claude-v1"}


def test_thoughts_go_back_unchanged_and_those_of_others_do_not() -> None:
    foreign = [{"type": "reasoning.encrypted", "data": "x", "id": "rs_1"}, {"type": "reasoning.text", "text": "free"}]
    turn = {"role": "assistant", "content": "yes", "reasoning_details": [SIGNED, HIDDEN, *foreign]}
    body, call = asked(USER, turn, USER)
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "Eq+/=="},
        {"type": "redacted_thinking", "data": "Zm9v"},
        {"type": "text", "text": "yes"},
    ]
    assert call.notes == ("reasoning of another provider left out",)


def test_an_answers_own_blocks_go_back_unless_its_text_was_changed() -> None:
    blocks = [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"encrypted_content": "x"}]},
        {"type": "text", "text": "found"},
    ]
    turn = {"role": "assistant", "content": "found", "anthropic_content": blocks}
    assert asked(USER, turn, USER)[0]["messages"][1]["content"] == blocks
    changed = asked(USER, {**turn, "content": "other"}, USER)[0]["messages"][1]["content"]
    assert changed == [{"type": "text", "text": "other"}]
