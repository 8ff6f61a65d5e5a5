"""JSON that is forgiven, and JSON that is not."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.wires.tolerant_json import NotJson, loads


def test_bytes_that_are_no_utf8_are_replaced_and_noted() -> None:
    assert loads(b'{"a":"x\xffy"}') == ({"a": "x\ufffdy"}, ("invalid UTF-8 replaced",))


def test_a_lone_surrogate_is_replaced_and_noted_and_a_pair_is_kept() -> None:
    assert loads(rb'{"a":"\ud83d\ude00"}') == ({"a": "😀"}, ())
    value, notes = loads(rb'{"a":"x\ud83dy"}')
    assert value == {"a": "x\ufffdy"}
    assert notes == ("lone surrogates or non-finite numbers replaced",)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e400"])
def test_a_number_that_is_none_is_null_except_in_usage(number: bytes) -> None:
    value, notes = loads(b'{"a":%b,"usage":{"prompt_tokens":%b}}' % (number, number))
    assert value["a"] is None
    assert not math.isfinite(value["usage"]["prompt_tokens"])
    assert notes


def test_an_integer_of_a_million_digits_costs_nothing_and_is_no_count() -> None:
    value, _ = loads(b'{"b":NaN,"usage":{"prompt_tokens":' + b"9" * 1_000_000 + b"}}")
    assert math.isnan(value["usage"]["prompt_tokens"])


def test_an_order_mark_and_raw_line_feeds_in_strings_are_forgiven() -> None:
    assert loads(b'\xef\xbb\xbf{"a":"x\ny"}')[0] == {"a": "x\ny"}


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b'{"a":1}x', b"{'a':1}"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(NotJson):
        loads(body)


@pytest.mark.parametrize("depth", [65, 900, 5_000, 200_000])
def test_nesting_above_64_is_refused_whatever_its_depth(depth: int) -> None:
    with pytest.raises(NotJson, match="64"):
        loads(b"[" * depth + b"]" * depth)
    assert loads(b"[" * 64 + b"]" * 64)[1] == ()


def test_brackets_within_strings_are_no_nesting() -> None:
    assert loads(b'{"a":"' + b"[{" * 500 + b'"}')[1] == ()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(body: bytes) -> None:
    with suppress(NotJson):
        assert loads(body)[1] is not None
