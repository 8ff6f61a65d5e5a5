"""Terminal: a run's summary for people, with rich.

Draws sheets and nothing else: doubts first, then what the run rests on, then figures, at last whether its bills are
exact. Text from a run is never read as rich markup.
"""

from __future__ import annotations

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clawbench.analysis import billing, sheets
from clawbench.analysis.dominance import dominance
from clawbench.analysis.frames import RunFolder
from clawbench.analysis.head import Head, head, strategies_in_order
from clawbench.analysis.metrics import SLO
from clawbench.analysis.sheets import Sheet
from clawbench.analysis.tables import per_seed, summary

_GAP = 3  # blank columns that the box puts between two columns
_MARK_WIDTH = 2


def print_summary(run: RunFolder, console: Console, *, slo: SLO | None = None) -> None:
    """Print head and summary of a run; strategies in the order of the plan."""
    table = summary(run, slo=slo)
    order = strategies_in_order(run, table["strategy"].to_list())
    table = table.sort(pl.col("strategy").replace_strict(order, range(len(order)), return_dtype=pl.Int64))
    print_head(head(run, table), console)
    drawn = [sheets.outcome_and_cost(table, slo), sheets.speed(table), sheets.evidence(table)]
    if len(order) > 1 and min(table["seeds"].to_list()) > 1:
        figures = per_seed(run.scan("requests"))
        drawn[2:2] = [sheets.differences(figures, order[0], order), dominance(figures, order)]
    drawn += billing.sheet_of(run, order, by_provider=False)
    for sheet in drawn:
        print_sheet(sheet, console)
    if line := billing.line_of(run):
        console.print()
        console.print(Text(line))


def print_head(top: Head, console: Console) -> None:
    """Print title, warnings, evidence and facts."""
    console.print(Text(top.title, style="bold"))
    for warning in top.warnings:
        console.print(Text.assemble(("! ", "bold yellow"), (warning, "yellow")))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in (*top.evidence, *top.facts):
        grid.add_row(Text(name), Text(text))
    console.print(grid)


def print_sheet(sheet: Sheet, console: Console) -> None:
    """Print a sheet, in blocks of columns that fit the console; a marked row carries '!' behind its name."""
    console.print()
    console.print(Text(sheet.title, style="bold"))
    for number, places in enumerate(_blocks(sheet, console.width)):
        if number:
            console.print()
        console.print(_drawn(sheet, places))
    if sheet.note:
        console.print(Text(sheet.note, style="dim"))


def _blocks(sheet: Sheet, width: int) -> list[list[int]]:
    """Places of columns, block by block, none wider than the console where a column alone is not."""
    widths = [
        max(len(text) for text in (*heading, *(row[place] for row in sheet.rows)))
        for place, heading in enumerate(sheet.headings)
    ]
    name = widths[0] + (_MARK_WIDTH if sheet.marked else 0)
    blocks, used = [[0]], name
    for place, wide in enumerate(widths[1:], start=1):
        if used + _GAP + wide > width and len(blocks[-1]) > 1:
            blocks.append([0])
            used = name
        blocks[-1].append(place)
        used += _GAP + wide
    return blocks


def _drawn(sheet: Sheet, places: list[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="", padding=(0, 1))
    for place in places:
        name, unit = sheet.headings[place]
        heading = Text.assemble((name, "bold"), "\n", (unit, "dim"))
        table.add_column(heading, justify="right" if place else "left", no_wrap=True, overflow="fold")
    for number, row in enumerate(sheet.rows):
        marked = number in sheet.marked
        name_text = Text(row[0] + (" !" if marked else ""), style="yellow" if marked else "")
        table.add_row(name_text, *(Text(row[place]) for place in places[1:]))
    return table
