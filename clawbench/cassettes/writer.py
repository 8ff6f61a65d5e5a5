"""Writes cassettes in vcrpy's YAML layout, with our arrival times where stock vcrpy keeps them.

vcrpy 9 loads and replays the files: request and response have its shape, bodies are text where they are UTF-8 and
`!!binary` where not, and the times stand under `response.clawbench`, the one place that vcrpy leaves alone when it
rewrites a file. The same interactions give the same bytes. Nothing is scrubbed here: what is handed in is written.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import yaml

from clawbench.cassettes.formats.vcrpy import TIMING_KEY, TIMING_VERSION
from clawbench.cassettes.interaction import Interaction
from clawbench.errors import WriteFailed

# A literal block normalises these to line feeds or cannot hold them; in double quotes they are escaped.
_NEEDS_ESCAPES: Final = re.compile(
    "[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
# The emitter cannot write these as a block; asking for one gives double quotes with the whole text on a few lines.
_NO_BLOCK: Final = re.compile(r"\A[ \n]|[ \t]\n|[ \t]\Z")


def write_cassette(path: Path, interactions: Iterable[Interaction], *, comment: str = "") -> None:
    """Write or replace a cassette at once: a reader sees the old file or the new one, never a part.

    `comment` goes to the top, a line of it a comment line (who recorded it, when, with what). Raises `WriteFailed`.
    """
    content = cassette_bytes(interactions, comment=comment)
    try:
        replace_file(path, content)
    except OSError as error:
        raise WriteFailed(
            f"{path}: the cassette could not be written ({error.strerror}); nothing was changed"
        ) from error


def cassette_bytes(interactions: Iterable[Interaction], *, comment: str = "") -> bytes:
    """The bytes of a cassette with these interactions, in their order."""
    document = {"interactions": [_item(interaction) for interaction in interactions], "version": 1}
    text: str = yaml.dump(document, Dumper=_Dumper, allow_unicode=True, sort_keys=True, width=120)
    top = "".join(f"# {_NEEDS_ESCAPES.sub('?', line)}".rstrip() + "\n" for line in comment.splitlines())
    return (top + text).encode()


def replace_file(path: Path, content: bytes) -> None:
    """Put these bytes at this path by writing a neighbour and renaming it. Raises `OSError`, leaving no neighbour."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp's 0600 is for secrets; a cassette is public material
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class _Short(list[Any]):
    """A list that is written on one line."""


class _Dumper(yaml.CSafeDumper):
    """vcrpy's safe dumper with readable text bodies and without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None
    if _NEEDS_ESCAPES.search(text):
        style = '"'
    elif "\n" in text:
        style = '"' if _NO_BLOCK.search(text) else "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_short(dumper: _Dumper, items: _Short) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(_Short, _represent_short)


def _item(interaction: Interaction) -> dict[str, Any]:
    response: dict[str, Any] = {
        "body": {"string": _body(interaction.body)},
        "headers": {name: [value] for name, value in interaction.headers.items()},
        "status": {"code": interaction.status, "message": _phrase(interaction.status)},
    }
    times = _times(interaction)
    if times:
        response[TIMING_KEY] = {"version": TIMING_VERSION, **times}
    return {
        "request": {
            "body": _body(interaction.request_body) if interaction.request_body else None,
            "headers": {name: [value] for name, value in interaction.request_headers.items()},
            "method": interaction.method,
            "uri": interaction.url,
        },
        "response": response,
    }


def _body(body: bytes) -> str | bytes:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _times(interaction: Interaction) -> dict[str, Any]:
    """What stands under `response.clawbench`, see `formats/vcrpy.py`; empty where no time is known."""
    times: dict[str, Any] = {}
    if interaction.timing is not None:
        times["headers_s"] = interaction.timing.headers_s
        times["chunks"] = _Short(_Short(chunk) for chunk in interaction.timing.chunks)
    if interaction.duration_s is not None:
        times["duration_s"] = interaction.duration_s
    if interaction.e2e_s is not None:
        times["e2e_s"] = interaction.e2e_s
    return times
