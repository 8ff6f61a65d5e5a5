"""The network transport against a provider that misbehaves, over real loopback sockets."""

from __future__ import annotations

import asyncio
import gzip
import os
import ssl
import traceback
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from clawbench.clock import LoopClock
from clawbench.errors import UpstreamError
from clawbench.transports.network import NetworkLimits, NetworkTransport
from clawbench.transports.network_auth import HostAccess, Secret
from clawbench.types import Chunk, HttpCall
from tests.transports.toxic import CHUNKED, END, OK, Script, Toxic, piece, sends, sized

KEY = "sk-test-0123456789abcdefghij"
AT = datetime(2026, 1, 1, tzinfo=UTC)
SOON_S = 0.02  # nothing needs to happen before
A_WHILE_S = 0.5  # enough for what is on its way over loopback, on a busy machine too
LATER_S = 5.0  # not reached


def call(origin: str, *, stream: bool = False, **headers: str) -> HttpCall:
    return HttpCall(
        method="POST",
        url=f"{origin}/v1/chat/completions",
        headers={"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}},
        body=b'{"model":"m"}',
        offer_id="a/m",
        stream=stream,
    )


class Answer:
    """What came of one call."""

    def __init__(self, status: int, headers: dict[str, str], chunks: list[Chunk], t_headers_s: float) -> None:
        self.status, self.headers, self.chunks, self.t_headers_s = status, headers, chunks, t_headers_s

    @property
    def body(self) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks)


async def ask(
    script: Script,
    *,
    stream: bool = False,
    within_s: float = LATER_S,
    limits: NetworkLimits | None = None,
    **headers: str,
) -> tuple[Answer, Toxic]:
    async with Toxic(script) as toxic:
        clock = LoopClock()
        access = HostAccess(style="bearer", key=Secret(KEY))
        transport = NetworkTransport({toxic.origin: access}, clock, utc_now=lambda: AT, limits=limits)
        try:
            reply = await transport.send(
                call(toxic.origin, stream=stream, **headers), deadline_s=clock.now() + within_s
            )
            try:
                chunks = [chunk async for batch in reply.chunks() for chunk in batch]
            finally:
                await reply.aclose()
            return Answer(reply.status, dict(reply.headers), chunks, reply.t_headers_s), toxic
        finally:
            await transport.aclose()


async def failure(script: Script, **how: object) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await ask(script, **how)  # type: ignore[arg-type]
    return caught.value


async def test_a_whole_answer_comes_with_its_status_and_headers() -> None:
    answer, _ = await ask(sends(sized(b'{"x":1}', b"Content-Type: application/json", b"X-A: 1", b"x-a: 2")))
    assert (answer.status, answer.body) == (200, b'{"x":1}')
    assert answer.headers == {"content-type": "application/json", "x-a": "1, 2"}


async def test_an_error_status_is_an_answer_like_any_other() -> None:
    answer, _ = await ask(sends(sized(b"no", b"retry-after: 3", status=b"429 Too Many Requests")))
    assert (answer.status, answer.headers["retry-after"], answer.body) == (429, "3", b"no")


async def test_only_agreed_headers_go_to_the_provider() -> None:
    _, toxic = await ask(
        sends(sized(b"{}")),
        anthropic_version="2023-06-01",
        authorization="Bearer somebody-elses",
        cookie="a=b",
        user_agent="other",
        connection="close",
    )
    lines = dict(line.split(": ", 1) for line in toxic.heads[0].split("\r\n")[1:] if line)
    assert {name.lower(): value for name, value in lines.items()} == {
        "host": f"127.0.0.1:{toxic.port}",
        "accept": "*/*",
        "accept-encoding": "gzip",
        "content-type": "application/json",
        "content-length": "13",
        "user-agent": "clawbench",
        "anthropic-version": "2023-06-01",
        "authorization": f"Bearer {KEY}",
    }
    assert toxic.bodies == [b'{"model":"m"}']


async def test_a_stream_is_handed_over_as_it_comes_each_chunk_at_the_loops_time() -> None:
    clock = LoopClock()
    written: list[float] = []

    async def script(toxic: Toxic, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for word in (b"one", b"two", b"three"):
            await asyncio.sleep(0.002)
            written.append(clock.now())
            writer.write(piece(word))
        writer.write(END)

    async with Toxic(script) as toxic:
        transport = NetworkTransport({toxic.origin: HostAccess()}, clock, utc_now=lambda: AT)
        reply = await transport.send(call(toxic.origin, stream=True), deadline_s=LATER_S)
        chunks: list[Chunk] = []
        async for batch in reply.chunks():
            assert all(chunk.t_s <= clock.now() for chunk in batch)
            chunks += batch
        await reply.aclose()
        await transport.aclose()
    assert [chunk.data for chunk in chunks] == [b"one", b"two", b"three"]
    arrivals = [chunk.t_s for chunk in chunks]
    assert arrivals == sorted(arrivals)
    assert all(sent <= came < sent + 0.5 for sent, came in zip(written, arrivals, strict=True))
    assert reply.t_headers_s <= arrivals[0]


async def test_the_next_call_takes_the_same_connection() -> None:
    async with Toxic(sends(sized(b"{}"), keep=True)) as toxic:
        clock = LoopClock()
        transport = NetworkTransport({toxic.origin: HostAccess()}, clock, utc_now=lambda: AT)
        for _ in range(3):
            reply = await transport.send(call(toxic.origin), deadline_s=LATER_S)
            assert [chunk.data async for batch in reply.chunks() for chunk in batch] == [b"{}"]
            await reply.aclose()
        await transport.aclose()
    assert (len(toxic.heads), toxic.connections) == (3, 1)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (sends(), "reset_early"),
        (sends(b"HTTP/1.1 200 OK\r\ncont"), "reset_early"),
        (sends(OK, reset=True), "reset_early"),
        (sends(OK + b"content-length: 10\r\n\r\nabc"), "reset_early"),
        (sends(b"SSH-2.0-hello\r\n\r\n"), "protocol_error"),
        (sends(OK + b"content-length: 2\r\n\r\nokEXTRA"), "protocol_error"),
        (sends(OK + b"content-length: 2\r\ncontent-length: 5\r\n\r\nok"), "protocol_error"),
        (sends(OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "protocol_error"),
        (sends(OK + b"content-length: -2\r\n\r\nok"), "protocol_error"),
        (sends(OK + b"x: a\rb\r\ncontent-length: 2\r\n\r\nok"), "protocol_error"),
        (sends(OK + b"x: a\0b\r\ncontent-length: 2\r\n\r\nok"), "protocol_error"),
        (sends(OK + b"x: " + b"a" * 40_000 + b"\r\n\r\n"), "protocol_error"),
        (sends(OK + b"x: y\r\n" * 10_000 + b"\r\n"), "protocol_error"),
        (sends(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), "protocol_error"),
        (sends(sized(b"x", b"content-encoding: br")), "protocol_error"),
        (sends(sized(b"no gzip at all", b"content-encoding: gzip")), "protocol_error"),
        (sends(sized(gzip.compress(b"cut" * 100)[:-9], b"content-encoding: gzip")), "protocol_error"),
    ],
)
async def test_what_goes_wrong_has_its_outcome(script: Script, outcome: str) -> None:
    assert (await failure(script)).outcome == outcome


async def test_a_connection_closed_before_the_first_byte_is_worth_the_same_call_again() -> None:
    assert (await failure(sends())).retry_same
    assert (await failure(sends(OK, reset=True))).retry_same
    assert not (await failure(sends(OK + b"content-length: 10\r\n\r\nabc"))).retry_same, (
        "what had come is lost, and billed"
    )
    assert not (await failure(sends(hold=True), within_s=SOON_S)).retry_same, "it had its time"


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"307 Temporary Redirect", b"308 Permanent Redirect"])
async def test_a_redirect_is_refused_and_not_followed(status: bytes) -> None:
    async with Toxic(sends(sized(b"{}"))) as elsewhere:
        error = await failure(sends(sized(b"", b"location: " + elsewhere.origin.encode(), status=status)))
        assert error.outcome == "redirect"
        assert error.status == int(status[:3])
    assert elsewhere.connections == 0


async def test_a_stream_that_breaks_after_its_beginning_is_a_reset_in_the_middle() -> None:
    assert (await failure(sends(CHUNKED, piece(b"one")), stream=True)).outcome == "reset_mid"
    assert (await failure(sends(CHUNKED, piece(b"one"), reset=True), stream=True)).outcome == "reset_mid"
    assert (await failure(sends(CHUNKED), stream=True)).outcome == "reset_early"


async def test_a_stream_whose_framing_breaks_is_a_protocol_error() -> None:
    assert (await failure(sends(CHUNKED, piece(b"one"), b"zz\r\nbad\r\n"), stream=True)).outcome == "protocol_error"


async def test_lateness_is_told_apart_by_what_had_come() -> None:
    idle = NetworkLimits(idle_timeout_s=A_WHILE_S)
    assert (await failure(sends(hold=True), within_s=SOON_S)).outcome == "timeout_first"
    assert (await failure(sends(CHUNKED, hold=True), within_s=SOON_S, stream=True)).outcome == "timeout_first"
    begun = sends(CHUNKED, piece(b"one"), hold=True)
    assert (await failure(begun, within_s=A_WHILE_S)).outcome == "timeout_total"
    assert (await failure(begun, within_s=A_WHILE_S, stream=True)).outcome == "timeout_total"
    assert (await failure(begun, stream=True, limits=idle)).outcome == "timeout_idle"


async def test_a_deadline_that_has_passed_sends_nothing_worth_waiting_for() -> None:
    assert (await failure(sends(hold=True), within_s=-1.0)).outcome == "timeout_first"


async def test_the_connection_of_a_cancelled_call_is_closed() -> None:
    async with Toxic(sends(hold=True)) as toxic:
        transport = NetworkTransport({toxic.origin: HostAccess()}, LoopClock(), utc_now=lambda: AT)
        task = asyncio.create_task(transport.send(call(toxic.origin), deadline_s=LATER_S))
        while not toxic.heads:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(toxic.gone.wait(), LATER_S)
        await transport.aclose()


async def test_a_reply_that_is_closed_early_closes_its_connection() -> None:
    async with Toxic(sends(CHUNKED, piece(b"one"), hold=True)) as toxic:
        transport = NetworkTransport({toxic.origin: HostAccess()}, LoopClock(), utc_now=lambda: AT)
        reply = await transport.send(call(toxic.origin, stream=True), deadline_s=LATER_S)
        assert await anext(reply.chunks())
        await reply.aclose()
        await reply.aclose()
        await asyncio.wait_for(toxic.gone.wait(), LATER_S)
        await transport.aclose()


async def test_gzip_is_undone_while_it_comes() -> None:
    text = b'data: {"x": 1}\n\n' * 50
    packed = gzip.compress(text)
    pieces = [piece(packed[start : start + 7]) for start in range(0, len(packed), 7)]
    script = sends(OK + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n", *pieces, END)
    answer, _ = await ask(script, stream=True)
    assert answer.body == text
    assert "content-encoding" not in answer.headers


async def test_two_gzip_members_are_one_body() -> None:
    answer, _ = await ask(sends(sized(gzip.compress(b"one") + gzip.compress(b"two"), b"content-encoding: gzip")))
    assert answer.body == b"onetwo"


async def test_a_gzip_bomb_is_too_large() -> None:
    bomb = gzip.compress(bytes(40 * 2**20))
    error = await failure(sends(sized(bomb, b"content-encoding: gzip")))
    assert error.outcome == "too_large"


async def test_a_body_without_end_is_too_large() -> None:
    async def script(toxic: Toxic, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        block = piece(bytes(2**20))
        for _ in range(64):
            writer.write(block)
            await writer.drain()

    assert (await failure(script, within_s=30.0)).outcome == "too_large"


async def test_a_hundred_thousand_pieces_of_one_byte_are_few_chunks() -> None:
    answer, _ = await ask(sends(CHUNKED, *[piece(b"x") * 1000] * 100, END), stream=True, within_s=30.0)
    assert answer.body == b"x" * 100_000
    assert len(answer.chunks) < 1000


async def test_no_connection_is_a_connect_error() -> None:
    async with Toxic(sends()) as toxic:
        origin = toxic.origin
    transport = NetworkTransport({origin: HostAccess()}, LoopClock(), utc_now=lambda: AT)
    with pytest.raises(UpstreamError) as caught:
        await transport.send(call(origin), deadline_s=LATER_S)
    await transport.aclose()
    assert caught.value.outcome == "connect_error"


async def test_a_host_that_is_not_configured_is_not_called() -> None:
    async with Toxic(sends(sized(b"{}"))) as toxic:
        transport = NetworkTransport({"https://api.example.com": HostAccess()}, LoopClock(), utc_now=lambda: AT)
        for origin in (toxic.origin, f"http://api.example.com@127.0.0.1:{toxic.port}"):
            with pytest.raises(UpstreamError):
                await transport.send(call(origin), deadline_s=LATER_S)
        await transport.aclose()
    assert toxic.connections == 0


async def test_proxy_variables_are_ignored() -> None:
    before = {name: os.environ.get(name) for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY")}
    os.environ.update(dict.fromkeys(before, "http://127.0.0.1:9"))
    try:
        answer, _ = await ask(sends(sized(b"{}")))
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    assert answer.body == b"{}"


@pytest.mark.parametrize(
    "script",
    [
        sends(),
        sends(b"nothing known\r\n\r\n"),
        sends(OK + f"x-echo: {KEY}\0\r\n\r\n".encode()),
        sends(sized(KEY.encode(), b"content-encoding: gzip")),
        sends(CHUNKED, piece(KEY.encode()), b"zz\r\n"),
        sends(sized(b"", f"location: http://evil.example/{KEY}".encode(), status=b"302 Found")),
        sends(hold=True),
    ],
)
async def test_no_error_nor_anything_chained_to_it_holds_the_key(script: Script) -> None:
    error = await failure(script, within_s=SOON_S * 5, stream=True)
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert KEY not in told
    # The library's exceptions carry the request with its headers: none may hang on ours.
    chained = error.__cause__ or error.__context__
    assert chained is None or not type(chained).__module__.startswith("aiohttp")


async def test_neither_the_transport_nor_its_configuration_shows_a_key() -> None:
    access = HostAccess(style="bearer", key=Secret(KEY))
    transport = NetworkTransport({"https://api.example.com": access}, LoopClock(), utc_now=lambda: AT)
    assert KEY not in f"{access!r} {access} {transport!r} {access.key!r} {access.key}"
    assert transport.secrets == (KEY,)


def certificates(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context and that of a client which trusts it."""
    x509 = pytest.importorskip("cryptography.x509")
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "toxic.test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


async def test_tls_is_spoken_and_its_certificate_checked(tmp_path: Path) -> None:
    server, trusting = certificates(tmp_path)
    async with Toxic(sends(sized(b"{}")), tls=server) as toxic:
        hosts = {toxic.origin: HostAccess(style="bearer", key=Secret(KEY))}
        transport = NetworkTransport(hosts, LoopClock(), utc_now=lambda: AT, tls=trusting)
        reply = await transport.send(call(toxic.origin), deadline_s=LATER_S)
        assert [chunk.data async for batch in reply.chunks() for chunk in batch] == [b"{}"]
        await reply.aclose()
        await transport.aclose()

        suspicious = NetworkTransport(hosts, LoopClock(), utc_now=lambda: AT)
        with pytest.raises(UpstreamError) as caught:
            await suspicious.send(call(toxic.origin), deadline_s=LATER_S)
        await suspicious.aclose()
    assert caught.value.outcome == "connect_error"
    assert len(toxic.heads) == 1
