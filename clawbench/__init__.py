"""clawbench: an OpenAI-compatible LLM routing gateway, and the bench that measures that very gateway.

Public names are bound when they are first used: importing the package loads neither litellm, pandas, polars,
matplotlib nor a web framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clawbench import analysis
    from clawbench.analysis.frames import RunFolder
    from clawbench.analysis.metrics import SLO
    from clawbench.api import run
    from clawbench.taping.block import recording
    from clawbench.taping.endpoint import endpoint

_HOMES = {
    "RunFolder": ("clawbench.analysis.frames", "RunFolder"),
    "SLO": ("clawbench.analysis.metrics", "SLO"),
    "analysis": ("clawbench.analysis", None),
    "endpoint": ("clawbench.taping.endpoint", "endpoint"),
    "recording": ("clawbench.taping.block", "recording"),
    "run": ("clawbench.api", "run"),
}

__all__ = ["SLO", "RunFolder", "analysis", "endpoint", "recording", "run"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clawbench' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    found = import_module(module)
    value = found if attribute is None else getattr(found, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
