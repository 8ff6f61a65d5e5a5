"""Which formats of recorded traffic are known, and which of them are read.

A file's format is told by its content, never by its suffix. A format that is recognised but not read yet stands in
`UNREAD`, so that its files are counted apart instead of being called broken; giving it a reader means one file beside
`vcrpy.py` and moving its line from `UNREAD` to `READERS`. Nothing here knows a provider or a wire.
"""

from __future__ import annotations

import re
from typing import Final

from clawbench.cassettes.formats.protocol import Format
from clawbench.cassettes.formats.vcrpy import Vcrpy
from clawbench.errors import UnknownFormat

HEAD_BYTES: Final = 65_536
"""How much of a file is looked at to tell its format."""

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json", ".har", ".httprr"})
"""In a folder only files with these suffixes are looked at; a file that is named outright is always looked at."""

READERS: Final[tuple[Format, ...]] = (Vcrpy(),)

UNREAD: Final[dict[str, re.Pattern[bytes]]] = {
    # Ruby VCR and R vcr, also through VCR's JSON serializer.
    "vcr.rb": re.compile(rb'^http_interactions:|\A\s*\{\s*"http_interactions"\s*:', re.MULTILINE),
    # Go's go-vcr writes its version first; its version 1 has not been met.
    "go-vcr": re.compile(rb"^version: [2-9]\s*$", re.MULTILINE),
    # HTTP Archive, as Polly.js and browsers write it.
    "har": re.compile(rb'\A\s*\{\s*"log"\s*:\s*\{'),
    # Go's httprr text trace.
    "httprr": re.compile(rb"\Ahttprr trace v\d"),
    # One exchange as a JSON object, as the ddapm test agent writes it.
    "single-exchange": re.compile(rb'\A\s*\{\s*"request"\s*:\s*\{'),
}

_UTF8_BOM: Final = b"\xef\xbb\xbf"


def identify(data: bytes, file: str) -> str:
    """Name of the format of these bytes, read or not. Raises `UnknownFormat` for anything else."""
    if not data.strip():
        raise UnknownFormat("the file is empty", file=file)
    head = data[:HEAD_BYTES].removeprefix(_UTF8_BOM)
    for reader in READERS:
        if reader.recognises(head, file):
            return reader.name
    for name, pattern in UNREAD.items():
        if pattern.search(head):
            return name
    known = ", ".join([*(reader.name for reader in READERS), *UNREAD])
    raise UnknownFormat(f"is no cassette of a known format ({known})", file=file)


def reader(name: str) -> Format | None:
    """The reader of a format, or None where the format is recognised but not read yet."""
    return next((known for known in READERS if known.name == name), None)
