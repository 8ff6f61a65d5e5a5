"""Report: a run as one page that needs nothing else: tables, pictures, and what each figure means.

Everything from the run is escaped text; pictures are SVG inside the page. The same sheets as the terminal's, so
that a figure reads the same in both. What a reader should doubt stands first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from io import StringIO
from pathlib import Path
from typing import Final

import polars as pl
from matplotlib import rc_context
from matplotlib.figure import Figure

from clawbench.analysis import billing, plots, sheets
from clawbench.analysis.dominance import dominance
from clawbench.analysis.frames import RunFolder
from clawbench.analysis.head import Head, head, strategies_in_order
from clawbench.analysis.metrics import SLO
from clawbench.analysis.sheets import Sheet
from clawbench.analysis.tables import offers_chosen, outcome_shares, per_seed, summary

_DEFINITIONS: Final = (
    ("TTFT", "t_first_token − t_scheduled, in seconds, over streamed requests that are ok"),
    ("E2E", "t_end − t_scheduled, in seconds, over requests that are ok"),
    ("TPOT", "(t_last_token − t_first_token) / (output_tokens − 1), in seconds, streamed, from two output tokens on"),
    ("token rate", "1 / TPOT, in output tokens a second after the first"),
    ("scheduled", "when the workload meant the request, so waiting in a queue counts and nothing is omitted"),
    ("ok", "share of requests that got a whole answer, after all fallbacks"),
    ("cost", "what the providers' own token counts cost at the offers' prices, failed attempts included"),
    ("exact", "the recording is of the same request at the same offer"),
    ("nearest", "the recording is of another request at the same offer, the nearest by stream flag, tools and size"),
    (
        "times",
        "recorded: as measured; header, body, duration: as the recording reveals; profile: drawn",
    ),
)

_STYLE: Final = """
:root{--ink:#1b1f24;--dim:#5b6570;--line:#d9dee3;--paper:#fff;--warn:#8a5a00;--warnbg:#fff6e0;--head:#f5f7f9}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ec;--dim:#9aa5b1;--line:#343b43;--paper:#14181c;--warn:#f0c060;
--warnbg:#2c2412;--head:#1c2126}figure svg{background:#fff;border-radius:6px}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1200px;padding:32px 24px 64px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:28px;margin:0 0 4px}h2{font-size:19px;margin:40px 0 8px}p{margin:4px 0 12px}
.dim,.note,figcaption,dt{color:var(--dim)}.note,figcaption{font-size:13.5px}
ul.warnings{list-style:none;margin:20px 0;padding:12px 16px;background:var(--warnbg);color:var(--warn);
border-radius:8px}
ul.warnings li+li{margin-top:6px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:12px 0}dd{margin:0;overflow-wrap:anywhere}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:6px 8px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th{background:var(--head);vertical-align:bottom;font-weight:600;white-space:normal}
th small{display:block;font-weight:400;color:var(--dim)}
th:first-child,td:first-child,td.text,th.text{text-align:left}
tr.marked td:first-child::after{content:" !";color:var(--warn);font-weight:700}
figure{margin:16px 0 32px}figure svg{width:100%;height:auto}figcaption{margin-top:6px}
"""


def write_report(run: RunFolder, out: Path, *, slo: SLO | None = None) -> Path:
    """Write the page to `out`, whole or not at all; the path written. Raises `OSError`."""
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        temporary.write_text(page(run, slo=slo), encoding="utf-8")
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return out


def page(run: RunFolder, *, slo: SLO | None = None) -> str:
    """The page as HTML; the same run gives the same bytes."""
    table = summary(run, slo=slo)
    order = strategies_in_order(run, table["strategy"].to_list())
    table = table.sort(pl.col("strategy").replace_strict(order, range(len(order)), return_dtype=pl.Int64))
    top = head(run, table)
    body = [
        _head(top, str(run.manifest.get("plan", {}).get("description") or "")),
        *(_sheet(sheet) for sheet in _first_sheets(run, table, order, slo)),
        *_pictures(run),
        _sheet(sheets.evidence(table)),
        _sheet(sheets.outcomes(outcome_shares(run), order)),
        _sheet(sheets.offers(offers_chosen(run), order)),
        *(_sheet(sheet) for sheet in billing.sheet_of(run, order, by_provider=True)),
        _definitions(),
        f"<p><strong>{escape(line)}</strong></p>" if (line := billing.line_of(run)) else "",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(top.title)} – clawbench</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _first_sheets(run: RunFolder, table: pl.DataFrame, order: Sequence[str], slo: SLO | None) -> list[Sheet]:
    found = [sheets.outcome_and_cost(table, slo), sheets.speed(table)]
    if len(order) > 1 and min(table["seeds"].to_list()) > 1:
        figures = per_seed(run.scan("requests"))
        found += [sheets.differences(figures, order[0], order), dominance(figures, order)]
    return found


def _pictures(run: RunFolder) -> list[str]:
    drawn = (
        (plots.cost_against_ttft(run), "Cost against time to first token", "Lower left is cheaper and faster."),
        (
            plots.distributions(run),
            "How long requests took",
            "A curve shows the share of requests answered within a time: further left is faster, and where it bends "
            "late there is a tail. The time axis is logarithmic.",
        ),
        (
            plots.offers_over_time(run),
            "Offers chosen over time",
            "Share of the attempts that each offer got, by time since the start of the run, all seeds together.",
        ),
        (plots.status_bars(run), "What became of the requests", "Failed: every attempt did; rejected: none was made."),
        (
            plots.match_and_timing_bars(run),
            "What answers and times rest on",
            "Only exact answers with recorded times are what was measured; the rest is as good as its source.",
        ),
    )
    return [_figure(figure, title, how) for figure, title, how in drawn]


def _head(top: Head, description: str) -> str:
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in top.warnings)
    pairs = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in (*top.evidence, *top.facts))
    return (
        f"<h1>{escape(top.title)}</h1>"
        + (f'<p class="dim">{escape(description)}</p>' if description else "")
        + (f'<ul class="warnings">{warnings}</ul>' if warnings else "")
        + f"<dl>{pairs}</dl>"
    )


def _sheet(sheet: Sheet) -> str:
    figures = [_is_figure(column) for column in zip(*sheet.rows, strict=True)] or [True] * len(sheet.headings)
    classes = ["" if is_figure else ' class="text"' for is_figure in figures]
    heads = "".join(
        f"<th{kind}>{escape(name)}{f'<small>{escape(unit)}</small>' if unit else ''}</th>"
        for (name, unit), kind in zip(sheet.headings, classes, strict=True)
    )
    rows = "".join(
        f"<tr{' class=marked' if place in sheet.marked else ''}>"
        + "".join(f"<td{kind}>{escape(text)}</td>" for text, kind in zip(row, classes, strict=True))
        + "</tr>"
        for place, row in enumerate(sheet.rows)
    )
    note = f'<p class="note">{escape(sheet.note)}</p>' if sheet.note else ""
    return (
        f"<h2>{escape(sheet.title)}</h2>"
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{note}'
    )


def _is_figure(texts: Sequence[str]) -> bool:
    """Whether a column holds figures, to be set flush right."""
    return all(text[:1] in "+−-–<>0123456789" for text in texts)


def _figure(figure: Figure, title: str, how: str) -> str:
    drawn = StringIO()
    # A fixed salt and no date: the same run gives the same page.
    with rc_context({"svg.hashsalt": "clawbench"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    svg = drawn.getvalue()
    return f"<h2>{escape(title)}</h2><figure>{svg[svg.index('<svg') :]}<figcaption>{escape(how)}</figcaption></figure>"


def _definitions() -> str:
    pairs = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in _DEFINITIONS)
    return f"<h2>What the figures mean</h2><dl>{pairs}</dl>"
