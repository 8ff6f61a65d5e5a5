"""Worked bills: rows that state a provider's reply, the price in force, and what the bill must come to.

Reads the file, and makes of a row's stated prices the price book that the bill is charged by, in which tiers, windows
and tariffs of other rows stand too, so that selecting wrongly gives a wrong cost or none. Replies keep their bytes: an
amount is what its literal says. Runs nothing (`worked_bills.py` does).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, structs

from clawbench.billing.price_book import STANDARD, BadPriceBook, PriceBook, Tariff, pico_fee, pico_rate
from clawbench.billing.price_tables import LongContext, ServiceTable, Window
from clawbench.billing.published import FREE_USES, OFF_PEAK
from clawbench.catalog.tiers import INCLUSIVE_THRESHOLDS
from clawbench.errors import UsageError, did_you_mean

_THRESHOLD: Final = re.compile(r"_above_(\d+)k_tokens")
_DATED: Final = ("-20??-??-??", "-20??????", "@20??????", "-00?")
"""How providers name dated versions of the model that was asked for."""


_BAD_NAMED: Final = 5  # of a file's bad lines, so many are named

NULL: Final = Raw(b"null")


class BadVectors(UsageError):
    """A file that holds no worked bills; the message names the line."""


class SseReply(Struct, frozen=True, kw_only=True):
    """`sse` are data objects, `sse_named` pairs of event name and object; `done`: `[DONE]` follows."""

    sse: tuple[Raw, ...] | None = None
    sse_named: tuple[tuple[str, Raw], ...] | None = None
    done: bool = False


class MockResponse(Struct, frozen=True, kw_only=True):
    """A reply to replay: a body (JSON, or a string that is the text of something else), or a stream.

    A status of null is a call that nobody answered; `error` says in a word how it failed.
    """

    status: int | None = 200
    body: Raw = NULL
    sse: SseReply | None = None
    error: str | None = None


class Multiplier(Struct, frozen=True, kw_only=True):
    name: str
    factor: Raw


class ToolFee(Struct, frozen=True, kw_only=True):
    """Uses of `kind` cost `unit_usd` each. How many there were is for the reply to say; `count` is the row's word."""

    kind: str
    unit_usd: Raw
    count: Raw = NULL


class Vector(Struct, frozen=True, kw_only=True):
    """One worked bill. Amounts are decimal texts or numbers, and stay as they were written (`literal`).

    `expected_cost_usd` is null or absent where only the outcome is stated.
    """

    id: str
    provider: str
    api: str
    model: str | None = None
    usage_raw: Raw = NULL
    request_context: dict[str, Any] | None = None
    canonical: dict[str, Any] | None = None
    price_key: str | None = None
    price_tier: str | None = None
    price_per_mtok: dict[str, Raw] | None = None
    multipliers: tuple[Multiplier, ...] | None = None
    tool_fees: tuple[ToolFee, ...] | None = None
    expected_outcome: str
    expected_cost_usd: Raw = NULL
    expected_charge_pico_uat: Raw = NULL
    mock_response: MockResponse | None = None
    line: int = 0  # of the file, from 1; set when it is read

    @property
    def key(self) -> tuple[str, str | None]:
        """Rows with the same one state prices of the same thing."""
        return self.provider, self.price_key

    @property
    def context(self) -> dict[str, Any]:
        """What of the request matters for its price."""
        return self.request_context or {}


def read_vectors(path: Path) -> list[Vector]:
    """The rows of a file of JSON lines. Raises `BadVectors`."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadVectors(f"{path}: {error.strerror or error}") from None
    rows: list[Vector] = []
    bad: list[str] = []
    decode = msgspec.json.Decoder(Vector).decode
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(structs.replace(decode(line), line=number))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            bad.append(f"line {number}: {error}")
    if bad:
        more = f"; and {len(bad) - _BAD_NAMED} more" if len(bad) > _BAD_NAMED else ""
        raise BadVectors(f"{path}, {'; '.join(bad[:_BAD_NAMED])}{more}")
    if not rows:
        raise BadVectors(f"{path} holds no rows")
    return rows


def literal(raw: Raw) -> str | None:
    """An amount as it was written, as text or as a number; None for null."""
    text = bytes(raw)
    if text.startswith(b'"'):
        return msgspec.json.decode(text, type=str)
    return None if text == b"null" else text.decode()


def sent_at(row: Vector) -> float | None:
    """The instant that a row states, in Unix seconds. Raises `BadVectors` for what is none."""
    stated = row.context.get("at")
    if stated is None:
        return None
    try:
        return datetime.fromisoformat(stated).timestamp()
    except (TypeError, ValueError):
        raise BadVectors(f"{row.id}: at {stated!r} is no instant") from None


class ServedAs(Struct, frozen=True, kw_only=True):
    """What a row's own reply says of how it was served: a row states the prices of just that."""

    model: str | None = None
    service_tier: str | None = None
    traits: tuple[str, ...] = ()


class PriceSheet:
    """All that the rows of a file state about prices. What is wrong with one row's prices concerns that row alone."""

    __slots__ = ("_of_key", "_tariffs")

    def __init__(self, rows: Sequence[Vector]) -> None:
        self._of_key: dict[tuple[str, str | None], list[Vector]] = {}
        for row in rows:
            self._of_key.setdefault(row.key, []).append(row)
        self._tariffs: dict[tuple[str, str | None], Tariff] = {}
        for key, of_key in self._of_key.items():
            if key[1] is not None:
                try:
                    tariff = _tariff(of_key, ServedAs())
                    PriceBook([tariff])
                except UsageError:
                    continue
                self._tariffs[key] = tariff

    def book_of(self, row: Vector, served: ServedAs) -> PriceBook:
        """The price book in force for a row. Raises `BadPriceBook` or `BadVectors`.

        Its own tariff is what all rows of the same price key state, its own figures first; the other rows' tariffs
        stand beside where they name other models. A row's list of multipliers is complete: circumstances of its reply
        that are not in it multiply nothing.
        """
        of_key = self._of_key.get(row.key, ())
        own = () if row.price_key is None else (_tariff([row, *(each for each in of_key if each is not row)], served),)
        tariffs: list[Tariff] = []
        taken: set[tuple[str, str]] = set()
        for tariff in (*own, *(tariff for key, tariff in self._tariffs.items() if key != row.key)):
            free = tuple(name for name in tariff.models if (tariff.provider, name) not in taken)
            taken.update((tariff.provider, name) for name in free)
            if free:
                tariffs.append(structs.replace(tariff, models=free))
        return PriceBook(tariffs)


def _tariff(rows: Sequence[Vector], served: ServedAs) -> Tariff:
    """The tariff that rows of one price key state; the first to state a figure is right. Raises `BadPriceBook`."""
    first = rows[0]
    windows = OFF_PEAK.get(first.provider, ()) if sent_at(first) is not None else ()
    rates: dict[tuple[str, int, int], dict[str, int]] = {}  # by service tier, window, threshold
    fees = dict.fromkeys(FREE_USES.get(first.provider, ()), 0)
    multipliers = {each.name: literal(each.factor) or "" for each in first.multipliers or ()}
    multipliers.update((trait, "1") for trait in served.traits if trait not in multipliers)
    for row in rows:
        try:
            tier, threshold = _tier(row.price_tier or "base")
            tier = tier or _tier_served(row, served if row is first else ServedAs())
            slot = rates.setdefault((tier, _window(row, windows), threshold), {})
            for bucket, raw in (row.price_per_mtok or {}).items():
                rate = literal(raw)
                if rate is not None:
                    slot.setdefault(bucket, pico_rate(rate))
            for fee in row.tool_fees or ():
                fees.setdefault(fee.kind, pico_fee(literal(fee.unit_usd) or ""))
        except (ValueError, UsageError) as error:
            if row is first:
                raise BadPriceBook(f"{first.id}: {error}") from None
    inclusive = first.provider in INCLUSIVE_THRESHOLDS

    def tiers(tier: str, window: int) -> tuple[LongContext, ...]:
        return tuple(
            LongContext(threshold=threshold, inclusive=inclusive, rates=slot)
            for (of_tier, of_window, threshold), slot in rates.items()
            if (of_tier, of_window) == (tier, window) and threshold
        )

    return Tariff(
        provider=first.provider,
        models=_names(rows, served.model),
        rates=rates.get(("", -1, 0), {}),
        tiers=tiers("", -1),
        windows=tuple(
            # Off-peak prices are the same in all of a provider's windows.
            structs.replace(window, rates=rates.get(("", 0, 0), {}), tiers=tiers("", 0))
            for window in windows
        ),
        service_tiers={
            tier: ServiceTable(rates=rates.get((tier, -1, 0), {}), tiers=tiers(tier, -1))
            for tier, _, _ in rates
            if tier
        },
        multipliers=multipliers,
        fees=fees,
    )


def _tier(price_tier: str) -> tuple[str, int]:
    """Service tier ("" where none is named) and threshold in tokens (0: none) of "base", "_flex", "_above_200k_…"."""
    found = _THRESHOLD.search(price_tier)
    word = _THRESHOLD.sub("", price_tier).strip("_")
    return "" if word == "base" else {"batches": "batch"}.get(word, word), int(found[1]) * 1000 if found else 0


def _tier_served(row: Vector, served: ServedAs) -> str:
    """A tier that was served and that the row's prices are for, though they do not name it; "" for the standard one."""
    tier = served.service_tier or row.context.get("service_tier")
    return tier if type(tier) is str and tier not in STANDARD else ""


def _window(row: Vector, windows: tuple[Window, ...]) -> int:
    """0 where a row's instant is off-peak, -1 where it is not or nobody knows."""
    at_s = sent_at(row)
    if at_s is None or not windows:
        return -1
    probe = Tariff(
        provider=row.provider,
        models=("probe",),
        rates={"uncached_input": 0},
        windows=tuple(structs.replace(window, rates={"uncached_input": 1}) for window in windows),
    )
    price = PriceBook([probe]).price(row.provider, "probe", at_s, None, 0)
    return 0 if price is not None and price.rates[0] == 1 else -1


def _names(rows: Sequence[Vector], served: str | None) -> tuple[str, ...]:
    first = rows[0]
    plain = [first.price_key or "", served or ""]
    plain += [row.model for row in rows if row.model]
    plain += [name.split("/", 1)[1] for name in plain if "/" in name]
    names = [name for name in dict.fromkeys(plain) if name and "*" not in name and "?" not in name]
    return (*names, *(name + dated for name in names for dated in _DATED))


def no_such_api(row: Vector, known: Sequence[str]) -> BadVectors:
    """The error for a row of an API that is not known."""
    return BadVectors(f"{row.id}: the API {row.api!r} is not known.{did_you_mean(row.api, known)}")
