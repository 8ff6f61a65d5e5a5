"""Foreign YAML is read as plain data, and what would be more than data is refused by name and line."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clawbench.cassettes.formats import yaml_safe
from clawbench.cassettes.formats.yaml_safe import MAX_DEPTH, Undecodable, load
from clawbench.errors import CassetteError

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
plain_data = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def refusal(text: str | bytes) -> CassetteError:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(CassetteError) as caught:
        load(data, "bad.yaml")
    assert caught.value.file == "bad.yaml"
    return caught.value


@given(plain_data)
def test_what_the_safe_dumper_writes_is_read_back_as_it_was(value: object) -> None:
    dumped = yaml.safe_dump({"value": value}).encode()
    assert load(dumped, "x.yaml").value == {"value": value}


@pytest.mark.parametrize(
    "text",
    ["1", "-7", "0x1F", "0b101", "017", "1_000", "1.5", "-.inf", "6.8523015e+5", "yes", "Off", "~", "null", "", "a b"],
)
def test_plain_scalars_mean_what_they_mean_to_pyyaml(text: str) -> None:
    data = f"value: {text}\n".encode()
    assert load(data, "x.yaml").value == yaml.safe_load(data)


def test_timestamps_and_sexagesimal_numbers_stay_text() -> None:
    assert load(b"- 2024-05-01\n- 12:30:45\n- 190:20:30.15\n", "x.yaml").value == [
        "2024-05-01",
        "12:30:45",
        "190:20:30.15",
    ]


def test_string_like_python_tags_are_read_as_the_text_they_hold() -> None:
    text = """
? !!python/object/apply:multidict._multidict.istr
- Accept
: - application/json
tuple: !!python/tuple [a, b]
text: !!python/unicode 'c'
more: !!python/str d
"""
    assert load(text.encode(), "x.yaml").value == {
        "Accept": ["application/json"],
        "tuple": ["a", "b"],
        "text": "c",
        "more": "d",
    }


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("!!python/object/apply:os.system", "a: 1\nb: !!python/object/apply:os.system ['touch x']\n"),
        ("!!python/object/new:os.system", "a: 1\nb: !!python/object/new:os.system {args: ['touch x']}\n"),
        ("!!python/name:os.system", "a: 1\nb: !!python/name:os.system ''\n"),
        ("!!python/module:os", "a: 1\nb: !!python/module:os ''\n"),
        ("!ruby/object:Gem", "a: 1\nb: !ruby/object:Gem {x: 1}\n"),
        ("!!set", "a: 1\nb: !!set {x}\n"),
    ],
)
def test_any_other_tag_is_refused_by_name_with_its_line(tag: str, text: str) -> None:
    error = refusal(text)
    assert tag in error.reason
    assert error.place == "line 2"


def test_an_alias_bomb_is_refused_and_a_modest_alias_is_read() -> None:
    rows = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "alias bomb" in refusal("\n".join(rows)).reason
    long_text = "x" * 100_000
    assert "alias bomb" in refusal(f"a: &a {long_text}\nb: [{', '.join(['*a'] * 100)}]").reason
    assert load(b"a: &a [1, 2]\nb: *a\n", "x.yaml").value == {"a": [1, 2], "b": [1, 2]}


def test_an_alias_inside_its_own_node_is_refused() -> None:
    assert "alias *a" in refusal("a: &a [1, *a]").reason


def test_nesting_is_bounded_and_the_line_is_named() -> None:
    fits = "\n".join(" " * depth + "a:" for depth in range(MAX_DEPTH)) + " 1"
    assert load(fits.encode(), "x.yaml").value
    error = refusal("\n" + "[" * 100_000)
    assert str(MAX_DEPTH) in error.reason
    assert error.place == "line 2"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("base: &b {x: 1}\nb:\n  <<: *b\n", "merge keys"),
        ("a: 1\na: 2\n", "twice"),
        ("a: 1\n---\nb: 2\n", "more than one document"),
        ("[a, b]: 1\n", "key must be a scalar"),
        ("a: !!int abc\n", "is no !!int"),
        ("a: 'cut off", "is not valid YAML"),
        ("a: [1, 2", "is not valid YAML"),
        ("{]", "is not valid YAML"),
    ],
)
def test_what_no_recorder_writes_is_refused_with_its_line(text: str, reason: str) -> None:
    error = refusal(text)
    assert reason in error.reason
    assert error.place.startswith("line ")


@pytest.mark.parametrize("data", [b"a: 1\nb: \xff\xfe\n", b"a: 1\nb: x\x00y\n"])
def test_bytes_that_are_no_text_are_refused_with_their_line(data: bytes) -> None:
    error = refusal(data)
    assert "is not text" in error.reason
    assert error.place == "line 2"


def test_broken_base64_spoils_its_own_value_only() -> None:
    value = load(b"good: !!binary aGVsbG8=\nbad: !!binary '@@@'\n", "x.yaml").value
    assert value["good"] == b"hello"
    assert isinstance(value["bad"], Undecodable)
    assert value["bad"].line == 2


def test_a_file_above_the_limit_is_refused_before_it_is_parsed() -> None:
    oversized = b"a" * (yaml_safe.MAX_FILE_BYTES + 1)
    assert "the limit is" in refusal(oversized).reason
