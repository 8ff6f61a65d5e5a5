"""Makes a pool of cassettes: prompts of a file at every offer of some models, one file an offer.

Which prompts a model is asked, and whether streamed, depends on the prompt alone: every offer of a model was asked the
same, so whichever a strategy chooses replays exactly, and a prompt added changes nothing about the others. Prices are
not here: they belong to the configuration that uses the cassettes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from clawbench.cassettes.writer import write_cassette
from clawbench.emulator.making import made
from clawbench.emulator.specs import OfferSpec, ProviderSpec, drawn_provider
from clawbench.rng import draws
from clawbench.workloads.prompts import Prompt

PROVENANCE: Final = """\
Made by clawbench's emulator from fixed profiles, not recorded from a real provider.
Provider {provider} ({dialect}), offer {offer}. The provider and its figures are invented; the prompts were written
for this project. The addresses are those of `clawbench emulate configs/emulator.toml`.
Do not edit: `make cassettes` writes this file anew, byte for byte the same."""

_SEED: Final = 20_250_103
_STREAMED_SHARE: Final = 0.65  # of prompts that are asked one way only


class Recording(Struct, frozen=True, kw_only=True):
    """Which prompts the offers of a model are asked.

    `kinds` None: all. `share`: of these, the same ones for every model. `stream`: "both" asks each prompt both ways,
    "either" one way, about two in three streamed.
    """

    model: str
    kinds: tuple[str, ...] | None = None
    share: float = 1.0
    stream: Literal["both", "either"] = "either"

    def asked(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Prompt, bool]]:
        """The prompts that are asked, with their stream flags."""
        for prompt in prompts:
            luck = draws(_SEED, prompt.id)
            chosen = luck.random() < self.share and (self.kinds is None or prompt.kind in self.kinds)
            streamed = luck.random() < _STREAMED_SHARE
            if chosen:
                yield from ((prompt, True), (prompt, False)) if self.stream == "both" else ((prompt, streamed),)


def write_pool(
    into: Path,
    providers: Sequence[ProviderSpec],
    recordings: Sequence[Recording],
    prompts: Sequence[Prompt],
    *,
    origin: str,
) -> Iterator[tuple[Path, int]]:
    """Write all cassettes below `into`, which is made if it is missing; each path written and its interactions.

    `origin` is the address below which the providers stand. Raises `WriteFailed`.
    """
    into.mkdir(parents=True, exist_ok=True)
    for provider in providers:
        for spec in provider.offers:
            mine = [recording for recording in recordings if recording.model == spec.model]
            asked = [pair for recording in mine for pair in recording.asked(prompts)]
            if asked:
                yield _written(into / file_name(provider, spec), provider, spec, asked, origin), len(asked)


def file_name(provider: ProviderSpec, spec: OfferSpec) -> str:
    """Name of the cassette of an offer."""
    return f"{provider.name}-{spec.model.replace('/', '-')}.yaml"


def _written(
    path: Path, provider: ProviderSpec, spec: OfferSpec, asked: list[tuple[Prompt, bool]], origin: str
) -> Path:
    offer = provider.offer(spec, origin)
    comment = PROVENANCE.format(provider=provider.name, dialect=provider.dialects[0], offer=offer.id)
    # A provider of its own for each file: what was asked before is no part of any of them.
    interactions = made(offer, drawn_provider(provider), asked, file=path.name, seed=_SEED)
    write_cassette(path, interactions, comment=comment)
    return path
