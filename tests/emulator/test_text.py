"""What an emulated model says: the shape that was asked for, the same each time, counted by one rule."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clawbench.emulator.text import answer
from clawbench.emulator.tokens import count_prefix, count_prompt, count_text
from clawbench.types import ChatRequest, Message

MODEL = "llama-3.1-8b"


def asking(question: str, system: str | None = None, **fields: Any) -> ChatRequest:
    messages = [] if system is None else [{"role": "system", "content": system}]
    return ChatRequest(model="", messages=[*messages, {"role": "user", "content": question}], **fields)


def tool(name: str, description: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


ORDER = tool("lookup_order", "Look up an order", order_id={"type": "string"})
WEATHER = tool("get_weather", "Weather forecast for a place", place={"type": "string"}, days={"type": "integer"})


def test_a_prompt_is_answered_alike_each_time_and_differently_by_another_model() -> None:
    request = asking("Why is the sky blue, and why is it red in the evening?")
    assert answer(request, MODEL) == answer(request, MODEL)
    assert answer(request, MODEL) != answer(request, "another-model")


def test_stream_flag_and_sampling_do_not_change_what_is_said() -> None:
    request = asking("Why is the sky blue?")
    sampled = msgspec.structs.replace(request, stream=True, include_usage=True, temperature=1.5, seed=4, model="x")
    assert answer(sampled, MODEL) == answer(request, MODEL)


def test_a_prompt_that_differs_in_one_word_gets_another_answer() -> None:
    assert answer(asking("Is tea better than coffee?"), MODEL) != answer(asking("Is milk better than coffee?"), MODEL)


def test_a_label_is_one_of_those_listed() -> None:
    request = asking(
        "The parcel never came.", "Classify the text. Answer with exactly one of: billing, delivery, other."
    )
    assert answer(request, MODEL).content in ("billing", "delivery", "other")


def test_code_comes_in_a_fence_of_its_language() -> None:
    content = answer(asking("Write a SQL query that counts orders by customer."), MODEL).content
    assert content is not None
    assert "```sql\nSELECT" in content


def test_a_schema_gets_json_that_fits_it() -> None:
    class Invoice(msgspec.Struct, forbid_unknown_fields=True):
        number: str
        total: float
        currency: str
        paid: bool
        items: list[dict[str, int]]

    item = {"type": "object", "properties": {"quantity": {"type": "integer"}}, "required": ["quantity"]}
    schema = {
        "type": "object",
        "properties": {
            "number": {"type": "string"},
            "total": {"type": "number"},
            "currency": {"type": "string", "enum": ["EUR", "USD"]},
            "paid": {"type": "boolean"},
            "items": {"type": "array", "items": item, "minItems": 2},
        },
        "required": ["number", "total", "currency", "paid", "items"],
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "invoice", "strict": True, "schema": schema}}
    said = answer(asking("Read this: Invoice 2024-118, 3 lamps, 134.40 EUR", response_format=wanted), MODEL)
    invoice = msgspec.json.decode(said.content or "", type=Invoice)
    assert invoice.currency in ("EUR", "USD")
    assert len(invoice.items) >= 2


def test_a_json_object_has_the_keys_that_the_prompt_names() -> None:
    question = "Return a JSON object with the keys country, capital and languages for Belgium."
    said = answer(asking(question, response_format={"type": "json_object"}), MODEL)
    assert list(json.loads(said.content or "")) == ["country", "capital", "languages"]


def test_the_tool_that_the_question_asks_for_is_called_with_arguments_of_its_schema() -> None:
    said = answer(asking("Where is my order 104-88213?", tools=[WEATHER, ORDER]), MODEL)
    assert said.finish_reason == "tool_calls"
    assert said.content is None
    (call,) = said.tool_calls
    assert call.name == "lookup_order"
    assert json.loads(call.arguments) == {"order_id": "104-88213"}


def test_tools_that_nobody_asks_for_are_not_called_unless_required() -> None:
    question = "Tell me a joke about penguins."
    assert answer(asking(question, tools=[ORDER]), MODEL).tool_calls == ()
    required = answer(asking(question, tools=[ORDER], tool_choice="required"), MODEL)
    assert [call.name for call in required.tool_calls] == ["lookup_order"]
    named = {"type": "function", "function": {"name": "get_weather"}}
    chosen = answer(asking("Where is my order 1?", tools=[ORDER, WEATHER], tool_choice=named), MODEL)
    assert [call.name for call in chosen.tool_calls] == ["get_weather"]
    assert answer(asking("Where is my order 1?", tools=[ORDER], tool_choice="none"), MODEL).tool_calls == ()


def test_a_tool_result_is_answered_in_words() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "lookup_order", "arguments": "{}"}}]
    messages: list[Message] = [
        {"role": "user", "content": "Where is my order 7?"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": '{"state":"packed"}'},
    ]
    said = answer(ChatRequest(model="", messages=messages, tools=[ORDER]), MODEL)
    assert said.tool_calls == ()
    assert "state packed" in (said.content or "")


@given(st.integers(min_value=1, max_value=60))
def test_the_output_limit_cuts_the_same_answer_and_says_so(limit: int) -> None:
    request = asking("Explain in detail how tides work on a planet with two moons.")
    whole = answer(request, MODEL)
    cut = answer(msgspec.structs.replace(request, max_output_tokens=limit), MODEL)
    assert cut.output_tokens == min(limit, whole.output_tokens)
    assert (whole.content or "").startswith(cut.content or "!")
    assert cut.finish_reason == ("length" if limit < whole.output_tokens else "stop")


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("x" * 400, 100)])
def test_four_characters_are_a_token(text: str, tokens: int) -> None:
    assert count_text(text) == tokens


def test_a_prompt_counts_its_messages_and_tools_and_its_prefix_ends_before_the_last_question() -> None:
    bare = asking("abcdefgh")
    assert count_prompt(bare) == 3 + 4 + 2
    assert count_prefix(bare) == 0
    instructed = asking("abcdefgh", "x" * 40)
    assert count_prompt(instructed) == 3 + 4 + 10 + 4 + 2
    assert count_prefix(instructed) == 4 + 10
    assert count_prompt(asking("abcdefgh", tools=[ORDER])) - count_prompt(bare) == len(msgspec.json.encode([ORDER])) / 4
    parts = ChatRequest(model="", messages=[{"role": "user", "content": [{"type": "text", "text": "abcdefgh"}]}])
    assert count_prompt(parts) == count_prompt(bare)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
SCHEMAS = st.recursive(
    ANYTHING,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"]) | ANYTHING,
            "properties": st.dictionaries(st.text(max_size=6), inner, max_size=3) | ANYTHING,
            "items": inner,
            "enum": ANYTHING,
            "anyOf": st.lists(inner, max_size=2) | ANYTHING,
            "required": ANYTHING,
            "minItems": ANYTHING,
        },
    ),
    max_leaves=6,
)


@settings(max_examples=200)
@given(st.text(max_size=60), SCHEMAS, ANYTHING, st.booleans())
def test_whatever_a_client_sends_as_schema_or_choice_is_answered(
    question: str, schema: Any, choice: Any, as_tool: bool
) -> None:
    definition = {"type": "function", "function": {"name": "f", "description": choice, "parameters": schema}}
    request = (
        asking(question, tools=[definition], tool_choice=choice or "required")
        if as_tool
        else asking(question, response_format={"type": "json_schema", "json_schema": {"schema": schema}})
    )
    said = answer(request, MODEL)
    assert bool(said.tool_calls) is (said.content is None)
    for call in said.tool_calls:
        json.loads(call.arguments)
    if not as_tool:
        json.loads(said.content or "")


def test_arrays_within_arrays_do_not_multiply_without_end() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(30):
        schema = {"type": "array", "items": schema, "minItems": 20}
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    assert answer(asking("Go.", response_format=wanted), MODEL).output_tokens < 20_000
