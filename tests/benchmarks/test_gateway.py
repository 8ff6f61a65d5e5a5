"""The whole gateway in virtual time, against a bare app on the same loop.

The floor: Starlette, a timeout, a limiter and a JSON body, one virtual sleep a request. What it leaves out is all that
the gateway is for: routing, replay, decoding, encoding, recording.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import msgspec
import pytest
from aiolimiter import AsyncLimiter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from clawbench.billing.tokens import estimated_tokens
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.writer import write_cassette
from clawbench.clock import LoopClock, run_virtual
from clawbench.config.plan import load_plan
from clawbench.experiments.cell import Cell, run_cell
from clawbench.experiments.garbage import uncollected
from clawbench.experiments.prepare import Prepared, prepare
from clawbench.gateway.records import ParquetWriter
from clawbench.types import HttpCall
from clawbench.wires import WIRES
from tests.benchmarks.pool import pool
from tests.benchmarks.test_clock import Benchmark, Ratio, heap_and_coroutines
from tests.lab import SSE, chat, frames, offer

ROOT = Path(__file__).parents[2]
ROUNDS = 3


def bare_app_seconds(requests: int) -> float:
    """CPU seconds a request of the floor."""
    limiter: list[AsyncLimiter] = []

    async def endpoint(request: Request) -> JSONResponse:
        body = await request.json()
        async with asyncio.timeout(60), limiter[0]:
            await asyncio.sleep(0.5)
        return JSONResponse({"model": body["model"], "choices": [{"message": {"content": "x" * 400}}]})

    app = Starlette(routes=[Route("/v1/chat/completions", endpoint, methods=["POST"])])
    body = json.dumps(chat("m", text="x" * 400)).encode()

    async def one() -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(event: Any) -> None: ...

        scope = {
            "type": "http", "method": "POST", "path": "/v1/chat/completions", "raw_path": b"/v1/chat/completions",
            "query_string": b"", "root_path": "", "headers": [(b"content-type", b"application/json")],
        }  # fmt: skip
        await app(scope, receive, send)

    async def main() -> None:
        limiter.append(AsyncLimiter(requests, 1))
        clock = LoopClock()
        tasks = []
        for number in range(requests):
            await clock.sleep_until(number * 0.05)
            tasks.append(asyncio.create_task(one()))
        await asyncio.gather(*tasks)

    began = process_time()
    run_virtual(main)
    return (process_time() - began) / requests


def gateway_seconds(prepared: Prepared, folder: Path, strategy: str = "price") -> float:
    """CPU seconds a request of one cell, records on disk included."""
    folder.mkdir(exist_ok=True)

    async def main() -> int:
        cell = Cell(strategy, 1)
        return (await run_cell(cell, prepared, clock=LoopClock(), writer=ParquetWriter(folder), run_id="r")).requests

    began = process_time()
    requests = run_virtual(main)
    return (process_time() - began) / requests


def compare(
    benchmark: Benchmark, ratio: Ratio, prepared: Prepared, tmp_path: Path, *, strategy: str = "price"
) -> float:
    """Rounds of floor and gateway in turn; the ratio of their medians, 1 where we are as fast as the floor."""
    floors, ours = [], []

    def both() -> None:
        floors.append(bare_app_seconds(3_000))
        ours.append(gateway_seconds(prepared, tmp_path / "records", strategy))

    with uncollected():  # as in every run
        gateway_seconds(prepared, tmp_path / "records", strategy)  # warms caches of bodies and keys
        benchmark.pedantic(both, args=(), rounds=ROUNDS)
    floor, own = sorted(floors)[ROUNDS // 2], sorted(ours)[ROUNDS // 2]
    return ratio(floor, own, f"{1 / own:,.0f} requests a second a core, the floor {1 / floor:,.0f}")


def test_requests_a_second_not_streamed(benchmark: Benchmark, ratio: Ratio, tmp_path: Path) -> None:
    plan = pool(tmp_path, requests=5000, rate_rps=20)
    whole = load_plan(plan.path, overrides=["workload.stream=0.0"])
    assert compare(benchmark, ratio, prepare(whole), tmp_path) > 0.1


def test_requests_a_second_of_the_quickstart_as_recorded(benchmark: Benchmark, ratio: Ratio, tmp_path: Path) -> None:
    plan = load_plan(ROOT / "configs" / "quickstart.toml", overrides=["workload.requests=5000"])
    compare(benchmark, ratio, prepare(plan), tmp_path)


def test_streams_of_fifty_chunks_a_second(benchmark: Benchmark, ratio: Ratio, tmp_path: Path) -> None:
    plan = fifty_chunk_streams(tmp_path, requests=3_000)
    assert compare(benchmark, ratio, prepare(load_plan(plan)), tmp_path) > 0.05


def fifty_chunk_streams(folder: Path, *, requests: int) -> Path:
    """A plan whose every answer is a stream of 50 pieces of text."""
    tape_offer = offer("a")
    wire = WIRES["openai_chat"]
    body = b"".join(frames(*["word "] * 50))
    recorded = []
    for number in range(50):
        call = HttpCall(
            method="POST",
            url="https://a.example/v1/chat/completions",
            headers={},
            body=msgspec.json.encode(chat(stream=True, text=f"Prompt {number}.")),
        )
        sent = wire.encode(wire.parse(call), tape_offer)
        recorded.append(
            Interaction(
                file="",
                index=number,
                method="POST",
                url=sent.url,
                request_body=sent.body,
                status=200,
                headers=SSE,
                body=body,
            )
        )
    (folder / "tapes").mkdir()
    write_cassette(folder / "tapes" / "streams.yaml", recorded)
    plan = folder / "streams.toml"
    plan.write_text(
        f"""
name = "streams"
strategies = ["price"]
workload = {{ requests = {requests}, rate_rps = 50, model = "m" }}
replay = {{ cassettes = ["tapes"], matching = "strict" }}
[[offers]]
provider = "a"
model = "m"
base_url = "https://a.example/v1"
usd_per_mtok = {{ input = 1, output = 1 }}
"""
    )
    return plan


@pytest.mark.soak
def test_a_million_requests_run_in_bounded_memory_and_as_fast_at_the_end_as_at_the_start(tmp_path: Path) -> None:
    plan = load_plan(
        ROOT / "configs" / "quickstart.toml", overrides=["workload.requests=1000000", "workload.rate_rps=200"]
    )
    prepared = prepare(plan)
    estimated_tokens(["word"])  # loads a vocabulary once, which the first answer that is cut would do
    cost: list[float] = []  # CPU of a thousand requests, as a multiple of the floor's right behind them
    spent: list[float] = []  # the same in seconds
    resident: list[int] = []  # KiB
    done, since_s = 0, 0.0

    def progress(requests: int) -> None:
        nonlocal done, since_s
        done += requests
        if done % 1_000 == 0:
            spent.append(process_time() - since_s)
            resident.append(_resident_kib())
            began_s = process_time()
            heap_and_coroutines(1_000, 2)
            since_s = process_time()
            cost.append(spent[-1] / (since_s - began_s))

    async def main() -> None:
        nonlocal since_s
        since_s = process_time()
        await run_cell(
            Cell("price", 1), prepared, clock=LoopClock(), writer=ParquetWriter(tmp_path), run_id="r", progress=progress
        )

    with uncollected():
        run_virtual(main)
    # What stays: the least of each tenth. While a part of the records is written there is more for a moment.
    memory = [min(tenth) for tenth in _tenths(resident)]
    # A machine that others use too becomes slower and faster by a quarter: against the floor of the same moment.
    costs = [median(tenth) for tenth in _tenths(cost)]
    print(f"\n  CPU s per tenth: {', '.join(f'{sum(tenth):.1f}' for tenth in _tenths(spent))}")
    print(f"  1,000 requests cost {', '.join(f'{each:.0f}' for each in costs)} times the floor")
    print(f"  MiB: {', '.join(str(kib // 1024) for kib in memory)}; at most {max(resident) // 1024}")
    assert costs[0] / costs[-1] >= 0.9
    settled = memory[1:]  # after the first tenth
    assert max(settled) <= median(settled) * 1.05
    assert min(settled) >= median(settled) * 0.95
    assert max(resident) <= median(settled) * 1.25


def _tenths(values: list[Any]) -> list[list[Any]]:
    size = len(values) // 10
    return [values[start : start + size] for start in range(0, 10 * size, size)]


def _resident_kib() -> int:
    """Resident memory now, in KiB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
