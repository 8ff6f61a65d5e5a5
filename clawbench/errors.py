"""Every error that clawbench raises on purpose.

    ClawbenchError
    ├── UsageError                  the caller's mistake: command line, plan, paths         exit 2
    │   ├── PlanError               a plan's key or value
    │   └── CassetteError           a cassette that cannot be read; names file and place
    │       ├── UnknownFormat       a file of a format that is not read
    │       └── CassetteInUse       another recorder writes to it
    ├── RunInterrupted              Ctrl-C; what was finished is kept                       exit 130
    ├── WriteFailed                 records could not be written (disk full); finished parts kept   exit 1
    ├── RecordingStopped            a recording ended before its end: budget reached, findings; saved so far   exit 1
    ├── StuckLoop                   virtual time: nothing can ever become ready
    ├── RealTimeRefused             virtual time: a socket, pipe, subprocess or name look-up was asked for
    ├── RequestError                what a client is told; carries status, code, type, param
    └── UpstreamError               one attempt failed; carries what the provider said

Messages say what, which, the limit and the way out. A library's exceptions are translated once, in its adapter.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class ClawbenchError(Exception):
    """Root of the tree; `exit_code` is what the command line ends with when it reaches the top."""

    exit_code = 1


class UsageError(ClawbenchError):
    """The caller gave something that cannot be used."""

    exit_code = 2


class PlanError(UsageError):
    """A plan has an unknown key, a wrong value or a missing file."""


class CassetteError(UsageError):
    """A cassette cannot be read. `file` and `place` (interaction, line or byte; may be "") say where."""

    def __init__(self, reason: str, *, file: str, place: str = "") -> None:
        self.reason, self.file, self.place = reason, file, place
        super().__init__(f"{file}{', ' + place if place else ''}: {reason}")


class UnknownFormat(CassetteError):
    """A file is no cassette of a format that is read."""


class CassetteInUse(CassetteError):
    """Another recorder writes to the cassette; `holder` is the number of its process, "" where it did not say."""

    def __init__(self, path: object, holder: str) -> None:
        self.holder = holder
        by = f"process {holder}" if holder else "another process"
        super().__init__(f"is being recorded by {by}; one recorder at a time", file=str(path))


class RunInterrupted(ClawbenchError):
    """The user stopped a run; finished cells are kept."""

    exit_code = 130


class WriteFailed(ClawbenchError):
    """Records could not be written; the message names the file, the cause and what was kept."""


class RecordingStopped(ClawbenchError):
    """A recording did not reach its end; the message says why and how far it came. What was recorded is saved."""


class StuckLoop(ClawbenchError):
    """The virtual loop has nothing ready, no timer and nothing owed by a thread; names what waits."""


class RealTimeRefused(ClawbenchError):
    """Something that takes the machine's time was asked of the virtual loop; no OSError, so no client retries it."""


class RequestError(ClawbenchError):
    """A request is answered with an error; the fields are those of OpenAI's error body."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        type: str,
        param: str | None = None,
        retry_after_s: float | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """`extra` are further members of the error body, for programs to read."""
        self.message, self.status, self.code, self.type = message, status, code, type
        self.param, self.retry_after_s, self.extra = param, retry_after_s, extra or {}
        super().__init__(message)


class UpstreamError(ClawbenchError):
    """One attempt failed at a provider.

    `outcome` is one of `schema.OUTCOMES`; `status` the provider's HTTP status, None where no response came;
    `code` the provider's own code or type if it gave one; `retry_after_s` what it asked for, in seconds.
    `try_next` says whether another offer may succeed, `retry_same` whether this one may, later. `provenance` is
    what a replaying transport knows of the reply that did not come in time (`types.Provenance`), else None.
    """

    provenance: Any = None

    def __init__(
        self,
        message: str,
        *,
        outcome: str,
        status: int | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        try_next: bool = True,
        retry_same: bool = False,
    ) -> None:
        self.message, self.outcome, self.status, self.code = message, outcome, status, code
        self.retry_after_s, self.try_next, self.retry_same = retry_after_s, try_next, retry_same
        super().__init__(message)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' Did you mean "x"?' for the nearest known word, or '' when none is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f' Did you mean "{near[0]}"?' if near else ""
