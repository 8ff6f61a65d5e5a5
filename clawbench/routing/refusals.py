"""Why nothing can serve a request, in words that name the binding limit and the nearest offer."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from clawbench.catalog.tiers import rates_at
from clawbench.errors import RequestError
from clawbench.routing.preferences import ABOVE_MAX_PRICE, NOT_FREE, Preferences
from clawbench.routing.reference import Reference
from clawbench.types import Exclusion, Offer, Rates, RequestShape

REASONS_SHOWN = 3
UNSCORABLE = ("price unknown", "quality not measured")
"""What strategies say of an offer that they cannot compare."""


def nothing_eligible(
    reference: Reference,
    request: RequestShape,
    excluded: Sequence[Exclusion],
    offers: Sequence[Offer],
    *,
    wait_s: float,
) -> RequestError:
    """The error for a request that no offer can serve now; `wait_s` is when the first resting one may be tried."""
    name = f'"{reference.model.id}"' if reference.model else "any model"
    reasons = list(dict.fromkeys(exclusion.reason for exclusion in excluded if exclusion.reason != "already tried"))
    shown = "; ".join(reasons[:REASONS_SHOWN]) + ("; …" if len(reasons) > REASONS_SHOWN else "")
    if reasons and any(_is_passing(reason) for reason in reasons):
        return RequestError(
            f"The offers of {name} that could serve this request are resting after failures: {shown}.",
            status=503,
            code="unavailable",
            type="server_error",
            retry_after_s=max(wait_s, 1.0),
        )
    shown_by_request = [reason for reason in reasons if not reason.startswith("not of provider")]
    too_long = [reason for reason in shown_by_request if reason.startswith("context window")]
    incapable = [reason for reason in shown_by_request if reason.startswith("cannot do")]
    if too_long and len(too_long) == len(shown_by_request):
        widest = max((offer.context_window or 0, offer.id) for offer in offers)
        return _refusal(
            f"The prompt is too long for {name}: {shown}. The widest window is {widest[0]} tokens ({widest[1]}).",
            code="context_length_exceeded",
            param="messages",
        )
    if incapable and len(incapable) == len(shown_by_request):
        return _refusal(
            f"No offer of {name} has what the request needs: {shown}.", code="unsupported_parameter", param="model"
        )
    too_dear = {each.offer_id for each in excluded if each.reason in (ABOVE_MAX_PRICE, NOT_FREE)}
    if too_dear:
        priced = [
            (offer, rates_at(offer.rates, request.prompt_tokens))
            for offer in offers
            if offer.id in too_dear and offer.rates is not None
        ]
        more = [reason for reason in reasons if reason not in (ABOVE_MAX_PRICE, NOT_FREE)]
        others = f" Of its others: {'; '.join(more[:REASONS_SHOWN])}." if more else ""
        told = f"No offer of {name} is {_too_dear(reference.preferences, priced)}{others}"
        return _refusal(told, param="model" if NOT_FREE in reasons else "provider.max_price")
    if any("provider." in reason for reason in reasons):
        known = ", ".join(sorted({offer.provider for offer in offers}))
        return _refusal(f"provider leaves no offer of {name}: {shown}. Its providers: {known}.", param="provider")
    if too_long or incapable or any(reason.startswith(UNSCORABLE) for reason in reasons):
        return _refusal(f"No offer of {name} can serve this request: {shown}.", param="model")
    return _refusal(
        f"No offer of {name} can serve this request: {shown or 'it has none'}.",
        status=404,
        code="model_not_found",
        param="model",
    )


def _is_passing(reason: str) -> bool:
    return reason.startswith("resting until") or reason == "a probe is under way"


def _too_dear(asked: Preferences, priced: Sequence[tuple[Offer, Rates]]) -> str:
    """The client's own limit that binds, and the offer that is nearest to it; `priced` at this prompt's length."""
    limits = {"prompt": asked.max_input_rate, "completion": asked.max_output_rate}
    if not priced:
        stated = "free" if asked.free_only else "cheap enough"
        return f"{stated}: none of them has a known price."

    def over(rates: Rates) -> dict[str, float]:
        """By how much each limit is exceeded: a factor above 1."""
        stated = {"prompt": rates.input, "completion": rates.output}
        return {
            name: stated[name] / limit if limit else float("inf")
            for name, limit in limits.items()
            if limit is not None and stated[name] > limit
        }

    def distance(each: tuple[Offer, Rates]) -> tuple[float, int, str]:
        offer, rates = each
        return max(over(rates).values(), default=0.0), rates.input + rates.output, offer.id

    offer, rates = min(priced, key=distance)
    nearest = f"The nearest is {offer.id} at {_usd(rates.input)} USD prompt, {_usd(rates.output)} USD completion"
    binding = [f"provider.max_price.{name} is {_usd(limits[name] or 0)}" for name in over(rates)]
    if asked.free_only or not binding:
        return f"free. {nearest} per million tokens."
    return f"cheap enough: {' and '.join(binding)} USD per million tokens. {nearest}."


def _usd(rate: int) -> str:
    """A rate in USD per million tokens, exact."""
    return f"{Decimal(rate) / 10**6:f}"


def _refusal(message: str, *, status: int = 400, code: str = "bad_request", param: str) -> RequestError:
    return RequestError(message, status=status, code=code, type="invalid_request_error", param=param)
