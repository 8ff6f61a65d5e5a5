"""An application's own calls: recorded with whichever client, timed where that can be had, played by plain vcrpy."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import pytest_asyncio
import requests
import vcr
from openai import AsyncOpenAI, OpenAI
from vcr.errors import CannotOverwriteExistingCassetteException

from clawbench.cassettes.tape import RecordMode
from clawbench.errors import CassetteInUse, RecordingStopped, UsageError
from clawbench.taping.block import recording
from tests.cassettes.planted import SECRETS, leaked
from tests.lab import frames
from tests.taping.made import as_vcrpy_reads, read
from tests.transports.toxic import END, Toxic, piece, sized

JSON = b"content-type: application/json"
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
GAP_S = 0.003


async def answers(toxic: Toxic, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A provider: a stream of frames a few milliseconds apart, gzip, or an answer that says what was asked."""
    path = toxic.heads[-1].split(" ")[1]
    if path.endswith("/chat/completions") and b'"stream":true' in toxic.bodies[-1].replace(b" ", b""):
        writer.write(SSE)
        for frame in frames("one", "two", "three"):
            await asyncio.sleep(GAP_S)
            writer.write(piece(frame))
        writer.write(END)
    elif path.endswith("/chat/completions"):
        message = {"role": "assistant", "content": "Hello."}
        body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        writer.write(sized(json.dumps({**body, "choices": choices}).encode(), JSON))
    elif path.startswith("/gzip"):
        writer.write(sized(gzip.compress(b'{"zipped": true}'), JSON, b"content-encoding: gzip"))
    else:
        said = json.dumps({"you": toxic.bodies[-1].decode(), "number": len(toxic.heads)})
        writer.write(sized(said.encode(), JSON, b"set-cookie: session=" + SECRETS["set-cookie"].encode()))


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[Toxic]:
    async with Toxic(answers) as toxic:
        yield toxic


def by_httpx(url: str, body: bytes = b"{}") -> bytes:
    return httpx.post(url, content=body, headers={"content-type": "application/json"}).content


def by_requests(url: str, body: bytes = b"{}") -> bytes:
    return requests.post(url, data=body, headers={"content-type": "application/json"}, timeout=10).content


async def by_async_httpx(url: str, body: bytes = b"{}") -> bytes:
    async with httpx.AsyncClient() as client:
        return (await client.post(url, content=body, headers={"content-type": "application/json"})).content


async def by_aiohttp(url: str, body: bytes = b"{}") -> bytes:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers={"content-type": "application/json"}) as response,
    ):
        return await response.read()


async def ask(client: Callable[..., Any], url: str, body: bytes = b"{}") -> bytes:
    """The sync clients in a thread, since the provider runs in this one."""
    answer: bytes = await (
        client(url, body) if asyncio.iscoroutinefunction(client) else asyncio.to_thread(client, url, body)
    )
    return answer


CLIENTS = [by_httpx, by_async_httpx, by_requests, by_aiohttp]


@pytest.mark.parametrize("client", CLIENTS)
async def test_what_any_client_asked_is_played_the_next_time(
    client: Callable[..., Any], provider: Toxic, tmp_path: Path
) -> None:
    path = tmp_path / "a.yaml"
    with recording(path) as first:
        live = [await ask(client, f"{provider.origin}/x", body) for body in (b'{"a":1}', b'{"a":2}')]
    asked = len(provider.heads)
    with recording(path) as second:
        again = [await ask(client, f"{provider.origin}/x", body) for body in (b'{"a":2}', b'{"a":1}')]
    assert again == live[::-1]
    assert len(provider.heads) == asked == 2
    assert (first.recorded, first.played, second.recorded, second.played) == (2, 0, 0, 2)


@pytest.mark.parametrize("client", [by_httpx, by_async_httpx])
async def test_with_httpx_every_chunk_has_its_instant(
    client: Callable[..., Any], provider: Toxic, tmp_path: Path
) -> None:
    with recording(tmp_path / "a.yaml"):
        live = await ask(client, f"{provider.origin}/chat/completions", b'{"stream":true}')
    (item,) = read(tmp_path / "a.yaml")
    assert item.body == live
    assert item.timing is not None
    assert len(item.timing.chunks) == len(frames("one", "two", "three"))
    instants = [t_s for _, t_s in item.timing.chunks]
    assert instants == sorted(instants)
    assert instants[-1] - instants[0] > GAP_S, "the chunks came apart, not in one piece at the end"
    assert 0 <= item.timing.headers_s <= instants[0]


@pytest.mark.parametrize("client", [by_requests, by_aiohttp])
async def test_with_other_clients_the_time_to_the_end_is_known(
    client: Callable[..., Any], provider: Toxic, tmp_path: Path
) -> None:
    with recording(tmp_path / "a.yaml"):
        await ask(client, f"{provider.origin}/chat/completions", b'{"stream":true}')
    (item,) = read(tmp_path / "a.yaml")
    assert item.timing is None
    assert item.e2e_s is not None
    assert len(frames("one", "two", "three")) * GAP_S * 0.9 < item.e2e_s < 5.0


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_gzipped_answer_is_kept_as_what_it_says(
    client: Callable[..., Any], provider: Toxic, tmp_path: Path
) -> None:
    path = tmp_path / "a.yaml"
    for _ in range(2):
        with recording(path):
            assert await ask(client, f"{provider.origin}/gzip") == b'{"zipped": true}'
    (item,) = read(path)
    assert item.body == b'{"zipped": true}'
    assert "content-encoding" not in item.headers
    assert (item.timing is not None) == (client in (by_httpx, by_async_httpx))


async def test_openais_client_is_recorded_and_plain_vcrpy_plays_the_file(provider: Toxic, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    messages: Any = [{"role": "user", "content": "Say hello."}]

    async def chat() -> tuple[str, str | None]:
        client = AsyncOpenAI(base_url=provider.origin, api_key=SECRETS["authorization"], max_retries=0)
        stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
        text = "".join([event.choices[0].delta.content or "" async for event in stream if event.choices])
        whole = await client.chat.completions.create(model="m", messages=messages)
        return text, whole.choices[0].message.content

    with recording(path, mode="new_episodes"):
        live = await chat()
    assert live == ("onetwothree", "Hello.")
    asked = len(provider.heads)
    with vcr.use_cassette(str(path), record_mode="none"):
        assert await chat() == live
        sync = OpenAI(base_url=provider.origin, api_key="another")
    assert sync.api_key == "another"
    assert len(provider.heads) == asked
    assert leaked(path.read_bytes()) == []


async def test_none_of_what_a_client_carries_in_secret_places_is_written(provider: Toxic, tmp_path: Path) -> None:
    headers = {
        "authorization": f"Bearer {SECRETS['authorization']}",
        "x-api-key": SECRETS["x-api-key"],
        "x-goog-api-key": SECRETS["x-goog-api-key"],
        "api-key": SECRETS["api-key"],
        "cookie": f"id={SECRETS['cookie']}",
        "openai-organization": SECRETS["organisation header"],
        "content-type": "application/json",
    }
    nested = json.dumps({"a": [{"b": json.dumps({"api_key": SECRETS["nested JSON key"]})}]})
    said = json.dumps({"text": f"use Authorization: Bearer {SECRETS['bearer in text']}", "x": SECRETS["echoed body"]})
    host = provider.origin.removeprefix("http://")
    with recording(tmp_path / "a.yaml", secrets=[SECRETS["user info"]]):
        async with httpx.AsyncClient() as client:
            await client.post(f"{provider.origin}/x?key={SECRETS['query key']}", content=nested, headers=headers)
            await client.post(f"{provider.origin}/y", content=said, headers=headers)
            await client.post(f"http://me:{SECRETS['user info']}@{host}/z", content=b"{}")
            zipped = gzip.compress(json.dumps({"token": SECRETS["gzip body"]}).encode())
            await client.post(f"{provider.origin}/gzip", content=zipped, headers={"content-encoding": "gzip"})
            await client.post(f"{provider.origin}/f", data={"client_secret": SECRETS["form field"], "scope": "all"})
    assert len(read(tmp_path / "a.yaml")) == 5
    assert leaked(b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())) == []


async def test_modes_are_those_of_vcrpy(provider: Toxic, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    url = f"{provider.origin}/x"
    with recording(path):
        first = await ask(by_async_httpx, url)
    modes: list[RecordMode] = ["once", "none"]
    for mode in modes:
        with recording(path, mode=mode), pytest.raises(CannotOverwriteExistingCassetteException):
            await ask(by_async_httpx, url, b'{"new":1}')
    with recording(path, mode="new_episodes"):
        assert await ask(by_async_httpx, url) == first
        await ask(by_async_httpx, url, b'{"new":1}')
    assert len(read(path)) == 2
    with recording(path, mode="all"):
        again = await ask(by_async_httpx, url)
    assert again != first
    assert len(read(path)) == len(as_vcrpy_reads(path)) == 2
    with pytest.raises(UsageError, match="sometimes"), recording(path, mode="sometimes"):  # type: ignore[arg-type]
        pass


async def test_what_was_recorded_before_an_exception_is_kept(provider: Toxic, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"

    async def application() -> None:
        with recording(path):
            await ask(by_async_httpx, f"{provider.origin}/x")
            assert len(read(path)) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await application()
    assert len(read(path)) == 1


async def test_a_second_block_on_the_same_cassette_is_refused(provider: Toxic, tmp_path: Path) -> None:
    with recording(tmp_path / "a.yaml"), pytest.raises(CassetteInUse), recording(tmp_path / "a.yaml"):
        pass


async def test_a_call_in_which_a_credential_is_left_is_told_after_the_block(provider: Toxic, tmp_path: Path) -> None:
    chancy = "q7Zx2Lw9Tn4Vb8Km1Ry6Pd3Hs5Gf0Jc"
    with pytest.raises(RecordingStopped) as caught, recording(tmp_path / "a.yaml"):
        assert await ask(by_async_httpx, f"{provider.origin}/x", b'{"x":"%s"}' % chancy.encode())
    assert chancy not in str(caught.value)
    assert not (tmp_path / "a.yaml").exists()


async def test_clients_are_as_they_were_after_the_block(tmp_path: Path) -> None:
    before = (httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request)
    with recording(tmp_path / "a.yaml"):
        assert httpx.HTTPTransport.handle_request is not before[0]
    assert (httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request) == before


def test_a_bare_name_lies_in_the_folder_of_cassettes(tmp_path: Path) -> None:
    with recording("calls", folder=tmp_path / "kept") as block:
        assert block.path == tmp_path / "kept" / "calls.yaml"
    with recording(tmp_path / "direct") as block:
        assert block.path == tmp_path / "direct.yaml"
