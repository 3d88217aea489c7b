"""One HTTP exchange between Hypercorn and Quart.

Quart's own class leaves its two tasks behind when it is cancelled, and a response that is never
begun is never closed. Both would keep a generation running for nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import urlsplit

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope
from quart import Quart, Request
from quart.asgi import ASGIHTTPConnection

log = logging.getLogger(__name__)

Closer = Callable[[], Awaitable[None]]
_CLOSERS = "anyclaude.closers"


def close_later(request: Request, closer: Closer) -> None:
    """Has ``closer`` awaited when the exchange is over, however it ends."""
    state = cast("dict[str, list[Closer]]", request.scope["state"])
    state[_CLOSERS].append(closer)


class Connection(ASGIHTTPConnection):
    """Ends its tasks and runs the closers of the request, always."""

    def __init__(self, app: Quart, scope: HTTPScope) -> None:
        self._closers: list[Closer] = []
        state = cast("dict[str, list[Closer]]", scope["state"])
        state[_CLOSERS] = self._closers
        scope["path"] = _path(scope["path"])
        scope["headers"] = [(k, _host(v) if k == b"host" else v) for k, v in scope["headers"]]
        super().__init__(app, scope)

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        request = self._create_request_from_scope(send)
        handler = asyncio.ensure_future(self.handle_request(request, send))
        receiver = asyncio.ensure_future(self.handle_messages(request, receive))
        try:
            await asyncio.wait([handler, receiver], return_when=asyncio.FIRST_COMPLETED)
        finally:
            handler.cancel()
            receiver.cancel()
            results = await asyncio.gather(handler, receiver, return_exceptions=True)
            for closer in self._closers:
                await _close(closer)
        for result in results:
            if isinstance(result, Exception):
                log.error("a response could not be sent", exc_info=result)


async def _close(closer: Closer) -> None:
    try:
        await closer()
    except Exception:
        log.exception("a request could not be closed")


def _path(path: str) -> str:
    """The path of the request target; one that isn't a path at all leads nowhere."""
    if path.startswith("/"):
        return path
    try:
        return urlsplit(path).path or "/"
    except ValueError:
        return "/*"


def _host(value: bytes) -> bytes:
    """A Host header that routing can take; what names no host can't be ours either."""
    try:
        value.decode("ascii").encode("idna")
    except UnicodeError:
        return b"invalid"
    return value
