"""The catalog: offers, grouped by the model that clients ask for.

Finds a model by its id, display name or alias, in any case. Knows nothing of strategies or requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from clawbench.errors import PlanError, did_you_mean
from clawbench.types import Offer


class Model(Struct, frozen=True, kw_only=True):
    """What a client asks for. `name` is the display name; `offers` are in catalogue order."""

    id: str
    name: str
    aliases: tuple[str, ...]
    offers: tuple[Offer, ...]

    @property
    def context_window(self) -> int | None:
        """Largest window among the offers, in tokens; None where any of them is unknown."""
        windows = [offer.context_window for offer in self.offers]
        return None if None in windows else max(window for window in windows if window is not None)

    @property
    def max_output_tokens(self) -> int | None:
        """Largest output limit among the offers, in tokens; None where any of them is unknown."""
        limits = [offer.max_output_tokens for offer in self.offers]
        return None if None in limits else max(limit for limit in limits if limit is not None)

    @property
    def capabilities(self) -> list[str] | None:
        """What at least one offer can do, sorted; None where any of them is unknown."""
        known = [offer.capabilities for offer in self.offers]
        if any(each is None for each in known):
            return None
        return sorted({capability for each in known if each for capability in each})

    @property
    def free(self) -> bool:
        """True if every offer costs nothing."""
        return all(offer.rates is not None and offer.rates.input == offer.rates.output == 0 for offer in self.offers)


class Catalog:
    """All offers in force, in the order in which they were given."""

    def __init__(
        self,
        offers: Sequence[Offer],
        *,
        display_names: dict[str, str] | None = None,
        aliases: dict[str, tuple[str, ...]] | None = None,
    ) -> None:
        """`display_names` and `aliases` are by model id. Raises `PlanError` for a duplicate id or name."""
        self.offers: dict[str, Offer] = {}
        grouped: dict[str, list[Offer]] = {}
        for offer in offers:
            if offer.id in self.offers:
                raise PlanError(f'offer "{offer.id}" stands twice; give one of them another id')
            self.offers[offer.id] = offer
            grouped.setdefault(offer.model, []).append(offer)
        self.models: dict[str, Model] = {
            model_id: Model(
                id=model_id,
                name=(display_names or {}).get(model_id, model_id),
                aliases=(aliases or {}).get(model_id, ()),
                offers=tuple(group),
            )
            for model_id, group in grouped.items()
        }
        self._by_name: dict[str, str] = {}
        self._by_loose_name: dict[str, set[str]] = {}
        for model in self.models.values():
            for name in (model.id, model.name, *model.aliases):
                self._by_loose_name.setdefault(_loosen(name), set()).add(model.id)
                taken = self._by_name.setdefault(_fold(name), model.id)
                if taken != model.id:
                    raise PlanError(f'the name "{name}" is used by models "{taken}" and "{model.id}"')

    def find(self, name: str) -> Model | None:
        """The model of this id, display name or alias; case and runs of spaces do not matter.

        Where none has it, a hyphen is as good as a space, unless that leaves more than one: "Llama 3.1 8B" finds the id
        "llama-3.1-8b" without being told.
        """
        found = self._by_name.get(name) or self._by_name.get(_fold(name))
        if found is None:
            loosely = self._by_loose_name.get(_loosen(name), set())
            found = next(iter(loosely)) if len(loosely) == 1 else None
        return self.models[found] if found else None

    def nearest(self, name: str) -> str:
        """' Did you mean "…"?' or ''."""
        return did_you_mean(name, self.models)

    def offers_of(self, models: Iterable[str] | None = None) -> tuple[Offer, ...]:
        """Offers of these models, or all of them, in catalogue order."""
        if models is None:
            return tuple(self.offers.values())
        wanted = set(models)
        return tuple(offer for offer in self.offers.values() if offer.model in wanted)


def _loosen(name: str) -> str:
    return _fold(name).replace(" ", "-").replace("_", "-")


def _fold(name: str) -> str:
    return " ".join(name.casefold().split())
