"""`clawbench serve`: the gateway behind a socket, answering from recordings."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4  # noqa: TID251  (the name of this server's life; ids are handed in from here)

import click
import uvicorn

from clawbench.billing.ledger.protocol import Ledger
from clawbench.clock import LoopClock
from clawbench.config.plan import Plan, load_plan, plan_of_cassettes
from clawbench.errors import UsageError
from clawbench.experiments.cell import build_app
from clawbench.experiments.garbage import uncollected
from clawbench.experiments.kept_ledger import kept_ledger
from clawbench.experiments.live import live_transport, prepare_live
from clawbench.experiments.prepare import Prepared, prepare
from clawbench.experiments.warm_start import read_estimates, restored, write_estimates
from clawbench.gateway.recorder import LOCAL_ACCOUNT
from clawbench.gateway.records import NullWriter
from clawbench.server.app import App
from clawbench.transports.protocol import Transport
from clawbench.walltime import now

DEFAULT_PORT = 1420
LOOPBACK = ("127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # under which names we are reached is then not known


@click.command("serve")
@click.argument("plan", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--cassettes",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Serve these recordings without a plan; may be repeated.",
)
@click.option(
    "--matching",
    type=click.Choice(["strict", "exact_then_nearest"]),
    help="May a request that was never recorded get the nearest answer? [as the plan says; strict with --cassettes]",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the plan; may be repeated."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0: any free one.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of every draw.")
@click.option(
    "--record",
    "record_into",
    type=click.Path(path_type=Path),
    help="Call the plan's offers, which must be on this machine, and record the answers into this folder.",
)
@click.option(
    "--ledger",
    "ledger_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep accounts and charges in this file; without it they are forgotten at the end. See `clawbench ledger`.",
)
@click.option(
    "--estimates",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep what is learned of offers here: read at the start, if it is there, and written at the end.",
)
def command(
    plan: Path | None,
    cassettes: tuple[Path, ...],
    matching: str | None,
    overrides: tuple[str, ...],
    host: str,
    port: int,
    seed: int,
    record_into: Path | None,
    ledger_file: Path | None,
    estimates: Path | None,
) -> None:
    """Serve an OpenAI-compatible endpoint from PLAN's offers and recordings, or from --cassettes alone.

    Answers come at the pace of the recordings. Needs no key.
    """
    if (plan is None) == (not cassettes):
        raise UsageError("give either a plan or --cassettes DIR. Example: clawbench serve configs/quickstart.toml")
    if matching:
        overrides = (*overrides, f"replay.matching={matching}")
    loaded = load_plan(plan, overrides=overrides) if plan else plan_of_cassettes(cassettes, overrides=overrides)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if record_into is not None:
        _check_costs_nothing(loaded)
    priced_at_s = now().timestamp()
    if record_into is None:
        prepared = prepare(loaded, priced_at_s=priced_at_s)
    else:
        prepared = prepare_live(loaded, priced_at_s=priced_at_s)
    asyncio.run(
        _billed(
            ledger_file,
            loaded,
            prepared,
            host=host,
            port=port,
            seed=seed,
            record_into=record_into,
            kept=estimates,
        )
    )


def _check_costs_nothing(plan: Plan) -> None:
    """Raises `UsageError` unless all offers are on this machine: `record` is the only verb that can spend money."""
    for offer in plan.offers:
        if (urlsplit(offer.base_url).hostname or "") not in ("localhost", *LOOPBACK):
            raise UsageError(
                f'offer "{offer.id}" is not on this machine, and serving asks for no key and keeps no budget; '
                "`clawbench record` does"
            )


async def _billed(ledger_file: Path | None, plan: Plan, prepared: Prepared, **how: Any) -> None:
    """Serves with the ledger file open, where one is named."""
    if ledger_file is None:
        await _serve(plan, prepared, ledger=None, **how)
        return
    book = prepared.biller.prices.book
    async with kept_ledger(ledger_file, book, now_us=lambda: int(now().timestamp() * 1_000_000)) as (ledger, recovery):
        ended = len(recovery.spooled) + len(recovery.settled) + len(recovery.released)
        if ended or recovery.left:
            click.echo(f"{ledger_file}: {ended} holds left open by a crash were ended, {len(recovery.left)} stay open")
        if recovery.torn:
            click.echo(f"{ledger_file}.spool: {recovery.torn} lines are torn; what they said was never acknowledged")
        spare = (await ledger.balance(LOCAL_ACCOUNT)).available
        if not spare:
            click.echo(
                f'{ledger_file}: the account "{LOCAL_ACCOUNT}" has nothing, so every request is refused. '
                f"`clawbench ledger topup {ledger_file} {LOCAL_ACCOUNT} 10 --id first` credits it, before serving."
            )
        await _serve(plan, prepared, ledger=ledger, **how)


async def _serve(
    plan: Plan,
    prepared: Prepared,
    *,
    ledger: Ledger | None,
    host: str,
    port: int,
    seed: int,
    record_into: Path | None,
    kept: Path | None,
) -> None:
    clock = LoopClock()
    if record_into is None:
        transport: Transport = prepared.transport(clock, seed=seed, paced=True)
    else:
        transport = live_transport(
            plan, clock, environ=os.environ, utc_now=now, version=version("clawbench"), record_into=record_into
        )
    run_id = uuid4().hex[:8]
    numbers = count()
    app = build_app(
        prepared,
        transport,
        strategy=plan.table.gateway.default_strategy,
        seed=seed,
        clock=clock,
        writer=NullWriter(),
        ledger=ledger,
        ledger_waits=ledger is not None,
        run_id="live",
        ids=lambda: f"{run_id}-{next(numbers):06d}",
        epoch_s=int(now().timestamp()),
    )
    learned = app.gateway.router.estimates
    if kept is not None and kept.exists():
        restored(learned, read_estimates(kept), kept, at_s=clock.now(), now=now())
    server = _Announcing(app, host=host, port=port, models=len(prepared.catalog.models))
    # uvicorn raises the signal that ended it once more: unhandled, SIGTERM would end all before the tapes are closed.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    try:
        with uncollected():
            await server.serve()
    finally:
        await transport.aclose()
        if kept is not None and server.started:
            write_estimates(kept, learned.snapshot(at_s=clock.now()), saved_at=now())
    if not server.started:
        raise UsageError(f"could not listen on {host}:{port}; choose another with --port (0: any free one)")


class _Announcing(uvicorn.Server):
    """uvicorn's server, saying where it listens once it does."""

    def __init__(self, app: App, *, host: str, port: int, models: int) -> None:
        super().__init__(
            uvicorn.Config(app, host=host, port=port, log_level="error", access_log=False, server_header=False)
        )
        self._models, self._app = models, app

    def stop(self) -> None:
        """No further requests; those under way are finished."""
        self.should_exit = True

    async def startup(self, sockets: object = None) -> None:
        try:
            await super().startup()
        except SystemExit:
            # uvicorn leaves the process when it cannot bind; the command line says why instead.
            self.should_exit = True
            return
        for server in self.servers:
            host, port = server.sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            names = {shown, *(("localhost", "127.0.0.1", "[::1]") if host in LOOPBACK else ())}
            self._app.hosts = None if host in EVERYWHERE else frozenset(f"{name}:{port}" for name in names)
            models = f"{self._models} model{'' if self._models == 1 else 's'}"
            click.echo(f"clawbench serves {models} on http://{shown}:{port}/v1 (Ctrl-C ends it)")
