"""The faulty transport: any transport, with a fault plan in front of it.

What strikes a call is decided when it leaves. Shares are keyed draws, so a request meets the same luck at an offer
under every strategy; a further call of the same request to the same offer draws anew. Every reply and error says which
fault struck, also one that was cut short by the caller's own timeout.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from math import ceil, inf

import msgspec
from msgspec import structs

from clawbench.clock import Clock
from clawbench.errors import UpstreamError
from clawbench.faults.kinds import AnyFault, Brownout, Cut, ErrorBurst, Outage, RateLimitStorm, SharedQuota, Stall
from clawbench.faults.plan import FaultPlan
from clawbench.rng import draws
from clawbench.transports.cassette import until
from clawbench.transports.protocol import Transport
from clawbench.types import Chunk, Headers, HttpCall, HttpReply, Provenance


class FaultyTransport:
    """Applies a fault plan to the calls of `inner`; `clock` is the one in force there. One object a cell."""

    def __init__(self, inner: Transport, plan: FaultPlan, clock: Clock, *, seed: int = 0) -> None:
        self._inner, self._plan, self._clock, self._seed = inner, plan, clock, seed
        self._struck: Counter[tuple[str, str]] = Counter()
        self._taken: Counter[tuple[SharedQuota, int]] = Counter()

    async def send(self, call: HttpCall, *, deadline_s: float) -> HttpReply:
        """The reply, struck or not."""
        sent_s = self._clock.now()
        fault = self._plan.fault_at(call.offer_id, sent_s)
        if fault is None or self._spares(fault, call, sent_s):
            return await self._inner.send(call, deadline_s=deadline_s)
        try:
            return await self._strike(fault, call, sent_s, deadline_s)
        except UpstreamError as error:
            error.provenance = _blamed(error.provenance, fault)
            raise
        except asyncio.CancelledError as error:
            vars(error)["provenance"] = _blamed(None, fault)
            raise

    async def aclose(self) -> None:
        """Gives back what the inner transport holds."""
        await self._inner.aclose()

    def _spares(self, fault: AnyFault, call: HttpCall, at_s: float) -> bool:
        """Whether this call is not among those that a fault strikes."""
        if isinstance(fault, SharedQuota):
            window = (fault, fault.window(at_s))
            self._taken[window] += 1
            return self._taken[window] <= fault.requests
        if isinstance(fault, Outage | Brownout) or fault.share >= 1:
            return False
        name = (call.draw_key, call.offer_id)
        self._struck[name] += 1
        luck = draws(self._seed, call.draw_key, call.offer_id, "fault", str(self._struck[name]))
        return luck.random() >= fault.share

    async def _strike(self, fault: AnyFault, call: HttpCall, sent_s: float, deadline_s: float) -> HttpReply:
        match fault:
            case Outage():
                after_s = fault.connect_timeout_s if fault.how == "silent" else 0.0
                await until(self._clock, sent_s + after_s, deadline_s)
                raise UpstreamError("No connection to the provider.", outcome="connect_error")
            case ErrorBurst():
                await until(self._clock, sent_s + fault.after_s, deadline_s)
                return RefusedReply(fault, self._clock.now(), status=fault.status)
            case RateLimitStorm():
                await until(self._clock, sent_s + fault.after_s, deadline_s)
                return RefusedReply(fault, self._clock.now(), status=429, retry_after_s=fault.retry_after_s)
            case SharedQuota():
                await until(self._clock, sent_s + fault.after_s, deadline_s)
                now_s = self._clock.now()
                return RefusedReply(fault, now_s, status=429, retry_after_s=fault.left_s(now_s))
        inner = await self._inner.send(call, deadline_s=deadline_s)
        reply = StruckReply(inner, fault, self._clock, sent_s=sent_s, deadline_s=deadline_s)
        try:
            await reply.headers_come()
        except BaseException:
            await reply.aclose()
            raise
        return reply


class RefusedReply:
    """An error that the fault itself answers with, in the form that most providers use."""

    def __init__(self, fault: AnyFault, at_s: float, *, status: int, retry_after_s: float | None = None) -> None:
        self.status, self.t_headers_s, self.provenance = status, at_s, _blamed(None, fault)
        self.headers: Headers = {"content-type": "application/json"}
        if retry_after_s is not None:
            # Whole seconds, as the header has them; never earlier than the limit really ends.
            self.headers = {**self.headers, "retry-after": str(ceil(retry_after_s))}
        kind = "rate_limit_error" if status == 429 else "server_error"
        told = {"message": f"Injected fault: {fault.name}.", "type": kind, "code": fault.name, "param": None}
        self._body = msgspec.json.encode({"error": told})

    async def chunks(self) -> AsyncIterator[Sequence[Chunk]]:
        yield (Chunk(self._body, self.t_headers_s),)

    def batch_rest(self) -> bool:
        return False

    async def aclose(self) -> None:
        """Nothing is held."""


class StruckReply:
    """A reply of the inner transport that comes slower, stands still or breaks off.

    The inner one is read at its own pace meanwhile, as a network's buffers would fill: what it stamps on arrival must
    not depend on how late it is handed on. Never asked to hand its rest over together: the gateway has to see the gaps.
    """

    def __init__(self, inner: HttpReply, fault: AnyFault, clock: Clock, *, sent_s: float, deadline_s: float) -> None:
        self._inner, self._clock, self._sent_s, self._deadline_s = inner, clock, sent_s, deadline_s
        self._factor = fault.factor if isinstance(fault, Brownout) else 1.0
        self._stalls_at = fault.chunks if isinstance(fault, Stall) else inf
        self._cut_at = fault.chunks if isinstance(fault, Cut) else None
        self.status, self.headers = inner.status, inner.headers
        self.provenance = _blamed(inner.provenance, fault)
        self.t_headers_s = self._stretched_s(inner.t_headers_s)
        self._arrived: asyncio.Queue[Chunk | Exception | None] = asyncio.Queue()
        self._pump = asyncio.get_running_loop().create_task(self._read())

    async def headers_come(self) -> None:
        """Waits until they would have come under this fault."""
        await until(self._clock, self.t_headers_s, self._deadline_s)

    async def chunks(self) -> AsyncIterator[Sequence[Chunk]]:
        """The body as far as the fault lets it come. Raises `UpstreamError` where it breaks off."""
        passed = 0
        if passed >= self._stalls_at:
            await self._stand_still()
        arrived = await self._next()
        while arrived is not None and passed != self._cut_at:
            # A cut answer lacks its last piece at least, however few it has.
            following = await self._next() if self._cut_at is not None else arrived
            if following is None:
                break
            await until(self._clock, arrived.t_s, self._deadline_s)
            yield (arrived,)
            passed += 1
            if passed >= self._stalls_at:
                await self._stand_still()
            arrived = following if self._cut_at is not None else await self._next()
        if self._cut_at is not None:
            broken = "reset_mid" if passed else "reset_early"
            raise UpstreamError("The provider broke the stream off.", outcome=broken, retry_same=not passed)

    def batch_rest(self) -> bool:
        return False

    async def aclose(self) -> None:
        """Ends the reading, and gives back what the inner reply holds."""
        self._pump.cancel()
        await asyncio.wait([self._pump])
        await self._inner.aclose()

    async def _read(self) -> None:
        put = self._arrived.put_nowait
        try:
            async for arrived in self._inner.chunks():
                for chunk in arrived:
                    put(Chunk(chunk.data, self._stretched_s(chunk.t_s)))
        except Exception as error:
            put(error)
        put(None)

    async def _next(self) -> Chunk | None:
        """The next piece with its instant under this fault; None at the end. Raises where the inner reply broke."""
        arrived = await self._arrived.get()
        if isinstance(arrived, Exception):
            raise arrived
        return arrived

    async def _stand_still(self) -> None:
        """Nothing more comes; ends when the caller gives up, or at the deadline."""
        await until(self._clock, inf, self._deadline_s)

    def _stretched_s(self, at_s: float) -> float:
        return self._sent_s + (at_s - self._sent_s) * self._factor


def _blamed(provenance: Provenance | None, fault: AnyFault) -> Provenance:
    known = provenance if provenance is not None else Provenance(match=None, timing=None)
    return structs.replace(known, fault=fault.name)
