"""Finding a recording: the same cost among ten interactions and among ten thousand; and what an import costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

import msgspec
import pytest
from vcr.cassette import Cassette
from vcr.matchers import body, method, uri
from vcr.serialize import deserialize
from vcr.serializers import yamlserializer

from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.matching import features, key
from clawbench.cassettes.store import BoundStore, open_store
from clawbench.cassettes.writer import write_cassette
from clawbench.rng import draws
from clawbench.types import ChatRequest, HttpCall, Offer
from clawbench.wires import WIRES
from tests.benchmarks.test_clock import Benchmark, Ratio
from tests.lab import JSON, chat, completion, offer

FEW, MANY = 10, 10_000
LOOKUPS, ROUNDS = 20_000, 6
URL = "https://a.example/v1/chat/completions"


def recorded(folder: Path, count: int) -> tuple[BoundStore, list[ChatRequest], Offer, float]:
    """A bound store of so many interactions, their requests, and the seconds that opening and binding took from its
    index, the best of three.
    """
    wire, of = WIRES["openai_chat"], offer("a")
    calls = [
        HttpCall(method="POST", url=URL, headers={}, body=msgspec.json.encode(chat(text=f"Prompt {number} " * 8)))
        for number in range(count)
    ]
    requests = [wire.parse(call) for call in calls]
    reply = completion().chunks[0][1]
    tape = [
        Interaction(
            file="", index=number, method="POST", url=URL, request_body=wire.encode(request, of).body, status=200,
            headers=JSON, body=reply,
        )
        for number, request in enumerate(requests)
    ]  # fmt: skip
    folder.mkdir()
    write_cassette(folder / "tape.yaml", tape)
    open_store([folder], WIRES).close()
    opened_s = []
    for _ in range(3):
        began = perf_counter()
        bound = open_store([folder], WIRES).bind([of])
        opened_s.append(perf_counter() - began)
    return bound, [wire.parse(wire.encode(request, of)) for request in requests], of, min(opened_s)


def seconds(work: Callable[[int], object], times: int, *, rounds: int = 3) -> float:
    """CPU seconds a call, the best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        began = process_time()
        for number in range(times):
            work(number)
        best = min(best, (process_time() - began) / times)
    return best


def test_a_look_up_costs_the_same_among_ten_thousand_as_among_ten(
    benchmark: Benchmark, ratio: Ratio, tmp_path: Path
) -> None:
    took: dict[int, float] = {}

    def look_up(bound: BoundStore, requests: list[ChatRequest], of: Offer, number: int) -> None:
        request = requests[number % len(requests)]
        found = bound.find(of.id, key(request), features(request), draw=partial(draws, 1, "x"))
        assert found.match == "exact"

    def both() -> None:
        for count in (FEW, MANY):
            stores[count] = recorded(tmp_path / f"{count}", count)
        # In turn, so that whatever else the machine does meets both.
        for _ in range(ROUNDS):
            for count, (bound, requests, of, _opened_s) in stores.items():
                once = seconds(partial(look_up, bound, requests, of), LOOKUPS, rounds=1)
                took[count] = min(once, took.get(count, once))

    stores: dict[int, tuple[BoundStore, list[ChatRequest], Offer, float]] = {}
    benchmark.pedantic(both, args=(), rounds=1)
    print(f"\n  {took[FEW] * 1e6:.1f} µs among {FEW}, {took[MANY] * 1e6:.1f} µs among {MANY:,}; ", end="")
    print(f"{MANY:,} opened from the index in {stores[MANY][3]:.3f} s")
    assert ratio(took[MANY], took[FEW]) <= 1.5


@pytest.mark.parametrize("verb", ["import clawbench", "import clawbench.cli"])
def test_an_import_against_a_bare_interpreter(benchmark: Benchmark, ratio: Ratio, verb: str) -> None:
    def start(code: str) -> float:
        began = perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return perf_counter() - began

    found: list[tuple[float, float]] = []
    benchmark.pedantic(lambda: found.append((start("pass"), start(verb))), args=(), rounds=5)
    floor, ours = (sorted(column)[2] for column in zip(*found, strict=True))
    print(f"\n  {verb}: {(ours - floor) * 1000:.0f} ms above a bare interpreter's {floor * 1000:.0f} ms")
    ratio(ours, floor)


def test_opening_and_looking_up_beside_vcrpy(benchmark: Benchmark, ratio: Ratio, tmp_path: Path) -> None:
    """The same cassette of a thousand interactions, the last of them asked for: an index against YAML and a scan."""
    count = 1_000
    bound, requests, of, opened_s = recorded(tmp_path / "ours", count)
    content = (tmp_path / "ours" / "tape.yaml").read_text()
    began = perf_counter()
    asked, answers = deserialize(content, yamlserializer)
    loaded_s = perf_counter() - began
    theirs = Cassette("unused", match_on=(method, uri, body))
    for request, response in zip(asked, answers, strict=True):
        theirs.append(request, response)

    def ours(_: int) -> None:
        request = requests[-1]
        bound.find(of.id, key(request), features(request), draw=partial(draws, 1, "x"))

    def vcrpys(_: int) -> None:
        assert list(theirs._responses(asked[-1]))  # its look-up, without marking the response as played

    took: list[tuple[float, float]] = []
    benchmark.pedantic(lambda: took.append((seconds(ours, 2_000), seconds(vcrpys, 5))), args=(), rounds=1)
    own, floor = took[0]
    print(f"\n  a look-up {own * 1e6:.1f} µs, vcrpy {floor * 1e3:.1f} ms among {count:,}; ", end="")
    print(f"opened in {opened_s * 1e3:.1f} ms, vcrpy {loaded_s:.2f} s")
    assert ratio(own, floor) < 0.01
    assert ratio(opened_s, loaded_s) < 0.1
