"""HTTP/1.1 as it is read and written; another implementation of it, h11, says what was meant."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import h11
import pytest
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.server.exchange import Exchanges
from anyclaude.server.http1 import Http1
from tests.server.conftest import BODY
from tests.server.fakes import serving
from tests.server.raw import post, status, wire

Pair = tuple[bytes, bytes]


@dataclass
class Asked:
    """A request as the application gets it."""

    scope: dict[str, Any]
    send: Any
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False
    left: bool = False

    async def put(self, event: dict[str, Any]) -> None:
        if event["type"] == "http.disconnect":
            self.left = True
            return
        self.body += event["body"]
        self.whole = not event["more_body"]

    async def answer(self, headers: list[Pair], *pieces: bytes, status: int = 200) -> None:
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        for piece in pieces:
            await self.send({"type": "http.response.body", "body": piece, "more_body": True})
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})
        await self.send(None)


class Line:
    """A connection without a socket."""

    def __init__(self, *, ending: bool = False) -> None:
        self.asked: list[Asked] = []
        self.sent = b""
        self.closed = False
        config = Config()
        config.include_server_header = False
        self.http = Http1(config, cast(Exchanges, self), lambda: ending, None, None, self._take)

    async def spawn_app(self, app: object, config: Config, scope: Any, send: Any) -> Any:
        self.asked.append(Asked(scope, send))
        return self.asked[-1].put

    async def _take(self, event: Event) -> None:
        if isinstance(event, RawData):
            self.sent += event.data
        self.closed |= isinstance(event, Closed)

    def read(self, method: str = "POST") -> tuple[h11.Response, bytes, bool]:
        """The response as h11's client reads it, its body, and whether the connection is kept."""
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(self.sent)
        if self.closed:
            client.receive_data(b"")
        response = client.next_event()
        assert isinstance(response, h11.Response)
        body = b""
        while isinstance(event := client.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage)
        return response, body, client.their_state is h11.DONE and not self.closed


async def asked(request: bytes, *, ending: bool = False) -> Line:
    line = Line(ending=ending)
    await line.http.receive(request)
    assert len(line.asked) == 1
    return line


HEADERS = st.lists(
    st.tuples(
        st.from_regex(r"X-[A-Za-z]{1,8}", fullmatch=True),
        st.from_regex(r"([!-~]([ -~]{0,20}[!-~])?)?", fullmatch=True),
    ),
    max_size=4,
)
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["/", "/v1/messages?beta=true", "/a%20b"]),
        HEADERS,
        st.lists(st.binary(min_size=1, max_size=30), max_size=4),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


def written(target: str, headers: list[tuple[str, str]], body: list[bytes], chunked: bool) -> bytes:
    """The request as h11's client writes it."""
    framing = ("transfer-encoding", "chunked")
    if not chunked:
        framing = ("content-length", str(sum(map(len, body))))
    client = h11.Connection(h11.CLIENT)
    request = h11.Request(
        method="POST", target=target, headers=[("Host", "here"), *headers, framing]
    )
    pieces = [request, *(h11.Data(data=piece) for piece in body), h11.EndOfMessage()]
    return b"".join(client.send(piece) or b"" for piece in pieces)


@given(REQUESTS, st.data())
def test_bytes_may_be_cut_anywhere(requests: list[Any], data: st.DataObject) -> None:
    raw = b"".join(written(*request) for request in requests)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(raw) - 1)), max_size=6)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    async def go() -> list[Asked]:
        line = Line()

        async def feed() -> None:
            for piece in pieces:
                await line.http.receive(piece)

        feeding = asyncio.ensure_future(feed())
        for number in range(len(requests)):
            while len(line.asked) <= number or not line.asked[number].whole:
                assert not feeding.done() or line.asked[number].whole
                await asyncio.sleep(0)
            assert len(line.asked) == number + 1, "the next one has to wait"
            await line.asked[number].answer([(b"content-length", b"2")], b"ok")
        await feeding
        assert not line.closed
        return line.asked

    for seen, (target, headers, body, _) in zip(asyncio.run(go()), requests, strict=True):
        path, _, query = target.partition("?")
        assert seen.scope["raw_path"] == path.encode()
        assert seen.scope["query_string"] == query.encode()
        kept = [pair for pair in seen.scope["headers"] if pair[0].startswith(b"x-")]
        assert kept == [(name.lower().encode(), value.encode()) for name, value in headers]
        assert bytes(seen.body) == b"".join(body)


@pytest.mark.parametrize(
    ("headers", "pieces"),
    [
        ([(b"content-length", b"5")], [b"he", b"llo"]),
        ([], [b"he", b"llo"]),
        ([], [b"x" * 70_000]),
        ([], []),
        ([(b"content-length", b"0")], []),
    ],
)
async def test_a_body_is_framed(headers: list[Pair], pieces: list[bytes]) -> None:
    line = await asked(post("/v1/messages", BODY))
    await line.asked[0].answer([*headers, (b"x-name", b"value")], *pieces)
    response, body, kept = line.read()
    assert (response.status_code, body, kept) == (200, b"".join(pieces), True)
    assert (b"x-name", b"value") in response.headers
    assert b"date" in dict(response.headers)


@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_there_at_once_is_written_at_once(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    write = asyncio.StreamWriter.write

    def noted(writer: asyncio.StreamWriter, data: bytes) -> None:
        written.append(data)
        write(writer, data)

    monkeypatch.setattr(asyncio.StreamWriter, "write", noted)
    async with serving() as server, wire(server) as client:
        await client.send(post("/v1/messages", {**BODY, "stream": stream}))
        await client.until(b"0\r\n\r\n" if stream else b"}}")
    asked, *answered = written
    assert asked.startswith(b"POST")
    assert len(answered) == 1


@pytest.mark.parametrize(("method", "code"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_some_answers_have_no_body(method: str, code: int) -> None:
    line = await asked(f"{method} / HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    await line.asked[0].answer([(b"content-length", b"5")], b"hello", status=code)
    response, body, kept = line.read(method)
    assert (response.status_code, body, kept) == (code, b"", True)


@pytest.mark.parametrize(
    ("head", "ending"),
    [
        (b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", True),
    ],
)
async def test_the_connection_ends_with_the_answer(head: bytes, ending: bool) -> None:
    line = await asked(head, ending=ending)
    await line.asked[0].answer([], b"hello")
    assert line.read("GET")[1:] == (b"hello", False)


async def test_an_answer_that_closes_closes() -> None:
    line = await asked(post("/v1/messages", BODY))
    await line.asked[0].answer([(b"content-length", b"0"), (b"connection", b"close")])
    assert line.closed
    assert line.sent.lower().count(b"connection: close") == 1


async def test_a_body_that_nobody_read_to_its_end_ends_the_connection() -> None:
    line = await asked(post("/v1/messages", BODY)[:-5])
    await line.asked[0].answer([(b"content-length", b"2")], b"no", status=400)
    assert line.read()[1:] == (b"no", False)


async def test_less_than_was_said_is_seen_to_be_less() -> None:
    line = await asked(post("/v1/messages", BODY))
    await line.asked[0].answer([(b"content-length", b"9")], b"hello")
    assert line.closed
    with pytest.raises(h11.RemoteProtocolError):
        line.read()


async def test_a_stream_that_breaks_off_has_no_end() -> None:
    line = await asked(post("/v1/messages", BODY))
    await line.asked[0].send({"type": "http.response.start", "status": 200, "headers": []})
    await line.asked[0].send({"type": "http.response.body", "body": b"half", "more_body": True})
    await line.asked[0].send(None)
    assert line.closed
    assert not line.sent.endswith(b"0\r\n\r\n")


async def test_more_than_was_said_is_not_sent() -> None:
    line = await asked(post("/v1/messages", BODY))
    with pytest.raises(ValueError, match="longer than its content-length"):
        await line.asked[0].answer([(b"content-length", b"2")], b"hello")
    assert b"hello" not in line.sent


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb"])
async def test_no_header_becomes_two(value: bytes) -> None:
    line = await asked(post("/v1/messages", BODY))
    with pytest.raises(ValueError, match="line end"):
        await line.asked[0].answer([(b"x-name", value)])
    assert line.sent == b""


async def test_who_says_nothing_gets_a_500() -> None:
    line = await asked(post("/v1/messages", BODY))
    await line.asked[0].send(None)
    response, body, kept = line.read()
    assert (response.status_code, body, kept) == (500, b"", False)


async def test_a_client_that_left_gets_nothing() -> None:
    line = await asked(post("/v1/messages", BODY))
    await line.http.lost()
    assert line.asked[0].left
    await line.asked[0].answer([(b"content-length", b"2")], b"ok")
    assert line.sent == b""


async def test_what_follows_an_answered_request_and_is_nonsense_is_refused() -> None:
    line = Line()
    receiving = asyncio.ensure_future(line.http.receive(post("/v1/messages", BODY) + b"\x00\x01"))
    await asyncio.sleep(0)
    await line.asked[0].answer([(b"content-length", b"2")], b"ok")
    await receiving
    first, _, second = line.sent.partition(b"ok")
    assert (status(first), status(second)) == (200, 405)
    assert line.closed


async def test_nonsense_inside_a_body_ends_the_request() -> None:
    line = await asked(
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nZZ\r\n"
    )
    assert status(line.sent) == 400
    assert line.closed
    await line.asked[0].answer([], b"too late")
    assert b"too late" not in line.sent


@pytest.mark.parametrize(
    "framing",
    [b"content-length: 3\r\n\r\nabc", b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
)
async def test_a_body_is_read_whatever_protocol_is_offered(framing: bytes) -> None:
    line = await asked(
        b"POST /a HTTP/1.1\r\nhost: x\r\nx-a: b\r\nconnection: upgrade, http2-settings\r\n"
        b"upgrade: h2c\r\nhttp2-settings: AAMA\r\n" + framing
    )
    (seen,) = line.asked
    assert (bytes(seen.body), seen.whole, seen.scope["raw_path"]) == (b"abc", True, b"/a")
    assert (b"x-a", b"b") in seen.scope["headers"]
    await seen.answer([(b"content-length", b"2")], b"ok")
    assert line.read()[1:] == (b"ok", False)


async def test_connect_is_no_method_here() -> None:
    line = Line()
    await line.http.receive(b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n")
    assert (line.asked, status(line.sent), line.closed) == ([], 405, True)


async def test_trailers_are_no_headers() -> None:
    line = await asked(
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\nx-late: 1\r\n\r\n"
    )
    assert line.asked[0].whole
    assert all(name != b"x-late" for name, _ in line.asked[0].scope["headers"])


async def test_a_client_whose_body_is_there_is_not_told_to_go_on() -> None:
    line = await asked(post("/v1/messages", BODY, {"expect": "100-continue"}))
    assert line.sent == b""


async def test_hundreds_of_answers_leave_on_one_connection() -> None:
    async with serving() as server, wire(server) as client:
        for _ in range(1_100):
            await client.send(b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert status(await client.response()) == 200
        assert server.listener.connections == 1
