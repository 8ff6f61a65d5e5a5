"""What refusals mean: outcome, whether another offer may help, how long to wait, and what is repeated of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.schema import OUTCOMES
from clawbench.wires.failures import clean, read_error, refusal


def body(message: str, code: object = None, **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, "code": code, **more}}).encode()


@pytest.mark.parametrize(
    ("status", "reply", "outcome", "try_next", "retry_same"),
    [
        (400, body("bad value"), "rejected", False, False),
        (422, b'{"detail":[{"loc":["body","tools"],"msg":"wrong","input":"secret"}]}', "rejected", False, False),
        (400, body("too long", "context_length_exceeded"), "rejected", True, False),
        (400, body("prompt too long; exceeded max context length by 9 tokens"), "rejected", True, False),
        (413, body("Request too large"), "rejected", True, False),
        (400, body("filtered", "content_filter"), "filtered", False, False),
        (403, body("Your input was flagged", 403), "filtered", False, False),
        (400, body("Invalid model: x", "1500", type="invalid_model"), "model_gone", True, False),
        (400, body("API key not valid. Please pass a valid API key."), "auth", True, False),
        (401, body("Incorrect API key", "invalid_api_key"), "auth", True, False),
        (402, b'{"error":"You have depleted your monthly included credits."}', "auth", True, False),
        (403, body("no"), "auth", True, False),
        (403, body("Multimodal is not enabled", "multimodal_not_enabled"), "rejected", True, False),
        (404, body("The model `x` does not exist", "model_not_found"), "model_gone", True, False),
        (404, body("No endpoints found that support image input", "404"), "rejected", True, False),
        (408, b"", "upstream_5xx", True, False),
        (409, b"", "upstream_5xx", True, False),
        (429, body("slow down"), "rate_limited", True, True),
        (429, body("You exceeded your current quota", "insufficient_quota"), "rate_limited", True, False),
        (500, b"", "upstream_5xx", True, False),
        (502, b"<!DOCTYPE html><html><head><title>Bad\ngateway</title>", "upstream_5xx", True, False),
        (529, body("Overloaded"), "upstream_5xx", True, False),
        (302, b"", "redirect", True, False),
        (400, b'[{"error":{"code":400,"message":"list"}}]', "rejected", False, False),
        (429, body("Insufficient balance", "1113"), "rate_limited", True, False),
        (403, b'{"Message":"User: x is not authorized to perform: bedrock:InvokeModel"}', "auth", True, False),
    ],
)
def test_a_refusal_is_judged_by_status_and_content(
    status: int, reply: bytes, outcome: str, try_next: bool, retry_same: bool
) -> None:
    error = refusal(status, {}, reply)
    assert (error.outcome, error.try_next, error.retry_same) == (outcome, try_next, retry_same)
    assert error.status == status


@pytest.mark.parametrize(
    ("reply", "message", "code"),
    [
        (b'{"error":"text"}', "text", None),
        (b'{"message":"m","type":"t","code":400}', "m", "t"),
        (b'{"object":"error","message":"m","type":"invalid_model","code":"1500"}', "m", "invalid_model"),
        (b'{"detail":"Unauthorized"}', "Unauthorized", None),
        (b'{"detail":[{"loc":["body",0,"x"],"msg":"no","input":"secret"}]}', "body.0.x: no", "validation_error"),
        (b'{"errors":[{"message":"m","code":7003}]}', "m", "7003"),
        (b'{"error":{"code":429,"message":"P","metadata":{"raw":"the real cause"}}}', "P: the real cause", "429"),
        (b'{"error":{"message":"Param Incorrect","param":"no such model"}}', "Param Incorrect: no such model", None),
        (b'[{"error":{"message":"m","status":"INVALID_ARGUMENT","code":400}}]', "m", "INVALID_ARGUMENT"),
        (b'{"code":400,"reason":"INVALID_REQUEST_BODY","message":"m"}', "m", "INVALID_REQUEST_BODY"),
        (b'{"Message":"m"}', "m", None),
        (b'{"error":true,"message":"m"}', "m", None),
        (b'{"error":"invalid_token","error_description":"expired"}', "invalid_token: expired", None),
        (b'{"error_code":"REQUEST_LIMIT_EXCEEDED","message":"m"}', "m", "REQUEST_LIMIT_EXCEEDED"),
        (b'{"error_code":110,"error_msg":"m"}', "m", "110"),
        (b'{"choices":null,"base_resp":{"status_code":1008,"status_msg":"m"}}', "m", "1008"),
        (
            b'{"fault":{"faultstring":"m","detail":{"errorcode":"oauth.v2.InvalidApiKey"}}}',
            "m",
            "oauth.v2.InvalidApiKey",
        ),
        (
            b'{"message":{"detail":[{"loc":["body","x"],"msg":"no","input":"secret"}]},"type":"invalid_request_error"}',
            "body.x: no",
            "invalid_request_error",
        ),
    ],
)
def test_every_shape_of_error_body_gives_its_message_and_code(reply: bytes, message: str, code: str | None) -> None:
    said = read_error(json.loads(reply))
    assert said is not None
    assert (said.message, said.code) == (message, code)


def test_a_success_that_says_so_is_no_error() -> None:
    assert read_error({"base_resp": {"status_code": 0, "status_msg": ""}}) is None


def test_a_context_error_carries_one_code_whatever_the_provider_calls_it() -> None:
    reply = b'{"error":{"message":"The total length of all messages is too long.","type":"too_many_prompt_tokens"}}'
    assert refusal(400, {}, reply).code == "context_length_exceeded"


DATE = "Wed, 19 Aug 2026 14:34:22 GMT"


@pytest.mark.parametrize(
    ("headers", "reply", "seconds"),
    [
        ({"retry-after": "7"}, b"", 7.0),
        ({"retry-after": "86400"}, b"", 60.0),
        ({"retry-after": "1", "retry-after-ms": "0"}, b"", 1.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, b"", 0.25),
        ({"retry-after": "Wed, 19 Aug 2026 14:34:32 GMT", "date": DATE}, b"", 10.0),
        ({"retry-after": "Wed, 19 Aug 2026 14:34:32 GMT"}, b"", None),
        ({"retry-after": "soon"}, b"", None),
        ({"retry-after": "-5"}, b"", None),
        ({"retry-after": "1e999"}, b"", None),
        ({"x-ratelimit-reset-requests": "120ms", "x-ratelimit-reset-tokens": "1m2.5s"}, b"", 60.0),
        (
            {
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "30s",
                "x-ratelimit-remaining-tokens": "100",
            },
            b"",
            2.0,
        ),
        ({}, body("Please try again in 7.66s."), 7.66),
        ({}, body("Please try again in 1m3s."), 60.0),
        ({}, body("Please retry after 26 seconds."), 26.0),
        ({}, body("Please wait 33 seconds before retrying."), 33.0),
        ({}, body("Try again in 2 minutes."), 60.0),
        ({}, body("Try again in 500 milliseconds."), 0.5),
        ({}, b'{"error":"Model m is currently loading","estimated_time":20.5}', 20.5),
        (
            {"date": DATE},
            body("limit", 429, metadata={"headers": {"X-RateLimit-Reset": "1787150067000"}}),
            5.0,
        ),
        ({}, body("limit", 429, metadata={"headers": {"X-RateLimit-Reset": "1787150067000"}}), None),
        ({}, body("limit", 429, metadata={"retry_after_seconds": 12}), 12.0),
        ({}, b"", None),
    ],
)
def test_the_wait_is_read_from_headers_or_body_and_capped(
    headers: dict[str, str], reply: bytes, seconds: float | None
) -> None:
    assert refusal(429, headers, reply).retry_after_s == seconds


def test_limits_of_a_refusal_that_is_no_rate_limit_are_no_wait() -> None:
    assert refusal(400, {"x-ratelimit-reset-requests": "120ms"}, body("bad")).retry_after_s is None


def test_nothing_is_repeated_beyond_200_characters_and_no_control_character_survives() -> None:
    error = refusal(400, {}, body("a\x1b[31m\r\n\u202e" + "b" * 500))
    assert len(error.message) == 200
    assert error.message.isprintable()
    assert clean("x\ny") == "x\\ny"


@given(
    st.integers(100, 999),
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date", "x-ratelimit-reset"]), st.text()),
    st.one_of(st.binary(max_size=300), st.text(max_size=100).map(body)),
)
def test_any_refusal_is_a_typed_error(status: int, headers: dict[str, str], reply: bytes) -> None:
    error = refusal(status, headers, reply)
    assert error.outcome in OUTCOMES
    assert len(error.message) <= 200
    assert error.message.isprintable()
    assert error.retry_after_s is None or 0 <= error.retry_after_s <= 60


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "errors", "message", "code", "detail", "metadata", "headers", "loc", "type"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_error_object_is_read(value: Any) -> None:
    said = read_error(value)
    assert said is None or type(said.message) is str
    assert refusal(429, {}, json.dumps(value).encode()).outcome == "rate_limited"
