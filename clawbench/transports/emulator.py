"""The emulator transport: answers upstream calls by emulated offers, in the time of the clock that it is given.

Queues, limits and prompt caches live in that time and belong to the transport, so load makes an offer slower and
routing feeds back; a new transport starts with empty ones. Every answer says that it is synthetic.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import accumulate

from clawbench.clock import Clock
from clawbench.emulator.conditions import Live
from clawbench.emulator.dialects import EMULATED, manners_of
from clawbench.emulator.dialects.manners import Refusal
from clawbench.emulator.offer import CREATED, EmulatedOffer, EmulatedReply, Fate, Prepared, door_s, refused
from clawbench.emulator.profiles import Profile, profile_of
from clawbench.errors import UpstreamError, UsageError
from clawbench.rng import draws
from clawbench.routing.estimates import UNKNOWN
from clawbench.transports.cassette import CassetteReply, until
from clawbench.transports.protocol import Transport
from clawbench.transports.timeline import Timeline
from clawbench.types import HttpCall, HttpReply, Offer, Provenance
from clawbench.wires.protocol import Wire

CALLS_REMEMBERED = 8192
SYNTHETIC = Provenance(match="synthetic", timing="profile")


class EmulatorTransport:
    """Emulates these offers, each by its profile in `profiles` (by offer id), else by its own latency, else the
    assumed.

    `seed` keys every draw, so a request meets the same luck at an offer under every strategy. Calls to other offers go
    to `otherwise`. `paced` hands chunks over one by one, as live clients need it. `hour_at_zero` is the hour of the
    day at the clock's zero.
    """

    def __init__(
        self,
        offers: Mapping[str, Offer],
        wire_for: Callable[[Offer], Wire],
        clock: Clock,
        *,
        seed: int,
        profiles: Mapping[str, Profile] | None = None,
        otherwise: Transport | None = None,
        paced: bool = False,
        hour_at_zero: float = 0.0,
    ) -> None:
        """Raises `UsageError` for an offer whose dialect is not emulated."""
        self._clock, self._seed, self._otherwise, self._paced = clock, seed, otherwise, paced
        self._offers: dict[str, EmulatedOffer] = {}
        self._prepared: dict[tuple[str, str, bytes], Prepared] = {}
        self.energy_j: defaultdict[str, float] = defaultdict(float)
        """Energy that the answers of each offer took, in joules, by offer id."""
        for offer in offers.values():
            if offer.dialect not in EMULATED:
                raise UsageError(
                    f'offer "{offer.id}": dialect "{offer.dialect}" is not emulated. Emulated: {", ".join(EMULATED)}'
                )
            profile = (profiles or {}).get(offer.id) or profile_of(offer.profile or UNKNOWN)
            self._offers[offer.id] = EmulatedOffer(
                profile,
                wire=wire_for(offer),
                manners=manners_of(offer.dialect),
                model=offer.model,
                context_window=offer.context_window,
                conditions=Live(profile, hour_at_zero=hour_at_zero),
            )

    async def send(self, call: HttpCall, *, deadline_s: float) -> HttpReply:
        """The emulated reply, when its headers would have come."""
        offer = self._offers.get(call.offer_id)
        if offer is None and self._otherwise is not None:
            return await self._otherwise.send(call, deadline_s=deadline_s)
        sent_s = self._clock.now()
        reply = self._answer(self._offers[call.offer_id], call, sent_s)
        self.energy_j[call.offer_id] += reply.energy_j
        try:
            await until(self._clock, sent_s + reply.headers_s, deadline_s)
        except UpstreamError as error:
            error.provenance = SYNTHETIC
            raise
        return CassetteReply(
            reply.status,
            reply.headers,
            reply.body,
            _timeline(reply),
            sent_s=sent_s,
            deadline_s=deadline_s,
            clock=self._clock,
            paced=self._paced,
            provenance=SYNTHETIC,
        )

    async def aclose(self) -> None:
        """Nothing is held but what `otherwise` holds."""
        if self._otherwise is not None:
            await self._otherwise.aclose()

    def _answer(self, offer: EmulatedOffer, call: HttpCall, at_s: float) -> EmulatedReply:
        luck = draws(self._seed, call.draw_key, call.offer_id, "emulator")
        epoch_s = CREATED + int(at_s)
        name = (call.offer_id, call.url, call.body)
        asked = self._prepared.get(name)
        if asked is None:
            try:
                request = offer.wire.parse(call)
            except ValueError as error:
                fate, profile = Fate.draw(offer.profile, luck), offer.profile
                why = Refusal(kind="bad_request", text=str(error)[:500])
                headers_s, network_s = door_s(profile, fate), profile.network_s
                return refused(
                    offer.manners, why, fate, headers_s, network_s=network_s, model=offer.model, epoch_s=epoch_s
                )
            if len(self._prepared) >= CALLS_REMEMBERED:
                self._prepared.clear()
            asked = self._prepared[name] = offer.prepared(request)
        return offer.answer(asked, luck, at_s=at_s, epoch_s=epoch_s)


def _timeline(reply: EmulatedReply) -> Timeline:
    ends = list(accumulate(len(data) for data, _ in reply.chunks))
    return Timeline(reply.headers_s, ends, [t_s for _, t_s in reply.chunks], "profile")
