"""The pages' server: textual-serve's, behind the guard and without anything from elsewhere."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from textual_serve.server import Server

from tui.web.guard import Guard, Knock, Verdict
from tui.web.session import Child, Session

LOOPBACK = "127.0.0.1"
CLOSE_S = 1.0
HEARTBEAT_S = 15.0
PAGE = Path(__file__).with_name("page")

_LOCKED = "Open the address that 'anyclaude-tui --web' printed: it has the token that opens this.\n"
_FOREIGN = "Requests from elsewhere are refused.\n"
_HEADERS = {
    # xterm.js writes style sheets of its own; scripts come from files alone.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self';"
        " img-src 'self' data:; connect-src 'self' ws://{host}; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PageServer(Server):
    """Serves pages on loopback; each WebSocket is one console, a ``child`` of this process."""

    def __init__(self, child: Child, guard: Guard | None = None) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        port = self._listener.getsockname()[1]
        super().__init__("anyclaude", LOOPBACK, port)
        self.cookie = f"anyclaude-{port}"
        self._child, self._guard = child, guard or Guard()
        self._sessions: set[Session] = set()
        self._closing = False
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        """What a person opens."""
        return f"{self.public_url}/?token={self._guard.token}"

    async def open(self) -> None:
        app = await self._make_app()
        # The access log would have the token in it.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()

    async def close(self) -> None:
        """Consoles first, each within a bound; then the server."""
        self._closing = True
        await asyncio.gather(*(session.stop() for session in self._sessions))
        if self._runner is not None:
            await self._runner.cleanup()
        self._listener.close()

    async def _make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._guarded])
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/ws", self.handle_websocket),
                web.static("/page", PAGE),
                web.static("/static", self.statics_path),
            ]
        )
        app.on_response_prepare.append(_harden)
        return app

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        verdict = self._guard.judge(
            Knock(
                request.host,
                request.headers.get("Origin"),
                request.query.get("token") if request.path == "/" else None,
                request.cookies.get(self.cookie),
                request.path == "/ws",
            )
        )
        if verdict is Verdict.FOREIGN:
            raise web.HTTPForbidden(text=_FOREIGN)
        if verdict is Verdict.LOCKED:
            raise web.HTTPUnauthorized(text=_LOCKED)
        if self._closing:
            raise web.HTTPServiceUnavailable
        response = await handler(request)
        if verdict is Verdict.ENTERS:
            response.set_cookie(self.cookie, self._guard.token, httponly=True, samesite="Strict")
        return response

    async def _page(self, request: web.Request) -> web.Response:
        text = await asyncio.to_thread((PAGE / "index.html").read_text, "utf-8")
        return web.Response(text=text, content_type="text/html")

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """A console for as long as both sides want it."""
        page = web.WebSocketResponse(heartbeat=HEARTBEAT_S, timeout=CLOSE_S, compress=False)
        await page.prepare(request)
        session = Session(self._child, request, page, self.download_manager)
        self._sessions.add(session)
        try:
            await session.start(_cells(request, "width", 80), _cells(request, "height", 24))
            await self._process_messages(page, session)
        finally:
            await session.stop()
            self._sessions.discard(session)
        return page


async def _harden(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers[name] = value.format(host=request.host)


def _cells(request: web.Request, name: str, otherwise: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else otherwise
