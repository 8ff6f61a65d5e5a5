"""Which format a file is of is told by its content; a gzipped file is what is in it; each name can be chosen."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from clawbench.cassettes.formats import FORMATS, opened
from clawbench.cassettes.formats.yaml_safe import MAX_FILE_BYTES
from clawbench.cassettes.store import open_store
from clawbench.errors import CassetteError, UnknownFormat
from tests.cassettes.made import WIRES

HEADS = {
    "vcrpy": b"\xef\xbb\xbf# a comment\ninteractions:\n- request: {}\n",
    "vcr.rb": b"---\nhttp_interactions:\n- request:\n",
    "go-vcr": b"---\nversion: 2\ninteractions:\n    - id: 0\n",
    "har": b'{\n  "log": {"version": "1.2", "entries": []}}',
    "httprr": b"httprr trace v1\n589 342\nPOST https://h HTTP/1.1\r\n",
    "nock": b'[{"scope": "https://h:443", "method": "POST", "path": "/v1/ask", "status": 200}]',
    "wiremock": b'{"id": "1", "request": {"urlPath": "/v1/ask"}, "response": {}}',
    "single-exchange": b'{\n  "request": {"method": "POST"}}',
    "exchange-list": b'[{"request": {"method": "POST"}}]',
}


@pytest.mark.parametrize(("name", "head"), HEADS.items())
def test_formats_are_told_by_content_whatever_the_file_is_called(name: str, head: bytes) -> None:
    assert opened(head, "misleading.txt").format.name == name
    assert opened(gzip.compress(head), "misleading.txt").format.name == name


def test_every_format_has_an_example_here() -> None:
    assert sorted(HEADS) == sorted(FORMATS)


@pytest.mark.parametrize(
    "data", [b"", b"  \n\n", b"hello world", b"\x00\x01\x02", b"name: a plan\n", b"[1, 2]", b"<html>", b"version: 2\n"]
)
def test_what_is_no_cassette_is_said_so(data: bytes) -> None:
    with pytest.raises(UnknownFormat) as caught:
        opened(data, "x.yaml")
    assert caught.value.file == "x.yaml"


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("vcr.rb", b'{"recorded_with": "betamax/0.9.0", "http_interactions": []}'),
        ("vcrpy", b'{"name": "a", "interactions": [{"request": {}}]}'),
        ("vcrpy", b"# packed\nrequests:\n- body: a\nresponses:\n- body: b\n"),
        ("vcrpy", b"version: 1\ninteractions:\n- request:\n    uri: https://h/v1/ask\n"),
        ("go-vcr", b"---\nversion: 1\ninteractions:\n- request:\n    url: https://h/v1/ask\n"),
        ("har", b'{"_by": "a tool", "log": {"entries": []}}'),
        ("har", b"log:\n  _recordingName: a\n  entries: []\n"),
        ("single-exchange", b'{"id": "a \\" b", "response": {"body": "\\"log\\": {"}, "request": {}}'),
        ("single-exchange", b'{"request": {"body": "' + b"x" * 70_000),
        ("wiremock", b'{"mappings": [], "meta": {}}'),
        ("exchange-list", b"---\n-\n    request:\n        method: POST\n"),
    ],
)
def test_a_format_is_told_by_its_names_wherever_they_stand(name: str, head: bytes) -> None:
    assert opened(head, "x").format.name == name


@pytest.mark.parametrize("head", [b'{"a": {"request": 1, "log": {}, "interactions": []}}', b'["request", "response"]'])
def test_names_deeper_in_a_file_tell_nothing(head: bytes) -> None:
    with pytest.raises(UnknownFormat):
        opened(head, "x.json")


@pytest.mark.parametrize(
    "line", [b"\n", b" \n", b"#\n", b"---\n", b"{", b"[", b'"', b'"\\', b"version: 1\n", b"requests:\n"]
)
def test_a_head_that_goes_on_and_on_is_judged_at_once(line: bytes) -> None:
    with pytest.raises(UnknownFormat):
        opened(line * 30_000 + b"x", "x")


@pytest.mark.parametrize("packed", [gzip.compress, zlib.compress, lambda data: base64.encodebytes(gzip.compress(data))])
def test_a_file_may_be_packed_as_a_whole(packed: Callable[[bytes], bytes]) -> None:
    assert opened(packed(HEADS["vcrpy"]), "x").content == HEADS["vcrpy"].removeprefix(b"\xef\xbb\xbf")
    with pytest.raises(CassetteError):
        opened(packed(HEADS["vcrpy"])[:-9], "x")
    with pytest.raises(CassetteError, match="decompression bomb"):
        opened(packed(bytes(MAX_FILE_BYTES + 1)), "x")


def test_a_gzipped_file_is_bounded_and_must_be_whole() -> None:
    bomb = gzip.compress(bytes(MAX_FILE_BYTES + 1))
    whole = gzip.compress(HEADS["vcrpy"])
    for data, expected in (
        (bomb, "bomb"),
        (whole[:-3], "cut short"),
        (whole[:20] + b"\0" + whole[21:], "gzip|compress"),
    ):
        with pytest.raises(CassetteError, match=expected) as caught:
            opened(data, "x.yaml.gz")
        assert caught.value.file == "x.yaml.gz"


EXCHANGE = b'{"request": {"method": "POST", "url": "https://api.plain.test/v1/ask", "body": %s}, "response": %s}'
REPLY = b'{"status": {"code": 200}, "headers": {}, "body": "{\\"say\\": \\"hi\\", \\"tokens\\": 1}"}'
ASK = b'"{\\"ask\\": \\"a\\", \\"model\\": \\"m1\\"}"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.json").write_bytes(EXCHANGE % (ASK, REPLY))
    (tmp_path / "two.json.gz").write_bytes(gzip.compress(EXCHANGE % (ASK, REPLY)))
    (tmp_path / "three.yaml").write_text(
        'interactions:\n- request: {method: POST, uri: "https://api.plain.test/v1/ask",'
        ' body: \'{"ask": "b", "model": "m"}\'}\n'
        "  response: {status: 429, headers: {}, body: ''}\nversion: 1\n"
    )
    (tmp_path / "broken.yaml").write_text("interactions:\n- 'cut")
    (tmp_path / "what.json").write_text("{}")
    (tmp_path / "notes.gz").write_bytes(gzip.compress(b"not looked at"))
    return tmp_path


def test_a_store_takes_all_formats_or_those_asked_for(folder: Path) -> None:
    everything = open_store([folder], WIRES)
    assert [entry.file for entry in everything.entries] == ["one.json", "three.yaml", "two.json.gz"]
    assert sorted(problem.file for problem in everything.problems) == ["broken.yaml", "what.json"]
    single = open_store([folder], WIRES, formats={"single-exchange"})
    assert [entry.file for entry in single.entries] == ["one.json", "two.json.gz"]
    assert (single.problems, single.files) == ((), ("one.json", "two.json.gz"))
    vcrpy = open_store([folder], WIRES, formats=["vcrpy"])
    assert [entry.file for entry in vcrpy.entries] == ["three.yaml"]
    assert [problem.file for problem in vcrpy.problems] == ["broken.yaml"]
    assert len({everything.digest(), single.digest(), vcrpy.digest()}) == 3
    assert open_store([folder], WIRES, formats={"har"}).entries == ()


def test_an_unknown_format_is_refused_with_those_that_are_known(folder: Path) -> None:
    with pytest.raises(
        ValueError, match=r'"vcr-py" is not known\. Known: go-vcr, vcrpy, vcr\.rb.*Did you mean "vcrpy"'
    ) as caught:
        open_store([folder], WIRES, formats={"vcr-py"})
    assert all(name in str(caught.value) for name in FORMATS)
