"""What the pipeline gives to a surface: a whole answer, or one on its way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from msgspec import Struct

from clawbench.gateway.attempt import Attempt
from clawbench.types import Completion, Delta, Offer, StreamEnd


class Served(Struct, frozen=True, kw_only=True):
    """Who served a request and how; for response headers."""

    request_id: str
    offer: Offer
    strategy: str
    attempts: int
    cost_pico_usd: int | None  # None while a stream is under way, or where a price or count is unknown


class CompletionReply(Struct, frozen=True):
    """A whole answer."""

    served: Served
    completion: Completion


class StreamReply:
    """An answer past its first output. Iterate `batches()` once, to its end; `end` is set after it.

    Raises `RequestError` from `batches()` when the stream breaks: nothing can be mended any more, the client is told.
    If the surface stops early (the client has gone), call `abandon()`.
    """

    __slots__ = ("_attempt", "_broke", "_done", "_over", "served")

    def __init__(
        self, served: Served, attempt: Attempt, *, done: Callable[[], None], broke: Callable[[BaseException], Exception]
    ) -> None:
        self.served, self._attempt, self._done, self._broke = served, attempt, done, broke
        self._over = False

    @property
    def end(self) -> StreamEnd:
        """How the stream ended; only after `batches()` is exhausted."""
        assert self._attempt.end is not None, "the stream is still under way"
        return self._attempt.end

    async def batches(self) -> AsyncIterator[list[Delta]]:
        """The deltas, one list for each wake-up of the loop."""
        try:
            async for deltas in self._attempt.batches():
                yield deltas
        except GeneratorExit:
            raise
        except BaseException as error:
            self._over = True
            raise self._broke(error) from error
        else:
            self._over = True
            self._done()
        finally:
            await self._attempt.aclose()

    async def abandon(self, reason: BaseException) -> None:
        """The client has gone; records it, gives the connection back. Harmless after the end."""
        if not self._over:
            self._over = True
            self._broke(reason)
            await self._attempt.aclose()


Reply = CompletionReply | StreamReply
