"""A loaded gateway, killed at random instants: who got a whole answer was charged exactly that, and once.

CLAWBENCH_KILLS sets another number of kills for the long one, 200.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.billing.ledger.kill_loop import kill_loop
from tests.gateway.killed_gateway import start_gateway


def survive(folder: Path, kills: int, seed: int) -> None:
    outcome = kill_loop(start_gateway(folder), folder / "ledger.db", kills, seed, acks_max=60)
    assert outcome.kills == kills
    assert outcome.proof.sound, outcome.proof.findings
    assert outcome.died_with_open_holds > 0
    assert outcome.proof.charges > kills


def test_whoever_was_answered_is_charged_once_after_30_kills_of_the_gateway(tmp_path: Path) -> None:
    survive(tmp_path, 30, seed=3)


@pytest.mark.soak
def test_whoever_was_answered_is_charged_once_after_many_kills_of_the_gateway(tmp_path: Path) -> None:
    survive(tmp_path, int(os.environ.get("CLAWBENCH_KILLS", "200")), seed=4)
