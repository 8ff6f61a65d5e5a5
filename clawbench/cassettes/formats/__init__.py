"""Which formats of recorded traffic are read, and how a file's format is told.

By its content, never by its suffix. A new format is one file beside `single_exchange.py` (the shortest) and one line in
`READERS`. Any of them may be packed as a whole. The order is the order of recognition: a format whose marks are more
particular stands before a more general one. Nothing here knows a provider or a wire.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from clawbench.cassettes.formats.exchange_list import ExchangeList
from clawbench.cassettes.formats.go_vcr import GoVcr
from clawbench.cassettes.formats.har import Har
from clawbench.cassettes.formats.httprr import Httprr
from clawbench.cassettes.formats.nock import Nock
from clawbench.cassettes.formats.protocol import Format
from clawbench.cassettes.formats.single_exchange import SingleExchange
from clawbench.cassettes.formats.vcr_rb import VcrRb
from clawbench.cassettes.formats.vcrpy import Vcrpy
from clawbench.cassettes.formats.wiremock import WireMock
from clawbench.cassettes.formats.wrapping import unwrapped
from clawbench.cassettes.formats.yaml_safe import MAX_FILE_BYTES
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.errors import CassetteError, UnknownFormat

HEAD_BYTES: Final = 65_536
"""How much of a file is looked at to tell its format."""

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json", ".har", ".httprr"})
"""In a folder only files with these suffixes are looked at, and those with `.gz` behind one of them; a file that is
named outright is always looked at."""

READERS: Final[tuple[Format, ...]] = (
    GoVcr(),
    Vcrpy(),
    VcrRb(),
    Har(),
    Httprr(),
    Nock(),
    WireMock(),
    SingleExchange(),
    ExchangeList(),
)

FORMATS: Final = tuple(reader.name for reader in READERS)
"""Names of all formats, as plans and reports use them."""


class Opened(Struct, frozen=True):
    """A file whose format is known and whose interactions are still to be read."""

    format: Format
    content: bytes
    file: str

    def read(self) -> Iterator[Interaction | Unreadable]:
        """See `Format.read`."""
        return self.format.read(self.content, self.file)


def opened(content: bytes, file: str) -> Opened:
    """A file's bytes, unpacked where need be, with their format. Raises `CassetteError` (`UnknownFormat`)."""
    content = unwrapped(content, file)
    if not content.strip():
        raise UnknownFormat("the file is empty", file=file)
    head = content[:HEAD_BYTES]
    found = next((reader for reader in READERS if reader.recognises(head, file)), None)
    if found is None:
        raise UnknownFormat(f"is no cassette of a known format ({', '.join(FORMATS)})", file=file)
    return Opened(found, content, file)


def content_of(path: Path, file: str) -> bytes:
    """The bytes of a file of at most 64 MiB; `file` is its name in messages. Raises `CassetteError`."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise CassetteError(f"the file has {size:,} bytes; the limit is {MAX_FILE_BYTES:,}", file=file)
        return path.read_bytes()
    except OSError as error:
        raise CassetteError(f"cannot be opened: {error.strerror}", file=file) from error


def may_be_cassette(name: str) -> bool:
    """Whether a file found in a folder is looked at, judged by its name alone."""
    stem, suffix = os.path.splitext(name.lower())
    return (os.path.splitext(stem)[1] if suffix == ".gz" else suffix) in SUFFIXES
