"""What a transport is: the one seam through which the gateway reaches a provider."""

from __future__ import annotations

from typing import Protocol

from clawbench.types import HttpCall, HttpReply


class Transport(Protocol):
    """Sends an upstream call. The gateway calls `send` once an attempt; wrappers (recording, faults) take another one.

    Raises `UpstreamError` only: from `send` until the headers are there, from the reply's `chunks()` afterwards.
    """

    async def send(self, call: HttpCall, *, deadline_s: float) -> HttpReply:
        """The reply once its headers have come. `deadline_s` is an instant of the clock in force."""
        ...

    async def aclose(self) -> None:
        """Give back what is held open; call once, after the last reply was closed."""
        ...
