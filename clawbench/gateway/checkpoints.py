"""Notes on a durable ledger of how far a request has come, so that a start after a crash can book it.

One at each dispatch (what providers may bill of the prompts that are out), one with the first output, and one with the
first output that comes two seconds or more after the last: the estimate of what the client has got by then. None is
waited for. What a killed process had sent after its last note is the platform's loss.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from math import inf
from typing import TYPE_CHECKING, Final

from msgspec import structs

from clawbench.billing.attempt_bills import AttemptBill
from clawbench.billing.evidence import Evidence
from clawbench.billing.outcomes import Ending
from clawbench.billing.tokens import RunningCount
from clawbench.errors import UpstreamError
from clawbench.gateway.attempt import Attempt
from clawbench.types import Delta

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

    __slots__ = ("_begun", "_hold")

    def __init__(self, hold: OpenHold) -> None:
        self._hold = hold
        self._begun: list[Attempt] = []

    def begun(self, attempt: Attempt) -> None:
        """An attempt is about to be sent."""
        self._begun.append(attempt)
        self._hold.checkpoint(self._lost(), None)

    async def noted(self, attempt: Attempt) -> AsyncIterator[list[Delta]]:
        """The batches of a stream; what is noted of one has been handed on."""
        count, counted, due_s = RunningCount(), 0, -inf
        async for deltas in attempt.batches():
            yield deltas
            now_s, pieces = attempt.facts.t_end_s, attempt.delivered()
            if now_s is None or now_s < due_s or not pieces:
                continue
            due_s = now_s + EVERY_S
            tokens, estimator = count.add(pieces[counted:])
            counted = len(pieces)
            ending = Ending(status=attempt.facts.http_status, complete=False, delivered_tokens=tokens)
            billed = self._hold.foreseen(attempt, ending, attempt.evidence_so_far())
            number = attempt.facts.number
            self._hold.checkpoint(
                {**self._lost(), number: structs.replace(billed, estimator=estimator)}, delivering=number
            )

    def _lost(self) -> dict[int, AttemptBill]:
        """The bills of the attempts under way, if nothing more is heard of them."""
        known = self._hold.bills
        return {
            attempt.facts.number: self._hold.foreseen(attempt, _LOST, _NOTHING)
            for attempt in self._begun
            if attempt.facts.number not in known
        }
