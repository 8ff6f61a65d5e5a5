"""What providers publish about their prices beside the rates, and what lists of rates leave out. Dated facts.

Read on 2026-11-21. A correction is a new line here and a new price book, never a change of a rule.
"""

from __future__ import annotations

from typing import Final

from clawbench.billing.price_book import pico_fee
from clawbench.billing.price_tables import Window

FREE_USES: Final[dict[str, tuple[str, ...]]] = {
    "anthropic": ("web_fetch",),
    "bedrock": ("guardrail_word", "guardrail_sensitive_free"),
}
"""By provider: things counted in usage objects whose published fee is zero."""

FEES: Final[dict[str, dict[str, str]]] = {
    "anthropic": {"web_search": "0.01"},
    # As LiteLLM's price map has them (bedrock/guardrails), which cites aws.amazon.com/bedrock/pricing: by the text unit
    # (up to 1,000 characters) or the image, for each policy.
    "bedrock": {
        "guardrail_content": "0.00015",
        "guardrail_content_image": "0.00075",
        "guardrail_topic": "0.00015",
        "guardrail_sensitive": "0.0001",
        "guardrail_grounding": "0.0001",
        "guardrail_reasoning": "0.00017",
    },
    "groq": {"web_search": "0.005", "visit_website": "0.001"},
    "xai": {"web_search": "0.005"},
}
"""By provider: fees that hold for all of its models, in USD a use; a list's own figure for a model goes first."""


def fees_of(provider: str) -> dict[str, int]:
    """A provider's fees for all of its models, in pico-USD a use, those of zero included."""
    free = dict.fromkeys(FREE_USES.get(provider, ()), 0)
    return free | {kind: pico_fee(usd) for kind, usd in FEES.get(provider, {}).items()}


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
