"""Chat requests as calls of the Responses API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Offer
from clawbench.wires.openai_responses import OpenAIResponses
from tests.wires.made import offer

WIRE = OpenAIResponses()
HI = {"role": "user", "content": "hi"}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "of a place", "parameters": {"type": "object", "properties": {}}},
}


def encoded(messages: list[dict[str, Any]] | None = None, *, at: Offer | None = None, **fields: Any) -> dict[str, Any]:
    request = ChatRequest(model="m", messages=messages or [HI], **fields)
    value = json.loads(WIRE.encode(request, at or offer()).body)
    assert isinstance(value, dict)
    return value


def notes(messages: list[dict[str, Any]] | None = None, **fields: Any) -> tuple[str, ...]:
    return WIRE.encode(ChatRequest(model="m", messages=messages or [HI], **fields), offer()).notes


def test_a_simple_request_is_this_body_and_nothing_is_stored() -> None:
    messages = [{"role": "developer", "content": "Be brief."}, HI]
    assert encoded(messages, max_output_tokens=100, temperature=0.5, top_p=0.9, stream=True) == {
        "model": "m-1",
        "input": messages,
        "store": False,
        "stream": True,
        "max_output_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
    }
    assert encoded(extra={"store": True})["store"] is True


@pytest.mark.parametrize(
    ("provider", "base", "url"),
    [
        ("openai", "https://api.openai.com/v1", "https://api.openai.com/v1/responses"),
        ("deepseek", "https://api.deepseek.com", "https://api.deepseek.com/responses"),
        ("openrouter", "https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/responses"),
        ("azure-openai", "https://x.openai.azure.com/openai/v1", "https://x.openai.azure.com/openai/v1/responses"),
        (
            "azure-openai",
            "https://x.openai.azure.com",
            "https://x.openai.azure.com/openai/responses?api-version=2025-03-01-preview",
        ),
        ("azure-ai", "https://x.services.ai.azure.com", "https://x.services.ai.azure.com/openai/v1/responses"),
    ],
)
def test_each_provider_is_called_at_its_own_path(provider: str, base: str, url: str) -> None:
    call = WIRE.encode(ChatRequest(model="m", messages=[HI]), offer(provider, base_url=base))
    assert call.url == url
    assert call.method == "POST"
    assert not call.stream


def test_a_provider_without_the_developer_role_reads_system() -> None:
    messages = [{"role": "developer", "content": "Be brief."}, HI]
    assert encoded(messages, at=offer("xai"))["input"][0]["role"] == "system"


def test_a_turn_with_tools_becomes_items() -> None:
    messages: list[dict[str, Any]] = [
        HI,
        {
            "role": "assistant",
            "content": "One moment.",
            "phase": "commentary",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"a":1}'}},
                {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "rain"}]},
    ]
    assert encoded(messages)["input"] == [
        HI,
        {"role": "assistant", "content": "One moment.", "phase": "commentary"},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"a":1}'},
        {"type": "function_call", "call_id": "call_2", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
        {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "rain"}]},
    ]


def test_calls_without_ids_get_ids_that_their_results_share() -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": [call, call]},
        {"role": "tool", "content": "a"},
        {"role": "tool", "content": "b"},
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
        {"role": "function", "name": "weather", "content": "c"},
    ]
    ids = [item["call_id"] for item in encoded(messages)["input"]]
    assert ids == ["call_0", "call_1", "call_0", "call_1", "call_2", "call_2"]


def test_media_become_input_parts_and_video_is_refused() -> None:
    data = "data:image/png;base64,AAAA"
    parts = [
        {"type": "text", "text": "what is it", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": data, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://h/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    assert encoded([{"role": "user", "content": parts}])["input"][0]["content"] == [
        {"type": "input_text", "text": "what is it"},
        {"type": "input_image", "image_url": data, "detail": "low"},
        {"type": "input_image", "image_url": "https://h/a.png", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    assert notes([{"role": "user", "content": parts}]) == ("cache_control left out",)
    with pytest.raises(UpstreamError) as refused:
        encoded([{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "https://h/a.mp4"}}]}])
    assert (refused.value.outcome, refused.value.try_next) == ("rejected", True)


def test_tools_are_flat_and_not_strict_unless_they_say_so() -> None:
    strict = {"type": "function", "function": {"name": "s", "parameters": {"type": "object"}, "strict": True}}
    body = encoded(
        tools=[WEATHER, strict, {"type": "function", "function": {"name": "bare"}}],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        parallel_tool_calls=False,
    )
    assert body["tools"] == [
        {"type": "function", "strict": False, **WEATHER["function"]},  # type: ignore[dict-item]
        {"type": "function", "name": "s", "parameters": {"type": "object"}, "strict": True},
        {"type": "function", "name": "bare", "parameters": None, "strict": False},
    ]
    assert body["tool_choice"] == {"type": "function", "name": "weather"}
    assert body["parallel_tool_calls"] is False
    named = {"type": "function", "function": {"name": "weather"}}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}}
    assert encoded(tools=[WEATHER], tool_choice=allowed)["tool_choice"] == {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "weather"}],
    }


def test_custom_tools_are_called_with_plain_text() -> None:
    grammar = {"syntax": "lark", "definition": "x"}
    tool = {"type": "custom", "custom": {"name": "sh", "format": {"type": "grammar", "grammar": grammar}}}
    call = {"id": "c", "type": "function", "function": {"name": "sh", "arguments": "ls -l"}}
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "a b"},
    ]
    body = encoded(messages, tools=[tool])
    assert body["tools"] == [{"type": "custom", "name": "sh", "format": {"type": "grammar", **grammar}}]
    assert body["input"] == [
        {"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "ls -l"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "a b"},
    ]


def test_schemas_go_to_text_format_with_the_verbosity() -> None:
    schema = {"name": "x", "schema": {"type": "object"}, "strict": True}
    asked = {"type": "json_schema", "json_schema": schema}
    assert encoded(response_format=asked, extra={"verbosity": "low"})["text"] == {
        "format": {"type": "json_schema", **schema},
        "verbosity": "low",
    }
    assert encoded(response_format={"type": "json_object"})["text"] == {"format": {"type": "json_object"}}


def test_effort_and_summary_are_asked_for_together_and_sealed_reasoning_only_where_there_is_any() -> None:
    sealed = ["reasoning.encrypted_content"]
    body = encoded(at=offer(upstream_model="gpt-5.2"), reasoning_effort="low", extra={"reasoning": {"summary": "auto"}})
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert body["include"] == sealed
    assert "include" not in encoded(at=offer(upstream_model="gpt-4.1"))
    assert "include" not in encoded(at=offer(upstream_model="gpt-5-chat-latest"))
    assert encoded(at=offer("openrouter", upstream_model="openai/o4-mini"))["include"] == sealed
    assert "include" not in encoded(at=offer("openrouter", upstream_model="openai/gpt-oss-20b"))
    # An Azure deployment's name tells nothing; that effort was asked for does.
    assert encoded(at=offer("azure-openai", upstream_model="mine"), reasoning_effort="low")["include"] == sealed
    assert "include" not in encoded(at=offer("deepseek", upstream_model="gpt-5"), reasoning_effort="low")
    assert "include" not in encoded(at=offer(upstream_model="gpt-5.2"), extra={"store": True})


def test_reasoning_goes_back_unchanged_and_in_its_old_order() -> None:
    answer = {
        "id": "resp_1",
        "status": "completed",
        "output": [
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
                "encrypted_content": "gAAAAB/+=",
            },
            {
                "type": "web_search_call",
                "id": "ws_1",
                "status": "completed",
                "action": {"type": "search", "query": "q"},
            },
            {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAAC"},
            {"type": "reasoning", "id": "rs_3", "summary": []},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "phase": "commentary",
                "content": [{"type": "output_text", "text": "hello", "annotations": []}],
            },
            {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}", "namespace": "n"},
        ],
    }
    choice = WIRE.decode(200, {}, json.dumps(answer).encode()).choices[0]
    call = choice.tool_calls[0]
    message = {
        "role": "assistant",
        "content": choice.content,
        "tool_calls": [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        ],
        **(choice.extra or {}),
    }
    items = encoded([message], at=offer(upstream_model="m"))["input"]
    assert items == [
        answer["output"][0],
        answer["output"][1],
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAAC"},
        {"role": "assistant", "content": "hello", "phase": "commentary"},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}", "namespace": "n"},
    ]
    # Sealed reasoning in the conversation means that the model has some.
    assert encoded([message])["include"] == ["reasoning.encrypted_content"]


def test_another_providers_signed_reasoning_is_left_out_with_a_note() -> None:
    details = [
        {"type": "reasoning.text", "text": "t", "signature": "sig"},
        {"type": "reasoning.encrypted", "data": "x", "format": "anthropic-claude-v1"},
    ]
    message = {"role": "assistant", "content": "a", "reasoning_details": details}
    assert encoded([message])["input"] == [{"role": "assistant", "content": "a"}]
    assert notes([message]) == ("reasoning of another provider left out",)


def test_what_the_api_cannot_be_told_is_noted_and_several_answers_are_refused() -> None:
    said = notes(
        [{**HI, "name": "bob"}],
        seed=1,
        stop=["x"],
        frequency_penalty=0.5,
        presence_penalty=0.5,
        n=1,
        max_output_tokens=5,
        extra={"logit_bias": {}, "models": ["b"], "instructions": "steer"},
    )
    assert set(said) == {
        "name left out",
        "seed left out",
        "stop left out",
        "frequency_penalty left out",
        "presence_penalty left out",
        "max_output_tokens raised to 16",
        "logit_bias left out",
        "instructions left out",
    }
    with pytest.raises(UpstreamError) as refused:
        encoded(n=2)
    assert (refused.value.outcome, refused.value.try_next) == ("rejected", True)


def test_the_output_limit_is_lowered_to_the_offers() -> None:
    assert encoded(max_output_tokens=32_000, at=offer(max_output_tokens=4096))["max_output_tokens"] == 4096


def test_logprobs_are_asked_for_by_include() -> None:
    body = encoded(logprobs=True, top_logprobs=3)
    assert (body["include"], body["top_logprobs"]) == (["message.output_text.logprobs"], 3)
    again = WIRE.parse(WIRE.encode(ChatRequest(model="m", messages=[HI], logprobs=True, top_logprobs=3), offer()))
    assert (again.logprobs, again.top_logprobs, again.extra) == (True, 3, {"store": False})


def test_a_chat_client_cannot_rewrite_the_call_through_the_gateways_own_field() -> None:
    own = {"model": "dear", "input": "other", "tools": [{"type": "web_search"}, 3], "truncation": "auto", "store": True}
    body = encoded(extra={"openai_responses": own})
    assert body == {
        "model": "m-1",
        "input": [HI],
        "store": False,
        "tools": [{"type": "web_search"}],
        "truncation": "auto",
    }
    assert encoded(extra={"openai_responses": "x"})["input"] == [HI]
