"""A running `clawbench emulate` for tests: providers of several dialects, some that always fail, on a free port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

MAIN = "from clawbench.cli import main; main()"

QUICK = (
    "ttft_s_median = 0.004, ttft_s_sigma = 0.1, token_rate_median = 50_000, token_rate_sigma = 0.1, network_s = 0.001"
)
PLAN = f"""
port = 0
seed = 3

[[providers]]
name = "oai"
dialects = ["openai_chat", "openai_responses"]
profile = {{ {QUICK}, requests_per_minute = 1_000_000 }}
offers = [{{ model = "m", upstream_model = "m-up" }}, {{ model = "t", upstream_model = "t-up", thinks = true }}]

[[providers]]
name = "caching"
dialects = ["openai_chat", "openai_responses"]
profile = {{ {QUICK}, cache = "automatic" }}
offers = [{{ model = "m", upstream_model = "m-up" }}, {{ model = "t", upstream_model = "t-up", thinks = true }}]

[[providers]]
name = "ant"
dialects = ["anthropic"]
profile = {{ {QUICK}, cache = "marked" }}
offers = [{{ model = "m", upstream_model = "m-up" }}, {{ model = "t", upstream_model = "t-up", thinks = true }}]

[[providers]]
name = "gem"
dialects = ["gemini"]
profile = {{ {QUICK}, cache = "automatic" }}
offers = [{{ model = "m", upstream_model = "m-up" }}, {{ model = "t", upstream_model = "t-up", thinks = true }}]

[[providers]]
name = "limited"
dialects = ["openai_chat", "anthropic", "gemini"]
profile = {{ {QUICK}, failures = [{{ share = 1.0, kind = "rate_limited", at = "door", retry_after_s = 3 }}] }}
offers = [{{ model = "m", upstream_model = "m-up" }}]

[[providers]]
name = "full"
dialects = ["openai_chat", "anthropic", "gemini"]
profile = {{ {QUICK}, failures = [{{ share = 1.0, kind = "overloaded", at = "door" }}] }}
offers = [{{ model = "m", upstream_model = "m-up" }}]

[[providers]]
name = "breaking"
dialects = ["openai_chat", "anthropic"]
profile = {{ {QUICK}, failures = [{{ share = 1.0, kind = "server_error", at = "stream" }}] }}
offers = [{{ model = "m", upstream_model = "m-up" }}]

[[providers]]
name = "locked"
dialects = ["openai_chat", "anthropic", "gemini"]
profile = {{ {QUICK} }}
api_key = "let-me-in"
offers = [{{ model = "m", upstream_model = "m-up" }}]
"""


class Served(Struct):
    """A running emulator: its origin and its process."""

    origin: str
    process: subprocess.Popen[str]


@contextmanager
def emulator(folder: Path) -> Iterator[Served]:
    """Serves `PLAN`, written into this folder, see `emulating`."""
    plan = folder / "emulator.toml"
    plan.write_text(PLAN)
    with emulating(plan) as served:
        yield served


@contextmanager
def emulating(plan: Path) -> Iterator[Served]:
    """Serves a plan on a free port until the block ends; then Ctrl-C, which it has to take well."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "emulate", str(plan), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        first, second = process.stdout.readline(), process.stdout.readline()
        assert first.startswith("clawbench emulates"), (first, process.poll())
        origin = urlsplit(second.split()[1])
        yield Served(f"{origin.scheme}://{origin.netloc}", process)
    finally:
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in out + error
