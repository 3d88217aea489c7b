"""Anthropic's API on loopback: strict about what it is sent, exact about what it sends.

Streams come from :mod:`tests.doubles.anthropic_streams`, or are given as bytes. Each request is
kept as it was received.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.doubles.anthropic_rules import Refused, check_body, check_headers, invalid

KEY = "sk-ant-of-the-double"
MODELS = ("claude-opus-5", "claude-haiku-4-5", "claude-sonnet-5")
WINDOW = 200_000


@dataclass(frozen=True, slots=True)
class Received:
    """A request: the target as written, the header lines in their order, the body's bytes."""

    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header.lower() == name]


@dataclass(slots=True)
class AnthropicDouble:
    """The server. ``streams`` gives the pieces of the next stream, ``hold`` stops it before one.

    ``left`` is set when a client went away before its stream was over.
    """

    url: str = ""
    streams: Callable[[], list[bytes]] = lambda: [b""]
    message: dict[str, Any] = field(default_factory=dict)
    hold: dict[int, asyncio.Event] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[Received] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    window: int = WINDOW

    async def messages(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, counting=False)

    async def count(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, counting=True)

    async def _answer(self, request: web.Request, *, counting: bool) -> web.StreamResponse:
        body = await request.read()
        received = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers
        )
        self.requests.append(Received(request.raw_path, received, body))
        headers = {"request-id": f"req_{len(self.requests)}", **self.headers}
        try:
            check_headers(request.headers, KEY)
            asked = _json(body)
            check_body(asked, MODELS, counting=counting)
            tokens = len(body) // 4
            if not counting and tokens > self.window:
                raise invalid(f"prompt is too long: {tokens} tokens > {self.window} maximum")
        except Refused as refused:
            return _refusal(refused, headers)
        if counting:
            return web.json_response({"input_tokens": tokens}, headers=headers)
        if not asked.get("stream"):
            return web.json_response(self.message, headers=headers)
        return await self._stream(request, headers)

    async def _stream(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                **headers,
            }
        )
        await response.prepare(request)
        try:
            for at, piece in enumerate(self.streams()):
                if at in self.hold:
                    await self.hold[at].wait()
                await response.write(piece)
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        return response


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise invalid("The request body is not valid JSON") from error


def _refusal(refused: Refused, headers: dict[str, str]) -> web.Response:
    error = {"type": refused.kind, "message": str(refused)}
    return web.json_response(
        {"type": "error", "error": error, "request_id": headers["request-id"]},
        status=refused.status,
        headers=headers,
    )


@asynccontextmanager
async def anthropic_double() -> AsyncIterator[AnthropicDouble]:
    """The server on a port of its own; a client that leaves cancels its answer."""
    double = AnthropicDouble()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/messages", double.messages)
    app.router.add_post("/v1/messages/count_tokens", double.count)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    double.url = f"http://{host}:{port}"
    try:
        yield double
    finally:
        await runner.cleanup()
