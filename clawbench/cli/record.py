"""`clawbench record PLAN`: ask providers for real and keep the answers. The only verb that can spend money."""

from __future__ import annotations

import asyncio
import os
import signal
from decimal import Decimal, InvalidOperation
from importlib.metadata import version
from pathlib import Path

import click

from clawbench.clock import LoopClock
from clawbench.config.plan import Plan, load_plan
from clawbench.errors import RecordingStopped, RunInterrupted, UsageError
from clawbench.experiments.live import network_transport, open_reel
from clawbench.experiments.recording_run import Planned, Recording, Tally, planned
from clawbench.money import PICO, usd_text
from clawbench.progress import Bar
from clawbench.transports.recording import RecordingTransport
from clawbench.walltime import now


@click.command("record")
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the cassettes, one file an offer; or one .yaml file for all. What is recorded there is not asked "
    "again.",
)
@click.option("--budget-usd", metavar="USD", help="Most that may be spent; needed.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the plan; may be repeated."
)
@click.option("--dry-run", is_flag=True, help="Say what would be asked and what it should cost, and ask nothing.")
def command(plan: Path, into: Path, budget_usd: str | None, overrides: tuple[str, ...], dry_run: bool) -> None:
    """Record PLAN: every request of its workload at every offer that can serve it, with arrival times.

    Says what it expects to spend, then spends it: asks at most until --budget-usd is reached, and goes on where it
    stopped when it is called again. Keys come from where the plan's [network] says.
    """
    budget = _budget(budget_usd, dry_run=dry_run)
    loaded = load_plan(plan, overrides=overrides)
    asyncio.run(_record(loaded, into, budget, dry_run=dry_run))


def _budget(text: str | None, *, dry_run: bool) -> int:
    """In pico-USD. Raises `UsageError`."""
    if text is None:
        if dry_run:
            return 0
        raise UsageError(
            "record spends money: say how much it may, with --budget-usd. Example: --budget-usd 1 (--dry-run only says "
            "what it expects)"
        )
    try:
        budget = Decimal(text)
    except InvalidOperation:
        budget = Decimal("NaN")
    if not budget.is_finite() or budget <= 0:
        raise UsageError(f"--budget-usd must be an amount above 0, got {text!r}")
    return int(budget * PICO)


async def _record(plan: Plan, into: Path, budget: int, *, dry_run: bool) -> None:
    clock, task = LoopClock(), asyncio.current_task()
    assert task is not None
    # As Ctrl-C does: what was answered is written and counted first.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    network = network_transport(
        plan, clock, environ=os.environ, utc_now=now, idle_timeout_s=plan.table.gateway.idle_timeout_s
    )
    if dry_run and not into.exists():
        click.echo(_expectation(planned(plan, None), budget))
        return
    reel = open_reel(plan, into, network, environ=os.environ, at=now(), version=version("clawbench"))
    transport = RecordingTransport(network, reel, clock)
    try:
        to_ask = planned(plan, reel)
        click.echo(_expectation(to_ask, budget))
        if not dry_run:
            tally = await _ask(plan, to_ask, transport, clock, budget)
            click.echo(_result(tally, into))
            _judge(tally, to_ask, transport, budget)
    finally:
        await transport.aclose()


async def _ask(plan: Plan, to_ask: Planned, transport: RecordingTransport, clock: LoopClock, budget: int) -> Tally:
    table, bar = plan.table, Bar(unit="call")
    recording = Recording(
        transport,
        clock,
        budget_pico_usd=budget,
        timeout_s=table.gateway.request_timeout_s,
        concurrency=table.record.concurrency,
        retries_max=table.record.retries_max,
        progress=bar.advance,
    )
    bar.start(len(to_ask.calls))
    try:
        return await recording.run(to_ask.calls)
    except asyncio.CancelledError:
        await recording.settle()
        tally = recording.tally
        raise RunInterrupted(
            f"Interrupted. {tally.recorded:,} calls are recorded and kept, {_usd(tally.spent)} spent; "
            "the same command goes on."
        ) from None
    finally:
        bar.close()


def _expectation(to_ask: Planned, budget: int) -> str:
    """What is to be asked and what it should cost."""
    offers = len({each.offer.id for each in to_ask.calls})
    lines = [f"{len(to_ask.calls):,} calls to {offers} offers; {to_ask.recorded_already:,} are recorded already."]
    lines += [f"  {count:,} left out: {reason}." for reason, count in sorted(to_ask.left_out.items())]
    lines.append(
        f"Expected to cost {_usd(to_ask.cost_expected)}, {_usd(to_ask.cost_max)} at most"
        + (f"; the budget is {_usd(budget)}." if budget else ".")
    )
    return "\n".join(lines)


def _result(tally: Tally, into: Path) -> str:
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in tally.outcomes.most_common())
    lines = [f"{tally.recorded:,} calls recorded into {into} ({outcomes or 'none made'}); {_usd(tally.spent)} spent."]
    if tally.uncounted:
        lines.append(f"{tally.uncounted:,} answers stated no usage and are counted at the most they can have cost.")
    return "\n".join(lines)


def _judge(tally: Tally, to_ask: Planned, transport: RecordingTransport, budget: int) -> None:
    """Raises `RecordingStopped` where something planned is not on the tape."""
    if tally.stopped == "budget":
        raise RecordingStopped(
            f"The budget of {_usd(budget)} is reached with {len(to_ask.calls) - tally.done:,} calls to go, the next of "
            f"which may cost {_usd(tally.no_room_for)}; what was recorded is saved. The same command with a further "
            "--budget-usd goes on."
        )
    if tally.stopped is not None:
        raise RecordingStopped(tally.stopped)
    if tally.given_up:
        listed = ", ".join(f"{offer_id} ({outcome})" for offer_id, outcome in sorted(tally.given_up.items()))
        raise RecordingStopped(f"Given up after refusals in a row: {listed}. The others are recorded.")
    if transport.failure is not None:
        raise RecordingStopped(f"Not everything was written. First: {transport.failure}")


def _usd(pico: int) -> str:
    return f"${usd_text(pico, places=4)}"
