"""A plan: what to run, as declared values. `configs/README.md` documents every key for its users.

Paths in a plan are relative to the plan's file. Nothing here opens a cassette or a price map.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from clawbench.config.billing import BillingTable, PriceListTable
from clawbench.config.emulator import EmulatorProfileTable, shipped_profiles
from clawbench.config.network import NetworkTable, RecordTable
from clawbench.config.prices import PriceTable
from clawbench.config.read import convert, load, with_overrides
from clawbench.config.routing import HedgingTable, ModelTable, RoutingTable
from clawbench.emulator.profiles import Profile
from clawbench.errors import PlanError, RequestError, did_you_mean
from clawbench.faults.kinds import AnyFault
from clawbench.faults.plan import FaultPlan
from clawbench.gateway.limits import Limits
from clawbench.routing.reference import TAGS, tags_of
from clawbench.routing.strategies import STRATEGIES
from clawbench.schema import SCHEMA_VERSION
from clawbench.types import LatencyProfile, Offer

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
ShortName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class ProfileTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast an offer answers where a recording does not say. See `types.LatencyProfile`."""

    ttft_s_median: Positive
    ttft_s_sigma: Positive
    token_rate_median: Positive
    token_rate_sigma: Positive
    source: str

    def profile(self) -> LatencyProfile:
        return LatencyProfile(
            ttft_s_median=self.ttft_s_median,
            ttft_s_sigma=self.ttft_s_sigma,
            token_rate_median=self.token_rate_median,
            token_rate_sigma=self.token_rate_sigma,
            source=self.source,
        )


class OfferTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[offers]]`."""

    provider: ShortName
    model: str
    base_url: Annotated[str, Meta(pattern=r"^https?://[^/\s]+")]
    id: str | None = None
    upstream_model: str | None = None
    dialect: str = "openai_chat"
    usd_per_mtok: PriceTable | None = None
    context_window: Count | None = None
    max_output_tokens: Count | None = None
    capabilities: list[Literal["tools", "vision", "audio", "json_schema", "logprobs", "n"]] | None = None
    profile: ProfileTable | None = None
    quota: str | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    energy_j_per_token: Positive | None = None
    quality: Annotated[float, Meta(gt=0, le=1)] | None = None
    emulator: EmulatorProfileTable | None = None  # how the emulator plays it, where answers are synthetic

    def offer(self) -> Offer:
        offer_id = self.id or f"{self.provider}/{self.model}"
        if not offer_id.isascii() or not offer_id.isprintable():
            raise PlanError(f"offers: id {offer_id!r} must be printable ASCII; it is sent in response headers")
        where = f"offers.{offer_id}.usd_per_mtok"
        return Offer(
            id=offer_id,
            provider=self.provider,
            model=self.model,
            upstream_model=self.upstream_model or self.model,
            base_url=self.base_url.rstrip("/"),
            dialect=self.dialect,
            rates=self.usd_per_mtok.rates(where) if self.usd_per_mtok else None,
            price_source=self.usd_per_mtok.origin if self.usd_per_mtok else None,
            context_window=self.context_window,
            max_output_tokens=self.max_output_tokens,
            capabilities=frozenset(self.capabilities) if self.capabilities is not None else None,
            profile=self.profile.profile() if self.profile else None,
            quota=self.quota,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            energy_j_per_token=self.energy_j_per_token,
            quality=self.quality,
        )


class RecordedOffersTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[recorded_offers]`: make an offer of every (host, path prefix, model) that the cassettes hold successes of."""

    prices: list[str | PriceListTable] = []  # published price lists, asked in order
    profiles: dict[str, ProfileTable] = {}  # by provider; "default" for the others


class WorkloadTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[workload]`: what clients ask, how often."""

    name: ShortName = "recorded"
    kind: Literal["poisson", "constant", "bursty", "closed_loop"] = "poisson"
    requests: Count = 1000  # in every cell
    rate_rps: Positive = 10.0
    cv: Positive = 2.0  # bursty: coefficient of variation of the gaps
    concurrency: Count = 8  # closed_loop: clients, each asking again once answered
    model: str = "*"
    prompts: str = "recorded"  # "recorded", or a JSONL file
    order: Literal["shuffled", "cycle"] = "shuffled"
    stream: Literal["as_recorded"] | float = "as_recorded"  # or the share of requests to be streamed


class ReplayTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[replay]`: what answers."""

    cassettes: list[str] = []
    matching: Literal["exact_then_nearest", "strict", "synthetic"] = "exact_then_nearest"
    formats: list[str] | None = None  # None: all that are read
    dialects: list[str] | None = None
    missing: str | None = None  # the way out that the error names where a cassette folder is absent


class GatewayTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[gateway]`: see `gateway/limits.py`."""

    attempts_max: Count = 3
    request_timeout_s: Positive = 120.0
    attempt_timeout_s: Positive | None = None
    ttft_timeout_s: Positive = 60.0
    idle_timeout_s: Positive = 60.0
    default_strategy: str = "price"  # for `serve`: what a model without tags means
    fallback_models: list[str] = []  # when the offers asked for are spent, and for names that mean no model
    name_patterns: dict[str, str] | None = None  # form of a name → provider whose it is; None: those known by default
    hedging: HedgingTable | None = None  # None: off

    def limits(self) -> Limits:
        return Limits(
            attempts_max=self.attempts_max,
            request_timeout_s=self.request_timeout_s,
            attempt_timeout_s=self.attempt_timeout_s,
            ttft_timeout_s=self.ttft_timeout_s,
            idle_timeout_s=self.idle_timeout_s,
            hedging=self.hedging.settings() if self.hedging else None,
        )


class PlanTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole plan file."""

    name: ShortName
    strategies: list[str]
    replay: ReplayTable = ReplayTable()
    description: str = ""
    seeds: list[int] = field(default_factory=lambda: [1])
    workload: WorkloadTable = WorkloadTable()
    gateway: GatewayTable = GatewayTable()
    routing: RoutingTable = RoutingTable()
    billing: BillingTable = BillingTable()
    models: dict[str, ModelTable] = {}  # by id
    offers: list[OfferTable] = []
    recorded_offers: RecordedOffersTable | None = None
    network: NetworkTable | None = None  # None: nothing of this plan is ever called over a network
    record: RecordTable = RecordTable()
    faults: list[AnyFault] = []  # what goes wrong when; see faults/kinds.py
    oracle: bool = False  # whether a run is compared with the best that was possible in hindsight


class Plan(Struct, frozen=True, kw_only=True):
    """A checked plan with paths made absolute. `hash` is over its resolved values, overrides included."""

    path: Path
    table: PlanTable
    hash: str
    cassettes: tuple[Path, ...]
    price_maps: tuple[Path, ...]
    prompt_file: Path | None
    price_book: Path | None  # of published prices
    warm_from: Path | None  # estimates that every cell starts with
    offers: tuple[Offer, ...]
    emulated: dict[str, Profile]  # by offer id, where the plan says how the emulator plays it

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def faults(self) -> FaultPlan | None:
        """What goes wrong in every cell; None: nothing on purpose."""
        return FaultPlan(name=self.name, faults=tuple(self.table.faults)) if self.table.faults else None

    @property
    def run_id(self) -> str:
        """hash(plan, seeds, schema version); the same plan gives the same id wherever it lies."""
        return sha256(f"{self.hash}\x1f{self.table.seeds}\x1f{SCHEMA_VERSION}".encode()).hexdigest()


def load_plan(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    strategies: Sequence[str] | None = None,
) -> Plan:
    """Read and check a plan; `seeds` and `strategies` replace the plan's own. Raises `PlanError`."""
    data = load(path, overrides)
    if seeds:
        data["seeds"] = list(seeds)
    if strategies:
        data["strategies"] = list(strategies)
    return _plan(data, path=path)


def _plan(data: dict[str, Any], *, path: Path) -> Plan:
    table = convert(data, PlanTable, file=path)
    try:
        _check(table)
        offers = tuple(offer.offer() for offer in table.offers)
        emulated = _emulated(table, offers)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error
    base = path.parent
    prompts, warm_from = table.workload.prompts, table.routing.warm_from
    plan = Plan(
        path=path,
        table=table,
        hash=sha256(msgspec.json.encode(_values(table, base), order="deterministic")).hexdigest(),
        cassettes=tuple(base / cassette for cassette in table.replay.cassettes),
        price_maps=tuple(base / price_map for price_map in _price_maps(table)),
        price_book=None if table.billing.price_book is None else base / table.billing.price_book,
        warm_from=None if warm_from is None else base / warm_from,
        prompt_file=None if prompts == "recorded" else base / prompts,
        offers=offers,
        emulated=emulated,
    )
    _check_files(plan)
    return plan


def plan_of_cassettes(paths: Sequence[Path], *, overrides: Sequence[str] = ()) -> Plan:
    """A plan that was never written: serve these recordings as they are, strictly. Raises `PlanError`."""
    data: dict[str, Any] = {
        "name": "cassettes",
        "strategies": ["price"],
        "replay": {"cassettes": [str(path.resolve()) for path in paths], "matching": "strict"},
        "gateway": {"default_strategy": "round_robin"},
        "recorded_offers": {},
    }
    return _plan(with_overrides(data, overrides), path=Path("--cassettes"))


def _emulated(table: PlanTable, offers: Sequence[Offer]) -> dict[str, Profile]:
    """The emulator's profiles of the offers that have one. Raises `PlanError`."""
    shipped = shipped_profiles() if any(each.emulator for each in table.offers) else {}
    return {
        offer.id: each.emulator.profile(shipped, f"offers.{offer.id}.emulator")
        for offer, each in zip(offers, table.offers, strict=True)
        if each.emulator is not None
    }


def _values(table: PlanTable, base: Path) -> Any:
    """The plan's values without what cannot change a result."""
    values = msgspec.to_builtins(table)
    values.pop("description")
    values.pop("seeds")
    values.pop("oracle")
    values["replay"].pop("missing")
    # How a provider is reached and what is recorded of it bears on no replay.
    values.pop("network")
    values.pop("record")
    if not values["faults"]:
        values.pop("faults")
    for offer in values["offers"]:
        prices = offer["usd_per_mtok"] or {"tiers": ()}
        for key in ("source", "read_on") if prices["tiers"] else ("source", "read_on", "tiers"):
            prices.pop(key, None)
    warm_from = values["routing"].pop("warm_from")
    if warm_from is not None and (base / warm_from).is_file():
        values["routing"]["warm_from"] = sha256((base / warm_from).read_bytes()).hexdigest()
    if values["routing"]["sticky_margin"] is None:
        values["routing"].pop("sticky_margin")
        values["routing"].pop("sticky_idle_s")
    if not values["models"]:
        values.pop("models")
    for key in ("hedging", "name_patterns", "attempt_timeout_s"):
        if values["gateway"][key] is None:
            values["gateway"].pop(key)
    return values


def _price_maps(table: PlanTable) -> list[str]:
    stated = table.recorded_offers.prices if table.recorded_offers else []
    return [each if isinstance(each, str) else each.path for each in stated]


def _check(table: PlanTable) -> None:
    for strategy in table.strategies:
        check_strategy(strategy)
    check_strategy(table.gateway.default_strategy)
    table.routing.settings(strict=False)
    table.billing.terms()
    table.billing.credit_pico_uat()
    table.gateway.limits()
    # "@price" is "price": they would be one cell.
    plain = [strategy.strip("@").replace("@", "-") for strategy in table.strategies]
    for key, values, names in (("strategies", table.strategies, plain), ("seeds", table.seeds, table.seeds)):
        if not values:
            raise PlanError(f"{key} is empty; give at least one")
        if len(set(names)) != len(names):
            raise PlanError(f"{key} names one twice: {', '.join(map(str, values))}")
    if any(not -(2**63) <= seed < 2**63 for seed in table.seeds):
        raise PlanError("seeds must fit 64 bits")
    synthetic = table.replay.matching == "synthetic"
    if not table.replay.cassettes and not synthetic and table.network is None:
        raise PlanError(
            "replay.cassettes is empty; give at least one file or folder, synthetic matching, or a [network]"
        )
    if not table.replay.cassettes and table.workload.prompts == "recorded":
        raise PlanError("there are no cassettes to take requests from; give workload.prompts a JSONL file of prompts")
    if not table.offers and table.recorded_offers is None:
        raise PlanError("there is no [[offers]] and no [recorded_offers]; one of them must say who serves")


def check_strategy(strategy: str) -> None:
    """Raises `PlanError` unless `strategy` is a baseline's name, a tag, or tags joined by '@'."""
    if strategy in STRATEGIES:
        return
    try:
        tags_of(strategy)
    except RequestError:
        known = sorted(set(STRATEGIES) | set(TAGS))
        raise PlanError(
            f'strategy "{strategy}" is not known.{did_you_mean(strategy, known)} '
            f"Known: {', '.join(known)}; tags may be joined, as in price@latency."
        ) from None


def _check_files(plan: Plan) -> None:
    further = [path for path in (plan.prompt_file, plan.price_book, plan.warm_from) if path is not None]
    for path in (*plan.cassettes, *plan.price_maps, *further):
        if not path.exists():
            way_out = plan.table.replay.missing or "Paths in a plan are relative to the plan's file."
            raise PlanError(f"{plan.path}: {path} does not exist. {way_out}")
