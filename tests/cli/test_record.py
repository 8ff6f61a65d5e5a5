"""`clawbench record`: asks real sockets, within a budget, goes on where it stopped; what it keeps replays as it was."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import vcr
from openai import OpenAI

from clawbench.analysis.frames import RunFolder
from clawbench.cassettes.entry import Entry
from clawbench.cassettes.formats import opened
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.reel import Reel
from clawbench.cassettes.scrub import Scrubber
from clawbench.cli import run
from clawbench.clock import LoopClock, run_virtual
from clawbench.config.plan import load_plan
from clawbench.experiments.cell import build_app
from clawbench.experiments.client import ask, client_body
from clawbench.experiments.prepare import prepare
from clawbench.gateway.recorder import RequestContext
from clawbench.gateway.records import MemoryWriter
from clawbench.transports.cassette import CassetteTransport
from clawbench.types import Offer
from clawbench.wires import wire_for
from clawbench.wires.protocol import Wire
from tests.cli.provider_on_loopback import KEY, PROVIDERS, Loopback, providers, write_plan

CALLS = 3 * 2 * len(PROVIDERS)  # prompts, streamed and not, at each provider
MS = 1e-3


def record(loopback: Loopback, into: Path, *more: str, budget: str = "1") -> int:
    return run(["record", str(loopback.plan), "--into", str(into), "--budget-usd", budget, *more])


def taped(folder: Path) -> list[Interaction]:
    found: list[Interaction] = []
    for file in sorted(folder.glob("*.yaml")):
        items = list(opened(file.read_bytes(), file.name).read())
        assert all(isinstance(each, Interaction) for each in items)
        found += [each for each in items if isinstance(each, Interaction)]
    return found


def replay_plan(loopback: Loopback, tape: Path) -> Path:
    """The same plan, answered by what was recorded."""
    plan = loopback.plan.with_name("replay.toml")
    plan.write_text(f'{loopback.plan.read_text()}\n[replay]\ncassettes = ["{tape}"]\nmatching = "strict"\n')
    return plan


def test_every_request_is_recorded_at_every_offer_and_replays_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tape = tmp_path / "tape"
    with providers(tmp_path) as loopback:
        assert record(loopback, tape) == 0
        plan = replay_plan(loopback, tape)
    told = capsys.readouterr().out
    assert f"{CALLS} calls to {len(PROVIDERS)} offers; 0 are recorded already" in told
    assert re.search(r"Expected to cost \$0\.00\d+, \$0\.00\d+ at most; the budget is \$1\.0000", told)
    assert re.search(rf"{CALLS} calls recorded into .*tape \({CALLS} ok\); \$0\.00\d+ spent", told)
    assert sorted(each.name for each in tape.glob("*.yaml")) == [
        "calm-llama.yaml",
        "odd-llama.yaml",
        "quick-llama.yaml",
    ]
    assert len(taped(tape)) == CALLS
    assert tape.joinpath("quick-llama.yaml").read_text().startswith("# Recorded by clawbench")
    assert run(["run", str(plan), "--out", str(tmp_path / "runs"), "--json"]) == 0
    attempts = RunFolder(Path(json.loads(capsys.readouterr().out)["path"])).attempts()
    assert attempts.select("outcome", "match", "timing").unique().rows() == [("ok", "exact", "recorded")]


def test_a_replay_has_every_instant_to_the_millisecond(tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    with providers(tmp_path) as loopback:
        assert record(loopback, tape) == 0
        plan = replay_plan(loopback, tape)
    prepared = prepare(load_plan(plan))
    recorded = {each.id: each for each in taped(tape)}

    async def offsets(offer: Offer, entry: Entry) -> list[float]:
        """When each chunk comes, in seconds after the call is sent."""
        clock = LoopClock()
        await clock.sleep(3.7)
        transport = CassetteTransport(prepared.store, prepared.catalog.offers, wire_for, clock, seed=1, strict=True)
        call = wire_for(offer).encode(prepared.opened.request(entry), offer)
        sent_s = clock.now()
        reply = await transport.send(call, deadline_s=100.0)
        return [chunk.t_s - sent_s async for batch in reply.chunks() for chunk in batch]

    async def attempt(offer: Offer, entry: Entry) -> dict[str, Any]:
        """The record of a client's request that only this offer may serve, through the whole gateway."""
        clock, writer = LoopClock(), MemoryWriter()
        prepared.ineligible = {other: "not in this test" for other in prepared.catalog.offers if other != offer.id}
        transport = prepared.transport(clock, seed=1, paced=False)
        app = build_app(
            prepared, transport, strategy="price", seed=1, clock=clock, writer=writer, run_id="r", ids=lambda: "x"
        )
        await clock.sleep(1.25)
        await ask(
            app, client_body(prepared.opened.request(entry), "llama"), RequestContext(request_id="r", draw_key="r")
        )
        (row,) = writer.frame("attempts").to_dicts()
        return row

    played = [
        (offer, entry) for offer in prepared.catalog.offers.values() for entry in prepared.store.entries(offer.id)
    ]
    assert len(played) == CALLS
    for offer, entry in played:
        timing = recorded[entry.id].timing
        assert timing is not None
        assert run_virtual(offsets(offer, entry)) == pytest.approx([t_s for _, t_s in timing.chunks], abs=MS)
        row = run_virtual(attempt(offer, entry))
        assert (row["offer_id"], row["interaction"]) == (offer.id, entry.id)
        assert row["t_headers_s"] - row["t_dispatch_s"] == pytest.approx(timing.headers_s, abs=MS)
        assert row["t_end_s"] - row["t_dispatch_s"] == pytest.approx(timing.chunks[-1][1], abs=MS)
        if entry.stream:
            first_s = first_output_s(recorded[entry.id], wire_for(offer))
            assert row["t_first_token_s"] - row["t_dispatch_s"] == pytest.approx(first_s, abs=MS)


def first_output_s(item: Interaction, wire: Wire) -> float:
    """When the chunk came in which the first output stands, by the wire's own reading."""
    assert item.timing is not None
    decoder, start = wire.stream(), 0
    for end, (_, t_s) in zip(item.timing.ends, item.timing.chunks, strict=True):
        if any(delta.has_output for delta in decoder.feed(item.body[start:end])):
            return t_s
        start = end
    raise AssertionError("a stream without output")


def test_nothing_is_asked_without_a_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with providers(tmp_path) as loopback:
        command = ["record", str(loopback.plan), "--into", str(tmp_path / "tape")]
        assert run(command) == 2
        assert "--budget-usd" in capsys.readouterr().err
        for wrong in ("0", "-1", "much", "NaN", "Infinity"):
            assert run([*command, "--budget-usd", wrong]) == 2
        assert run([*command, "--dry-run"]) == 0
        assert f"{CALLS} calls" in capsys.readouterr().out
        assert not loopback.app.answered
    assert not (tmp_path / "tape").exists()


def test_the_budget_is_kept_and_the_next_call_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tape = tmp_path / "tape"
    with providers(tmp_path) as loopback:
        assert record(loopback, tape, "--set", "record.concurrency=2", budget="0.0005") == 1
        captured = capsys.readouterr()
        assert re.search(r"budget of \$0\.0005 is reached .* the next of which may cost \$0\.0001;", captured.err)
        spent = re.search(r"\$(0\.\d+) spent", captured.out)
        assert spent is not None
        assert 0 < float(spent[1]) <= 0.0005
        first = len(taped(tape))
        assert 0 < first < CALLS
        assert record(loopback, tape) == 0
        assert f"{CALLS - first} calls to" in capsys.readouterr().out
        assert sum(loopback.app.answered.values()) == CALLS
        assert record(loopback, tape) == 0
        assert f"0 calls to 0 offers; {CALLS} are recorded already" in capsys.readouterr().out
        assert sum(loopback.app.answered.values()) == CALLS
    assert len(taped(tape)) == CALLS


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_what_was_recorded(sent: signal.Signals, tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    with providers(tmp_path, names=("quick",), ttft_s=0.15) as loopback:
        command = [
            "record",
            str(loopback.plan),
            "--into",
            str(tape),
            "--budget-usd",
            "1",
            "--set",
            "record.concurrency=1",
        ]
        process = subprocess.Popen(
            [sys.executable, "-c", "from clawbench.cli import main; main()", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        waiting = threading.Event()
        for _ in range(600):
            if loopback.app.answered["quick"] >= 3:
                break
            waiting.wait(0.05)
        process.send_signal(sent)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert "goes on" in err
        kept = len(taped(tape))
        assert 2 <= kept < 6
        assert [each.name for each in tape.iterdir()] == ["quick-llama.yaml"]
        assert record(loopback, tape) == 0
    assert len(taped(tape)) == 6


def test_a_second_recorder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tape = tmp_path / "tape"
    with providers(tmp_path) as loopback:
        reel = Reel(tape, mode="new_episodes", scrubber=Scrubber())
        try:
            assert record(loopback, tape) == 2
        finally:
            reel.close()
        assert f"being recorded by process {os.getpid()}" in capsys.readouterr().err
        assert not loopback.app.answered


def test_the_key_reaches_its_host_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tape = tmp_path / "tape"
    with providers(tmp_path, names=("quick", "calm"), key=True) as loopback:
        assert record(loopback, tape) == 2
        assert "CLAWBENCH_TEST_KEY" in capsys.readouterr().err
        monkeypatch.setenv("CLAWBENCH_TEST_KEY", KEY)
        assert record(loopback, tape) == 0
    assert {each.status for each in taped(tape)} == {200}
    assert KEY.encode() not in b"".join(file.read_bytes() for file in tape.rglob("*") if file.is_file())
    told = capsys.readouterr()
    assert KEY not in told.out + told.err


def test_a_wrong_key_is_given_up_on_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLAWBENCH_TEST_KEY", "sk-wrong-00000000")
    with providers(tmp_path, names=("quick",), key=True) as loopback:
        assert record(loopback, tmp_path / "tape", "--set", "record.concurrency=1") == 1
    assert "quick/llama (auth)" in capsys.readouterr().err
    assert len(taped(tmp_path / "tape")) == 3


def test_a_provider_that_is_not_there_is_given_up_on_and_the_others_are_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with providers(tmp_path, names=("quick",)) as loopback:
        more = loopback.plan.read_text().replace('provider = "quick"', 'provider = "gone"').partition("[[offers]]")[2]
        gone = re.sub(r":\d+/quick", ":1/gone", more)
        loopback.plan.write_text(f"{loopback.plan.read_text()}\n[[offers]]\n{gone}")
        assert record(loopback, tmp_path / "tape") == 1
    assert "gone/llama (connect_error)" in capsys.readouterr().err
    assert len(taped(tmp_path / "tape")) == 6


def test_plans_that_cannot_be_recorded_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = write_plan(tmp_path, 1)
    whole = plan.read_text()
    for old, new, says in (
        ("[network]\nloopback_http = true", "", "[network]"),
        ("usd_per_mtok = { input = 1, output = 2 }", "", "usd_per_mtok"),
        ('prompts = "prompts.jsonl", ', "", "prompts"),
    ):
        plan.write_text(whole.replace(old, new))
        assert run(["record", str(plan), "--into", str(tmp_path / "tape"), "--budget-usd", "1"]) == 2
        assert says in capsys.readouterr().err


def test_an_answer_that_nothing_limits_may_be_as_long_as_the_context_has_room_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = write_plan(tmp_path, 1, names=("quick",))
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(prompts.read_text().replace(', "max_completion_tokens": 40', ""))
    command = ["record", str(plan), "--into", str(tmp_path / "tape"), "--dry-run"]
    assert run(command) == 2
    assert 'offer "quick/llama" has neither max_output_tokens nor context_window' in capsys.readouterr().err
    whole = plan.read_text()
    for limit, dearest in (("context_window = 1000", "0.0120"), ("max_output_tokens = 500", "0.0061")):
        plan.write_text(f"{whole}{limit}\n")
        assert run(command) == 0
        assert f"${dearest} at most" in capsys.readouterr().out


def test_what_an_offer_cannot_serve_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = write_plan(tmp_path, 1, names=("quick",))
    command = ["record", str(plan), "--into", str(tmp_path / "tape"), "--dry-run"]
    assert run([*command, "--set", "workload.model=other"]) == 0
    assert "6 left out: another model is asked for" in capsys.readouterr().out
    plan.write_text(plan.read_text() + "context_window = 2\n")
    assert run(command) == 0
    assert "6 left out: the prompt is longer than the offer's context" in capsys.readouterr().out


def test_plain_vcrpy_plays_what_was_recorded_to_openais_client(tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    with providers(tmp_path, names=("quick",)) as loopback:
        assert record(loopback, tape) == 0
        port = loopback.port
    client = OpenAI(base_url=f"http://127.0.0.1:{port}/quick/v1", api_key="any", max_retries=0)
    messages: Any = [{"role": "user", "content": "Say hello."}]
    options: Any = {"model": "llama", "messages": messages, "max_tokens": 40}
    with vcr.use_cassette(str(tape / "quick-llama.yaml"), record_mode="none", match_on=["method", "uri", "body"]):
        stream = client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True})
        events = list(stream)
        whole = client.chat.completions.create(**options)
    text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert text == whole.choices[0].message.content
    assert events[-1].usage is not None
