"""Requests to Gemini: OpenAI's form written as Gemini wants it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.genai import types as google

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, HttpCall
from clawbench.wires.gemini import Gemini
from tests.wires.made import offer
from tests.wires.made_requests import TOOL, called, request, result, user

WIRE = Gemini()


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n>>>???").decode()


PDF = base64.b64encode(b"%PDF-1.3").decode()


SIGNATURE = "CpgEAdHtim8/+=="


def encoded(asked: ChatRequest, model: str = "gemini-2.5-flash", **more: Any) -> HttpCall:
    return WIRE.encode(asked, offer("gemini", upstream_model=model, base_url="https://h/v1beta", **more))


def body(asked: ChatRequest, model: str = "gemini-2.5-flash", **more: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(encoded(asked, model, **more).body)
    return value


def config(model: str = "gemini-2.5-flash", **more: Any) -> dict[str, Any]:
    value: dict[str, Any] = body(request(**more), model).get("generationConfig", {})
    return value


def parse(value: dict[str, Any], url: str = "https://h/v1beta/models/g:generateContent") -> ChatRequest:
    return WIRE.parse(HttpCall(method="POST", url=url, headers={}, body=json.dumps(value).encode()))


def test_the_model_and_the_stream_flag_stand_in_the_url() -> None:
    studio = "https://generativelanguage.googleapis.com"
    project = "https://h/v1/projects/p/locations/l"
    for base, model, place in (
        (f"{studio}/v1beta", "gemini-2.5-pro", f"{studio}/v1beta/models/gemini-2.5-pro"),
        (studio, "gemini-2.5-pro", f"{studio}/v1beta/models/gemini-2.5-pro"),
        (f"{studio}/v1beta/openai", "gemini-2.5-pro", f"{studio}/v1beta/models/gemini-2.5-pro"),
        (project, "gemini-2.5-pro", f"{project}/publishers/google/models/gemini-2.5-pro"),
        (f"{project}/publishers/google", "g", f"{project}/publishers/google/models/g"),
        (f"{project}/publishers/google/models", "g", f"{project}/publishers/google/models/g"),
        (f"{studio}/v1beta", "tunedModels/a b", f"{studio}/v1beta/tunedModels/a%20b"),
    ):
        target = offer("gemini", base_url=base, upstream_model=model)
        assert WIRE.encode(request(), target).url == f"{place}:generateContent"
        streamed = WIRE.encode(request(stream=True), target)
        assert streamed.url == f"{place}:streamGenerateContent?alt=sse"
        again = WIRE.parse(streamed)
        assert (again.model, again.stream) == (model.rpartition("/")[2], True)


def test_a_plain_conversation() -> None:
    asked = request(
        {"role": "system", "content": "Be brief."},
        user("hi"),
        {"role": "assistant", "content": "hello"},
        user("bye"),
    )
    assert body(asked) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"text": "hello"}]},
            {"role": "user", "parts": [{"text": "bye"}]},
        ],
    }


def test_system_messages_go_to_the_front_and_a_lone_one_becomes_the_users() -> None:
    call = encoded(request(user("a"), {"role": "developer", "content": "b"}))
    assert json.loads(call.body)["systemInstruction"] == {"parts": [{"text": "b"}]}
    assert call.notes == ("system message moved to the front",)
    assert body(request({"role": "system", "content": "b"})) == {
        "contents": [{"role": "user", "parts": [{"text": "b"}]}]
    }


def test_sampling_limits_and_formats() -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "additionalProperties": False}
    said = config(
        temperature=0.5, top_p=0.9, seed=7, stop=["x"], n=2, max_output_tokens=99, frequency_penalty=0.1,
        presence_penalty=0.2, logprobs=True, top_logprobs=3, extra={"top_k": 40, "modalities": ["text", "image"]},
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}},
    )  # fmt: skip
    assert said == {
        "temperature": 0.5, "topP": 0.9, "seed": 7, "stopSequences": ["x"], "candidateCount": 2,
        "maxOutputTokens": 99, "frequencyPenalty": 0.1, "presencePenalty": 0.2, "responseLogprobs": True,
        "logprobs": 3, "topK": 40, "responseModalities": ["TEXT", "IMAGE"],
        "responseMimeType": "application/json", "responseJsonSchema": schema,
    }  # fmt: skip
    google.GenerateContentConfig.model_validate(said)
    assert config(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}
    assert config(response_format={"type": "text"}) == {}
    assert body(request(max_output_tokens=500), max_output_tokens=99)["generationConfig"] == {"maxOutputTokens": 99}


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "medium", {"includeThoughts": True, "thinkingBudget": 8192}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-flash-lite", "low", {"includeThoughts": True, "thinkingBudget": 1024}),
        ("gemini-3-flash-preview", "minimal", {"includeThoughts": True, "thinkingLevel": "minimal"}),
        ("gemini-3-pro-preview", "minimal", {"includeThoughts": True, "thinkingLevel": "low"}),
        ("gemini-3-pro-preview", "medium", {"includeThoughts": True, "thinkingLevel": "high"}),
        ("gemini-3.1-pro-preview", "medium", {"includeThoughts": True, "thinkingLevel": "medium"}),
        ("models/gemini-3.6-flash", "high", {"includeThoughts": True, "thinkingLevel": "high"}),
        ("gemini-flash-latest", "high", {"includeThoughts": True, "thinkingBudget": 24576}),
        ("gemini-2.0-flash", "high", None),
        ("gemma-3-27b-it", "low", None),
    ],
)
def test_reasoning_effort_is_told_to_each_generation_in_its_way(model: str, effort: str, expected: object) -> None:
    assert config(model, reasoning_effort=effort).get("thinkingConfig") == expected


def test_a_thinking_budget_of_ones_own_and_hidden_thoughts() -> None:
    assert config(extra={"reasoning": {"max_tokens": 300}})["thinkingConfig"] == {
        "includeThoughts": True,
        "thinkingBudget": 300,
    }
    hidden = config(reasoning_effort="low", extra={"reasoning": {"exclude": True}})
    assert hidden["thinkingConfig"] == {"thinkingBudget": 1024}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}},
            {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_tools_and_tool_choice(choice: Any, expected: dict[str, Any]) -> None:
    said = body(request(tools=[TOOL], tool_choice=choice))
    assert said["tools"] == [
        {"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": {"type": "object"}}]}
    ]
    assert said["toolConfig"] == {"functionCallingConfig": expected}
    google.Tool.model_validate(said["tools"][0])


def test_tools_of_google_pass_and_foreign_ones_are_left_out_with_a_note() -> None:
    call = encoded(request(tools=[{"googleSearch": {}}, {"type": "web_search"}, {"type": "mcp"}]))
    assert json.loads(call.body)["tools"] == [{"googleSearch": {}}, {"googleSearch": {}}]
    assert call.notes == ("tool web_search sent as googleSearch", "a tool of type 'mcp' left out")
    searched = body(request(tools=[TOOL], extra={"web_search_options": {}}))
    assert [list(tool) for tool in searched["tools"]] == [["functionDeclarations"], ["googleSearch"]]


def test_parallel_calls_and_their_results_are_one_turn_each() -> None:
    asked = request(user("go"), called("a", "b"), result("a", "one"), result("b", "two"), user("and?"))
    contents = body(asked)["contents"]
    assert [turn["role"] for turn in contents] == ["user", "model", "user", "user"]
    assert contents[1]["parts"] == [
        {"functionCall": {"id": "a", "name": "fa", "args": {"x": 1}}},
        {"functionCall": {"id": "b", "name": "fb", "args": {"x": 1}}},
    ]
    assert contents[2]["parts"] == [
        {"functionResponse": {"id": "a", "name": "fa", "response": {"output": "one"}}},
        {"functionResponse": {"id": "b", "name": "fb", "response": {"output": "two"}}},
    ]


def test_made_up_ids_are_not_sent() -> None:
    contents = body(request(user("go"), called("call_0_resp"), result("call_0_resp")))["contents"]
    assert "id" not in contents[1]["parts"][0]["functionCall"]
    assert contents[2]["parts"][0]["functionResponse"] == {"name": "fcall_0_resp", "response": {"output": "done"}}


def test_images_in_a_tools_result_stand_beside_it() -> None:
    shown = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ]
    answer = body(request(user("go"), called("a"), result("a", shown)))["contents"][2]["parts"][0]["functionResponse"]
    assert answer["response"] == {"output": "see"}
    assert answer["parts"] == [{"inlineData": {"mimeType": "image/png", "data": PNG}}]


def test_arguments_that_are_no_object_are_sent_as_text_with_a_note() -> None:
    bad = {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{oops"}}]}
    call = encoded(request(user("x"), bad, result("a")))
    assert json.loads(call.body)["contents"][1]["parts"][0]["functionCall"]["args"] == {"arguments": "{oops"}
    assert call.notes == ("tool arguments that are no JSON object sent as text",)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            {"inlineData": {"mimeType": "image/png", "data": PNG}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://h/a.jpg?x=1"}},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://h/a.jpg?x=1"}},
        ),
        ({"type": "image_url", "image_url": {"url": "gs://b/a"}}, {"fileData": {"fileUri": "gs://b/a"}}),
        (
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}},
            {"inlineData": {"mimeType": "audio/wav", "data": PNG}},
        ),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}},
            {"inlineData": {"mimeType": "application/pdf", "data": PDF}},
        ),
        ({"type": "file", "file": {"file_data": PDF}}, {"inlineData": {"mimeType": "application/pdf", "data": PDF}}),
        (
            {"type": "file", "file": {"file_id": "https://h/v1beta/files/abc", "format": "text/csv"}},
            {"fileData": {"mimeType": "text/csv", "fileUri": "https://h/v1beta/files/abc"}},
        ),
        (
            {"type": "video_url", "video_url": {"url": "https://h/a.mp4"}, "videoMetadata": {"fps": 1}},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://h/a.mp4"}, "videoMetadata": {"fps": 1}},
        ),
    ],
)
def test_media(part: dict[str, Any], expected: dict[str, Any]) -> None:
    [sent] = body(request(user([part])))["contents"][0]["parts"]
    assert sent == expected
    google.Part.model_validate(sent)
    again = WIRE.parse(encoded(request(user([part]))))
    assert body(again)["contents"][0]["parts"] == [expected]


def test_base64_in_the_alphabet_of_urls_is_written_in_the_standard_one() -> None:
    odd = base64.urlsafe_b64encode(b"\xfb\xff\xfe?").decode().rstrip("=")
    [part] = parse({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": odd}}]}]}).messages[0][
        "content"
    ]
    assert part["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(bytes([251, 255, 254, 63])).decode()}"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {}},
        {"type": "image_url", "image_url": {"url": "data:image/png,plain"}},
        {"type": "file", "file": {"file_id": "file-abc"}},
        {"type": "input_audio", "input_audio": {}},
        {"type": "hologram"},
        7,
    ],
)
def test_a_part_that_would_be_lost_refuses_the_request_for_this_offer(part: Any) -> None:
    with pytest.raises(UpstreamError) as refused:
        encoded(request(user([part])))
    assert (refused.value.outcome, refused.value.try_next) == ("rejected", True)


def test_signatures_go_back_byte_for_byte_to_the_part_that_they_came_with() -> None:
    details = [
        {"type": "reasoning.text", "text": "hm", "signature": SIGNATURE, "format": "google-gemini-v1"},
        {"type": "reasoning.encrypted", "data": SIGNATURE + "t"},
        {"type": "reasoning.encrypted", "data": SIGNATURE + "a", "id": "a", "format": "google-gemini-v1"},
    ]
    message = called("a", "b", reasoning_details=details)
    message["content"] = "so"
    parts = body(request(user("x"), message, result("a"), result("b")), "gemini-3-pro")["contents"][1]["parts"]
    assert parts == [
        {"text": "hm", "thought": True, "thoughtSignature": SIGNATURE},
        {"text": "so", "thoughtSignature": SIGNATURE + "t"},
        {"functionCall": {"id": "a", "name": "fa", "args": {"x": 1}}, "thoughtSignature": SIGNATURE + "a"},
        {"functionCall": {"id": "b", "name": "fb", "args": {"x": 1}}},
    ]


def test_another_providers_signatures_are_not_sent_and_calls_without_one_say_so_to_gemini_3() -> None:
    foreign = [{"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1"}]
    call = encoded(request(user("x"), called("a", reasoning_details=foreign), result("a")), "gemini-3-pro")
    [part] = json.loads(call.body)["contents"][1]["parts"]
    assert part["thoughtSignature"] == "skip_thought_signature_validator"
    assert call.notes == (
        "reasoning of another provider left out",
        "tool calls of another model sent without their thoughts",
    )
    old = body(request(user("x"), called("a"), result("a")), "gemini-2.5-pro")
    assert "thoughtSignature" not in old["contents"][1]["parts"][0]


def test_a_signature_in_the_place_of_googles_compatible_endpoint_is_taken() -> None:
    message = called("a")
    message["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": SIGNATURE}}
    [part] = body(request(user("x"), message, result("a")), "gemini-3-pro")["contents"][1]["parts"]
    assert part["thoughtSignature"] == SIGNATURE


def test_what_cannot_be_said_is_noted() -> None:
    asked = request(
        {**user("x"), "name": "bob"},
        parallel_tool_calls=False,
        seed=2**40,
        stop=list("abcdef"),
        extra={"user": "u", "logit_bias": {}, "models": ["a"], "safety_settings": [], "labels": {"a": "b"}},
    )
    call = encoded(asked)
    said = json.loads(call.body)
    assert call.notes == (
        "name of a message left out",
        "parallel_tool_calls left out",
        "stop: only the first 5 sent",
        "seed (beyond 32 bits) left out",
        "user left out",
        "logit_bias left out",
    )
    assert (said["safetySettings"], said["labels"]) == ([], {"a": "b"})
