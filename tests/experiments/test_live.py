"""The gateway over a network: a provider behind a socket, recorded while it serves, and gone the next time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clawbench.clock import LoopClock
from clawbench.config.plan import load_plan
from clawbench.errors import PlanError
from clawbench.experiments.cell import build_app
from clawbench.experiments.client import Answer, ask, client_body
from clawbench.experiments.live import live_transport, network_transport, prepare_live
from clawbench.gateway.recorder import RequestContext
from clawbench.gateway.records import MemoryWriter
from clawbench.types import ChatRequest
from tests.cli.provider_on_loopback import providers

AT = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


async def served(plan_path: Path, into: Path | None, *, stream: bool) -> tuple[Answer, MemoryWriter]:
    """One client's request through the whole gateway, over the network."""
    plan, clock, writer = load_plan(plan_path), LoopClock(), MemoryWriter()
    transport = live_transport(plan, clock, environ={}, utc_now=lambda: AT, version="0", record_into=into)
    try:
        app = build_app(
            prepare_live(plan), transport, strategy="price", seed=1, clock=clock, writer=writer, run_id="live",
            ids=lambda: "x",
        )  # fmt: skip
        request = ChatRequest(model="", messages=[{"role": "user", "content": "Say hello."}], stream=stream)
        context = RequestContext(request_id="r", draw_key="r")
        return await ask(app, client_body(request, "llama"), context, keep=True), writer
    finally:
        await transport.aclose()


@pytest.mark.parametrize("stream", [True, False])
def test_what_a_client_was_answered_is_played_when_the_provider_is_gone(stream: bool, tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    with providers(tmp_path, names=("quick",)) as loopback:
        live, first = asyncio.run(served(loopback.plan, tape, stream=stream))
        plan = loopback.plan
    again, second = asyncio.run(served(plan, tape, stream=stream))
    assert (live.status, again.status) == (200, 200)
    assert b"choices" in live.body
    assert len(again.body) == len(live.body)
    (before,), (after,) = first.frame("attempts").to_dicts(), second.frame("attempts").to_dicts()
    assert (before["match"], before["timing"], after["match"], after["timing"]) == ("live", "live", "exact", "recorded")
    assert after["output_tokens"] == before["output_tokens"]


def test_nothing_is_recorded_unless_it_is_asked_for(tmp_path: Path) -> None:
    with providers(tmp_path, names=("quick",)) as loopback:
        answer, _ = asyncio.run(served(loopback.plan, None, stream=False))
    assert answer.status == 200
    assert list(tmp_path.rglob("*.yaml")) == []


async def test_a_plan_without_a_network_has_no_way_out(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"no \[network\]"):
        network_transport(load_plan(ROOT / "configs" / "quickstart.toml"), LoopClock(), environ={}, utc_now=lambda: AT)
