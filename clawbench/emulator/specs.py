"""What an emulated provider is made of, as checked values, and the making of it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from clawbench.emulator.conditions import Live
from clawbench.emulator.dialects import EMULATED, manners_of
from clawbench.emulator.offer import EmulatedOffer
from clawbench.emulator.profiles import Profile
from clawbench.emulator.provider import EmulatedProvider
from clawbench.types import Offer

PORT: Final = 1430
"""Where an emulator listens unless its plan says otherwise; recordings of it have it in their addresses."""

VERSIONED: Final = frozenset({"openai_chat", "openai_responses"})
"""Dialects whose clients are given a base URL that ends with /v1; the others add their versions themselves."""


class OfferSpec(Struct, frozen=True, kw_only=True):
    """One model at a provider. `upstream_model` is the provider's own name of it."""

    model: str
    upstream_model: str
    profile: Profile
    thinks: bool = False
    context_window: int | None = None


class ProviderSpec(Struct, frozen=True, kw_only=True):
    """A provider; its first dialect is the one that it is recorded in. `api_key` None: any key will do, and none."""

    name: str
    dialects: tuple[str, ...]
    offers: tuple[OfferSpec, ...]
    api_key: str | None = None

    def base_url(self, origin: str, dialect: str) -> str:
        """What clients of a dialect are given as the address, below an origin such as `http://127.0.0.1:1430`."""
        return f"{origin}/{self.name}/v1" if dialect in VERSIONED else f"{origin}/{self.name}"

    def offer(self, spec: OfferSpec, origin: str) -> Offer:
        """One of the offers as a gateway's plan would have it, without a price."""
        return Offer(
            id=f"{self.name}/{spec.model}",
            provider=self.name,
            model=spec.model,
            upstream_model=spec.upstream_model,
            base_url=self.base_url(origin, self.dialects[0]),
            dialect=self.dialects[0],
            context_window=spec.context_window,
            profile=spec.profile.latency,
            energy_j_per_token=spec.profile.joules_per_output_token or None,
        )


def live_provider(spec: ProviderSpec, *, hour_at_zero: float = 0.0) -> EmulatedProvider:
    """A provider whose queues, limits and caches are moved by the traffic that it gets."""
    return _provider(spec, hour_at_zero)


def drawn_provider(spec: ProviderSpec) -> EmulatedProvider:
    """A provider whose answers depend on nothing but the call and its luck."""
    return _provider(spec, None)


def _provider(spec: ProviderSpec, hour_at_zero: float | None) -> EmulatedProvider:
    dialect = spec.dialects[0]
    offers = {
        each.upstream_model: EmulatedOffer(
            each.profile,
            wire=EMULATED[dialect],
            manners=manners_of(dialect),
            model=each.model,
            thinks=each.thinks,
            context_window=each.context_window,
            conditions=None if hour_at_zero is None else Live(each.profile, hour_at_zero=hour_at_zero),
        )
        for each in spec.offers
    }
    return EmulatedProvider(spec.name, offers, dialects=spec.dialects, api_key=spec.api_key)
