"""``/anyclaude/…``: what the commands and an attached console ask and do.

Each answer is a value of :mod:`anyclaude.control` as JSON, a tuple as an array.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from quart import Quart, Response, request

from anyclaude.errors import InvalidRequest, Unavailable, UnsupportedMediaType
from anyclaude.events import Bus, to_json
from anyclaude.server.context import context
from anyclaude.server.decode import decode
from anyclaude.server.fields import Node
from anyclaude.server.stopping import Stopping
from anyclaude.server.wire import encode, plain

MAX_ROWS = 100_000  # of one answer


def add_routes(app: Quart, prefix: str = "/anyclaude") -> None:
    app.add_url_rule(f"{prefix}/stats", view_func=stats, methods=["GET"])
    app.add_url_rule(f"{prefix}/cache", view_func=cache, methods=["GET"])
    app.add_url_rule(f"{prefix}/cache", view_func=flush, methods=["DELETE"])
    app.add_url_rule(f"{prefix}/models", view_func=models, methods=["GET"])
    app.add_url_rule(f"{prefix}/model", view_func=model, methods=["GET"])
    app.add_url_rule(f"{prefix}/model", view_func=load_model, methods=["PUT"])
    app.add_url_rule(f"{prefix}/model", view_func=unload_model, methods=["DELETE"])
    app.add_url_rule(f"{prefix}/engine/restart", view_func=restart, methods=["POST"])
    app.add_url_rule(f"{prefix}/backends", view_func=backends, methods=["GET"])
    app.add_url_rule(f"{prefix}/requests", view_func=requests, methods=["GET"])
    app.add_url_rule(f"{prefix}/requests/<id>", view_func=detail, methods=["GET"])
    app.add_url_rule(f"{prefix}/requests/<id>/cancel", view_func=cancel, methods=["POST"])
    app.add_url_rule(f"{prefix}/sql", view_func=sql, methods=["POST"])
    app.add_url_rule(f"{prefix}/events", view_func=events, methods=["GET"])


async def _json(value: object, status: int = 200) -> Response:
    # In a thread: ten thousand rows would hold up everyone's tokens.
    body = await asyncio.to_thread(lambda: encode(plain(value)))
    return Response(body, status=status, content_type="application/json")


async def stats() -> Response:
    return await _json(await context().control.stats())


async def cache() -> Response:
    return await _json(await context().control.cache())


async def flush() -> Response:
    return await _json(await context().control.flush(request.args.get("tier")))


async def models() -> Response:
    return await _json(await context().control.models())


async def model() -> Response:
    return await _json(context().bus.engine_state)


async def load_model() -> Response:
    """Accepted, not done: progress comes as EngineState events."""
    body = await _body()
    await context().control.load_model(body.need("name").text(filled=True))
    return await _json(context().bus.engine_state, 202)


async def unload_model() -> Response:
    await context().control.unload_model()
    return await _json(context().bus.engine_state, 202)


async def restart() -> Response:
    await context().control.restart_engine()
    return await _json(context().bus.engine_state, 202)


async def backends() -> Response:
    return await _json(await context().control.backends())


async def requests() -> Response:
    """Newest first; ``limit`` rows started before the Unix time ``before``."""
    before = request.args.get("before")
    try:
        limit = int(request.args.get("limit", "200"))
        moment = None if before is None else float(before)
    except ValueError:
        raise InvalidRequest("limit is an integer, before a Unix time") from None
    if not 1 <= limit <= MAX_ROWS:
        raise InvalidRequest(f"Input should be from 1 to {MAX_ROWS}", field="limit")
    return await _json(await context().control.requests(limit, moment))


async def detail(id: str) -> Response:
    return await _json(await context().control.detail(id))


async def cancel(id: str) -> Response:
    return await _json({"cancelled": await context().control.cancel(id)})


async def sql() -> Response:
    """One read-only statement; a caller that hangs up stops it."""
    body = await _body()
    limit = body.find("limit")
    rows = 10_000 if limit is None else min(limit.integer(1), MAX_ROWS)
    server = context()
    async with server.stopping.guard():
        result = await server.control.sql(body.need("query").text(filled=True), rows)
    return await _json(result)


async def events() -> Response:
    """The bus as server-sent events, beginning with the engine's present state."""
    server = context()
    return Response(
        _events(server.bus, server.stopping),
        headers={"cache-control": "no-cache"},
        content_type="text/event-stream; charset=utf-8",
    )


async def _events(bus: Bus, stopping: Stopping) -> AsyncIterator[bytes]:
    subscription = bus.subscribe()
    subscription.put(bus.engine_state)
    arrivals = aiter(subscription)
    try:
        while True:
            async with stopping.guard():
                event = await anext(arrivals, None)
            if event is None:
                return
            yield b"data: %s\n\n" % encode(plain(to_json(event)))
    except Unavailable:
        return
    finally:
        subscription.close()


async def _body() -> Node:
    content_type = request.headers.get("content-type", "application/json")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("content-type: send application/json")
    return Node(decode(await context().bodies.read(request)).payload)
