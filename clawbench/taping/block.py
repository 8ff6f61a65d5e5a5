"""`with clawbench.recording("name"):` records the calls that a program makes with its own HTTP client, and plays them.

vcrpy does the catching and the playing (httpx, requests, urllib3, aiohttp and what is built on them); the file is
written by `Tape`: scrubbed and scanned before anything touches the disk, appended call by call, locked against a second
recorder. Arrival times are kept where they can be had: every chunk with httpx, the time to the end with the others.
Plain vcrpy plays the same file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import vcr
from msgspec import structs
from vcr.cassette import Cassette
from vcr.persisters.filesystem import CassetteNotFoundError
from vcr.request import Request
from vcr.serialize import deserialize

from clawbench.cassettes.bodies import BadBody, decoded, surviving
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.scrub import Scrubber
from clawbench.cassettes.secret_shapes import secrets_of
from clawbench.cassettes.tape import RECORD_MODES, RecordMode, Tape, without_torn_end
from clawbench.errors import CassetteError, RecordingStopped, UsageError
from clawbench.taping.arrivals import DECIMALS, latest, watched
from clawbench.walltime import now, stopwatch

FOLDER: Final = "cassettes"
MATCH_ON: Final = ("method", "scheme", "host", "port", "path", "query", "body")
"""vcrpy's own, and the body: calls to a chat endpoint differ in nothing else."""

_SUFFIXES: Final = frozenset({".yaml", ".yml"})


class Block:
    """What `recording` gives: where it records to, and what has become of it so far."""

    def __init__(self, tape: Tape) -> None:
        self.path, self._tape = tape.path, tape
        self.recorded = 0
        """Calls written."""
        self.played = 0
        """Calls answered from the file."""


@contextmanager
def recording(
    name: str | os.PathLike[str],
    *,
    mode: RecordMode = "once",
    secrets: Iterable[str] = (),
    match_on: Iterable[str] = MATCH_ON,
    folder: str | os.PathLike[str] = FOLDER,
    ignore_localhost: bool = False,
) -> Iterator[Block]:
    """Record the block's HTTP calls into a cassette, or play them from it, as vcrpy's `use_cassette` does.

    `name` is a path, or a bare name: then the file is `folder/name.yaml`. `mode` is once (record where there is no
    file, play where there is one), new_episodes, none or all; `match_on` are vcrpy's matchers. `secrets` are removed
    wherever and however they are written, beside what is recognised by shape and the values of environment variables
    whose names say key, token, secret or password. Raises `CassetteInUse` where somebody records the same file, and
    after the block `RecordingStopped` where a call was not written because a credential was still in it.
    """
    if mode not in RECORD_MODES:
        raise UsageError(f'mode "{mode}" is not known. Known: {", ".join(RECORD_MODES)}')
    scrubber = Scrubber({*secrets, *secrets_of(os.environ)})
    tape = Tape(_path(name, folder), mode=mode, scrubber=scrubber, comment=f"Recorded on {now():%Y-%m-%d}.")
    block = Block(tape)
    try:
        keeper = _Keeper(tape, block, scrubber)
        config = vcr.VCR().get_merged_config(
            path=str(tape.path),
            record_mode=mode,
            match_on=tuple(match_on),
            before_record_request=keeper.clean_request,
            ignore_localhost=ignore_localhost,
            persister=_Reader,
        )
        del config["func_path_generator"]
        with _cassette_class(keeper).use(**config) as cassette, watched(cassette, stopwatch):
            yield block
    finally:
        tape.close()
    if tape.withheld:
        first = tape.withheld[0]
        where = f"{first.where}, field {first.field}" if first.field else first.where
        raise RecordingStopped(
            f"{tape.path}: {tape.withheld_calls} calls were not written, a credential is in them. First: {first.rule} "
            f"in {where}. Hand it in as one of `secrets`, so that it is replaced."
        )


def _path(name: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    path = Path(name)
    if path.suffix not in _SUFFIXES:
        path = path.with_name(f"{path.name}.yaml")
    return path if path.parent != Path() or isinstance(name, os.PathLike) else Path(folder) / path


class _Keeper:
    """Turns what vcrpy caught into interactions and writes them."""

    def __init__(self, tape: Tape, block: Block, scrubber: Scrubber) -> None:
        self._tape, self._block, self._scrubber = tape, block, scrubber
        self._asked: dict[int, tuple[Request, float]] = {}  # by identity: vcrpy hands the same object back

    def clean_request(self, request: Request) -> Request:
        """The request as it is written, which is also how it is compared with what is written."""
        clean = self._scrubber.scrubbed(_asked(request))
        return Request(clean.method, clean.url, clean.request_body or None, clean.request_headers)

    def asks(self, request: Request) -> None:
        """A request leaves now."""
        self._asked[id(request)] = (request, stopwatch())

    def keep(self, request: Request, response: Mapping[str, Any]) -> None:
        """The whole answer is there. Raises `CassetteError` for one that cannot be decoded, `WriteFailed`."""
        ended_s = stopwatch()
        _, sent_s = self._asked.pop(id(request), (None, ended_s))
        arrivals = latest.get()
        latest.set(None)
        headers, content = _flat(response["headers"]), response["body"].get("string") or b""
        try:
            body = decoded(_bytes(content), headers, file=str(self._tape.path), place="")
        except BadBody as error:
            raise CassetteError(f"an answer cannot be recorded: {error}", file=str(self._tape.path)) from error
        timing = arrivals.timing(headers, body) if arrivals is not None else None
        interaction = structs.replace(
            _asked(request),
            status=response["status"]["code"],
            headers=surviving(headers),
            body=body,
            timing=timing,
            e2e_s=None if timing is not None else round(ended_s - sent_s, DECIMALS),
        )
        if self._tape.append(interaction):
            self._block.recorded += 1

    def plays(self) -> None:
        """A recorded answer is given."""
        self._block.played += 1


def _asked(request: Request) -> Interaction:
    """The request's half of an interaction."""
    headers, content = _flat(request.headers), _bytes(request.body)
    with suppress(BadBody, CassetteError):  # what cannot be decoded is scrubbed as it is
        content = decoded(content, headers, file="", place="")
    return Interaction(
        file="",
        index=0,
        method=request.method,
        url=request.uri,
        request_headers=surviving(headers),
        request_body=content,
        status=200,
    )


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    return b"".join(body)  # a file or an iterator, of which vcrpy gives a fresh one each time


def _flat(headers: Mapping[str, Any]) -> dict[str, str]:
    """Names in lower case, repeated headers joined by ', '."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        texts = [each.decode("latin-1") if isinstance(each, bytes) else str(each) for each in values]
        key = str(name).lower()
        found[key] = ", ".join([found[key], *texts] if key in found else texts)
    return found


class _Reader:
    """vcrpy's way to a file; writing is the tape's."""

    @staticmethod
    def load_cassette(path: str, serializer: Any) -> Any:
        try:
            content = without_torn_end(Path(path).read_bytes())
        except FileNotFoundError:
            raise CassetteNotFoundError from None
        if not content.strip():
            raise CassetteNotFoundError
        return deserialize(content.decode(), serializer)

    @staticmethod
    def save_cassette(path: str, cassette_dict: Any, serializer: Any) -> None:
        """Everything was written when it came."""


def _cassette_class(keeper: _Keeper) -> Any:
    """vcrpy's cassette, whose interactions go to the keeper. A class, because vcrpy makes the object itself."""

    class TapedCassette(Cassette):  # type: ignore[misc]
        _is_loading = False

        def _load(self) -> None:
            self._is_loading = True
            try:
                super()._load()
            finally:
                self._is_loading = False

        def append(self, request: Request, response: Any) -> None:
            super().append(request, response)
            if not self._is_loading and self.filter_request(request):
                keeper.keep(request, response)

        def can_play_response_for(self, request: Request) -> Any:
            can = super().can_play_response_for(request)
            if not can:
                keeper.asks(request)
            return can

        def play_response(self, request: Request) -> Any:
            response = super().play_response(request)
            keeper.plays()
            return response

    return TapedCassette
