"""The recording transport: what it writes replays as it was, and what it has is played instead of asked again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clawbench.cassettes.formats import opened
from clawbench.cassettes.interaction import Interaction, RecordedTiming
from clawbench.cassettes.reel import Reel
from clawbench.cassettes.scrub import Scrubber
from clawbench.cassettes.store import open_store
from clawbench.cassettes.tape import RecordMode
from clawbench.clock import LoopClock, run_virtual
from clawbench.errors import UpstreamError
from clawbench.transports.cassette import CassetteTransport
from clawbench.transports.protocol import Transport
from clawbench.transports.recording import RecordingTransport, timing_of
from clawbench.types import Chunk, HttpCall
from clawbench.wires import WIRES, wire_for
from tests.lab import ScriptedTransport, chat, completion, error, frames, offer, streamed

A = offer("a")
LATE_S = 100.0


def call(text: str = "Say hello.", *, stream: bool = False, **headers: str) -> HttpCall:
    wire = wire_for(A)
    body = msgspec.json.encode(chat(stream=stream, text=text))
    asked = wire.parse(HttpCall(method="POST", url=f"{A.base_url}/chat/completions", headers={}, body=body))
    sent = wire.encode(asked, A)
    return msgspec.structs.replace(sent, headers={**sent.headers, **headers})


async def ask(transport: Transport, asked: HttpCall, *, deadline_s: float = LATE_S) -> list[Chunk]:
    reply = await transport.send(asked, deadline_s=deadline_s)
    try:
        return [chunk async for batch in reply.chunks() for chunk in batch]
    finally:
        await reply.aclose()


class Deck:
    """A recording transport over a scripted one, in virtual time."""

    def __init__(self, folder: Path, script: Any, *, mode: RecordMode = "new_episodes") -> None:
        self.clock = LoopClock()
        self.inner = ScriptedTransport({A.id: script}, self.clock)
        reel = Reel(folder, mode=mode, scrubber=Scrubber())
        self.transport = RecordingTransport(self.inner, reel, self.clock)


def played(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return run_virtual(coroutine)


def written(folder: Path) -> list[Interaction]:
    found = []
    for file in sorted(folder.glob("*.yaml")):
        found += [each for each in opened(file.read_bytes(), file.name).read() if isinstance(each, Interaction)]
    return found


def test_a_recorded_stream_replays_with_every_chunk_at_its_offset(tmp_path: Path) -> None:
    async def main() -> None:
        deck = Deck(tmp_path, streamed("one", "two", "three", first_s=0.321, every_s=0.0125))
        await deck.clock.sleep(7.0)
        sent_s = deck.clock.now()
        came = await ask(deck.transport, call(stream=True))
        await deck.transport.aclose()

        store = open_store([tmp_path], WIRES)
        replay = CassetteTransport(store.bind([A]), {A.id: A}, wire_for, deck.clock, seed=1, strict=True)
        again_s = deck.clock.now()
        again = await ask(replay, call(stream=True), deadline_s=LATE_S + 7)
        assert [each.data for each in again] == [each.data for each in came]
        recorded = [each.t_s - sent_s for each in came]
        assert [each.t_s - again_s for each in again] == pytest.approx(recorded, abs=1e-6)
        assert recorded[0] == pytest.approx(0.321)

    played(main())


def test_a_whole_answer_and_an_error_are_recorded_too(tmp_path: Path) -> None:
    async def main() -> None:
        for script in (completion(at_s=0.5), error(429, "rate_limit_exceeded", retry_after="3")):
            deck = Deck(tmp_path, script)
            await ask(deck.transport, call(f"{script.status}"))
            await deck.transport.aclose()

    played(main())
    whole, refused = written(tmp_path)
    assert (whole.status, whole.timing) == (200, RecordedTiming(0.5, ((len(whole.body), 0.5),)))
    assert (refused.status, refused.headers["retry-after"]) == (429, "3")


def test_what_is_recorded_is_not_asked_again_and_comes_at_its_pace(tmp_path: Path) -> None:
    async def main() -> None:
        deck = Deck(tmp_path, streamed("one", "two", first_s=1.0, every_s=0.5))
        first = await ask(deck.transport, call(stream=True))
        await deck.transport.aclose()

        deck = Deck(tmp_path, UpstreamError("nobody should ask", outcome="connect_error"))
        began_s = deck.clock.now()
        again = await ask(deck.transport, call(stream=True))
        assert deck.inner.calls == []
        assert [each.data for each in again] == [each.data for each in first]
        assert [each.t_s - began_s for each in again] == pytest.approx([each.t_s for each in first])
        with pytest.raises(UpstreamError, match="nobody should ask"):
            await ask(deck.transport, call(stream=True))
        await deck.transport.aclose()

    played(main())


@pytest.mark.parametrize("mode", ["once", "none"])
def test_a_request_that_may_not_be_recorded_is_refused_before_it_is_sent(mode: RecordMode, tmp_path: Path) -> None:
    async def main() -> None:
        deck = Deck(tmp_path, completion())
        await ask(deck.transport, call("known"))
        await deck.transport.aclose()
        deck = Deck(tmp_path, completion(), mode=mode)
        await ask(deck.transport, call("known"))
        with pytest.raises(UpstreamError) as caught:
            await ask(deck.transport, call("unknown"))
        assert caught.value.outcome == "no_recording"
        assert deck.inner.calls == []
        await deck.transport.aclose()

    played(main())


def test_a_stream_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        deck = Deck(tmp_path, streamed("one", "two", dies="reset_mid"))
        with pytest.raises(UpstreamError):
            await ask(deck.transport, call(stream=True))
        await deck.transport.aclose()

    played(main())
    assert written(tmp_path) == []


def test_a_reader_that_leaves_early_leaves_nothing_if_the_rest_takes_long(tmp_path: Path) -> None:
    async def main() -> None:
        deck = Deck(tmp_path, streamed("one", "two", every_s=30.0))
        reply = await deck.transport.send(call(stream=True), deadline_s=LATE_S)
        await anext(reply.chunks())
        await reply.aclose()
        assert deck.clock.now() < 5.0
        assert deck.inner.replies[0].closed
        await deck.transport.aclose()

    played(main())
    assert written(tmp_path) == []


def test_a_reader_that_has_seen_enough_still_leaves_a_whole_recording(tmp_path: Path) -> None:
    async def main() -> None:
        deck = Deck(tmp_path, streamed("one", "two", every_s=0.01))
        reply = await deck.transport.send(call(stream=True), deadline_s=LATE_S)
        await anext(reply.chunks())
        await reply.aclose()
        await deck.transport.aclose()

    played(main())
    assert [each.body for each in written(tmp_path)] == [b"".join(frames("one", "two"))]


@pytest.mark.parametrize("after_s", [0.5, 1.05])
def test_a_call_that_is_cancelled_leaves_nothing_and_holds_nothing_up(after_s: float, tmp_path: Path) -> None:
    async def main() -> None:
        deck = Deck(tmp_path, streamed("one", "two", first_s=1.0, every_s=0.1))
        task = asyncio.create_task(ask(deck.transport, call(stream=True)))
        await deck.clock.sleep_until(after_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert deck.clock.now() == after_s
        await deck.transport.aclose()

    played(main())
    assert written(tmp_path) == []


def test_a_gap_that_the_reader_gives_up_on_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        deck = Deck(tmp_path, streamed("one", "two", first_s=1.0, every_s=50.0))
        reply = await deck.transport.send(call(stream=True), deadline_s=LATE_S)
        chunks = reply.chunks()
        await anext(chunks)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.0):
                await anext(chunks)
        await reply.aclose()
        await deck.transport.aclose()

    played(main())
    assert written(tmp_path) == []


def test_calls_under_way_together_are_each_written_whole(tmp_path: Path) -> None:
    async def main() -> None:
        deck = Deck(tmp_path, streamed("one", "two"))
        await asyncio.gather(*(ask(deck.transport, call(f"number {number}", stream=True)) for number in range(20)))
        assert deck.transport.recorded == 20
        await deck.transport.aclose()

    played(main())
    assert len({each.request_body for each in written(tmp_path)}) == 20
    assert {each.timing and each.timing.headers_s for each in written(tmp_path)} == {1.0}


def test_closing_that_is_interrupted_keeps_what_was_answered(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Scrubber):
        """Takes as long as the test wants over the second answer, in the thread that writes it."""

        def scrubbed(self, interaction: Interaction) -> Interaction:
            if b"second" in interaction.request_body:
                begun.set()
                assert go_on.wait(30)
            return super().scrubbed(interaction)

    async def main() -> None:
        inner = ScriptedTransport({A.id: completion(at_s=0.0)}, LoopClock())
        reel = Reel(tmp_path, mode="new_episodes", scrubber=Slow())
        transport = RecordingTransport(inner, reel, LoopClock())
        await ask(transport, call("first"))
        await transport.flush()
        await ask(transport, call("second"))
        closing = asyncio.create_task(transport.aclose())
        assert await asyncio.to_thread(begun.wait, 30)
        for _ in range(2):  # Ctrl-C, and again
            closing.cancel()
            await asyncio.sleep(0)
        assert not closing.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert transport.failure is None

    asyncio.run(main())
    assert len(written(tmp_path)) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["a-m.yaml"]


def test_headers_of_keys_are_not_recorded_even_if_a_call_has_them(tmp_path: Path) -> None:
    async def main() -> None:
        deck = Deck(tmp_path, completion())
        await ask(deck.transport, call(authorization="Bearer abcdefgh12345678"))
        await deck.transport.aclose()

    played(main())
    assert b"abcdefgh12345678" not in b"".join(each.read_bytes() for each in tmp_path.iterdir())


def test_a_credential_in_an_answer_is_told_and_the_call_goes_well(tmp_path: Path) -> None:
    async def main() -> RecordingTransport:
        deck = Deck(tmp_path, completion("q7Zx2Lw9Tn4Vb8Km1Ry6Pd3Hs5Gf0Jc"))
        assert await ask(deck.transport, call())
        await deck.transport.aclose()
        return deck.transport

    transport = played(main())
    assert (transport.recorded, written(tmp_path)) == (0, [])
    assert "credential" in str(transport.failure)
    assert "q7Zx2Lw9" not in str(transport.failure)


def test_instants_never_go_back_and_are_whole_microseconds() -> None:
    chunks = [Chunk(b"ab", 1.5), Chunk(b"c", 1.4999999), Chunk(b"d", 1.75000049)]
    timing = timing_of(chunks, sent_s=1.0, headers_s=0.999)
    assert timing == RecordedTiming(0.0, ((2, 0.5), (1, 0.5), (1, 0.75)))
