"""Why nothing can serve a request, in words that name the binding limit and the nearest offer."""

from __future__ import annotations

from collections.abc import Sequence

from clawbench.errors import RequestError
from clawbench.money import usd_text
from clawbench.routing.reference import Reference
from clawbench.types import Exclusion, Offer

REASONS_SHOWN = 3
UNSCORABLE = ("price unknown", "quality not measured")
"""What strategies say of an offer that they cannot compare."""


def nothing_eligible(
    reference: Reference, excluded: Sequence[Exclusion], offers: Sequence[Offer], *, wait_s: float
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
    if any(reason.startswith(("above provider.max_price", "not free")) for reason in reasons):
        return _refusal(f"No offer of {name} is cheap enough: {shown}.{_cheapest(offers)}", param="provider.max_price")
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


def _cheapest(offers: Sequence[Offer]) -> str:
    priced = [(offer.rates.input + offer.rates.output, offer) for offer in offers if offer.rates is not None]
    if not priced:
        return " None of them has a known price."
    _, offer = min(priced, key=lambda each: (each[0], each[1].id))
    assert offer.rates is not None
    prompt, completion = usd_text(offer.rates.input * 10**6), usd_text(offer.rates.output * 10**6)
    return f" The cheapest is {offer.id} at {prompt} USD prompt, {completion} USD completion per million tokens."


def _refusal(message: str, *, status: int = 400, code: str = "bad_request", param: str) -> RequestError:
    return RequestError(message, status=status, code=code, type="invalid_request_error", param=param)
