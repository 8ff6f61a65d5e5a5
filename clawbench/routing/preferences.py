"""Preferences: OpenRouter's `provider` object, because people bring it.

`order` puts providers first, `only` and `ignore` filter, `sort` is a tag, `max_price` is a hard limit, the two
`preferred_…` limits put an offer behind those that meet them, `require_parameters` and `allow_fallbacks` are switches.
What is about privacy and quantisation is accepted and means nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct

from clawbench.catalog.tiers import rates_at
from clawbench.errors import RequestError
from clawbench.money import NotMoney, decimal, pico_per_token_from_usd_per_million
from clawbench.routing.state import OfferState
from clawbench.types import Offer

ABOVE_MAX_PRICE = "above provider.max_price"
NOT_FREE = "not free"
"""Why an offer is too dear for who asks."""

SORTS = {"price": "price", "throughput": "token_rate", "latency": "latency"}
MEANINGLESS = frozenset({"data_collection", "quantizations", "zdr", "enforce_distillable_text"})


class Preferences(Struct, frozen=True, kw_only=True):
    """What a client asked of the offers; names of providers are in lower case."""

    order: tuple[str, ...] = ()
    only: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    sort: str | None = None  # a tag
    allow_fallbacks: bool = True
    require_parameters: bool = False
    max_input_rate: int | None = None  # pico-USD per token
    max_output_rate: int | None = None
    preferred_ttft_s_max: float | None = None
    preferred_token_rate_min: float | None = None
    free_only: bool = False

    def refusal(self, offer: Offer, prompt_tokens: int) -> str | None:
        """Why this offer may not serve a prompt of this length; None if it may."""
        provider = offer.provider.lower()
        if self.only and provider not in self.only:
            return "not among provider.only"
        if provider in self.ignore:
            return "among provider.ignore"
        if not self.allow_fallbacks and self.order and provider != self.order[0]:
            return "provider.allow_fallbacks is false"
        rates = offer.rates if offer.rates is None else rates_at(offer.rates, prompt_tokens)
        if self.free_only and (rates is None or rates.input or rates.output):
            return NOT_FREE
        dear_in = self.max_input_rate is not None and (rates is None or rates.input > self.max_input_rate)
        dear_out = self.max_output_rate is not None and (rates is None or rates.output > self.max_output_rate)
        return ABOVE_MAX_PRICE if dear_in or dear_out else None

    def tier(self, state: OfferState) -> int:
        """0 for the offers to be taken first, higher for those to be taken when these are gone."""
        provider = state.offer.provider.lower()
        place = self.order.index(provider) if provider in self.order else len(self.order)
        slow = self.preferred_ttft_s_max is not None and state.ttft_s > self.preferred_ttft_s_max
        sluggish = self.preferred_token_rate_min is not None and state.token_rate < self.preferred_token_rate_min
        return 2 * place + (1 if slow or sluggish else 0)


NO_PREFERENCES = Preferences()


def preferences_of(value: Any, *, known: frozenset[str]) -> Preferences:
    """The preferences in a request's `provider` field; `known` are the providers that there are, in lower case.

    Raises `RequestError` 400 for what has the wrong form, names a provider that does not exist, or contradicts itself.
    """
    if value is None:
        return NO_PREFERENCES
    if not isinstance(value, Mapping):
        raise _wrong("", "must be an object")
    fields: dict[str, Any] = {}
    for key, given in value.items():
        if given is None or key in MEANINGLESS:
            continue
        if key in ("order", "only", "ignore"):
            names = _names(key, given, known)
            fields[key] = names if key == "order" else frozenset(names)
        elif key == "sort":
            name = given.get("by") if isinstance(given, Mapping) else given
            if name not in SORTS:
                raise _wrong("sort", f"must be one of {', '.join(SORTS)}")
            fields["sort"] = SORTS[name]
        elif key in ("allow_fallbacks", "require_parameters"):
            if not isinstance(given, bool):
                raise _wrong(key, "must be true or false")
            fields[key] = given
        elif key == "max_price":
            fields |= _max_price(given)
        elif key == "preferred_max_latency":
            fields["preferred_ttft_s_max"] = _limit(key, given)
        elif key == "preferred_min_throughput":
            fields["preferred_token_rate_min"] = _limit(key, given)
        else:
            raise _wrong(key, "is not known")
    preferences = Preferences(**fields)
    if preferences.only and preferences.only <= preferences.ignore:
        raise _wrong("only", "and provider.ignore name the same providers; nothing is left")
    if preferences.order and not preferences.allow_fallbacks:
        first = preferences.order[0]
        if first in preferences.ignore or (preferences.only and first not in preferences.only):
            barred = "is among provider.ignore" if first in preferences.ignore else "is not among provider.only"
            raise _wrong("order", f'begins with "{first}", which {barred}, and provider.allow_fallbacks is false')
        if first not in known:
            raise _wrong(
                "order", f'begins with "{first}", which is no provider here. Known: {", ".join(sorted(known))}'
            )
    return preferences


def _names(key: str, given: Any, known: frozenset[str]) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise _wrong(key, "must be a list of provider names")
    names = tuple(name.lower() for name in given)
    unknown = [name for name in names if name not in known]
    if unknown and key == "only":
        raise _wrong(key, f'names "{unknown[0]}", which is no provider here. Known: {", ".join(sorted(known))}')
    return names


def _max_price(given: Any) -> dict[str, int]:
    if not isinstance(given, Mapping):
        raise _wrong("max_price", "must be an object with prompt and completion, in USD per million tokens")
    found = {}
    for key, field in (("prompt", "max_input_rate"), ("completion", "max_output_rate")):
        if given.get(key) is not None:
            amount = _amount(given[key])
            if amount is None or amount < 0:
                raise _wrong(f"max_price.{key}", "must be a price of 0 or more, in USD per million tokens")
            found[field], _ = pico_per_token_from_usd_per_million(amount)
    return found


def _amount(given: Any) -> Decimal | None:
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        return None
    try:
        return decimal(str(given))
    except NotMoney:
        return None


def _limit(key: str, given: Any) -> float:
    if isinstance(given, Mapping):
        given = given.get("p50", next(iter(given.values()), None))
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not given > 0:
        raise _wrong(key, "must be a number above 0")
    return float(given)


def _wrong(key: str, what: str) -> RequestError:
    name = f"provider.{key}" if key else "provider"
    return RequestError(f"{name} {what}.", status=400, code="bad_request", type="invalid_request_error", param=name)
