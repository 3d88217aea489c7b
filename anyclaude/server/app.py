"""The Quart app: every route, and what holds for all of them.

Each response carries a ``request-id``; each error has the API's shape. An unknown path is a 404
and goes nowhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from quart import Quart, Response, g, request
from quart.typing import ResponseTypes
from werkzeug.exceptions import HTTPException

from anyclaude.config.settings import Settings
from anyclaude.control import Control
from anyclaude.errors import UpstreamError
from anyclaude.events import Bus
from anyclaude.ids import new_id
from anyclaude.server import admin, health, messages, models
from anyclaude.server.auth import Guard, Keys
from anyclaude.server.body import BodyReader
from anyclaude.server.compress import compress
from anyclaude.server.context import EXTENSION, Context, Messages, context, request_id
from anyclaude.server.errors import api_error, error_body, error_headers
from anyclaude.server.lean import LeanQuart
from anyclaude.server.limits import Limits
from anyclaude.server.stopping import Stopping
from anyclaude.server.wire import encode

MESSAGES = "/v1/messages"
_MEGABYTE = 1024 * 1024
_PARSERS = 2


def new_request_id() -> str:
    return new_id("req_")


def create_app(
    pipeline: Messages,
    control: Control,
    bus: Bus,
    settings: Settings,
    admin_token: str,
    *,
    model_names: Callable[[], Sequence[str]],
    metrics: Callable[[], Awaitable[str]],
    clock: Callable[[], float] = time.time,
    ids: Callable[[], str] = new_request_id,
    limits: Limits | None = None,
    keys: Keys | None = None,
) -> Quart:
    """Builds the app.

    ``model_names`` are the served models, the one that gets unknown names first; ``metrics`` is
    the text of ``/metrics``; ``clock`` is Unix time and ``ids`` makes request ids; ``keys`` are
    the virtual keys, of which a request's is ``g.key``. An answer of another server, which is
    nobody's to change, sets ``g.passed_on``.
    """
    limits = limits or Limits()
    app = LeanQuart("anyclaude.server")
    app.url_map.merge_slashes = False
    # Bodies and slow readers have bounds of our own (body.py, listen.py).
    app.config.update(MAX_CONTENT_LENGTH=None, BODY_TIMEOUT=None, RESPONSE_TIMEOUT=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    stopping = Stopping()
    guard = Guard(settings.server, admin_token, keys)
    app.extensions[EXTENSION] = Context(
        pipeline=pipeline,
        control=control,
        bus=bus,
        model_names=model_names,
        metrics=metrics,
        clock=clock,
        bodies=BodyReader(settings.server.max_body_mb * _MEGABYTE, limits),
        parsers=asyncio.Semaphore(_PARSERS),
        stopping=stopping,
        guard=guard,
        keys=keys,
        gzip_streams=settings.server.gzip and settings.server.gzip_streams,
        needs_engine=settings.engine_reachable or bool(settings.switched_off),
    )

    @app.before_request
    async def begin() -> None:
        g.request_id = ids()
        g.key = guard.check(request.path, request.headers)

    @app.after_request
    async def finish(response: ResponseTypes) -> ResponseTypes:
        if "request-id" in response.headers:  # Of an answer that is passed on: upstream's own.
            response.headers["x-anyclaude-request-id"] = request_id()
        else:
            response.headers["request-id"] = request_id()
        if request.path == MESSAGES:
            response.headers.update(messages.about_headers())
        if settings.server.gzip and not g.get("passed_on"):
            await compress(response)
        return response

    @app.after_serving
    async def stop() -> None:
        stopping.stop()

    app.register_error_handler(HTTPException, _on_error)
    app.register_error_handler(Exception, _on_error)
    _add_routes(app)
    admin.add_routes(app)
    app.settle()
    return app


async def _on_error(error: Exception) -> Response:
    told = api_error(error)
    await context().bodies.linger(request)
    if isinstance(told, UpstreamError) and told.passable and told.raw:
        return _as_it_came(told)
    return Response(
        encode(error_body(told, request_id())),
        status=told.status,
        headers=error_headers(told),
        content_type="application/json",
    )


def _as_it_came(error: UpstreamError) -> Response:
    """The error of a server that speaks the client's own API, unmasked."""
    g.passed_on = True
    response = Response(error.raw, status=error.status)
    response.headers.clear()
    for name, value in error.headers:
        response.headers.add(name, value)
    return response


def _add_routes(app: Quart) -> None:
    app.add_url_rule(MESSAGES, view_func=messages.post_messages, methods=["POST"])
    app.add_url_rule(f"{MESSAGES}/count_tokens", view_func=messages.post_count, methods=["POST"])
    app.add_url_rule("/v1/models", view_func=models.list_models, methods=["GET"])
    app.add_url_rule("/v1/models/<path:model_id>", view_func=models.get_model, methods=["GET"])
    app.add_url_rule("/", view_func=health.root, methods=["GET"])
    app.add_url_rule("/api/hello", view_func=health.hello, methods=["GET"])
    app.add_url_rule("/health", view_func=health.health, methods=["GET"])
    app.add_url_rule("/health/live", view_func=health.live, methods=["GET"])
    app.add_url_rule("/health/ready", view_func=health.ready, methods=["GET"])
    app.add_url_rule("/metrics", view_func=health.metrics, methods=["GET"])
