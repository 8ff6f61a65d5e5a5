"""Two requests have one key exactly if one recording answers both."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.cassettes.matching import (
    KEY_BYTES,
    MEDIA_CHARS,
    NOT_MATCHED,
    Features,
    canonical,
    differences,
    features,
    key,
)
from clawbench.types import ChatRequest

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.from_regex(r"[a-z]{1,6}", fullmatch=True)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": draw(st.text(max_size=20))}]
    for turn in range(draw(st.integers(0, 3))):
        calls = [
            {"id": f"id-{turn}-{n}", "type": "function", "function": {"name": draw(names), "arguments": "{}"}}
            for n in range(draw(st.integers(1, 3)))
        ]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [
            {"role": "tool", "tool_call_id": call["id"], "content": draw(st.text(max_size=9))} for call in calls
        ]
    return messages


requests = st.builds(
    ChatRequest,
    model=names,
    messages=conversations(),
    stream=st.booleans(),
    tools=st.none() | st.lists(st.dictionaries(names, json_values, max_size=3), min_size=1, max_size=2),
    temperature=st.none() | st.floats(0, 2),
    max_output_tokens=st.none() | st.integers(1, 9999),
    stop=st.none() | st.lists(st.text(max_size=4), max_size=2),
    extra=st.dictionaries(names, json_values.filter(lambda value: value is not None), max_size=3),
)


def turned(value: Any) -> Any:
    """The same value with the keys of every object in another order."""
    if isinstance(value, dict):
        return {name: turned(value[name]) for name in reversed(list(value))}
    return [turned(item) for item in value] if isinstance(value, list) else value


def renamed(messages: list[dict[str, Any]], to: dict[str, str]) -> list[dict[str, Any]]:
    text = msgspec.json.encode(messages).decode()
    for old, new in to.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    found: list[dict[str, Any]] = msgspec.json.decode(text)
    return found


def ids(messages: list[dict[str, Any]]) -> list[str]:
    return [call["id"] for message in messages for call in message.get("tool_calls", ())]


@given(requests, names)
def test_what_cannot_change_the_answer_is_not_in_the_key(request: ChatRequest, model: str) -> None:
    other = msgspec.structs.replace(
        request,
        model=model,
        include_usage=not request.include_usage,
        messages=turned(renamed(request.messages, {old: f"call_zz{n}" for n, old in enumerate(ids(request.messages))})),
        tools=turned(request.tools),
        extra=turned({**request.extra, **dict.fromkeys(NOT_MATCHED, "anything"), "absent": None}),
    )
    assert key(other) == key(request)
    assert differences(request, other) == []
    assert len(key(request)) == KEY_BYTES


@given(requests, requests)
def test_requests_with_different_canonical_forms_have_a_difference_that_can_be_told(
    one: ChatRequest, two: ChatRequest
) -> None:
    same = canonical(one) == canonical(two)
    assert same == (key(one) == key(two))
    assert same == (differences(one, two) == [])


@given(requests)
def test_the_request_is_not_changed_by_making_its_key(request: ChatRequest) -> None:
    before = msgspec.json.encode(request)
    key(request)
    differences(request, request)
    features(request)
    assert msgspec.json.encode(request) == before


def asked(**fields: Any) -> ChatRequest:
    return ChatRequest(**{"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": "hello "}]},
        {"messages": [{"role": "system", "content": "hello"}]},
        {"messages": [{"role": "user", "content": "hello", "name": "bob"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}]},
        {"stream": True},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tool_choice": "none"},
        {"parallel_tool_calls": False},
        {"response_format": {"type": "json_object"}},
        {"max_output_tokens": 5},
        {"temperature": 0.0},
        {"top_p": 0.5},
        {"frequency_penalty": 0.5},
        {"presence_penalty": 0.5},
        {"stop": ["x"]},
        {"seed": 1},
        {"n": 2},
        {"logprobs": True},
        {"top_logprobs": 3},
        {"reasoning_effort": "low"},
        {"extra": {"verbosity": "low"}},
    ],
)
def test_what_can_change_the_answer_is_in_the_key(fields: dict[str, Any]) -> None:
    assert key(asked(**fields)) != key(asked())
    assert differences(asked(**fields), asked())


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"role": "user", "content": [{"type": "text", "text": "hello"}]}, {"role": "user", "content": "hello"}),
        ({"role": "user", "content": "a", "refusal": None, "id": "msg_1"}, {"content": "a", "role": "user"}),
        ({"role": "assistant", "content": None}, {"role": "assistant"}),
    ],
)
def test_ways_to_write_the_same_message_are_one(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert key(asked(messages=[one])) == key(asked(messages=[two]))


def test_whole_and_real_numbers_of_one_value_are_one() -> None:
    assert key(asked(temperature=1)) == key(asked(temperature=1.0))


def test_which_call_a_tool_message_answers_is_in_the_key() -> None:
    calls = [{"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}} for name in ("x", "y")]

    def answered(first: str, second: str) -> ChatRequest:
        answers = [{"role": "tool", "tool_call_id": name, "content": "ok"} for name in (first, second)]
        return asked(messages=[{"role": "assistant", "content": None, "tool_calls": calls}, *answers])

    assert key(answered("x", "y")) != key(answered("y", "x"))


def test_differences_are_told_in_words_without_any_text_of_prompts() -> None:
    one = asked(temperature=0.7, stream=True, messages=[{"role": "user", "content": "secret one"}], extra={"a": [1]})
    two = asked(max_output_tokens=9, messages=[{"role": "user", "content": "secret two"}, {"role": "tool"}])
    found = differences(one, two)
    assert found == [
        "1 vs 2 messages",
        "messages[0].content differs",
        "max_output_tokens absent vs 9",
        "stream true vs false",
        "temperature 0.7 vs absent",
        "a present vs absent",
    ]
    assert "secret" not in " ".join(found)


def test_features_count_text_wherever_it_stands_and_a_picture_as_much_as_a_longish_text() -> None:
    messages = [
        {"role": "user", "content": "12345"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "678"}, {"type": "image_url", "image_url": {"url": "x"}}],
        },
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"a":1}'}}]},
        {"role": "assistant", "content": None, "tool_calls": None},
    ]
    assert features(asked(messages=messages, stream=True, tools=[{}])) == Features(True, True, 5 + 3 + MEDIA_CHARS + 7)
