"""Which recording answers a request at an offer.

A store is bound to the offers of a plan: each entry belongs to the offer whose address, model and dialect are its own.
`exact` is a recording of the same canonical request; `nearest` the success that is nearest by stream flag, tools and
prompt size. Recorded errors replay on `exact` only. Every look-up is a dict or a binary search. Chance is handed in,
and drawn only where several recordings would do.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import log
from typing import Final, Literal, Protocol

from msgspec import Struct

from clawbench.cassettes.compiling import address_of
from clawbench.cassettes.entry import Entry
from clawbench.cassettes.matching import Features, differences
from clawbench.errors import ClawbenchError
from clawbench.rng import Draws
from clawbench.types import ChatRequest, HttpCall, Offer

NEAR_EQUAL: Final = log(1.1)
"""Prompts whose sizes are this close to the nearest one's count as equally near, so that one recording does not give
all the answers: 10 %, as a difference of natural logarithms."""

_DIFFERENCES_SHOWN: Final = 4


class Bodies(Protocol):
    """Gives the bytes behind an entry; the store does."""

    def body(self, entry: Entry) -> bytes: ...

    def headers(self, entry: Entry) -> dict[str, str]: ...

    def call(self, entry: Entry) -> HttpCall: ...

    def request(self, entry: Entry) -> ChatRequest: ...


class Found(Struct, frozen=True):
    """The recording that answers, and how well it matches."""

    entry: Entry
    match: Literal["exact", "nearest"]


class NoRecording(ClawbenchError):
    """No recording answers a request. `offer_id`, the `matcher` that failed, the nearest entry's id or None."""

    def __init__(self, reason: str, *, offer_id: str, matcher: str, nearest: str | None = None) -> None:
        self.offer_id, self.matcher, self.nearest = offer_id, matcher, nearest
        super().__init__(f"{offer_id}: {reason}")


class BoundStore:
    """The recordings of a plan's offers."""

    def __init__(self, entries: Iterable[Entry], bodies: Bodies, offers: Sequence[Offer]) -> None:
        self._bodies = bodies
        self._offers = {offer.id: offer for offer in offers}
        self._of, self.unassigned = _assigned(entries, offers)
        self.ineligible = {name: _only_errors(of) for name, of in self._of.items() if not of.successes}
        """Offers of which errors only are recorded, each with the reason that the plan or report states."""
        self.unrecorded = {offer.id: self._why_unrecorded(offer) for offer in offers if offer.id not in self._of}
        """Offers of which nothing is recorded, each with the reason."""

    def find(
        self,
        offer_id: str,
        request_key: bytes,
        wanted: Features,
        *,
        draw: Callable[[], Draws],
        strict: bool = False,
        pinned: str | None = None,
        request: ChatRequest | None = None,
    ) -> Found:
        """The recording for a request at an offer. `draw` opens the request's stream of chance, if one is needed.

        `strict` takes nothing but `exact`. `pinned` is the id of the one recording to use. `request` is for the
        message alone: with it, a failure says what differs. Raises `NoRecording`.
        """
        recordings = self._of.get(offer_id)
        if recordings is not None:
            same = recordings.exact.get(request_key, ())
            if pinned is not None:
                return self._pinned(recordings, pinned, offer_id, request_key)
            if same:
                return Found(same[0] if len(same) == 1 else same[draw().below(len(same))], "exact")
            if not strict:
                entry = recordings.successes.nearest(wanted, draw)
                if entry is not None:
                    return Found(entry, "nearest")
        raise self._no_recording(offer_id, wanted, strict, request)

    def entries(self, offer_id: str) -> Sequence[Entry]:
        """An offer's recordings, in the store's order."""
        recordings = self._of.get(offer_id)
        return recordings.entries if recordings else ()

    def dialect(self, offer_id: str) -> str:
        """Name of the wire that reads and writes at this offer."""
        return self._offers[offer_id].dialect

    def body(self, entry: Entry) -> bytes:
        return self._bodies.body(entry)

    def headers(self, entry: Entry) -> dict[str, str]:
        return self._bodies.headers(entry)

    def call(self, entry: Entry) -> HttpCall:
        return self._bodies.call(entry)

    def _pinned(self, recordings: _Recordings, pinned: str, offer_id: str, request_key: bytes) -> Found:
        entry = recordings.by_id.get(pinned)
        if entry is None:
            raise NoRecording(f"{pinned} is no recording of this offer", offer_id=offer_id, matcher="pinned")
        return Found(entry, "exact" if entry.key == request_key else "nearest")

    def _no_recording(self, offer_id: str, wanted: Features, strict: bool, request: ChatRequest | None) -> NoRecording:
        matcher = "exact" if strict else "nearest"
        recordings = self._of.get(offer_id)
        if recordings is None:
            reason = self.unrecorded.get(offer_id, "this offer is not among those that the recordings were bound to")
            return NoRecording(reason, offer_id=offer_id, matcher=matcher)
        count = len(recordings.entries)
        if strict:
            reason = f"none of {count} recordings is of exactly this request, and strict replay takes no other"
        else:
            reason = f"no recording is of exactly this request, and {_only_errors(recordings)}"
        nearest = recordings.everything.nearest(wanted, None)
        if nearest is None:
            return NoRecording(reason, offer_id=offer_id, matcher=matcher)
        reason = f"{reason}; nearest is {nearest.id}"
        if request is not None:
            found = differences(request, self._bodies.request(nearest))
            more = f" and {len(found) - _DIFFERENCES_SHOWN} more" if len(found) > _DIFFERENCES_SHOWN else ""
            reason = f"{reason} ({'; '.join(found[:_DIFFERENCES_SHOWN])}{more})"
        return NoRecording(reason, offer_id=offer_id, matcher=matcher, nearest=nearest.id)

    def _why_unrecorded(self, offer: Offer) -> str:
        _, host, prefix = address_of(offer.base_url)
        here = [e for e in self.unassigned if e.host == host and _is_below(e.path, prefix)]
        same_model = sorted({e.dialect for e in here if e.upstream_model == offer.upstream_model})
        if same_model:
            return f"recorded there in dialect {', '.join(same_model)}, the offer says {offer.dialect}"
        models = sorted({e.upstream_model for e in here})
        others = f"; recorded there: {', '.join(models[:5])}{', …' if len(models) > 5 else ''}" if models else ""
        return f"nothing is recorded of {offer.upstream_model} at {offer.base_url}{others}"


class _BySize:
    """Entries by stream flag and tools, sorted by the logarithm of their prompt's size."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        groups: dict[tuple[bool, bool], list[Entry]] = {}
        for entry in entries:
            groups.setdefault((entry.stream, entry.has_tools), []).append(entry)
        self._groups: dict[tuple[bool, bool], tuple[list[float], list[Entry]]] = {}
        for flags, members in groups.items():
            members.sort(key=lambda entry: entry.prompt_chars)  # stable: the store's order breaks ties
            self._groups[flags] = ([_size(entry.prompt_chars) for entry in members], members)

    def __bool__(self) -> bool:
        return bool(self._groups)

    def nearest(self, wanted: Features, draw: Callable[[], Draws] | None) -> Entry | None:
        """The nearest entry. Tools are given up before the stream flag: a reply's form must suit the client first.

        Among near equals it is drawn; without `draw` it is the first of the nearest. None where there is no entry.
        """
        stream, tools = wanted.stream, wanted.has_tools
        for flags in ((stream, tools), (stream, not tools), (not stream, tools), (not stream, not tools)):
            group = self._groups.get(flags)
            if group is not None:
                return _nearest(*group, _size(wanted.prompt_chars), draw)
        return None


class _Recordings:
    """What is recorded of one offer."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.by_id = {entry.id: entry for entry in entries}
        self.exact: dict[bytes, list[Entry]] = {}
        for entry in entries:
            self.exact.setdefault(entry.key, []).append(entry)
        self.successes = _BySize(entry for entry in entries if entry.is_success)
        self._everything: _BySize | None = None

    @property
    def everything(self) -> _BySize:
        """Errors included; for messages only, so it is built when the first one is written."""
        if self._everything is None:
            self._everything = _BySize(self.entries)
        return self._everything


def _assigned(entries: Iterable[Entry], offers: Sequence[Offer]) -> tuple[dict[str, _Recordings], list[Entry]]:
    """Entries by offer id, and those of no offer. The longest path prefix wins, then the first offer."""
    places: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for offer in offers:
        _, host, prefix = address_of(offer.base_url)
        places.setdefault((host, offer.upstream_model, offer.dialect), []).append((prefix, offer.id))
    for candidates in places.values():
        candidates.sort(key=lambda candidate: -len(candidate[0]))
    by_offer: dict[str, list[Entry]] = {}
    unassigned = []
    for entry in entries:
        for prefix, offer_id in places.get((entry.host, entry.upstream_model, entry.dialect), ()):
            if _is_below(entry.path, prefix):
                by_offer.setdefault(offer_id, []).append(entry)
                break
        else:
            unassigned.append(entry)
    return {offer_id: _Recordings(members) for offer_id, members in by_offer.items()}, unassigned


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _size(prompt_chars: int) -> float:
    return log(max(prompt_chars, 1))


def _nearest(sizes: list[float], entries: list[Entry], size: float, draw: Callable[[], Draws] | None) -> Entry:
    at = bisect_left(sizes, size)
    neighbours = [other for other in (at - 1, at) if 0 <= other < len(sizes)]
    best = min(neighbours, key=lambda other: abs(sizes[other] - size))
    if draw is None:
        return entries[best]
    reach = abs(sizes[best] - size) + NEAR_EQUAL
    first, end = bisect_left(sizes, size - reach), bisect_right(sizes, size + reach)
    return entries[first] if end - first == 1 else entries[first + draw().below(end - first)]


def _only_errors(recordings: _Recordings) -> str:
    kinds = Counter(entry.outcome for entry in recordings.entries if not entry.is_success)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"only errors are recorded of this offer ({listed})"
