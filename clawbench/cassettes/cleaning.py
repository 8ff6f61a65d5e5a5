"""Files of recordings searched for secrets, and our own scrubbed in place.

Any format is searched. Rewritten are files in vcrpy's YAML only, which is what we write ourselves; others are for
`importing.py`. A file in which nothing is found keeps its bytes. Nothing is printed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from clawbench.cassettes.bodies import is_gzip
from clawbench.cassettes.formats import content_of, opened
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.cassettes.scrub import Finding, Scrubber
from clawbench.cassettes.store import cassette_files
from clawbench.cassettes.tape_lock import TapeLock
from clawbench.cassettes.writer import write_cassette
from clawbench.errors import CassetteError, UsageError

_OURS: Final = "vcrpy"


class FileScan(Struct, frozen=True, kw_only=True):
    """What was found in one file, credentials first in each interaction; `problem` where it could not be read."""

    file: str
    interactions: int = 0
    findings: tuple[Finding, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    problem: CassetteError | None = None

    @property
    def ok(self) -> bool:
        """Whether all of it was read and holds no credential; identifiers are warnings."""
        return (
            self.problem is None
            and not self.unreadable
            and all(finding.severity == "identifier" for finding in self.findings)
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        problem = self.problem
        return {
            "file": self.file,
            "interactions": self.interactions,
            "findings": [msgspec.to_builtins(finding) for finding in self.findings],
            "unreadable": [msgspec.to_builtins(item) for item in self.unreadable],
            "problem": None if problem is None else {"place": problem.place, "reason": problem.reason},
        }


class FileScrub(Struct, frozen=True, kw_only=True):
    """What became of one file, and what is found in it afterwards."""

    status: Literal["scrubbed", "clean", "not read"]
    after: FileScan


def scan_each(path: Path, *, secrets: Iterable[str] = ()) -> Iterator[FileScan]:
    """Searches a file, or a folder with all its subfolders; `len(cassette_files(path)[1])` results come.

    Raises `CassetteError` for a path without cassettes, `UsageError` for a secret that is too short.
    """
    root, files = cassette_files(path)
    scrubber = _scrubber(secrets)
    return (_scanned(root / file, file, scrubber) for file in files)


def scrub_each(path: Path, *, secrets: Iterable[str] = ()) -> Iterator[FileScrub]:
    """Scrubs the cassettes at or below a path in place, each at once or not at all. Raises as `scan_each` does, and
    `WriteFailed`.
    """
    root, files = cassette_files(path)
    scrubber = _scrubber(secrets)
    return (_scrubbed(root / file, file, scrubber) for file in files)


def _scrubber(secrets: Iterable[str]) -> Scrubber:
    try:
        return Scrubber(secrets)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _scanned(path: Path, file: str, scrubber: Scrubber) -> FileScan:
    try:
        items = list(opened(content_of(path, file), file).read())
    except CassetteError as error:
        return FileScan(file=file, problem=error)
    return _findings(items, file, scrubber)


def _findings(items: list[Interaction | Unreadable], file: str, scrubber: Scrubber) -> FileScan:
    return FileScan(
        file=file,
        interactions=len(items),
        findings=tuple(finding for item in items if isinstance(item, Interaction) for finding in scrubber.scan(item)),
        unreadable=tuple(item for item in items if isinstance(item, Unreadable)),
    )


def _scrubbed(path: Path, file: str, scrubber: Scrubber) -> FileScrub:
    try:
        content = content_of(path, file)
        recording = opened(content, file)
        if recording.format.name != _OURS or is_gzip(content) or recording.content.lstrip()[:1] == b"{":
            raise CassetteError("only YAML in vcrpy's layout is scrubbed in place; import this file", file=file)
        items = list(recording.read())
        broken = next((item for item in items if isinstance(item, Unreadable)), None)
        if broken is not None:
            raise CassetteError(
                f"interaction {broken.index} cannot be read and would be lost ({broken.reason}); nothing was changed",
                file=file,
                place=broken.place,
            )
    except CassetteError as error:
        return FileScrub(status="not read", after=FileScan(file=file, problem=error))
    before = [item for item in items if isinstance(item, Interaction)]
    after = [scrubber.scrubbed(item) for item in before]
    if after != before:
        try:
            _replace(path, file, content, after, comment=_comment(recording.content))
        except CassetteError as error:
            return FileScrub(status="not read", after=FileScan(file=file, problem=error))
    status: Literal["scrubbed", "clean"] = "clean" if after == before else "scrubbed"
    return FileScrub(status=status, after=_findings([*after], file, scrubber))


def _replace(path: Path, file: str, content: bytes, items: list[Interaction], *, comment: str) -> None:
    """Write the file that was read as `content` anew, unless somebody records to it: what comes next would be lost.

    Raises `CassetteInUse`, `CassetteError` for a file that has changed since it was read, `WriteFailed`.
    """
    lock = TapeLock(path.with_name(f".{path.name}.lock"), of=Path(file))
    try:
        if content_of(path, file) != content:
            raise CassetteError("has changed while it was scrubbed; nothing was written, scrub it again", file=file)
        write_cassette(path, items, comment=comment)
    finally:
        lock.release()


def _comment(content: bytes) -> str:
    """The comment lines at the top of a file, without their marks."""
    lines = []
    for line in content.decode("utf-8", "replace").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)
