"""How much is set aside for a request: the dearest way in which any offer that may serve it could bill it.

    worst = max over offers, and tables the prompt can reach, of
            (input_max × dearest input rate + output_max × dearest output rate) × multipliers + fees
    hold  = ceil(worst × (1 + margin) / usd_per_uat)

`input_max` is the request's text in UTF-8 bytes: no tokenizer makes more tokens than that. A hold is no estimate: what
is not used comes back. Integers and fractions only; knows no ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Final

from msgspec import Struct

from clawbench.billing.charge import ChargeOverflow, Terms, charge_pico_uat
from clawbench.billing.offer_prices import OfferPrices
from clawbench.billing.price_book import CompiledRow
from clawbench.billing.price_tables import CompiledTable
from clawbench.money import INT64_MAX
from clawbench.types import ChatRequest, Offer
from clawbench.usage.buckets import INPUTS

TOKENS_PER_MESSAGE_MAX: Final = 16  # roles and separators
TOKENS_PER_MEDIA_MAX: Final = 50_000  # an image in the finest tiling, a minute of audio; bounded by the context
OUTPUT_TOKENS_MAX: Final = 32_768  # of an offer whose limit nobody states
REASONING_TOKENS_MAX: Final = 32_768  # beside an output limit that does not count reasoning
USES_MAX: Final = 10  # of each tool that the provider runs and bills by use

_ONE: Final = Fraction(1)

_ADDS_REASONING: Final = frozenset({"gemini", "vertex", "xai", "perplexity"})
_MEDIA: Final = frozenset({"image_url", "video_url", "input_audio", "file", "input_image", "input_file"})


class Step(Struct, frozen=True):
    """From so many input tokens up, the dearest rates (pico-USD a token)."""

    least_tokens: int
    input_rate: int
    output_rate: int


class Ceiling(Struct, frozen=True):
    """How dear an offer can get. `steps` in the standard tier, `tier_steps` in any; `fees` for a use of everything."""

    steps: tuple[Step, ...]
    tier_steps: tuple[Step, ...]
    factor: Fraction
    fees: int


_UNKNOWN: Final = Ceiling((), (), _ONE, 0)


class HoldSizing:
    """Hold amounts for the offers of a price book."""

    def __init__(self, prices: OfferPrices, agreed: Terms) -> None:
        self._prices, self._agreed = prices, agreed
        self._ceilings: dict[tuple[str, int], Ceiling | None] = {}

    def amount(self, request: ChatRequest, offers: Iterable[Offer], *, at_s: float) -> int:
        """pico-UAT to hold; offers without a price are left out, since they bill nothing that anybody could charge.

        A sum that no ledger amount can hold is the largest one: no account has it.
        """
        input_max = _input_tokens_max(request)
        has_tier = request.extra.get("service_tier") not in (None, "default", "standard")
        has_hosted_tools = any(tool.get("type") != "function" for tool in request.tools or ())
        worst, era = 0, self._prices.era(at_s)
        for offer in offers:
            key = (offer.id, era)
            ceiling = self._ceilings.get(key, _UNKNOWN)
            if ceiling is _UNKNOWN:
                ceiling = self._ceilings[key] = self._ceiling(offer, at_s)
            if ceiling is not None:
                window = offer.context_window
                tokens = input_max if window is None or window > input_max else window
                cost = _worst(ceiling, tokens, self._output_max(request, offer), any_tier=has_tier)
                if has_hosted_tools:
                    cost += USES_MAX * ceiling.fees
                if cost > worst:
                    worst = cost
        try:
            return charge_pico_uat(worst, self._agreed)
        except ChargeOverflow:
            return INT64_MAX

    def _output_max(self, request: ChatRequest, offer: Offer) -> int:
        limit = offer.max_output_tokens or OUTPUT_TOKENS_MAX
        asked = request.max_output_tokens
        tokens = limit if asked is None else min(asked, limit)
        if asked is not None and offer.provider in _ADDS_REASONING:
            tokens += REASONING_TOKENS_MAX
        return tokens * (request.n or 1)

    def _ceiling(self, offer: Offer, at_s: float) -> Ceiling | None:
        row = self._prices.row(offer, at_s=at_s)
        return None if row is None else ceiling_of(row)


def ceiling_of(row: CompiledRow) -> Ceiling:
    """The dearest that a row of the price book allows, by size of prompt."""
    factor = _ONE
    for multiplier in row.multipliers.values():
        if multiplier > 1:
            factor *= multiplier
    steps = _steps([row.base])
    return Ceiling(steps, _steps([row.base, *row.service.values()]), factor, sum(row.fees.values()))


def _steps(tables: Iterable[CompiledTable]) -> tuple[Step, ...]:
    return tuple(
        Step(
            least,
            max((rate for rate in rates[:INPUTS] if rate is not None), default=0),
            max((rate for rate in rates[INPUTS:] if rate is not None), default=0),
        )
        for table in tables
        for least, rates in table.reachable()
    )


def _worst(ceiling: Ceiling, input_max: int, output_max: int, *, any_tier: bool) -> int:
    worst = 0
    for step in ceiling.tier_steps if any_tier else ceiling.steps:
        if step.least_tokens <= input_max:
            worst = max(worst, input_max * step.input_rate + output_max * step.output_rate)
    factor = ceiling.factor
    return worst if factor is _ONE else -int(-worst * factor // 1)


def _input_tokens_max(request: ChatRequest) -> int:
    """No prompt of this request has more tokens than that, media at their per-part maximum."""
    tokens = TOKENS_PER_MESSAGE_MAX * len(request.messages)
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, str):
            tokens += len(content) if content.isascii() else len(content.encode("utf-8", "replace"))
        elif content:
            tokens += _size(content)
        if len(message) > 2:  # more than role and content
            tokens += sum(_size(more) for key, more in message.items() if key not in ("role", "content"))
    for further in (request.tools, request.response_format):
        if further:
            tokens += _size(further)
    return tokens


def _size(value: Any) -> int:
    """The UTF-8 bytes of everything written in a JSON value, names of keys included; media parts by their maximum."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, dict):
        kind = value.get("type")  # of a part a word, of a JSON schema perhaps a list
        if type(kind) is str and kind in _MEDIA:
            return TOKENS_PER_MEDIA_MAX
        return sum(len(key) + 4 + _size(inner) for key, inner in value.items())
    if isinstance(value, list):
        return sum(map(_size, value))
    return 8
