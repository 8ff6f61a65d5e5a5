"""`clawbench ledger`: accounts of a ledger file: top up, balance, list entries; judge what is in quarantine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from msgspec import structs
from rich.table import Table

from clawbench.billing.ledger.proof import prove
from clawbench.billing.ledger.protocol import Balance, Entry, Hold, LedgerOverflow, LedgerRefusal, UnknownEntry
from clawbench.billing.ledger.quarantines import judged, risk_of
from clawbench.billing.ledger.reader import read_entries, read_page
from clawbench.billing.ledger.sqlite import SqliteLedger
from clawbench.cli.console import console
from clawbench.errors import UsageError
from clawbench.money import INT64_MAX, PICO, NotMoney, decimal, exact_text
from clawbench.walltime import now

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group("ledger")
def command() -> None:
    """Accounts of a ledger file, as `clawbench serve --ledger FILE` keeps it.

    One process owns a ledger: `topup`, `settle` and `release` are refused while a server has it open. Reading is
    possible at any time.
    """


@command.command("topup")
@click.argument("file", type=_FILE)
@click.argument("account")
@click.argument("amount_uat")
@click.option("--id", "external_id", required=True, help="Name of this payment: the same one is credited once.")
def top_up(file: Path, account: str, amount_uat: str, external_id: str) -> None:
    """Credit ACCOUNT of FILE with AMOUNT_UAT, once for each --id. Makes the file if there is none."""
    amount = _pico(amount_uat)
    if not account.isprintable() or not account or "/" in account or ":" in account:
        raise UsageError(f"{account!r} is no account's name; use printable characters without / and :")
    balance = asyncio.run(_top_up(file, account, external_id, amount))
    click.echo(f"{account} has {exact_text(balance.available)} UAT available.")


async def _top_up(file: Path, account: str, external_id: str, amount: int) -> Balance:
    ledger = SqliteLedger(file, now_us=lambda: int(now().timestamp() * 1_000_000))
    try:
        await ledger.top_up(account, external_id, amount)
        return await ledger.balance(account)
    except LedgerOverflow:
        most = exact_text(INT64_MAX)
        raise UsageError(f"{account} would have more than {most} UAT, the most that an account can hold") from None
    except LedgerRefusal as refusal:
        raise UsageError(
            f"{refusal}: the payment {external_id!r} was credited with another amount or account"
        ) from None
    finally:
        await ledger.close()


@command.command("holds")
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Amounts in pico-UAT, as text; times in microseconds since 1970.")
def holds(file: Path, as_json: bool) -> None:
    """What is held in FILE: by requests under way, and in quarantine until somebody judges it."""
    found = prove(read_entries(file)).open_holds
    if as_json:
        for each in found:
            click.echo(msgspec.json.encode({**structs.asdict(each), "amount": str(each.amount)}))
        return
    table = Table("hold", "account", "UAT", "since (UTC)", "", box=None, header_style="bold")
    for each in found:
        since = datetime.fromtimestamp(each.opened_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(each.id, each.account, exact_text(each.amount), since, "quarantined" if each.quarantined else "")
    console().print(table)


@command.command("settle")
@click.argument("file", type=_FILE)
@click.argument("hold")
@click.argument("amount_uat")
@click.option("--reason", required=True, help="Why this amount; it is kept with the charge.")
def settle(file: Path, hold: str, amount_uat: str, reason: str) -> None:
    """Charge AMOUNT_UAT, at most what is held, for a quarantined HOLD of FILE, and give the rest back.

    What its provider may bill stays as the platform's risk, as with `release`.
    """
    amount = _pico(amount_uat)

    async def act(ledger: SqliteLedger, held: Hold, quarantine: Entry) -> None:
        if amount > held.amount:
            raise UsageError(
                f"AMOUNT_UAT must be at most the {exact_text(held.amount)} that {hold} holds, got {amount_uat}"
            )
        await ledger.settle(hold, judged(quarantine, amount, reason), (), [risk_of(held, quarantine, reason)])

    account = asyncio.run(_judge(file, hold, act))
    click.echo(f"{account} was charged {exact_text(amount)} UAT for {hold}.")


@command.command("release")
@click.argument("file", type=_FILE)
@click.argument("hold")
@click.option("--reason", required=True, help="Why nothing is charged; it is kept with the release.")
def release(file: Path, hold: str, reason: str) -> None:
    """Give all of a quarantined HOLD of FILE back; what its provider may bill stays as the platform's risk."""

    async def act(ledger: SqliteLedger, held: Hold, quarantine: Entry) -> None:
        await ledger.release(hold, f"judged: {reason}", (), [risk_of(held, quarantine, reason)])

    account = asyncio.run(_judge(file, hold, act))
    click.echo(f"{account} was charged nothing for {hold}.")


async def _judge(file: Path, hold: str, act: Callable[[SqliteLedger, Hold, Entry], Awaitable[None]]) -> str:
    """Does something about a hold if it is in quarantine; whose it is. Raises `UsageError`."""
    if not file.is_file():
        raise UsageError(f"{file}: there is no such file")
    ledger = SqliteLedger(file, now_us=lambda: int(now().timestamp() * 1_000_000))
    try:
        held = await ledger.find_hold(hold)
        if held.state != "open":
            raise UsageError(f"{hold} is {held.state} already; `clawbench ledger holds {file}` lists what is open")
        if not held.quarantined:
            raise UsageError(
                f"{hold} is not in quarantine, so there is nothing to judge: its request ends it, and after a crash "
                "the next start of `clawbench serve` does"
            )
        await act(ledger, held, await ledger.quarantine(hold, {}))
    except UnknownEntry:
        raise UsageError(f"{file} has no hold {hold!r}; `clawbench ledger holds {file}` lists what is open") from None
    except LedgerRefusal as refusal:
        raise UsageError(f"{hold}: {refusal}") from None
    finally:
        await ledger.close()
    return held.account


@command.command("balance")
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Amounts in pico-UAT, as text.")
def balance(file: Path, as_json: bool) -> None:
    """What every account of FILE has available and held, worked out from its log."""
    found = _balances(prove(read_entries(file)).balances)
    if as_json:
        click.echo(
            msgspec.json.encode(
                {name: {what: str(pico) for what, pico in amounts.items()} for name, amounts in found.items()}
            )
        )
        return
    table = Table("account", "available", "held", "owed", box=None, header_style="bold")
    for name, amounts in found.items():
        table.add_row(name, *(exact_text(amounts[what]) for what in ("available", "held", "shortfall")))
    console().print(table)
    click.echo("Amounts in UAT.")


@command.command("ls")
@click.argument("file", type=_FILE)
@click.option("--account", help="Only this account's entries.")
@click.option("--after", type=click.IntRange(0), default=0, show_default=True, help="From behind this number.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with everything that is kept.")
def ls(file: Path, account: str | None, after: int, limit: int, as_json: bool) -> None:
    """The entries of FILE in order."""
    entries = read_page(file, account, after, limit)
    if as_json:
        for entry in entries:
            click.echo(msgspec.json.encode(entry))
        return
    console().print(_listed(entries))


def _listed(entries: Iterable[Entry]) -> Table:
    table = Table("number", "kind", "account", "UAT", "ref", box=None, header_style="bold")
    for entry in entries:
        amount = entry.detail.get("amount")
        shown = exact_text(int(amount)) if isinstance(amount, str) and amount.lstrip("-").isdigit() else ""
        table.add_row(str(entry.seq), entry.kind, entry.account or "platform", shown, entry.ref)
    return table


def _balances(accounts: dict[str, int]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, pico in sorted(accounts.items()):
        if name.startswith("client:"):
            account, _, what = name.removeprefix("client:").rpartition(":")
            found.setdefault(account, {"available": 0, "held": 0, "shortfall": 0})[what] = pico
    return found


def _pico(text: str) -> int:
    try:
        pico = decimal(text) * PICO
    except NotMoney as error:
        raise UsageError(f"AMOUNT_UAT: {error}") from None
    if pico != int(pico) or not 0 < pico <= INT64_MAX:
        raise UsageError(f"AMOUNT_UAT must be more than 0, at most 9,223,372 and no finer than 1e-12, got {text}")
    return int(pico)
