"""Recording a plan's calls, against scripted providers in virtual time: retries, costs, and when it stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from clawbench.cassettes.formats import opened
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.reel import Reel
from clawbench.cassettes.scrub import Scrubber
from clawbench.clock import LoopClock, run_virtual
from clawbench.errors import UpstreamError
from clawbench.experiments.recording_run import PlannedCall, Recording, Tally
from clawbench.transports.recording import RecordingTransport
from clawbench.types import HttpCall
from clawbench.wires import wire_for
from clawbench.workloads.prompts import with_model
from tests.lab import ScriptedTransport, completion, error, offer, streamed

A = offer("a")  # 1 USD a million tokens, so that 15 tokens cost 15 micro-USD
MICRO_USD = 10**6  # in pico-USD
COST_MAX = 40 * MICRO_USD


def planned(number: int, *, stream: bool = False) -> PlannedCall:
    wire = wire_for(A)
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": f"Prompt {number}."}]}
    raw = wire.parse(HttpCall(method="POST", url=A.base_url, headers={}, body=msgspec.json.encode(body)))
    return PlannedCall(A, wire.encode(with_model(raw, "m"), A), 20 * MICRO_USD, COST_MAX)


def run(
    folder: Path,
    script: Any,
    calls: list[PlannedCall],
    *,
    budget: int = 10**12,
    concurrency: int = 1,
    retries_max: int = 2,
) -> tuple[Tally, float, list[Interaction]]:
    """The tally, the virtual seconds it took, and what was written."""

    async def main() -> tuple[Tally, float]:
        clock = LoopClock()
        reel = Reel(folder, mode="new_episodes", scrubber=Scrubber())
        transport = RecordingTransport(ScriptedTransport({A.id: script}, clock), reel, clock)
        recording = Recording(
            transport,
            clock,
            budget_pico_usd=budget,
            timeout_s=60.0,
            concurrency=concurrency,
            retries_max=retries_max,
        )
        tally = await recording.run(calls)
        await transport.aclose()
        return tally, clock.now()

    tally, took_s = run_virtual(main)
    files = sorted(folder.glob("*.yaml"))
    items = [each for file in files for each in opened(file.read_bytes(), file.name).read()]
    return tally, took_s, [each for each in items if isinstance(each, Interaction)]


def in_turn(*scripts: Any) -> Callable[[HttpCall], Any]:
    """A provider that does one thing after another, the last one for ever."""
    left: Iterator[Any] = iter(scripts[:-1])
    return lambda call: next(left, scripts[-1])


def test_who_says_come_again_later_is_asked_again_and_both_answers_are_kept(tmp_path: Path) -> None:
    script = in_turn(error(429, "rate_limit_exceeded", retry_after="7"), completion(at_s=1.0))
    tally, took_s, items = run(tmp_path, script, [planned(1)])
    assert [each.status for each in items] == [429, 200]
    assert dict(tally.outcomes) == {"rate_limited": 1, "ok": 1}
    assert (tally.done, tally.recorded, took_s) == (1, 2, 0.2 + 7.0 + 1.0)


def test_retries_end(tmp_path: Path) -> None:
    tally, _, items = run(tmp_path, error(429, "rate_limit_exceeded", retry_after="1"), [planned(1)], retries_max=3)
    assert (len(items), tally.done, tally.spent, tally.stopped) == (4, 1, 0, None)


def test_what_was_spent_is_what_the_provider_counted(tmp_path: Path) -> None:
    calls = [planned(1), planned(2, stream=True)]
    tally, _, items = run(tmp_path, lambda call: streamed("a", "b") if call.stream else completion(), calls)
    # 10 and 5 tokens whole; 10 and 2 streamed.
    assert tally.spent == (15 + 12) * MICRO_USD
    assert (tally.uncounted, len(items)) == (0, 2)


def test_an_answer_without_usage_counts_as_the_dearest(tmp_path: Path) -> None:
    silent = completion(usage={"prompt_tokens": "many"})
    tally, _, _ = run(tmp_path, silent, [planned(1)])
    assert (tally.spent, tally.uncounted) == (COST_MAX, 1)


def test_a_stream_that_breaks_may_have_cost_the_most_and_one_that_never_began_nothing(tmp_path: Path) -> None:
    broken, _, items = run(tmp_path / "a", streamed("a", dies="reset_mid"), [planned(1, stream=True)])
    assert (broken.spent, items) == (COST_MAX, [])
    gone, _, _ = run(tmp_path / "b", UpstreamError("no", outcome="connect_error"), [planned(1)])
    assert gone.spent == 0


def test_an_offer_that_refuses_again_and_again_is_given_up_and_one_that_recovers_is_not(tmp_path: Path) -> None:
    calls = [planned(number) for number in range(10)]
    tally, _, items = run(tmp_path / "a", error(401, "invalid_api_key"), calls)
    assert tally.given_up == {A.id: "auth"}
    assert (len(items), tally.done) == (3, 3)
    refusal = error(401, "invalid_api_key")
    tally, _, items = run(
        tmp_path / "b", in_turn(refusal, refusal, completion(), refusal, refusal, completion()), calls
    )
    assert tally.given_up == {}
    assert len(items) == 10


@settings(max_examples=25)
@given(budget=st.integers(min_value=0, max_value=400), concurrency=st.integers(min_value=1, max_value=5))
def test_no_more_is_spent_than_the_budget_and_everything_paid_for_is_kept(
    budget: int, concurrency: int, tmp_path_factory: Any
) -> None:
    calls = [planned(number) for number in range(20)]
    folder = tmp_path_factory.mktemp("tape")
    tally, _, items = run(folder, completion(), calls, budget=budget * MICRO_USD, concurrency=concurrency)
    assert tally.spent <= budget * MICRO_USD
    assert tally.spent == len(items) * 15 * MICRO_USD
    assert tally.done == len(items) == tally.recorded
    assert (tally.stopped == "budget") == (len(items) < len(calls))
    if tally.stopped:
        assert tally.spent + COST_MAX > budget * MICRO_USD, "one more could have been asked"
