"""How wrong a nearest match is: leave one out, and compare what it would have got with what it got.

For every recorded success the production matcher is asked for the nearest other recording of the same offer. Errors
are ratios: 0.5 means off by a factor of 1.5 one way or the other. What is not known on both sides is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import quantiles
from typing import Any

from msgspec import Struct

from clawbench.cassettes.entry import Entry
from clawbench.cassettes.replay import Bodies, BoundStore, NoRecording
from clawbench.rng import draws
from clawbench.types import Offer

ENTRIES_MAX = 400  # an offer's; spread evenly over them where it has more


class Missed(Struct, frozen=True, kw_only=True):
    """One recording against its stand-in; None where one of the two does not say."""

    offer_id: str
    same_form: bool  # both streamed or both not, and both with tools or both without
    input_tokens: float | None
    output_tokens: float | None
    ttft_s: float | None
    e2e_s: float | None


MEASURES = ("input_tokens", "output_tokens", "ttft_s", "e2e_s")


class AccuracyReport(Struct, frozen=True):
    """All recordings that had a stand-in; `alone` counts those whose offer has no other success."""

    missed: tuple[Missed, ...]
    alone: int

    def to_json(self) -> dict[str, Any]:
        """Overall and by offer: `compared`, `same_form` (share), and for each measure its p50 and p90 error."""
        offers = sorted({each.offer_id for each in self.missed})
        return {
            "alone": self.alone,
            "all": _figures(self.missed),
            "by_offer": {offer: _figures([each for each in self.missed if each.offer_id == offer]) for offer in offers},
        }


def leave_one_out(store: BoundStore, bodies: Bodies, offers: Sequence[Offer]) -> Iterator[Missed | None]:
    """Each recording of each offer against its stand-in; None for one that has none."""
    for offer in offers:
        successes = [entry for entry in store.entries(offer.id) if entry.is_success]
        step = max(1, len(successes) // ENTRIES_MAX)
        for place in range(0, len(successes), step):
            entry = successes[place]
            others = BoundStore(successes[:place] + successes[place + 1 :], bodies, [offer])
            draw = partial(draws, 0, "accuracy", entry.id)
            try:
                found = others.find(offer.id, entry.key, entry.features, draw=draw).entry
            except NoRecording:
                yield None
                continue
            yield Missed(
                offer_id=offer.id,
                same_form=(found.stream, found.has_tools) == (entry.stream, entry.has_tools),
                input_tokens=_off(found.input_tokens, entry.input_tokens),
                output_tokens=_off(found.output_tokens, entry.output_tokens),
                ttft_s=_off(*map(_ttft_s, (found, entry))),
                e2e_s=_off(*map(_e2e_s, (found, entry))),
            )


def report(missed: Sequence[Missed | None]) -> AccuracyReport:
    """The report over what `leave_one_out` gave."""
    return AccuracyReport(tuple(each for each in missed if each is not None), sum(each is None for each in missed))


def _off(got: float | None, wanted: float | None) -> float | None:
    """max(a/b, b/a) − 1; None where one is unknown or zero."""
    if not got or not wanted:
        return None
    return max(got / wanted, wanted / got) - 1


def _ttft_s(entry: Entry) -> float | None:
    if not entry.stream:
        return None
    if entry.timing is not None:
        return entry.timing.chunks[0][1] if entry.timing.chunks else None
    return entry.revealed.ttft_s if entry.revealed else None


def _e2e_s(entry: Entry) -> float | None:
    if entry.timing is not None:
        return entry.timing.chunks[-1][1] if entry.timing.chunks else None
    return entry.revealed.e2e_s if entry.revealed else None


def _figures(missed: Sequence[Missed]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "compared": len(missed),
        "same_form": sum(each.same_form for each in missed) / len(missed) if missed else None,
    }
    for name in MEASURES:
        known = sorted(value for each in missed if (value := getattr(each, name)) is not None)
        cuts = quantiles(known, n=10, method="inclusive") if len(known) > 1 else known * 9
        figures[name] = {"n": len(known), "p50": cuts[4] if cuts else None, "p90": cuts[8] if cuts else None}
    return figures
