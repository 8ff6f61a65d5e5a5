"""The router: filters the offers of a reference, scores them by the strategy, picks one, and says why.

Deterministic but for one keyed draw among equals, whose probability is part of the decision. The estimates
are fed by the gateway through `dispatched` and `finished`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from clawbench.catalog.catalog import Catalog
from clawbench.errors import RequestError
from clawbench.rng import Draws
from clawbench.routing.estimates import Estimates
from clawbench.routing.reference import Reference, resolve
from clawbench.routing.strategies import STRATEGIES, Strategy, by_tags
from clawbench.types import Decision, Exclusion, Offer, OfferState, RequestShape


class Router:
    """One gateway's router. `ineligible` names offers that can never serve, with the reason."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        default_strategy: str = "price",
        estimates: Estimates | None = None,
        ineligible: Mapping[str, str] | None = None,
    ) -> None:
        self.catalog = catalog
        self.default = STRATEGIES[default_strategy]
        self.estimates = estimates or Estimates(catalog.offers_of())
        self._ineligible = dict(ineligible or {})
        self._everything = catalog.offers_of()

    def reference(self, model: str) -> Reference:
        """What the client's model string means; raises `RequestError` for what is unknown."""
        return resolve(model, self.catalog)

    def decide(
        self,
        reference: Reference,
        request: RequestShape,
        *,
        at_s: float,
        draw: Callable[[], Draws],
        tried: Collection[str] = (),
    ) -> Decision:
        """The offer for the next attempt, those in `tried` left out.

        `draw` opens the stream that breaks ties; it is not opened where there are none. Raises `RequestError`
        that names the binding reason when nothing is left.
        """
        strategy = by_tags(reference.tags) if reference.tags else self.default
        states, scores, excluded = self._score(strategy, reference, request, at_s=at_s, tried=tried)
        if not states:
            raise _nothing_eligible(reference, excluded)
        best = min(scores)
        equals = [index for index, score in enumerate(scores) if score <= best * (1 + 1e-12)] if best >= 0 else []
        if len(equals) <= 1:
            chosen, propensity = scores.index(best), 1.0
        else:
            chosen, propensity = equals[draw().below(len(equals))], 1.0 / len(equals)
        return Decision(
            strategy=strategy.name,
            t_s=at_s,
            candidates=tuple(state.offer.id for state in states),
            scores=tuple(scores),
            in_flight=tuple(state.in_flight for state in states),
            excluded=tuple(excluded),
            chosen=states[chosen].offer.id,
            propensity=propensity,
        )

    def _score(
        self, strategy: Strategy, reference: Reference, request: RequestShape, *, at_s: float, tried: Collection[str]
    ) -> tuple[list[OfferState], list[float], list[Exclusion]]:
        states: list[OfferState] = []
        scores: list[float] = []
        excluded: list[Exclusion] = []
        for offer in reference.model.offers if reference.model else self._everything:
            reason = "already tried" if offer.id in tried else self._exclusion(offer, request)
            if reason is None:
                state = self.estimates.state(offer.id, at_s=at_s)
                score = strategy.score(request, state)
                if score is not None:
                    states.append(state)
                    scores.append(score)
                    continue
                reason = strategy.unscorable
            excluded.append(Exclusion(offer.id, reason))
        return states, scores, excluded

    def _exclusion(self, offer: Offer, request: RequestShape) -> str | None:
        """Why this offer cannot serve this request at all; None if it can."""
        if offer.id in self._ineligible:
            return self._ineligible[offer.id]
        if offer.capabilities is not None and not request.needs <= offer.capabilities:
            return "cannot do " + ", ".join(sorted(request.needs - offer.capabilities))
        if offer.context_window is not None and request.prompt_tokens > offer.context_window:
            return f"context window {offer.context_window} tokens, prompt about {request.prompt_tokens}"
        return None


def _nothing_eligible(reference: Reference, excluded: list[Exclusion]) -> RequestError:
    """The error for a request that no offer can serve, naming the reason that binds."""
    name = f'"{reference.model.id}"' if reference.model else "any model"
    reasons = sorted({exclusion.reason for exclusion in excluded})
    shown = "; ".join(reasons[:3]) + ("; …" if len(reasons) > 3 else "")
    if reasons and all(reason.startswith("context window") for reason in reasons):
        return RequestError(
            f"The prompt is too long for {name}: {shown}.",
            status=400,
            code="context_length_exceeded",
            type="invalid_request_error",
            param="messages",
        )
    if reasons and all(reason.startswith("cannot do") for reason in reasons):
        return RequestError(
            f"No offer of {name} has what the request needs: {shown}.",
            status=400,
            code="unsupported_parameter",
            type="invalid_request_error",
            param="model",
        )
    return RequestError(
        f"No offer of {name} can serve this request: {shown or 'it has none'}.",
        status=404,
        code="model_not_found",
        type="invalid_request_error",
        param="model",
    )
