"""The decision table: which ending of a request leads to which outcome, who pays, and what becomes of the hold."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from clawbench.billing.charge import Served, terms
from clawbench.billing.outcomes import Bill, Ending, Hold, decide
from clawbench.billing.price_book import PriceBook, Tariff
from clawbench.errors import UpstreamError
from clawbench.money import PICO
from clawbench.schema import OUTCOMES
from clawbench.usage.buckets import Buckets, Counted, Part

BOOK = PriceBook([Tariff(provider="p", models=("m",), rates={"uncached_input": 10**6, "output_text": 2 * 10**6})])
GOOD = Counted(normaliser="n/1", parts=(Part(Buckets(uncached_input=100, output_text=10)),))
COST = Fraction(100 * 10**6 + 10 * 2 * 10**6)


def bill(
    ending: Ending | None = None, counted: Counted = GOOD, *, hold: int = PICO, model: str = "m", **more: Any
) -> Bill:
    served = Served(provider="p", model=model, at_s=0)
    return decide(ending or Ending(), counted, BOOK, served, terms("0.5"), Hold(pico_uat=hold, **more))


def failed(outcome: str, status: int | None = None, *, content: bool = False) -> Ending:
    error = UpstreamError("it failed", outcome=outcome, status=status)
    return Ending(status=status, error=error, has_content=content, complete=False)


def test_a_good_answer_is_charged_exactly_with_margin() -> None:
    found = bill()
    assert found.outcome == "charge"
    assert found.hold == "settled"
    assert found.cost_pico_usd == COST
    assert found.charge_pico_uat == COST * 3 // 2


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (failed("rate_limited", 429), "release"),
        (failed("upstream_5xx", 500), "release"),
        (failed("connect_error"), "release"),
        (failed("error_200", 200), "release"),
        (failed("error_event", 200), "release"),
        (failed("filtered", 400), "release_and_flag"),
        (failed("timeout_first"), "release_and_flag"),
        (failed("upstream_5xx", 504), "release"),
        (failed("reset_early", 200), "release_and_flag"),
        (failed("protocol_error", 200), "release_and_flag"),
        (Ending(blocked=True), "release_and_flag"),
    ],
)
def test_what_failed_before_content_costs_the_client_nothing(ending: Ending, outcome: str) -> None:
    missing = Counted(normaliser="n/1", missing=("usage",))
    found = bill(ending, missing, input_tokens=7)
    assert (found.outcome, found.hold, found.charge_pico_uat) == (outcome, "released", 0)
    assert (found.risk_pico_usd is not None) == (outcome == "release_and_flag")


def test_a_risk_is_the_prompt_s_estimate_at_its_price() -> None:
    missing = Counted(normaliser="n/1", missing=("usage",))
    assert bill(failed("timeout_first"), missing, input_tokens=7).risk_pico_usd == 7 * 10**6


def test_a_stream_that_broke_off_before_its_output_is_a_risk_where_it_had_counted_something() -> None:
    found = bill(failed("error_event", 200), structs.replace(GOOD, missing=("output_tokens",)), input_tokens=7)
    assert (found.outcome, found.cause) == ("release_and_flag", "may_have_billed")
    assert found.risk_pico_usd is not None
    assert found.risk_pico_usd > 7 * 10**6
    nothing = bill(failed("error_event", 200), Counted(normaliser="n/1", missing=("usage",)), input_tokens=7)
    assert (nothing.outcome, nothing.cause, nothing.risk_pico_usd) == ("release", "failed", None)


def test_every_outcome_but_a_charge_has_a_cause_to_count_by() -> None:
    missing = Counted(normaliser="n/1", missing=("usage",))
    found = [
        bill(),
        bill(failed("rate_limited", 429), missing),
        bill(Ending(blocked=True), missing),
        bill(failed("error_event", 200, content=True)),
        bill(Ending(complete=False)),
        bill(counted=missing),
        bill(counted=Counted(normaliser="n/1", refused=("a count is true",))),
        bill(model="unknown"),
        bill(counted=structs.replace(GOOD, traits=("fast",))),
        bill(hold=1),
        bill(counted=structs.replace(GOOD, reported_usd=Fraction(10**12))),
        bill(counted=structs.replace(GOOD, flags=("a sum is off",))),
        bill(hold=179_999_999),
        bill(counted=structs.replace(GOOD, rounded_usd=Fraction(1))),
    ]
    assert [each.cause for each in found] == [
        None,
        "failed",
        "prompt_blocked",
        "broke_off",
        "stream_cut",
        "usage_missing",
        "bad_usage",
        "unpriced_model",
        "unpriced_multiplier",
        "over_settle_cap",
        "overflow",
        "sums_differ",
        "above_hold",
        "rounded_cost_differs",
    ]


def test_a_provider_s_error_after_content_is_paid_by_the_platform() -> None:
    found = bill(structs.replace(failed("error_event", 200, content=True), delivered_bytes=40))
    assert (found.outcome, found.payer, found.charge_pico_uat, found.hold) == (
        "estimate_and_flag",
        "platform",
        0,
        "released",
    )
    assert found.risk_pico_usd == COST


def test_a_cut_stream_is_estimated_from_its_known_prompt_and_what_was_delivered() -> None:
    started = Counted(normaliser="n/1", parts=(Part(Buckets(uncached_input=3000)),), missing=("output_tokens",))
    ending = structs.replace(failed("truncated", 200, content=True), delivered_bytes=9)
    found = bill(ending, started)
    assert (found.outcome, found.payer, found.estimated) == ("estimate_and_flag", "client", True)
    assert found.cost_pico_usd == 3000 * 10**6 + 3 * 2 * 10**6


def test_without_any_usage_the_admission_s_estimate_is_charged_and_never_more_than_the_hold() -> None:
    missing = Counted(normaliser="n/1", missing=("usage",))
    assert bill(Ending(delivered_bytes=4), missing, input_tokens=50).cost_pico_usd == 52 * 10**6
    assert bill(Ending(delivered_bytes=4), missing, input_tokens=50, hold=1000).charge_pico_uat == 1000


def test_what_was_refused_or_has_no_price_waits_for_somebody_to_look() -> None:
    for found in (bill(counted=Counted(normaliser="n/1", refused=("a count is true",))), bill(model="unknown")):
        assert (found.outcome, found.hold, found.charge_pico_uat) == ("quarantine", "open", None)
        assert found.reasons


@pytest.mark.parametrize(
    ("hold", "outcome"),
    [
        (180_000_000, "charge"),
        (179_999_999, "charge_and_flag"),
        (45_000_000, "charge_and_flag"),
        (44_999_999, "quarantine"),
    ],
)
def test_more_than_the_hold_is_flagged_and_more_than_four_times_it_is_not_believed(hold: int, outcome: str) -> None:
    assert bill(hold=hold).outcome == outcome


def test_an_exact_cost_of_the_provider_s_is_the_basis_and_ours_stands_beside() -> None:
    found = bill(counted=structs.replace(GOOD, reported_usd=Fraction("0.0001"), flags=("a sum is off",)))
    assert found.outcome == "charge_provider_reported"
    assert found.cost_pico_usd == 10**8
    assert found.charge_pico_uat == 15 * 10**7
    assert found.recomputed_pico_usd == COST
    assert found.difference == "differs"
    assert (
        bill(counted=structs.replace(GOOD, reported_usd=Fraction(1, 10**6)), model="unknown").recomputed_pico_usd
        is None
    )


@pytest.mark.parametrize(
    ("stated", "difference", "outcome"),
    [("0.00012", "equal", "charge"), ("0.0009", "rounded", "charge"), ("0.5", "differs", "charge_and_flag")],
)
def test_a_rounded_cost_of_the_provider_s_checks_ours_and_is_not_the_basis(
    stated: str, difference: str, outcome: str
) -> None:
    found = bill(counted=structs.replace(GOOD, rounded_usd=Fraction(stated)))
    assert (found.outcome, found.difference) == (outcome, difference)
    assert found.cost_pico_usd == COST


def test_an_empty_answer_that_broke_off_and_states_its_cost_is_charged_by_it() -> None:
    free = structs.replace(GOOD, reported_usd=Fraction(0))
    found = bill(failed("error_event", 200), free)
    assert (found.outcome, found.charge_pico_uat) == ("charge_provider_reported", 0)


FRACTIONS = st.one_of(st.none(), st.fractions(0, 10**9))
TEXTS = st.lists(st.just("why"), max_size=1).map(tuple)


@given(
    status=st.sampled_from([None, 200, 400, 429, 500, 504]),
    outcome=st.one_of(st.none(), st.sampled_from(OUTCOMES)),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    tokens=st.lists(st.integers(0, 10**9), min_size=12, max_size=12),
    lists=st.tuples(TEXTS, st.one_of(TEXTS, st.just(("output_tokens",))), TEXTS),
    costs=st.tuples(FRACTIONS, FRACTIONS),
    hold=st.integers(0, 10**14),
    model=st.sampled_from(["m", "unknown"]),
)
def test_every_ending_has_an_outcome_whose_charge_and_hold_fit_it(
    status: int | None,
    outcome: str | None,
    flags: tuple[bool, bool, bool],
    tokens: list[int],
    lists: tuple[tuple[str, ...], ...],
    costs: tuple[Fraction | None, Fraction | None],
    hold: int,
    model: str,
) -> None:
    error = None if outcome is None else UpstreamError("x", outcome=outcome, status=status)
    ending = Ending(status=status, error=error, has_content=flags[0], complete=flags[1], blocked=flags[2])
    counted = Counted(
        normaliser="n/1",
        parts=(Part(Buckets(*tokens)),),
        refused=lists[0],
        missing=lists[1],
        flags=lists[2],
        reported_usd=costs[0],
        rounded_usd=costs[1],
    )
    found = bill(ending, counted, hold=hold, model=model)
    assert (found.charge_pico_uat is None) == (found.outcome == "quarantine") == (found.hold == "open")
    assert found.charge_pico_uat is None or 0 <= found.charge_pico_uat <= 4 * hold
    if found.outcome == "estimate_and_flag":
        assert found.charge_pico_uat is not None
        assert found.charge_pico_uat <= hold
    if found.hold == "released":
        assert found.charge_pico_uat == 0
    if found.outcome.endswith("flag") or found.outcome == "quarantine":
        assert found.reasons
        assert found.cause
