"""What a reply says that it cost, wherever it says so: the provider's word, to be held against our own reckoning.

Found by shape, not by provider, so that a gateway nobody has heard of is found too; whether an amount is the basis of
a bill is for the normalisers to say. Never raises: an amount that is none is not stated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal

from msgspec import Struct

from clawbench.usage.admission import COST_EXPONENTS

TICK_USD: Final = Fraction(1, 10**10)
_PERPLEXITY_WITHIN: Final = Fraction(1, 1000)  # sums of parts that were rounded to three decimals

Kind = Literal["taken", "estimate"]


class StatedCost(Struct, frozen=True, kw_only=True):
    """An amount in USD, where it stood, and what it is.

    `taken`: what the account is charged; `estimate`: somebody's reckoning of it. `within_usd` is how far rounding puts
    it from the exact amount, null where it is exact. `parts` are "input" and "output" as far as they were stated.
    """

    usd: Fraction
    where: str
    kind: Kind = "taken"
    within_usd: Fraction | None = None
    parts: dict[str, Fraction] = {}


_PARTS: Final = {
    "upstream_inference_prompt_cost": "input",
    "upstream_inference_input_cost": "input",
    "upstream_inference_completions_cost": "output",
    "upstream_inference_output_cost": "output",
    "input_tokens_cost": "input",
    "output_tokens_cost": "output",
}
_HEADERS: Final[dict[str, Kind]] = {
    "x-litellm-response-cost": "estimate",
    "pydantic-ai-gateway-price-estimate": "estimate",
}
_HEADER_AMOUNT: Final = re.compile(r"(\d{1,9}(?:\.(\d{1,24}))?(?:[eE]-?\d{1,2})?) ?(?:USD)?")


def stated_in_usage(usage: Mapping[str, Any]) -> StatedCost | None:
    """The amount in a usage object that `admission.parse` has read; None where it states none."""
    ticks, cost = usage.get("cost_in_usd_ticks"), usage.get("cost")
    if type(ticks) is int and ticks >= 0:
        return StatedCost(usd=ticks * TICK_USD, where="usage.cost_in_usd_ticks")
    if type(cost) is dict and (total := _amount(cost.get("total_cost"))) is not None:
        return StatedCost(usd=total, where="usage.cost.total_cost", within_usd=_PERPLEXITY_WITHIN, parts=_parts(cost))
    if (taken := _amount(cost)) is not None:
        details = usage.get("cost_details")
        details = details if type(details) is dict else {}
        upstream = _amount(details.get("upstream_inference_cost")) or _amount(usage.get("market_cost"))
        if usage.get("is_byok") is True and upstream is not None:
            taken += upstream
        return StatedCost(usd=taken, where="usage.cost", parts=_parts(details))
    gateway = usage.get("pydantic_ai_gateway")
    estimate = _amount(gateway.get("cost_estimate")) if type(gateway) is dict else None
    if estimate is not None:
        return StatedCost(usd=estimate, where="usage.pydantic_ai_gateway.cost_estimate", kind="estimate")
    return None


def stated_in_headers(headers: Mapping[str, str]) -> StatedCost | None:
    """The amount in a reply's headers (names in lower case); rounded to the decimals that are written."""
    for name, kind in _HEADERS.items():
        found = _HEADER_AMOUNT.fullmatch(headers.get(name, "").strip())
        if found is not None:
            exact = Fraction(Decimal(found[1]))
            decimals = len(found[2] or "")
            within = Fraction(1, 2 * 10**decimals) if headers[name].strip().endswith("USD") else None
            return StatedCost(usd=exact, where=name, kind=kind, within_usd=within)
    return None


def _parts(source: Mapping[str, Any]) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {}
    for key, part in _PARTS.items():
        amount = _amount(source.get(key))
        if amount is not None:
            found[part] = amount
    # Zeros all over are what gateways write that do not know the parts.
    return found if any(found.values()) else {}


def _amount(value: Any) -> Fraction | None:
    if type(value) is int and 0 <= value < 10**9:
        return Fraction(value)
    if type(value) is Decimal and value >= 0 and (not value or value.adjusted() in COST_EXPONENTS):
        return Fraction(value)
    return None
