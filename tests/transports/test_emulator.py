"""The emulator as a transport: through the gateway in virtual time, load that feeds back, deadlines, other offers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import polars as pl
import pytest

from clawbench.catalog.catalog import Catalog
from clawbench.clock import LoopClock, run_virtual
from clawbench.emulator.dialects import EMULATED
from clawbench.emulator.profiles import Failure, Profile, profile_of
from clawbench.errors import UpstreamError, UsageError
from clawbench.experiments.client import Answer, ask
from clawbench.gateway.pipeline import Gateway
from clawbench.gateway.recorder import Recorder, RequestContext, RunContext
from clawbench.gateway.records import MemoryWriter
from clawbench.routing.router import Router
from clawbench.server.app import App
from clawbench.transports.emulator import EmulatorTransport
from clawbench.types import ChatRequest, LatencyProfile, Offer
from clawbench.wires import wire_for
from tests.lab import ScriptedTransport, billed, chat, completion, offer

STEADY = profile_of(
    LatencyProfile(ttft_s_median=0.5, ttft_s_sigma=0.1, token_rate_median=100, token_rate_sigma=0.1, source="test")
)


def served(
    offers: Sequence[Offer],
    bodies: Sequence[dict[str, Any]],
    *,
    strategy: str = "round_robin",
    profiles: Mapping[str, Profile] | None = None,
    every_s: float = 0.0,
    seed: int = 1,
    paced: bool = False,
) -> tuple[list[Answer], pl.DataFrame]:
    """Asks a gateway over the emulator, one request every so many seconds; answers and attempts."""

    async def main() -> tuple[list[Answer], pl.DataFrame]:
        clock, writer = LoopClock(), MemoryWriter()
        catalog = Catalog(offers)
        transport = EmulatorTransport(catalog.offers, wire_for, clock, seed=seed, profiles=profiles, paced=paced)
        gateway = Gateway(
            router=Router(catalog, default_strategy=strategy),
            wire_for=wire_for,
            transport=transport,
            clock=clock,
            recorder=Recorder(writer, RunContext(strategy=strategy)),
            holds=billed(offers, clock)[1],
        )
        app = App(gateway, ids=lambda: "live", epoch_s=1_700_000_000)

        async def one(index: int, body: dict[str, Any]) -> Answer:
            await clock.sleep_until(index * every_s)
            context = RequestContext(request_id=f"r{index:04d}", draw_key=str(index))
            return await ask(app, msgspec.json.encode(body), context, keep=True)

        answers = await asyncio.gather(*(one(index, body) for index, body in enumerate(bodies)))
        return list(answers), writer.frame("attempts").sort("request_id", "attempt")

    return run_virtual(main)


def asked(count: int, *, stream: bool = False) -> list[dict[str, Any]]:
    return [chat(text=f"Why does bread rise on day {index}?", stream=stream) for index in range(count)]


@pytest.mark.parametrize("dialect", sorted(EMULATED))
@pytest.mark.parametrize("stream", [True, False])
def test_a_gateway_is_served_in_every_dialect_and_its_records_say_synthetic(dialect: str, stream: bool) -> None:
    there = msgspec.structs.replace(offer("a"), dialect=dialect)
    answers, attempts = served([there], asked(3, stream=stream))
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert attempts["outcome"].to_list() == ["ok"] * 3
    assert set(attempts["match"]) == {"synthetic"}
    assert set(attempts["timing"]) == {"profile"}
    assert (attempts["output_tokens"] > 0).all()


def test_the_same_seed_gives_the_same_records_however_chunks_are_handed_over() -> None:
    offers = [offer("a"), offer("b", ttft_s=0.2)]
    bodies = asked(20, stream=True)
    first, again, paced, other = (
        served(offers, bodies, every_s=0.1, seed=seed, paced=paced)[1]
        for seed, paced in ((1, False), (1, False), (1, True), (2, False))
    )
    assert first.equals(again)
    assert first.equals(paced)
    assert not first.equals(other)


def test_a_request_meets_the_same_luck_at_an_offer_whatever_else_is_asked() -> None:
    alone = served([offer("a")], asked(1, stream=True))[1]
    among = served([offer("a")], asked(30, stream=True))[1]
    assert alone["t_first_token_s"][0] == among["t_first_token_s"][0]


def test_load_makes_an_offer_slower() -> None:
    narrow = {"a/m": msgspec.structs.replace(STEADY, slots=4)}
    crowded = served([offer("a")], asked(40), profiles=narrow)[1]
    calm = served([offer("a")], asked(40), profiles=narrow, every_s=5.0)[1]

    def slowest_s(attempts: pl.DataFrame) -> float:
        return float((attempts["t_end_s"] - attempts["t_dispatch_s"]).to_numpy().max())

    assert slowest_s(crowded) > 5 * slowest_s(calm)


def test_a_full_queue_is_an_overload_that_another_offer_mends() -> None:
    profiles = {"a/m": msgspec.structs.replace(STEADY, slots=1, queue_max=0), "b/m": STEADY}
    cheap_first = [offer("a", price=(1, 1)), offer("b", price=(9, 9))]
    answers, attempts = served(cheap_first, asked(5), strategy="price", profiles=profiles)
    assert [answer.status for answer in answers] == [200] * 5
    refused = attempts.filter(pl.col("outcome") == "upstream_5xx")
    assert set(refused["offer_id"]) == {"a/m"}
    assert refused.height > 0


def test_limits_refuse_until_they_refill() -> None:
    profiles = {"a/m": msgspec.structs.replace(STEADY, requests_per_minute=6)}
    attempts = served([offer("a")], asked(30), profiles=profiles, every_s=5.0)[1]
    first = attempts.group_by("request_id", maintain_order=True).first()
    refused = first.filter(pl.col("outcome") == "rate_limited")
    assert 0 < refused.height < 25
    assert (refused["retry_after_s"] >= 1).all()


def test_failures_come_out_of_the_profile() -> None:
    broken = msgspec.structs.replace(STEADY, failures=(Failure(share=1.0, kind="server_error", at="cut"),))
    attempts = served([offer("a")], asked(3, stream=True), profiles={"a/m": broken})[1]
    assert set(attempts["outcome"]) == {"truncated"}


def test_what_comes_after_the_deadline_is_a_time_out() -> None:
    async def main() -> UpstreamError:
        clock = LoopClock()
        transport = EmulatorTransport({"a/m": offer("a", ttft_s=30.0)}, wire_for, clock, seed=1)
        there = offer("a")
        call = wire_for(there).encode(ChatRequest(model="m", messages=[{"role": "user", "content": "Why?"}]), there)
        with pytest.raises(UpstreamError) as raised:
            await transport.send(call, deadline_s=2.0)
        assert clock.now() == 2.0
        return raised.value

    error = run_virtual(main)
    assert error.outcome == "timeout_total"
    assert error.provenance.match == "synthetic", "the record can say what did not come in time"


def test_offers_that_are_not_emulated_go_to_the_other_transport() -> None:
    async def main() -> list[str | None]:
        clock = LoopClock()
        scripted = ScriptedTransport({"b/m": completion()}, clock)
        transport = EmulatorTransport({"a/m": offer("a")}, wire_for, clock, seed=1, otherwise=scripted)
        request = ChatRequest(model="m", messages=[{"role": "user", "content": "Why?"}])
        replies = [
            await transport.send(wire_for(there).encode(request, there), deadline_s=60.0)
            for there in (offer("a"), offer("b"))
        ]
        return [reply.provenance.match for reply in replies]

    assert run_virtual(main) == ["synthetic", "live"]


def test_a_dialect_that_is_only_read_is_refused_when_the_transport_is_made() -> None:
    async def main() -> None:
        old = msgspec.structs.replace(offer("a"), dialect="ollama_generate")
        EmulatorTransport({old.id: old}, wire_for, LoopClock(), seed=1)

    with pytest.raises(UsageError, match='dialect "ollama_generate" is not emulated'):
        run_virtual(main)


def test_energy_is_added_up_by_offer() -> None:
    async def main() -> dict[str, float]:
        warm = {"a/m": msgspec.structs.replace(STEADY, joules_per_output_token=2.0)}
        transport = EmulatorTransport({"a/m": offer("a")}, wire_for, LoopClock(), seed=1, profiles=warm)
        there = offer("a")
        call = wire_for(there).encode(ChatRequest(model="m", messages=[{"role": "user", "content": "Why?"}]), there)
        for _ in range(2):
            await transport.send(call, deadline_s=60.0)
        return transport.energy_j

    energy_j = run_virtual(main)["a/m"]
    assert energy_j > 0
    assert energy_j % 4 == 0
