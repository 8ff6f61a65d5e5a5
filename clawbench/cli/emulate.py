"""`clawbench emulate`: providers on loopback, and recordings of them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import click
import uvicorn

from clawbench.clock import LoopClock
from clawbench.config.emulator import EmulatorPlan, load_emulator
from clawbench.emulator.http import EmulatorApp
from clawbench.emulator.pool import write_pool
from clawbench.emulator.specs import live_provider
from clawbench.errors import PlanError, UsageError
from clawbench.experiments.garbage import uncollected
from clawbench.walltime import now
from clawbench.workloads.prompts import read_prompts

GRACE_S = 3
BACKLOG = 2048


@click.command("emulate")
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the plan; may be repeated."
)
@click.option("--host", help="Address to listen on. [as the plan says]")
@click.option("--port", type=click.IntRange(0, 65535), help="0: any free one. [as the plan says]")
@click.option(
    "--record",
    "into",
    type=click.Path(path_type=Path, file_okay=False),
    help="Serve nothing: write cassettes of the plan's recordings into this folder, the same bytes each time.",
)
def command(plan: Path, overrides: tuple[str, ...], host: str | None, port: int | None, into: Path | None) -> None:
    """Serve the providers of PLAN, each below its own path prefix, at the pace of their profiles.

    Queues, limits and prompt caches are those of the traffic that comes. Costs nothing and needs no key, unless the
    plan gives a provider one.
    """
    loaded = load_emulator(plan, overrides=overrides)
    if into is not None:
        _record(loaded, into)
        return
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    table = loaded.table
    asyncio.run(_serve(loaded, host=host or table.host, port=table.port if port is None else port))


def _record(plan: EmulatorPlan, into: Path) -> None:
    if plan.prompt_file is None or not plan.recordings:
        raise PlanError(f"{plan.path}: --record needs prompts and at least one [[recordings]]")
    written = write_pool(into, plan.providers, plan.recordings, read_prompts(plan.prompt_file), origin=plan.origin)
    for path, interactions in written:
        click.echo(f"{path}  {interactions:,} interactions, {path.stat().st_size:,} bytes")


async def _serve(plan: EmulatorPlan, *, host: str, port: int) -> None:
    started = now()
    hour = plan.table.hour_at_start
    hour_at_zero = started.hour + started.minute / 60 if hour is None else hour
    providers = [live_provider(spec, hour_at_zero=hour_at_zero) for spec in plan.providers]
    app = EmulatorApp(providers, LoopClock(), seed=plan.table.seed, epoch_s=int(started.timestamp()))
    server = _Announcing(app, plan, host=host, port=port)
    with uncollected():
        await server.serve()
    if not server.started:
        raise UsageError(f"could not listen on {host}:{port}; choose another with --port (0: any free one)")


class _Announcing(uvicorn.Server):
    """uvicorn's server, saying where it listens once it does."""

    def __init__(self, app: EmulatorApp, plan: EmulatorPlan, *, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_level="error",
                access_log=False,
                server_header=False,
                date_header=False,  # each dialect's providers send their own
                backlog=BACKLOG,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._plan = plan

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
            count = len(self._plan.providers)
            click.echo(f"clawbench emulates {count} provider{'' if count == 1 else 's'} (Ctrl-C ends it)")
            for provider in self._plan.providers:
                for dialect in provider.dialects:
                    address = provider.base_url(f"http://{shown}:{port}", dialect)
                    click.echo(f"  {dialect:<18} {address}  {', '.join(offer.model for offer in provider.offers)}")
