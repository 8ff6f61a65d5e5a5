"""The cassette transport: answers upstream calls from recordings, at the instants that the recording tells.

Under a virtual clock a stream wakes the loop for each chunk up to its first output, and then once for all the others,
each carrying its own instant; `paced` hands over every chunk at its time, as live clients need it. The records are
the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct

from clawbench.cassettes.matching import Features, features, key
from clawbench.cassettes.store import BoundStore, Entry, NoRecording
from clawbench.clock import Clock
from clawbench.errors import UpstreamError
from clawbench.rng import Draws, draws
from clawbench.routing.estimates import UNKNOWN
from clawbench.transports.burst import Burst
from clawbench.transports.restage import Restaged, restage
from clawbench.transports.timeline import Timeline, recorded, streamed, whole
from clawbench.types import ChatRequest, Chunk, Headers, HttpCall, Match, Offer, Provenance
from clawbench.wires.protocol import Wire

CALLS_REMEMBERED = 8192


class _Asked(Struct, frozen=True):
    """What a call asks, as far as matching goes."""

    request: ChatRequest
    key: bytes
    features: Features


class CassetteTransport:
    """Replays from a bound store. `seed` keys every draw: which of several recordings, and times not recorded."""

    def __init__(
        self,
        store: BoundStore,
        offers: Mapping[str, Offer],
        wire_for: Callable[[Offer], Wire],
        clock: Clock,
        *,
        seed: int,
        strict: bool = False,
        paced: bool = False,
    ) -> None:
        """`offers` by id; an offer's profile stands in for what recordings do not tell, without one the assumed."""
        self._store, self._offers, self._wire_for, self._clock = store, offers, wire_for, clock
        self._seed, self._strict, self._paced = seed, strict, paced
        self._asked: dict[tuple[str, str, bytes], _Asked] = {}
        self._stages: dict[tuple[str, bool], Restaged] = {}
        self.matched = 0
        """Calls that found a recording."""
        self.unmatched: str | None = None
        """Why the first call that found none did not; None if all did."""

    async def send(self, call: HttpCall, *, deadline_s: float) -> CassetteReply:
        """The recorded reply, when its headers would have come."""
        sent_s = self._clock.now()
        entry, match = self._find(call)
        staged = self._staged(call, entry)
        timeline = self._timeline(call, entry, staged)
        provenance = Provenance(match=match, timing=timeline.source, interaction=entry.id)
        try:
            await until(self._clock, sent_s + timeline.headers_s, deadline_s)
        except UpstreamError as error:
            error.provenance = provenance
            raise
        return CassetteReply(
            entry.status,
            staged.headers,
            staged.body,
            timeline,
            sent_s=sent_s,
            deadline_s=deadline_s,
            clock=self._clock,
            paced=self._paced,
            provenance=provenance,
        )

    async def aclose(self) -> None:
        """The store belongs to whoever opened it."""

    def _find(self, call: HttpCall) -> tuple[Entry, Match]:
        asked = self._read(call)
        try:
            found = self._store.find(
                call.offer_id,
                asked.key,
                asked.features,
                draw=partial(self._draw, call, "recording"),
                strict=self._strict,
                request=asked.request,
            )
        except NoRecording as error:
            self.unmatched = self.unmatched or str(error)
            raise UpstreamError(str(error), outcome="no_recording") from error
        self.matched += 1
        return found.entry, found.match

    def _read(self, call: HttpCall) -> _Asked:
        """Key and features of a call, from its bytes; the same bytes are read once."""
        name = (call.offer_id, call.url, call.body)
        asked = self._asked.get(name)
        if asked is None:
            if len(self._asked) >= CALLS_REMEMBERED:
                self._asked.clear()
            request = self._wire_for(self._offers[call.offer_id]).parse(call)
            asked = self._asked[name] = _Asked(request, key(request), features(request))
        return asked

    def _staged(self, call: HttpCall, entry: Entry) -> Restaged:
        """The recorded body in the form that the call asks for, with the offsets at which its events end."""
        name = (entry.id, call.stream)
        staged = self._stages.get(name)
        if staged is None:
            if len(self._stages) >= CALLS_REMEMBERED:
                self._stages.clear()
            body, headers = self._store.body(entry), self._store.headers(entry)
            if call.stream == entry.stream or not entry.is_success:
                staged = Restaged(headers, body, entry.event_ends, entry.timing)
            else:
                wire = self._wire_for(self._offers[call.offer_id])
                staged = restage(wire, entry.status, headers, body, as_stream=call.stream)
            self._stages[name] = staged
        return staged

    def _draw(self, call: HttpCall, purpose: str) -> Draws:
        return draws(self._seed, call.draw_key, call.offer_id, purpose)

    def _timeline(self, call: HttpCall, entry: Entry, staged: Restaged) -> Timeline:
        if staged.timing is not None:
            return recorded(staged.timing)
        profile = self._offers[call.offer_id].profile or UNKNOWN
        times = partial(self._draw, call, "times")
        if staged.event_ends:
            return streamed(staged.event_ends, entry.output_tokens, entry.revealed, profile, times)
        return whole(len(staged.body), entry.output_tokens, entry.revealed, profile, times)


class CassetteReply:
    """A recorded reply on its way; see `types.HttpReply`."""

    def __init__(
        self,
        status: int,
        headers: Headers,
        body: bytes,
        timeline: Timeline,
        *,
        sent_s: float,
        deadline_s: float,
        clock: Clock,
        paced: bool,
        provenance: Provenance,
    ) -> None:
        self.status, self.headers, self.provenance = status, headers, provenance
        self._body, self._timeline, self._sent_s, self._deadline_s = body, timeline, sent_s, deadline_s
        self._clock, self._paced, self._batched = clock, paced, False
        self.t_headers_s = clock.now() if paced else sent_s + timeline.headers_s

    async def chunks(self) -> AsyncIterator[Sequence[Chunk]]:
        """Each at its instant; once the gateway asks for it, and nobody is to be paced, the rest together."""
        chunks = self._all()
        for place in range(len(chunks)):
            if self._batched:
                rest = chunks.rest(place)
                if rest[-1].t_s > self._deadline_s:
                    in_time = [each for each in rest if each.t_s <= self._deadline_s]
                    if in_time:
                        await until(self._clock, in_time[-1].t_s, self._deadline_s)
                        yield in_time
                await until(self._clock, rest[-1].t_s, self._deadline_s)
                yield rest
                return
            chunk = chunks[place]
            await until(self._clock, chunk.t_s, self._deadline_s)
            yield (chunk if not self._paced else Chunk(chunk.data, self._clock.now()),)

    def batch_rest(self) -> bool:
        """Not where live clients wait for each chunk."""
        self._batched = not self._paced
        return self._batched

    async def aclose(self) -> None:
        """Nothing is held."""

    def _all(self) -> Burst:
        body, ends = self._body, self._timeline.ends
        if ends and ends[-1] < len(body):  # the last chunk is whatever is left
            ends = (*ends[:-1], len(body))
        return Burst(body, ends, self._timeline.at_s, since_s=self._sent_s)


async def until(clock: Clock, at_s: float, deadline_s: float) -> None:
    """Waits until `at_s`; raises at the deadline where that comes first."""
    if at_s > deadline_s:
        await clock.sleep_until(deadline_s)
        raise UpstreamError("The provider did not answer in time.", outcome="timeout_total", retry_same=False)
    if at_s > clock.now():
        await clock.sleep_until(at_s)
