"""The recording transport: wraps any other one and writes down each exchange, with the instant of every chunk.

Instants are those that the inner transport's chunks carry, relative to the sending of the call. The exchange is written
in a worker thread as soon as its body has ended; the reader does not wait for it (waiting made four streams of 200 ms
that ended together 6 % longer), but closing does. Only whole exchanges are recorded; a call that fails without a reply,
or whose reader leaves early, leaves nothing. Keys are added further in, by the network transport, and never come here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from clawbench.cassettes.interaction import Interaction, RecordedTiming
from clawbench.cassettes.reel import Reel
from clawbench.cassettes.tape import Tape
from clawbench.clock import Clock
from clawbench.errors import ClawbenchError, UpstreamError
from clawbench.transports.cassette import CassetteReply
from clawbench.transports.protocol import Transport
from clawbench.transports.timeline import Timeline, recorded
from clawbench.types import Chunk, Headers, HttpCall, HttpReply, Provenance

DECIMALS: Final = 6
"""Recorded instants are rounded to microseconds."""

DRAIN_S: Final = 0.25
"""How long the rest of an answer is waited for whose reader has seen enough, e.g. an error in a stream."""

PENDING_MAX: Final = 64
"""Exchanges that may wait to be written; a reader whose own would be one more waits for one of them."""

_log = logging.getLogger(__name__)


class RecordingTransport:
    """Plays what the reel has, as its mode allows, and records the rest; one tape an offer.

    `paced`: hand played chunks over at their instants, as live clients need it (see `CassetteTransport`).
    """

    def __init__(self, inner: Transport, reel: Reel, clock: Clock, *, paced: bool = True) -> None:
        self._inner, self._reel, self._clock, self._paced = inner, reel, clock, paced
        self._pending: set[asyncio.Future[bool]] = set()
        self.recorded = 0
        """Exchanges written."""
        self.failure: ClawbenchError | None = None
        """The first reason for which an exchange was not written; None if all were."""

    async def send(self, call: HttpCall, *, deadline_s: float) -> HttpReply:
        """The recorded reply, or the inner transport's, which is recorded. Raises `UpstreamError` only."""
        try:
            tapes = self._reel.tapes(call.offer_id)
        except ClawbenchError as error:
            raise UpstreamError(str(error), outcome="no_recording") from error
        sent_s = self._clock.now()
        for tape in tapes:
            played = tape.play(call.method, call.url, call.body)
            if played is not None:
                return self._played(played, sent_s, deadline_s)
        tape = tapes[-1]
        if not tape.may_record:
            raise UpstreamError(
                f"{tape.path.name} holds no further recording of this request, and mode {tape.mode} records none.",
                outcome="no_recording",
            )
        reply = await self._inner.send(call, deadline_s=deadline_s)
        return RecordedReply(reply, call, sent_s, tape, self)

    async def aclose(self) -> None:
        """Close the tapes and the inner transport. Raises `WriteFailed` where the last bytes could not be written."""
        try:
            await self.flush()
        finally:
            try:
                await self._inner.aclose()
            finally:
                self._reel.close()

    async def flush(self) -> None:
        """Returns when everything that has ended is written.

        Whoever is cancelled meanwhile is cancelled after that: writing takes milliseconds, and a worker thread that
        writes cannot be stopped, so the tapes must not be closed under it.
        """
        cancelled: asyncio.CancelledError | None = None
        while self._pending:
            try:
                await asyncio.wait(self._pending)
                await asyncio.sleep(0)  # lets what became of them be noted
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def write(self, tape: Tape, interaction: Interaction) -> None:
        """Append to a tape, soon; what goes wrong is noted and logged, since the call itself went well."""
        if len(self._pending) >= PENDING_MAX:
            await asyncio.wait(self._pending, return_when=asyncio.FIRST_COMPLETED)
        writing = asyncio.get_running_loop().run_in_executor(None, tape.append, interaction)
        self._pending.add(writing)
        writing.add_done_callback(partial(self._written, tape))

    def _written(self, tape: Tape, writing: asyncio.Future[bool]) -> None:
        self._pending.discard(writing)
        if writing.cancelled():
            return
        error = writing.exception()
        if error is not None:
            self._failed(
                error if isinstance(error, ClawbenchError) else ClawbenchError(f"{type(error).__name__}: {error}")
            )
        elif writing.result():
            self.recorded += 1
        else:
            finding = tape.withheld[-1]
            self._failed(
                ClawbenchError(
                    f"{tape.path.name}: an interaction was not written, its {finding.where} holds what looks like a "
                    f"credential ({finding.rule}{f', field {finding.field}' if finding.field else ''})"
                )
            )

    def _failed(self, error: ClawbenchError) -> None:
        self.failure = self.failure or error
        _log.warning("%s", error)

    def _played(self, interaction: Interaction, sent_s: float, deadline_s: float) -> HttpReply:
        length, end_s = len(interaction.body), interaction.e2e_s or 0.0
        if interaction.timing is not None:
            timeline = recorded(interaction.timing)
        else:
            timeline = Timeline(end_s, [length] if length else [], [end_s] if length else [], "duration")
        return CassetteReply(
            interaction.status,
            interaction.headers,
            interaction.body,
            timeline,
            sent_s=sent_s,
            deadline_s=deadline_s,
            clock=self._clock,
            paced=self._paced,
            provenance=Provenance(match="exact", timing=timeline.source, interaction=interaction.id),
        )


class RecordedReply:
    """A reply on its way, watched; see `types.HttpReply`."""

    def __init__(
        self, inner: HttpReply, call: HttpCall, sent_s: float, tape: Tape, transport: RecordingTransport
    ) -> None:
        self._inner, self._call, self._sent_s, self._tape, self._transport = inner, call, sent_s, tape, transport
        self.status: int = inner.status
        self.headers: Headers = inner.headers
        self.t_headers_s: float = inner.t_headers_s
        self.provenance: Provenance = inner.provenance
        self._source = inner.chunks()
        self._chunks: list[Chunk] = []
        self._is_over = False  # written, or never to be

    async def chunks(self) -> AsyncIterator[Sequence[Chunk]]:
        """What the inner reply gives, as it gives it."""
        note = self._chunks.extend
        try:
            async for batch in self._source:
                note(batch)
                yield batch
        except GeneratorExit:
            raise  # the reader stopped between two batches: what follows can still be read
        except BaseException:
            self._is_over = True
            raise
        await self._write()

    def batch_rest(self) -> bool:
        """As the inner reply has it."""
        return self._inner.batch_rest()

    async def aclose(self) -> None:
        """Gives the connection back. Where the reader stopped within the answer, its end is waited for a little."""
        task = asyncio.current_task()
        is_cancelled = task is not None and task.cancelling() > 0
        try:
            if self._chunks and not self._is_over and not is_cancelled:
                await self._drain()
        finally:
            self._is_over = True
            await self._inner.aclose()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_S):
                async for batch in self._source:
                    self._chunks.extend(batch)
        except (UpstreamError, TimeoutError):
            return  # it broke, or is too long: no whole exchange
        await self._write()

    async def _write(self) -> None:
        self._is_over = True
        await self._transport.write(self._tape, self._interaction())

    def _interaction(self) -> Interaction:
        call = self._call
        return Interaction(
            file="",
            index=0,
            method=call.method,
            url=call.url,
            request_headers={name.lower(): value for name, value in call.headers.items()},
            request_body=call.body,
            status=self.status,
            headers=dict(self.headers),
            body=b"".join([chunk.data for chunk in self._chunks]),
            timing=timing_of(self._chunks, sent_s=self._sent_s, headers_s=self.t_headers_s),
        )


def timing_of(chunks: Sequence[Chunk], *, sent_s: float, headers_s: float) -> RecordedTiming:
    """When the parts of a reply came, in seconds since `sent_s`; the other instants are of the same clock."""
    latest = max(0.0, headers_s - sent_s)
    at_headers = latest
    arrivals = []
    for chunk in chunks:
        latest = max(latest, chunk.t_s - sent_s)
        arrivals.append((len(chunk.data), round(latest, DECIMALS)))
    return RecordedTiming(round(at_headers, DECIMALS), tuple(arrivals))
