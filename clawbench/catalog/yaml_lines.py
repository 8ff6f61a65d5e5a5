"""YAML whose scalars stay text and know their line: prices keep every digit, complaints name the place.

Values are dicts, lists and `Text`; nothing is resolved to a number, a date or an object. Sizes, depth and repetition by
aliases are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from clawbench.errors import PlanError

FILE_BYTES_MAX: Final = 4 * 2**20
NODES_MAX: Final = 500_000  # aliases may say the same again and again
DEPTH_MAX: Final = 50


class Text(str):
    """A scalar of the file, as written, with its line."""

    line: int = 0


def line_of(value: Any) -> int:
    """Line of a scalar, or of the first one in a table or list; 0 where there is none."""
    if isinstance(value, Text):
        return value.line
    return next((line_of(each) for each in value), 0) if isinstance(value, dict | list) else 0


def read_yaml(path: Path) -> Any:
    """The file's tables with every scalar as `Text`. Raises `PlanError`."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error}") from error
    if len(raw) > FILE_BYTES_MAX:
        raise PlanError(f"{path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        node = yaml.compose(raw, Loader=yaml.CBaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}" if mark else ""
        raise PlanError(f"{path}{at}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError:
        raise PlanError(f"{path}: nested too deeply") from None
    budget = iter(range(NODES_MAX))
    return None if node is None else _plain(node, path, budget, 0)


def _plain(node: yaml.Node, path: Path, budget: Iterator[int], depth: int) -> Any:
    if depth > DEPTH_MAX or next(budget, None) is None:
        raise PlanError(f"{path}, line {node.start_mark.line + 1}: nested too deeply, or repeated too often")
    if isinstance(node, yaml.MappingNode):
        return {
            _plain(key, path, budget, depth + 1): _plain(value, path, budget, depth + 1)
            for key, value in node.value
            if isinstance(key, yaml.ScalarNode)
        }
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each, path, budget, depth + 1) for each in node.value]
    text = Text(node.value)
    text.line = node.start_mark.line + 1
    return text
