"""nock's recordings, WireMock's stubs, lists of exchanges: what each calls by a name of its own."""

from __future__ import annotations

import gzip
import json
import zlib
from base64 import b64encode
from typing import Any

import pytest
import yaml

from clawbench.cassettes.formats import opened
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.errors import CassetteError

URL = "https://h.test/v1/ask"
ASK, SAY = {"ask": 1}, {"say": "hi"}
TEXT = '{"say": "hi"}'


def read(value: Any, name: str) -> list[Interaction | Unreadable]:
    found = opened(value if isinstance(value, bytes) else json.dumps(value).encode(), "x.json")
    assert found.format.name == name
    return list(found.read())


def one(value: Any, name: str) -> Interaction:
    (found,) = read(value, name)
    assert isinstance(found, Interaction), found
    return found


def reason(value: Any, name: str) -> str:
    (found,) = read(value, name)
    assert isinstance(found, Unreadable), found
    assert found.place.startswith("interaction 0")
    return found.reason


def told(found: Interaction) -> tuple[str, str, Any, int, Any]:
    return found.method, found.url, json.loads(found.request_body), found.status, json.loads(found.body)


def nock(**fields: Any) -> list[dict[str, Any]]:
    call = {
        "scope": "https://h.test:443",
        "method": "post",
        "path": "/v1/ask",
        "body": ASK,
        "status": 200,
        "response": SAY,
        "rawHeaders": ["Content-Type", "application/json", "X-Many", "1", "X-Many", "2"],
        "responseIsBinary": False,
    }
    return [{**call, **fields}]


def test_a_call_of_nock() -> None:
    found = one(nock(), "nock")
    assert told(found) == ("POST", URL, ASK, 200, SAY)
    assert found.headers == {"content-type": "application/json", "x-many": "1, 2"}


@pytest.mark.parametrize(
    "fields",
    [
        {"response": TEXT, "body": json.dumps(ASK)},
        {"response": [gzip.compress(TEXT.encode())[:9].hex(), gzip.compress(TEXT.encode())[9:].hex()]},
        {"response": TEXT.encode().hex(), "responseIsBinary": True},
        {"rawHeaders": {"Content-Type": "application/json"}},
        {"rawHeaders": None, "headers": {"content-type": "application/json"}},
    ],
)
def test_nocks_other_ways_to_write_a_response(fields: dict[str, Any]) -> None:
    call = nock(**fields)[0]
    if call["rawHeaders"] is None:
        del call["rawHeaders"]
    assert told(one([call], "nock")) == ("POST", URL, ASK, 200, SAY)


def test_a_stream_and_a_list_of_values_stay_what_they_are() -> None:
    assert one(nock(response="data: {}\n\n"), "nock").body == b"data: {}\n\n"
    assert one(nock(response=["deadbeef", 1]), "nock").body == b'["deadbeef",1]'
    assert one(nock(response=""), "nock").body == b""
    assert one(nock(scope="http://localhost:11434"), "nock").url == "http://localhost:11434/v1/ask"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": 0}, "is no HTTP status"),
        ({"scope": 5}, "must be text"),
        ({"response": "no hex", "responseIsBinary": True}, "not hexadecimal"),
        ({"rawHeaders": ["odd"]}, "a name without a value"),
        ({"response": [gzip.compress(TEXT.encode())[:-9].hex()]}, "cut short"),
    ],
)
def test_a_call_of_nock_that_makes_no_sense_concerns_itself_alone(fields: dict[str, Any], expected: str) -> None:
    assert expected in reason(nock(**fields), "nock")


def stub(request: dict[str, Any] | None = None, response: dict[str, Any] | None = None) -> dict[str, Any]:
    asked = {
        "url": "/v1/ask",
        "method": "POST",
        "headers": {"Host": {"equalTo": "h.test"}, "Accept": {"contains": "json"}},
        "bodyPatterns": [{"matchesJsonPath": "$.ask"}, {"equalToJson": json.dumps(ASK), "ignoreArrayOrder": True}],
    }
    answered = {"status": 200, "body": TEXT, "headers": {"Content-Type": "application/json"}}
    return {"id": "1", "request": {**asked, **(request or {})}, "response": {**answered, **(response or {})}}


@pytest.mark.parametrize(
    "value",
    [
        stub(),
        {"mappings": [stub()], "meta": {"total": 1}},
        stub({"bodyPatterns": [{"equalToJson": ASK}]}, {"jsonBody": SAY}),
        stub({"bodyPatterns": [{"equalTo": json.dumps(ASK)}]}, {"base64Body": b64encode(TEXT.encode()).decode()}),
    ],
)
def test_a_stub_of_wiremock(value: Any) -> None:
    found = one(value, "wiremock")
    assert told(found) == ("POST", "//h.test/v1/ask", ASK, 200, SAY)
    assert found.request_headers == {"host": "h.test"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (stub({"url": None, "urlPattern": "/v1/.*"}), "matched by a pattern"),
        (stub(response={"bodyFileName": "ask.json"}), "another file ('ask.json')"),
        (stub(response={"base64Body": "%%%"}), "is not base64"),
        (stub(response={"status": "fine"}), "is no HTTP status"),
    ],
)
def test_a_stub_that_is_no_exchange_is_told_why(value: Any, expected: str) -> None:
    assert expected in reason(value, "wiremock")


LISTS: dict[str, dict[str, Any]] = {
    "PHP-VCR": {
        "request": {"method": "POST", "url": URL, "headers": {"Host": "h.test"}, "body": json.dumps(ASK)},
        "response": {"status": {"http_version": "1.1", "code": "200", "message": "OK"}, "body": TEXT},
    },
    "ExVCR": {
        "request": {"method": "post", "url": URL, "headers": [], "body": json.dumps(ASK), "options": []},
        "response": {"binary": False, "status_code": 200, "type": "ok", "headers": {"A": "b"}, "body": TEXT},
    },
    "EasyVCR": {
        "request": {"method": "POST", "uri": URL, "body": ASK, "headers": {"A": ["b", "c"]}},
        "response": {"status": {"code": 200, "message": "OK"}, "body": SAY},
    },
    "pairs": {
        "request": {"method": "POST", "url": URL, "headers": [["A", "b"], {"name": "C", "value": "d"}], "json": ASK},
        "response": {"statusCode": 200, "headers": [{"key": "A", "value": "b"}], "text": TEXT},
    },
}


@pytest.mark.parametrize("recorder", LISTS)
def test_lists_of_exchanges_in_json_and_yaml(recorder: str) -> None:
    item = LISTS[recorder]
    for data in (json.dumps([item]).encode(), yaml.safe_dump([item], explicit_start=True).encode()):
        assert told(one(data, "exchange-list")) == ("POST", URL, ASK, 200, SAY)


def test_what_a_list_holds_beside_exchanges_concerns_itself_alone() -> None:
    erlang = {**LISTS["ExVCR"], "response": {**LISTS["ExVCR"]["response"], "binary": True}}
    found = read([LISTS["ExVCR"], 5, erlang, LISTS["pairs"]], "exchange-list")
    assert [type(item).__name__ for item in found] == ["Interaction", "Unreadable", "Unreadable", "Interaction"]
    with pytest.raises(CassetteError, match="is not valid JSON"):
        read(json.dumps([LISTS["ExVCR"]]).encode()[:-5], "exchange-list")


def test_requests_beside_responses_as_langchain_writes_them() -> None:
    item = LISTS["EasyVCR"]
    asked = {**item["request"], "body": json.dumps(ASK)}
    answered = {**item["response"], "body": {"string": TEXT.encode()}}
    whole = {"requests": [asked, asked], "responses": [answered]}
    first, second = read(gzip.compress(yaml.safe_dump(whole).encode()), "vcrpy")
    assert isinstance(first, Interaction)
    assert told(first) == ("POST", URL, ASK, 200, SAY)
    assert isinstance(second, Unreadable)
    assert "has no response" in second.reason


def test_the_first_version_of_go_vcr() -> None:
    item = {
        "request": {"body": json.dumps(ASK), "form": {}, "headers": {"A": ["b"]}, "url": URL, "method": "POST"},
        "response": {"body": TEXT, "headers": {"A": ["b"]}, "status": "200 OK", "code": 200, "duration": "1.5s"},
    }
    data = yaml.safe_dump({"version": 1, "interactions": [item]}, sort_keys=False, explicit_start=True).encode()
    found = one(data, "go-vcr")
    assert told(found) == ("POST", URL, ASK, 200, SAY)
    assert found.duration_s == 1.5


@pytest.mark.parametrize("packed", [gzip.compress, zlib.compress])
def test_bodies_that_r_and_others_packed_themselves(packed: Any) -> None:
    held = packed(TEXT.encode())
    ruby = {
        "request": {"method": "POST", "uri": URL, "body": {"string": json.dumps(ASK)}},
        "response": {"status": 200, "body": {"raw_gzip": b64encode(held).decode()}},
        "recorded_at": "2025-06-01",
    }
    root = {"http_interactions": [ruby], "recorded_with": "VCR-vcr/2.0.0"}
    assert told(one(yaml.safe_dump(root, sort_keys=False).encode(), "vcr.rb")) == ("POST", URL, ASK, 200, SAY)
    python = {
        "request": {"method": "POST", "uri": URL, "body": json.dumps(ASK)},
        "response": {"status": {"code": 200}, "body": {"string": held}},
    }
    data = yaml.safe_dump({"interactions": [python], "version": 1}).encode()
    assert told(one(data, "vcrpy")) == ("POST", URL, ASK, 200, SAY)


def test_a_body_kept_in_another_file_is_told() -> None:
    ruby = {
        "request": {"method": "POST", "uri": URL},
        "response": {"status": 200, "body": {"on_disk": "files/a.json"}},
        "recorded_at": "2025-06-01",
    }
    assert "lies in another file ('files/a.json')" in reason({"http_interactions": [ruby]}, "vcr.rb")
