"""Requests in OpenAI's terms written for Bedrock's Converse, and read back from there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, HttpCall
from clawbench.wires.bedrock_converse import BedrockConverse
from tests.wires.made import offer

WIRE = BedrockConverse()
BASE = "https://bedrock-runtime.us-east-1.amazonaws.com"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
USER = {"role": "user", "content": "hi"}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}}
SPEC = {"toolSpec": {"name": "weather", "description": "d", "inputSchema": {"json": {"type": "object"}}}}


def asked(*messages: dict[str, Any], model: str = CLAUDE, **more: Any) -> tuple[dict[str, Any], HttpCall]:
    request = ChatRequest(model=model, messages=list(messages or (USER,)), **more)
    call = WIRE.encode(request, offer("bedrock", upstream_model=model, base_url=BASE))
    return json.loads(call.body), call


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "model", [CLAUDE, "arn:aws:bedrock:us-east-1:1:inference-profile/x.y", "amazon.nova-micro-v1:0"]
)
def test_the_model_stands_encoded_in_the_url_and_comes_back_from_there(model: str, stream: bool) -> None:
    _, call = asked(model=model, stream=stream)
    path = call.url.removeprefix(f"{BASE}/model/")
    assert ":" not in path
    assert path.count("/") == 1
    assert path.endswith("/converse-stream" if stream else "/converse")
    request = WIRE.parse(call)
    assert (request.model, request.stream) == (model, stream)


def test_a_request_is_said_in_the_dialects_own_words() -> None:
    system = {"role": "system", "content": "be brief"}
    body, call = asked(system, USER, max_output_tokens=9, temperature=0.5, top_p=None, stop=["END"], tools=[WEATHER])
    assert call.notes == ()
    assert body == {
        "system": [{"text": "be brief"}],
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "stopSequences": ["END"]},
        "toolConfig": {"tools": [SPEC]},
    }


def test_turns_of_one_role_are_merged_and_tool_results_stand_in_the_users_turn() -> None:
    calls = [
        {"id": f"t{n}", "type": "function", "function": {"name": "weather", "arguments": f'{{"n":{n}}}'}}
        for n in (1, 2)
    ]
    turn: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": calls}
    results: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": "t1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "t2", "content": "no", "is_error": True},
    ]
    body, call = asked(USER, USER, turn, *results, USER, tools=[WEATHER])
    assert body["messages"] == [
        {"role": "user", "content": [{"text": "hi"}, {"text": "hi"}]},
        {
            "role": "assistant",
            "content": [{"toolUse": {"toolUseId": f"t{n}", "name": "weather", "input": {"n": n}}} for n in (1, 2)],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "t1", "content": [{"text": "sunny"}]}},
                {"toolResult": {"toolUseId": "t2", "content": [{"text": "no"}], "status": "error"}},
                {"text": "hi"},
            ],
        },
    ]
    assert WIRE.parse(call).messages[1:] == [turn, *results, USER]


@pytest.mark.parametrize(
    ("choice", "used", "config", "notes"),
    [
        ("auto", False, {"tools": [SPEC], "toolChoice": {"auto": {}}}, ()),
        ("required", False, {"tools": [SPEC], "toolChoice": {"any": {}}}, ()),
        (
            {"type": "function", "function": {"name": "weather"}},
            False,
            {"tools": [SPEC], "toolChoice": {"tool": {"name": "weather"}}},
            (),
        ),
        ("none", False, None, ()),
        ("none", True, {"tools": [SPEC]}, ("tool_choice none left out: earlier turns need their tools shown",)),
    ],
)
def test_tool_choice_is_translated(choice: Any, used: bool, config: Any, notes: tuple[str, ...]) -> None:
    history = [USER, {"role": "tool", "tool_call_id": "t", "content": "x"}] if used else [USER]
    body, call = asked(*history, tools=[WEATHER], tool_choice=choice)
    assert body.get("toolConfig") == config
    assert call.notes == notes


MARK = {"type": "ephemeral"}
PARTS = [
    {"type": "text", "text": "look", "cache_control": {**MARK, "ttl": "1h"}},
    {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/"}, "cache_control": MARK},
    {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a b (1)"}},
]


def test_media_files_and_cache_marks_become_blocks_and_come_back() -> None:
    body, call = asked({"role": "user", "content": PARTS}, tools=[{**WEATHER, "cache_control": MARK}])
    assert body["messages"][0]["content"] == [
        {"text": "look"},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
        {"image": {"format": "jpeg", "source": {"bytes": "/9j/"}}},
        {"cachePoint": {"type": "default"}},
        {"video": {"format": "mp4", "source": {"bytes": "AAAA"}}},
        {"audio": {"format": "wav", "source": {"bytes": "AAAA"}}},
        {"document": {"format": "pdf", "name": "a b (1)", "source": {"bytes": "JVBERi0="}}},
    ]
    assert body["toolConfig"]["tools"][1] == {"cachePoint": {"type": "default"}}
    request = WIRE.parse(call)
    assert request.messages == [{"role": "user", "content": PARTS}]
    assert request.tools == [{**WEATHER, "cache_control": MARK}]


def test_names_of_files_keep_only_what_is_taken() -> None:
    part = {"type": "file", "file": {"file_data": "data:text/csv;base64,YQ==", "filename": "ä/b__c.csv"}}
    body, _ = asked({"role": "user", "content": [part]})
    assert body["messages"][0]["content"][0]["document"]["name"] == "b c csv"


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://h/x.png"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "sculpture"}]}]},
        {"messages": [{"role": "narrator", "content": "x"}]},
        {"n": 2},
        {"logprobs": True},
        {
            "model": "anthropic.claude-3-haiku-20240307-v1:0",
            "response_format": {"type": "json_schema", "json_schema": {"schema": {}}},
        },
        {"model": "us.anthropic.claude-opus-5-5", "tools": [WEATHER], "tool_choice": "required"},
    ],
)
def test_what_must_not_be_lost_refuses_the_request_for_another_offer_to_get(fields: dict[str, Any]) -> None:
    request = ChatRequest(**{"model": CLAUDE, "messages": [USER], **fields})
    with pytest.raises(UpstreamError, match=r"^Not sent: ") as caught:
        WIRE.encode(request, offer("bedrock", upstream_model=request.model))
    assert (caught.value.outcome, caught.value.try_next) == ("rejected", True)


@pytest.mark.parametrize(
    ("model", "effort", "more", "notes"),
    [
        (CLAUDE, "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}, 0),
        (
            "us.anthropic.claude-opus-4-8",
            "high",
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
            0,
        ),
        (
            "us.amazon.nova-2-lite-v1:0",
            "medium",
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}},
            0,
        ),
        ("openai.gpt-oss-120b-1:0", "high", {"reasoning_effort": "high"}, 0),
        ("amazon.nova-micro-v1:0", "high", None, 1),
    ],
)
def test_reasoning_effort_is_said_the_way_the_model_understands(model: str, effort: str, more: Any, notes: int) -> None:
    body, call = asked(model=model, reasoning_effort=effort, max_output_tokens=9000)
    assert body.get("additionalModelRequestFields") == more
    assert len(call.notes) == notes
    if more is not None:
        assert WIRE.parse(call).reasoning_effort == effort


def test_a_json_schema_is_asked_for_and_read_back() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    body, call = asked(response_format=form)
    made = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert (json.loads(made["schema"]), made["name"], call.notes) == (schema, "x", ())
    assert WIRE.parse(call).response_format == form


def test_fields_that_only_bedrock_knows_pass_through_and_others_are_noted() -> None:
    own = {"guardrailConfig": {"guardrailIdentifier": "g"}, "serviceTier": {"type": "flex"}}
    body, call = asked(
        extra={**own, "top_k": 5, "logit_bias": {}, "models": ["m"]}, seed=1, parallel_tool_calls=False, tools=[WEATHER]
    )
    assert {name: body[name] for name in own} == own
    assert body["additionalModelRequestFields"] == {"top_k": 5}
    assert set(call.notes) == {"logit_bias left out", "seed left out", "parallel_tool_calls left out"}


SIGNED = {"type": "reasoning.text", "text": "hm", "format": "anthropic-claude-v1", "signature": "Eq=="}
HIDDEN = {"type": "reasoning.encrypted", "data": "Zm9v", "format": "anthropic-claude-v1"}


def test_thoughts_go_back_unchanged_and_those_of_others_do_not() -> None:
    turn = {
        "role": "assistant",
        "content": "yes",
        "reasoning_details": [SIGNED, HIDDEN, {"type": "reasoning.text", "text": "x"}],
    }
    body, call = asked(USER, turn, USER)
    assert body["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "Eq=="}}},
        {"reasoningContent": {"redactedContent": "Zm9v"}},
        {"text": "yes"},
    ]
    assert call.notes == ("reasoning without a signature of this provider left out",)


TEXT = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() != "")
CALLS = st.lists(
    st.builds(
        lambda id, given: {
            "id": f"t{id}",
            "type": "function",
            "function": {"name": "f", "arguments": json.dumps(given, separators=(",", ":"), ensure_ascii=False)},
        },
        st.integers(0, 99),
        st.dictionaries(TEXT, st.integers() | TEXT, max_size=2),
    ),
    min_size=1,
    max_size=2,
)
TURNS = st.builds(
    lambda asked, answered, calls, details: [
        {"role": "user", "content": asked},
        {
            "role": "assistant",
            "content": answered,
            **({"tool_calls": calls} if calls else {}),
            **({"reasoning_details": details} if details else {}),
        },
        *({"role": "tool", "tool_call_id": call["id"], "content": "r"} for call in calls or ()),
    ],
    TEXT | st.lists(st.sampled_from(PARTS), min_size=1, max_size=3),
    TEXT,
    st.none() | CALLS,
    st.none() | st.lists(st.sampled_from([SIGNED, HIDDEN]), min_size=1, max_size=2),
)


@given(st.lists(TURNS, min_size=1, max_size=3), st.none() | TEXT, st.booleans(), st.none() | st.integers(1, 9))
def test_what_is_written_is_read_back(
    turns: list[list[Any]], system: str | None, stream: bool, limit: int | None
) -> None:
    messages = [message for turn in turns for message in turn]
    front = [{"role": "system", "content": system}] if system else []
    request = ChatRequest(
        model=CLAUDE, messages=[*front, *messages], stream=stream, tools=[WEATHER], max_output_tokens=limit, stop=["x"]
    )
    assert WIRE.parse(WIRE.encode(request, offer("bedrock", upstream_model=CLAUDE))) == request


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["text", "toolUse", "reasoningContent", "citation", "input", "signature", "redactedContent", "image"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(VALUES, VALUES, VALUES)
def test_a_request_of_any_shape_is_a_value_error_or_a_request(content: Any, system: Any, config: Any) -> None:
    value = {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": content}]}
    more = {"system": system, "toolConfig": config, "inferenceConfig": config, "outputConfig": config}
    call = HttpCall(
        method="POST", url=f"{BASE}/model/m/converse", headers={}, body=json.dumps({**value, **more}).encode()
    )
    assert WIRE.recognises(call, b"")
    try:
        request = WIRE.parse(call)
    except ValueError:
        return
    assert request.model == "m"
