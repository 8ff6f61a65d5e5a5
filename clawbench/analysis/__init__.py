"""Analysis: what records say. Knows the record schema and nothing else of clawbench.

`frames.py` opens a run, `metrics.py` has the formulas, `tables.py` and `intervals.py` the figures, `sheets.py`,
`terminal.py`, `plots.py` and `report.py` show them, `digest.py` tells two runs apart. Names for notebooks are bound
when they are first used, so that nothing loads matplotlib before a picture is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clawbench.analysis.frames import RunFolder
    from clawbench.analysis.metrics import SLO
    from clawbench.analysis.plots import cost_against_ttft, distributions, offers_over_time
    from clawbench.analysis.tables import offers_chosen, summary

_HOMES = {
    "RunFolder": "frames",
    "SLO": "metrics",
    "cost_against_ttft": "plots",
    "distributions": "plots",
    "offers_chosen": "tables",
    "offers_over_time": "plots",
    "summary": "tables",
}

__all__ = ["SLO", "RunFolder", "cost_against_ttft", "distributions", "offers_chosen", "offers_over_time", "summary"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clawbench.analysis' has no attribute {name!r}")
    return getattr(import_module(f"clawbench.analysis.{_HOMES[name]}"), name)
