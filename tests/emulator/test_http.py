"""Emulated providers behind ASGI: prefixes, paces, model names with slashes, what is no provider. In virtual time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from msgspec import Struct

from clawbench.clock import LoopClock, run_virtual
from clawbench.emulator.dialects import EMULATED
from clawbench.emulator.http import BODY_BYTES_MAX, EmulatorApp
from clawbench.emulator.specs import OfferSpec, ProviderSpec, live_provider
from clawbench.types import HttpCall
from clawbench.wires import wire_for
from tests.emulator.made import MODEL, PLAIN, call, offer, prompt, spec


class Got(Struct):
    """What a client got: status, headers, and bytes with the instants at which they came."""

    status: int
    headers: dict[str, str]
    pieces: list[tuple[bytes, float]]

    @property
    def body(self) -> bytes:
        return b"".join(data for data, _ in self.pieces)


async def send(app: EmulatorApp, clock: LoopClock, sent: HttpCall) -> Got:
    """One request through ASGI."""
    parts = urlsplit(sent.url)
    scope = {
        "type": "http",
        "method": sent.method,
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent.headers.items()],
    }
    got = Got(0, {}, [])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": sent.body, "more_body": False}

    async def hear(event: Any) -> None:
        if event["type"] == "http.response.start":
            got.status = event["status"]
            got.headers = {name.decode(): value.decode() for name, value in event["headers"]}
        elif event.get("body"):
            got.pieces.append((event["body"], clock.now()))

    await app(scope, receive, hear)
    return got


def exchange(providers: Sequence[ProviderSpec], *calls: HttpCall, seed: int = 1) -> tuple[list[Got], EmulatorApp]:
    """The calls one after the other."""

    async def main() -> tuple[list[Got], EmulatorApp]:
        clock = LoopClock()
        app = EmulatorApp([live_provider(each) for each in providers], clock, seed=seed, epoch_s=1_735_689_600)
        return [await send(app, clock, sent) for sent in calls], app

    return run_virtual(main)


def get(path: str) -> HttpCall:
    return HttpCall(method="GET", url=f"http://127.0.0.1:1430{path}", headers={}, body=b"")


@pytest.mark.parametrize("dialect", sorted(EMULATED))
def test_calls_of_every_dialect_find_their_provider_at_the_address_that_offers_have(dialect: str) -> None:
    served = OfferSpec(model=MODEL, upstream_model="m up:1" if dialect == "gemini" else "vendor/m up:1", profile=PLAIN)
    provider = ProviderSpec(name="p", dialects=(dialect,), offers=(served,))
    there = provider.offer(served, "http://127.0.0.1:1430")
    sent = wire_for(there).encode(prompt("short-01"), there)
    ((got,), _) = exchange([provider], sent)
    assert got.status == 200, got.body
    assert wire_for(there).decode(got.status, got.headers, got.body).choices[0].content


def test_a_stream_comes_at_its_pace_and_a_whole_answer_when_it_is_complete() -> None:
    calls = [call("openai_chat", prompt("long-api-1"), stream=stream) for stream in (True, False)]
    (streamed, whole), _ = exchange([spec("openai_chat")], *calls)
    instants = [t_s for _, t_s in streamed.pieces]
    assert len(set(instants)) > 5
    assert instants == sorted(instants)
    assert len(whole.pieces) == 1
    assert whole.headers["content-length"] == str(len(whole.body))
    assert streamed.headers["content-type"].startswith("text/event-stream")


def test_the_same_calls_in_another_order_get_the_same_answers() -> None:
    calls = [call("openai_chat", prompt(f"short-0{number}"), stream=True) for number in (1, 2, 3)]
    forth, _ = exchange([spec("openai_chat")], *calls)
    back, _ = exchange([spec("openai_chat")], *reversed(calls))
    assert [got.body for got in forth] == [got.body for got in reversed(back)] or (
        [strip(got.body) for got in forth] == [strip(got.body) for got in reversed(back)]
    )


def strip(body: bytes) -> list[dict[str, Any]]:
    """The frames without the instant at which they were made."""
    frames = [json.loads(frame[6:]) for frame in body.split(b"\n\n") if frame.startswith(b"data: {")]
    return [{key: value for key, value in frame.items() if key != "created"} for frame in frames]


def test_a_call_that_comes_again_has_luck_of_its_own() -> None:
    sent = call("openai_chat", prompt("short-01"), stream=False)
    (first, again), _ = exchange([spec("openai_chat")], sent, sent)
    first_body, again_body = json.loads(first.body), json.loads(again.body)
    assert first_body["id"] != again_body["id"]
    assert first_body["choices"] == again_body["choices"]


def test_the_index_says_what_is_served_and_what_was_answered() -> None:
    (_, index), app = exchange([spec("gemini")], call("gemini", prompt("short-01"), stream=False), get("/"))
    assert json.loads(index.body)["providers"]["p"] == {
        "dialects": ["gemini"],
        "models": ["m-up"],
        "answered": 1,
        "energy_j": 0.0,
    }
    assert app.answered["p"] == 1


def test_a_provider_that_is_not_there_is_named_with_those_that_are() -> None:
    ((got,), _) = exchange([spec("gemini")], get("/pp/v1/models"))
    assert got.status == 404
    assert "There is no provider" in got.body.decode()
    assert "Known: p." in got.body.decode()


def test_a_body_that_is_too_large_is_refused() -> None:
    big = HttpCall(
        method="POST", url="http://127.0.0.1:1430/p/v1/chat/completions", headers={}, body=b" " * (BODY_BYTES_MAX + 1)
    )
    ((got,), _) = exchange([spec("openai_chat")], big)
    assert got.status == 413


def test_an_offer_is_the_same_live_and_recorded() -> None:
    assert offer("openai_chat").base_url == "http://127.0.0.1:1430/p/v1"
    assert offer("anthropic").base_url == "http://127.0.0.1:1430/p"
