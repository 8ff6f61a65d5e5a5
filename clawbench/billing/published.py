"""What providers publish about their prices beside the rates, and what lists of rates leave out. Dated facts, no logic.

Read on 2026-11-21. A correction is a new line here and a new price book, never a change of a rule.
"""

from __future__ import annotations

from typing import Final

from clawbench.billing.price_tables import Window

INCLUSIVE_THRESHOLDS: Final = frozenset({"xai"})
"""Providers whose long-context prices begin *at* the threshold; everybody else's begin above it."""

FREE_USES: Final[dict[str, tuple[str, ...]]] = {"anthropic": ("web_fetch",)}
"""By provider: things counted in usage objects whose published fee is zero."""

_WORKDAYS: Final = (1, 2, 3, 4, 5)

OFF_PEAK: Final[dict[str, tuple[Window, ...]]] = {
    # api-docs.deepseek.com/quick_start/pricing: peak on workdays from 01:00 to 04:00 and from 06:00 to 10:00 UTC.
    "deepseek": (
        Window(days=_WORKDAYS, start="00:00", end="01:00", rates={}),
        Window(days=_WORKDAYS, start="04:00", end="06:00", rates={}),
        Window(days=_WORKDAYS, start="10:00", end="24:00", rates={}),
        Window(days=(6, 7), start="00:00", end="24:00", rates={}),
    )
}
"""By provider: when off-peak prices hold, for models that have any. Rates are the models' own."""
