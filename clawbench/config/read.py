"""TOML → declared values: unknown keys are errors that name the nearest known key, wrong types name the place.

Works on msgspec Structs; knows nothing of what the values mean.
"""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from clawbench.errors import PlanError, did_you_mean

T = TypeVar("T", bound=msgspec.Struct)

PRICE_TABLES = ("usd_per_mtok",)


def load(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The file's tables with `key=value` overrides applied; prices come as `Decimal`, exactly as written.

    An override's key is dotted (`workload.rate_rps=50`); its value is TOML, or a plain string where it is not.
    Raises `PlanError`.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except FileNotFoundError:
        raise PlanError(f"There is no plan {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"The plan {path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path} is not valid TOML: {error}.") from error
    return with_overrides(data, overrides)


def with_overrides(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`data` with `key=value` overrides applied, as `load` has them. Raises `PlanError`."""
    for override in overrides:
        _apply(data, override)
    return {key: _numbers(value, key) for key, value in data.items()}


def _numbers(value: Any, key: str) -> Any:
    """Decimal numbers as floats, except in price tables, where every digit counts."""
    if isinstance(value, dict):
        return value if key in PRICE_TABLES else {name: _numbers(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item, key) for item in value]
    return float(value) if isinstance(value, Decimal) else value


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise PlanError(f"--set wants key=value, got {override!r}. Example: --set workload.rate_rps=50")
    try:
        value = tomllib.loads(f"v = {text}", parse_float=Decimal)["v"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, last = key.strip().split(".")
    for table in tables:
        data = data.setdefault(table, {})
        if not isinstance(data, dict):
            raise PlanError(f'--set {key}: "{table}" is not a table')
    data[last] = value


def convert(data: dict[str, Any], into: type[T], *, file: Path) -> T:
    """The declared value that `data` holds. Raises `PlanError` naming the file, the key and the way out."""
    _check_keys(data, into, where="", file=file)
    try:
        return msgspec.convert(data, into, strict=True)
    except msgspec.ValidationError as error:
        raise PlanError(f"{file}: {_plain(str(error))}.") from error
    except PlanError as error:
        raise PlanError(f"{file}: {error}") from error


def _plain(message: str) -> str:
    """msgspec's words, with the place as a TOML key: 'Expected `int`, got `str` - at `$.workload.requests`'."""
    return message.replace("$.", "").replace("`", '"').rstrip(".")


def _check_keys(data: Any, kind: Any, *, where: str, file: Path) -> None:
    """Walks tables and lists of tables beside their declarations; the first unknown key is an error."""
    kind = _inner(kind)
    origin = typing.get_origin(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if not isinstance(data, dict):
            return
        known = typing.get_type_hints(kind)
        for key, value in data.items():
            place = f"{where}{key}"
            if key not in known:
                raise PlanError(f'{file}: unknown key "{place}".{_nearest(key, where, known)}')
            _check_keys(value, known[key], where=f"{place}.", file=file)
    elif origin in (list, tuple) and isinstance(data, list):
        for index, item in enumerate(data):
            _check_keys(item, typing.get_args(kind)[0], where=f"{where[:-1]}[{index}].", file=file)
    elif origin is dict and isinstance(data, dict):
        for key, value in data.items():
            _check_keys(value, typing.get_args(kind)[1], where=f"{where}{key}.", file=file)


def _inner(kind: Any) -> Any:
    """X for `X | None`."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(kind) if part is not type(None)]
        return parts[0] if len(parts) == 1 else kind
    return kind


def _nearest(key: str, where: str, known: dict[str, Any]) -> str:
    near = did_you_mean(key, known)
    if near:
        return near
    return f" Known here{' in ' + where[:-1] if where else ''}: {', '.join(sorted(known))}."
