"""Progress bars, for terminals and notebooks alike; silent where nobody looks."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm


class Bar:
    """A bar over requests; `unit` names what is counted. `always` shows it in a notebook too, where no tty is."""

    def __init__(self, *, unit: str = "request", always: bool = False) -> None:
        self._unit, self._show = unit, always or sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None

    def start(self, total: int) -> None:
        self._bar = tqdm(total=total, unit=self._unit, disable=not self._show, leave=False, smoothing=0.1)

    def cell(self, name: str) -> None:
        if self._bar is not None:
            self._bar.set_description(name)

    def advance(self, count: int) -> None:
        if self._bar is not None:
            self._bar.update(count)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
