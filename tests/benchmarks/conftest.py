"""Prints, after a run of benchmarks, each ratio to a floor that a benchmark has noted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

NOTED = pytest.StashKey[list[str]]()


@pytest.fixture
def ratio(request: pytest.FixtureRequest) -> Callable[[float, float], float]:
    """`ratio(ours, floor)`: their quotient, in whatever unit both have, noted for the summary under the test's name."""

    def note(ours: float, floor: float) -> float:
        name = request.node.name.removeprefix("test_").replace("_", " ")
        request.config.stash.setdefault(NOTED, []).append(f"{name}: {ours / floor:.2f} times the floor")
        return ours / floor

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    noted = terminalreporter.config.stash.get(NOTED, [])
    if noted:
        terminalreporter.section("ratios to floors measured in the same run")
        for line in noted:
            terminalreporter.write_line(line)
