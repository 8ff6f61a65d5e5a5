"""Fixtures for an application's tests: record the test's own calls, or answer them from recordings.

    def test_it(clawbench_recording):                       # records into cassettes/<module>/<test>.yaml, plays it then
    @pytest.mark.clawbench(cassettes="cassettes")
    def test_it(clawbench_endpoint):                        # a client is given .base_url and .api_key

Loaded into every pytest of the environment, so it imports what it needs when a fixture is first used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

MARKER = "clawbench"
RECORD_MODES = ("once", "new_episodes", "none", "all")
FILE_NAME_CHARS = 100


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--clawbench-record MODE` and the ini key `clawbench_cassettes`."""
    parser.getgroup("clawbench").addoption(
        "--clawbench-record",
        choices=RECORD_MODES,
        default=None,
        help="Record mode of the fixture clawbench_recording: once (the default), new_episodes, none or all.",
    )
    parser.addini("clawbench_cassettes", type="paths", help="Recordings that clawbench_endpoint serves.", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(cassettes, matching, pace, mode, secrets): cassettes (a path or several, relative to the test's "
        "file), matching ('strict' or 'exact_then_nearest') and pace ('at_once' or 'recorded') for "
        "clawbench_endpoint; mode and secrets for clawbench_recording.",
    )


@pytest.fixture
def clawbench_recording(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Records this test's HTTP calls into a cassette beside it, or plays them; see `clawbench.taping`.

    The file is cassettes/<module>/<test>.yaml in the folder of the test's file. The mode is the marker's, else that of
    --clawbench-record, else once.
    """
    given = _given(request)
    mode = given.get("mode") or request.config.getoption("--clawbench-record") or "once"
    folder = request.path.parent / "cassettes" / request.path.stem
    recording = import_module("clawbench.taping.block").recording
    with recording(
        folder / f"{_file_name(request.node.name)}.yaml", mode=mode, secrets=given.get("secrets", ())
    ) as block:
        yield block


@pytest.fixture
def clawbench_endpoint(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A running OpenAI-compatible endpoint that answers from recordings: `.base_url`, `.api_key`, `.models`.

    Which recordings, the marker `clawbench(cassettes=…)` says, else the ini key clawbench_cassettes.
    """
    given = _given(request)
    cassettes = given.get("cassettes", ())
    if isinstance(cassettes, (str, Path)):
        cassettes = (cassettes,)
    paths = [request.path.parent / each for each in cassettes] or request.config.getini("clawbench_cassettes")
    if not paths:
        raise pytest.UsageError(
            'clawbench_endpoint needs recordings: @pytest.mark.clawbench(cassettes="cassettes"), '
            "or clawbench_cassettes in the pytest configuration"
        )
    endpoint = import_module("clawbench.taping.endpoint").endpoint
    options = {name: given[name] for name in ("matching", "pace") if name in given}
    with endpoint(*paths, **options) as running:
        yield running


def _given(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the markers of a test say, the nearest one first."""
    given: dict[str, Any] = {}
    for marker in request.node.iter_markers(MARKER):
        given = {**marker.kwargs, **given}
    return given


def _file_name(test: str) -> str:
    """A test's name, parameters included, as a file name."""
    return re.sub(r"[^\w.-]+", "-", test, flags=re.ASCII).strip("-")[:FILE_NAME_CHARS]
