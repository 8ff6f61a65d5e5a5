"""Ruby's and R's vcr, go-vcr, HAR and single exchanges: every layout gives the same interaction, and its times."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
from collections.abc import Callable
from typing import Any

import brotli
import pytest
import yaml

from clawbench.cassettes.formats import opened
from clawbench.cassettes.formats.go_vcr import go_duration_s
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.errors import CassetteError

URL = "https://h.test/v1/ask"
ASK, SAY = '{"ask": 1}', '{"say": "hi"}'


def ruby(body: Any = SAY, *, status: Any = 200, headers: Any = None, **request: Any) -> bytes:
    told = {"string": body} if isinstance(body, (str, bytes)) else body
    item = {
        "request": {"method": "post", "uri": URL, "body": {"encoding": "UTF-8", "string": ASK}, **request},
        "response": {"status": status, "headers": headers or {"Content-Type": "a/b"}, "body": told},
        "recorded_at": "Mon, 14 Aug 2023 15:02:13 GMT",
    }
    return yaml.safe_dump({"http_interactions": [item], "recorded_with": "VCR 6.1.0"}, sort_keys=False).encode()


def go(body: Any = SAY, *, status: Any = 200, headers: Any = None, duration: Any = "1.5s", **request: Any) -> bytes:
    item = {
        "id": 0,
        "request": {"body": ASK, "form": {}, "headers": {}, "url": URL, "method": "POST", **request},
        "response": {
            "body": body,
            "headers": headers or {"Content-Type": ["a/b"]},
            "status": f"{status} OK",
            "code": status,
            "duration": duration,
        },
    }
    return yaml.safe_dump({"version": 2, "interactions": [item]}, sort_keys=False).encode()


def har(
    body: Any = SAY, *, status: Any = 200, headers: Any = None, content: Any = None, timings: Any = None, **request: Any
) -> bytes:
    pairs = [{"name": name, "value": value} for name, value in (headers or {"Content-Type": "a/b"}).items()]
    text = (
        {"text": base64.b64encode(body).decode(), "encoding": "base64"} if isinstance(body, bytes) else {"text": body}
    )
    entry = {
        "request": {"method": "POST", "url": URL, "headers": [], "postData": {"text": ASK}, **request},
        "response": {"status": status, "headers": pairs, "content": content or {"size": 9, **text}},
        "time": 900,
        "timings": timings or {"send": 0, "wait": 900, "receive": 0, "blocked": -1},
    }
    return json.dumps({"log": {"entries": [entry]}}).encode()


def single(body: Any = SAY, *, status: Any = 200, headers: Any = None, **request: Any) -> bytes:
    told = {"base64_string": base64.b64encode(body).decode()} if isinstance(body, bytes) else body
    return json.dumps(
        {
            "request": {"method": "POST", "url": URL, "headers": {"A": "b"}, "body": ASK, **request},
            "response": {
                "status": {"code": status, "message": "x"},
                "headers": headers or {"Content-Type": "a/b"},
                "body": told,
            },
        }
    ).encode()


def several(*args: Any, **fields: Any) -> bytes:
    return b"[" + single(*args, **fields) + b"]"


MAKERS: dict[str, Callable[..., bytes]] = {
    "vcr.rb": ruby,
    "go-vcr": go,
    "har": har,
    "single-exchange": single,
    "exchange-list": several,
}
every_format = pytest.mark.parametrize("name", MAKERS)


def read(data: bytes, name: str) -> list[Interaction | Unreadable]:
    found = opened(data, "x.file")
    assert found.format.name == name
    return list(found.read())


def one(data: bytes, name: str) -> Interaction:
    (found,) = read(data, name)
    assert isinstance(found, Interaction), found
    return found


def reason(data: bytes, name: str) -> str:
    (found,) = read(data, name)
    assert isinstance(found, Unreadable), found
    assert found.place.startswith("interaction 0")
    return found.reason


@every_format
def test_an_ordinary_interaction(name: str) -> None:
    found = one(MAKERS[name](), name)
    assert (found.method, found.url, found.status) == ("POST", URL, 200)
    assert (found.request_body, found.body) == (ASK.encode(), SAY.encode())
    assert (found.headers, found.index, found.file) == ({"content-type": "a/b"}, 0, "x.file")
    assert found.timing is None


@every_format
@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_compressed_bodies_are_undone(name: str, encoding: str) -> None:
    body = gzip.compress(SAY.encode()) if encoding == "gzip" else brotli.compress(SAY.encode() * 20)
    found = one(MAKERS[name](body, headers={"Content-Encoding": encoding}), name)
    assert found.body in (SAY.encode(), SAY.encode() * 20)
    assert found.headers == {}


@every_format
def test_html_and_empty_bodies_are_bodies(name: str) -> None:
    assert one(MAKERS[name]("<html>502</html>", status=502), name).body == b"<html>502</html>"
    assert one(MAKERS[name]("", status=500), name).body == b""
    assert one(MAKERS[name](b"\xff\xfe\x00", status=200), name).body == b"\xff\xfe\x00"


@every_format
@pytest.mark.parametrize("status", [0, 999, "soon", None])
def test_a_status_that_is_none_concerns_its_interaction_alone(name: str, status: Any) -> None:
    assert "is no HTTP status" in reason(MAKERS[name](status=status), name)


@every_format
def test_a_request_without_an_address_concerns_its_interaction_alone(name: str) -> None:
    assert "request has no ur" in reason(MAKERS[name](uri=None, url=None), name)


@every_format
def test_no_cut_of_a_file_passes_as_the_whole(name: str) -> None:
    whole = MAKERS[name]("x" * 60)
    expected = read(whole, name)
    for cut in range(40, len(whole.rstrip(b"\n")), 7):
        found: list[Interaction | Unreadable] = []
        with contextlib.suppress(CassetteError):
            found = read(whole[:cut], name)
        assert all(item.place for item in found)
        assert found != expected or b"recorded_at" in whole[:cut]  # nothing of an exchange stands behind that


@every_format
@pytest.mark.parametrize("share", [0.4, 0.6])
def test_a_file_that_breaks_off_in_a_quote_is_refused_with_its_place(name: str, share: float) -> None:
    whole = MAKERS[name]('"' + "x y " * 300)
    with pytest.raises(CassetteError) as caught:
        read(whole[: int(len(whole) * share)], name)
    assert caught.value.file == "x.file"
    assert caught.value.place.startswith("line ")


@every_format
def test_text_that_is_not_utf8_is_refused_with_its_line(name: str) -> None:
    data = MAKERS[name]("MARK").replace(b"MARK", b"\xff\xfe")
    with pytest.raises(CassetteError, match="is not text") as caught:
        read(data, name)
    assert caught.value.place.startswith("line ")


@every_format
def test_a_bomb_is_refused_as_a_whole(name: str) -> None:
    with pytest.raises(CassetteError, match="decompression bomb") as caught:
        read(MAKERS[name](gzip.compress(bytes(9 * 2**20))), name)
    assert caught.value.place.startswith("interaction 0")


@every_format
def test_a_gzip_body_cut_short_concerns_its_interaction_alone(name: str) -> None:
    assert "cut short" in reason(MAKERS[name](gzip.compress(SAY.encode() * 9)[:-9]), name)


def test_neighbours_of_a_bad_interaction_are_read() -> None:
    log = json.loads(har())
    log["log"]["entries"] = [*log["log"]["entries"], 5, {"request": {}}, *log["log"]["entries"]]
    kinds = [type(item) for item in read(json.dumps(log).encode(), "har")]
    assert kinds == [Interaction, Unreadable, Unreadable, Interaction]
    root = yaml.safe_load(ruby())
    root["http_interactions"] = [{"request": None}, *root["http_interactions"]]
    kinds = [type(item) for item in read(yaml.safe_dump(root).encode(), "vcr.rb")]
    assert kinds == [Unreadable, Interaction]


def test_rubys_dresses() -> None:
    mapping = {"code": 429, "message": "Too Many Requests"}
    assert one(ruby(status=mapping), "vcr.rb").status == 429
    assert one(ruby({"encoding": "UTF-8", "base64_string": "eyJzYXkiOiAiaGkifQ==\n"}), "vcr.rb").body == SAY.encode()
    assert "is not base64" in reason(ruby({"base64_string": "@@@"}), "vcr.rb")
    placeholder = one(ruby(uri="<AZURE_BASE>/openai/v1/chat/completions"), "vcr.rb")
    assert placeholder.url == "<AZURE_BASE>/openai/v1/chat/completions"
    as_json = json.dumps(yaml.safe_load(ruby())).encode()
    assert one(as_json, "vcr.rb").body == SAY.encode()
    tagged = ruby("MARK").replace(b"MARK", b"!binary |-\n        eyJzYXkiOiAiaGkifQ==")
    assert one(tagged, "vcr.rb").body == SAY.encode()
    found = one(ruby(), "vcr.rb")
    assert (found.duration_s, found.e2e_s) == (None, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1.2s", 1.2),
        ("345.6ms", 0.3456),
        ("1m2.5s", 62.5),
        ("1h0m1s", 3601.0),
        ("12µs", 12e-6),
        ("12us", 12e-6),
        ("7ns", 7e-9),
        ("0s", 0.0),
        ("0", 0.0),
        ("", None),
        (None, None),
    ],
)
def test_gos_durations_run_to_the_headers(text: Any, seconds: float | None) -> None:
    assert go_duration_s(text) == (None if seconds is None else pytest.approx(seconds))
    found = one(go(duration=text), "go-vcr")
    assert found.duration_s == (None if seconds is None else pytest.approx(seconds))
    assert found.e2e_s is None


@pytest.mark.parametrize("text", ["soon", "-1s", "1.2", "1s2", "s", "1.2.3s", 7, "1" * 400 + "s", ["1s"]])
def test_what_is_no_duration_is_told(text: Any) -> None:
    assert "is no duration" in reason(go(duration=text), "go-vcr")


def test_another_version_of_go_vcr_is_refused() -> None:
    with pytest.raises(CassetteError, match="version '3' is not read; 1 and 2 are"):
        read(go().replace(b"version: 2", b"version: 3"), "go-vcr")


@pytest.mark.parametrize(
    ("timings", "to_headers_s", "to_end_s"),
    [
        ({"send": 0, "wait": 511, "receive": 0, "blocked": -1}, None, 0.511),  # Polly.js: one figure, to the end
        ({"send": 1.5, "wait": 200.5, "receive": 800, "connect": 90, "ssl": 60}, 0.202, 1.002),
        ({"send": -1, "wait": 300, "receive": -1}, None, 0.3),
        ({"wait": -1, "receive": 5}, None, 0.9),  # then `time` is what there is
        ({"wait": "soon"}, None, 0.9),
        ({"wait": True}, None, 0.9),
    ],
)
def test_what_a_har_tells_of_its_times(timings: Any, to_headers_s: float | None, to_end_s: float) -> None:
    found = one(har(timings=timings), "har")
    assert found.duration_s == (None if to_headers_s is None else pytest.approx(to_headers_s))
    assert found.e2e_s == pytest.approx(to_end_s)


def test_base64_chunks_of_a_har_are_decoded_one_by_one() -> None:
    packed = gzip.compress(SAY.encode())
    chunks = json.dumps([base64.b64encode(packed[:10]).decode(), base64.b64encode(packed[10:]).decode()])
    content = {"encoding": "base64", "text": chunks, "size": 3}
    assert one(har(content=content), "har").body == SAY.encode()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"size": 900, "mimeType": "a/b"}, "900 bytes was saved without its text"),
        ({"text": "@@@", "encoding": "base64"}, "response.content.text is not base64"),
        ({"text": '["SGk=", "@"]', "encoding": "base64"}, "chunk 1 of response.content.text is not base64"),
        ({"text": '["SGk="', "encoding": "base64"}, "neither base64 nor a list"),
        ({"text": "[1]", "encoding": "base64"}, "neither base64 nor a list"),
        ({"text": "00ff", "encoding": "hex"}, "'hex' is not read"),
        ({"text": 5}, "is no text"),
        ([1], "is no mapping"),
    ],
)
def test_content_that_cannot_be_had_is_told(content: Any, expected: str) -> None:
    assert expected in reason(har(content=content), "har")


def test_older_archives_of_polly_are_hexadecimal_and_some_are_yaml() -> None:
    packed = gzip.compress(SAY.encode())
    for text in (packed.hex(), json.dumps([packed[:10].hex(), packed[10:].hex()])):
        content = {"_isBinary": True, "text": text, "size": 3}
        assert one(har(content=content), "har").body == SAY.encode()
    assert "neither base64 nor hex" in reason(har(content={"_isBinary": True, "text": "xyz", "size": 3}), "har")
    assert one(yaml.safe_dump(json.loads(har())).encode(), "har").body == SAY.encode()


def test_form_fields_and_absent_content_of_a_har() -> None:
    found = one(har(postData={"params": [{"name": "a", "value": "b c"}, {"name": "d"}]}), "har")
    assert found.request_body == b"a=b+c&d="
    assert one(har(content={"size": 0}), "har").body == b""
    assert one(har(postData=None), "har").request_body == b""
    assert "request.headers is no list" in reason(har().replace(b'"headers": []', b'"headers": {"a": 1}'), "har")


def test_half_a_surrogate_pair_is_told() -> None:
    assert "half a surrogate pair" in reason(single("\ud800"), "single-exchange")


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b'{"log": {"entries": 5}}', "har", "no list of entries"),
        (b'{"log": {}}', "har", "no list of entries"),
        (b"http_interactions: 5\n", "vcr.rb", "no list of http_interactions"),
        (b"version: 2\ninteractions: 5\n", "go-vcr", "no list of interactions"),
        (b'{"request": {"a": ' + b"[" * 70 + b"]" * 70 + b"}}", "single-exchange", "nested more than 64"),
        (b'{"request": {"a": NaN}}', "single-exchange", "not valid JSON"),
        (b"http_interactions:\n- !ruby/object:Gem::Installer {}\n", "vcr.rb", "is refused"),
    ],
)
def test_a_hostile_or_foreign_file_is_refused_as_a_whole(data: bytes, name: str, expected: str) -> None:
    with pytest.raises(CassetteError, match=expected) as caught:
        read(data, name)
    assert caught.value.file == "x.file"
