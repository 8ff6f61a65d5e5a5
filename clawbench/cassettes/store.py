"""The store: all recordings of a run, found by key and read by offset.

`open_store` takes files and folders of cassettes and keeps a compiled index of each (see `index.py`), so that opening
is quick and no YAML is read twice. Files that cannot be read are told apart and do not keep the others from being used.
Knows wires only to hand them to the compiler, and offers not before `bind`.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from clawbench.cassettes.compiling import Rest
from clawbench.cassettes.entry import Entry, Leftover
from clawbench.cassettes.formats import FORMATS, SUFFIXES, may_be_cassette
from clawbench.cassettes.index import INDEX_NAME, Buffer, Source, compiled
from clawbench.cassettes.replay import BoundStore, Found, NoRecording
from clawbench.errors import CassetteError, did_you_mean
from clawbench.types import ChatRequest, HttpCall, Offer
from clawbench.wires.protocol import Wire

__all__ = [
    "FORMATS",
    "BoundStore",
    "CassetteStore",
    "Entry",
    "Found",
    "Leftover",
    "NoRecording",
    "cassette_files",
    "open_store",
]

KEPT_BYTES: Final = 64 * 2**20
"""Bodies and headers that a store keeps in memory once they were read."""

_decode_rest = msgspec.msgpack.Decoder(Rest).decode


def open_store(
    paths: Sequence[Path],
    wires: Mapping[str, Wire],
    *,
    cache_dir: Path | None = None,
    formats: Collection[str] | None = None,
) -> CassetteStore:
    """Opens cassettes: each path is a file or a folder, which is searched with all its subfolders.

    The index of a folder is kept in it, else in `cache_dir`, else in memory. With `formats`, names out of `FORMATS`,
    files of other formats and of unknown ones are as if they were not there; None takes all. Raises `ValueError` for
    an unknown format, `CassetteError` for a path that does not exist or holds no file that could be a cassette; what
    is wrong inside of files stands in `problems`.
    """
    unknown = sorted(set(formats or ()) - set(FORMATS))
    if unknown:
        raise ValueError(
            f'format "{unknown[0]}" is not known. Known: {", ".join(FORMATS)}.{did_you_mean(unknown[0], FORMATS)}'
        )
    roots = []
    for path in paths:
        root, files = cassette_files(path)
        index_name = INDEX_NAME if path.is_dir() else f".{path.name}{INDEX_NAME}"
        found = compiled(root, files, wires, index_name=index_name, cache_dir=cache_dir)
        sources = [source for source in found.sources if formats is None or source.format in formats]
        roots.append(_Root(path, sources, found.buffer))
    return CassetteStore(_with_own_names(roots), wires)


def cassette_files(path: Path) -> tuple[Path, list[str]]:
    """A folder and the files to be read in it, relative, sorted; hidden ones and folders behind links are left out."""
    if path.is_file():
        return path.parent, [path.name]
    if not path.is_dir():
        raise CassetteError("there is no such file or folder", file=str(path))
    files = []
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        here = Path(folder)
        files += [
            (here / name).relative_to(path).as_posix()
            for name in names
            if not name.startswith(".") and may_be_cassette(name) and (here / name).is_file()
        ]
    for file in files:
        if not file.isprintable():
            shown = file.encode("utf-8", "backslashreplace").decode()
            raise CassetteError("a file name must be printable text", file=shown)
    if not files:
        raise CassetteError(f"the folder holds no cassette (looked for {', '.join(sorted(SUFFIXES))})", file=str(path))
    return path, sorted(files)


class _Root(Struct, frozen=True):
    """One opened path."""

    path: Path
    sources: list[Source]
    buffer: Buffer


class _Record(Struct, frozen=True):
    """What stands behind an entry."""

    body: bytes
    rest: Rest
    size: int  # of both in the index


class CassetteStore:
    """Recordings, opened. Reading bodies is the only I/O left; not for several threads at once."""

    def __init__(self, roots: Sequence[_Root], wires: Mapping[str, Wire]) -> None:
        self._wires = wires
        self._sources = [source for root in roots for source in root.sources]
        self._buffers = {source.file: root.buffer for root in roots for source in root.sources}
        self._kept: OrderedDict[str, _Record] = OrderedDict()
        self._kept_bytes = 0
        self.entries: tuple[Entry, ...] = tuple(entry for source in self._sources for entry in source.entries)
        """Chat calls that can be replayed, in order of path, file and position."""
        self.leftovers: tuple[Leftover, ...] = tuple(left for source in self._sources for left in source.leftovers)
        """Interactions that are no chat calls, are not understood or not readable, each with the reason."""
        self.problems: tuple[CassetteError, ...] = tuple(
            source.problem.as_error(source.file) for source in self._sources if source.problem is not None
        )
        """Files that could not be read."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files that were looked at and are of the formats asked for."""
        return tuple(source.file for source in self._sources)

    def digest(self) -> str:
        """SHA-256 (hex) over names and hashes of the files: the same recordings give the same digest anywhere."""
        digest = hashlib.sha256()
        for file, sha256 in sorted((source.file, source.sha256) for source in self._sources):
            digest.update(file.encode() + b"\0" + sha256)
        return digest.hexdigest()

    def body(self, entry: Entry) -> bytes:
        """The reply's body, decoded. Raises `CassetteError` where the index has been damaged since it was opened."""
        return self._record(entry).body

    def headers(self, entry: Entry) -> dict[str, str]:
        """The reply's headers, names in lower case. Shared: never change it."""
        return self._record(entry).rest.headers

    def call(self, entry: Entry) -> HttpCall:
        """The recorded request as it was sent, its body decoded."""
        rest = self._record(entry).rest
        return HttpCall(
            method=rest.method,
            url=rest.url,
            headers=dict(rest.request_headers),
            body=rest.request_body,
            stream=entry.stream,
        )

    def request(self, entry: Entry) -> ChatRequest:
        """The recorded request in chat terms."""
        wire = next(wire for wire in self._wires.values() if wire.name == entry.dialect)
        return wire.parse(self.call(entry))

    def bind(self, offers: Sequence[Offer]) -> BoundStore:
        """The recordings as those of these offers."""
        return BoundStore(self.entries, self, offers)

    def close(self) -> None:
        """Gives the mapped indexes back; nothing may be read afterwards."""
        self._kept.clear()
        for buffer in self._buffers.values():
            if not isinstance(buffer, bytes):
                buffer.close()

    def _record(self, entry: Entry) -> _Record:
        name = entry.id
        record = self._kept.get(name)
        if record is not None:
            self._kept.move_to_end(name)
            return record
        blob = self._buffers[entry.file][entry.offset : entry.offset + entry.length + entry.rest_length]
        if zlib.crc32(blob) != entry.checksum:
            raise CassetteError(f"the bytes of {name} in {INDEX_NAME} are damaged; delete it", file=entry.file)
        record = _Record(blob[: entry.length], _decode_rest(blob[entry.length :]), len(blob))
        self._kept[name] = record
        self._kept_bytes += record.size
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._kept_bytes -= old.size
        return record


def _with_own_names(roots: list[_Root]) -> list[_Root]:
    """Makes file names unique: a path whose names another one has too puts its own name before them."""
    seen = Counter(source.file for root in roots for source in root.sources)
    labels = _labels([root.path for root in roots])
    return [
        _relabelled(root, label) if any(seen[source.file] > 1 for source in root.sources) else root
        for root, label in zip(roots, labels, strict=True)
    ]


def _labels(paths: list[Path]) -> Iterator[str]:
    used: Counter[str] = Counter()
    for path in paths:
        name = path.resolve().name if path.is_dir() else path.resolve().parent.name
        used[name] += 1
        yield name if used[name] == 1 else f"{name}~{used[name]}"


def _relabelled(root: _Root, label: str) -> _Root:
    replace = msgspec.structs.replace
    sources = []
    for source in root.sources:
        file = f"{label}/{source.file}"
        entries = [replace(entry, file=file) for entry in source.entries]
        leftovers = [replace(leftover, file=file) for leftover in source.leftovers]
        sources.append(replace(source, file=file, entries=entries, leftovers=leftovers))
    return replace(root, sources=sources)
