"""Plans over the network: the transport that calls the providers themselves, recording where that is asked for.

The only place that gives a plan's calls a way out of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from clawbench.cassettes.reel import Reel
from clawbench.cassettes.scrub import Scrubber
from clawbench.cassettes.secret_shapes import secrets_of
from clawbench.cassettes.tape import RecordMode
from clawbench.clock import Clock
from clawbench.config.plan import Plan
from clawbench.errors import PlanError
from clawbench.experiments.prepare import VIRTUAL_EPOCH_S, Prepared, prepare
from clawbench.transports.network import NetworkLimits, NetworkTransport
from clawbench.transports.protocol import Transport
from clawbench.transports.recording import RecordingTransport
from clawbench.types import Offer


def network_transport(
    plan: Plan,
    clock: Clock,
    *,
    environ: Mapping[str, str],
    utc_now: Callable[[], datetime],
    idle_timeout_s: float | None = None,
) -> NetworkTransport:
    """The way to the plan's offers. `environ` holds the keys. Raises `PlanError` for what `[network]` lacks."""
    table = plan.table.network
    if table is None:
        raise PlanError(f"{plan.path}: has no [network], so nothing of it may be called over one")
    try:
        hosts = table.accesses(plan.offers, environ=environ, folder=plan.path.parent)
    except PlanError as error:
        raise PlanError(f"{plan.path}: {error}") from None
    limits = NetworkLimits(connect_timeout_s=table.connect_timeout_s, idle_timeout_s=idle_timeout_s)
    return NetworkTransport(hosts, clock, utc_now=utc_now, limits=limits)


def open_reel(
    plan: Plan,
    into: Path,
    network: NetworkTransport,
    *,
    environ: Mapping[str, str],
    at: datetime,
    version: str,
    mode: RecordMode = "new_episodes",
) -> Reel:
    """The folder (or file) that is recorded into, locked; each new file says when and from where it was recorded.

    Looked for in what is written are the keys of the network and what else in `environ` is a secret by its name.
    """
    secrets = {*network.secrets, *secrets_of(environ)}
    return Reel(into, mode=mode, scrubber=Scrubber(secrets), comment=provenance(plan.offers, at=at, version=version))


def provenance(offers: Sequence[Offer], *, at: datetime, version: str) -> str:
    """The lines at the top of a recorded file."""
    origins = sorted({"/".join(offer.base_url.split("/")[:3]) for offer in offers})
    return f"Recorded by clawbench {version} on {at:%Y-%m-%d}, with arrival times, over HTTP from {', '.join(origins)}."


def live_transport(
    plan: Plan,
    clock: Clock,
    *,
    environ: Mapping[str, str],
    utc_now: Callable[[], datetime],
    version: str,
    record_into: Path | None = None,
    mode: RecordMode = "new_episodes",
) -> Transport:
    """For a server: calls the plan's offers; with `record_into`, what is recorded there is played, the rest recorded.

    Raises `PlanError`, `CassetteError`, `WriteFailed`. Whoever calls this closes it.
    """
    network = network_transport(plan, clock, environ=environ, utc_now=utc_now)
    if record_into is None:
        return network
    reel = open_reel(plan, record_into, network, environ=environ, at=utc_now(), version=version, mode=mode)
    return RecordingTransport(network, reel, clock)


def prepare_live(plan: Plan, *, priced_at_s: float = VIRTUAL_EPOCH_S) -> Prepared:
    """What `prepare` opens, with every offer able to serve, recorded or not."""
    prepared = prepare(plan, priced_at_s=priced_at_s)
    prepared.ineligible = {}
    return prepared
