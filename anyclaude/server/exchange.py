"""One HTTP exchange between Hypercorn and Quart.

Quart's own class leaves its two tasks behind when it is cancelled, and a response that is never
begun is never closed. Both would keep a generation running for nobody. And two tasks, with a
queue in between, are more than a request needs: what comes from the client is handed over here
as it comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import urlsplit

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.config import Config
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
)
from quart import Quart, Request
from quart.asgi import ASGIHTTPConnection

log = logging.getLogger(__name__)

Closer = Callable[[], Awaitable[None]]
Put = Callable[[ASGIReceiveEvent], Awaitable[None]]
Send = Callable[[ASGISendEvent | None], Awaitable[None]]
_CLOSERS = "anyclaude.closers"


def close_later(request: Request, closer: Closer) -> None:
    """Has ``closer`` awaited when the exchange is over, however it ends."""
    state = cast("dict[str, list[Closer]]", request.scope["state"])
    state[_CLOSERS].append(closer)


class Exchanges(TaskGroup):
    """The exchanges of one TCP connection, as Hypercorn's streams begin them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, app: Quart) -> None:
        super().__init__(loop)
        self._app = app

    async def spawn_app(self, app: AppWrapper, config: Config, scope: Scope, send: Send) -> Put:
        """Begins one in a task of its own; what is returned takes what its client sends."""
        exchange = Exchange(self._app, cast(HTTPScope, scope), send)
        self.spawn(exchange.run)
        return exchange.put


class Exchange(ASGIHTTPConnection):
    """Ends with its client, and runs the closers of the request, always."""

    def __init__(self, app: Quart, scope: HTTPScope, send: Send) -> None:
        self._closers: list[Closer] = []
        self._send = send
        self._task: asyncio.Task[None] | None = None
        self._left = False
        state = cast("dict[str, list[Closer]]", scope["state"])
        state[_CLOSERS] = self._closers
        scope["path"] = _path(scope["path"])
        scope["headers"] = [(k, _host(v) if k == b"host" else v) for k, v in scope["headers"]]
        super().__init__(app, scope)
        self._request = self._create_request_from_scope(cast(ASGISendCallable, send))

    async def put(self, event: ASGIReceiveEvent) -> None:
        """Takes more of the request's body, or that its client has left."""
        if event["type"] == "http.request":
            self._request.body.append(event.get("body", b""))
            if not event.get("more_body", False):
                self._request.body.set_complete()
        elif event["type"] == "http.disconnect":
            self._left = True
            # Not at once: Hypercorn says so too when this very task has sent the last byte.
            asyncio.get_running_loop().call_soon(self._stop)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Answers the request, unless its client leaves before that."""
        task = self._task = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            if not self._left:
                await self.handle_request(self._request, cast(ASGISendCallable, self._send))
        except asyncio.CancelledError:
            if not self._left:
                raise
            task.uncancel()
        except Exception:
            log.exception("a response could not be sent")
        finally:
            self._task = None
            for closer in self._closers:
                await _close(closer)
            await self._send(None)


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
