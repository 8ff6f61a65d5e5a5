"""What providers of a dialect send beside its answers: error bodies in their own words, limits, times, model lists."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from clawbench.cassettes.timings import revealed
from clawbench.emulator.dialects import EMULATED, MANNERS
from clawbench.emulator.dialects.manners import Facts, Quota, Refusal, RefusalKind, span
from clawbench.emulator.specs import drawn_provider
from clawbench.rng import draws
from clawbench.types import HttpCall
from tests.emulator.made import PLAIN, ask, call, prompt, spec

DIALECTS = sorted(EMULATED)
QUOTA = Quota(requests=60, requests_left=0, requests_reset_s=60.0, tokens=9_000, tokens_left=4_321, tokens_reset_s=31.2)
FACTS = Facts(id="00c0ffee00", model="m-up", epoch_s=1_735_689_600, worked_s=0.25, quota=QUOTA)


def refused(dialect: str, kind: RefusalKind, **more: Any) -> tuple[int, dict[str, str], Any]:
    status, headers, body = MANNERS[dialect].refusal(Refusal(kind=kind, **more), FACTS)
    return status, headers | MANNERS[dialect].headers(FACTS), json.loads(body)


def test_openai_names_the_limit_and_the_wait_in_headers_and_text() -> None:
    status, headers, body = refused("openai_chat", "rate_limited", retry_after_s=2.5)
    assert status == 429
    assert body["error"]["code"] == "rate_limit_exceeded"
    assert "Limit 60" in body["error"]["message"]
    assert "try again in 2.5s" in body["error"]["message"]
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("3", "2500")
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"] == "1m0s"
    assert headers["x-ratelimit-reset-tokens"] == "31.2s"


def test_anthropic_is_overloaded_with_529_and_states_resets_as_instants() -> None:
    assert refused("anthropic", "overloaded")[::2] == (
        529,
        {
            "type": "error",
            "error": {"type": "overloaded_error", "message": "Overloaded"},
            "request_id": "req_00c0ffee00",
        },
    )
    status, headers, body = refused("anthropic", "tokens_limited", retry_after_s=12.2)
    assert (status, body["error"]["type"], headers["retry-after"]) == (429, "rate_limit_error", "13")
    assert headers["anthropic-ratelimit-tokens-remaining"] == "4000"
    assert headers["anthropic-ratelimit-requests-reset"] == "2025-01-01T00:01:00Z"
    assert headers["date"] == "Wed, 01 Jan 2025 00:00:00 GMT"


def test_gemini_puts_the_wait_and_the_quota_into_the_body() -> None:
    status, headers, body = refused("gemini", "rate_limited", retry_after_s=3.0)
    error = body["error"]
    assert (status, error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert [detail["@type"].rsplit(".", 1)[1] for detail in error["details"]] == ["QuotaFailure", "RetryInfo"]
    assert error["details"][1]["retryDelay"] == "3s"
    assert "retry-after" not in headers
    assert refused("gemini", "unauthorized")[2]["error"]["details"][0]["reason"] == "API_KEY_INVALID"


def test_bedrock_names_the_exception_in_a_header() -> None:
    status, headers, body = refused("bedrock_converse", "rate_limited", retry_after_s=3.0)
    assert status == 429
    assert headers["x-amzn-errortype"].startswith("ThrottlingException:")
    assert body == {"message": "Too many requests, please wait before trying again."}
    assert "retry-after" not in headers


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_refusal_has_the_status_of_its_kind(dialect: str) -> None:
    kinds: dict[RefusalKind, set[int]] = {
        "rate_limited": {429},
        "tokens_limited": {429},
        "overloaded": {503, 529},
        "server_error": {500},
        "bad_request": {400},
        "context_length": {400},
        "unauthorized": {400, 401, 403},
        "model_not_found": {400, 404},
        "no_route": {404},
    }
    for kind, statuses in kinds.items():
        status, _, body = refused(dialect, kind, text="what is wrong", context_window=10, prompt_tokens=20)
        assert status in statuses, kind
        if kind == "bad_request":
            assert "what is wrong" in json.dumps(body)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
def test_answers_tell_how_long_the_provider_worked_where_the_real_ones_do(dialect: str, stream: bool) -> None:
    reply = ask(dialect, prompt("short-01"), stream=stream)
    told = revealed(reply.headers, reply.body, streamed=stream)
    if dialect == "bedrock_anthropic" and stream:
        assert told is None
        return
    assert told is not None
    until_s = reply.headers_s if told.e2e_s is None else reply.chunks[-1][1]
    assert (told.e2e_s or told.headers_s) == pytest.approx(until_s - PLAIN.network_s, abs=0.001)


def test_ollama_stamps_every_line_and_ends_with_durations() -> None:
    reply = ask("ollama", prompt("short-01"), stream=True)
    lines = [json.loads(data) for data, _ in reply.chunks]
    stamps = [line["created_at"] for line in lines]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) > 2
    assert lines[-1]["total_duration"] == pytest.approx((reply.chunks[-1][1] - PLAIN.network_s) * 1e9, rel=1e-6)


def test_anthropic_states_the_prompts_tokens_in_its_first_event() -> None:
    first = ask("anthropic", prompt("short-01"), stream=True).chunks[0][0]
    usage = json.loads(first.partition(b"data: ")[2])["message"]["usage"]
    assert usage["input_tokens"] > 0
    assert usage["output_tokens"] == 1


LISTS: dict[str, tuple[str, Callable[[Any], list[str]]]] = {
    "openai_chat": ("/v1/models", lambda body: [each["id"] for each in body["data"]]),
    "openai_responses": ("/v1/models", lambda body: [each["id"] for each in body["data"]]),
    "anthropic": ("/v1/models", lambda body: [each["id"] for each in body["data"]]),
    "gemini": ("/v1beta/models", lambda body: [each["name"].removeprefix("models/") for each in body["models"]]),
    "bedrock_converse": ("/foundation-models", lambda body: [each["modelId"] for each in body["modelSummaries"]]),
    "bedrock_anthropic": ("/foundation-models", lambda body: [each["modelId"] for each in body["modelSummaries"]]),
    "ollama": ("/api/tags", lambda body: [each["name"] for each in body["models"]]),
    "cohere": ("/v1/models", lambda body: [each["name"] for each in body["models"]]),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_models_are_listed_the_way_of_the_dialect(dialect: str) -> None:
    path, names = LISTS[dialect]
    provider = drawn_provider(spec(dialect))

    def get(path: str) -> Any:
        listed = HttpCall(method="GET", url=f"http://127.0.0.1:1430/p{path}", headers={}, body=b"")
        return provider.answer(listed, draws(0, "test"))

    assert names(json.loads(get(path).body)) == ["m-up"]
    assert get("/nothing/here").status == 404
    if dialect not in ("ollama", "bedrock_converse", "bedrock_anthropic"):
        assert "m-up" in get(f"{path}/m-up").body.decode()
        assert get(f"{path}/m-none").status == 404


@pytest.mark.parametrize(
    "headers",
    [{"authorization": "Bearer open"}, {"x-api-key": "open"}, {"x-goog-api-key": "open"}, {"api-key": "open"}],
    ids=lambda headers: next(iter(headers)),
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_provider_with_a_key_asks_for_it(dialect: str, headers: dict[str, str]) -> None:
    provider = drawn_provider(msgspec.structs.replace(spec(dialect), api_key="open"))
    sent = call(dialect, prompt("short-01"), stream=False)
    assert provider.answer(sent, draws(0, "test")).status in (400, 401, 403)
    with_key = msgspec.structs.replace(sent, headers=sent.headers | headers)
    assert provider.answer(with_key, draws(0, "test")).status == 200
    in_url = msgspec.structs.replace(sent, url=f"{sent.url}{'&' if '?' in sent.url else '?'}key=open")
    assert provider.answer(in_url, draws(0, "test")).status == 200


def test_durations_are_written_as_openai_writes_them() -> None:
    assert [span(s) for s in (0.0, 0.12, 1.0, 6.25, 60.0, 72.5, 3_600.0)] == [
        "0ms",
        "120ms",
        "1s",
        "6.25s",
        "1m0s",
        "1m12.5s",
        "60m0s",
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_ids_are_short_and_the_dialects_own(dialect: str) -> None:
    reply = ask(dialect, prompt("tools-01"), stream=False)
    prefix = MANNERS[dialect].tool_call_prefix
    if dialect not in ("gemini",):
        assert re.search(rf'"{prefix}[0-9a-f]{{10}}"', reply.body.decode())
