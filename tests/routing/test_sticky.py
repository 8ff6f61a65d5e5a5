"""Sticky sessions: when a conversation stays where it was, and when it goes."""

from __future__ import annotations

import msgspec
import pytest

from clawbench.catalog.catalog import Catalog
from clawbench.errors import PlanError
from clawbench.rng import draws
from clawbench.routing.router import Router
from clawbench.routing.settings import RoutingSettings
from clawbench.routing.sticky import SESSIONS_MAX, Sticky
from clawbench.types import Decision, Offer, RequestShape
from tests.lab import offer

LONG = RequestShape(prompt_tokens=10_000, max_output_tokens=100, stream=True, needs=frozenset())


def cached(of: Offer, share: float) -> Offer:
    """The offer with a price for cached tokens that is this share of the full one."""
    assert of.rates is not None
    rates = msgspec.structs.replace(of.rates, cached_input=round(of.rates.input * share))
    return msgspec.structs.replace(of, rates=rates)


CHEAP, DEAR = offer("cheap", price=(2, 2)), cached(offer("dear", price=(3, 3)), 0.1)


def router(offers: list[Offer], margin: float | None = 0.0, **more: object) -> Router:
    settings = RoutingSettings(exploration=0, sticky_margin=margin, **more)  # type: ignore[arg-type]
    return Router(Catalog(offers), settings=settings)


def decided(of: Router, *, session: str | None = "s", model: str = "m@price", at_s: float = 10.0) -> Decision:
    return of.decide(of.reference(model), LONG, at_s=at_s, draw=lambda: draws(1, "x"), session=session)


def test_a_session_stays_where_its_cache_makes_the_dearer_offer_cheaper() -> None:
    of = router([CHEAP, DEAR])
    assert decided(of).chosen == "cheap/m"
    of.sticky.served("s", "dear/m", cached_share=0.9, at_s=5.0)
    stays = decided(of)
    assert (stays.chosen, stays.propensity) == ("dear/m", 1.0), (
        "0.1 x 9,000 + 1,000 tokens at 3 are less than 10,000 at 2"
    )
    assert decided(of, session="another").chosen == "cheap/m"
    assert decided(of, session=None).chosen == "cheap/m"


def test_a_session_goes_where_nothing_was_cached_or_it_was_long_ago() -> None:
    of = router([CHEAP, DEAR], sticky_idle_s=60.0)
    of.sticky.served("s", "dear/m", cached_share=0.0, at_s=5.0)
    assert decided(of).chosen == "cheap/m"
    of.sticky.served("s", "dear/m", cached_share=0.9, at_s=5.0)
    assert decided(of, at_s=64.0).chosen == "dear/m"
    assert decided(of, at_s=65.0).chosen == "cheap/m"


def test_the_margin_says_how_much_latency_a_cache_is_worth() -> None:
    quick, slow = offer("quick", ttft_s=1.0), offer("slow", ttft_s=1.4)
    for margin, chosen in ((0.3, "quick/m"), (0.5, "slow/m")):
        of = router([quick, slow], margin)
        of.sticky.served("s", "slow/m", cached_share=0.9, at_s=5.0)
        assert decided(of, model="m@latency").chosen == chosen


def test_an_offer_that_rests_or_has_failed_keeps_no_session() -> None:
    of = router([CHEAP, DEAR])
    of.sticky.served("s", "dear/m", cached_share=0.9, at_s=5.0)
    reference = of.reference("m@price")
    assert (
        of.decide(reference, LONG, at_s=6.0, draw=lambda: draws(1, "x"), tried=["dear/m"], session="s").chosen
        == "cheap/m"
    )
    lease = of.dispatched("dear/m", at_s=6.0, expires_s=60.0)
    of.finished(lease, at_s=6.1, outcome="rate_limited", retry_after_s=30.0, elapsed_s=0.1)
    assert decided(of).chosen == "cheap/m"


def test_without_a_margin_there_are_no_sessions_and_the_oldest_are_forgotten() -> None:
    off = router([CHEAP, DEAR], None)
    off.sticky.served("s", "dear/m", cached_share=0.9, at_s=5.0)
    assert decided(off).chosen == "cheap/m"
    of = router([CHEAP, DEAR])
    for number in range(SESSIONS_MAX + 1):
        of.sticky.served(str(number), "dear/m", cached_share=0.9, at_s=5.0)
    assert decided(of, session="0").chosen == "cheap/m"
    assert decided(of, session="1").chosen == "dear/m"
    with pytest.raises(PlanError, match=r"routing.sticky_margin must be 0 or more"):
        RoutingSettings(sticky_margin=-0.1)
    assert not Sticky(RoutingSettings()).is_on
