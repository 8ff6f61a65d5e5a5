"""Opens what a plan names: recordings, offers, prices, requests. What comes out is shared by all cells of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import structs

from clawbench.billing.attempt_bills import Biller
from clawbench.billing.offer_prices import OfferPrices
from clawbench.billing.price_book import BadPriceBook, PriceBook
from clawbench.cassettes.matching import key
from clawbench.cassettes.store import BoundStore, CassetteStore, open_store
from clawbench.catalog.catalog import Catalog
from clawbench.catalog.price_maps import PriceMap, read_price_maps
from clawbench.clock import Clock
from clawbench.config.plan import Plan
from clawbench.errors import CassetteError, PlanError, RequestError, UpstreamError
from clawbench.experiments.listed_prices import ListedPrices, listed_prices, recorded_list, served_names, weighed
from clawbench.experiments.recorded_offers import offers_of_recordings
from clawbench.experiments.warm_start import read_estimates
from clawbench.routing.reference import ANY_MODEL, PATTERNS, resolve
from clawbench.transports.cassette import CassetteTransport
from clawbench.transports.emulator import EmulatorTransport
from clawbench.types import ChatRequest, Offer
from clawbench.wires import READ_ONLY, WIRES, wire_for
from clawbench.wires.protocol import Wire
from clawbench.workloads.arrivals import ArrivalProcess, Bursty, ClosedLoop, Constant, Poisson
from clawbench.workloads.prompts import PromptFile, PromptSource, RecordedPrompts
from clawbench.workloads.traffic import Traffic

# 2026-01-01T00:00:00Z. Answers are stamped with this plus virtual seconds, so that the same seed gives the same bytes.
VIRTUAL_EPOCH_S = 1_767_225_600
PROBLEMS_SHOWN = 5


class Prepared:
    """What all cells of a run, or a server, share."""

    def __init__(
        self,
        plan: Plan,
        opened: CassetteStore,
        offers: list[Offer],
        prices: PriceMap,
        listed: ListedPrices,
        *,
        priced_at_s: float,
    ) -> None:
        self.plan, self.opened = plan, opened
        self.biller = _biller(plan, offers, listed)
        self.prices = _price_book(self.biller, offers)
        offers = weighed(offers, self.biller.prices, at_s=priced_at_s)
        self.catalog = Catalog(
            offers,
            display_names={key: table.name for key, table in plan.table.models.items() if table.name is not None},
            aliases={key: tuple(table.aliases) for key, table in plan.table.models.items()},
        )
        _check_model(plan, self.catalog)
        self.store: BoundStore = opened.bind(offers)
        synthetic = plan.table.replay.matching == "synthetic"
        self.ineligible = {} if synthetic else {**self.store.ineligible, **self.store.unrecorded}
        self.warm = None if plan.warm_from is None else read_estimates(plan.warm_from)
        self.traffic = _traffic(plan, opened, self.store, offers)
        self.cassettes = _named(plan, opened)
        self.warnings = [*_only_read(opened), *_warnings(offers, self.ineligible, prices, listed)]

    def transport(self, clock: Clock, *, seed: int, paced: bool) -> CassetteTransport | EmulatorTransport:
        """A transport over the shared recordings, or over emulated offers."""
        matching = self.plan.table.replay.matching
        if matching == "synthetic":
            return EmulatorTransport(
                self.catalog.offers, wire_for, clock, seed=seed, profiles=self.plan.emulated, paced=paced
            )
        strict = matching == "strict"
        return CassetteTransport(
            self.store, self.catalog.offers, wire_for, clock, seed=seed, strict=strict, paced=paced
        )


def prepare(plan: Plan, *, priced_at_s: float = VIRTUAL_EPOCH_S) -> Prepared:
    """Opens everything. `priced_at_s` (Unix seconds): strategies weigh offers at the prices in force then.

    Raises `CassetteError` for a cassette that cannot be read, `PlanError` for the rest.
    """
    try:
        formats = plan.table.replay.formats
        opened = open_store(plan.cassettes, _spoken(plan), cache_dir=cache_folder(), formats=formats)
    except ValueError as error:
        raise PlanError(f"{plan.path}: replay.formats: {error}") from error
    if opened.problems:
        raise _refusal(opened.problems)
    prices = read_price_maps(plan.price_maps, recorded_list)
    offers, listed = list(plan.offers), ListedPrices()
    if plan.table.recorded_offers is not None:
        profiles = {name: table.profile() for name, table in plan.table.recorded_offers.profiles.items()}
        stated = plan.table.recorded_offers.prices
        days = [None if isinstance(each, str) else each.read_on.isoformat() for each in stated]
        recorded = offers_of_recordings(opened.entries, prices, profiles, taken=offers)
        offers += recorded
        try:
            listed = listed_prices(recorded, served_names(opened, recorded), prices, days)
        except BadPriceBook as error:
            raise PlanError(f"{plan.path}: recorded_offers.prices: {error}") from None
    for offer in offers:
        if offer.dialect not in WIRES:
            raise PlanError(f'offer "{offer.id}": dialect "{offer.dialect}" is not known. Known: {", ".join(WIRES)}')
    if not offers:
        raise PlanError(f"{plan.path}: the cassettes hold no successful call that an offer could be made of")
    if plan.faults is not None:
        plan.faults.check(offer.id for offer in offers)
    return Prepared(plan, opened, offers, prices, listed, priced_at_s=priced_at_s)


def cache_folder() -> Path:
    """Where an index is kept whose cassettes lie in a folder that cannot be written."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clawbench"


def _spoken(plan: Plan) -> dict[str, Wire]:
    """The wires that may read the recordings: all, or those of the plan's `replay.dialects`."""
    dialects = plan.table.replay.dialects
    if dialects is None:
        return dict(WIRES)
    unknown = [dialect for dialect in dialects if dialect not in WIRES]
    if unknown:
        raise PlanError(f'replay.dialects: "{unknown[0]}" is not known. Known: {", ".join(WIRES)}')
    return {dialect: WIRES[dialect] for dialect in dialects}


def _refusal(problems: tuple[CassetteError, ...]) -> CassetteError:
    listed = "; ".join(f"{problem.file}: {problem.reason}" for problem in problems[1:PROBLEMS_SHOWN])
    more = f"; and {len(problems) - PROBLEMS_SHOWN} more files" if len(problems) > PROBLEMS_SHOWN else ""
    first = problems[0]
    return CassetteError(
        first.reason + (f"; also {listed}" if listed else "") + more + ". `clawbench cassettes check` lists all.",
        file=first.file,
        place=first.place,
    )


def _check_model(plan: Plan, catalog: Catalog) -> None:
    """Raises `PlanError` if the model that clients ask for is one that no request could be served with."""
    model = plan.table.workload.model
    if model == ANY_MODEL:
        return
    gateway = plan.table.gateway
    patterns = PATTERNS if gateway.name_patterns is None else gateway.name_patterns
    try:
        resolve(model, catalog, chain=gateway.fallback_models, patterns=patterns)
    except RequestError as error:
        raise PlanError(f"{plan.path}: workload.model: {error.message}") from error


def _traffic(plan: Plan, opened: CassetteStore, store: BoundStore, offers: list[Offer]) -> Traffic:
    workload = plan.table.workload
    prompts: PromptSource
    if plan.prompt_file is not None:
        prompts = PromptFile(plan.prompt_file, order=workload.order, stream=workload.stream)
    else:
        everything = plan.table.recorded_offers is not None
        requests = recorded_requests(opened, store, None if everything else offers)
        if not requests:
            raise PlanError(
                f"{plan.path}: no successful call in the cassettes belongs to any of the plan's offers: "
                + "; ".join(list(store.unrecorded.values())[:2])
            )
        prompts = RecordedPrompts(requests, order=workload.order, stream=workload.stream)
    return Traffic(name=workload.name, process=_process(plan), prompts=prompts, requests=workload.requests)


def recorded_requests(
    opened: CassetteStore, store: BoundStore, offers: Sequence[Offer] | None = None
) -> list[ChatRequest]:
    """The requests of all recorded successes of these offers, each canonical request once; None: of all there are."""
    found: dict[bytes, ChatRequest] = {}
    if offers is None:
        for entry in opened.entries:
            if entry.is_success and entry.key not in found:
                found[entry.key] = opened.request(entry)
        return list(found.values())
    for offer in offers:
        # A dialect may write a request otherwise than it was asked (a limit that it needs, a name for a schema):
        # what is known already, as this offer would have been sent it, is not another request.
        known = {key for request in found.values() if (key := _as_sent(request, offer)) is not None}
        for entry in store.entries(offer.id):
            if entry.is_success and entry.key not in found and entry.key not in known:
                found[entry.key] = opened.request(entry)
    return list(found.values())


def _as_sent(request: ChatRequest, offer: Offer) -> bytes | None:
    """The key of a request as it reaches this offer; None if its dialect cannot say it."""
    wire = wire_for(offer)
    try:
        return key(wire.parse(wire.encode(structs.replace(request, model=offer.model), offer)))
    except (UpstreamError, ValueError):
        return None


def _process(plan: Plan) -> ArrivalProcess:
    workload = plan.table.workload
    match workload.kind:
        case "poisson":
            return Poisson(workload.rate_rps)
        case "constant":
            return Constant(workload.rate_rps)
        case "bursty":
            return Bursty(workload.rate_rps, workload.cv)
        case "closed_loop":
            return ClosedLoop(workload.concurrency)


def _named(plan: Plan, opened: CassetteStore) -> list[dict[str, Any]]:
    paths = ", ".join(plan.table.replay.cassettes)
    return [{"path": paths, "hash": opened.digest(), "files": len(opened.files), "interactions": len(opened.entries)}]


def _biller(plan: Plan, offers: list[Offer], own: ListedPrices) -> Biller:
    """What the gateway bills by: the plan's price book, the offers' own prices, its terms. Raises `PlanError`."""
    listed = PriceBook.from_json(plan.price_book.read_bytes()).rows if plan.price_book is not None else ()
    try:
        return Biller(OfferPrices(offers, listed, own.rows), plan.table.billing.terms())
    except BadPriceBook as error:
        raise PlanError(f"{plan.path}: {error}") from None


def _price_book(biller: Biller, offers: list[Offer]) -> dict[str, Any]:
    """The prices in force: the hash of the book that every charge cites, and where its figures are from."""
    return {
        "hash": biller.prices.book.id.removeprefix("sha256:"),
        "sources": sorted({offer.price_source for offer in offers if offer.price_source}),
    }


def _only_read(opened: CassetteStore) -> list[str]:
    """How many recorded answers nobody can be given, because nobody speaks their dialect any more."""
    count = sum(entry.is_success and entry.dialect in READ_ONLY for entry in opened.entries)
    if not count:
        return []
    return [f"{count} recorded answers are in dialects that are only read ({', '.join(sorted(READ_ONLY))}): no offer."]


def _warnings(offers: list[Offer], ineligible: Mapping[str, str], prices: PriceMap, listed: ListedPrices) -> list[str]:
    """What a reader of the report should know before its figures."""
    found = []
    unpriced = [offer.id for offer in offers if offer.rates is None]
    if unpriced:
        found.append(
            f"{len(unpriced)} of {len(offers)} offers have no known price: @price cannot choose them, "
            f"and the cost of a request that they serve is unknown."
        )
    if ineligible:
        first, reason = next(iter(ineligible.items()))
        found.append(f"{len(ineligible)} of {len(offers)} offers cannot serve ({first}: {reason}).")
    rounded = sorted({*(key for prices_of in prices.lists for key in prices_of.rounded), *listed.rounded})
    if rounded:
        found.append(f"{len(rounded)} listed prices are no whole pico-USD and were rounded ({', '.join(rounded[:3])}).")
    if listed.left_out:
        first, why = next(iter(listed.left_out.items()))
        found.append(f"{len(listed.left_out)} listed figures are no price that can be charged ({first}: {why}).")
    return found
