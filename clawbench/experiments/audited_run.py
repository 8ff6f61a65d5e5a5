"""The audit of a run: each cell's ledger rows read back as the entries that they were, in order, a batch at a time.

A cell has a log of its own. Beside what `billing/audit.py` proves of a log, the rows' own columns have to be what the
entries say, and what the requests' rows say was charged has to be what the log has charged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from clawbench.analysis.frames import RunFolder, scan_parts
from clawbench.billing.audit import Auditor, Row, Worked, largest
from clawbench.billing.audit_books import PriceBooks
from clawbench.billing.audit_figures import Figures, merged
from clawbench.billing.ledger.protocol import Entry, Posting
from clawbench.errors import UsageError

_BATCH_ROWS: Final = 8192
_PLATFORM: Final = frozenset({"cost", "risk", "risk_resolved"})  # entries of no client
_COLUMNS: Final = (
    "entry_id", "account", "request_id", "kind", "amount_pico_uat", "balance_pico_uat", "at_us", "ref", "postings",
    "detail", "hash",
)  # fmt: skip
_NOTHING: Final = Posting("platform", 0)
_NAMED: Final = 5  # requests of a cell whose charge is not the ledger's
_decode: Final = msgspec.json.Decoder().decode
_moves: Final = msgspec.json.Decoder(tuple[Posting, ...]).decode


class UnreadableRun(UsageError):
    """A run's records cannot be read as a ledger; the message names the file or the row."""


def audit_run(
    run: RunFolder,
    *,
    since_us: int | None = None,
    differs: Callable[[Row], None] = lambda row: None,
    told: Sequence[Worked] = (),
    progress: Callable[[int], None] = lambda entries: None,
) -> Figures:
    """All finished cells. `progress` is told of entries read. Raises `UnreadableRun`."""
    if not run.cells:
        raise UnreadableRun(f"{run.path} has no finished cell to audit; go on with `clawbench run PLAN --resume`")
    strategies = {cell.get("id"): str(cell.get("strategy", "")) for cell in run.manifest.get("cells", [])}
    books = PriceBooks(run.path / "price-books")
    parts: list[Figures] = []
    for cell in run.cells:
        ledger, requests = (_parts_of(run, table, cell) for table in ("ledger", "requests"))
        if not ledger:
            raise UnreadableRun(f"{cell} has no ledger: this run keeps nothing that could be audited")
        auditor = Auditor(
            books,
            name=cell.name,
            strategy=strategies.get(cell.name, ""),
            surface_of=_surfaces(requests),
            since_us=since_us,
            differs=differs,
            told=told,
        )
        for entry in cell_entries(cell.name, ledger, auditor, progress):
            auditor.add(entry)
        figures = auditor.result()
        _compare_with_requests(cell.name, ledger, requests, figures)
        parts.append(figures)
    total = merged(parts)
    total.open_items = largest(total.open_items)
    return total


def entries_in(run: RunFolder) -> int:
    """How many entries there are to read. Raises `UnreadableRun`."""
    return sum(_opened(part).metadata.num_rows for part in run.parts("ledger"))


def cell_entries(
    cell: str, parts: Sequence[Path], auditor: Auditor, progress: Callable[[int], None]
) -> Iterator[Entry]:
    """The entries of a cell's log, in the order of its rows; columns that differ are violations of the auditor's.

    Raises `UnreadableRun`.
    """
    prev, balances, prefix = "", dict[str, int](), f"{cell}-"
    for part in parts:
        for rows in _rows(part):
            for row in rows:
                entry = _entry(row, prefix, prev, part)
                prev = entry.hash
                if wrong := _columns(row, entry, balances):
                    auditor.figures.violate(f"{cell} entry {entry.seq}", "records", wrong)
                yield entry
            progress(len(rows))


def _entry(row: tuple[Any, ...], prefix: str, prev: str, part: Path) -> Entry:
    entry_id, account, _, kind, _, _, at_us, ref, postings, detail, hashed = row
    try:
        if not entry_id.startswith(prefix):
            raise ValueError("it is of another cell")
        read, moves = _decode(detail), _moves(postings)
        if type(read) is not dict:
            raise ValueError("its detail is no JSON object")
        return Entry(
            seq=int(entry_id[len(prefix) :]),
            kind=kind,
            at_us=at_us,
            account="" if kind in _PLATFORM else account,
            ref=ref,
            postings=moves,
            detail=read,
            prev_hash=prev,
            hash=hashed,
        )
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableRun(f"{part}: row {entry_id!r} is no entry of a ledger: {error}") from None


def _columns(row: tuple[Any, ...], entry: Entry, balances: dict[str, int]) -> str:
    """What of a row's derived columns is not what its entry says; "": nothing."""
    _, account, request_id, _, amount, balance, *_ = row
    if entry.account:
        moved = 0
        for posting in entry.postings:
            if posting.account.startswith("client:"):
                moved += posting.amount
        named = account
    else:
        first = entry.postings[0] if entry.postings else _NOTHING
        named, moved = first.account, first.amount
    after = balances[named] = balances.get(named, 0) + moved
    if amount != moved or balance != after:
        return f"its columns say {amount} and a balance of {balance}; its postings come to {moved} and {after}"
    if account != named or (entry.detail.get("request_id") or None) != request_id:
        return f"its columns say account {account} and request {request_id}, and its entry says otherwise"
    return ""


def _rows(part: Path) -> Iterator[list[tuple[Any, ...]]]:
    opened = _opened(part)
    try:
        for batch in opened.iter_batches(_BATCH_ROWS, columns=list(_COLUMNS)):
            frame = pl.DataFrame(pl.from_arrow(batch))
            yield list(zip(*(frame[name].to_list() for name in _COLUMNS), strict=True))
    except (pa.ArrowException, OSError) as error:
        raise UnreadableRun(f"{part} cannot be read: {error}") from None


def _opened(part: Path) -> pq.ParquetFile:
    try:
        opened = pq.ParquetFile(part)
        names = set(opened.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableRun(f"{part} cannot be read: {error}") from None
    if lacking := [name for name in _COLUMNS if name not in names]:
        raise UnreadableRun(f"{part} is no ledger of this version: it has no column {', '.join(lacking)}")
    return opened


def _surfaces(requests: Sequence[Path]) -> Callable[[str], str]:
    """Which surface took a request. The most frequent one is not kept by request."""
    if not requests:
        return lambda request_id: ""
    rows = _collected(scan_parts(list(requests), "requests").select("request_id", "surface"))
    counts = rows["surface"].value_counts(sort=True)
    usual = str(counts["surface"][0]) if counts.height else ""
    others = dict(rows.filter(pl.col("surface") != usual).iter_rows())
    return lambda request_id: others.get(request_id, usual)


def _compare_with_requests(cell: str, ledger: list[Path], requests: list[Path], figures: Figures) -> None:
    """What the requests' rows say was charged against what the log has charged."""
    if not requests:
        figures.violate(cell, "records", "there are no records of requests beside the ledger")
        return
    is_charge = pl.col("kind").is_in(["settle", "late_settle"])
    charged = (
        scan_parts(ledger, "ledger").filter(is_charge).group_by("request_id").agg(-pl.col("amount_pico_uat").sum())
    )
    said = scan_parts(requests, "requests").select("request_id", said=pl.col("charge_pico_uat"))
    joined = said.join(charged, on="request_id", how="full", coalesce=True)
    differing = _collected(joined.filter(pl.col("said").fill_null(0) != pl.col("amount_pico_uat").fill_null(0)))
    for request_id, ours, theirs in differing.sort("request_id").head(_NAMED).iter_rows():
        what = f"request {request_id} says that {ours or 0} pico-UAT were charged, the ledger {theirs or 0}"
        figures.violate(cell, "records", what)
    figures.violated += max(differing.height - _NAMED, 0)


def _collected(rows: pl.LazyFrame) -> pl.DataFrame:
    try:
        return rows.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UnreadableRun(f"the records cannot be read: {error}") from None


def _parts_of(run: RunFolder, table: str, cell: Path) -> list[Path]:
    assert table in ("ledger", "requests")
    return [part for part in run.parts(table) if part.parent == cell]
