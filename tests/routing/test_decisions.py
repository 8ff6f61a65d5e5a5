"""Decisions that routers get wrong: each told as what happens, on the router as it ships."""

from __future__ import annotations

from clawbench.routing.settings import RoutingSettings
from tests.lab import offer
from tests.routing.test_router import decide
from tests.routing.world import Behaviour, World, failing, hanging, steady

STRICT = RoutingSettings(exploration=0)


def test_1_a_free_offer_beside_a_paid_one_is_taken_for_its_price() -> None:
    assert decide([offer("paid"), offer("free", price=(0, 0))], ("price",), settings=STRICT).chosen == "free/m"


def test_3_two_equal_prices_share_the_picks() -> None:
    world = World({"a/m": steady(0.5), "b/m": steady(0.5)}, [offer("a"), offer("b")], model="m@price")
    assert 40 <= world.send(100, every_s=1.0)["a/m"] <= 60


def test_4_an_offer_without_a_sample_is_judged_by_time_to_first_token_like_the_others() -> None:
    seen = World(
        {"a/m": steady(0.3), "b/m": steady(2.0)}, [offer("a", ttft_s=0.3, rate=250), offer("b", ttft_s=2.0, rate=20)],
        settings=STRICT,
    )  # fmt: skip
    assert seen.send(100, every_s=1.0)["a/m"] >= 98


def test_5_one_timeout_costs_an_offer_its_lead_not_its_life() -> None:
    once = iter([("timeout_first", 10.0)])
    equals = [offer("a", ttft_s=0.5), offer("b", ttft_s=0.5)]
    world = World({"a/m": steady(0.5), "b/m": lambda at_s, in_flight: next(once, ("ok", 0.5))}, equals)
    while "b/m" not in world.chosen:
        world.send(1, every_s=0.5)
    after = world.send(500, every_s=0.5)
    assert 0 < after["b/m"] < 260
    world.send(400, every_s=0.5)
    assert world.chosen[-200:].count("b/m") >= 60, "minutes later it is one of two equals again"


def test_6_a_new_offer_gets_at_most_two_requests_before_its_first_answer() -> None:
    known = World(
        {"a/m": steady(0.5), "new/m": hanging(timeout_s=1e6)}, [offer("a", ttft_s=0.5), offer("new", ttft_s=0.1)]
    )
    known.router.estimates.restore(
        {"version": 1, "offers": {"a/m": {"failed": [10.0, 0.0, 0.0], "ttft": [10.0, -6.9, 4.8]}}}, at_s=0.0
    )
    assert known.send(200, every_s=0.05)["new/m"] <= 2


def test_two_hundred_at_once_send_at_most_two_to_a_cold_offer() -> None:
    world = World({"a/m": steady(0.5), "cold/m": steady(0.5)}, [offer("a"), offer("cold")])
    warm = [name for name in ("a/m",) for _ in range(3)]
    for name in warm:
        lease = world.router.dispatched(name, at_s=0.0, expires_s=60.0)
        world.router.finished(
            lease, at_s=0.5, outcome="ok", elapsed_s=0.5, ttft_s=0.5, token_rate=50.0, output_tokens=100
        )
    world.at_s = 1.0
    assert world.send(200, every_s=0.0)["cold/m"] <= 2


def cold_offers(tags: str, cheap: Behaviour) -> World:
    """A cheap offer beside a dear one, and nothing has answered yet."""
    behaviours = {"cheap/m": cheap, "dear/m": steady(0.5)}
    offers = [offer("dear", price=(30, 30)), offer("cheap")]
    return World(behaviours, offers, model=f"m@{tags}", settings=STRICT)


def test_price_alone_pays_no_more_while_nothing_has_answered_yet() -> None:
    assert cold_offers("price", steady(5.0)).send(60, every_s=0.1) == {"cheap/m": 60}


def test_where_seconds_count_cold_offers_share_until_one_has_answered() -> None:
    first = cold_offers("price@latency", hanging(timeout_s=60.0)).send(20, every_s=0.0)
    assert first["dear/m"] >= 2, first


def test_price_alone_leaves_a_cold_offer_that_hangs() -> None:
    world = cold_offers("price", hanging(timeout_s=60.0))
    world.send(100, every_s=0.1)
    later = world.send(200, every_s=0.1)
    assert later["cheap/m"] <= 1, "ten seconds of silence are a hang, also for who asks for no speed"


def test_price_alone_sends_at_most_two_to_a_new_cheap_offer_while_a_proven_one_has_room() -> None:
    world = cold_offers("price", hanging(timeout_s=1e6))
    lease = world.router.dispatched("dear/m", at_s=0.0, expires_s=60.0)
    world.router.finished(lease, at_s=0.5, outcome="ok", elapsed_s=0.5, ttft_s=0.5, token_rate=50.0, output_tokens=100)
    world.at_s = 1.0
    assert world.send(200, every_s=0.05)["cheap/m"] == 2


def test_a_hanging_offer_is_left_after_a_few_requests() -> None:
    world = World({"a/m": steady(0.6), "hangs/m": hanging()}, [offer("a", ttft_s=0.6), offer("hangs", ttft_s=0.3)])
    assert world.send(600, every_s=0.25)["hangs/m"] <= 40
    assert world.chosen[-200:].count("hangs/m") <= 6


def test_an_offer_that_fails_fast_is_not_fast() -> None:
    world = World({"a/m": steady(0.6), "fails/m": failing()}, [offer("a", ttft_s=0.6), offer("fails", ttft_s=0.3)])
    world.send(400, every_s=0.25)
    assert world.chosen[-200:].count("fails/m") <= 10


def test_a_healed_offer_has_its_share_again_within_two_hundred_requests() -> None:
    equals = [offer("a", ttft_s=0.5), offer("heals", ttft_s=0.5)]
    world = World({"a/m": steady(0.5), "heals/m": failing(until_s=60.0, then_s=0.5)}, equals)
    world.send(240, every_s=0.25)
    world.rest(70.0)
    healed = world.send(200, every_s=0.25)
    assert healed["heals/m"] >= 0.8 * 100, "half of 200 would be fair between two equals"


def test_offers_behind_one_quota_rest_together() -> None:
    shared = [offer("x", quota="q"), offer("y", quota="q"), offer("z", ttft_s=5.0)]
    world = World({"x/m": steady(0.5), "y/m": steady(0.5), "z/m": steady(5.0)}, shared)
    lease = world.router.dispatched("x/m", at_s=0.0, expires_s=60.0)
    world.router.finished(lease, at_s=0.1, outcome="rate_limited", retry_after_s=30.0, elapsed_s=0.1)
    world.at_s = 0.2
    assert set(world.send(50, every_s=0.5)) == {"z/m"}
    world.rest(10.0)
    assert {"x/m", "y/m"} & set(world.send(50, every_s=0.5)), "the quota's rest is over"


def test_a_retry_after_is_kept_to_the_second() -> None:
    world = World(
        {"a/m": steady(9.0), "b/m": steady(0.1)}, [offer("a", ttft_s=9.0), offer("b", ttft_s=0.1)], settings=STRICT
    )
    lease = world.router.dispatched("b/m", at_s=0.0, expires_s=60.0)
    world.router.finished(lease, at_s=0.0, outcome="rate_limited", retry_after_s=12.0, elapsed_s=0.1)
    assert set(world.send(11, every_s=1.0)) == {"a/m"}
    assert world.send(2, every_s=1.0)["b/m"] == 2


def test_a_half_open_breaker_lets_one_probe_through_at_a_time() -> None:
    world = World({"a/m": steady(0.5), "b/m": failing(fails_after_s=0.01)}, [offer("a"), offer("b")])
    world.send(60, every_s=0.25)
    world.behaviours["b/m"] = hanging(timeout_s=30.0)
    world.rest(120.0)
    before = len(world.chosen)
    world.send(40, every_s=0.05)
    assert world.chosen[before:].count("b/m") == 1


def test_load_spreads_over_equals_instead_of_herding() -> None:
    names = [f"o{number}" for number in range(4)]
    world = World({f"{name}/m": steady(1.0) for name in names}, [offer(name) for name in names])
    counts = world.send(400, every_s=0.02)
    assert max(counts.values()) <= 1.4 * min(counts.values())
