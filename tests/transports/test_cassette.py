"""Replay: the same records however the chunks are handed over, deadlines, the other form of an answer."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl
import pytest

from clawbench.cassettes.interaction import Interaction, RecordedTiming
from clawbench.cassettes.store import open_store
from clawbench.cassettes.writer import write_cassette
from clawbench.clock import LoopClock, run_virtual
from clawbench.config.plan import load_plan
from clawbench.errors import UpstreamError
from clawbench.experiments.cell import Cell, run_cell
from clawbench.experiments.prepare import Prepared, prepare
from clawbench.gateway.records import MemoryWriter
from clawbench.transports.cassette import CassetteTransport
from clawbench.types import Chunk, HttpCall, Offer
from clawbench.wires import WIRES, wire_for
from tests.lab import JSON, SSE, chat, completion, frames, offer

ROOT = Path(__file__).parents[2]


def records(prepared: Prepared, strategy: str, *, seed: int, paced: bool) -> dict[str, pl.DataFrame]:
    """The tables of one cell in virtual time."""
    writer = MemoryWriter()

    async def main() -> None:
        await run_cell(Cell(strategy, seed), prepared, clock=LoopClock(), writer=writer, run_id="r", paced=paced)

    run_virtual(main)
    return {table: writer.frame(table) for table in ("requests", "attempts", "decisions")}


@pytest.fixture(scope="module")
def quickstart() -> Prepared:
    return prepare(load_plan(ROOT / "configs" / "quickstart.toml", overrides=["workload.requests=300"]))


@pytest.mark.parametrize("strategy", ["random", "round_robin", "price"])
def test_chunks_handed_over_one_by_one_or_together_give_the_same_records(quickstart: Prepared, strategy: str) -> None:
    together, one_by_one = (records(quickstart, strategy, seed=5, paced=paced) for paced in (False, True))
    for table, frame in together.items():
        key = ["request_id"] if table == "requests" else ["request_id", "attempt"]
        assert frame.sort(key).equals(one_by_one[table].sort(key)), table


def test_the_same_seed_gives_the_same_records_and_another_one_others(quickstart: Prepared) -> None:
    first, again, other = (records(quickstart, "latency", seed=seed, paced=False)["requests"] for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_a_request_meets_the_same_luck_at_an_offer_under_every_strategy(quickstart: Prepared) -> None:
    tables = [
        records(quickstart, strategy, seed=3, paced=False)["attempts"]
        for strategy in ("random", "price", "round_robin")
    ]
    met: dict[tuple[str, str], set[tuple[float, str]]] = {}
    for table in tables:
        for row in table.iter_rows(named=True):
            key = (row["request_id"].rsplit("-", 1)[1], row["offer_id"])
            met.setdefault(key, set()).add((round(row["t_end_s"] - row["t_dispatch_s"], 9), row["outcome"]))
    shared = [lucks for lucks in met.values() if len(lucks) >= 1]
    assert all(len(lucks) == 1 for lucks in shared)


def taped(
    tmp_path: Path, *, stream: bool, timing: RecordedTiming | None = None, status: int = 200, text: str = "Hello there."
) -> tuple[Offer, Path]:
    """A cassette with one interaction, and the offer that it belongs to."""
    tape_offer = offer("a")
    request = WIRES["openai_chat"].encode(_request(stream), tape_offer)
    body = b"".join(frames(*text)) if stream else completion(text).chunks[0][1]
    path = tmp_path / "one.yaml"
    write_cassette(
        path,
        [
            Interaction(
                file="one.yaml",
                index=0,
                method="POST",
                url=request.url,
                request_headers={},
                request_body=request.body,
                status=status,
                headers=SSE if stream else JSON,
                body=body,
                timing=timing,
            )
        ],
    )
    return tape_offer, path


def _request(stream: bool, text: str = "Say hello."):  # type: ignore[no-untyped-def]
    return WIRES["openai_chat"].parse(
        HttpCall(
            method="POST",
            url="https://a.example/v1/chat/completions",
            headers={},
            body=msgspec.json.encode(chat(stream=stream, text=text)),
        )
    )


def play(
    tmp_path: Path,
    *,
    recorded: bool,
    asked: bool,
    deadline_s: float = 100.0,
    text: str = "Say hello.",
    strict: bool = False,
    timing: RecordedTiming | None = None,
    paced: bool = False,
) -> list[Chunk]:
    tape_offer, path = taped(tmp_path, stream=recorded, timing=timing)
    store = open_store([path], WIRES, cache_dir=tmp_path / "cache").bind([tape_offer])

    async def main() -> list[Chunk]:
        transport = CassetteTransport(
            store, {tape_offer.id: tape_offer}, wire_for, LoopClock(), seed=1, strict=strict, paced=paced
        )
        call = WIRES["openai_chat"].encode(_request(asked, text), tape_offer)
        reply = await transport.send(call, deadline_s=deadline_s)
        return [chunk async for arrived in reply.chunks() for chunk in arrived]

    return run_virtual(main)


@pytest.mark.parametrize("paced", [False, True])
def test_recorded_instants_are_replayed_to_the_digit(tmp_path: Path, paced: bool) -> None:
    lengths = [len(part) for part in frames(*"Hello there.")]
    timing = RecordedTiming(0.25, tuple((length, 0.25 + 0.125 * n) for n, length in enumerate(lengths)))
    chunks = play(tmp_path, recorded=True, asked=True, timing=timing, paced=paced)
    assert [(len(chunk.data), chunk.t_s) for chunk in chunks] == list(timing.chunks)


@pytest.mark.parametrize("paced", [False, True])
def test_what_comes_after_the_deadline_does_not_come(tmp_path: Path, paced: bool) -> None:
    lengths = [len(part) for part in frames(*"Hello there.")]
    timing = RecordedTiming(0.25, tuple((length, 0.25 + 1.0 * n) for n, length in enumerate(lengths)))
    with pytest.raises(UpstreamError) as raised:
        play(tmp_path, recorded=True, asked=True, timing=timing, deadline_s=2.5, paced=paced)
    assert raised.value.outcome == "timeout_total"


@pytest.mark.parametrize(("recorded", "asked"), [(True, False), (False, True)])
def test_an_answer_recorded_in_the_other_form_is_given_in_the_form_asked_for(
    tmp_path: Path, recorded: bool, asked: bool
) -> None:
    chunks = play(tmp_path, recorded=recorded, asked=asked)
    body = b"".join(chunk.data for chunk in chunks)
    wire = WIRES["openai_chat"]
    if asked:
        text = "".join(delta.content or "" for delta in wire.stream().feed(body))
        assert len(chunks) > 3
    else:
        text = wire.decode(200, JSON, body).choices[0].content or ""
    assert text == "Hello there."


def test_strict_replay_refuses_and_says_what_differs(tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match=r"one\.yaml#0.*messages\[0\]") as raised:
        play(tmp_path, recorded=False, asked=False, text="Say goodbye.", strict=True)
    assert raised.value.outcome == "no_recording"
