"""SIGKILL at random instants on a real file: nothing acknowledged is lost, nothing is double, money is conserved.

CLAWBENCH_KILLS sets another number of kills for the long one, 200.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.billing.ledger.kill_loop import kill_loop, start_ledger


def survive(folder: Path, kills: int, seed: int) -> None:
    outcome = kill_loop(start_ledger(folder), folder / "ledger.db", kills, seed)
    assert outcome.kills == kills
    assert outcome.proof.sound, outcome.proof.findings
    assert outcome.died_with_open_holds > kills // 4  # it was at work when it died
    assert outcome.proof.charges > kills


def test_nothing_is_lost_or_double_after_30_kills(tmp_path: Path) -> None:
    survive(tmp_path, 30, seed=1)


@pytest.mark.soak
def test_nothing_is_lost_or_double_after_many_kills(tmp_path: Path) -> None:
    survive(tmp_path, int(os.environ.get("CLAWBENCH_KILLS", "200")), seed=2)
