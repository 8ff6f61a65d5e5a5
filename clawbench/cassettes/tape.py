"""A cassette while it is being recorded: what is played from it, and what is written to it, one interaction at a time.

Record modes mean what they mean to vcrpy: `once` records where there is no cassette yet and plays where there is one,
`new_episodes` plays what is there and records the rest, `none` only plays, `all` only records, and drops in the end
what it has recorded anew. Each interaction is played once.

Every interaction is scrubbed and scanned, then appended with one write; one in which the scan still finds a credential
is not written. So a process that is stopped, however hard, loses what was not yet appended and leaves a whole file. For
that `version` stands at the top of the file: behind it is only the list, which can grow, and vcrpy reads either order.
The alternatives are to write the file anew each time, as vcrpy does (3,000 interactions of 10 KB make 45 GB), and a
journal beside it (which vcrpy cannot read). Bytes are forced to the disk when the tape is closed: a loss of power may
cost the last seconds, and a last interaction that it tore is left out and overwritten by the next recording.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections import defaultdict, deque
from pathlib import Path
from threading import Lock
from typing import Final, Literal, get_args

import msgspec

from clawbench.cassettes.formats import content_of, opened
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.scrub import Finding, Scrubber
from clawbench.cassettes.tape_lock import TapeLock
from clawbench.cassettes.writer import cassette_bytes, replace_file, write_cassette
from clawbench.errors import CassetteError, WriteFailed

RecordMode = Literal["once", "new_episodes", "none", "all"]
RECORD_MODES: Final[tuple[str, ...]] = get_args(RecordMode)

_ROOT: Final = re.compile(rb"^interactions:[ \t]*(?:\[\])?[ \t]*\r?$", re.MULTILINE)
_HEAD_LINE: Final = re.compile(rb"(?:#.*|---|version: 1|)\s*")
_OTHER_KEY: Final = re.compile(rb"^[^\s#-]", re.MULTILINE)
_FIRST: Final = b"interactions:\n"
_LAST: Final = re.compile(rb"^version: 1\n(?:\.\.\.\n)?\Z", re.MULTILINE)
_HEADER: Final = b"version: 1\ninteractions:\n"
_WAY_OUT: Final = "`clawbench cassettes import` makes one of it that can be, or record into another file"
_ITEM: Final = b"\n- "
_ITEM_END: Final = re.compile(rb"\n {6}message: [^\n\0]*\n?\Z")
"""The last line of an interaction: keys are sorted, so the reply's status ends it."""


class Tape:
    """One cassette, held by its lock until `close`. Safe to be used by several threads."""

    def __init__(self, path: Path, *, mode: RecordMode = "once", scrubber: Scrubber, comment: str = "") -> None:
        """`comment` goes to the top of a new file, a line of it a comment line.

        Raises `CassetteInUse`, `CassetteError` for a file that cannot be read or is missing with `none`, `WriteFailed`.
        """
        self.path, self.mode, self._scrubber, self._comment = path, mode, scrubber, comment
        self._guard = Lock()
        self._handle: int | None = None
        self._written: list[bytes] = []  # keys of what was recorded, for `all`
        self.withheld: list[Finding] = []
        """Credentials for whose sake interactions were not written."""
        self.withheld_calls = 0
        """How many were not."""
        self._is_closed = False
        self._lock: TapeLock | None = None
        if mode != "none":
            _make_folder(path.parent)
            self._lock = TapeLock(path.with_name(f".{path.name}.lock"), of=path)
        self._unplayed: defaultdict[bytes, deque[Interaction]] = defaultdict(deque)
        self._content: bytes | None = None  # what is to be appended to, None: there is no file yet
        self._count = 0
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    @property
    def may_record(self) -> bool:
        """Whether calls that cannot be played are to be made and recorded; False: they are refused."""
        return self.mode in ("new_episodes", "all") or (self.mode == "once" and self._content is None)

    @property
    def size(self) -> int:
        """Bytes of the file as it is."""
        return self.path.stat().st_size if self.path.exists() else 0

    def play(self, method: str, url: str, body: bytes) -> Interaction | None:
        """The next recording of this request that was not played yet; None where there is none."""
        if self.mode == "all" or not self._unplayed:
            return None
        key = self._key(Interaction(file="", index=0, method=method, url=url, request_body=body, status=200))
        with self._guard:
            left = self._unplayed.get(key)
            return left.popleft() if left else None

    def append(self, interaction: Interaction) -> bool:
        """Scrub, scan and write one interaction; False where a credential was found, and nothing was written.

        `file` and `index` are set here. Raises `WriteFailed`, also once the tape is closed; the file is then as it was
        before.
        """
        clean = self._scrubber.scrubbed(interaction)
        with self._guard:
            if self._is_closed:  # the lock is given back: the file may be somebody else's by now
                raise WriteFailed(f"{self.path}: an interaction came after the tape was closed; {self._count} are kept")
            clean = msgspec.structs.replace(clean, file=self.path.name, index=self._count)
            found = [finding for finding in self._scrubber.scan(clean) if finding.severity == "credential"]
            if found:
                self.withheld += found
                self.withheld_calls += 1
                return False
            item = _LAST.sub(b"", cassette_bytes([clean]).removeprefix(_FIRST))
            try:
                self._write(item)
            except OSError as error:
                raise WriteFailed(
                    f"{self.path}: an interaction could not be written ({error.strerror}); {self._count} are kept"
                ) from error
            self._count += 1
            self._written.append(request_key(clean))
        return True

    def close(self) -> None:
        """Brings everything to the disk and gives the lock back; harmless when called twice. Raises `WriteFailed`."""
        with self._guard:
            self._is_closed = True
            handle, self._handle = self._handle, None
            try:
                if handle is not None:
                    try:
                        os.fsync(handle)
                    finally:
                        os.close(handle)
                    if self.mode == "all":
                        self._drop_recorded_anew()
            except OSError as error:
                raise WriteFailed(f"{self.path}: could not be brought to the disk ({error.strerror})") from error
            finally:
                if self._lock is not None:
                    self._lock.release()

    def _load(self) -> None:
        """Reads the file, if there is one, without a torn end."""
        try:
            content = content_of(self.path, self.path.name) if self.path.exists() else b""
            if not content.strip():
                if self.mode == "none":
                    raise CassetteError("there is no such cassette, and mode none records nothing", file="")
                return
            content, found = self._whole(content)
            self._content, self._count = content, len(found)
            if self.may_record:
                self._content = appendable(content, file="")
        except CassetteError as error:
            raise type(error)(error.reason, file=str(self.path), place=error.place) from None
        for interaction in found:
            self._unplayed[self._key(interaction)].append(interaction)

    def _whole(self, content: bytes) -> tuple[bytes, list[Interaction]]:
        """The bytes up to the end of the last whole interaction, and what they hold."""
        content = without_torn_end(content)
        root = _ROOT.search(content)
        is_empty = root is not None and not content[root.end() :].strip()
        return content, [] if is_empty else self._read(content)

    def _key(self, interaction: Interaction) -> bytes:
        """The key of a request as it would be written."""
        return request_key(
            self._scrubber.scrubbed(msgspec.structs.replace(interaction, headers={}, body=b"", timing=None))
        )

    def _read(self, content: bytes) -> list[Interaction]:
        """What can be read; an interaction that cannot is left as it is and not played."""
        file = opened(content, self.path.name)
        if file.format.name != "vcrpy":
            raise CassetteError(
                f"is a {file.format.name} cassette; only vcrpy's are recorded to. {_WAY_OUT}", file=str(self.path)
            )
        return [each for each in file.read() if isinstance(each, Interaction)]

    def _write(self, item: bytes) -> None:
        if self._handle is None:
            if self._content is None:
                top = "".join(f"# {line}".rstrip() + "\n" for line in self._comment.splitlines()).encode()
                replace_file(self.path, top + _HEADER + item)
                self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
                return
            if self._content != self.path.read_bytes():
                replace_file(self.path, self._content)
            self._content = b""  # it has served
            self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        before = os.fstat(self._handle).st_size
        try:
            if os.write(self._handle, item) != len(item):
                raise OSError(None, "the disk is full")
        except OSError:
            os.ftruncate(self._handle, before)
            raise

    def _drop_recorded_anew(self) -> None:
        """Keeps of what was there only what was not recorded again."""
        content = self.path.read_bytes()
        found = self._read(content)
        old, new = found[: -len(self._written)], found[-len(self._written) :]
        again = set(self._written)
        kept = [each for each in old if self._key(each) not in again]
        if len(kept) < len(old):
            write_cassette(self.path, [*kept, *new], comment=_comment_of(content))


def request_key(interaction: Interaction) -> bytes:
    """A digest that two requests share if method, address and body are the same, bodies of JSON in any key order."""
    body = interaction.request_body
    with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
        body = msgspec.json.encode(msgspec.json.decode(body), order="deterministic")
    digest = hashlib.sha256(f"{interaction.method} {interaction.url}\n".encode("utf-8", "surrogateescape"))
    digest.update(body)
    return digest.digest()


def without_torn_end(content: bytes) -> bytes:
    """The bytes without a last interaction that was not written to its end; only of the layout that grows.

    In any other layout `version` ends the file, and a file without its end is for its reader to refuse.
    """
    root = _ROOT.search(content)
    if root is None or b"version: 1" not in content[: root.start()].splitlines():
        return content
    cut = content.rfind(_ITEM) + 1
    return content if not cut or _ITEM_END.search(content, cut) else content[:cut]


def appendable(content: bytes, *, file: str) -> bytes:
    """A cassette's bytes with `version` before its list, so that interactions can be appended to them.

    Bytes that are laid out so already come back as they are. Raises `CassetteError` for a layout of another kind:
    JSON, further keys, a list that is indented.
    """
    root = _ROOT.search(content)
    if root is None:
        raise CassetteError(f"holds no list of interactions that could be appended to. {_WAY_OUT}", file=file)
    head, items = content[: root.start()], content[root.end() :].lstrip(b"\r\n")
    if not all(_HEAD_LINE.fullmatch(line) for line in head.splitlines()):
        raise CassetteError(f"has other keys before its interactions; not appended to. {_WAY_OUT}", file=file)
    if items and not items.endswith(b"\n"):
        items += b"\n"
    items = _LAST.sub(b"", items)
    if _OTHER_KEY.search(items) or (items and not items.startswith(b"- ")):
        raise CassetteError(f"is laid out in another way than vcrpy's; not appended to. {_WAY_OUT}", file=file)
    top = b"".join(line for line in head.splitlines(keepends=True) if line.startswith(b"#"))
    return top + _HEADER + items


def _comment_of(content: bytes) -> str:
    lines = content.decode("utf-8", "replace").splitlines()
    top = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:top])


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteFailed(f"{folder}: the folder cannot be made ({error.strerror})") from error
