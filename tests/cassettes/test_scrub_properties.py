"""What holds of every interaction, however wild: scrubbing settles, keeps JSON and times whole, costs its length."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clawbench.cassettes.interaction import RecordedTiming
from clawbench.cassettes.scrub import Scrubber, refitted, scan, scrubbed
from clawbench.cassettes.scrub_bodies import Pieces
from tests.cassettes.made import URL, exchange

pieces = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=6)


@given(pieces, st.data())
def test_arrival_times_fit_a_body_of_any_new_length(lengths: list[tuple[int, int]], data: st.DataObject) -> None:
    total = sum(old for old, _ in lengths)
    cuts = sorted(data.draw(st.sets(st.integers(1, total), max_size=6)) | {total})
    starts = [0, *cuts[:-1]]
    timing = RecordedTiming(0.0, tuple((end - start, float(end)) for start, end in zip(starts, cuts, strict=True)))
    new = refitted(timing, Pieces(tuple(old for old, _ in lengths), tuple(b"x" * new for _, new in lengths)))
    assert sum(length for length, _ in new.chunks) == sum(new for _, new in lengths)
    instants = [t_s for _, t_s in new.chunks]
    assert instants == sorted(instants)
    assert set(instants) <= {t_s for _, t_s in timing.chunks}
    assert instants[-1] == timing.chunks[-1][1]


fragments = st.sampled_from(
    [
        "sk-", "Ab3dEf6hIj9lMn2pQr5tUv8x", "Bearer ", "REDACTED", '"', "\\", "\\u0073k-", "api_key", '": "', "=",
        "org-a1B2c3D4e5F6g7H8", "ada@company.io", "-----BEGIN KEY-----", "\n\n", "data: ", '{"', '"}', "eyJhbGciOi",
        "&", "?key=", ".", "@", "://",
        "password", "hunter2", "ü", "\ud800", "content", "anon-0123456789ab", "x" * 20, "1", " ",
    ]
)  # fmt: skip
texts = st.lists(fragments, max_size=14).map("".join).map(lambda text: text.encode("utf-8", "surrogatepass"))
wild = texts | st.binary(max_size=80) | texts.map(lambda text: json.dumps({"content": text.decode("latin-1")}).encode())


@given(wild, wild, st.booleans())
def test_scrubbing_twice_changes_nothing_more_and_leaves_no_finding_of_a_rule(
    sent: bytes, came: bytes, stream: bool
) -> None:
    url = URL + "?x=" + quote(sent[:30])
    timing = RecordedTiming(0.1, ((len(came), 0.5),)) if came else None
    item = msgspec.structs.replace(
        exchange(stream=stream, url=url, headers={"x-error-message": came[:40].decode("latin-1")}),
        request_body=sent, body=came, timing=timing,
    )  # fmt: skip
    scrubber = Scrubber(["hunter2hunter2"])
    once = scrubber.scrubbed(item)
    assert scrubber.scrubbed(once) == once
    assert {finding.rule for finding in scrubber.scan(once)} <= {"looks like chance"}
    assert once.timing is None or sum(length for length, _ in once.timing.chunks) == len(once.body)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(json_values, st.booleans())
@example({"API-KEY": 10000000.0, "x-api-key": 123456789012345, "password": [1234567890123]}, False)
def test_json_stays_json_and_the_rest_of_it_as_it_was(value: Any, ascii_only: bool) -> None:
    key = "sk-Ab3dEf6hIj9lMn2pQr5tUv8x"
    body = json.dumps({"a": value, "b": f"key {key}", "c": value}, ensure_ascii=ascii_only)
    clean = scrubbed(exchange(body=body.encode("utf-8", "surrogatepass"))).body
    found = json.loads(clean.decode("utf-8", "surrogatepass"))
    assert found["b"] == "key REDACTED"
    if found["a"] != value:  # hypothesis can write an address, and a key in a query, too
        assert "REDACTED" in clean.decode() or "anon-" in clean.decode()


HOSTILE = {
    "unterminated strings": '"' + '\\"' * 150_000,
    "nested quotes": '{"a": "' * 50_000,
    "half a token": "eyJ" * 100_000,
    "half a key block": "-----BEGIN A KEY-----" * 15_000,
    "half an address": "a" * 300_000 + "@",
    "many addresses": "a://a:" * 50_000,
    "names without values": "api_key.secret_key_" * 15_000,
    "parts without end": 'name="a"\n' * 30_000,
    "keys": "sk-Ab3dEf6hIj9lMn2pQr5tUv8x " * 10_000,
    "split keys": 'data: {"content": "sk-Ab3dEf6hIj9l"}\n\ndata: {"content": "Mn2pQr5tUv8x "}\n\n' * 1_500,
    "chance": "q7Xr2Vb9Kd4Wm1Zt8Yc5Pn3L" * 10_000,
    "words": "aB" * 150_000 + "1a" * 50_000,
    "deep": json.dumps(json.dumps(json.dumps(json.dumps(json.dumps(json.dumps({"a": '"' * 2000})))))),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_body_costs_no_more_than_its_length(body: str) -> None:
    # With cost growing as the square of the length these would run for many minutes.
    item = exchange(body=body.encode())
    once = scrubbed(item, ["x7/K+9=qZ"])
    assert scrubbed(once, ["x7/K+9=qZ"]).body == once.body
    scan(item, ["x7/K+9=qZ"])
