"""Whatever providers answer and whenever clients leave: one record a request, money conserved, nothing under way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.billing.ledger.proof import prove
from clawbench.billing.working_again import worked_again
from clawbench.clock import run_virtual
from clawbench.errors import UpstreamError
from clawbench.experiments.client import ask
from clawbench.gateway.limits import HedgingSettings, Limits
from clawbench.gateway.recorder import RequestContext
from clawbench.types import HttpCall
from tests.lab import CREDIT_PICO_UAT, Lab, Played, chat, completion, error, offer, streamed

OFFERS = [
    offer(name, price=(price, price + 1), max_output_tokens=100)
    for name, price in (("a", 1), ("b", 2), ("c", 2), ("d", 3))
]
WORDS = ("one ", "two ", "three ", "four ")

Script = Played | UpstreamError


def either(whole: Script, stream: Script) -> Callable[[HttpCall], Script]:
    return lambda call: stream if call.stream else whole


COURSES: dict[str, Callable[[HttpCall], Script]] = {
    "good": either(completion(), streamed(*WORDS)),
    "slow": either(completion(at_s=30.0), streamed(*WORDS, first_s=5.0, every_s=2.5)),
    "late": either(completion(at_s=200.0), streamed(*WORDS, first_s=70.0)),
    "hangs midway": either(completion(at_s=90.0), streamed(*WORDS, every_s=80.0)),
    "uncounted": either(completion(usage={}), streamed(*WORDS, usage=False)),
    "unbelievable": either(completion(usage={"prompt_tokens": -1, "completion_tokens": 2}), streamed(*WORDS)),
    "absurd": either(completion(usage={"prompt_tokens": 5, "completion_tokens": 10**9}), streamed(*WORDS)),
    "unfinished": either(completion(), streamed(*WORDS, done=False, finish=False)),
    "the other form": either(streamed(*WORDS), completion()),
    "reset": either(
        UpstreamError("gone", outcome="reset_early"),
        streamed(*WORDS, dies="reset_mid", finish=False, done=False),
    ),
    "no connection": lambda call: UpstreamError("refused", outcome="connect_error"),
    "bad request": lambda call: error(400, "bad"),
    "limited": lambda call: error(429, "rate_limited", retry_after="1"),
    "broken": lambda call: error(500, "server_error"),
}

REQUESTS = st.lists(
    st.tuples(
        st.booleans(),  # streamed
        st.sampled_from([0.0, 0.0, 0.2, 3.0]),  # seconds since the one before
        st.none() | st.sampled_from([0.0, 0.05, 0.7, 1.2, 4.0, 75.0]),  # seconds after which the client leaves
    ),
    min_size=1,
    max_size=12,
)


async def course(lab: Lab, requests: list[tuple[bool, float, float | None]]) -> None:
    """Sends the requests, each when it is due, and lets everything come to its end."""

    async def one(number: int, stream: bool, leaves_s: float | None) -> None:
        body = msgspec.json.encode(chat(stream=stream))
        context = RequestContext(request_id=f"r{number}", draw_key=str(number))
        asked = asyncio.ensure_future(ask(lab.app, body, context, keep=True))
        if leaves_s is not None:
            await lab.clock.sleep(leaves_s)
            asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled() or asked.result().complete

    under_way = []
    for number, (stream, gap_s, leaves_s) in enumerate(requests):
        await lab.clock.sleep(gap_s)
        under_way.append(asyncio.ensure_future(one(number, stream, leaves_s)))
    await asyncio.gather(*under_way)


@pytest.mark.invariant
@given(
    REQUESTS,
    st.lists(st.sampled_from(sorted(COURSES)), min_size=1, max_size=12),
    st.sampled_from(["round_robin", "price", "latency"]),
    st.booleans(),
    st.booleans(),
)
def test_no_course_loses_a_record_or_money(
    requests: list[tuple[bool, float, float | None]], courses: list[str], strategy: str, durable: bool, hedged: bool
) -> None:
    each: Iterator[str] = cycle(courses)
    scripts = {one.id: lambda call: COURSES[next(each)](call) for one in OFFERS}
    limits = Limits(hedging=HedgingSettings(quantile=0.5, spend_share=0.5)) if hedged else None

    async def main() -> Lab:
        lab = Lab(OFFERS, scripts, strategy=strategy, limits=limits, durable=durable)
        hold = lab.ledger.hold

        async def committed(*asked: Any) -> Any:
            await lab.clock.sleep(0.05 if durable else 0.0)
            return await hold(*asked)

        with patch.object(lab.ledger, "hold", committed):
            await course(lab, requests)
        return lab

    lab = run_virtual(main)
    recorded = lab.frame("requests")
    assert sorted(recorded["request_id"]) == sorted(f"r{number}" for number in range(len(requests)))
    attempts = Counter(lab.frame("attempts")["request_id"])
    assert dict(zip(recorded["request_id"], recorded["attempts"], strict=True)) == {
        name: attempts[name] for name in recorded["request_id"]
    }
    assert all(lab.router.estimates.in_flight(one.id, lab.clock.now()) == 0 for one in OFFERS)
    assert all(reply.closed for reply in lab.transport.replies if reply.t_headers_s)  # the gateway got these

    entries = list(lab.ledger.entries(limit=100_000))
    proof = prove(entries)
    assert proof.sound
    assert all(hold.quarantined for hold in proof.open_holds)
    charged = 0
    for entry in entries:
        if entry.kind in ("settle", "quarantine"):
            derivation = entry.detail["derivation" if entry.kind == "settle" else "evidence"]
            again = worked_again(msgspec.json.decode(msgspec.json.encode(derivation)), lab.holds.biller.prices.book)
            assert not again.differences
            charged += int(entry.detail["amount"]) if entry.kind == "settle" else 0
    assert charged == recorded["charge_pico_uat"].sum()
    balance = lab.ledger.books.balance("local")
    assert balance.available + balance.held == CREDIT_PICO_UAT - charged
