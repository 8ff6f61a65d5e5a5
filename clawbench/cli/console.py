"""The console that tables are printed to."""

from __future__ import annotations

import sys

from rich.console import Console

PIPED_COLUMNS = 160  # wide enough for every table; whoever reads a pipe has no terminal to measure


def console() -> Console:
    """As wide as the terminal; fixed where output goes to a file or a pipe."""
    return Console() if sys.stdout.isatty() else Console(width=PIPED_COLUMNS)
