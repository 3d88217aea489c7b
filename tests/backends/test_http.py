"""Requests as they go out, answers as they come in, and connections that don't stay behind."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from anyclaude.backends.http import Timeouts, Upstream
from anyclaude.errors import ConfigError, UpstreamError
from tests.backends.kit import QUICK, leaving_nothing
from tests.doubles.chaos_upstream import (
    SSE_HEAD,
    Behaviour,
    Chaos,
    Connection,
    chaos,
    chunk,
    raw_then,
    raw_then_hang,
    reply,
)

OK = reply("200 OK", b"hello", "content-type: text/plain", "X-Twice: 1", "x-twice: 2")


@asynccontextmanager
async def upstream(
    behaviour: Behaviour, path: str = "", timeouts: Timeouts = QUICK
) -> AsyncIterator[tuple[Upstream, Chaos]]:
    async with leaving_nothing(), chaos(behaviour) as there:
        client = Upstream("there", there.url + path, timeouts)
        try:
            yield client, there
        finally:
            await client.close()


async def test_a_request_goes_out_as_it_is() -> None:
    async with upstream(OK, "/api/v1/") as (client, there):
        headers = [("Anthropic-Beta", "b,a"), ("x-a", "1"), ("anthropic-beta", "c"), ("X-A", "")]
        got = await client.post("/messages?beta=true&x=%2F+%20", headers, b'{"a":\xff}')
        assert (got.status, await got.read(100)) == (200, b"hello")
    head, body = there.requests[0]
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /api/v1/messages?beta=true&x=%2F+%20 HTTP/1.1"
    assert lines[1:] == [
        f"Host: 127.0.0.1:{there.port}",
        "anthropic-beta: b,a",
        "x-a: 1",
        "anthropic-beta: c",
        "x-a: ",
        "accept-encoding: identity",
        "user-agent: anyclaude",
        "Content-Length: 7",
        "",
        "",
    ]
    assert body == b'{"a":\xff}'


async def test_the_callers_headers_are_not_doubled() -> None:
    async with upstream(OK) as (client, there):
        got = await client.get("/", [("User-Agent", "mine"), ("Accept-Encoding", "gzip")])
        await got.read(100)
    head = there.requests[0][0].decode().lower()
    assert head.startswith("get / http/1.1\r\n")
    assert head.count("user-agent: mine\r\n") == head.count("user-agent") == 1
    assert head.count("accept-encoding: gzip\r\n") == head.count("accept-encoding") == 1
    assert "accept: " not in head
    assert "content-type" not in head


async def test_an_answers_headers_keep_their_order_and_duplicates() -> None:
    async with upstream(OK) as (client, _):
        got = await client.get("/")
        await got.read(100)
        assert got.headers == (
            ("content-type", "text/plain"),
            ("x-twice", "1"),
            ("x-twice", "2"),
            ("content-length", "5"),
        )
        assert got.header("x-twice") == "1"
        assert got.header("x-none") == ""
        assert got.content_type == "text/plain"


async def test_compressed_bytes_stay_compressed() -> None:
    body = b"\x1f\x8b\x08\x00not even gzip"
    async with upstream(reply("200 OK", body, "content-encoding: gzip")) as (client, _):
        assert await (await client.get("/")).read(100) == body


async def test_a_large_body_goes_out_and_a_large_one_comes_in() -> None:
    body = bytes(range(256)) * 12_000
    async with upstream(reply("200 OK", body)) as (client, there):
        got = await client.post("/", (), body)
        assert await got.read(len(body)) == body
        assert there.requests[0][1] == body


async def test_a_body_over_the_limit_is_a_fault() -> None:
    async with upstream(reply("200 OK", b"x" * 1000)) as (client, _):
        got = await client.get("/")
        with pytest.raises(UpstreamError, match="more than 999 bytes"):
            await got.read(999)


async def test_neither_cookies_nor_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with upstream(reply("200 OK", b"", "set-cookie: a=b; Path=/")) as (client, there):
        for _ in range(2):
            await (await client.get("/")).read(1)
    assert b"cookie" not in there.requests[1][0].lower()


# ------------------------------------------------------------------------------ connections


async def test_a_connection_is_used_again() -> None:
    async with upstream(OK) as (client, there):
        for _ in range(5):
            assert await (await client.post("/?keep", (), b"{}")).read(100) == b"hello"
        assert (len(there.requests), there.connections) == (5, 1)


async def test_a_connection_with_an_unread_answer_is_not() -> None:
    when = asyncio.Event()
    behaviour = raw_then(when, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", b"lo")
    async with upstream(behaviour) as (client, there):
        (await client.get("/?keep")).close()
        when.set()
        assert await (await client.get("/?keep")).read(100) == b"hello"
        assert there.connections == 2


async def test_more_bytes_than_declared_spoil_their_connection() -> None:
    late, done = asyncio.Event(), asyncio.Event()

    async def too_much(connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc")
        if done.is_set():
            return
        await late.wait()
        await connection.send(b"def")
        await connection.hang()
        done.set()

    async with upstream(too_much) as (client, there):
        assert await (await client.get("/?keep")).read(100) == b"abc"
        late.set()
        await done.wait()
        assert await (await client.get("/?keep")).read(100) == b"abc"
        assert there.connections == 2


async def test_an_idle_connection_that_was_given_up_is_no_fault() -> None:
    async def every_second(connection: Connection) -> None:
        if len(there.requests) % 2:
            await OK(connection)
        else:
            connection.writer.close()

    async with upstream(every_second) as (client, there):
        for _ in range(3):
            assert await (await client.post("/?keep", (), b"{}")).read(100) == b"hello"
        assert {body for _, body in there.requests} == {b"{}"}
        assert (len(there.requests), there.connections) == (5, 3)


async def test_a_new_connection_that_is_given_up_is_one() -> None:
    async def never(connection: Connection) -> None:
        connection.writer.close()

    async with upstream(never) as (client, there):
        with pytest.raises(UpstreamError, match="closed the connection without an answer"):
            await client.post("/?keep", (), b"{}")
        assert len(there.requests) == 1


async def test_after_closing_it_goes_on_with_new_connections() -> None:
    async with upstream(OK) as (client, there):
        await (await client.get("/?keep")).read(100)
        await client.close()
        await client.close()
        await (await client.get("/?keep")).read(100)
        assert there.connections == 2


async def test_cancelled_before_the_status_it_hangs_up_at_once() -> None:
    async with upstream(raw_then_hang()) as (client, there):
        task = asyncio.create_task(client.post("/", (), b"{}"))
        await there.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await there.left.wait()


async def test_cancelled_while_the_body_is_read_it_hangs_up_at_once() -> None:
    async with upstream(raw_then_hang(SSE_HEAD, chunk(b"data: 1\n\n"))) as (client, there):
        got = await client.get("/")
        first = asyncio.Event()

        async def read() -> None:
            async for _ in got.chunks():
                first.set()

        task = asyncio.create_task(read())
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await there.left.wait()


async def test_closed_between_two_chunks_it_hangs_up_at_once() -> None:
    async with upstream(raw_then_hang(SSE_HEAD, chunk(b"data: 1\n\n"))) as (client, there):
        got = await client.get("/")
        chunks = got.chunks()
        assert await anext(chunks) == b"data: 1\n\n"
        got.close()
        got.close()
        await there.left.wait()
        with pytest.raises(UpstreamError):
            await anext(chunks)


async def test_cancelled_while_the_upload_is_not_taken() -> None:
    taken = asyncio.Event()
    gone = asyncio.Event()

    async def stubborn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        taken.set()
        await gone.wait()
        writer.transport.abort()

    async with leaving_nothing():
        server = await asyncio.start_server(stubborn, "127.0.0.1", 0, limit=1024)
        port = server.sockets[0].getsockname()[1]
        client = Upstream("there", f"http://127.0.0.1:{port}", QUICK)
        task = asyncio.create_task(client.post("/", (), b"x" * 30_000_000))
        await taken.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gone.set()
        await client.close()
        server.close()


# -------------------------------------------------------------------------------- addresses


async def test_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    async with leaving_nothing(), chaos(OK, "::1") as there:
        client = Upstream("there", there.url, QUICK)
        assert await (await client.get("/")).read(100) == b"hello"
        await client.close()
        assert f"Host: [::1]:{there.port}\r\n".encode() in there.requests[0][0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://127.0.0.1:1234", "http://127.0.0.1:1234"),
        (" https://api.anthropic.com/ ", "https://api.anthropic.com"),
        ("http://[::1]:8080/v1/", "http://[::1]:8080/v1"),
        ("http://my_mac.local:1/v1", "http://my_mac.local:1/v1"),
        ("http://Studio.Local.:1", "http://studio.local.:1"),
        ("http://büro.example/ä", "http://xn--bro-hoa.example/%C3%A4"),
        ("http://host/a%2Fb/", "http://host/a%2Fb"),
    ],
)
def test_an_address(given: str, expected: str) -> None:
    assert Upstream("there", given).base_url == expected


@pytest.mark.parametrize(
    "given",
    [
        "",
        "localhost:1234",
        "127.0.0.1:1234/v1",
        "ftp://host",
        "http://",
        "http:///v1",
        "http://host:port",
        "http://host:99999",
        "http://host:0",
        "http://[::1",
        "http://me:hunter2@host",
        "http://hunter2@host",
        "http://host/v1?hunter2=1",
        "http://host/#hunter2",
    ],
)
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(ConfigError, match=r"^backends\.there\.base_url: ") as caught:
        Upstream("there", given)
    assert "hunter2" not in str(caught.value)


async def test_a_name_that_nobody_has() -> None:
    async with leaving_nothing():
        client = Upstream("there", "http://nobody.invalid", QUICK)
        with pytest.raises(UpstreamError, match=r"nobody\.invalid can't be resolved") as caught:
            await client.get("/")
        await client.close()
    error = caught.value
    assert (error.status, error.category, error.retryable) == (502, "network", True)


# -------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """One that nobody has signed."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here")
    folder: Path = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    names = ("-subj", "/CN=localhost", "-days", "2")
    files = ("-keyout", str(key), "-out", str(cert))
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names, *files],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


async def test_a_certificate_is_verified(certificate: ssl.SSLContext) -> None:
    async with leaving_nothing(), chaos(OK, tls=certificate) as there:
        client = Upstream("there", there.url.replace("http:", "https:"), QUICK)
        with pytest.raises(UpstreamError, match="isn't trusted") as caught:
            await client.post("/", [("x-api-key", "secret")], b"{}")
        await client.close()
        assert there.requests == []
    error = caught.value
    assert (error.status, error.category, error.retryable) == (502, "network", False)


async def test_a_server_without_tls() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with leaving_nothing():
        server = await asyncio.start_server(plain, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = Upstream("there", f"https://127.0.0.1:{port}", QUICK)
        with pytest.raises(UpstreamError, match="doesn't speak TLS") as caught:
            await client.get("/")
        assert not caught.value.retryable
        await client.close()
        server.close()


async def test_a_handshake_that_never_ends() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()

    async with leaving_nothing():
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = Upstream("there", f"https://127.0.0.1:{port}", Timeouts(connect=0.05))
        with pytest.raises(
            UpstreamError, match=r"no connection to 127\.0\.0\.1 in 0\.05 s"
        ) as caught:
            await client.get("/")
        assert (caught.value.category, caught.value.retryable) == ("network", True)
        await client.close()
        server.close()
