"""``/anyclaude/…``: what the commands and an attached console ask and do.

Each answer is a value of :mod:`anyclaude.control` as JSON, a tuple as an array.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import cast, get_args

from quart import Quart, Response, request

from anyclaude.control import ROWS_HEADER
from anyclaude.errors import InvalidRequest, Unavailable, UnsupportedMediaType
from anyclaude.event_json import to_json
from anyclaude.events import Bus
from anyclaude.records import ExportFormat
from anyclaude.server.compress import event_stream
from anyclaude.server.context import context
from anyclaude.server.decode import decode
from anyclaude.server.exchange import close_later
from anyclaude.server.fields import Node
from anyclaude.server.files import send_file
from anyclaude.server.stopping import Stopping
from anyclaude.server.wire import encode, plain

MAX_ROWS = 100_000  # of one answer


def add_routes(app: Quart, prefix: str = "/anyclaude") -> None:
    app.add_url_rule(f"{prefix}/stats", view_func=stats, methods=["GET"])
    app.add_url_rule(f"{prefix}/cache", view_func=cache, methods=["GET"])
    app.add_url_rule(f"{prefix}/cache", view_func=flush, methods=["DELETE"])
    app.add_url_rule(f"{prefix}/cache/tree", view_func=prefix_tree, methods=["GET"])
    app.add_url_rule(f"{prefix}/cache/pins", view_func=pin, methods=["PUT"])
    app.add_url_rule(f"{prefix}/admission", view_func=admission, methods=["GET"])
    app.add_url_rule(f"{prefix}/admission", view_func=pause, methods=["PUT"])
    app.add_url_rule(f"{prefix}/switches", view_func=switches, methods=["GET"])
    app.add_url_rule(f"{prefix}/switches", view_func=set_switch, methods=["PUT"])
    app.add_url_rule(f"{prefix}/models", view_func=models, methods=["GET"])
    app.add_url_rule(f"{prefix}/models", view_func=pull, methods=["POST"])
    app.add_url_rule(f"{prefix}/model", view_func=model, methods=["GET"])
    app.add_url_rule(f"{prefix}/model", view_func=load_model, methods=["PUT"])
    app.add_url_rule(f"{prefix}/model", view_func=unload_model, methods=["DELETE"])
    app.add_url_rule(f"{prefix}/engine/restart", view_func=restart, methods=["POST"])
    app.add_url_rule(f"{prefix}/backends", view_func=backends, methods=["GET"])
    app.add_url_rule(f"{prefix}/backends/<name>/reset", view_func=reset_backend, methods=["POST"])
    app.add_url_rule(f"{prefix}/mcp", view_func=mcp, methods=["GET"])
    app.add_url_rule(f"{prefix}/tools", view_func=tools, methods=["GET"])
    app.add_url_rule(f"{prefix}/slots", view_func=slots, methods=["GET"])
    app.add_url_rule(f"{prefix}/slots", view_func=set_slot, methods=["PUT"])
    app.add_url_rule(f"{prefix}/requests", view_func=requests, methods=["GET"])
    app.add_url_rule(f"{prefix}/running", view_func=running, methods=["GET"])
    app.add_url_rule(f"{prefix}/requests/<id>", view_func=detail, methods=["GET"])
    app.add_url_rule(f"{prefix}/requests/<id>/cancel", view_func=cancel, methods=["POST"])
    app.add_url_rule(f"{prefix}/requests/<id>/replay", view_func=replay, methods=["POST"])
    app.add_url_rule(f"{prefix}/requests/<id>/reparse", view_func=reparse, methods=["POST"])
    app.add_url_rule(f"{prefix}/sql", view_func=sql, methods=["POST"])
    app.add_url_rule(f"{prefix}/sql/export", view_func=export_sql, methods=["POST"])
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


async def prefix_tree() -> Response:
    """At most ``limit`` edges."""
    limit = _count("limit", 400)
    return await _json(await context().control.prefix_tree(limit))


async def pin() -> Response:
    body = await _body()
    session, pinned = body.need("session_id").text(filled=True), body.need("pinned").flag()
    await context().control.pin(session, pinned)
    return await _json({"session_id": session, "pinned": pinned})


async def admission() -> Response:
    return await _json({"paused": (await context().control.stats()).vitals.paused})


async def pause() -> Response:
    paused = (await _body()).need("paused").flag()
    await context().control.pause(paused)
    return await _json({"paused": paused})


async def switches() -> Response:
    return await _json(await context().control.switches())


async def set_switch() -> Response:
    body = await _body()
    name, on = body.need("name").text(filled=True), body.need("on").flag()
    await context().control.set_switch(name, on)
    return await _json({"name": name, "on": on})


async def pull() -> Response:
    """Accepted, not done: progress comes as PullState events."""
    name = (await _body()).need("name").text(filled=True)
    await context().control.pull_model(name)
    return await _json({"name": name}, 202)


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


async def reset_backend(name: str) -> Response:
    await context().control.reset_backend(name)
    return await _json({"backend": name, "breaker": "closed"})


async def mcp() -> Response:
    return await _json(await context().control.mcp())


async def tools() -> Response:
    return await _json(await context().control.tools())


async def slots() -> Response:
    return await _json(await context().control.slots())


async def set_slot() -> Response:
    """An empty ``target`` has the routes decide again."""
    body = await _body()
    slot, target = body.need("slot").text(filled=True), body.need("target").text()
    await context().control.set_slot(slot, target)
    return await _json({"slot": slot, "target": target})


async def requests() -> Response:
    """Newest first; ``limit`` rows started before the Unix time ``before``."""
    limit, before = _count("limit", 200), request.args.get("before")
    try:
        moment = None if before is None else float(before)
    except ValueError:
        raise InvalidRequest("Input should be a Unix time", field="before") from None
    return await _json(await context().control.requests(limit, moment))


async def running() -> Response:
    return await _json(await context().control.running())


async def detail(id: str) -> Response:
    return await _json(await context().control.detail(id))


async def cancel(id: str) -> Response:
    return await _json({"cancelled": await context().control.cancel(id)})


async def replay(id: str) -> Response:
    """Accepted, not done: the new request is one like any other."""
    model = (await _body(may_be_empty=True)).find("model")
    new = await context().control.replay(id, "" if model is None else model.text())
    return await _json({"id": new}, 202)


async def reparse(id: str) -> Response:
    return await _json(await context().control.reparse(id))


async def sql() -> Response:
    """One read-only statement; a caller that hangs up stops it."""
    body = await _body()
    limit, longest = body.find("limit"), body.find("longest")
    rows = 10_000 if limit is None else min(limit.integer(1), MAX_ROWS)
    query = body.need("query").text(filled=True)
    cut = None if longest is None else longest.integer(1)
    server = context()
    async with server.stopping.guard():
        result = await server.control.sql(query, rows, cut)
    return await _json(result)


async def export_sql() -> Response:
    """The file itself, for the caller to store; one that hangs up stops its making."""
    body = await _body()
    query = body.need("query").text(filled=True)
    format = cast(ExportFormat, body.need("format").choice(*get_args(ExportFormat)))
    server = context()
    async with server.stopping.guard():
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="anyclaude-export-"))
        close_later(request, partial(asyncio.to_thread, shutil.rmtree, folder, True))
        rows = await server.control.export_sql(query, folder / "rows", format)
    return await send_file(folder / "rows", {ROWS_HEADER: str(rows)}, server.stopping)


async def events() -> Response:
    """The bus as server-sent events, beginning with the engine's present state."""
    server = context()
    return event_stream(_events(server.bus, server.stopping))


async def _events(bus: Bus, stopping: Stopping) -> AsyncGenerator[bytes, None]:
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


def _count(name: str, default: int) -> int:
    """A number of rows from the query string."""
    try:
        count = int(request.args.get(name, default))
    except ValueError:
        raise InvalidRequest("Input should be a valid integer", field=name) from None
    if not 1 <= count <= MAX_ROWS:
        raise InvalidRequest(f"Input should be from 1 to {MAX_ROWS}", field=name)
    return count


async def _body(*, may_be_empty: bool = False) -> Node:
    content_type = request.headers.get("content-type", "application/json")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("content-type: send application/json")
    body = await context().bodies.read(request)
    return Node({} if may_be_empty and not body else decode(body).payload)
