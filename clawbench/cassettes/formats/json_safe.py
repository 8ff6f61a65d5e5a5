"""JSON as plain data: foreign files are read within the bounds that hold for YAML ones, and every refusal has a place.

Knows no layout. Numbers that JSON does not have and text that is not UTF-8 are refused.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec

from clawbench.cassettes.formats.yaml_safe import MAX_DEPTH, MAX_FILE_BYTES
from clawbench.errors import CassetteError


def load_json(data: bytes, file: str) -> Any:
    """The value in these bytes. Raises `CassetteError` with file and line."""
    if len(data) > MAX_FILE_BYTES:
        raise CassetteError(f"the file has {len(data):,} bytes; the limit is {MAX_FILE_BYTES:,}", file=file)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        place = f"line {line} (byte {error.start:,})"
        raise CassetteError(f"is not text: {error.reason}", file=file, place=place) from None
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _slowly(text, file)
    _check_depth(value, file)
    return value


def _slowly(text: str, file: str) -> Any:
    """What the fast decoder refused.

    Half surrogate pairs are let in, for the one interaction that holds them to answer for; what is no JSON is told
    with its place.
    """
    try:
        return json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise CassetteError(f"is not valid JSON: {error.msg}", file=file, place=place) from None
    except RecursionError:
        raise CassetteError(f"is nested more than {MAX_DEPTH} deep", file=file) from None
    except ValueError as error:
        raise CassetteError(f"is not valid JSON: {error}", file=file) from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _check_depth(value: Any, file: str) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    if level:
        raise CassetteError(f"is nested more than {MAX_DEPTH} deep", file=file)
