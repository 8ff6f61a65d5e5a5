"""One request in OpenAI's form, one equivalent answer, through each dialect that the gateway speaks.

The provider is the dialect's own other side: it reads the bytes that the gateway sent, checks that nothing was lost on
the way, and answers in its own words. What the client gets must be the same, whoever answered.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import structs

from clawbench.types import Choice, Completion, HttpCall, Message, Offer, ToolCall, Usage
from clawbench.wires import READ_ONLY, WIRES, wire_for
from clawbench.wires.collect import deltas_of
from tests.lab import Played, chat, events, in_lab, offer

DIALECTS = [
    "openai_chat",
    "openai_responses",
    "anthropic",
    "gemini",
    "bedrock_converse",
    "bedrock_anthropic",
    "cohere",
    "ollama",
]

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = {"id": "call_7", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Bern"}'}}
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
USAGE = Usage(input_tokens=21, output_tokens=9)

# What is asked, and what the provider answers to it.
ASKED: dict[str, tuple[dict[str, Any], Choice]] = {
    "text": (
        chat(text="Say hello.", max_completion_tokens=50, temperature=0.5),
        Choice(content="Hello there.", finish_reason="stop"),
    ),
    "several turns and a system prompt": (
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Two and two?"},
                {"role": "assistant", "content": "Four."},
                {"role": "user", "content": "And two?"},
            ],
        },
        Choice(content="Six.", finish_reason="stop"),
    ),
    "a tool call": (
        chat(text="Weather in Bern?", tools=[WEATHER]),
        Choice(tool_calls=(ToolCall("call_7", "get_weather", '{"city":"Bern"}'),), finish_reason="tool_calls"),
    ),
    "the follow-up of a tool call": (
        {
            "model": "m",
            "tools": [WEATHER],
            "messages": [
                {"role": "user", "content": "Weather in Bern?"},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_7", "content": '{"sky": "clear"}'},
            ],
        },
        Choice(content="Clear sky in Bern.", finish_reason="stop"),
    ),
    "an image": (
        {
            "model": "m",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image_url", "image_url": {"url": PIXEL}},
                    ],
                }
            ],
        },
        Choice(content="A single pixel.", finish_reason="stop"),
    ),
    "an answer by schema": (
        chat(
            text="Is it fine?",
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
            },
        ),
        Choice(content='{"ok":true}', finish_reason="stop"),
    ),
    "reasoning": (
        chat(text="Think, then say yes.", reasoning_effort="low", max_completion_tokens=4000),
        Choice(reasoning="It is asked to say yes.", content="Yes.", finish_reason="stop"),
    ),
    "an answer cut by its limit": (
        chat(text="Tell a long story.", max_completion_tokens=5),
        Choice(content="Once upon a time", finish_reason="length"),
    ),
}


def offer_of(dialect: str) -> Offer:
    """An offer whose model is one that does all of this at the dialect's provider."""
    model = {
        "anthropic": "claude-sonnet-4-5",
        "bedrock_converse": "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "bedrock_anthropic": "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "gemini": "gemini-2.5-flash",
        "cohere": "command-a-reasoning-08-2025",
    }.get(dialect, "gpt-5")
    return structs.replace(offer("p"), id="p/m", dialect=dialect, upstream_model=model)


def conversation(messages: list[Message]) -> list[tuple[str, str, Any]]:
    """What is said, in order: who says it, what it is (a text, an image, a call, the result of a call), and the thing.

    Dialects may give calls ids of their own, so a result is told with the name of the call that it answers.
    """
    said: list[tuple[str, str, Any]] = []
    names = {call["id"]: call["function"]["name"] for each in messages for call in each.get("tool_calls") or ()}
    for message in messages:
        role, content = message["role"], message.get("content") or []
        parts: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            if part["type"] == "image_url":
                said.append((role, "image", part["image_url"]["url"]))
            elif role == "tool":
                said.append((role, f"result of {names[message['tool_call_id']]}", json.loads(part["text"])))
            else:
                said.append(("system" if role == "developer" else role, "text", part["text"]))
        for call in message.get("tool_calls") or ():
            function = call["function"]
            said.append((role, f"call of {function['name']}", json.loads(function["arguments"])))
    return said


def schema_of(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    """The schema that an answer has to follow, None for none."""
    return response_format["json_schema"]["schema"] if response_format else None


def functions(tools: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Names, descriptions and parameters of tools."""
    kept = ("name", "description", "parameters")
    return [{name: tool["function"][name] for name in kept} for tool in tools or ()]


def wants_reasoning(body: dict[str, Any]) -> bool:
    """Whether a provider is asked to reason, under whatever name its dialect has for it."""
    told = json.dumps(body)
    return any(f'"{name}"' in told for name in ("reasoning_effort", "reasoning", "thinking", "thinkingConfig", "think"))


def provider(dialect: str, asked: dict[str, Any], answer: Choice) -> Any:
    """The other side: reads the call, checks it, answers."""
    wire = wire_for(offer_of(dialect))

    def play(call: HttpCall) -> Played:
        got = wire.parse(call)
        assert conversation(got.messages) == conversation(asked["messages"])
        assert functions(got.tools) == functions(asked.get("tools"))
        assert schema_of(got.response_format) == schema_of(asked.get("response_format"))
        assert got.stream == call.stream
        if asked.get("max_completion_tokens"):
            assert got.max_output_tokens == asked["max_completion_tokens"]
        if asked.get("reasoning_effort"):
            assert wants_reasoning(json.loads(call.body))
        completion = Completion(choices=(answer,), id="up-1", model=call.offer_id, created=1, usage=USAGE)
        if not call.stream:
            composed = wire.compose(completion)
            return Played([(0.5, composed.body)], headers=composed.headers)
        frames = list(wire.compose_stream(deltas_of(completion), id="up-1", model="served", created=1))
        headers = {"content-type": "text/event-stream"}
        return Played([(0.5 + 0.01 * number, frame) for number, frame in enumerate(frames)], headers=headers)

    return play


def of_whole(body: bytes) -> dict[str, Any]:
    """What a client sees of a whole answer."""
    choice = json.loads(body)["choices"][0]
    message = choice["message"]
    calls = [
        (call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message.get("tool_calls", [])
    ]
    return {
        "text": message.get("content") or "",
        "reasoning": message.get("reasoning_content") or "",
        "calls": calls,
        "finish_reason": choice["finish_reason"],
    }


def of_stream(chunks: list[Any]) -> dict[str, Any]:
    """What a client sees of a streamed answer, put together."""
    deltas = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for piece in (piece for delta in deltas for piece in delta["delta"].get("tool_calls", [])):
        names.setdefault(piece["index"], piece["function"].get("name", ""))
        arguments[piece["index"]] = arguments.get(piece["index"], "") + piece["function"].get("arguments", "")
    return {
        "text": "".join(delta["delta"].get("content") or "" for delta in deltas),
        "reasoning": "".join(delta["delta"].get("reasoning_content") or "" for delta in deltas),
        "calls": [(name, json.loads(arguments[index])) for index, name in names.items()],
        "finish_reason": [delta["finish_reason"] for delta in deltas][-1],
    }


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_request_gets_an_equivalent_answer_through_every_dialect(dialect: str, stream: bool, what: str) -> None:
    asked, answer = ASKED[what]
    body = {**asked, "stream": stream}
    (got,), lab = in_lab([offer_of(dialect)], {"p/m": provider(dialect, asked, answer)}, body)
    assert got.status == 200, got.body
    seen = of_stream(events(got)) if stream else of_whole(got.body)
    assert seen == {
        "text": answer.content or "",
        "reasoning": answer.reasoning or "",
        "calls": [(call.name, json.loads(call.arguments)) for call in answer.tool_calls],
        "finish_reason": answer.finish_reason,
    }
    record = lab.frame("requests").to_dicts()[0]
    assert (record["status"], record["input_tokens"], record["output_tokens"]) == ("ok", 21, 9)


def test_every_dialect_that_is_spoken_is_shown_here() -> None:
    assert set(WIRES) - READ_ONLY == set(DIALECTS)
