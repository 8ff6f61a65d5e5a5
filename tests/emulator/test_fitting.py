"""Fits: parameters that were put in come out, the distances tell good from bad, what is too little is said so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.cassettes.store import open_store
from clawbench.cassettes.writer import write_cassette
from clawbench.config.emulator import shipped_profiles
from clawbench.emulator.fitting import OBSERVATIONS_MIN, PROBABILITIES, Fitted, fit, fit_all
from clawbench.emulator.making import made
from clawbench.emulator.observations import Observation, is_latencies, of_attempts, of_cassettes, of_file
from clawbench.emulator.profiles import Profile, factor_at
from clawbench.emulator.specs import drawn_provider
from clawbench.errors import UsageError
from clawbench.rng import draws
from clawbench.wires import WIRES
from tests.emulator.made import PLAIN, PROMPTS, offer, spec


def drawn(profile: Profile, count: int, *, sizes: tuple[int, ...] = (0,), group: str = "g") -> Iterator[Observation]:
    """Observations drawn from a profile."""
    for index in range(count):
        luck = draws(7, str(index))
        tokens = sizes[index % len(sizes)]
        yield Observation(
            group=group,
            stream=True,
            prompt_tokens=tokens,
            output_tokens=100,
            ttft_s=profile.ttft_s(tokens) * factor_at(luck.random(), profile.ttft_s_sigma, profile.ttft_quantiles),
            token_rate=profile.token_rate(tokens)
            * factor_at(luck.random(), profile.token_rate_sigma, profile.token_rate_quantiles),
        )


def profile_in(fitted: Fitted) -> Profile:
    assert fitted.profile is not None
    return fitted.profile


@given(st.floats(0.05, 5.0), st.floats(0.05, 1.2), st.floats(5, 900), st.floats(0.05, 0.8))
def test_the_parameters_that_were_put_in_come_out(ttft_s: float, sigma: float, rate: float, rate_sigma: float) -> None:
    truth = Profile(ttft_s_median=ttft_s, ttft_s_sigma=sigma, token_rate_median=rate, token_rate_sigma=rate_sigma)
    fitted = fit("g", list(drawn(truth, 800)), source="drawn")
    profile = profile_in(fitted)
    assert profile.ttft_s_median == pytest.approx(ttft_s, rel=0.08 * sigma + 0.01)
    assert profile.ttft_s_sigma == pytest.approx(sigma, rel=0.1)
    assert profile.token_rate_median == pytest.approx(rate, rel=0.08 * rate_sigma + 0.01)
    assert profile.token_rate_sigma == pytest.approx(rate_sigma, rel=0.1)
    assert all(good.ks < 0.06 for good in fitted.goodness)
    assert profile.source == "drawn: 800 TTFT, 800 rates"


def test_the_share_of_the_prompt_is_told_from_the_rest() -> None:
    truth = msgspec.structs.replace(PLAIN, ttft_s_sigma=0.1, token_rate_loss_per_1k_prompt_tokens=0.08)
    profile = profile_in(fit("g", list(drawn(truth, 600, sizes=(50, 500, 4_000, 12_000))), source="drawn"))
    assert profile.ttft_s_per_1k_prompt_tokens == pytest.approx(0.1, rel=0.25)
    assert profile.token_rate_loss_per_1k_prompt_tokens == pytest.approx(0.08, rel=0.4)


def test_two_humps_are_no_log_normal_and_get_a_table() -> None:
    humps = (0.3, 0.32, 0.34, 0.36, 0.38, 1.0, 4.0, 4.2, 4.4, 4.6, 4.8)
    truth = msgspec.structs.replace(PLAIN, ttft_s_per_1k_prompt_tokens=0.0, ttft_quantiles=humps)
    fitted = fit("g", list(drawn(truth, 400)), source="drawn")
    ttft, rate = fitted.goodness
    assert (ttft.shape, rate.shape) == ("quantiles", "lognormal")
    assert ttft.ks < 0.05
    assert ttft.ks_held_out < 0.12
    assert len(profile_in(fitted).ttft_quantiles) > 20


def test_quantiles_stand_side_by_side_and_lie_close_where_the_fit_is_good() -> None:
    (good, _) = fit("g", list(drawn(PLAIN, 2_000)), source="drawn").goodness
    assert len(good.observed) == len(good.fitted) == len(PROBABILITIES)
    assert list(good.observed) == sorted(good.observed)
    for seen, laid in zip(good.observed, good.fitted, strict=True):
        assert laid == pytest.approx(seen, rel=0.15)


def test_a_bad_fit_has_a_large_distance() -> None:
    few_humps = [
        Observation(group="g", stream=True, ttft_s=value, token_rate=50 + value)
        for value in [0.1] * 40 + [10.0] * 40  # too few for a table
    ]
    (ttft, _) = fit("g", few_humps, source="x").goodness
    assert ttft.shape == "lognormal"
    assert ttft.ks > 0.3


def test_too_few_observations_are_left_out_with_the_reason() -> None:
    short = fit("g", list(drawn(PLAIN, OBSERVATIONS_MIN - 1)), source="x")
    assert short.profile is None
    assert short.left_out == ("19 times to first token; 20 are needed",)


def test_failures_are_fitted_as_shares() -> None:
    failed = [Observation(group="g", outcome=outcome) for outcome in ("rate_limited",) * 6 + ("upstream_5xx",) * 3]
    profile = profile_in(fit("g", [*drawn(PLAIN, 91), *failed], source="x"))
    assert {failure.kind: failure.share for failure in profile.failures} == {"rate_limited": 0.06, "server_error": 0.03}


def test_the_order_of_observations_is_nothing() -> None:
    observations = list(drawn(PLAIN, 300))
    forth, back = (profile_in(fit("g", each, source="x")) for each in (observations, observations[::-1]))
    assert forth == back


def test_a_profile_is_found_again_in_cassettes_that_were_made_from_it(tmp_path: Path) -> None:
    truth = msgspec.structs.replace(PLAIN, ttft_s_per_1k_prompt_tokens=0.0)
    for dialect in ("anthropic", "gemini"):
        there = offer(dialect)
        asked = [(prompt, stream) for prompt in PROMPTS for stream in (True, False)]
        interactions = made(there, drawn_provider(spec(dialect, truth)), asked, file="x.yaml", seed=5)
        write_cassette(tmp_path / f"{dialect}.yaml", interactions)
    store = open_store([tmp_path], WIRES)
    (fitted,) = fit_all(of_cassettes(store, by="offer"), source="made")
    assert fitted.group == "p/m-up", "the emulator's addresses name the provider"
    assert fitted.clock == "caller"
    profile = profile_in(fitted)
    assert profile.ttft_s_median == pytest.approx(truth.ttft_s_median, rel=0.08)
    assert profile.token_rate_median == pytest.approx(truth.token_rate_median, rel=0.08)
    assert profile.jitter_sigma == pytest.approx(truth.jitter_sigma, rel=0.3)
    assert all(good.ks < 0.08 for good in fitted.goodness)


def test_attempts_of_a_run_are_observations() -> None:
    row = {
        "offer_id": "a/m",
        "outcome": "ok",
        "t_dispatch_s": 1.0,
        "t_first_token_s": 1.5,
        "t_last_token_s": 2.5,
        "t_end_s": 2.6,
        "input_tokens": 10,
        "output_tokens": 101,
    }
    whole = row | {"t_first_token_s": 3.0, "t_last_token_s": 3.0, "t_end_s": 3.0}
    failed = row | {"outcome": "rate_limited"}
    streamed, unstreamed, refused = of_attempts(iter([row, whole, failed]), by="provider")
    assert (streamed.group, streamed.ttft_s, streamed.token_rate) == ("a", 0.5, 100.0)
    assert (unstreamed.ttft_s, unstreamed.e2e_s) == (None, 2.0)
    assert refused.outcome == "rate_limited"


def test_results_of_llmperf_are_read_with_their_errors(tmp_path: Path) -> None:
    good = {
        "error_code": None,
        "ttft_s": 0.2,
        "end_to_end_latency_s": 1.2,
        "number_output_tokens": 101,
        "number_input_tokens": 550,
    }
    path = tmp_path / "acme_70b.json"
    path.write_text(json.dumps([good, good | {"error_code": 429}]))
    assert is_latencies(path)
    first, second = of_file(path, by="offer")
    assert (first.group, first.ttft_s, first.token_rate) == ("acme/70b", 0.2, 100.0)
    assert second.outcome == "rate_limited"


@pytest.mark.parametrize("content", ["[]", "{}", "[1, 2]", "no json", '[{"a": 1}]'])
def test_a_file_without_latencies_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"odd\.json"):
        list(of_file(path, by="offer"))


def test_the_profiles_that_ship_name_their_source_and_their_numbers() -> None:
    shipped = shipped_profiles()
    assert len(shipped) >= 25
    for name, profile in shipped.items():
        assert "TTFT" in profile.source, name
        assert int(profile.source.split(": ")[1].split(" ")[0]) >= OBSERVATIONS_MIN


def test_the_profiles_that_ship_are_those_that_the_fit_gives(shared: Path) -> None:
    shipped = shipped_profiles()
    table = shared / "traces" / "provider-latency" / "latency_observations.csv.gz"
    leaderboard = shared / "traces" / "llmperf-leaderboard" / "raw_data" / "individual"
    sources = [("", [table], "provider"), ("llmperf-", sorted(leaderboard.glob("*.json")), "offer")]
    fitted = {
        prefix + each.group.replace("/", "-"): each.profile
        for prefix, paths, by in sources
        for each in fit_all(
            (seen for path in paths for seen in of_file(path, by="provider" if by == "provider" else "offer")),
            source="",
        )
        if each.profile is not None
    }
    assert set(fitted) == set(shipped) - {"ollama"}
    for name, profile in fitted.items():
        bare = msgspec.structs.replace(profile, failures=(), source="")
        assert bare == msgspec.structs.replace(shipped[name], source=""), name
