"""Requests that their clients have named: answered once, sent again while the answer is kept, never charged twice."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from clawbench.clock import run_virtual
from clawbench.experiments.client import Answer
from clawbench.gateway.limits import Limits
from clawbench.gateway.recorder import RequestContext
from clawbench.server.replays import KEPT_S, Replays
from clawbench.types import HttpCall
from tests.lab import Lab, Played, chat, completion, error, offer, streamed

PRICED = offer("a", price=(2, 3), max_output_tokens=100)
NAMED = {"idempotency-key": "order-7"}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5}


def after(wait_s: float, script: Any, *, stream: bool = False) -> tuple[Answer, Answer, Lab]:
    """The answers to a request, and to the same one once more some time after the first has come."""

    async def main() -> tuple[Answer, Answer, Lab]:
        lab = Lab([PRICED], {PRICED.id: script})
        first = await lab.ask(chat(stream=stream), NAMED)
        await asyncio.sleep(wait_s)
        return first, await lab.ask(chat(stream=stream), NAMED), lab

    return run_virtual(main)


def charges(lab: Lab) -> list[str]:
    return [entry.kind for entry in lab.ledger.entries() if entry.kind in ("settle", "release", "quarantine")]


def is_replay(answer: Answer) -> bool:
    return (b"idempotent-replayed", b"true") in answer.headers


@pytest.mark.parametrize("stream", [False, True])
def test_within_ten_minutes_the_same_request_gets_the_same_bytes_and_is_not_charged_again(stream: bool) -> None:
    script = streamed("He", "llo") if stream else completion(usage=USAGE)
    first, again, lab = after(KEPT_S - 1, script, stream=stream)
    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body != b""
    assert (is_replay(first), is_replay(again)) == (False, True)
    assert [each for each in again.headers if each not in first.headers] == [(b"idempotent-replayed", b"true")]
    assert (charges(lab), len(lab.transport.calls)) == (["settle"], 1)


@pytest.mark.parametrize("stream", [False, True])
def test_later_it_is_a_conflict_that_names_the_transaction(stream: bool) -> None:
    script = streamed("He", "llo") if stream else completion(usage=USAGE)
    _, again, lab = after(KEPT_S, script, stream=stream)
    told = msgspec.json.decode(again.body)["error"]
    (settle,) = [entry for entry in lab.ledger.entries() if entry.kind == "settle"]
    assert (again.status, told["code"], told["transaction"]) == (409, "request_conflict", settle.seq)
    assert f"transaction {settle.seq}" in told["message"]
    assert (charges(lab), len(lab.transport.calls)) == (["settle"], 1)


def test_a_request_that_came_to_nothing_may_run_again_under_its_name() -> None:
    scripts = iter([error(400, "invalid_request_error"), completion(usage=USAGE)])

    def script(call: HttpCall) -> Played:
        return next(scripts)

    first, again, lab = after(1, script)
    assert (first.status, again.status, is_replay(again)) == (400, 200, False)
    assert charges(lab) == ["release", "settle"]
    holds = [entry.ref for entry in lab.ledger.entries() if entry.kind == "hold"]
    assert holds == ["local/order-7/1", "local/order-7/2"]


def test_what_could_not_be_read_is_not_kept() -> None:
    async def main() -> tuple[Answer, Answer]:
        lab = Lab([PRICED], {PRICED.id: completion(usage=USAGE)})
        return await lab.ask(b'{"model": 5}', NAMED), await lab.ask(chat(), NAMED)

    bad, good = run_virtual(main)
    assert (bad.status, good.status, is_replay(good)) == (400, 200, False)


def test_an_answer_whose_usage_is_kept_for_judgement_is_sent_again_too() -> None:
    first, again, lab = after(1, completion(usage={**USAGE, "prompt_tokens": -10}))
    assert (again.status, again.body, is_replay(again)) == (200, first.body, True)
    assert charges(lab) == ["quarantine"]


def test_a_stream_that_the_provider_broke_off_at_its_own_loss_may_run_again() -> None:
    broken = streamed("Hello ", finish=False, done=False)
    broken.chunks = [*broken.chunks, (2.0, b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n')]
    _, again, lab = after(1, broken, stream=True)
    assert (again.status, is_replay(again), charges(lab)) == (200, False, ["release", "release"])


def test_a_stream_that_was_cut_and_charged_is_sent_again_as_it_was() -> None:
    cut = streamed("Hello ", "world.", dies="reset_mid", finish=False, done=False)
    first, again, lab = after(1, cut, stream=True)
    assert (again.body, is_replay(again), charges(lab)) == (first.body, True, ["settle"])
    assert b'"error"' in again.body


def left_and_back(limits: Limits) -> tuple[Answer, Answer, Lab]:
    """A client that leaves 3.5 s into a stream of eight pieces, a second apart, and asks again; and what it then gets.

    The first answer is what it got of a stream that nobody left.
    """
    body = chat(stream=True)

    async def main() -> tuple[Answer, Answer, Lab]:
        lab = Lab([PRICED], {PRICED.id: streamed(*"abcdefgh", first_s=1.0, every_s=1.0)}, limits=limits)
        coming = [{"type": "http.request", "body": msgspec.json.encode(body), "more_body": False}]

        async def receive() -> Any:
            if coming:
                return coming.pop()
            await lab.clock.sleep_until(3.5)
            return {"type": "http.disconnect"}

        headers = [(b"content-type", b"application/json"), (b"idempotency-key", b"order-7")]
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
        got = Answer(keep=True)
        await lab.app(scope, receive, got.send)
        return got, await lab.ask(body, NAMED), lab

    return run_virtual(main)


def test_a_client_that_lost_its_stream_gets_all_of_it_when_it_asks_again() -> None:
    got, again, lab = left_and_back(Limits())
    assert not got.complete
    assert is_replay(again)
    assert again.body.startswith(got.body)
    assert b"[DONE]" in again.body
    assert (charges(lab), len(lab.transport.calls)) == (["settle"], 1)


def test_where_its_rest_was_not_read_there_is_nothing_to_send() -> None:
    _, again, lab = left_and_back(Limits(drains_max=0))
    assert (again.status, charges(lab)) == (409, ["settle"])


def test_the_oldest_answers_go_where_there_are_too_many_or_they_are_too_large() -> None:
    async def main() -> None:
        named = [RequestContext(request_id=str(number), draw_key="", body_sha256="b") for number in range(4)]
        few = Replays(Lab([PRICED], {}).clock, answers_max=2)
        small = Replays(Lab([PRICED], {}).clock, bytes_max=10)
        for context in named:
            few.keep(context, [], b"1234")
            small.keep(context, [], b"1234")
        for replays in (few, small):
            assert [replays.find(context) is not None for context in named] == [False, False, True, True]
        small.keep(named[3], [], b"123456789")
        assert small.find(named[2]) is None
        large = small.find(named[3])
        assert large is not None
        assert large.body == b"123456789"

    run_virtual(main)
