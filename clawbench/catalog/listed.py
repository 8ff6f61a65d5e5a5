"""A price as a published list has it."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from clawbench.types import Rates


class Listed(Struct, frozen=True):
    """`key` is the list's own name of the model; None for a limit that the list does not state."""

    key: str
    rates: Rates
    context_window: int | None
    max_output_tokens: int | None


class PriceList(Protocol):
    """One published list. `rounded` and `refused` name the entries, met so far, whose rates were no whole pico-USD,
    or negative, not finite or no numbers."""

    name: str
    rounded: set[str]
    refused: set[str]

    def find(self, provider: str, model: str) -> Listed | None: ...

    def models(self, provider: str) -> list[str]:
        """Names, in the list's order, under which `find` may know a model of this provider."""
        ...

    def count(self) -> int:
        """How many entries the list has."""
        ...
