"""Recordings of any format made into our own: read, scrubbed, scanned, and written in vcrpy's layout.

One file comes of each source file, under the same relative name with `.yaml`. An interaction in which something is
still found after scrubbing is left out and told. The first line of a file that was written names its source, the
source's SHA-256, the version of the scrubbing rules and how many interactions were taken; a file of which all were
taken, from the same bytes by the same rules, is not done again. Files are replaced whole, so that a run that was broken
off is simply repeated. Each file's result comes as soon as it is there; nothing is printed here.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from clawbench.cassettes.formats import SUFFIXES, content_of, opened
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.cassettes.scrub import RULES_VERSION, Finding, Scrubber
from clawbench.cassettes.store import cassette_files
from clawbench.cassettes.writer import write_cassette
from clawbench.errors import CassetteError, UsageError, WriteFailed

_FIRST_LINE: Final = re.compile(
    r"# Imported by clawbench from .*, sha256 (?P<sha256>[0-9a-f]{64}), scrub rules (?P<rules>\d+), "
    r"(?P<taken>\d+) of (?P<all>\d+) interactions"
)

Status = Literal["written", "unchanged", "left out", "not read"]
"""What became of a file: written, in place already, nothing in it that could be taken, or not readable."""


class FileImport(Struct, frozen=True, kw_only=True):
    """One source file's result."""

    source: str
    target: str  # relative to the folder imported into
    status: Status
    format: str = ""  # "" where it is of no known one
    interactions: int = 0  # in the source
    taken: int = 0  # of them, in the target
    refused: tuple[Finding, ...] = ()  # credentials that scrubbing did not remove; their interactions are left out
    unreadable: tuple[Unreadable, ...] = ()
    problem: CassetteError | None = None  # why the file was not read, or not written over

    @property
    def ok(self) -> bool:
        """Whether everything in the source is in the target."""
        return self.problem is None and not self.refused and not self.unreadable


class ImportReport:
    """What became of all files added to it."""

    def __init__(self) -> None:
        self.files: list[FileImport] = []

    def add(self, result: FileImport) -> None:
        """Takes one file's result in."""
        self.files.append(result)

    @property
    def ok(self) -> bool:
        """Whether every interaction of every file was taken."""
        return all(result.ok for result in self.files)

    def to_json(self) -> dict[str, Any]:
        """Plain values, in an order that depends on the files alone."""
        statuses = Counter(result.status for result in self.files)
        return {
            "files": len(self.files),
            "written": statuses["written"],
            "unchanged": statuses["unchanged"],
            "left_out": statuses["left out"],
            "not_read": statuses["not read"],
            "interactions": sum(result.interactions for result in self.files),
            "taken": sum(result.taken for result in self.files),
            "refused": [msgspec.to_builtins(finding) for result in self.files for finding in result.refused],
            "unreadable": [msgspec.to_builtins(item) for result in self.files for item in result.unreadable],
            "problems": [
                {"file": result.source, "place": result.problem.place, "reason": result.problem.reason}
                for result in self.files
                if result.problem is not None
            ],
        }


def import_cassettes(src: Path, into: Path, *, secrets: Iterable[str] = ()) -> ImportReport:
    """Imports a file, or a folder with all its subfolders, into a folder, which is made.

    `secrets` are replaced wherever they stand, in any encoding, beside what the rules recognise. Raises
    `CassetteError` for a `src` without cassettes, `UsageError` for an `into` in `src` or a secret that is too short,
    `WriteFailed` where nothing can be written.
    """
    report = ImportReport()
    for result in import_each(src, into, secrets=secrets):
        report.add(result)
    return report


def import_each(src: Path, into: Path, *, secrets: Iterable[str] = ()) -> Iterator[FileImport]:
    """The same file by file, for whoever shows progress; `len(cassette_files(src)[1])` results come."""
    root, files = cassette_files(src)
    if src.is_dir() and into.resolve().is_relative_to(src.resolve()):
        raise UsageError(f"{into} lies in {src}, which is to be imported: choose a folder beside it")
    try:
        scrubber = Scrubber(secrets)
    except ValueError as error:
        raise UsageError(str(error)) from None
    targets = _targets(files)
    return (_imported(root / file, file, into, targets[file], scrubber) for file in files)


def _targets(files: list[str]) -> dict[str, str]:
    """Each file's name with `.yaml` for its own suffix; where two would be the same, with `.yaml` behind it."""
    bare = {file: _bare(file) + ".yaml" for file in files}
    wanted = Counter(bare.values())
    return {file: name if wanted[name] == 1 or name == file else f"{file}.yaml" for file, name in bare.items()}


def _bare(file: str) -> str:
    stem, suffix = os.path.splitext(file)
    if suffix.lower() == ".gz":
        stem, suffix = os.path.splitext(stem)
    return stem if suffix.lower() in SUFFIXES else file


def _imported(source: Path, file: str, into: Path, target: str, scrubber: Scrubber) -> FileImport:
    try:
        content = content_of(source, file)
        sha256 = hashlib.sha256(content).hexdigest()
        there = _there(into / target)
        if _is_done(into / target, there, sha256, scrubber):
            recorded = opened(content, file).format.name
            count = int(there["taken"]) if there is not None else 0
            return FileImport(
                source=file, target=target, status="unchanged", format=recorded, interactions=count, taken=count
            )
        if there is None and (into / target).exists():
            reason = f"{into / target} is there already and was not imported: nothing was changed"
            raise CassetteError(reason, file=file)
        recording = opened(content, file)
        items = list(recording.read())
    except CassetteError as error:
        return FileImport(source=file, target=target, status="not read", problem=error)
    taken, refused = _scrubbed([item for item in items if isinstance(item, Interaction)], scrubber)
    if taken:
        comment = (
            f"Imported by clawbench from {file} ({recording.format.name}), sha256 {sha256}, "
            f"scrub rules {RULES_VERSION}, {len(taken)} of {len(items)} interactions"
        )
        _write(into / target, taken, comment)
    elif there is not None:
        (into / target).unlink(missing_ok=True)  # what was taken from an earlier state of the source
    return FileImport(
        source=file,
        target=target,
        status="written" if taken else "left out",
        format=recording.format.name,
        interactions=len(items),
        taken=len(taken),
        refused=tuple(refused),
        unreadable=tuple(item for item in items if isinstance(item, Unreadable)),
    )


def _there(target: Path) -> dict[str, str] | None:
    """What the first line of an imported file says; None where there is no such file."""
    try:
        with target.open(encoding="utf-8", errors="replace") as file:
            match = _FIRST_LINE.fullmatch(file.readline().rstrip("\n"))
    except OSError:
        return None
    return match.groupdict() if match else None


def _is_done(target: Path, there: dict[str, str] | None, sha256: str, scrubber: Scrubber) -> bool:
    if there is None or there["sha256"] != sha256 or there["rules"] != str(RULES_VERSION):
        return False
    if there["taken"] != there["all"]:
        return False  # to be told again what was left out
    # A secret that was not handed in at the time may be now.
    return not scrubber.known_secret_in(target.read_text(encoding="utf-8", errors="replace"))


def _scrubbed(interactions: list[Interaction], scrubber: Scrubber) -> tuple[list[Interaction], list[Finding]]:
    taken: list[Interaction] = []
    refused: list[Finding] = []
    for interaction in interactions:
        clean = scrubber.scrubbed(interaction)
        left = [finding for finding in scrubber.scan(clean) if finding.severity == "credential"]
        refused += left
        if not left:
            taken.append(clean)
    return taken, refused


def _write(target: Path, interactions: list[Interaction], comment: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteFailed(f"{target.parent}: the folder could not be made ({error.strerror})") from error
    write_cassette(target, interactions, comment=comment)
