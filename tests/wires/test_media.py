"""Data URLs, alphabets of base64, and media types told from names and first bytes."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.wires.media import (
    data_url,
    joined_base64,
    split_data_url,
    standard_base64,
    type_of_base64,
    type_of_name,
)


@given(st.binary(max_size=40), st.sampled_from(["image/png", "audio/wav", ""]))
def test_a_data_url_comes_apart_into_what_it_was_made_of(held: bytes, kind: str) -> None:
    text = base64.b64encode(held).decode()
    assert split_data_url(data_url(kind, text)) == (kind, text)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("data:IMAGE/PNG;name=a.png;base64,AAAA", ("image/png", "AAAA")),
        ("data:text/plain,hello", None),
        ("https://h/a.png", None),
        ("", None),
        (7, None),
    ],
)
def test_what_is_no_base64_data_url_is_none(url: Any, expected: object) -> None:
    assert split_data_url(url) == expected


@given(st.binary(max_size=40))
def test_the_alphabet_of_urls_becomes_the_standard_one(held: bytes) -> None:
    text = base64.urlsafe_b64encode(held).decode()
    assert base64.b64decode(standard_base64(text), validate=True) == held
    assert base64.b64decode(standard_base64(text.rstrip("=")), validate=True) == held


@given(st.binary(max_size=9), st.binary(max_size=9))
def test_joined_base64_is_the_bytes_of_both(one: bytes, other: bytes) -> None:
    joined = joined_base64(base64.b64encode(one).decode(), base64.b64encode(other).decode())
    assert base64.b64decode(joined) == one + other


def test_types_are_told_by_suffix_and_first_bytes() -> None:
    names = ("https://h/a.JPG?x=1", "b.pdf", "c.mp3#t", "d", "e.unknown", None)
    assert [type_of_name(name) for name in names] == ["image/jpeg", "application/pdf", "audio/mp3", None, None, None]
    assert type_of_base64(base64.b64encode(b"%PDF-1.7").decode()) == "application/pdf"
    assert type_of_base64("AAAA") is None
