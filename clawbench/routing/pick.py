"""From scores to a pick: among the offers near the best, the less loaded of two drawn ones.

Never plain argmax under concurrency: everybody would run to the same offer, and back. Knows numbers only. The
probability of every pick is exact, so that decisions can be judged afterwards by what they might have been.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from clawbench.rng import Draws

NEGLIGIBLE = 1e-12  # sum of errors below which all offers count as equally well known


class Metrics(Struct, frozen=True):
    """An offer's value in each metric that was asked for, lower is better, and how uncertain each is."""

    values: tuple[float, ...]
    errors: tuple[float, ...]  # standard errors of the logarithms


class Field(Struct, frozen=True):
    """The offers of a pick, in parallel: `scores` (lower is better), `errors` (standard errors of the logarithms of the
    scores), `loads` (attempts under way). `metrics` gives those of a place; None where one metric is the score.
    """

    scores: Sequence[float]
    errors: Sequence[float]
    loads: Sequence[int]
    metrics: Callable[[int], Metrics] | None = None


def band_of(field: Field, width: float) -> list[int]:
    """Places of the offers that count as equally good as the best.

    Within `width` of the best score, or within one standard error of their own if that is wider: what is little known
    might be as good. Where several metrics were asked for, without those that another one beats in each of them by more
    than they are uncertain; where one was, the band itself says what counts as equal.
    """
    best = min(field.scores)
    wide = best * (1 + width)
    near = [
        place
        for place, (score, error) in enumerate(zip(field.scores, field.errors, strict=True))
        if score <= wide or (error > width and score <= best * (1 + error))
    ]
    if len(near) == 1 or field.metrics is None:
        return near
    metrics = [field.metrics(place) for place in near]
    return [place for place, mine in zip(near, metrics, strict=True) if not _is_dominated(mine, metrics)]


def _is_dominated(mine: Metrics, all_of_them: Sequence[Metrics]) -> bool:
    """Whether one of them is better in every metric, by more than it is uncertain."""
    bars = [value * (1 - error) for value, error in zip(mine.values, mine.errors, strict=True)]
    for other in all_of_them:
        for value, bar in zip(other.values, bars, strict=True):
            if value >= bar:
                break
        else:
            return True
    return False


def power_of_two(loads: Sequence[int]) -> list[float]:
    """Probability of each place when two distinct ones are drawn and the less loaded is taken, ties by coin."""
    count = len(loads)
    if count == 1:
        return [1.0]
    if loads.count(loads[0]) == count:
        return [1.0 / count] * count
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


def probabilities(field: Field, *, width: float, exploration: float) -> list[float]:
    """Probability of each offer; they add up to 1.

    `exploration` of it goes to all offers in proportion to how little is known of them (their errors), the rest
    to the band by power of two choices.
    """
    band = band_of(field, width)
    count = len(field.scores)
    unknown = sum(field.errors)
    if exploration and unknown > NEGLIGIBLE:
        chances = [exploration * (error / unknown) for error in field.errors]
    else:
        chances = [exploration / count] * count
    for place, chance in zip(band, power_of_two([field.loads[place] for place in band]), strict=True):
        chances[place] += (1 - exploration) * chance
    return chances


def drawn(chances: Sequence[float], draw: Draws) -> int:
    """A place, drawn with these probabilities."""
    point = draw.random() * sum(chances)
    for place, chance in enumerate(chances):
        point -= chance
        if point < 0:
            return place
    return max(range(len(chances)), key=chances.__getitem__)
