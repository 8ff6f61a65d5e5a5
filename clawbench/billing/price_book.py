"""The price book: dated rows of published prices, under a hash that every charge cites.

A row is data: each bucket's rate in whole pico-USD a token, never derived from another rate. Selection goes by what was
*served*: model → row valid at the instant of sending → service tier → time of day → long-context tier. A bucket that
has no rate in the selected table has no price, and what has no price is not charged; an explicit zero is a price.
Building refuses a row that could be read in two ways. Knows no usage object and no margin.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from clawbench.billing.price_tables import CompiledTable, LongContext, ServiceTable, Window, compile_table
from clawbench.errors import UsageError
from clawbench.money import NotMoney, decimal

STANDARD: Final = frozenset(
    {
        "", "default", "standard", "on_demand", "on-demand", "auto", "unspecified", "traffic_type_unspecified",
        "service_tier_unspecified",
    }
)  # fmt: skip
"""Words by which providers name the tier that everybody gets."""

_RESOLVED_MAX: Final = 4096


class BadPriceBook(UsageError):
    """A price book that must not be used; the message names the row and what is wrong with it."""


class Tariff(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row: what a provider published for some models and some time.

    `models` are served names or patterns with * and ?; a name beats a pattern. `rates` are pico-USD a token by bucket,
    `fees` pico-USD a use by kind, `multipliers` decimal texts by circumstance and act on tokens only.
    `valid_from` and `valid_to` are UTC instants (RFC 3339), half-open; null is without end.
    """

    provider: str
    models: tuple[str, ...]
    rates: dict[str, int]
    valid_from: str | None = None
    valid_to: str | None = None
    source: str = ""
    read_on: str = ""
    context_tokens: int | None = None
    output_tokens_max: int | None = None
    tiers: tuple[LongContext, ...] = ()
    windows: tuple[Window, ...] = ()
    service_tiers: dict[str, ServiceTable] = {}
    multipliers: dict[str, str] = {}
    fees: dict[str, int] = {}
    on_abort: Literal["drain", "cancel"] = "drain"
    cost_reported: Literal["exact", "rounded"] | None = None

    @property
    def id(self) -> str:
        """Provider, first model and first day: what a charge cites within its book."""
        return f"{self.provider}/{self.models[0]}/{(self.valid_from or 'always')[:10]}"


class Price(Struct, frozen=True):
    """What one part of a reply is priced at. `rates` run parallel to `BUCKETS`; None: no price."""

    book_id: str
    row_id: str
    table: str  # e.g. "base", "flex", "base, above 272000"
    rates: tuple[int | None, ...]
    row: CompiledRow


class CompiledRow:
    """A row in the form in which it is looked up."""

    __slots__ = ("base", "fees", "from_s", "id", "multipliers", "service", "tariff", "to_s")

    def __init__(self, tariff: Tariff) -> None:
        if not tariff.models:
            raise ValueError("it needs a model")
        self.tariff = tariff
        self.id = tariff.id
        self.from_s = float("-inf") if tariff.valid_from is None else instant(tariff.valid_from)
        self.to_s = float("inf") if tariff.valid_to is None else instant(tariff.valid_to)
        if self.from_s >= self.to_s:
            raise ValueError("it ends before it begins")
        self.base = compile_table("base", tariff.rates, tariff.tiers, tariff.windows)
        self.service = {
            name: compile_table(name, table.rates, table.tiers, table.windows)
            for name, table in tariff.service_tiers.items()
        }
        self.multipliers = {name: _factor(text) for name, text in tariff.multipliers.items()}
        self.fees = dict(tariff.fees)
        for kind, fee in self.fees.items():
            if fee < 0:
                raise ValueError(f"the fee {kind} is negative")
        if tariff.context_tokens is not None and tariff.context_tokens < 1:
            raise ValueError("a context has at least one token")

    def valid_at(self, at_s: float) -> bool:
        return self.from_s <= at_s < self.to_s

    def table(self, service_tier: str | None) -> CompiledTable | None:
        """The table of a served tier; None where the row has none for it."""
        if service_tier is None or service_tier in STANDARD:
            return self.base
        return self.service.get(service_tier)


class PriceBook:
    """Rows, looked up by what was served. Immutable once built."""

    __slots__ = ("_named", "_patterns", "_resolved", "id", "rows")

    def __init__(self, rows: Iterable[Tariff]) -> None:
        """Raises `BadPriceBook`."""
        self.rows = tuple(rows)
        self.id = f"sha256:{sha256(self.text).hexdigest()}"
        self._named: dict[tuple[str, str], list[CompiledRow]] = {}
        self._patterns: dict[str, list[tuple[str, CompiledRow]]] = {}
        self._resolved: dict[tuple[str, str], list[CompiledRow]] = {}
        ids: set[str] = set()
        for tariff in self.rows:
            try:
                row = CompiledRow(tariff)
                self._add(tariff, row)
                if row.id in ids:
                    raise ValueError("another row has the same provider, first model and day")
                ids.add(row.id)
            except ValueError as error:
                raise BadPriceBook(f"price book row {tariff.provider}/{'|'.join(tariff.models)}: {error}") from None

    @property
    def text(self) -> bytes:
        """The canonical JSON of the rows, which the id is the hash of."""
        return msgspec.json.encode(self.rows, order="sorted")

    @classmethod
    def from_json(cls, text: bytes) -> PriceBook:
        """A book from a JSON list of rows. Raises `BadPriceBook` for what is none, unknown keys included."""
        try:
            return cls(msgspec.json.decode(text, type=list[Tariff]))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadPriceBook(f"no price book: {error}") from None

    def row(self, provider: str, model: str, at_s: float) -> CompiledRow | None:
        """The row of a served model valid at an instant (Unix seconds); None where there is none."""
        key = (provider, model)
        rows = self._named.get(key)
        if rows is None:
            rows = self._resolved.get(key)
            if rows is None:
                rows = self._resolve(provider, model)
        for row in rows:
            if row.from_s <= at_s < row.to_s:
                return row
        return None

    def price(
        self, provider: str, model: str, at_s: float, service_tier: str | None, input_tokens: int
    ) -> Price | None:
        """What a served model costs at an instant, in a tier, at a size of prompt. None: no price is known."""
        row = self.row(provider, model, at_s)
        if row is None:
            return None
        table = row.base if service_tier is None else row.table(service_tier)
        if table is None:
            return None
        rates, name = table.select(at_s, input_tokens)
        return Price(self.id, row.id, name, rates, row)

    def _add(self, tariff: Tariff, row: CompiledRow) -> None:
        for model in tariff.models:
            if "*" in model or "?" in model:
                others = [other for pattern, other in self._patterns.get(tariff.provider, ()) if pattern == model]
                self._patterns.setdefault(tariff.provider, []).append((model, row))
            else:
                others = list(self._named.get((tariff.provider, model), ()))
                self._named.setdefault((tariff.provider, model), []).append(row)
            for other in others:
                if row.from_s < other.to_s and other.from_s < row.to_s:
                    raise ValueError(f"{model} has two rows at the same time")

    def _resolve(self, provider: str, model: str) -> list[CompiledRow]:
        fitting = [(pattern, row) for pattern, row in self._patterns.get(provider, ()) if fnmatchcase(model, pattern)]
        # The most particular pattern decides; two that are equally particular decide nothing.
        most = max((len(pattern) for pattern, _ in fitting), default=0)
        best = [(pattern, row) for pattern, row in fitting if len(pattern) == most]
        rows = [row for _, row in best] if len({pattern for pattern, _ in best}) == 1 else []
        if len(self._resolved) >= _RESOLVED_MAX:  # names come from replies: they must not fill the memory
            self._resolved.clear()
        self._resolved[provider, model] = rows
        return rows


def pico_rate(usd_per_million: str) -> int:
    """A rate in pico-USD a token from USD per million tokens. Raises `ValueError` if it is no whole number of them."""
    return _whole(usd_per_million, 1_000_000)


def pico_fee(usd: str) -> int:
    """A fee in pico-USD a use from USD. Raises `ValueError` if it is no whole number of them."""
    return _whole(usd, 10**12)


def _whole(text: str, scale: int) -> int:
    exact = Fraction(_amount(text)) * scale
    if exact.denominator != 1 or exact < 0:
        raise ValueError(f"{text} is no whole number of pico-USD from 0 up")
    return int(exact)


def _amount(text: str) -> Decimal:
    try:
        return decimal(text)
    except NotMoney as error:
        raise ValueError(str(error)) from None


def _factor(text: Any) -> Fraction:
    factor = Fraction(_amount(text))
    if factor < 0:
        raise ValueError(f"the multiplier {text} is negative")
    return factor


def instant(text: str) -> float:
    """An RFC 3339 instant in Unix seconds. Raises `ValueError`."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} names no time zone")
    return found.timestamp()
