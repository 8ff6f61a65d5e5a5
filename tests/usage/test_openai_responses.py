"""Token counts of the Responses API: totals, parts of them, and what is not believed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.types import Usage
from clawbench.usage.openai_responses import VERSION, normalise, usage_body

STATED: dict[str, Any] = {
    "input_tokens": 4020,
    "input_tokens_details": {"cache_write_tokens": 4012, "cached_tokens": 8},
    "output_tokens": 15,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 4035,
}


def test_totals_hold_their_parts() -> None:
    usage, notes = normalise(STATED)
    assert usage == Usage(
        input_tokens=4020,
        cached_input_tokens=8,
        cache_write_tokens=4012,
        output_tokens=15,
        reasoning_tokens=5,
        raw=STATED,
    )
    assert notes == ()
    assert VERSION == "openai.responses/1"


def test_what_is_not_said_is_unknown_and_not_zero() -> None:
    usage, notes = normalise({"input_tokens": 1, "output_tokens": 2})
    assert (usage.cached_input_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (None, None, None)
    assert notes == ()
    assert normalise({"output_tokens": 2})[0].input_tokens is None


def test_an_imitators_chat_names_are_read() -> None:
    usage, _ = normalise({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 1}})
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens) == (3, 4, 1)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"input_tokens": True}, "bad_usage: input_tokens"),
        ({"output_tokens": "15"}, "bad_usage: output_tokens"),
        ({"output_tokens": 15.0}, "bad_usage: output_tokens"),
        ({"input_tokens": -1}, "bad_usage: input_tokens"),
        ({"input_tokens": 10**19}, "bad_usage: input_tokens"),
        ({"input_tokens": float("nan")}, "bad_usage: input_tokens"),
        ({"input_tokens_details": {"cached_tokens": 5000}}, "bad_usage: cached tokens 5000 exceeds 4020"),
        ({"input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 4012}}, "bad_usage: cache write tokens"),
        ({"output_tokens_details": {"reasoning_tokens": 16}}, "bad_usage: reasoning tokens 16 exceeds 15"),
        ({"total_tokens": 1}, "usage: total_tokens 1 is not 4020 + 15"),
    ],
)
def test_what_does_not_add_up_is_noted_and_never_guessed(change: dict[str, Any], note: str) -> None:
    usage, notes = normalise({**STATED, **change})
    assert len(notes) == 1
    assert notes[0].startswith(note)
    key = next(iter(change))
    if note.startswith("bad_usage") and key.endswith("_tokens"):
        assert getattr(usage, key) is None


@pytest.mark.parametrize("raw", [None, 3, [], "x"])
def test_what_is_no_object_has_no_counts(raw: object) -> None:
    assert normalise(raw) == (Usage(), ("bad_usage: usage is no object",))


@given(st.dictionaries(st.sampled_from(sorted(STATED)), st.none() | st.integers() | st.text() | st.just({"a": 1})))
def test_a_usage_of_any_shape_is_read(raw: dict[str, Any]) -> None:
    usage, _ = normalise(raw)
    for count in (usage.input_tokens, usage.output_tokens):
        assert count is None or count >= 0


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.data())
def test_what_is_written_reads_as_the_same_counts(input: int, output: int, data: st.DataObject) -> None:
    cached = data.draw(st.integers(0, input))
    usage = Usage(
        input_tokens=input,
        cached_input_tokens=cached,
        cache_write_tokens=data.draw(st.integers(0, input - cached)),
        output_tokens=output,
        reasoning_tokens=data.draw(st.integers(0, output)),
    )
    body = usage_body(usage)
    again, notes = normalise(body)
    assert notes == ()
    assert again == Usage(**{**{f: getattr(usage, f) for f in usage.__struct_fields__}, "raw": body})


def test_without_a_primary_count_nothing_is_written() -> None:
    assert usage_body(None) is None
    assert usage_body(Usage(input_tokens=3)) is None
