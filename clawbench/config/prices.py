"""`usd_per_mtok` of an offer: its prices as a plan states them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct, structs

from clawbench.errors import PlanError
from clawbench.money import pico_per_token_from_usd_per_million
from clawbench.types import Rates, Tier


class _Figures(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """USD per million tokens, as decimal numbers or text; exact. See `types.Rates` for what an absent one means."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None

    def base(self, where: str) -> Rates:
        """Raises `PlanError` for a negative price or one that is no whole number of pico-USD per token."""

        def pico(key: str, value: Decimal | None) -> int | None:
            if value is None:
                return None
            if not value.is_finite() or value < 0:
                raise PlanError(f"{where}.{key} must be a price of 0 or more, got {value}")
            rate, exact = pico_per_token_from_usd_per_million(value)
            if not exact:
                raise PlanError(f"{where}.{key} = {value} is finer than 0.000001 USD per million tokens")
            return rate

        rate_in, rate_out = pico("input", self.input), pico("output", self.output)
        assert rate_in is not None
        assert rate_out is not None
        return Rates(
            input=rate_in,
            output=rate_out,
            cached_input=pico("cached_input", self.cached_input),
            cache_write=pico("cache_write", self.cache_write),
            reasoning=pico("reasoning", self.reasoning),
        )


class TierTable(_Figures, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices of the whole request once its prompt, caches included, has more than `above` tokens."""

    above: Annotated[int, Meta(ge=1)]


class PriceTable(_Figures, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An offer's prices; `tiers` are those of longer prompts, each complete."""

    tiers: list[TierTable] = []
    source: str | None = None  # where the price is from
    read_on: str | None = None  # when it was read there, as 2026-01-31

    @property
    def origin(self) -> str:
        """Source and date in one line; "plan" where none is given."""
        return f"{self.source or 'plan'}{f', read on {self.read_on}' if self.read_on else ''}"

    def rates(self, where: str) -> Rates:
        """Raises `PlanError` as `base`, and for two tiers of one length."""
        by_length = {tier.above: tier for tier in self.tiers}
        if len(by_length) < len(self.tiers):
            raise PlanError(f"{where}.tiers: two of them begin above the same number of tokens")
        tiers = tuple(
            Tier(above=above, rates=by_length[above].base(f"{where}.tiers, above {above}"))
            for above in sorted(by_length, reverse=True)
        )
        return structs.replace(self.base(where), tiers=tiers)
