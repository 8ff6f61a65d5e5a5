"""vcrpy cassettes are read in every layout that recorders left behind; what cannot be read is told apart."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
from typing import Any

import pytest
import yaml

from clawbench.cassettes.formats import opened
from clawbench.cassettes.formats.vcrpy import Vcrpy
from clawbench.cassettes.interaction import Interaction, RecordedTiming, Unreadable
from clawbench.errors import CassetteError

REQUEST = {"body": '{"ask": 1}', "headers": {"Accept": ["a", "b"]}, "method": "post", "uri": "https://h.test/v1/ask"}
RESPONSE = {
    "body": {"string": '{"say": "hi"}'},
    "headers": {"Content-Type": ["application/json"], "X-Many": ["1", "2"], "Content-Length": ["13"]},
    "status": {"code": 200, "message": "OK"},
}


def cassette(*items: Any, **top: Any) -> bytes:
    return yaml.safe_dump({"interactions": list(items), "version": 1, **top}, sort_keys=False).encode()


def item(request: dict[str, Any] | None = None, response: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"request": {**REQUEST, **(request or {})}, "response": {**RESPONSE, **(response or {})}}


def read(data: bytes) -> list[Interaction | Unreadable]:
    return list(Vcrpy().read(data, "x.yaml"))


def one(data: bytes) -> Interaction:
    (found,) = read(data)
    assert isinstance(found, Interaction), found
    return found


def reason(data: bytes) -> str:
    (found,) = read(data)
    assert isinstance(found, Unreadable), found
    return found.reason


def refusal(data: bytes) -> CassetteError:
    with pytest.raises(CassetteError) as caught:
        read(data)
    return caught.value


def test_an_ordinary_interaction() -> None:
    assert one(cassette(item())) == Interaction(
        file="x.yaml",
        index=0,
        method="POST",
        url="https://h.test/v1/ask",
        request_headers={"accept": "a, b"},
        request_body=b'{"ask": 1}',
        status=200,
        headers={"content-type": "application/json", "x-many": "1, 2"},
        body=b'{"say": "hi"}',
        place="interaction 0 (line 2)",
    )


def test_json_cassettes_are_read_like_yaml_ones() -> None:
    data = json.dumps({"version": 1, "interactions": [item()]}, indent=4).encode()
    assert opened(data, "x.json").format.name == "vcrpy"
    assert one(data).body == b'{"say": "hi"}'


@pytest.mark.parametrize(
    "response",
    [
        {"body": {"string": b'{"say": "hi"}'}},
        {"body": '{"say": "hi"}'},
        {"body": {"string": '{"say": "hi"}', "encoding": "utf-8"}},
        {"body": {"base64_string": base64.encodebytes(b'{"say": "hi"}').decode()}},
        {"body": {"string": gzip.compress(b'{"say": "hi"}')}, "headers": {"content-encoding": ["gzip"]}},
        {"body": {"string": gzip.compress(b'{"say": "hi"}')}},
    ],
)
def test_bodies_in_every_dress_give_the_same_bytes(response: dict[str, Any]) -> None:
    assert one(cassette(item(response=response))).body == b'{"say": "hi"}'


def test_parsed_bodies_become_json_again() -> None:
    request = {"body": None, "parsed_body": {"ask": [1, 2.5, None, "ü"]}}
    found = one(cassette(item(request, {"body": None, "parsed_body": {"say": {"a": True}}})))
    assert json.loads(found.request_body) == {"ask": [1, 2.5, None, "ü"]}
    assert json.loads(found.body) == {"say": {"a": True}}
    assert json.loads(one(cassette(item({"body": {"ask": 1}}))).request_body) == {"ask": 1}


def test_the_older_httpx_layout() -> None:
    response = {"content": '{"say": "hi"}', "status_code": 404, "headers": {}, "http_version": "HTTP/1.1"}
    found = one(cassette({"request": REQUEST, "response": response}))
    assert (found.status, found.body) == (404, b'{"say": "hi"}')


@pytest.mark.parametrize(
    "status", [429, "429", "429 Too Many Requests", {"code": 429, "message": "x"}, {"code": "429"}]
)
def test_status_as_number_text_or_mapping(status: Any) -> None:
    assert one(cassette(item(response={"status": status}))).status == 429


def test_headers_as_scalars_of_any_kind_and_under_repeated_names() -> None:
    headers = {"A": "x", "a": ["y"], "N": 5, "B": True, "Null": None, "Raw": b"\xff"}
    expected = {"a": "x, y", "n": "5", "b": "true", "null": "", "raw": "\xff"}
    assert one(cassette(item(response={"headers": headers}))).headers == expected


def test_recorded_arrival_times_are_read() -> None:
    timing = {"version": 1, "headers_s": 0.25, "chunks": [[5, 0.5], [8, 1.5]]}
    found = one(cassette(item(response={"clawbench": timing})))
    assert found.timing == RecordedTiming(0.25, ((5, 0.5), (8, 1.5)))
    assert found.timing.ends == (5, 13)


def test_durations_of_another_recorder_are_read() -> None:
    found = one(cassette(item(response={"clawbench": {"version": 1, "duration_s": 0.25, "e2e_s": 2}})))
    assert (found.timing, found.duration_s, found.e2e_s) == (None, 0.25, 2.0)


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        ({"version": 2, "headers_s": 0.1, "chunks": []}, "version '2'"),
        ({"version": 1, "headers_s": 0.1, "chunks": [[5, 0.5]]}, "its chunks hold 5 bytes, the body 13"),
        ({"version": 1, "headers_s": 0.9, "chunks": [[13, 0.5]]}, "never go back"),
        ({"version": 1, "headers_s": -1.0, "chunks": [[13, 0.5]]}, "not negative"),
        ({"version": 1, "headers_s": float("nan"), "chunks": [[13, 0.5]]}, "finite"),
        ({"version": 1, "headers_s": 0.1, "chunks": [[-1, 0.5], [14, 0.5]]}, "chunks hold"),
        ({"version": 1, "chunks": []}, "headers_s and chunks belong together"),
        ({"version": 1, "headers_s": 0.5}, "headers_s and chunks belong together"),
        ({"version": 1}, "holds no times"),
        ({"version": 1, "duration_s": -0.5}, "duration_s must be finite and not negative"),
        ({"version": 1, "e2e_s": float("inf")}, "e2e_s must be finite and not negative"),
        ({"version": 1, "e2e_s": 1.0, "ttft_s": 1.0}, "unknown field"),
        ("soon", "response.clawbench"),
    ],
)
def test_arrival_times_that_cannot_be_are_told_not_used(timing: Any, expected: str) -> None:
    assert expected in reason(cassette(item(response={"clawbench": timing})))


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({"request": REQUEST}, "no response (is the file cut short?)"),
        ({"response": RESPONSE}, "no request"),
        ("text", "is no mapping"),
        (item({"uri": None}), "no uri"),
        (item({"headers": ["a"]}), "request.headers is no mapping"),
        (item(response={"headers": {"a": {"b": "c"}}}), "response.headers hold a value that is no text"),
        (item(response={"status": {"code": "soon"}}), "is no HTTP status"),
        (item(response={"status": 9000}), "is no HTTP status"),
        (item(response={"body": 5}), "not text, bytes or JSON"),
        (item(response={"body": {"base64_string": "@@"}}), "not base64"),
        (item(response={"body": {"string": gzip.compress(b"x" * 99)[:-9]}}), "cut short"),
    ],
)
def test_one_bad_interaction_does_not_take_the_others_along(broken: Any, expected: str) -> None:
    before, bad, after = read(cassette(item(), broken, item()))
    assert isinstance(before, Interaction)
    assert isinstance(after, Interaction)
    assert isinstance(bad, Unreadable)
    assert expected in bad.reason
    assert (bad.index, bad.place.startswith("interaction 1")) == (1, True)
    assert after.index == 2


def test_broken_base64_in_a_body_is_told_with_its_line() -> None:
    good = cassette(item(response={"body": {"string": b"\xff\xfe"}})).decode()
    bad = good.replace("//4=", "/@/4=")
    assert bad != good
    assert "!!binary is not base64" in reason(bad.encode())


def test_a_file_cut_in_the_middle_is_named_with_its_line() -> None:
    whole = cassette(*[item() for _ in range(5)])
    error = refusal(whole[: whole.rindex(b'"hi"') + 2])
    assert error.file == "x.yaml"
    assert error.place.startswith("line ")


@pytest.mark.parametrize("cut", range(20, 560, 31))
def test_no_cut_of_a_file_passes_as_the_whole(cut: int) -> None:
    whole = cassette(item(), item())
    found: list[Interaction | Unreadable] = []
    with contextlib.suppress(CassetteError):
        found = read(whole[:cut])
    assert found != read(whole)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (cassette(item(), version=3), "version '3' is not read"),
        (b"interactions: 5\nversion: 1\n", "no list of interactions"),
        (b'{"interactions": [', "not valid JSON"),
        (b'{"interactions": ' + b"[" * 100 + b"]" * 100 + b"}", "nested more than 64"),
        (b'{"interactions": ' + b"[" * 100_000, "nested more than 64"),
        (
            b"interactions:\n- request: !!python/object/apply:os.system ['touch x']\n",
            "!!python/object/apply:os.system is refused",
        ),
        (cassette(item(response={"body": {"string": gzip.compress(bytes(9 * 2**20))}})), "decompression bomb"),
    ],
)
def test_a_hostile_or_foreign_file_is_refused_as_a_whole(data: bytes, expected: str) -> None:
    assert expected in refusal(data).reason


def test_many_bodies_below_the_single_limit_are_a_bomb_too() -> None:
    body = gzip.compress(bytes(range(256)) * 80_000, compresslevel=1)  # 20 MB, ratio below the limit
    padded = body + gzip.compress(b"")
    items = "".join(
        "- request: {uri: 'https://h.test', method: POST}\n  response: {status: 200, body: *b}\n" for _ in range(40)
    )
    text = f"body: &b !!binary {base64.b64encode(padded).decode()}\ninteractions:\n{items}version: 1\n"
    assert "bomb" in refusal(text.encode()).reason


def test_a_file_that_was_cut_is_never_taken_for_a_whole_one() -> None:
    whole = yaml.safe_dump({"interactions": [item(), item()], "version": 1}).encode()  # in vcrpy's order of keys
    end = whole.index(b"version: 1")
    first, second = read(whole)
    for length in range(whole.index(b"interactions:") + 20, end):
        try:
            found = read(whole[:length])
        except CassetteError:
            continue
        assert found in ([first], [first, second]), f"cut at byte {length} of {len(whole)}"


def test_a_file_without_a_version_is_read_unless_it_was_cut() -> None:
    text = yaml.safe_dump({"interactions": [item(), item()]})
    assert len(read(text.encode())) == 2
    cut = text[: text.rindex("status")].encode()
    assert re.search(r"cut off: .*last interaction.*status", str(refusal(cut)))
