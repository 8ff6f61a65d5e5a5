"""Snapshots of estimates: what a gateway that starts warm knows, and what it refuses to believe."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UsageError
from clawbench.routing.estimates import Estimates
from tests.lab import offer

OFFERS = [offer("a", ttft_s=0.5), offer("b", ttft_s=0.5, price=(2, 2)), offer("c", model="other")]
seen = st.lists(
    st.tuples(
        st.sampled_from(["a/m", "b/m", "c/other"]),
        st.booleans(),
        st.integers(1, 20_000),
        st.floats(0.01, 20),
        st.sampled_from(["ok", "ok", "timeout_first", "upstream_5xx"]),
    ),
    max_size=40,
)


def lived(history: list[tuple[str, bool, int, float, str]], *, every_s: float = 0.5) -> tuple[Estimates, float]:
    estimates, at_s = Estimates(OFFERS), 0.0
    for name, stream, tokens, ttft_s, outcome in history:
        at_s += every_s
        answered: dict[str, Any] = (
            {"ttft_s": ttft_s, "token_rate": 40 / ttft_s, "output_tokens": tokens % 300, "cached_share": 0.25}
            if outcome == "ok"
            else {"cost_pico_usd": 7}
        )
        lease = estimates.dispatched(name, at_s=at_s)
        estimates.finished(
            name, lease, at_s=at_s, outcome=outcome, stream=stream, prompt_tokens=tokens, elapsed_s=ttft_s, **answered
        )
    return estimates, at_s


def beliefs(estimates: Estimates, at_s: float) -> list[float]:
    found: list[float] = []
    for each in OFFERS:
        for stream in (True, False):
            for tokens in (10, 1_000, 5_000, 10_000):
                state = estimates.state(each.id, at_s=at_s, stream=stream, prompt_tokens=tokens)
                found += [state.ttft_s, state.token_rate, state.output_tokens, state.cached_share, state.failure_share]
                found += [state.failed_cost, state.log_ttft_error, state.samples, state.sampled_in_flight]
        found += [estimates.ttft_quantile(each.id, share) or 0.0 for share in (0.5, 0.95)]
    return found


@given(seen, st.floats(0, 1e6))
def test_a_gateway_that_starts_warm_believes_what_the_other_one_did(
    history: list[tuple[str, bool, int, float, str]], starts_s: float
) -> None:
    old, at_s = lived(history)
    written = json.loads(json.dumps(old.snapshot(at_s=at_s)))
    new = Estimates(OFFERS)
    assert new.restore(written, at_s=starts_s) == len(OFFERS)
    assert beliefs(new, starts_s) == pytest.approx(beliefs(old, at_s), rel=1e-6)


def test_what_is_old_has_faded_but_is_worth_some_samples() -> None:
    old, at_s = lived([("a/m", True, 100, 3.0, "ok")] * 60)
    believed = {}
    for age_s in (0.0, 60.0, 86_400.0):
        new = Estimates(OFFERS)
        new.restore(old.snapshot(at_s=at_s), at_s=0.0, age_s=age_s)
        state = new.state("a/m", at_s=0.0, prompt_tokens=100)
        believed[age_s] = (state.samples, state.ttft_s)
    samples, ttfts = zip(*believed.values(), strict=True)
    assert samples[0] > 30 > samples[1] == pytest.approx(samples[0] / 2)
    assert samples[2] == pytest.approx(5.0)
    assert ttfts[0] > ttfts[1] > ttfts[2] > 1.0, "the profile says 0.5"


def test_a_warm_offer_is_not_cold_and_an_unknown_one_stays_so() -> None:
    old, at_s = lived([("a/m", True, 100, 3.0, "ok")] * 5)
    kept = old.snapshot(at_s=at_s)
    kept["offers"]["gone/m"] = kept["offers"]["a/m"]
    new = Estimates(OFFERS)
    assert new.restore(kept, at_s=0.0) == len(OFFERS)
    assert (new.answers("a/m"), new.answers("b/m")) == (1, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"version": 99, "offers": {}},
        {"version": 1},
        {"version": 1, "offers": {"a/m": {"ttft": [1, 2]}}},
        {"version": 1, "offers": {"a/m": {"ttft": [float("nan"), 0, 0]}}},
        {"version": 1, "offers": {"a/m": {"ttft": [-1, 0, 0]}}},
        {"version": 1, "offers": {"a/m": {"kinds": [{}]}}},
        {"version": 1, "offers": {"a/m": 3}},
        "text",
    ],
)
def test_what_is_no_snapshot_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="estimates"):
        Estimates(OFFERS).restore(wrong, at_s=0.0)
