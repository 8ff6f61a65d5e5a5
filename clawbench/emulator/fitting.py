"""Fits profiles to observed latencies, and says how well they fit.

Time to first token: a median that is linear in the prompt's tokens, and a factor around it. Time a token (the
reciprocal of the rate): the same. The slope is the one with the least sum of absolute log residuals, over a grid; the
factor is log-normal, or a table of quantiles where that fits held-out observations clearly better (half fitted, half
looked at, both ways). The fit is judged by quantiles side by side and by the Kolmogorov-Smirnov distance, over the
prompts that were observed. Nothing is drawn: the same observations give the same profile.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import exp, inf, log, sqrt
from statistics import median
from typing import Final, Literal

from msgspec import Struct

from clawbench.emulator.observations import Observation
from clawbench.emulator.profiles import Failure, FailureKind, Profile, probability_of
from clawbench.rng import draws

Shape = Literal["lognormal", "quantiles"]
Points = Sequence[tuple[float, float]]  # (prompt tokens, value above 0)

PROBABILITIES: Final = (0.5, 0.9, 0.95, 0.99)
OBSERVATIONS_MIN: Final = 20
"""Of a figure; fewer tell no distribution."""

WHOLE_TOKENS_MIN: Final = 16
"""Of an answer that was not streamed, for its end to tell a rate."""

_SLOPE_MIN: Final = 50  # observations without which no slope is fitted
_SLOPES: Final = tuple(0.01 * 1.3**step for step in range(21))  # relative growth per 1,000 tokens, up to 1.9
_SLOPE_GAIN: Final = 0.02  # of the residuals, below which there is no slope
_SLOPE_MAX_OF_RATE: Final = 0.3  # what reading a longer context costs; more is the mixture of models
_TABLE: Final = 41  # quantiles
_TABLE_ENDS: Final = 0.005  # the outermost ones: what lies beyond is one outlier or two, and drawn too often otherwise
_TABLE_MIN: Final = 100
_TABLE_GAIN: Final = 0.02  # of held-out KS distance, below which the simpler shape is kept
_SIGMA_MIN: Final = 0.02
_SIZES: Final = 40  # sizes of prompts that stand for all observed ones
_KINDS: Final[dict[str, FailureKind]] = {
    "rate_limited": "rate_limited",
    "upstream_5xx": "server_error",
    "error_event": "server_error",
    "truncated": "server_error",
}


class Law(Struct, frozen=True, kw_only=True):
    """A fitted figure: `median` for an empty prompt, its relative growth with the prompt, the factor around it."""

    median: float
    growth_per_1k: float
    sigma: float
    quantiles: tuple[float, ...] = ()

    def at(self, prompt_tokens: float) -> float:
        """The median for a prompt of so many tokens."""
        return self.median * (1 + self.growth_per_1k * prompt_tokens / 1000)


class Goodness(Struct, frozen=True, kw_only=True):
    """How well a law fits what it was fitted to. Quantiles run along `PROBABILITIES`, in the figure's unit."""

    figure: Literal["ttft_s", "token_rate"]
    observations: int
    shape: Shape
    observed: tuple[float, ...]
    fitted: tuple[float, ...]
    ks: float  # Kolmogorov-Smirnov distance, 0 to 1
    ks_held_out: float  # the same of half of the observations to the law of the other half


class Fitted(Struct, frozen=True, kw_only=True):
    """A profile with how well it fits; `left_out` says what could not be fitted and why."""

    group: str
    profile: Profile | None
    goodness: tuple[Goodness, ...] = ()
    left_out: tuple[str, ...] = ()
    clock: Literal["caller", "provider"] = "caller"


def fit_all(observations: Iterable[Observation], *, source: str) -> list[Fitted]:
    """One fit a group, in order of names. `source` goes into the profiles."""
    groups: dict[str, list[Observation]] = {}
    for observation in observations:
        groups.setdefault(observation.group, []).append(observation)
    return [fit(name, groups[name], source=source) for name in sorted(groups)]


def fit(group: str, observations: Sequence[Observation], *, source: str) -> Fitted:
    """The profile that these observations of one group show; None in it where they are too few."""
    ok = [each for each in observations if each.outcome == "ok"]
    by_provider = sum(each.clock == "provider" for each in ok) * 2 > len(ok)
    clock: Literal["caller", "provider"] = "provider" if by_provider else "caller"
    firsts = [(each.prompt_tokens or 0, each.ttft_s) for each in ok if each.ttft_s is not None and each.ttft_s > 0]
    if len(firsts) < OBSERVATIONS_MIN:
        reason = f"{len(firsts)} times to first token; {OBSERVATIONS_MIN} are needed"
        return Fitted(group=group, profile=None, left_out=(reason,), clock=clock)
    ttft = _law(firsts)
    gaps = _times_a_token(ok, median(value for _, value in firsts))
    if len(gaps) < OBSERVATIONS_MIN:
        reason = f"{len(gaps)} token rates; {OBSERVATIONS_MIN} are needed"
        return Fitted(group=group, profile=None, left_out=(reason,), clock=clock)
    gap = _law(gaps, growth_max=_SLOPE_MAX_OF_RATE)
    by = ", by the provider's own clock" if by_provider else ""
    jitters = [each.jitter for each in ok if each.jitter is not None]
    profile = Profile(
        ttft_s_median=_short(ttft.median),
        ttft_s_sigma=_short(ttft.sigma),
        ttft_s_per_1k_prompt_tokens=_short(ttft.median * ttft.growth_per_1k),
        ttft_quantiles=tuple(map(_short, ttft.quantiles)),
        token_rate_median=_short(1 / gap.median),
        token_rate_sigma=_short(gap.sigma),
        token_rate_loss_per_1k_prompt_tokens=_short(gap.growth_per_1k),
        # A factor of a rate is the reciprocal of that of a time.
        token_rate_quantiles=tuple(_short(1 / factor) for factor in reversed(gap.quantiles)),
        jitter_sigma=_short(median(jitters)) if len(jitters) >= OBSERVATIONS_MIN else 0.25,
        network_s=0.0,
        failures=_failures(observations),
        source=f"{source}: {len(firsts)} TTFT, {len(gaps)} rates{by}",
    )
    goodness = (_goodness("ttft_s", firsts, ttft), _goodness("token_rate", gaps, gap))
    return Fitted(group=group, profile=profile, goodness=goodness, clock=clock)


def _times_a_token(observations: Sequence[Observation], ttft_s: float) -> list[tuple[float, float]]:
    """(prompt tokens, seconds a token).

    Where too few answers tell a rate, also those of which only the end is known count: from it, less the group's median
    time to first token. An answer that is shorter than its share of that says nothing.
    """
    told: list[tuple[float, float]] = [
        (each.prompt_tokens or 0, 1 / each.token_rate) for each in observations if each.token_rate is not None
    ]
    if len(told) >= OBSERVATIONS_MIN:
        return told
    for each in observations:
        tokens = each.output_tokens or 0
        known = each.token_rate is None and not each.stream and each.e2e_s is not None and each.e2e_s > ttft_s
        if known and tokens >= WHOLE_TOKENS_MIN:
            assert each.e2e_s is not None
            told.append((each.prompt_tokens or 0, (each.e2e_s - ttft_s) / (tokens - 1)))
    return told


def _law(points: Points, *, growth_max: float = inf) -> Law:
    """The law of (prompt tokens, value above 0) pairs."""
    simple = _lognormal_law(points, growth_max)
    if len(points) < _TABLE_MIN:
        return simple
    tabled = _with_table(simple, points)
    gain = _held_out(points, simple) - _held_out(points, tabled)
    return tabled if gain > _TABLE_GAIN else simple


def _lognormal_law(points: Points, growth_max: float) -> Law:
    growth = _growth(points, growth_max)
    logs = sorted(log(value) - log(1 + growth * tokens / 1000) for tokens, value in points)
    middle = median(logs)
    sigma = sqrt(sum((each - middle) ** 2 for each in logs) / len(logs))
    return Law(median=exp(middle), growth_per_1k=growth, sigma=max(sigma, _SIGMA_MIN))


def _growth(points: Points, growth_max: float) -> float:
    """The relative growth per 1,000 tokens with the least absolute log residuals; 0 where sizes hardly differ."""
    sizes = sorted(tokens for tokens, _ in points)
    if len(points) < _SLOPE_MIN or sizes[len(sizes) // 10] * 2 >= sizes[len(sizes) * 9 // 10]:
        return 0.0

    def cost(growth: float) -> float:
        logs = [log(value) - log(1 + growth * tokens / 1000) for tokens, value in points]
        middle = median(logs)
        return sum(abs(each - middle) for each in logs)

    best = min((slope for slope in _SLOPES if slope <= growth_max), key=cost, default=0.0)
    return best if cost(best) < cost(0.0) * (1 - _SLOPE_GAIN) else 0.0


def _with_table(law: Law, points: Points) -> Law:
    factors = sorted(value / law.at(tokens) for tokens, value in points)
    steps = (min(max(step / (_TABLE - 1), _TABLE_ENDS), 1 - _TABLE_ENDS) for step in range(_TABLE))
    table = tuple(_quantile(factors, step) for step in steps)
    return Law(median=law.median, growth_per_1k=law.growth_per_1k, sigma=law.sigma, quantiles=table)


def _held_out(points: Points, law: Law) -> float:
    """The distance of either half to a law of this law's shape and growth that was fitted to the other half."""
    # Drawn halves: whoever measured may have taken turns, so that every second observation is of another kind.
    order = sorted(range(len(points)), key=lambda place: draws(0, "half", str(place)).random())
    halves = [[points[place] for place in order[start::2]] for start in (0, 1)]
    total = 0.0
    for fitted, looked_at in (halves, halves[::-1]):
        half = _lognormal_law(fitted, law.growth_per_1k)
        total += _ks(looked_at, _with_table(half, fitted) if law.quantiles else half)
    return total / 2


def _goodness(figure: Literal["ttft_s", "token_rate"], points: Points, law: Law) -> Goodness:
    values = sorted(value for _, value in points)
    sizes = _sizes(points)
    turned = figure == "token_rate"
    probabilities = [1 - each for each in PROBABILITIES] if turned else list(PROBABILITIES)
    observed = [_quantile(values, each) for each in probabilities]
    fitted = [_inverse(each, law, sizes, values[0], values[-1]) for each in probabilities]
    shape: Shape = "quantiles" if law.quantiles else "lognormal"

    return Goodness(
        figure=figure,
        observations=len(points),
        shape=shape,
        observed=tuple(1 / each if turned else each for each in observed),
        fitted=tuple(1 / each if turned else each for each in fitted),
        ks=_ks(points, law),
        ks_held_out=_held_out(points, law),
    )


def _ks(points: Points, law: Law) -> float:
    """The largest distance between the observed share at or below a value and the law's."""
    values, sizes = sorted(value for _, value in points), _sizes(points)
    distance, count = 0.0, len(values)
    for place, value in enumerate(values):
        below = _share(value, law, sizes)
        at_or_below = bisect_right(values, value) / count
        distance = max(distance, abs(below - at_or_below), abs(below - place / count))
    return distance


def _share(value: float, law: Law, sizes: Sequence[float]) -> float:
    """The law's share at or below a value, over prompts of these sizes."""
    return sum(probability_of(value / law.at(size), law.sigma, law.quantiles) for size in sizes) / len(sizes)


def _inverse(probability: float, law: Law, sizes: Sequence[float], least: float, most: float) -> float:
    """The value at a probability, by bisection of the logarithm."""
    low, high = log(least) - 3, log(most) + 3
    for _ in range(50):
        middle = (low + high) / 2
        if _share(exp(middle), law, sizes) < probability:
            low = middle
        else:
            high = middle
    return exp((low + high) / 2)


def _sizes(points: Points) -> list[float]:
    """Sizes that stand for all observed ones: their quantiles."""
    tokens = sorted(tokens for tokens, _ in points)
    if tokens[0] == tokens[-1]:
        return [tokens[0]]
    return [_quantile(tokens, (step + 0.5) / _SIZES) for step in range(_SIZES)]


def _quantile(ordered: Sequence[float], probability: float) -> float:
    place = probability * (len(ordered) - 1)
    low = min(int(place), len(ordered) - 1)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _failures(observations: Sequence[Observation]) -> tuple[Failure, ...]:
    shares: dict[FailureKind, int] = {}
    for each in observations:
        if each.outcome in _KINDS:
            shares[_KINDS[each.outcome]] = shares.get(_KINDS[each.outcome], 0) + 1
    return tuple(
        Failure(share=_short(count / len(observations)), kind=kind, at="door" if kind == "rate_limited" else "model")
        for kind, count in sorted(shares.items())
    )


def _short(value: float) -> float:
    """Four significant digits: no fit knows more."""
    return float(f"{value:.4g}")
