"""A cassette recorded over HTTP from `clawbench emulate`: by the wall clock it replays as it does in virtual time."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from clawbench.analysis.frames import RunFolder
from clawbench.cli import run
from tests.benchmarks.pool import ROOT
from tests.benchmarks.test_clock import Benchmark
from tests.emulator.serving import emulating

PROMPTS, REQUESTS, RATE_RPS = 5, 400, 40
SHARES = (0.5, 0.95, 0.99)


def recorded(folder: Path) -> Path:
    """`configs/record.toml` with fewer prompts, recorded by the command line; a plan that replays what came of it."""
    text = (ROOT / "configs" / "record.toml").read_text().replace("../cassettes", str(ROOT / "cassettes"))
    plan, replay, tape = folder / "record.toml", folder / "replay.toml", folder / "tape"
    with emulating(ROOT / "configs" / "emulator.toml") as served:
        text = text.replace("http://127.0.0.1:1430", served.origin)
        plan.write_text(text)
        sizes = ["--set", f"workload.requests={PROMPTS}"]
        assert run(["record", str(plan), "--into", str(tape), "--budget-usd", "1", *sizes]) == 0
    replay.write_text(f'{text}\n[replay]\ncassettes = ["{tape}"]\nmatching = "strict"\n')
    return replay


def replayed(plan: Path, clock: str, capsys: pytest.CaptureFixture[str]) -> pl.DataFrame:
    """The requests of a run by this clock, with TTFT and E2E in seconds."""
    sizes = {"workload.prompts": "recorded", "workload.requests": REQUESTS, "workload.rate_rps": RATE_RPS}
    overrides = [part for key, value in sizes.items() for part in ("--set", f"{key}={value}")]
    out = plan.parent / clock
    command = ["run", str(plan), "--out", str(out), "--clock", clock, "--strategy", "round_robin", "--json"]
    assert run([*command, *overrides]) == 0
    folder = RunFolder(Path(json.loads(capsys.readouterr().out)["path"]))
    attempts = folder.attempts()
    assert attempts.select("match", "timing").unique().rows() == [("exact", "recorded")]
    return folder.requests().select(
        "request_id",
        "offer_id",
        ttft_s=pl.col("t_first_token_s") - pl.col("t_scheduled_s"),
        e2e_s=pl.col("t_end_s") - pl.col("t_scheduled_s"),
    )


def test_what_was_recorded_over_http_takes_as_long_by_the_wall_clock_as_in_virtual_time(
    benchmark: Benchmark, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plan = recorded(tmp_path)
    capsys.readouterr()
    virtual = replayed(plan, "virtual", capsys)
    found: list[pl.DataFrame] = []
    benchmark.pedantic(lambda: found.append(replayed(plan, "wall", capsys)), args=(), rounds=1)
    wall = found[0]
    assert virtual.height == wall.height == REQUESTS
    assert virtual["offer_id"].n_unique() == 8
    for measure in ("ttft_s", "e2e_s"):
        for share in SHARES:
            replayed_s, real_s = (frame[measure].drop_nulls().quantile(share) for frame in (virtual, wall))
            assert replayed_s is not None
            assert real_s is not None
            with capsys.disabled():
                print(f"\n  {measure} p{share * 100:g}: {replayed_s:.4f} s virtual, {real_s:.4f} s by the wall", end="")
            assert abs(real_s - replayed_s) <= max(0.02 * replayed_s, 0.005)
