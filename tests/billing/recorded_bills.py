"""Every recorded reply with usage, billed as the gateway bills it, by a price book of the published lists beside them.

Which provider stood behind an address is told by the address, by the path at a local gateway, and where a file was
edited to name another host, by the shape of the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from clawbench.billing.charge import Cost, Served, Unpriced, cost_of, terms
from clawbench.billing.listed_book import ListedBook, Listing, listed_book, read_catwalk, rows_of
from clawbench.billing.outcomes import Bill, Hold, decide
from clawbench.billing.price_book import PriceBook
from clawbench.billing.replies import ReadReply, counted_of, read_stream, read_whole
from clawbench.billing.stated_comparison import Pair
from clawbench.cassettes.formats import opened
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.understanding import Understood, understand
from clawbench.catalog.openrouter_prices import OpenRouterPrices
from clawbench.catalog.price_maps import read_price_maps
from clawbench.catalog.providers import provider_of
from clawbench.errors import CassetteError
from clawbench.money import PICO
from clawbench.types import Offer
from clawbench.usage.admission import UsageRefused, parse
from clawbench.usage.buckets import Counted
from clawbench.usage.normalisers import normaliser_for
from clawbench.usage.stated_costs import StatedCost, stated_in_headers, stated_in_usage
from clawbench.wires import WIRES, wire_for

HOLD = Hold(pico_uat=10 * PICO)
BOUND = 4 * 2_000_000  # tokens: four times the largest context that any recorded model has
OPENROUTER_READ, OTHERS_READ, LITELLM_READ = "2025-12-31", "2026-08-22", "2026-11-21"

_LOCAL_GATEWAY = re.compile(r"localhost:\d+/(bedrock|groq|openai|anthropic|google-vertex|google-cloud)/")
_OF_PATH = {"google-vertex": "vertex", "google-cloud": "vertex"}
_CREATED = re.compile(rb'"created(?:_at)?"\s*:\s*(\d{10})\b')
_NATIVE_PATH = re.compile(r"/models/([^/:]+):(?:stream)?[gG]enerateContent")


class Recorded(Struct, frozen=True, kw_only=True):
    """A recorded chat call with its reply as the wire and the normaliser read it."""

    interaction: Interaction
    provider: str
    model: str
    dialect: str
    at_s: float | None
    reply: ReadReply
    counted: Counted

    @property
    def name(self) -> str:
        return self.interaction.id

    @property
    def served(self) -> Served:
        return Served(
            provider=self.provider,
            model=self.model,
            at_s=self.at_s or 1.75e9,
            service_tier=self.reply.evidence.service_tier,
        )

    def bill(self, book: PriceBook) -> Bill:
        return decide(self.reply.ending, self.counted, book, self.served, terms(), HOLD, self.reply.evidence.uses)

    def cost(self, book: PriceBook) -> Cost | Unpriced | None:
        if self.counted.refused or self.counted.missing:
            return None
        return cost_of(book, self.counted, self.served, self.reply.evidence.uses)

    def stated(self) -> StatedCost | None:
        """What the reply itself says that it cost."""
        for text in reversed(self.reply.evidence.usage):
            try:
                usage = parse(text)
            except UsageRefused:
                continue
            found = stated_in_usage(usage) if type(usage) is dict else None
            if found is not None and not self._is_azure_s():
                return found
        return stated_in_headers(self.interaction.headers)

    def _is_azure_s(self) -> bool:
        """Azure sells xAI's models and passes xAI's ticks on, which are zero there: nobody's statement of a cost."""
        return self.provider == "azure-ai"


def provider_behind(interaction: Interaction) -> str:
    local = _LOCAL_GATEWAY.search(interaction.url)
    if local:
        return _OF_PATH.get(local[1], local[1])
    named = provider_of(interaction.url)
    if named == "openai" and b'"is_byok"' in interaction.body and b'"provider"' in interaction.body:
        return "openrouter"
    return named


def _instant_of(interaction: Interaction) -> float | None:
    created = _CREATED.search(interaction.body)
    if created:
        return float(created[1])
    try:
        return parsedate_to_datetime(interaction.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None


def _read(interaction: Interaction) -> Recorded | None:
    """None for what is no chat call."""
    understood = understand(interaction, WIRES)
    if isinstance(understood, Understood):
        dialect, model = understood.wire.name, understood.request.model or "unnamed"
        streamed = bool(understood.framing) or (understood.request.stream and interaction.body.lstrip()[:1] == b"[")
    else:
        native = _NATIVE_PATH.search(interaction.url)
        if native is None or b"usageMetadata" not in interaction.body:
            return None
        dialect, model, streamed = "gemini", native[1], False  # a reply whose request was not kept
    provider = provider_behind(interaction)
    wire = wire_for(
        Offer(id="o", provider=provider, model=model, upstream_model=model, base_url="https://o", dialect=dialect)
    )
    if streamed and interaction.status < 400:
        reply = read_stream(wire, interaction.status, [interaction.body])
    else:
        reply = read_whole(wire, interaction.status, interaction.headers, interaction.body)
    return Recorded(
        interaction=interaction,
        provider=provider,
        model=reply.model or model,
        dialect=dialect,
        at_s=_instant_of(interaction),
        reply=reply,
        counted=counted_of(reply, normaliser_for(dialect, provider), bound=BOUND),
    )


def _interactions(root: Path) -> Iterator[Interaction]:
    for path in sorted(root.rglob("*")):
        if not path.is_file() or path.suffix in (".md", ".csv"):
            continue
        try:
            read = list(opened(path.read_bytes(), str(path.relative_to(root))).read())
        except CassetteError:
            continue
        yield from (each for each in read if isinstance(each, Interaction))


@lru_cache(maxsize=1)
def recorded_calls(root: Path) -> tuple[Recorded, ...]:
    """Every recorded chat call below a folder."""
    return tuple(found for each in _interactions(root) if (found := _read(each)) is not None)


class Prices(Struct, frozen=True):
    """The book in force, and one for each list alone, by its name."""

    listed: ListedBook
    readings: dict[str, PriceBook]


@lru_cache(maxsize=1)
def published_prices(shared: Path) -> Prices:
    """Of the models that the recordings name."""
    traces = shared / "traces"
    maps = [
        traces / "prices" / "litellm-1.109.1_model_prices_and_context_window.json.gz",
        traces / "prices" / "genai-prices_data.json.gz",
    ]
    models = traces / "model-lists" / "posit-dev__chatlas__openrouter_list_models.yaml.gz"
    if not all(path.exists() for path in (*maps, models)):
        pytest.skip("no published price lists beside the repository")
    litellm, genai = map(rows_of, read_price_maps(maps).lists)
    openrouter = rows_of(OpenRouterPrices("openrouter-models", _model_list(models)))
    listings = [
        Listing(openrouter, OPENROUTER_READ),
        Listing(genai, OTHERS_READ),
        Listing(read_catwalk(traces / "prices" / "catwalk-providers"), OTHERS_READ),
        Listing(litellm, LITELLM_READ),
    ]
    served = sorted({(each.provider, each.model) for each in recorded_calls(shared / "real-cassettes")})
    # OpenRouter divides some prices: a third of a cent is no whole number of pico-USD, and the nearest one is taken.
    return Prices(
        listed_book(listings, served, rounding="nearest"),
        {each.rows.name: listed_book([Listing(each.rows)], served, rounding="nearest").book for each in listings},
    )


def _model_list(path: Path) -> Any:
    """The list in a recording of the call that fetched it."""
    found = next(
        each
        for each in opened(path.read_bytes(), path.name).read()
        if isinstance(each, Interaction) and each.url.endswith("/models")
    )
    return json.loads(found.body, parse_float=str)


def pairs(shared: Path) -> list[Pair]:
    """Every call whose reply states a cost, beside what we make of it."""
    prices = published_prices(shared)
    found: list[Pair] = []
    for each in recorded_calls(shared / "real-cassettes"):
        stated = each.stated()
        if stated is None:
            continue
        readings: list[tuple[str, Fraction]] = []
        for name, book in prices.readings.items():
            cost = each.cost(book)
            if isinstance(cost, Cost):
                readings.append((name, cost.pico_usd))
        found.append(
            Pair(
                name=each.name,
                counted=each.counted,
                stated=stated,
                cost=each.cost(prices.listed.book),
                readings=tuple(readings),
                at_s=each.at_s,
            )
        )
    return found
