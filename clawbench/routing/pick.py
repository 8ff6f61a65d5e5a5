"""From scores to a pick: among the offers near the best, the less loaded of two drawn ones.

Never plain argmax under concurrency: everybody would run to the same offer, and back. Knows numbers only. The
probability of every pick is exact, so that decisions can be judged afterwards by what they might have been.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from clawbench.rng import Draws


class Candidate(Struct, frozen=True):
    """What a pick looks at: `score` (lower is better), its relative error, the load, and the metrics asked for."""

    score: float
    error: float  # standard error of the logarithm of the score
    load: int  # attempts under way
    metrics: tuple[float, ...]  # one for each tag, lower is better
    errors: tuple[float, ...]  # standard error of the logarithm of each


def band_of(candidates: Sequence[Candidate], width: float) -> list[int]:
    """Places of the offers that count as equally good as the best.

    Within `width` of the best score, or within one standard error of their own if that is wider: what is little known
    might be as good. Where several metrics were asked for, without those that another one beats in each of them by more
    than they are uncertain; where one was, the band itself says what counts as equal.
    """
    best = min(range(len(candidates)), key=lambda place: candidates[place].score)
    top = candidates[best]
    near = []
    for place, one in enumerate(candidates):
        reach = top.score * (1 + max(width, one.error))
        if one.score <= reach:
            near.append(place)
    if len(near) == 1 or len(top.metrics) == 1:
        return near
    return [place for place in near if not any(_dominates(candidates[other], candidates[place]) for other in near)]


def _dominates(one: Candidate, other: Candidate) -> bool:
    return all(
        mine < theirs * (1 - error)
        for mine, theirs, error in zip(one.metrics, other.metrics, other.errors, strict=True)
    )


def power_of_two(loads: Sequence[int]) -> list[float]:
    """Probability of each place when two distinct ones are drawn and the less loaded is taken, ties by coin."""
    count = len(loads)
    if count == 1:
        return [1.0]
    pairs = count * (count - 1) / 2
    return [
        sum(
            1.0 if loads[place] < other else 0.5 if loads[place] == other else 0.0
            for number, other in enumerate(loads)
            if number != place
        )
        / pairs
        for place in range(count)
    ]


def probabilities(candidates: Sequence[Candidate], *, width: float, exploration: float) -> list[float]:
    """Probability of each candidate; they add up to 1.

    `exploration` of it goes to all candidates in proportion to how little is known of them (their errors), the rest
    to the band by power of two choices.
    """
    band = band_of(candidates, width)
    chances = [0.0] * len(candidates)
    for place, chance in zip(band, power_of_two([candidates[place].load for place in band]), strict=True):
        chances[place] = (1 - exploration) * chance
    if exploration:
        unknown = sum(candidate.error for candidate in candidates)
        for place, candidate in enumerate(candidates):
            share = candidate.error / unknown if unknown > 0 else 1 / len(candidates)
            chances[place] += exploration * share
    return chances


def drawn(chances: Sequence[float], draw: Draws) -> int:
    """A place, drawn with these probabilities."""
    point = draw.random() * sum(chances)
    for place, chance in enumerate(chances):
        point -= chance
        if point < 0:
            return place
    return max(range(len(chances)), key=chances.__getitem__)
