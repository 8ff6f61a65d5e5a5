"""Deadlines of one attempt: after which it is given up, and what is recorded of it then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from clawbench.errors import UpstreamError

T = TypeVar("T")


async def in_time(work: Coroutine[Any, Any, T], limit_s: float, *, gives_up: Callable[[], bool]) -> T:
    """What the work of an attempt brings, unless it takes longer than `limit_s` and `gives_up` then says so.

    Asked at that moment and not before, since what else could serve may change while a whole answer is waited for.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as scope:
            timer = loop.call_later(limit_s, lambda: scope.reschedule(loop.time()) if gives_up() else None)
            try:
                return await work
            finally:
                timer.cancel()
    except TimeoutError as error:
        raise late(error, f"No whole answer within {limit_s:g} s.", outcome="timeout_attempt") from error


def late(error: BaseException, message: str, *, outcome: str) -> UpstreamError:
    """The failure of an attempt that was cut short by `error`, a `TimeoutError`."""
    failure = UpstreamError(message, outcome=outcome)
    # A transport that was cut short leaves on the cancellation what it knows of the reply.
    failure.provenance = vars(error.__cause__ or error).get("provenance")
    return failure
