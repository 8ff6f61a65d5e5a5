"""The HTTP side, called as ASGI: routes, shapes, errors."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from clawbench.clock import run_virtual
from clawbench.errors import UpstreamError
from clawbench.gateway.limits import Limits
from clawbench.server.app import normal_path
from tests.lab import Lab, chat, completion, events, in_lab, offer, streamed

A = offer("a", model="llama-3.1-8b", upstream="m")
SCRIPTS = {"a/llama-3.1-8b": completion("Hello.")}


class Got:
    """What a route answered."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 0, dict[bytes, bytes](), b""

    async def send(self, event: Any) -> None:
        if event["type"] == "http.response.start":
            self.status, self.headers = event["status"], dict(event["headers"])
        else:
            self.body += event.get("body", b"")

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def call(
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    scripts: dict[str, Any] | None = None,
) -> Got:
    """One HTTP request to a fresh app."""
    sent = {"content-type": "application/json", **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }
    got = Got()
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if waiting:
            return waiting.pop()
        return await asyncio.get_running_loop().create_future()

    async def main() -> None:
        await Lab([A], scripts or SCRIPTS).app(scope, receive, got.send)

    run_virtual(main)
    return got


BODY = msgspec.json.encode(chat("llama-3.1-8b"))


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/chat/completions", "/v1/v1/chat/completions", "//v1//chat/completions/"]
)
def test_the_chat_route_is_found_with_and_without_the_prefix(path: str) -> None:
    assert call("POST", path, BODY).status == 200


@pytest.mark.parametrize(
    ("path", "normal"), [("/v1/models/", "/models"), ("/", "/"), ("/v1", "/"), ("/v12/models", "/v12/models")]
)
def test_paths_are_brought_to_one_form(path: str, normal: str) -> None:
    assert normal_path(path) == normal


def test_an_answer_has_the_shape_that_openais_client_reads() -> None:
    got = call("POST", "/v1/chat/completions", BODY)
    read = ChatCompletion.model_validate(got.json)
    assert read.choices[0].message.content == "Hello."
    assert read.model == "llama-3.1-8b", "the catalogue id, not what the provider called it"
    assert read.created == 1_700_000_001, "the epoch plus the second of virtual time in which it was made"
    assert read.usage is not None
    assert read.usage.total_tokens == 15
    assert got.headers[b"x-clawbench-offer"] == b"a/llama-3.1-8b"
    assert got.headers[b"x-clawbench-cost-usd"] == b"0.000015000000"
    assert got.headers[b"x-request-id"] == got.headers[b"x-clawbench-request-id"] == b"live-1"


def test_a_stream_has_one_id_and_usage_only_if_asked() -> None:
    for include in (True, False):
        body = chat(A.model, stream=True, stream_options={"include_usage": include})
        (answer,), _ = in_lab([A], {A.id: streamed("He", "llo")}, body)
        chunks = [ChatCompletionChunk.model_validate(event) for event in events(answer)]
        assert len({chunk.id for chunk in chunks}) == 1
        assert [chunk.usage is not None for chunk in chunks][-1] is include
        assert chunks[0].choices[0].delta.role == "assistant"
        headers = dict(answer.headers)
        assert headers[b"content-type"] == b"text/event-stream"
        assert b"x-clawbench-cost-usd" not in headers


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("GET", "/v1/nothing", b"", {}, 404, "not_found"),
        ("GET", "/v1/chat/completions", b"", {}, 405, "method_not_allowed"),
        ("POST", "/v1/chat/completions", BODY, {"content-type": "text/plain"}, 415, "bad_request"),
        ("POST", "/v1/chat/completions", BODY, {"content-encoding": "gzip"}, 400, "bad_request"),
        ("POST", "/v1/chat/completions", b"", {"content-length": "99999999"}, 413, "too_large"),
        ("POST", "/v1/chat/completions", b"{", {}, 400, "bad_request"),
        ("POST", "/v1/chat/completions", b'{"model":"x"}', {}, 400, "bad_request"),
        ("POST", "/v1/chat/completions", msgspec.json.encode(chat("nope")), {}, 404, "model_not_found"),
        (
            "POST",
            "/v1/chat/completions",
            msgspec.json.encode(chat("llama-3.1-8b@fast")),
            {},
            400,
            "unknown_strategy_tag",
        ),
        (
            "POST",
            "/v1/chat/completions",
            msgspec.json.encode(chat("llama-3.1-8b", temperature=9)),
            {},
            400,
            "bad_request",
        ),
        ("POST", "/v1/chat/completions", msgspec.json.encode(chat("llama-3.1-8b", api_base="http://x")), {}, 400, None),
        ("GET", "/v1/models/nope", b"", {}, 404, "model_not_found"),
    ],
)
def test_what_is_wrong_is_said_in_openais_shape(
    method: str, path: str, body: bytes, headers: dict[str, str], status: int, code: str | None
) -> None:
    got = call(method, path, body, headers)
    error = got.json["error"]
    assert set(error) == {"message", "type", "param", "code", "request_id"}
    assert got.status == status, error
    assert code is None or error["code"] == code
    assert error["request_id"] == "live-1"


def test_a_wrong_path_names_the_nearest_route() -> None:
    assert 'Did you mean "/v1/chat/completions"?' in call("POST", "/v1/chat/completion").json["error"]["message"]


def test_the_model_list_names_what_can_be_asked_for() -> None:
    got = call("GET", "/v1/models")
    (entry,) = got.json["data"]
    assert got.json["object"] == "list"
    assert (entry["id"], entry["object"], entry["created"], entry["owned_by"]) == (
        "llama-3.1-8b",
        "model",
        1_700_000_000,
        "a",
    )
    assert call("GET", "/v1/models/LLAMA-3.1-8B").json == entry


@pytest.mark.parametrize("path", ["/health", "/healthz", "/readyz"])
def test_health_needs_nothing(path: str) -> None:
    got = call("GET", path)
    assert (got.status, got.json) == (200, {"status": "ok"})


def test_a_mistake_of_ours_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Any) -> None:
        raise ZeroDivisionError("secret detail")

    got = call("POST", "/v1/chat/completions", BODY, scripts={A.id: broken})
    assert got.status == 500
    assert b"secret" not in got.body
    assert "ZeroDivisionError" in caplog.text


def test_a_timeout_is_a_504_that_sdks_do_not_repeat() -> None:
    slow = UpstreamError("late", outcome="timeout_total")
    got = call("POST", "/v1/chat/completions", BODY, scripts={A.id: slow})
    assert (got.status, got.json["error"]["code"]) == (504, "upstream_timeout")
    assert got.headers[b"x-should-retry"] == b"false"


def left_in_mid_stream(limits: Limits) -> Lab:
    """A lab whose client left after 3.5 s of a stream of eight pieces, a second apart."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [(b"content-type", b"application/json")],
    }
    body = msgspec.json.encode(chat(A.model, stream=True))

    async def main() -> Lab:
        lab = Lab([A], {A.id: streamed(*"abcdefgh", first_s=1.0, every_s=1.0)}, limits=limits)
        coming = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if coming:
                return coming.pop()
            await lab.clock.sleep_until(3.5)
            return {"type": "http.disconnect"}

        await lab.app(scope, receive, Got().send)
        return lab

    lab = run_virtual(main)
    (request,) = lab.frame("requests").to_dicts()
    assert (request["status"], request["error_kind"]) == ("cancelled", "client_abort")
    assert [reply.closed for reply in lab.transport.replies] == [True]
    assert lab.ledger.books.balance("local").held == 0
    return lab


def test_what_a_client_that_has_left_did_not_read_is_read_for_the_bill() -> None:
    lab = left_in_mid_stream(Limits())
    (request,), (attempt,) = lab.frame("requests").to_dicts(), lab.frame("attempts").to_dicts()
    assert (attempt["outcome"], attempt["output_tokens"], request["t_end_s"]) == ("ok", 8, 11.0)
    assert request["charge_pico_uat"] == 10 * 1_000_000 + 8 * 1_000_000, "the provider's own counts"


@pytest.mark.parametrize(("limits", "left_s"), [(Limits(drain_s=2.0), 5.5), (Limits(drains_max=0), 3.5)])
def test_where_there_is_no_time_or_place_for_that_the_provider_is_let_go_and_the_bill_is_an_estimate(
    limits: Limits, left_s: float
) -> None:
    lab = left_in_mid_stream(limits)
    (request,), (attempt,) = lab.frame("requests").to_dicts(), lab.frame("attempts").to_dicts()
    assert (attempt["outcome"], request["t_end_s"]) == ("client_abort", left_s)
    settled = [entry for entry in lab.ledger.entries() if entry.kind == "settle"]
    derivation = settled[0].detail["derivation"]
    assert (derivation["outcome"], derivation["estimated"]) == ("estimate_and_flag", True)
    assert 0 < request["charge_pico_uat"] < request["held_pico_uat"]


def test_a_request_that_cannot_be_read_is_recorded_all_the_same() -> None:
    (answer,), lab = in_lab([A], SCRIPTS, b'{"model": 5}')
    assert answer.status == 400
    (request,) = lab.frame("requests").to_dicts()
    assert (request["status"], request["error_kind"], request["attempts"]) == ("rejected", "bad_request", 0)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:1420"}, 200),
        ({"host": "LOCALHOST:1420"}, 200),
        ({"host": "evil.example:1420"}, 400),
        ({}, 400),
        ({"host": "localhost:1420", "origin": "https://evil.example"}, 403),
    ],
)
def test_only_known_hosts_are_served_and_no_web_page(headers: dict[str, str], status: int) -> None:
    got = Got()
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/health",
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }

    async def main() -> None:
        app = Lab([A], SCRIPTS).app
        app.hosts = frozenset({"127.0.0.1:1420", "localhost:1420"})

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        await app(scope, receive, got.send)

    run_virtual(main)
    assert got.status == status
