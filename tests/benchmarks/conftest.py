"""Prints, after a run of benchmarks, each ratio to a floor that a benchmark has noted."""

from __future__ import annotations

import pytest

from tests.benchmarks.test_clock import Ratio

NOTED = pytest.StashKey[list[str]]()


@pytest.fixture
def ratio(request: pytest.FixtureRequest) -> Ratio:
    def note(ours: float, floor: float, figures: str = "") -> float:
        name = request.node.name.removeprefix("test_").replace("_", " ")
        line = f"{name}: {ours / floor:.2f} times the floor"
        request.config.stash.setdefault(NOTED, []).append(f"{line} ({figures})" if figures else line)
        return ours / floor

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    noted = terminalreporter.config.stash.get(NOTED, [])
    if noted:
        terminalreporter.section("ratios to floors measured in the same run")
        for line in noted:
            terminalreporter.write_line(line)
