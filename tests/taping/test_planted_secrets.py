"""Secrets of all kinds, over a real socket, through the network and the recording transport: none reaches a file."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

from clawbench.cassettes.reel import Reel
from clawbench.cassettes.scrub import Scrubber
from clawbench.clock import LoopClock
from clawbench.transports.network import NetworkTransport
from clawbench.transports.network_auth import HostAccess, Secret
from clawbench.transports.recording import RecordingTransport
from clawbench.types import HttpCall
from tests.cassettes.planted import SECRETS, leaked
from tests.taping.made import read
from tests.transports.toxic import Toxic, sized

AT = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "pl4nT3dK3yV4lu30nLyKn0wnByV4lue"


async def echoes(toxic: Toxic, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says back everything it was sent, head and body, gzipped, in an error, with cookies and ids of its own."""
    said = {"error": {"message": f"bad key in {toxic.heads[-1]}", "you": toxic.bodies[-1].decode()}}
    body = gzip.compress(json.dumps({**said, "token": SECRETS["gzip body"], "text": SECRETS["echoed body"]}).encode())
    headers = [
        b"content-type: application/json; charset=utf-8",
        b"content-encoding: gzip",
        b"set-cookie: session=" + SECRETS["set-cookie"].encode(),
        b"openai-organization: " + SECRETS["organisation header"].encode(),
    ]
    writer.write(sized(body, *headers, status=b"401 Unauthorized"))


async def test_nothing_that_was_planted_is_in_any_file(tmp_path: Path) -> None:
    nested = json.dumps({"deep": [{"a": json.dumps({"api_key": SECRETS["nested JSON key"]})}]})
    link = f"https://me:{SECRETS['user info']}@h.example/x"
    text = json.dumps({"text": f"use Authorization: Bearer {SECRETS['bearer in text']}", "link": link})
    form = f"grant_type=x&client_secret={SECRETS['form field']}"
    carried = {
        "authorization": f"Bearer {SECRETS['authorization']}",
        "x-api-key": SECRETS["x-api-key"],
        "x-goog-api-key": SECRETS["x-goog-api-key"],
        "api-key": SECRETS["api-key"],
        "cookie": f"id={SECRETS['cookie']}",
    }
    async with Toxic(echoes) as toxic:
        clock = LoopClock()
        network = NetworkTransport(
            {toxic.origin: HostAccess(style="bearer", key=Secret(KEY))}, clock, utc_now=lambda: AT
        )
        reel = Reel(tmp_path, mode="new_episodes", scrubber=Scrubber(network.secrets))
        transport = RecordingTransport(network, reel, clock)
        for query, kind, body in (
            (f"?key={SECRETS['query key']}", "application/json; charset=utf-8", nested),
            (f"?token={SECRETS['query key']}", "application/json", text),
            ("", "application/x-www-form-urlencoded", form),
        ):
            call = HttpCall(
                method="POST",
                url=f"{toxic.origin}/v1{query}",
                headers={"content-type": kind, **carried},
                body=body.encode(),
                offer_id="a/m",
            )
            reply = await transport.send(call, deadline_s=clock.now() + 10)
            said = b"".join([chunk.data async for batch in reply.chunks() for chunk in batch])
            await reply.aclose()
            assert KEY.encode() in said, "the provider did say it"
        await transport.aclose()
    assert len(read(tmp_path / "a-m.yaml")) == 3
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert leaked(written) == []
    assert KEY.encode() not in written
