"""Secrets go, wherever and however they are written; what a bill or a time rests on stays."""

from __future__ import annotations

import base64
import json
import re
from itertools import accumulate
from urllib.parse import quote

import msgspec
import pytest

from clawbench.cassettes.formats import opened
from clawbench.cassettes.interaction import Interaction, RecordedTiming
from clawbench.cassettes.kept_headers import IDENTIFIER_HEADERS
from clawbench.cassettes.scrub import Scrubber, scan, scrubbed
from clawbench.cassettes.secret_shapes import pseudonym, secrets_of
from clawbench.cassettes.timings import TIMING_HEADERS
from clawbench.cassettes.writer import cassette_bytes
from clawbench.wires.event_stream import FrameSplitter, encode_frame
from tests.cassettes.made import URL, exchange
from tests.cassettes.planted import SECRETS, har, leaked

SECRET = 'x7/"K+9=\\qZ ü&2vW'


def planted() -> list[Interaction]:
    return [item for item in opened(har(), "x.har").read() if isinstance(item, Interaction)]


def credentials(item: Interaction, *secrets: str) -> list[str]:
    return [finding.rule for finding in scan(item, secrets) if finding.severity == "credential"]


@pytest.mark.parametrize("secrets", [(), tuple(SECRETS.values())], ids=["by shape", "by value"])
def test_none_of_fourteen_planted_secrets_is_left(secrets: tuple[str, ...]) -> None:
    items = planted()
    assert len(items) == len(SECRETS) == 14
    assert sorted(leaked(cassette_bytes(items))) == sorted(SECRETS)
    clean = [scrubbed(item, secrets) for item in items]
    assert leaked(cassette_bytes(clean)) == []
    assert [finding for item in clean for finding in scan(item, secrets)] == []
    for name, item in zip(SECRETS, items, strict=True):
        assert scan(item, secrets), name


def test_a_secret_that_is_handed_in_is_found_in_every_encoding() -> None:
    forms = [
        SECRET,
        quote(SECRET, safe=""),
        re.sub("%..", lambda match: match[0].lower(), quote(SECRET, safe="")),
        json.dumps(SECRET)[1:-1],
        json.dumps(json.dumps(SECRET))[1:-1],
        *(base64.b64encode(b"a" * shift + SECRET.encode() + b"tail").decode() for shift in range(5)),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ]
    for form in forms:
        for body in (json.dumps({"say": form, "tokens": 1}), f"<p>{form}</p>", f"said={quote(form)}"):
            item = exchange(body=body.encode())
            clean = scrubbed(item, [SECRET])
            assert clean.body != item.body, (form, body)
            assert "REDACTED" in clean.body.decode()
            assert credentials(item, SECRET) != []
            assert credentials(clean, SECRET) == []


def test_a_secret_that_is_handed_in_is_found_in_every_place() -> None:
    secret = "plainlookingword"
    item = exchange(
        f"my {secret}",
        url=f"https://api.plain.test/{secret}/ask?note={secret}#{secret}",
        body=json.dumps({"say": json.dumps({"deep": [secret]}), "tokens": 1, secret: 1}).encode(),
        headers={"x-ratelimit-key": secret},
    )
    clean = scrubbed(item, [secret])
    assert secret not in str(msgspec.to_builtins(clean))
    assert clean.url == "https://api.plain.test/REDACTED/ask?note=REDACTED#REDACTED"
    assert json.loads(json.loads(clean.body)["say"]) == {"deep": ["REDACTED"]}
    assert scrubbed(item).body == item.body  # nothing gives it away otherwise


@pytest.mark.parametrize("secret", ["", "abc", "12345"])
def test_a_secret_too_short_to_be_told_from_words_is_refused_without_being_named(secret: str) -> None:
    with pytest.raises(ValueError, match="6 are the least") as caught:
        Scrubber([secret])
    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-Ab3dEf6hIj9lMn2pQr5tUv8x",
        "sk-ant-api03-Zx9cVb6nMm3kLj0hGf7dSa4q-AA",
        "sk-or-v1-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "AIzaSyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q",
        "gsk_a1B2c3D4e5F6g7H8i9J0k1L2m3N4",
        "xai-a1B2c3D4e5F6g7H8i9J0k1L2m3N4",
        "pplx-a1B2c3D4e5F6g7H8i9J0k1L2m3N4",
        "hf_a1B2c3D4e5F6g7H8i9J0k1L2m3N4",
        "cla_live_k1d2_a1B2c3D4e5F6g7H8i9J0",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
        "-----BEGIN EC PRIVATE KEY-----\nMIIBOgIBAAJBAKj34GkxFhD90vcN\nLYLInFEX6Ppy1t4p4\n-----END EC PRIVATE KEY-----",
        "Bearer 8f3kd92kfl20dk3l2kd9",
        "postgres://admin:hunter22secret@db.internal:5432/x",
        "https://h.example/v1?x=1&api_key=8f3kd92kfl20",
        "OPENAI_API_KEY=8f3kd92kfl20dk3l",
        'password: "8f3kd92kfl20dk3l"',
        "x-api-key: 8f3kd92kfl20",
        "Cookie: session=8f3kd92kfl20",
        "AWS4-HMAC-SHA256 Credential=x, Signature=" + "0123456789abcdef" * 4,
    ],
)
def test_what_looks_like_a_key_is_replaced_in_every_kind_of_body(key: str) -> None:
    bodies = {
        "text": f"echo: {key} .",
        "json": json.dumps({"error": {"message": f"bad key {key}!"}}),
        "json in json": json.dumps({"say": json.dumps({"arguments": json.dumps({"q": key})})}),
        "events": f"data: {json.dumps({'say': key})}\n\ndata: [DONE]\n\n",
    }
    for kind, body in bodies.items():
        item = exchange(body=body.encode(), headers={"content-type": "text/plain"})
        assert credentials(item), kind
        clean = scrubbed(item)
        assert credentials(clean) == [], kind
        assert clean.body != item.body
        assert b"REDACTED" in clean.body
        if kind.startswith("json"):
            json.loads(clean.body)


@pytest.mark.parametrize(
    "text",
    [
        "use sk-learn-based-models for the task-management of risk-assessments",
        "Bearer authentication is described in the Authorization: header section",
        "the keyboard, the turkey and the secret garden; cookie: delicious; password: required",
        'data: {"usage": {"prompt_tokens": 1200000000, "completion_tokens": 3}, "token": "x"}',
        "someone@example.com wrote to me@localhost; git@github.com:org/repo",
        "org-mode and user_authentication_service, project user-experiencedesign",
        "https://example.com/path?page=12&sort=key&q=a",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    item = exchange(body=text.encode())
    assert scrubbed(item).body == item.body
    assert scan(item) == []


def test_secrets_under_telling_names_go_whatever_they_look_like() -> None:
    value = {"api_key": "a", "Authorization": "b c", "x": {"clientSecret": "ü", "list": [{"password": "d"}]}}
    pairs = [{"name": "X-Api-Key", "value": "plain words"}, {"name": "accept", "value": "*/*"}]
    schema = {"properties": {"password": {"type": "string"}}, "required": ["password"]}
    item = exchange(body=json.dumps({**value, "headers": pairs, "schema": schema, "total_tokens": 7}).encode())
    found = json.loads(scrubbed(item).body)
    assert (found["api_key"], found["Authorization"], found["x"]["clientSecret"]) == ("REDACTED",) * 3
    assert found["x"]["list"] == [{"password": "REDACTED"}]
    assert [pair["value"] for pair in found["headers"]] == ["REDACTED", "*/*"]
    assert (found["schema"], found["total_tokens"]) == (schema, 7)
    assert {finding.field for finding in scan(item)} >= {"api_key", "Authorization", "clientSecret", "X-Api-Key"}


def test_placeholders_of_other_projects_stay_and_are_no_findings() -> None:
    item = exchange(
        body=b'{"api_key": "<OPENAI_KEY>", "password": "***", "secret": "REDACTED"}',
        url=f"{URL}?key=REDACTED&sig=XXXX",
    )
    item = msgspec.structs.replace(item, request_headers={"authorization": "Bearer <TOKEN>", "cookie": "COOKIE-XXX"})
    assert scan(item) == []
    assert (scrubbed(item).body, scrubbed(item).url) == (item.body, item.url)


def test_identifiers_become_the_same_pseudonym_everywhere_and_are_warnings() -> None:
    org, request = "org-a1B2c3D4e5F6g7H8", "req_011CVa2kcigwBtMFroktdQ2q"
    body = {
        "error": f"limit in organization {org} for ada@company.io",
        "request_id": request,
        "user_id": "u-12345678901",
    }
    item = exchange(
        body=json.dumps(body).encode(),
        headers={"x-request-id": request, "openai-organization": org},
        url="https://bedrock.test/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aprofile/x",
    )
    clean = scrubbed(item)
    text = clean.body.decode()
    for value in (org, request, "ada@company.io", "u-12345678901", "123456789012"):
        assert value not in str(msgspec.to_builtins(clean))
    assert clean.headers["openai-organization"] == pseudonym(org)
    assert pseudonym(org) in text
    assert clean.headers["x-request-id"] == pseudonym(request) == json.loads(text)["request_id"]
    assert "@example.invalid" in text
    assert {finding.severity for finding in scan(item)} == {"identifier"}
    assert scan(clean) == []


def test_headers_are_kept_by_name_and_all_others_go() -> None:
    kept = {
        "content-type": "application/json", "retry-after": "7", "x-ratelimit-remaining-tokens": "3", "date": "today",
        "anthropic-version": "2023-06-01", "anthropic-ratelimit-requests-limit": "9",
        "x-amzn-bedrock-input-token-count": "5",
        **{header.name: "12" for header in TIMING_HEADERS},
    }  # fmt: skip
    dropped = {"server": "x", "x-amz-cf-id": "y", "user-agent": "z", "authorization": "Bearer q", "set-cookie": "a=b"}
    item = msgspec.structs.replace(exchange(), headers={**kept, **dropped}, request_headers={**kept, **dropped})
    assert scrubbed(item).headers == scrubbed(item).request_headers == kept
    named = dict.fromkeys(IDENTIFIER_HEADERS, "8e52694a-22a0-42fa-9e2d-54539ebd2113")
    item = msgspec.structs.replace(item, headers=named)
    assert scrubbed(item).headers == dict.fromkeys(
        IDENTIFIER_HEADERS, pseudonym("8e52694a-22a0-42fa-9e2d-54539ebd2113")
    )


@pytest.mark.parametrize("width", [1, 3, 7, 100])
def test_a_secret_spelled_out_over_several_events_is_found(width: int) -> None:
    key = "sk-Ab3dEf6hIj9lMn2pQr5tUv8x"
    said = f'your key is "{key}", or {SECRET}; keep it'
    words = [said[at : at + width] for at in range(0, len(said), width)]
    events = [b"data: " + json.dumps({"choices": [{"delta": {"content": word}}]}).encode() + b"\n\n" for word in words]
    body = b"".join(events)
    timing = RecordedTiming(0.1, tuple((len(event), 0.2 + number) for number, event in enumerate(events)))
    clean = scrubbed(exchange(stream=True, body=body, timing=timing), [SECRET])
    lines = clean.body.decode().strip().split("\n\n")
    told = "".join(json.loads(line.removeprefix("data: "))["choices"][0]["delta"]["content"] for line in lines)
    assert told == 'your key is "REDACTED", or REDACTED; keep it'
    assert len(lines) == len(events)
    assert clean.timing is not None
    assert [t_s for _, t_s in clean.timing.chunks] == [t_s for _, t_s in timing.chunks]
    assert clean.timing.ends == tuple(accumulate(len(line) + 2 for line in lines))
    assert scan(clean, [SECRET]) == []


def test_arguments_spelled_out_over_several_events_keep_no_password() -> None:
    parts = ['{"user": "ada", "pass', 'word": "hun', "ter", '2 blue"', ', "n": 1}']
    events = [f"data: {json.dumps({'type': 'x', 'partial_json': part})}\n\n" for part in parts]
    clean = scrubbed(exchange(stream=True, body="".join(events).encode())).body.decode()
    told = "".join(json.loads(line[6:])["partial_json"] for line in clean.strip().split("\n\n"))
    assert json.loads(told) == {"user": "ada", "password": "REDACTED", "n": 1}


def test_binary_frames_are_composed_anew_with_their_checksums() -> None:
    key = "sk-Ab3dEf6hIj9lMn2pQr5tUv8x"
    inner = base64.b64encode(json.dumps({"delta": {"text": key}}).encode()).decode()
    payloads = [b'{"p": "abc"}', json.dumps({"bytes": inner, "p": "abc"}).encode(), json.dumps({"text": key}).encode()]
    frames = [encode_frame({":event-type": "chunk", ":content-type": "application/json"}, each) for each in payloads]
    body = b"".join(frames)
    timing = RecordedTiming(0.1, tuple((len(frame), 1.0 + number) for number, frame in enumerate(frames)))
    headers = {"content-type": "application/vnd.amazon.eventstream"}
    item = msgspec.structs.replace(exchange(), body=body, headers=headers, timing=timing)
    clean = scrubbed(item)
    splitter = FrameSplitter()
    found = splitter.feed(clean.body)
    assert (splitter.broken, splitter.pending, len(found)) == (None, 0, 3)
    assert clean.body.startswith(frames[0])
    wrapped = json.loads(found[1].payload)
    assert json.loads(base64.b64decode(wrapped["bytes"])) == {"delta": {"text": "REDACTED"}}
    assert json.loads(found[2].payload) == {"text": "REDACTED"}
    assert clean.timing is not None
    assert clean.timing.ends == (*(frame.offset for frame in found[1:]), len(clean.body))
    assert (len(credentials(item)) > 0, credentials(clean)) == (True, [])
    cut = msgspec.structs.replace(item, body=body[:-5], timing=None)
    assert key.encode() not in scrubbed(cut).body


def test_usage_model_tier_and_finish_reason_survive() -> None:
    told = {
        "id": "chatcmpl-AbCdEf0123456789GhIjKl", "model": "gpt-4o-2024-08-06", "service_tier": "default",
        "system_fingerprint": "fp_05df423bab", "key": "sk-Ab3dEf6hIj9lMn2pQr5tUv8x",
        "choices": [{"finish_reason": "stop", "message": {"content": "hi", "role": "assistant"}}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "cost": 1.25e-05, "details": {"cached_tokens": 3}},
    }  # fmt: skip
    found = json.loads(scrubbed(exchange(body=json.dumps(told, indent=1).encode())).body)
    assert found == {**told, "key": "REDACTED"}


def test_tokens_of_chance_stop_the_gate_unless_they_belong_where_they_are() -> None:
    token = "q7Xr2Vb9Kd4Wm1Zt8Yc5Pn3L"
    assert credentials(exchange(f"what is {token}?")) == ["looks like chance"]
    assert credentials(exchange(url=f"{URL}/{token}")) == ["looks like chance"]
    assert credentials(exchange(headers={"x-error-message": token})) == ["looks like chance"]
    fields = ("signature", "thoughtSignature", "encrypted_content", "data", "id", "tool_call_id", "url")
    belonging = json.dumps({**dict.fromkeys(fields, token), "text": f"data:image/png;base64,{token}"})
    assert credentials(exchange(body=belonging.encode())) == []
    # A token stays where it is: only whoever recorded it knows what it is.
    assert token.encode() in scrubbed(exchange(f"what is {token}?")).request_body


def test_a_finding_tells_where_and_never_what() -> None:
    item = exchange(body=b'{"api_key": "hunter2hunter2"}', file="a.yaml", index=0)
    (finding, *_) = scan(item)
    assert (finding.file, finding.interaction, finding.where, finding.field) == (
        "a.yaml",
        0,
        "response.body",
        "api_key",
    )
    assert (finding.severity, finding.length) == ("credential", 14)
    assert "hunter2" not in str(finding)


def test_secrets_of_the_environment_are_told_by_their_names() -> None:
    found = secrets_of(
        {"OPENAI_API_KEY": "abcdefghij", "DB_PASSWORD": "short", "HOME": "/home/nobody", "X_TOKEN": "<PLACEHOLDER>"}
    )
    assert found == ["abcdefghij"]
