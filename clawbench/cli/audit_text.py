"""What an audit found, for people: figures first, then everything that is not as it must be, at last the one line."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clawbench.billing.audit_figures import Figures, Group
from clawbench.billing.audit_invoice import EXPLAINED, Reconciled
from clawbench.money import exact_text

_SHOWN = 10
_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3_600, 60


def print_audit(figures: Figures, out: Console) -> None:
    """All but the line itself, which comes last."""
    if figures.groups:
        out.print(_groups(figures))
        out.print()
    sums = figures.conservation
    is_equal = sums.topped_up == sums.available + sums.held + sums.shortfall + sums.charged
    said = [
        (
            "entries",
            f"{figures.entries:,}" + (f", {figures.skipped:,} charges before --since" if figures.skipped else ""),
        ),
        (
            "conservation",
            f"topped up {exact_text(sums.topped_up)} {'=' if is_equal else '≠'} available {exact_text(sums.available)} "
            f"+ held {exact_text(sums.held)} + shortfall {exact_text(sums.shortfall)} "
            f"+ charged {exact_text(sums.charged)} UAT",
        ),
        ("differing by cause", _counts(figures.differing)),
        *(
            (
                "quarantined" if number == 0 else "",
                f"{figures.quarantined_for[cause]:,} {cause.replace('_', ' ')}: {why}",
            )
            for number, (cause, why) in enumerate(sorted(figures.quarantined_why.items()))
        ),
        ("provider's own figure", _counts(figures.provider_stated)),
        *((f"{name} says", _counts(counts)) for name, counts in sorted(figures.opinions.items())),
        ("open", _counts(figures.open_found)),
    ]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in said:
        if text:
            grid.add_row(Text(name), Text(text))
    out.print(grid)
    for item in figures.open_items[:_SHOWN]:
        amount = f"{exact_text(item.amount)} UAT of {item.of}"
        out.print(Text(f"  {item.kind}: {amount}, for {_age(item.age_s)}, {item.where}", style="dim"))
    for what, number in sorted(figures.findings.items()):
        out.print(Text(f"finding: {what}" + (f" ({number:,} times)" if number > 1 else "")))
    for violation in figures.violations[:_SHOWN]:
        out.print(Text(f"! {violation.where}: {violation.what} [{violation.cause}]", style="yellow"))
    if (rest := figures.violated - len(figures.violations[:_SHOWN])) > 0:
        out.print(Text(f"! and {rest:,} more", style="yellow"))


def print_invoice(found: Reconciled, out: Console) -> None:
    """What of an invoice is explained, by class."""
    table = Table(box=None, pad_edge=False)
    for name in ("invoice", "lines", "invoiced USD", "ledger USD", "residue USD"):
        table.add_column(name, justify="left" if name == "invoice" else "right")
    for name, each in found.classes.items():
        texts = (name.replace("_", " "), f"{each.lines:,}", each.invoiced_usd, each.ledger_usd, each.residue_usd)
        table.add_row(*map(Text, texts), style="" if name in EXPLAINED else "yellow")
    out.print()
    out.print(table)
    out.print(Text(f"explained: {found.explained_percent} % of {found.invoiced_usd} USD invoiced"))


def _groups(figures: Figures) -> Table:
    keys = [key for key in ("strategy", "provider", "surface") if any(getattr(each, key) for each in figures.groups)]
    table = Table(box=None, pad_edge=False)
    for name in (*(keys or ["provider"]), "charges", "exact", "differing", "unexplained", "estimated"):
        table.add_column(
            name, justify="left" if name in ("strategy", "provider", "surface") else "right", overflow="fold"
        )
    for name in ("quarantined", "released", "charged UAT"):
        table.add_column(name, justify="right")
    for group in sorted(figures.groups, key=lambda each: (each.strategy, each.provider, each.surface)):
        table.add_row(*(Text(getattr(group, key) or "–") for key in keys or ["provider"]), *_numbers(group))
    if len(figures.groups) > 1:
        total = Group(
            charges=figures.charges,
            exact=figures.exact,
            differing=figures.differing,
            unexplained=figures.unexplained,
            estimated=figures.estimated,
            quarantined=figures.quarantined,
            released=figures.released,
            charged_pico_uat=figures.charged_pico_uat,
        )
        table.add_row("all", *([""] * (len(keys or [""]) - 1)), *_numbers(total), style="bold")
    return table


def _numbers(group: Group) -> list[str]:
    counts = (
        group.charges - group.estimated,
        group.exact,
        sum(group.differing.values()),
        group.unexplained,
        group.estimated,
        group.quarantined,
        group.released,
    )
    return [*(f"{number:,}" for number in counts), exact_text(group.charged_pico_uat)]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in sorted(counts.items()))


def _age(seconds: float) -> str:
    for size, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
