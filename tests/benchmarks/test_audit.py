"""What an audit of a ledger costs a charge, in one process and in two.

The floor of the printed ratio is reading the same details as JSON, once, from memory. CLAWBENCH_AUDIT_CHARGES says how
many charges there are, 20,000 without it. No limits are asserted: they depend on the machine.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from time import perf_counter

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
    with closing(sqlite3.connect(ledger)) as made:
        details = [text.encode() for (text,) in made.execute("SELECT detail FROM entry")]
    decode = msgspec.json.Decoder().decode
    began = perf_counter()
    for text in details:
        decode(text)
    return perf_counter() - began


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
