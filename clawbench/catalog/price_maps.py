"""Published price lists, by file: the first that knows a model wins.

Formats are told apart by content. To add one: a file with `recognises(content)` and a `PriceList`, and a line in
`_FORMATS`.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from clawbench.catalog import genai_prices, litellm_prices, openrouter_prices
from clawbench.catalog.listed import Listed, PriceList
from clawbench.errors import PlanError

_FORMATS: tuple[tuple[Callable[[Any], bool], Callable[[str, Any], PriceList]], ...] = (
    (litellm_prices.recognises, litellm_prices.LiteLLMPrices),
    (genai_prices.recognises, genai_prices.GenaiPrices),
    (openrouter_prices.recognises, openrouter_prices.OpenRouterPrices),
)
_FILE_BYTES_MAX = 64 * 1024 * 1024


class PriceMap:
    """Several lists, asked in order. `digest` is over their files' bytes."""

    def __init__(self, lists: Sequence[PriceList], *, digest: str) -> None:
        self.lists, self.digest = tuple(lists), digest

    def find(self, provider: str, model: str) -> tuple[Listed, str] | None:
        """(price, name of the list) of a provider's model; None if no list has it."""
        for prices in self.lists:
            listed = prices.find(provider, model)
            if listed is not None:
                return listed, prices.name
        return None


def read_price_maps(
    paths: Iterable[Path], unpacked: Callable[[Path, bytes], bytes] = lambda path, raw: raw
) -> PriceMap:
    """The lists in these files. Raises `PlanError` for a file that is none.

    `unpacked` gives the list's JSON for a file that holds it in another form, and the bytes themselves otherwise.
    """
    lists: list[PriceList] = []
    digest = sha256()
    for path in paths:
        raw = _read(path)
        digest.update(sha256(raw).digest())
        raw = unpacked(path, raw)
        try:
            content = json.loads(raw, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            raise PlanError(f"{path}: not a JSON price map: {error}") from error
        for recognises, reader in _FORMATS:
            if recognises(content):
                lists.append(reader(path.name, content))
                break
        else:
            raise PlanError(
                f"{path}: a price map of no known format; LiteLLM's, genai-prices' and OpenRouter's are read"
            )
    return PriceMap(lists, digest=digest.hexdigest())


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            with gzip.open(path) as file:
                raw = file.read(_FILE_BYTES_MAX + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise PlanError(f"{path}: the price map cannot be read: {error}") from error
    if len(raw) > _FILE_BYTES_MAX:
        raise PlanError(f"{path}: the price map is larger than {_FILE_BYTES_MAX} bytes")
    return raw
