"""What every test may use: the recorded material beside the repository, and how hard hypothesis looks.

Two hypothesis profiles: `ci` (the default: bounded, the same examples every time) and `soak` (many, new ones);
HYPOTHESIS_PROFILE chooses. Neither has a deadline: a busy machine is no failure.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

SHARED = Path(__file__).parents[1].parent / "shared"

# A shell lets what it starts in the background ignore Ctrl-C, and children inherit that: tests of interruptions would
# wait for one that never comes.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "ci", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "soak", max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of recorded material beside the repository: test input only. Skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the repository: this test reads recorded material from there")
    return SHARED
