"""The oracle: for each request of a run, the best that any eligible offer would have done, known in hindsight.

Every request is sent once to every offer that may serve it, at the instant at which it arrived and with the same keyed
draws, so its luck at an offer is the one it had, or would have had, in the run (common random numbers). Each request
meets idle offers: where a transport models load or prompt caches, the oracle pays for no queue and profits from no
cache, so it bounds latency from below, and a strategy that earns cache hits can cost less than it. Nothing is retried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import polars as pl
from msgspec import Struct

from clawbench.analysis.frames import RunFolder
from clawbench.analysis.intervals import over_seeds
from clawbench.billing.outcomes import Hold
from clawbench.clock import Clock, LoopClock, run_virtual
from clawbench.config.plan import Plan
from clawbench.errors import RequestError, UpstreamError, UsageError
from clawbench.experiments.cell import Bodies, build_router, model_reference, with_faults
from clawbench.experiments.prepare import VIRTUAL_EPOCH_S, Prepared, prepare
from clawbench.gateway.admission import shape_of
from clawbench.gateway.attempt import Attempt
from clawbench.gateway.quotas import Quotas
from clawbench.gateway.recorder import AttemptFacts
from clawbench.money import INT64_MAX
from clawbench.rng import stream
from clawbench.routing.router import Lease, Router
from clawbench.routing.strategies import STRATEGIES
from clawbench.transports.protocol import Transport
from clawbench.types import ChatRequest, Offer
from clawbench.wires import wire_for
from clawbench.wires.openai_chat import parse_body

FIGURES = ("cost_usd", "ttft_s", "e2e_s")
"""What hindsight is taken of, each for itself: the offer that is best in one need not be in another."""

_NO_LEASE = Lease("", 0, False)
_DRAWN_AS = "random"  # any strategy that scores every offer: eligibility is asked for, nothing else


class Hindsight(Struct, frozen=True):
    """What one offer did with one request. Seconds since arrival; None: did not happen, or is not known."""

    seed: int
    index: int  # of the request in its workload
    offer_id: str
    outcome: str
    ttft_s: float | None
    e2e_s: float | None
    cost_usd: float | None


def hindsight(prepared: Prepared, seed: int) -> pl.DataFrame:
    """What every eligible offer would have done with every request of a seed; columns as in `Hindsight`."""
    rows = run_virtual(lambda: _asked_everywhere(prepared, seed))
    names = Hindsight.__struct_fields__
    types = (pl.Int64(), pl.Int64(), pl.String(), pl.String(), pl.Float64(), pl.Float64(), pl.Float64())
    return pl.DataFrame(
        [tuple(getattr(row, name) for name in names) for row in rows],
        schema=dict(zip(names, types, strict=True)),
        orient="row",
    )


def best_of(seen: pl.DataFrame) -> pl.DataFrame:
    """Per seed and request the best figure of any offer that succeeded: `seed`, `index`, and `best_<figure>`."""
    served = seen.filter(pl.col("outcome") == "ok")
    return served.group_by("seed", "index", maintain_order=True).agg(
        pl.col(figure).min().alias(f"best_{figure}") for figure in FIGURES
    )


def regret_by_seed(folder: RunFolder, plan: Plan) -> pl.DataFrame:
    """Mean regret of each strategy and seed: one row each, with `requests` (that the regret is taken over) and for each
    figure `<figure>` and `best_<figure>`, means over requests that the strategy and the oracle both served.

    Raises `UsageError` where the run is not the plan's.
    """
    if folder.manifest.get("run_id") != plan.run_id:
        raise UsageError(
            f"{folder.path} is no run of {plan.path} as it stands; give the plan and overrides it was run by"
        )
    prepared = prepare(plan)
    best = best_of(pl.concat([hindsight(prepared, seed) for seed in plan.table.seeds]))
    both = _served(folder).join(best, on=["seed", "index"], how="inner", maintain_order="left")
    return both.group_by("strategy", "seed", maintain_order=True).agg(
        pl.len().alias("requests"),
        *(
            pl.col(name).filter(pl.col(figure).is_not_null() & pl.col(f"best_{figure}").is_not_null()).mean()
            for figure in FIGURES
            for name in (figure, f"best_{figure}")
        ),
    )


def regret(folder: RunFolder, plan: Plan) -> pl.DataFrame:
    """Regret of each strategy against the oracle, in the figure's unit: one row a strategy and figure.

    Columns: `strategy`, `figure`, `oracle` and `value` (means over requests and seeds), `regret` (value - oracle, taken
    request by request), `low` and `high` (95 % t interval over seeds; null with one seed), `relative` (to the oracle).
    Raises `UsageError` where the run is not the plan's.
    """
    by_seed = regret_by_seed(folder, plan).with_columns(
        (pl.col(figure) - pl.col(f"best_{figure}")).alias(f"regret_{figure}") for figure in FIGURES
    )
    columns = [f"{kind}{figure}" for figure in FIGURES for kind in ("", "best_", "regret_")]
    means = over_seeds(by_seed, columns)
    return pl.concat([_figure(means, figure) for figure in FIGURES]).sort("figure", "regret", maintain_order=True)


def _figure(means: pl.DataFrame, figure: str) -> pl.DataFrame:
    value, width = pl.col(f"regret_{figure}"), pl.col(f"regret_{figure}_half_width")
    return means.select(
        "strategy",
        pl.lit(figure).alias("figure"),
        pl.col(f"best_{figure}").alias("oracle"),
        pl.col(figure).alias("value"),
        value.alias("regret"),
        (value - width).alias("low"),
        (value + width).alias("high"),
        (value / pl.col(f"best_{figure}")).alias("relative"),
    )


def _served(folder: RunFolder) -> pl.DataFrame:
    """The run's requests that ended well, by their place in the workload, with the figures."""
    return (
        folder.scan("requests")
        .filter(pl.col("status") == "ok")
        .select(
            "strategy",
            "seed",
            pl.col("request_id").str.extract(r"-(\d+)$", 1).cast(pl.Int64).alias("index"),
            (pl.col("cost_pico_usd") / 1e12).alias("cost_usd"),
            (pl.col("t_first_token_s") - pl.col("t_scheduled_s")).alias("ttft_s"),
            (pl.col("t_end_s") - pl.col("t_scheduled_s")).alias("e2e_s"),
        )
        .collect()
    )


async def _asked_everywhere(prepared: Prepared, seed: int) -> list[Hindsight]:
    clock, loop = LoopClock(), asyncio.get_running_loop()
    table = prepared.plan.table
    bodies = Bodies(model_reference(table.workload.model, _DRAWN_AS))
    router = build_router(prepared, strategy=_DRAWN_AS, seed=seed, quotas=Quotas())
    timeout_s = table.gateway.request_timeout_s
    tasks: list[asyncio.Task[Hindsight]] = []
    for arrival in prepared.traffic.arrivals(stream(seed, "workload")):
        if arrival.t_s > clock.now():
            await clock.sleep_until(arrival.t_s)
        request = parse_body(bodies.of(arrival.request))
        transport = with_faults(prepared, prepared.transport(clock, seed=seed, paced=False), clock, seed=seed)
        for offer in _eligible(router, request):
            asking = _ask(
                prepared, offer, request, arrival.index, transport, clock, deadline_s=clock.now() + timeout_s, seed=seed
            )
            tasks.append(loop.create_task(asking))
    return [await task for task in tasks]


def _eligible(router: Router, request: ChatRequest) -> Iterator[Offer]:
    """The offers that the gateway would consider, had nothing gone wrong so far."""
    extra = request.extra
    try:
        reference = router.reference(request.model, models=extra.get("models"), provider=extra.get("provider"))
    except RequestError:
        return
    scored = router.scored(STRATEGIES[_DRAWN_AS], reference, shape_of(request), at_s=0.0)
    for state in scored.states:
        yield state.offer


async def _ask(
    prepared: Prepared,
    offer: Offer,
    request: ChatRequest,
    index: int,
    transport: Transport,
    clock: Clock,
    *,
    deadline_s: float,
    seed: int,
) -> Hindsight:
    """One attempt, without a second one."""
    began_s = clock.now()
    facts = AttemptFacts(offer=offer, number=0, cause="first", t_dispatch_s=began_s)
    attempt = Attempt(wire_for(offer), facts, _NO_LEASE)
    try:
        await attempt.send(request, transport, draw_key=str(index), deadline_s=deadline_s)
        try:
            if request.stream:
                await attempt.open_stream(idle_timeout_s=deadline_s - began_s)
                while await attempt.batch() is not None:
                    pass
            else:
                await attempt.completion()
        finally:
            await attempt.aclose()
    except UpstreamError as error:
        return Hindsight(seed, index, offer.id, error.outcome, None, None, None)
    biller, unlimited = prepared.biller, Hold(pico_uat=INT64_MAX)
    attempt.note_bill(
        biller.bill(
            offer, attempt.ending(), attempt.evidence(), at_s=VIRTUAL_EPOCH_S + began_s, model=attempt.model_served,
            hold=unlimited,
        )
    )  # fmt: skip
    first_s, end_s, cost = facts.t_first_token_s, facts.t_end_s, facts.cost_pico_usd
    return Hindsight(
        seed,
        index,
        offer.id,
        "ok",
        None if first_s is None else first_s - began_s,
        None if end_s is None else end_s - began_s,
        None if cost is None else cost / 1e12,
    )
