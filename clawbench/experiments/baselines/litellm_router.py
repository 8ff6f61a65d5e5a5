"""LiteLLM's own routing strategies, as they are installed, picking among our offers. The one file that drives them.

Each is built by `litellm.Router` from a model list of our offers, so prices and limits go through its own registration;
its selector's own functions pick and are told what came of it. Its memory runs on the given clock (the cache takes one;
the selectors' modules read `datetime.now` and `random`, which are ours while they run), so all five strategies run in
virtual time and draw reproducibly. Not LiteLLM's in this comparison: its cooldowns and retries (who is eligible,
breakers and fallback are the gateway's for every strategy alike), and prompt sizes in its tokens-per-minute limits.
LiteLLM is imported when the first balancer is built.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from clawbench.catalog.catalog import Catalog
from clawbench.money import PICO
from clawbench.rng import Draws
from clawbench.routing.state import OfferState
from clawbench.types import Offer, RequestShape
from clawbench.wires.litellm_bridge_import import import_litellm, sealed

LITELLM_STRATEGIES: Final[dict[str, tuple[str, str, str]]] = {
    "litellm:shuffle": ("simple-shuffle", "", "simple_shuffle"),
    "litellm:busy": ("least-busy", "leastbusy_logger", "least_busy"),
    "litellm:latency": ("latency-based-routing", "lowestlatency_logger", "lowest_latency"),
    "litellm:cost": ("cost-based-routing", "lowestcost_logger", "lowest_cost"),
    "litellm:usage": ("usage-based-routing", "lowesttpm_logger", "lowest_tpm_rpm"),
}
"""Our name → (LiteLLM's name, the router's attribute that holds the selector, the selector's module)."""

GROUP: Final = "offers"
"""The one model group: offers of a model are told apart by the gateway's filter, not by LiteLLM."""

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
TIMEOUTS: Final = frozenset({"timeout_first", "timeout_attempt", "timeout_total", "timeout_idle"})


class LiteLLMBalancer:
    """One of LiteLLM's strategies. Has no score to show: 0 for every offer in the records."""

    unscorable = ""
    plain = True
    patient = False

    def __init__(self, name: str, catalog: Catalog) -> None:
        self.name = name
        strategy, attribute, module = LITELLM_STRATEGIES[name]
        self._litellm = import_litellm()
        self._now_s = 0.0
        with sealed():
            router = self._litellm.Router(
                model_list=[deployment(offer) for offer in catalog.offers_of()], routing_strategy=strategy
            )
            self._module = importlib.import_module(f"litellm.router_strategy.{module}")
        self._deployments = {each["model_info"]["id"]: each for each in router.model_list}
        self._selector: Any = getattr(router, attribute) if attribute else None
        if self._selector is not None:
            self._selector.router_cache = self._cache()
            # It listens to all calls that litellm makes in this process; ours do not go through litellm.
            if self._selector in self._litellm.callbacks:
                self._litellm.callbacks.remove(self._selector)

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        return 0.0

    def error(self, state: OfferState) -> float:
        return 0.0

    def pick(
        self,
        request: RequestShape,
        states: Sequence[OfferState],
        scores: Sequence[float],
        *,
        at_s: float,
        draw: Callable[[], Draws],
    ) -> tuple[int, float]:
        """What LiteLLM picks; the first offer where its limits leave none."""
        chance = _Chance(draw)
        healthy = [self._deployments[state.offer.id] for state in states]
        with self._given(at_s, chance):
            picked = self._picked(healthy, {"stream": request.stream, "metadata": {}})
        if picked is None:
            return 0, 1.0
        ids = [state.offer.id for state in states]
        return ids.index(picked["model_info"]["id"]), chance.probability

    def dispatched(self, offer_id: str, *, at_s: float) -> None:
        """What LiteLLM's router hears before a call."""
        if self.name == "litellm:busy":
            with self._given(at_s, None):
                self._selector.log_pre_api_call("", [], self._told(offer_id, {}))

    def finished(self, offer_id: str, *, at_s: float, outcome: str, seen: Mapping[str, Any]) -> None:
        """What LiteLLM's router hears after a call."""
        if self._selector is None:
            return
        elapsed_s = seen.get("elapsed_s") or 0.0
        start, end = EPOCH + timedelta(seconds=at_s - elapsed_s), EPOCH + timedelta(seconds=at_s)
        told = self._told(offer_id, seen)
        with self._given(at_s, None):
            if outcome == "ok":
                if seen.get("ttft_s") is not None:
                    told["completion_start_time"] = start + timedelta(seconds=seen["ttft_s"])
                _driven(self._selector.async_log_success_event(told, self._response(seen), start, end))
            else:
                if outcome in TIMEOUTS:
                    told["exception"] = self._litellm.Timeout(message=outcome, model="", llm_provider="openai")
                _driven(self._selector.async_log_failure_event(told, None, start, end))

    def _picked(self, healthy: list[dict[str, Any]], kwargs: dict[str, Any]) -> Any:
        if self._selector is None:
            return self._module.simple_shuffle(lambda model: None, healthy, GROUP, kwargs)
        if self.name == "litellm:busy":
            return self._selector.get_available_deployments(GROUP, healthy)
        if self.name == "litellm:cost":
            return _driven(self._selector.async_get_available_deployments(GROUP, healthy, request_kwargs=kwargs))
        if self.name == "litellm:usage":
            return self._selector.get_available_deployments(GROUP, healthy)
        return self._selector.get_available_deployments(GROUP, healthy, request_kwargs=kwargs)

    def _told(self, offer_id: str, seen: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "stream": bool(seen.get("stream", False)),
            "litellm_params": {"metadata": {"model_group": GROUP}, "model_info": {"id": offer_id}},
        }

    def _response(self, seen: Mapping[str, Any]) -> Any:
        output, prompt = seen.get("output_tokens") or 0, seen.get("prompt_tokens") or 0
        usage = self._litellm.Usage(prompt_tokens=prompt, completion_tokens=output, total_tokens=prompt + output)
        return self._litellm.ModelResponse(usage=usage)

    def _cache(self) -> Any:
        caching = importlib.import_module("litellm.caching.caching")
        return caching.DualCache(in_memory_cache=caching.InMemoryCache(clock=lambda: self._now_s))

    @contextmanager
    def _given(self, at_s: float, chance: _Chance | None) -> Iterator[None]:
        """Our clock and our chance in place of those that the selector's module reads."""
        self._now_s = at_s
        given = {"datetime": _Clock(at_s), "random": chance}
        found = {name: getattr(self._module, name) for name in given if hasattr(self._module, name)}
        for name in found:
            setattr(self._module, name, given[name])
        try:
            yield
        finally:
            for name, value in found.items():
                setattr(self._module, name, value)


class _Clock:
    """As much of `datetime` as the selectors use."""

    def __init__(self, at_s: float) -> None:
        self._at_s = at_s

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._at_s)


class _Chance:
    """As much of `random` as the selectors use, from one keyed stream; remembers how likely the last choice was."""

    def __init__(self, draw: Callable[[], Draws]) -> None:
        self._draw = draw
        self._opened: Random | None = None
        self.probability = 1.0

    @property
    def _random(self) -> Random:
        if self._opened is None:
            self._opened = Random(self._draw().below(2**53))
        return self._opened

    def choice(self, among: Sequence[Any]) -> Any:
        self.probability = 1.0 / len(among)
        return self._random.choice(among)

    def choices(self, among: Sequence[Any], weights: Sequence[float]) -> list[Any]:
        place = self._random.choices(range(len(among)), weights=weights)[0]
        self.probability = weights[place] / sum(weights)
        return [among[place]]

    def sample(self, among: Sequence[Any], count: int) -> list[Any]:
        return self._random.sample(among, count)


def deployment(offer: Offer) -> dict[str, Any]:
    """An offer as an entry of LiteLLM's model list; what is not known is not said."""
    params: dict[str, Any] = {
        "model": f"openai/{offer.upstream_model}",
        "api_base": offer.base_url,
        "api_key": "unused",
        "rpm": offer.requests_per_minute,
        "tpm": offer.tokens_per_minute,
    }
    if offer.rates is not None:
        params["input_cost_per_token"] = offer.rates.input / PICO
        params["output_cost_per_token"] = offer.rates.output / PICO
    known = {key: value for key, value in params.items() if value is not None}
    return {"model_name": GROUP, "litellm_params": known, "model_info": {"id": offer.id}}


def _driven(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits, as these do without a Redis."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("LiteLLM's selector waits for something; it cannot run in virtual time")
