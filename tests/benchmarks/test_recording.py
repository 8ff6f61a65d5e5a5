"""What recording costs: a streamed call's wall time with it and without, and a cassette that grows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from clawbench.cassettes.reel import Reel
from clawbench.cassettes.scrub import Scrubber
from clawbench.cassettes.tape import Tape
from clawbench.clock import LoopClock
from clawbench.transports.network import NetworkTransport
from clawbench.transports.network_auth import HostAccess
from clawbench.transports.protocol import Transport
from clawbench.transports.recording import RecordingTransport
from clawbench.types import HttpCall
from tests.benchmarks.test_clock import Benchmark, Ratio
from tests.lab import frames
from tests.taping.made import exchange, tape
from tests.transports.toxic import END, Toxic, piece

CHUNKS, GAP_S = 50, 0.004
ROUNDS, AT_ONCE = 6, 4
AT = datetime(2026, 1, 1, tzinfo=UTC)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


async def streams(toxic: Toxic, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A stream of 50 chunks, one every 4 ms by the clock, however long writing takes."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    writer.write(HEAD)
    for frame in frames(*["word "] * (CHUNKS - 3)):
        due_s += GAP_S
        await asyncio.sleep(max(0.0, due_s - loop.time()))
        writer.write(piece(frame))
    writer.write(END)


async def seconds_a_call(transport: Transport, origin: str, number: int) -> float:
    """Wall seconds from sending to the end of the answer, the median of some calls at once."""

    async def one(index: int) -> float:
        body = b'{"model":"m","messages":[{"role":"user","content":"Prompt %d."}],"stream":true}' % (
            number * 100 + index
        )
        call = HttpCall(
            method="POST",
            url=f"{origin}/v1/chat/completions",
            headers={"content-type": "application/json"},
            body=body,
            offer_id="a/m",
            stream=True,
        )
        began = perf_counter()
        reply = await transport.send(call, deadline_s=1e9)
        async for _ in reply.chunks():
            pass
        took = perf_counter() - began
        await reply.aclose()
        return took

    return median(await asyncio.gather(*(one(index) for index in range(AT_ONCE))))


def test_a_recorded_stream_takes_hardly_longer(benchmark: Benchmark, ratio: Ratio, tmp_path: Path) -> None:
    plain: list[float] = []
    taped: list[float] = []

    async def main() -> None:
        async with Toxic(streams) as toxic:
            clock = LoopClock()

            def network() -> NetworkTransport:
                return NetworkTransport({toxic.origin: HostAccess()}, clock, utc_now=lambda: AT)

            reel = Reel(tmp_path / "tape", mode="new_episodes", scrubber=Scrubber(["sk-0123456789abcdef"]))
            bare, recording = network(), RecordingTransport(network(), reel, clock)
            for number in range(ROUNDS):
                plain.append(await seconds_a_call(bare, toxic.origin, number))
                taped.append(await seconds_a_call(recording, toxic.origin, number))
                await recording.flush()  # so that the next round without it is one
            await bare.aclose()
            await recording.aclose()
            assert recording.recorded == ROUNDS * AT_ONCE

    benchmark.pedantic(lambda: asyncio.run(main()), args=(), rounds=1)
    print(f"\n  {CHUNKS} chunks in {median(plain) * 1000:.1f} ms, recorded in {median(taped) * 1000:.1f} ms")
    assert ratio(median(taped), median(plain)) <= 1.05


def test_an_interaction_costs_the_same_whether_it_is_the_first_or_the_thousandth(
    benchmark: Benchmark, ratio: Ratio, tmp_path: Path
) -> None:
    fresh: list[float] = []
    grown: list[float] = []

    def seconds(recording: Tape, text: str) -> float:
        began = process_time()
        recording.append(exchange(text, chunks=50))
        return process_time() - began

    def both() -> None:
        short, long = tape(tmp_path / "short.yaml"), tape(tmp_path / "long.yaml")
        for number in range(800):
            long.append(exchange(f"prompt {number}", chunks=50))
        for number in range(200):  # in turn, so that the machine's mood is in both
            fresh.append(seconds(short, f"one {number}"))
            grown.append(seconds(long, f"one {number}"))
        short.close()
        long.close()

    benchmark.pedantic(both, args=(), rounds=1)
    first, last = median(fresh), median(grown)
    print(f"\n  {first * 1000:.2f} ms of the first 200, {last * 1000:.2f} ms of the last 200 of 1,000")
    assert ratio(last, first) <= 1.5
