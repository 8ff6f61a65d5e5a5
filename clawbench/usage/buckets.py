"""Canonical buckets: the disjoint kinds of tokens that have prices of their own, and what else a bill counts.

Every normaliser gives these, whatever its provider's counts include in what: a bill is Σ bucket × rate, and nothing
is ever subtracted when prices are applied. Values only; knows no provider and no price.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, NamedTuple

from msgspec import Struct

BUCKETS: Final = (
    "uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_in", "audio_cache_read", "image_in",
    "output_text", "reasoning", "audio_out", "image_out", "citation",
)  # fmt: skip
"""Names in the order of `Buckets`."""

INPUTS: Final = 7
"""The first so many of `BUCKETS` are input: together they decide about long-context prices."""


class Buckets(NamedTuple):
    """Tokens by kind, each a whole number ≥ 0, no token in two of them."""

    uncached_input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_in: int = 0  # not from a cache
    audio_cache_read: int = 0
    image_in: int = 0
    output_text: int = 0
    reasoning: int = 0
    audio_out: int = 0
    image_out: int = 0
    citation: int = 0

    @property
    def input_tokens(self) -> int:
        """The whole prompt."""
        return sum(self[:INPUTS])

    def stated(self) -> dict[str, int]:
        """The buckets that are not empty, by name."""
        return {name: tokens for name, tokens in zip(BUCKETS, self, strict=True) if tokens}


def summed(parts: tuple[Buckets, ...]) -> Buckets:
    """The buckets of several rounds together."""
    if len(parts) == 1:
        return parts[0]
    return Buckets(*map(sum, zip(*parts, strict=True))) if parts else Buckets()


class Part(Struct, frozen=True):
    """Tokens that are priced together: a whole answer, or one of its rounds with a model and a size of its own."""

    buckets: Buckets
    model: str | None = None  # None: the answer's


class Uses(Struct, frozen=True):
    """Something billed by use. Providers bill some things in one of several ways, and the price says in which:

    `counts` holds each way's count, by kind. At least one kind must have a price; those that have one are charged.
    """

    counts: dict[str, int]


class Counted(Struct, frozen=True, kw_only=True):
    """What a usage object says, by one normaliser.

    `refused`: it must not be charged unseen. `missing`: primary counts that were not stated, which is not zero; what
    was stated is in `parts`. `flags`: sums that do not hold; the parts are charged, and somebody should look.
    `reported_usd` is the exact amount that the provider says it takes; `rounded_usd` one that it has rounded.
    `traits` are circumstances that multiply prices ("fast", "inference_geo_us").
    """

    normaliser: str
    parts: tuple[Part, ...] = ()
    uses: tuple[Uses, ...] = ()
    service_tier: str | None = None
    traits: tuple[str, ...] = ()
    reported_usd: Fraction | None = None
    rounded_usd: Fraction | None = None
    refused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def buckets(self) -> Buckets:
        """All parts together."""
        return summed(tuple([part.buckets for part in self.parts]))
