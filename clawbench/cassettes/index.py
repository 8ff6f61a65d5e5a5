"""The compiled index of a folder of cassettes: what it takes to match and replay, without reading YAML again.

Derived and never trusted. It is one file, `.clawbench.index`, written beside its neighbour name and renamed, so that
readers and writers in many processes see a whole index or none:

    magic · for each entry its body, then headers and request as msgpack · the entries as msgpack · footer

An index is used only if magic, footer and checksum hold and it was written by this very code (a fingerprint of the
sources that compile it, and of the wires). A cassette's part is used while the file has the size and the modification
time at which its SHA-256 was taken, or else the same SHA-256; a file changed within two seconds of the index's own
writing is always hashed. Everything else is compiled again. Knows neither offers nor matching.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct

from clawbench.cassettes.compiling import compile_file
from clawbench.cassettes.entry import Entry, Leftover
from clawbench.cassettes.formats import opened
from clawbench.cassettes.formats.yaml_safe import MAX_FILE_BYTES
from clawbench.errors import CassetteError, UnknownFormat
from clawbench.wires.protocol import Wire

INDEX_NAME: Final = ".clawbench.index"
_MAGIC: Final = b"clawbench index 1\n"
_FOOTER: Final = struct.Struct("<QQ16s18s")  # offset and length of the entries, their BLAKE2b, the magic again
_RACY_NS: Final = 2 * 10**9

Buffer = bytes | mmap.mmap


class Problem(Struct, frozen=True, array_like=True):
    """Why a file could not be read; becomes a `CassetteError` again when it is shown."""

    reason: str
    place: str
    unknown_format: bool

    def as_error(self, file: str) -> CassetteError:
        kind = UnknownFormat if self.unknown_format else CassetteError
        return kind(self.reason, file=file, place=self.place)


class Source(Struct, frozen=True, kw_only=True, array_like=True):
    """One file as it was when it was compiled."""

    file: str
    size: int
    mtime_ns: int
    sha256: bytes
    format: str  # "" where it is of no known one
    problem: Problem | None
    entries: list[Entry]
    leftovers: list[Leftover]


class Compiled(Struct, frozen=True):
    """A folder's sources in order of their names, and the bytes that their entries point into."""

    sources: list[Source]
    buffer: Buffer


class _Packed(Struct, frozen=True, array_like=True):
    fingerprint: bytes
    sources: list[Source]


_decode = msgspec.msgpack.Decoder(_Packed).decode


class _Seen(Struct, frozen=True):
    """A file as it stands now. `content` is None until somebody needs it."""

    path: Path
    file: str
    size: int
    mtime_ns: int


def compiled(
    root: Path, files: Sequence[str], wires: Mapping[str, Wire], *, index_name: str, cache_dir: Path | None
) -> Compiled:
    """The index of these files below `root`, read where it holds and brought up to date where it does not.

    It is kept in `root`, else in `cache_dir`, else in memory. Raises nothing for what is in the files: see `problem`.
    """
    fingerprint = _fingerprint(wires)
    places = [root / index_name]
    if cache_dir is not None:
        name = hashlib.sha256(f"{root.resolve()}/{index_name}".encode()).hexdigest()[:32]
        places.append(cache_dir / f"{name}.index")
    now = [_seen(root, file) for file in files]
    known, written_ns = _first_valid(places, fingerprint)
    fresh, stale = _still_good(known, now, written_ns)
    if known is not None and not stale and len(known.sources) == len(now):
        return known
    for place in places:
        if not _may_write(place.parent):
            continue
        try:
            return _write(place, fingerprint, now, fresh, known, wires)
        except OSError:
            continue  # not writable, or full: the next place, in the end memory
    sink = BytesIO()
    sources = _compose(sink, fingerprint, now, fresh, known, wires)
    return Compiled(sources, sink.getvalue())


def _may_write(folder: Path) -> bool:
    """Whether an index may be put there. A folder whose mode says read-only stays as it is, also under root."""
    try:
        return bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)
    except FileNotFoundError:
        return True  # a cache folder that is to be made
    except OSError:
        return False


def read_index(place: Path, fingerprint: bytes) -> tuple[Compiled, int] | None:
    """The index at this path and when it was written (ns), or None: missing, damaged, or of other code."""
    try:
        with place.open("rb") as file:
            written_ns = os.fstat(file.fileno()).st_mtime_ns
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # an empty file cannot be mapped
        return None
    packed = _unpacked(buffer)
    if packed is None or packed.fingerprint != fingerprint:
        buffer.close()
        return None
    return Compiled(packed.sources, buffer), written_ns


def _unpacked(buffer: Buffer) -> _Packed | None:
    if len(buffer) < len(_MAGIC) + _FOOTER.size or buffer[: len(_MAGIC)] != _MAGIC:
        return None
    end = len(buffer) - _FOOTER.size
    offset, length, checksum, magic = _FOOTER.unpack(buffer[end:])
    if magic != _MAGIC or offset + length != end:
        return None
    packed = buffer[offset:end]
    if hashlib.blake2b(packed, digest_size=16).digest() != checksum:
        return None
    try:
        return _decode(packed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _first_valid(places: Iterable[Path], fingerprint: bytes) -> tuple[Compiled | None, int]:
    for place in places:
        found = read_index(place, fingerprint)
        if found is not None:
            return found
    return None, 0


def _seen(root: Path, file: str) -> _Seen:
    path = root / file
    try:
        stat = path.stat()
    except OSError:
        return _Seen(path, file, -1, -1)
    return _Seen(path, file, stat.st_size, stat.st_mtime_ns)


def _still_good(known: Compiled | None, now: list[_Seen], written_ns: int) -> tuple[dict[str, Source], bool]:
    """The sources that need no compiling, and whether the index on disk must be written anew."""
    if known is None:
        return {}, True
    old = {source.file: source for source in known.sources}
    good: dict[str, Source] = {}
    stale = False
    for seen in now:
        source = old.get(seen.file)
        if source is None:
            stale = True
            continue
        same_stat = (source.size, source.mtime_ns) == (seen.size, seen.mtime_ns)
        if same_stat and seen.mtime_ns < written_ns - _RACY_NS:
            good[seen.file] = source
        elif source.size == seen.size and _hash(seen) == source.sha256:
            good[seen.file] = source
            stale = stale or not same_stat
        else:
            stale = True
    return good, stale


def _hash(seen: _Seen) -> bytes:
    try:
        with seen.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""


def _write(
    place: Path,
    fingerprint: bytes,
    now: list[_Seen],
    fresh: dict[str, Source],
    known: Compiled | None,
    wires: Mapping[str, Wire],
) -> Compiled:
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f"{INDEX_NAME}.")
    try:
        with os.fdopen(handle, "w+b") as file:
            sources = _compose(file, fingerprint, now, fresh, known, wires)
            file.flush()
            os.fsync(file.fileno())
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        os.chmod(name, 0o644)  # as readable as the cassettes it was made of
        os.replace(name, place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Compiled(sources, buffer)


def _compose(
    sink: IO[bytes],
    fingerprint: bytes,
    now: list[_Seen],
    fresh: dict[str, Source],
    known: Compiled | None,
    wires: Mapping[str, Wire],
) -> list[Source]:
    """Writes the whole index: the parts that are still good are copied, the others compiled."""
    sink.write(_MAGIC)
    at = len(_MAGIC)
    sources = []
    for seen in now:
        good = fresh.get(seen.file)
        source, blobs = (
            _compile(seen, wires)
            if good is None or known is None
            else (_restated(good, seen), [_blob(known.buffer, entry) for entry in good.entries])
        )
        placed = []
        for entry, blob in zip(source.entries, blobs, strict=True):
            sink.write(blob)
            placed.append(msgspec.structs.replace(entry, offset=at, checksum=zlib.crc32(blob)))
            at += len(blob)
        sources.append(msgspec.structs.replace(source, entries=placed))
    packed = msgspec.msgpack.encode(_Packed(fingerprint, sources))
    sink.write(packed)
    sink.write(_FOOTER.pack(at, len(packed), hashlib.blake2b(packed, digest_size=16).digest(), _MAGIC))
    return sources


def _restated(source: Source, seen: _Seen) -> Source:
    return msgspec.structs.replace(source, size=seen.size, mtime_ns=seen.mtime_ns)


def _blob(buffer: Buffer, entry: Entry) -> bytes:
    return buffer[entry.offset : entry.offset + entry.length + entry.rest_length]


def _compile(seen: _Seen, wires: Mapping[str, Wire]) -> tuple[Source, list[bytes]]:
    content, format_name = b"", ""
    try:
        if seen.size > MAX_FILE_BYTES:
            raise CassetteError(f"the file has {seen.size:,} bytes; the limit is {MAX_FILE_BYTES:,}", file=seen.file)
        content = seen.path.read_bytes()
        file = opened(content, seen.file)
        format_name = file.format.name
        found = compile_file(file, wires)
    except OSError as error:
        return _unread(seen, content, format_name, Problem(f"cannot be opened: {error.strerror}", "", False)), []
    except CassetteError as error:
        problem = Problem(error.reason, error.place, isinstance(error, UnknownFormat))
        return _unread(seen, content, format_name, problem), []
    source = Source(
        file=seen.file,
        size=len(content),
        mtime_ns=seen.mtime_ns,
        sha256=hashlib.sha256(content).digest(),
        format=format_name,
        problem=None,
        entries=found.entries,
        leftovers=found.leftovers,
    )
    return source, found.blobs


def _unread(seen: _Seen, content: bytes, format_name: str, problem: Problem) -> Source:
    return Source(
        file=seen.file,
        size=seen.size,
        mtime_ns=seen.mtime_ns,
        sha256=hashlib.sha256(content).digest() if content else _hash(seen),
        format=format_name,
        problem=problem,
        entries=[],
        leftovers=[],
    )


def _fingerprint(wires: Mapping[str, Wire]) -> bytes:
    """Of the code that an index depends on: this room, the wires, what they count tokens by."""
    digest = hashlib.sha256(_code_of_ours())
    for name, wire in wires.items():
        digest.update(f"{name}\0{type(wire).__module__}.{type(wire).__qualname__}\0".encode())
        module = sys.modules.get(type(wire).__module__)
        file = getattr(module, "__file__", None)
        if file is not None:
            digest.update(_code_of(file))
    return digest.digest()


@cache
def _code_of_ours() -> bytes:
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for file in sorted(_modules(package)):
        digest.update(_code_of(str(file)))
    return digest.digest()


def _modules(package: Path) -> Iterator[Path]:
    yield package / "types.py"
    for room in ("cassettes", "wires", "usage"):
        yield from (package / room).rglob("*.py")


@cache
def _code_of(file: str) -> bytes:
    try:
        return hashlib.sha256(Path(file).read_bytes()).digest()
    except OSError:
        return b""
