"""Whether it lives, whether it answers, and how it is."""

from __future__ import annotations

from quart import Response

from anyclaude.server.context import context
from anyclaude.server.wire import encode, plain
from anyclaude.types import JsonValue

_DEAD = frozenset({"failed", "stopped"})
_READY_RETRY_S = "2"


def _json(body: JsonValue, status: int = 200) -> Response:
    return Response(encode(body), status=status, content_type="application/json")


async def root() -> Response:
    state = context().bus.engine_state
    return _json({"service": "anyclaude", "engine": state.phase, "model": state.model})


async def hello() -> Response:
    return _json({})


async def live() -> Response:
    return _json({"status": "alive"})


async def ready() -> Response:
    """503 until a model answers; whoever answers elsewhere is as ready as it can be known."""
    server = context()
    state = server.bus.engine_state
    there = state.phase == "ready" or (not server.needs_engine and state.phase not in _DEAD)
    response = _json(plain(state), 200 if there else 503)
    if state.phase == "loading":
        response.headers["retry-after"] = _READY_RETRY_S
    return response


async def health() -> Response:
    """Everything at a glance; 503 when no model will answer without someone's help."""
    control = context().control
    stats = await control.stats()
    body: dict[str, JsonValue] = {
        "status": stats.engine.phase,
        "version": stats.version,
        "uptime_s": stats.uptime_s,
        "engine": plain(stats.engine),
        "memory": {
            "process_bytes": stats.vitals.memory_bytes,
            "total_bytes": stats.vitals.memory_total_bytes,
            "mlx_active_bytes": stats.vitals.mlx_active_bytes,
        },
        "running": stats.vitals.running,
        "waiting": stats.vitals.waiting,
        "backends": plain(await control.backends()),
        "cache": plain(await control.cache()),
    }
    return _json(body, 503 if stats.engine.phase in _DEAD else 200)


async def metrics() -> Response:
    text = await context().metrics()
    return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")
