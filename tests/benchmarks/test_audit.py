"""What an audit of a ledger costs a charge, in one process and in two.

The floor of the printed ratio is reading the same details as JSON, once, from memory. CLAWBENCH_AUDIT_CHARGES says how
many charges there are, 20,000 without it. No limits are asserted: they depend on the machine.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import pytest

from clawbench.billing.audited_ledger import audit_ledger
from tests.benchmarks.test_clock import Benchmark, Ratio
from tests.billing.made_ledger import many, written

CHARGES = int(os.environ.get("CLAWBENCH_AUDIT_CHARGES", "20000"))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No two charges state the same counts, so that nothing is remembered."""
    return written(tmp_path_factory.mktemp("audit") / "ledger.db", lambda made: many(made, CHARGES))


@pytest.fixture(scope="module")
def floor_s(ledger: Path) -> float:
    decode, took = msgspec.json.Decoder().decode, 0.0
    with closing(sqlite3.connect(ledger)) as made:
        rows = made.execute("SELECT detail FROM entry")
        while batch := [text.encode() for (text,) in rows.fetchmany(4096)]:
            began = perf_counter()
            for text in batch:
                decode(text)
            took += perf_counter() - began
    return took


@pytest.mark.parametrize("apart", [False, True], ids=["in one process", "in two"])
def test_audit_of_a_ledger(ledger: Path, floor_s: float, apart: bool, benchmark: Benchmark, ratio: Ratio) -> None:
    took: list[float] = []

    def audit() -> None:
        began = perf_counter()
        figures = audit_ledger(ledger, now_us=0, apart=apart)
        took.append(perf_counter() - began)
        assert figures.exact == CHARGES

    benchmark.pedantic(audit, args=(), rounds=1)
    ratio(took[0], floor_s)
    print(f"{CHARGES / took[0]:,.0f} charges a second, {1e6 * took[0] / CHARGES:.1f} us a charge")


def test_the_command_stays_within_its_memory(ledger: Path, floor_s: float, benchmark: Benchmark, ratio: Ratio) -> None:
    """As a user runs it, in processes of its own; prints the largest resident set of the two."""
    told: dict[str, Any] = {}

    def audit() -> None:
        began = perf_counter()
        code = "from clawbench.cli import main; main()"
        with subprocess.Popen(
            [sys.executable, "-c", code, "audit", str(ledger), "--json"], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            found = msgspec.json.decode(child.stdout.read())
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        assert (child.returncode, found["exact"], found["clean"]) == (0, CHARGES, True)
        told.update(seconds=perf_counter() - began, rss_mib=used.ru_maxrss / 1024)

    benchmark.pedantic(audit, args=(), rounds=1)
    ratio(told["seconds"], floor_s)
    print(f"{CHARGES:,} charges in {told['seconds']:.1f} s, at most {told['rss_mib']:.0f} MiB a process")
