"""An emulated provider: a call in, the reply of the offer that it names, or a refusal in the provider's own words.

Speaks one or more dialects, told apart by path. Answers are kept for calls that come again, since what a model says is
a pure function of the call. No socket and no clock: the instant comes in.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

from clawbench.emulator.dialects import EMULATED, manners_of
from clawbench.emulator.dialects.manners import Manners, Refusal
from clawbench.emulator.offer import CREATED, EmulatedOffer, EmulatedReply, Fate, Prepared, door_s, refused
from clawbench.rng import Draws
from clawbench.types import HttpCall
from clawbench.wires.protocol import Wire

KEPT_BYTES = 16 * 2**20  # of bodies whose answers are kept


class Spoken(Struct, frozen=True):
    """One dialect as this provider speaks it."""

    wire: Wire
    manners: Manners
    offers: Mapping[str, EmulatedOffer]  # by the name that calls give


class EmulatedProvider:
    """Answers calls as one provider does. `offers` by the names under which it serves them.

    `api_key`: what calls must carry; None takes any. The luck of calls that name no model is drawn by the profile of
    the first offer.
    """

    def __init__(
        self,
        name: str,
        offers: Mapping[str, EmulatedOffer],
        *,
        dialects: Sequence[str] = ("openai_chat",),
        api_key: str | None = None,
        created: int = CREATED,
    ) -> None:
        """Raises `KeyError` for a dialect that is not emulated."""
        self.name, self.offers, self._api_key, self._created = name, offers, api_key, created
        self.spoken: dict[str, Spoken] = {}
        for dialect in dialects:
            wire, manners = EMULATED[dialect], manners_of(dialect)
            speaking = {served: offer.speaking(wire, manners) for served, offer in offers.items()}
            self.spoken[dialect] = Spoken(wire, manners, speaking)
        self._kept: OrderedDict[tuple[str, bytes], tuple[EmulatedOffer, Prepared]] = OrderedDict()
        self._kept_bytes = 0

    def answer(self, call: HttpCall, luck: Draws, *, at_s: float = 0.0, epoch_s: int | None = None) -> EmulatedReply:
        """The reply to a call at an instant; `luck` is a keyed stream of its own. Raises for no call."""
        epoch_s = self._created if epoch_s is None else epoch_s
        path = urlsplit(call.url).path
        spoken = self._spoken_at(path)
        if call.method == "GET":
            return self._listed(spoken, path, luck, epoch_s)
        if self._api_key is not None and self._api_key not in keys_of(call):
            return self._refused(spoken, Refusal(kind="unauthorized"), luck, epoch_s)
        if call.method != "POST" or not spoken.manners.chat_path.search(path):
            return self._refused(spoken, Refusal(kind="no_route", text=f"{call.method} {path}"), luck, epoch_s)
        name = (call.url, call.body)
        found = self._kept.get(name)
        if found is None:
            try:
                request = spoken.wire.parse(call)
            except ValueError as error:
                return self._refused(spoken, Refusal(kind="bad_request", text=str(error)[:500]), luck, epoch_s)
            offer = spoken.offers.get(request.model)
            if offer is None:
                return self._refused(spoken, Refusal(kind="model_not_found"), luck, epoch_s, model=request.model)
            found = offer, offer.prepared(request)
            self._keep(name, found)
        offer, asked = found
        return offer.answer(asked, luck, at_s=at_s, epoch_s=epoch_s)

    def _keep(self, name: tuple[str, bytes], found: tuple[EmulatedOffer, Prepared]) -> None:
        self._kept[name] = found
        self._kept_bytes += len(name[1])
        while self._kept_bytes > KEPT_BYTES:
            (_, body), _ = self._kept.popitem(last=False)
            self._kept_bytes -= len(body)

    def _spoken_at(self, path: str) -> Spoken:
        """The dialect whose chat path this is; the first one for any other path."""
        spoken = iter(self.spoken.values())
        first = next(spoken)
        if len(self.spoken) == 1 or first.manners.chat_path.search(path):
            return first
        return next((each for each in spoken if each.manners.chat_path.search(path)), first)

    def _listed(self, spoken: Spoken, path: str, luck: Draws, epoch_s: int) -> EmulatedReply:
        served = dict.fromkeys(self.offers, self.name)
        for each in (spoken, *self.spoken.values()):
            body = each.manners.models(path, served, self._created)
            if body is not None:
                return EmulatedReply(200, {"content-type": "application/json"}, 0.0, [(body, 0.0)])
        why = Refusal(kind="no_route", text=f"GET {path}")
        return self._refused(spoken, why, luck, epoch_s, model=re.sub(r".*/", "", path))

    def _refused(self, spoken: Spoken, why: Refusal, luck: Draws, epoch_s: int, *, model: str = "") -> EmulatedReply:
        profile = next(iter(self.offers.values())).profile
        fate = Fate.draw(profile, luck)
        return refused(
            spoken.manners,
            why,
            fate,
            door_s(profile, fate),
            network_s=profile.network_s,
            model=model,
            epoch_s=epoch_s,
        )


def keys_of(call: HttpCall) -> set[str]:
    """The keys that a call carries, wherever the known clients put them."""
    headers = call.headers
    found = {headers.get(name, "") for name in ("x-api-key", "api-key", "x-goog-api-key")}
    found.add(headers.get("authorization", "").removeprefix("Bearer "))
    found.update(parse_qs(urlsplit(call.url).query).get("key", []))
    return found - {""}
