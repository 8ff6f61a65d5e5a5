"""Notes on a durable ledger of how far a request has come, so that a start after a crash can book it.

One at each dispatch (what providers may bill of the prompts that are out), one with the first output, and one with the
first output that comes two seconds or more after the last: the estimate of what the client has got by then. None is
waited for. What a killed process had sent after its last note is the platform's loss.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from msgspec import structs

from clawbench.billing.attempt_bills import AttemptBill
from clawbench.billing.evidence import Evidence
from clawbench.billing.outcomes import Ending
from clawbench.billing.tokens import RunningCount
from clawbench.errors import UpstreamError
from clawbench.gateway.attempt import Attempt

if TYPE_CHECKING:
    from clawbench.gateway.holds import OpenHold

EVERY_S: Final = 2.0
_LOST: Final = Ending(
    status=None,
    error=UpstreamError("the gateway ended while the call was under way", outcome="reset_early"),
    has_content=False,
    complete=False,
)
_NOTHING: Final = Evidence()


class Checkpoints:
    """Those of one request."""

    __slots__ = ("_begun", "_count", "_counted", "_due_s", "_hold")

    def __init__(self, hold: OpenHold) -> None:
        self._hold = hold
        self._begun: list[Attempt] = []
        self._count, self._counted = RunningCount(), 0  # of what has been handed on: tokens, and in how many pieces
        self._due_s = -inf

    def begun(self, attempt: Attempt) -> None:
        """An attempt is about to be sent."""
        self._begun.append(attempt)
        self._hold.checkpoint(self._lost(), None)

    def handed_on(self, attempt: Attempt) -> None:
        """All that has come of this stream is on its way to the client."""
        now_s, pieces = attempt.facts.t_end_s, attempt.delivered()
        if now_s is None or now_s < self._due_s or not pieces:
            return
        self._due_s = now_s + EVERY_S
        tokens, estimator = self._count.add(pieces[self._counted :])
        self._counted = len(pieces)
        ending = Ending(status=attempt.facts.http_status, complete=False, delivered_tokens=tokens)
        billed = self._hold.foreseen(attempt, ending, attempt.evidence_so_far())
        number = attempt.facts.number
        self._hold.checkpoint({**self._lost(), number: structs.replace(billed, estimator=estimator)}, delivering=number)

    def _lost(self) -> dict[int, AttemptBill]:
        """The bills of the attempts under way, if nothing more is heard of them."""
        known = self._hold.bills
        return {
            attempt.facts.number: self._hold.foreseen(attempt, _LOST, _NOTHING)
            for attempt in self._begun
            if attempt.facts.number not in known
        }
