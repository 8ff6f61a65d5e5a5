"""What is in cassettes, said plainly: the engine behind `clawbench cassettes check`, `ls` and `show`.

`check` reads every file afresh, without an index, and decodes every interaction through the wires. `ls` and `show`
go through an open store. Nothing is printed here, and nothing is counted that was not decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from clawbench.cassettes.entry import Entry
from clawbench.cassettes.formats import content_of, opened
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.cassettes.store import CassetteStore, cassette_files
from clawbench.cassettes.understanding import Answer, NotUnderstood, understand
from clawbench.catalog.providers import provider_of
from clawbench.errors import CassetteError
from clawbench.types import ChatRequest, TimingSource
from clawbench.wires.protocol import Wire


class Checked(Struct, frozen=True, kw_only=True):
    """One interaction's verdict."""

    interaction: int
    provider: str  # "" where the interaction could not be read
    kind: str  # completion, error, not_chat, not_understood or unreadable
    streamed: bool = False
    usage_found: bool = False  # the provider stated tokens
    reason: str = ""
    place: str = ""  # in the file; "" where the file does not tell


class FileCheck(Struct, frozen=True, kw_only=True):
    """One file's verdict. `problem` is None for a file that was read."""

    file: str
    format: str  # "unknown" where it is of no known one
    read: bool
    problem: CassetteError | None = None
    interactions: tuple[Checked, ...] = ()


class CheckReport:
    """What was found in all files added to it."""

    def __init__(self) -> None:
        names = "files files_loaded interactions decoded streamed errors_decoded usage_found not_chat"
        self.totals: dict[str, int] = dict.fromkeys(names.split(), 0)
        self.by_format: dict[str, dict[str, int]] = {}
        self.by_provider: dict[str, dict[str, int]] = {}
        self.not_understood: list[dict[str, Any]] = []
        self.problems: list[dict[str, Any]] = []

    def add(self, result: FileCheck) -> None:
        """Counts one file."""
        names = ("files", "files_loaded", "interactions", "decoded")
        of_format = self.by_format.setdefault(result.format, dict.fromkeys(names, 0))
        for counts in (self.totals, of_format):
            counts["files"] += 1
            counts["files_loaded"] += result.read
        if result.problem is not None:
            problem = result.problem
            self.problems.append({"file": result.file, "place": problem.place, "reason": problem.reason})
        for checked in result.interactions:
            self._add_interaction(result.file, checked, of_format)

    def _add_interaction(self, file: str, checked: Checked, of_format: dict[str, int]) -> None:
        totals = self.totals
        decoded = checked.kind in ("completion", "error")
        for counts in (totals, of_format):
            counts["interactions"] += 1
            counts["decoded"] += decoded
        totals["streamed"] += decoded and checked.streamed
        totals["errors_decoded"] += checked.kind == "error"
        totals["usage_found"] += checked.usage_found
        totals["not_chat"] += checked.kind == "not_chat"
        if checked.provider and checked.kind != "not_chat":
            of_provider = self.by_provider.setdefault(checked.provider, {"interactions": 0, "decoded": 0})
            of_provider["interactions"] += 1
            of_provider["decoded"] += decoded
        if checked.kind in ("not_understood", "unreadable"):
            where = {"file": file, "interaction": checked.interaction, "place": checked.place}
            self.not_understood.append({**where, "reason": checked.reason})

    def to_json(self) -> dict[str, Any]:
        """Plain values, in an order that depends on the files alone."""
        return {
            "totals": self.totals,
            "by_format": dict(sorted(self.by_format.items())),
            "by_provider": dict(sorted(self.by_provider.items())),
            "not_understood": self.not_understood,
            "problems": self.problems,
        }


def check(path: Path, wires: Mapping[str, Wire]) -> CheckReport:
    """Reads and decodes everything below a path. Raises `CassetteError` only for a path without any cassette."""
    report = CheckReport()
    for result in check_each(path, wires):
        report.add(result)
    return report


def check_each(path: Path, wires: Mapping[str, Wire]) -> Iterator[FileCheck]:
    """The same file by file, for whoever shows progress; `len(cassette_files(path)[1])` files come."""
    root, files = cassette_files(path)
    for file in files:
        yield check_file(root / file, file, wires)


def check_file(path: Path, file: str, wires: Mapping[str, Wire]) -> FileCheck:
    """One file's verdict; `file` is its name in the report. What is wrong with it is in the verdict, never raised."""
    name = "unknown"
    try:
        recorded = opened(content_of(path, file), file)
        name = recorded.format.name
        checked = tuple(_checked(item, wires) for item in recorded.read())
    except CassetteError as error:
        return FileCheck(file=file, format=name, read=False, problem=error)
    return FileCheck(file=file, format=name, read=True, interactions=checked)


def _checked(item: Interaction | Unreadable, wires: Mapping[str, Wire]) -> Checked:
    if isinstance(item, Unreadable):
        return Checked(interaction=item.index, provider="", kind="unreadable", reason=item.reason, place=item.place)
    provider = provider_of(item.url)
    read = understand(item, wires)
    if isinstance(read, NotUnderstood):
        return Checked(interaction=item.index, provider=provider, kind=read.kind, reason=read.reason, place=item.place)
    usage = read.answer.usage
    return Checked(
        interaction=item.index,
        provider=provider,
        kind="completion" if read.answer.error is None else "error",
        streamed=read.framing != "",
        usage_found=usage is not None and not (usage.input_tokens is None and usage.output_tokens is None),
    )


class Listed(Struct, frozen=True, kw_only=True):
    """One line of `ls`."""

    id: str
    provider: str
    model: str
    dialect: str
    stream: bool
    status: int
    outcome: str
    input_tokens: int | None
    output_tokens: int | None
    body_bytes: int
    events: int  # in which the body is framed; 0: it is not
    timing: TimingSource | None  # None: the recording tells nothing of its times


class Shown(Struct, frozen=True, kw_only=True):
    """One interaction in full, for `show`."""

    listed: Listed
    url: str
    request: ChatRequest
    headers: dict[str, str]
    answer: Answer
    ttft_s: float | None  # as recorded or revealed; None: not told
    e2e_s: float | None


def listed(store: CassetteStore) -> Iterator[Listed]:
    """The entries of a store, in its order."""
    return (_listed(entry) for entry in store.entries)


def shown(store: CassetteStore, interaction: str, wires: Mapping[str, Wire]) -> Shown:
    """One interaction by its id (`openai.yaml#3`). Raises `CassetteError` for an id that is not in the store."""
    entry = next((entry for entry in store.entries if entry.id == interaction), None)
    if entry is None:
        leftover = next((leftover for leftover in store.leftovers if leftover.id == interaction), None)
        reason = leftover.reason if leftover else "there is no such chat call; ids look like `file.yaml#0`"
        raise CassetteError(reason, file=interaction)
    call = store.call(entry)
    replayed = Interaction(
        file=entry.file,
        index=entry.index,
        method=call.method,
        url=call.url,
        request_headers=call.headers,
        request_body=call.body,
        status=entry.status,
        headers=store.headers(entry),
        body=store.body(entry),
    )
    read = understand(replayed, wires)
    if isinstance(read, NotUnderstood):
        raise CassetteError(read.reason, file=interaction)
    timing, told = entry.timing, entry.revealed
    arrivals = [t_s for _, t_s in timing.chunks] if timing else []
    return Shown(
        listed=_listed(entry),
        url=entry.url,
        request=read.request,
        headers=store.headers(entry),
        answer=read.answer,
        ttft_s=arrivals[0] if arrivals else told.ttft_s if told else None,
        e2e_s=arrivals[-1] if arrivals else told.e2e_s if told else None,
    )


def shown_json(shown: Shown) -> dict[str, Any]:
    """`Shown` as plain values; an error becomes its outcome, status, code and message."""
    error = shown.answer.error
    return {
        **msgspec.to_builtins(shown.listed),
        "url": shown.url,
        "request": msgspec.to_builtins(shown.request),
        "headers": shown.headers,
        "completion": msgspec.to_builtins(shown.answer.completion),
        "stream_end": msgspec.to_builtins(shown.answer.end),
        "text": "".join(delta.content or "" for delta in shown.answer.deltas) or None,
        "error": None if error is None else {"outcome": error.outcome, "code": error.code, "message": str(error)},
        "ttft_s": shown.ttft_s,
        "e2e_s": shown.e2e_s,
    }


def _listed(entry: Entry) -> Listed:
    return Listed(
        id=entry.id,
        provider=provider_of(entry.url),
        model=entry.upstream_model,
        dialect=entry.dialect,
        stream=entry.stream,
        status=entry.status,
        outcome=entry.outcome,
        input_tokens=entry.input_tokens,
        output_tokens=entry.output_tokens,
        body_bytes=entry.length,
        events=len(entry.event_ends),
        timing="recorded" if entry.packed_timing else entry.revealed.source if entry.revealed else None,
    )
