"""An emulator's plan: which providers there are, what they serve, how they behave. See `configs/emulator.toml`.

Turns tables into the frozen values of `emulator/profiles.py`; a profile starts from one that ships (`like`), or from
nothing, and the plan's own keys go over it. Nothing is opened but the plan and the profiles that ship.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

from clawbench.config.read import convert, load
from clawbench.emulator.dialects import EMULATED
from clawbench.emulator.pool import Recording
from clawbench.emulator.profiles import HOURS, CachePolicy, Failure, FailureKind, Moment, Profile
from clawbench.emulator.specs import PORT, OfferSpec, ProviderSpec
from clawbench.errors import PlanError, did_you_mean
from clawbench.wires.openai_quirks import QUIRKS

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
ShortName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Port = Annotated[int, Meta(ge=0, le=65535)]

SHIPPED: Final = "shipped_profiles.toml"


class FailureTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of `failures`: see `emulator.profiles.Failure`."""

    share: Share
    kind: FailureKind
    at: Moment = "model"
    retry_after_s: Positive | None = None

    def failure(self) -> Failure:
        return Failure(share=self.share, kind=self.kind, at=self.at, retry_after_s=self.retry_after_s)


class EmulatorProfileTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[providers.profile]` and an offer's `profile`: see `emulator.profiles.Profile`.

    An offer's keys go over its provider's, both over those of the profile that ships under the name `like`.
    """

    like: str | None = None  # a profile that ships
    ttft_s_median: Positive | None = None
    ttft_s_sigma: Positive | None = None
    ttft_s_per_1k_prompt_tokens: NotNegative | None = None
    ttft_quantiles: list[Positive] | None = None
    token_rate_median: Positive | None = None
    token_rate_sigma: Positive | None = None
    token_rate_loss_per_1k_prompt_tokens: NotNegative | None = None
    token_rate_quantiles: list[Positive] | None = None
    jitter_sigma: NotNegative | None = None
    tokens_per_event: Count | None = None
    network_s: NotNegative | None = None
    failures: list[FailureTable] | None = None
    cache: CachePolicy | None = None
    cache_hit_share: Share | None = None
    cache_ttl_s: Positive | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    slots: Count | None = None
    queue_max: Annotated[int, Meta(ge=0)] | None = None
    contention: NotNegative | None = None
    hourly: list[Positive] | None = None
    joules_per_input_token: NotNegative | None = None
    joules_per_output_token: NotNegative | None = None
    source: str | None = None

    def profile(self, shipped: Mapping[str, Profile], where: str) -> Profile:
        """The profile that this table alone makes. Raises `PlanError` for one that is not complete."""
        return _profile(shipped, where, self)


class EmulatedOfferTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[providers.offers]]`."""

    model: str
    profile: EmulatorProfileTable = EmulatorProfileTable()
    upstream_model: str | None = None  # the provider's own name of it
    context_window: Count | None = None
    thinks: bool = False  # reasons before it answers


class EmulatedProviderTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[providers]]`. Its name is the prefix of its paths."""

    name: ShortName
    offers: list[EmulatedOfferTable]
    profile: EmulatorProfileTable = EmulatorProfileTable()  # of all its offers
    dialects: list[str] = field(default_factory=lambda: ["openai_chat"])  # told apart by path
    api_key: str | None = None  # what calls must carry; without it any key will do, and none


class RecordingTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[recordings]]`: which prompts `--record` asks the offers of a model. See `emulator.pool.Recording`."""

    model: str
    kinds: list[str] | None = None
    share: Share = 1.0
    stream: Literal["both", "either"] = "either"

    def recording(self) -> Recording:
        kinds = None if self.kinds is None else tuple(self.kinds)
        return Recording(model=self.model, kinds=kinds, share=self.share, stream=self.stream)


class EmulatorTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole emulator plan."""

    providers: list[EmulatedProviderTable]
    description: str = ""
    host: str = "127.0.0.1"
    port: Port = PORT
    seed: int = 1
    hour_at_start: Annotated[float, Meta(ge=0, lt=24)] | None = None  # None: the hour that it is (UTC)
    prompts: str | None = None  # JSONL file that `--record` asks, relative to the plan
    recordings: list[RecordingTable] = []


class EmulatorPlan(Struct, frozen=True, kw_only=True):
    """A checked emulator plan."""

    path: Path
    table: EmulatorTable
    providers: tuple[ProviderSpec, ...]
    recordings: tuple[Recording, ...]
    prompt_file: Path | None

    @property
    def origin(self) -> str:
        """The address that recordings of this plan have."""
        return f"http://{self.table.host}:{self.table.port}"


def load_emulator(path: Path, *, overrides: Sequence[str] = ()) -> EmulatorPlan:
    """Read and check an emulator plan. Raises `PlanError`."""
    table = convert(load(path, overrides), EmulatorTable, file=path)
    try:
        providers = _providers(table)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error
    prompts = path.parent / table.prompts if table.prompts is not None else None
    recordings = tuple(each.recording() for each in table.recordings)
    return EmulatorPlan(path=path, table=table, providers=providers, recordings=recordings, prompt_file=prompts)


def shipped_profiles() -> dict[str, Profile]:
    """The profiles that ship, by name."""
    path = Path(str(files("clawbench.emulator").joinpath(SHIPPED)))
    return read_profiles(path)


def read_profiles(path: Path) -> dict[str, Profile]:
    """Profiles of a TOML file of `[profiles.<name>]` tables. Raises `PlanError`."""
    table = convert(load(path), _ProfilesFile, file=path)
    return {name: _profile({}, f"profiles.{name}", each) for name, each in table.profiles.items()}


class _ProfilesFile(Struct, frozen=True, forbid_unknown_fields=True):
    profiles: dict[str, EmulatorProfileTable]


def _profile(shipped: Mapping[str, Profile], where: str, *tables: EmulatorProfileTable) -> Profile:
    """The profile that these tables make, later ones over earlier. Raises `PlanError` for one that is not complete."""
    own: dict[str, Any] = {}
    for table in tables:
        own |= {name: value for name, value in _values(table).items() if value is not None}
    like = own.pop("like", None)
    if like is not None and like not in shipped:
        raise PlanError(f'{where}.like: there is no profile "{like}".{did_you_mean(like, shipped)}')
    base = {} if like is None else {name: getattr(shipped[like], name) for name in Profile.__struct_fields__}
    values = base | own
    needed = ("ttft_s_median", "ttft_s_sigma", "token_rate_median", "token_rate_sigma")
    missing = [name for name in needed if name not in values]
    if missing:
        raise PlanError(f"{where}: {', '.join(missing)} missing; give them, or `like` with a profile that ships")
    profile = Profile(**values)
    _check_profile(profile, where)
    return profile


def _values(table: EmulatorProfileTable) -> dict[str, Any]:
    values = {name: getattr(table, name) for name in table.__struct_fields__}
    if table.failures is not None:
        values["failures"] = tuple(each.failure() for each in table.failures)
    for name in ("ttft_quantiles", "token_rate_quantiles", "hourly"):
        if values[name] is not None:
            values[name] = tuple(values[name])
    return values


def _providers(table: EmulatorTable) -> tuple[ProviderSpec, ...]:
    shipped = shipped_profiles()
    names = [provider.name for provider in table.providers]
    if not names:
        raise PlanError("providers is empty; give at least one [[providers]]")
    if len(set(names)) != len(names):
        raise PlanError(f"providers: a name is given twice: {names}")
    models = {offer.model for provider in table.providers for offer in provider.offers}
    for recording in table.recordings:
        if recording.model not in models:
            raise PlanError(
                f'recordings: no provider offers "{recording.model}".{did_you_mean(recording.model, models)}'
            )
    return tuple(_provider(provider, shipped) for provider in table.providers)


def _provider(table: EmulatedProviderTable, shipped: Mapping[str, Profile]) -> ProviderSpec:
    where = f"providers.{table.name}"
    if not table.offers or not table.dialects:
        raise PlanError(f"{where}: needs at least one of offers and of dialects")
    missing = [dialect for dialect in table.dialects if dialect not in EMULATED]
    if missing:
        raise PlanError(f'{where}.dialects: "{missing[0]}" is not emulated. Emulated: {", ".join(EMULATED)}')
    if table.name in QUIRKS:
        raise PlanError(f'{where}: "{table.name}" is a real provider; an emulated one needs a name of its own')
    offers = tuple(
        OfferSpec(
            model=offer.model,
            upstream_model=offer.upstream_model or offer.model,
            profile=_profile(shipped, f"{where}.{offer.model}.profile", table.profile, offer.profile),
            thinks=offer.thinks,
            context_window=offer.context_window,
        )
        for offer in table.offers
    )
    served = [offer.upstream_model for offer in offers]
    if len(set(served)) != len(served):
        raise PlanError(f"{where}: serves one name twice: {served}")
    return ProviderSpec(name=table.name, dialects=tuple(table.dialects), offers=offers, api_key=table.api_key)


def _check_profile(profile: Profile, where: str) -> None:
    if profile.error_share > 1:
        raise PlanError(f"{where}.failures: the shares add up to {profile.error_share:g}; at most 1")
    if profile.hourly and len(profile.hourly) != HOURS:
        raise PlanError(f"{where}.hourly: give {HOURS} factors, one an hour; got {len(profile.hourly)}")
    if profile.queue_max is not None and profile.slots is None:
        raise PlanError(f"{where}.queue_max: without slots nobody queues; give slots too")
    for name in ("ttft_quantiles", "token_rate_quantiles"):
        table = getattr(profile, name)
        if table and (len(table) < 2 or list(table) != sorted(table)):
            raise PlanError(f"{where}.{name}: give at least two values that never fall")
