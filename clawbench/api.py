"""The front door for Python: what `import clawbench` offers, for notebooks and scripts.

It reads the wall clock and shows progress, so that nothing below has to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clawbench.analysis.frames import RunFolder
from clawbench.config.plan import load_plan
from clawbench.experiments.runner import ClockName, Silence, run_plan
from clawbench.progress import Bar
from clawbench.walltime import now, stopwatch


def run(
    plan: str | Path,
    *,
    seeds: Sequence[int] | None = None,
    strategies: Sequence[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    clock: ClockName = "virtual",
    resume: bool = False,
    progress: bool = True,
) -> RunFolder:
    """Run a plan through the gateway and return its records; the same as `clawbench run`.

    `seeds` and `strategies` replace the plan's own, `overrides` its values by dotted key, e.g.
    {"workload.rate_rps": 50}. The records and report.html are kept in a new folder under `out`; `.requests()`,
    `.attempts()` and `.decisions()` of what is returned are polars frames. Interrupting keeps the finished cells;
    `resume=True` goes on with them. Raises `PlanError`, `CassetteError`, `WriteFailed`, `RunInterrupted`.
    """
    sets = [f"{key}={_toml(value)}" for key, value in (overrides or {}).items()]
    return run_plan(
        load_plan(Path(plan), overrides=sets, seeds=seeds, strategies=strategies),
        out=Path(out),
        created_at=now(),
        stopwatch=stopwatch,
        clock=clock,
        resume=resume,
        progress=Bar(always=True) if progress else Silence(),
    )


def _toml(value: Any) -> str:
    """A value as TOML writes it; text that needs no quotes is taken as text anyway."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(f'"{each}"' if isinstance(each, str) else _toml(each) for each in value) + "]"
    return str(value)
