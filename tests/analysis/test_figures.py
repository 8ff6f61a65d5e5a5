"""Formulas, tables and intervals, on rows small enough to check by hand."""

from __future__ import annotations

import polars as pl
import pytest

from clawbench.analysis import metrics
from clawbench.analysis.dominance import dominance, dominated_by
from clawbench.analysis.intervals import half_width, paired, t_quantile
from clawbench.analysis.metrics import SLO
from clawbench.analysis.tables import offers_chosen, outcome_shares, status_shares, summary
from tests.analysis.made_run import Row, attempt, frame, request


def figure(expression: pl.Expr, *rows: Row) -> list[object]:
    return frame("requests", rows).select(expression.alias("x"))["x"].to_list()


def test_times_count_from_the_scheduled_instant() -> None:
    late = request(t_scheduled_s=1.0, t_arrival_s=3.0, t_first_token_s=3.5, t_end_s=5.0)
    assert figure(metrics.ttft_s(), late) == [2.5]
    assert figure(metrics.e2e_s(), late) == [4.0]


def test_what_was_not_streamed_has_no_ttft_and_no_rate() -> None:
    whole = request(stream=False, t_first_token_s=None, t_last_token_s=None)
    assert figure(metrics.ttft_s(), whole) == [None]
    assert figure(metrics.token_rate(), whole) == [None]


def test_the_first_token_is_no_part_of_the_token_rate() -> None:
    assert figure(metrics.tpot_s(), request(output_tokens=16)) == [1.5 / 15]
    assert figure(metrics.token_rate(), request(output_tokens=16)) == [10.0]
    assert figure(metrics.tpot_s(), request(output_tokens=1)) == [None]
    assert figure(metrics.token_rate(), request(t_last_token_s=0.5)) == [None], "all tokens in one piece"


def test_a_figure_that_applies_and_is_unknown_does_not_meet_its_limit() -> None:
    slo = SLO(ttft_s=1.0, e2e_s=3.0)
    assert figure(metrics.meets(slo), request()) == [True]
    assert figure(metrics.meets(slo), request(t_first_token_s=None)) == [False]
    assert figure(metrics.meets(slo), request(t_end_s=3.5)) == [False]
    assert figure(metrics.meets(slo), request(status="failed")) == [False]
    assert figure(metrics.meets(slo), request(stream=False, t_first_token_s=None)) == [True]
    with pytest.raises(ValueError, match="above 0"):
        SLO(ttft_s=0)


def test_costs_add_up_beyond_64_bits_and_the_unknown_is_left_out() -> None:
    huge = [request(f"c-{n}", cost_pico_usd=2**62) for n in range(8)]
    table = summary(frame("requests", huge))
    assert table["cost_per_1000_usd"].item() == pytest.approx(1000 * 2**62 / 1e12)
    some = [request("c-0", cost_pico_usd=3_000_000), request("c-1", cost_pico_usd=None)]
    table = summary(frame("requests", some))
    assert table["cost_per_1000_usd"].item() == pytest.approx(1000 * 3e-6)
    assert table["cost_known_share"].item() == 0.5
    none = summary(frame("requests", [request(cost_pico_usd=None)]))
    assert none["cost_per_1000_usd"].item() is None


def test_quantiles_are_over_ok_requests_and_ttft_over_streamed_ones() -> None:
    rows = [request(f"c-{n}", t_first_token_s=float(n), t_end_s=float(n)) for n in range(1, 5)]
    rows += [request("c-9", status="failed", t_first_token_s=99.0, t_end_s=99.0)]
    rows += [request("c-8", stream=False, t_first_token_s=None, t_end_s=2.5)]
    table = summary(frame("requests", rows))
    assert table["ttft_s_p50"].item() == 2.5
    assert table["ttft_requests"].item() == 4
    assert table["e2e_s_p50"].item() == 2.5
    assert table["ok_share"].item() == pytest.approx(5 / 6)


def test_shares_of_match_and_timing_are_over_answers_and_a_lone_source_is_marked() -> None:
    requests = [request(f"c-{n}") for n in range(4)]
    attempts = [
        attempt("c-0", interaction="a.yaml#0"),
        attempt("c-1", interaction="a.yaml#0", match="nearest", timing="profile"),
        attempt("c-2", interaction="b.yaml#0"),
        attempt("c-3", match=None, timing=None, interaction=None, outcome="no_recording"),
    ]
    table = summary(frame("requests", requests), frame("attempts", attempts))
    assert table["answers"].item() == 3
    assert table["unanswered"].item() == 1
    assert table["match_nearest"].item() == pytest.approx(1 / 3)
    assert table["timing_profile"].item() == pytest.approx(1 / 3)
    assert (table["top_interaction"].item(), table["one_interaction"].item()) == ("a.yaml#0", True)


@pytest.mark.parametrize(("answers", "marked"), [(5, False), (4, True)])
def test_more_than_a_fifth_from_one_recording_is_marked(answers: int, marked: bool) -> None:
    requests = [request(f"c-{n}") for n in range(answers)]
    attempts = [attempt(f"c-{n}", interaction=f"a.yaml#{n}") for n in range(answers)]
    assert summary(frame("requests", requests), frame("attempts", attempts))["one_interaction"].item() is marked


def test_a_run_without_requests_gives_an_empty_table() -> None:
    assert summary(frame("requests", []), frame("attempts", [])).is_empty()


def test_rows_can_be_grouped_by_what_is_declared_only() -> None:
    with pytest.raises(ValueError, match="can be grouped by"):
        summary(frame("requests", [request()]), by="beauty")


def test_statuses_outcomes_and_offers_are_counted_with_their_shares() -> None:
    requests = frame("requests", [request("c-0"), request("c-1", status="failed"), request("c-2")])
    attempts = frame(
        "attempts",
        [
            attempt("c-0", offer_id="x"),
            attempt("c-1", offer_id="y", outcome="rate_limited", t_first_token_s=None, cost_pico_usd=None),
            attempt("c-2", offer_id="x", t_dispatch_s=0.25),
        ],
    )
    assert status_shares(requests).select("status", "requests").rows() == [("ok", 2), ("failed", 1)]
    assert outcome_shares(requests, attempts).select("outcome", "attempts").rows() == [("ok", 2), ("rate_limited", 1)]
    chosen = offers_chosen(requests, attempts)
    assert chosen["offer_id"].to_list() == ["x", "y"]
    assert chosen["ttft_s_p50"].to_list() == [0.375, None]
    assert chosen["cost_usd"].to_list() == [pytest.approx(2e-6), None]


@pytest.mark.parametrize(("degrees", "t"), [(1, 12.706205), (2, 4.302653), (4, 2.776445), (30, 2.042272)])
def test_students_quantiles_are_those_of_the_printed_tables(degrees: int, t: float) -> None:
    assert t_quantile(0.95, degrees) == pytest.approx(t, abs=1e-6)


def test_one_seed_has_no_interval_and_two_have_a_wide_one() -> None:
    assert half_width([1.0]) is None
    assert half_width([1.0, None]) is None
    assert half_width([1.0, 3.0]) == pytest.approx(12.706205, abs=1e-4)


def test_differences_are_taken_seed_by_seed() -> None:
    figures = pl.DataFrame(
        {"strategy": ["base"] * 3 + ["other"] * 3, "seed": [1, 2, 3] * 2, "x": [1.0, 5.0, 9.0, 2.0, 6.0, 10.0]}
    )
    (row,) = paired(figures, ["x"], baseline="base").to_dicts()
    assert (row["difference"], row["low"], row["high"], row["seeds"]) == (1.0, 1.0, 1.0, 3), "common luck cancels out"
    with pytest.raises(ValueError, match="not in this run"):
        paired(figures, ["x"], baseline="nobody")


def test_a_strategy_is_beaten_by_one_that_is_cheaper_and_quicker_in_every_seed() -> None:
    rows: dict[str, list[tuple[float | None, float]]] = {
        "plain": [(3.0, 2.0), (4.0, 3.0), (5.0, 4.0)],
        "better": [(2.0, 1.0), (3.1, 2.1), (3.9, 2.9)],
        "cheap": [(1.0, 9.0), (1.0, 9.0), (1.0, 9.0)],
        "lucky": [(1.0, 1.0), (9.0, 1.0), (1.0, 1.0)],  # cheaper than plain on average, and by chance
        "unknown": [(None, 1.0)] * 3,
    }
    figures = pl.DataFrame(
        [
            {"strategy": name, "seed": seed, "cost_per_1000_usd": cost, "ttft_s_p95": wait}
            for name, seeds in rows.items()
            for seed, (cost, wait) in enumerate(seeds)
        ]
    )
    beaten = dominated_by(figures, list(rows))
    assert beaten == {"plain": ["better"], "better": [], "cheap": [], "lucky": [], "unknown": []}
    sheet = dominance(figures, list(rows))
    assert [(row[0], row[-1]) for row in sheet.rows][:2] == [("plain", "better"), ("better", "none")]
