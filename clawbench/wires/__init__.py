"""The dialects that are spoken, by name. To add one: a file with a `Wire`, a line here.

The order is the order of recognition: a dialect whose marks are more particular stands before a more general one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from clawbench.types import HttpCall, Offer
from clawbench.wires.openai_chat import OpenAIChat
from clawbench.wires.protocol import Wire

__all__ = ["WIRES", "recognise", "wire_for"]

WIRES: Final[dict[str, Wire]] = {
    wire.name: wire
    for wire in (OpenAIChat(),)
}  # fmt: skip

_OF_PROVIDER: Final[dict[str, Callable[[str], Wire]]] = {
    "openai_chat": OpenAIChat.of,
}
"""Dialects whose answers mean different things at different providers."""


def recognise(call: HttpCall, reply_body: bytes) -> Wire | None:
    """The wire whose chat call a recorded exchange is; None if it is no chat call of a known dialect."""
    return next((wire for wire in WIRES.values() if wire.recognises(call, reply_body)), None)


def wire_for(offer: Offer) -> Wire:
    """The wire that reads this offer's answers as its provider means them. Raises `KeyError` for an unknown dialect."""
    return _wire(offer.dialect, offer.provider)


@lru_cache(maxsize=1024)
def _wire(dialect: str, provider: str) -> Wire:
    of_provider = _OF_PROVIDER.get(dialect)
    return of_provider(provider) if of_provider is not None else WIRES[dialect]
