"""What the pipeline gives to a surface: a whole answer, or one on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct

from clawbench.gateway.attempt import Attempt
from clawbench.gateway.holds import OpenHold
from clawbench.types import Completion, Delta, Offer, StreamEnd, TextRun, Usage


class Served(Struct, frozen=True, kw_only=True):
    """Who served a request and how; for response headers."""

    request_id: str
    offer: Offer
    strategy: str
    attempts: int
    cost_pico_usd: int | None  # None while a stream is under way, or where a price or count is unknown
    hold: OpenHold  # the request's money


class CompletionReply(Struct, frozen=True):
    """A whole answer."""

    served: Served
    completion: Completion


class StreamReply:
    """An answer past its first output. Call `batch` until it gives None; `end` is set then.

    `batch` raises `RequestError` when the stream breaks: nothing can be mended, the client is told.
    When the client leaves, call `leave()` and read on for as long as it says: the provider bills the whole answer, and
    its end tells how much that is. To stop earlier, call `abandon()`: the bill is then an estimate. `close()` is last.
    """

    __slots__ = ("_attempt", "_begun", "_broke", "_done", "_drains", "_over", "is_gone", "served")

    def __init__(
        self,
        served: Served,
        attempt: Attempt,
        drains: Drains,
        *,
        done: Callable[[bool], Awaitable[None]],
        broke: Callable[[BaseException], Awaitable[Exception]],
    ) -> None:
        self.served, self._attempt, self._drains, self._done, self._broke = served, attempt, drains, done, broke
        self._begun = self._over = self.is_gone = False

    @property
    def end(self) -> StreamEnd:
        """How the stream ended; only after the last batch."""
        assert self._attempt.end is not None, "the stream is still under way"
        return self._attempt.end

    @property
    def usage(self) -> Usage | None:
        """The counts that were billed by, the gateway's own where the provider gave none; only after the end."""
        return self._attempt.facts.usage

    async def batch(self) -> list[Delta | TextRun] | None:
        """The next deltas, those of one wake-up, once the ones before have been handed on; None at the end."""
        attempt, checkpoints = self._attempt, self.served.hold.checkpoints
        try:
            if checkpoints is not None and self._begun:
                checkpoints.handed_on(attempt)
            self._begun = True
            deltas = await attempt.batch()
        except BaseException as error:
            self._over = True
            try:
                raise await self._broke(error) from error
            finally:
                await attempt.aclose()
        if deltas is None:
            self._over = True
            try:
                await self._done(self.is_gone)
            finally:
                await attempt.aclose()
        return deltas

    async def abandon(self, reason: BaseException) -> None:
        """The client has gone; records it, gives the connection back. Harmless after the end."""
        if not self._over:
            self._over = True
            try:
                await self._broke(reason)
            finally:
                await self._attempt.aclose()

    def leave(self) -> float:
        """The client has gone; for how many seconds to read on, 0 where too many are read for nobody already."""
        self.is_gone = True
        return self._drains.begin()

    def close(self) -> None:
        """Gives back what `leave` has taken."""
        if self.is_gone:
            self._drains.end()


class Drains:
    """How many answers are read to their end for nobody, because their bill needs the end."""

    def __init__(self, *, most: int, seconds: float) -> None:
        self._most, self._seconds, self._running = most, seconds, 0

    def begin(self) -> float:
        """For how many seconds one more may be read; 0 if there are too many. `end` in either case."""
        self._running += 1
        return self._seconds if self._running <= self._most else 0.0

    def end(self) -> None:
        self._running -= 1


Reply = CompletionReply | StreamReply
