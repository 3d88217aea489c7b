"""Qdrant's HTTP API in memory: the part that an index needs, and strict about every byte of it.

Written after the OpenAPI description of Qdrant 1.10 and later. What the real server would refuse
is refused, and what it would pass over (an unknown field, say) fails the test that sent it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import numpy as np
from aiohttp import web

from anyclaude.types import JsonObject, JsonValue


@dataclass(slots=True)
class _Collection:
    size: int
    points: dict[str, tuple[np.ndarray, dict[str, Any]]] = field(default_factory=dict)
    indexed: set[str] = field(default_factory=set)


class Refused(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FakeQdrant:
    """``handle`` is the server, ``send`` what a client's transport would make of it."""

    def __init__(self) -> None:
        self.collections: dict[str, _Collection] = {}
        self.requests: list[tuple[str, str, JsonObject | None]] = []
        self.down = False

    async def send(self, method: str, path: str, body: JsonObject | None) -> JsonValue:
        """As :class:`anyclaude.caches.semantic.qdrant.QdrantIndex` wants it."""
        if self.down:
            raise ConnectionRefusedError("nobody listens")
        status, answer = self.handle(method, path, body)
        if status == 404:
            raise LookupError(path)
        if status >= 300:
            raise OSError(f"Qdrant answered {status}: {answer}")
        return answer

    def handle(self, method: str, target: str, body: JsonObject | None) -> tuple[int, JsonValue]:
        """Status and body of the answer to one request; ``target`` is path and query."""
        self.requests.append((method, target, body))
        url = urlsplit(target)
        query = parse_qs(url.query, strict_parsing=True) if url.query else {}
        assert set(query) <= {"wait"}, query
        found = re.fullmatch(r"/collections/([^/]+)(/.+)?", url.path)
        assert found is not None, f"no such route: {target}"
        name, rest = unquote(found[1]), found[2] or ""
        try:
            result = self._routes(method, rest)(name, body)
        except Refused as error:
            return error.status, {"status": {"error": str(error)}, "time": 0.0}
        return 200, {"result": result, "status": "ok", "time": 0.0}

    def _routes(self, method: str, rest: str) -> Any:
        routes = {
            ("GET", ""): self._get,
            ("PUT", ""): self._create,
            ("PUT", "/index"): self._index,
            ("PUT", "/points"): self._upsert,
            ("POST", "/points/query"): self._query,
            ("POST", "/points/count"): self._count,
            ("POST", "/points/delete"): self._delete,
        }
        assert (method, rest) in routes, f"no such route: {method} {rest}"
        return routes[method, rest]

    def _collection(self, name: str) -> _Collection:
        if name not in self.collections:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        return self.collections[name]

    def _get(self, name: str, body: JsonObject | None) -> JsonValue:
        assert body is None
        collection = self._collection(name)
        return {"status": "green", "points_count": len(collection.points)}

    def _create(self, name: str, body: Any) -> JsonValue:
        assert set(body) == {"vectors"} and set(body["vectors"]) == {"size", "distance"}, body
        assert body["vectors"]["distance"] == "Cosine"
        size = body["vectors"]["size"]
        assert isinstance(size, int) and size > 0
        if name in self.collections:
            raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
        self.collections[name] = _Collection(size)
        return True

    def _index(self, name: str, body: Any) -> JsonValue:
        assert body == {"field_name": body["field_name"], "field_schema": "keyword"}
        self._collection(name).indexed.add(body["field_name"])
        return {"operation_id": 0, "status": "completed"}

    def _upsert(self, name: str, body: Any) -> JsonValue:
        collection = self._collection(name)
        assert set(body) == {"points"}
        for point in body["points"]:
            assert set(point) == {"id", "vector", "payload"}, point
            vector = _vector(point["vector"], collection.size)
            length = float(np.linalg.norm(vector))
            collection.points[_id(point["id"])] = (vector / length, dict(point["payload"]))
        return {"operation_id": 1, "status": "completed"}

    def _query(self, name: str, body: Any) -> JsonValue:
        collection = self._collection(name)
        known = {"query", "filter", "limit", "score_threshold", "with_payload"}
        assert set(body) <= known, body
        vector = _vector(body["query"], collection.size)
        vector = vector / float(np.linalg.norm(vector))
        keys = body.get("with_payload", [])
        found = [
            {
                "id": name,
                "version": 1,
                "score": float(held @ vector),
                "payload": {key: payload[key] for key in keys},
            }
            for name, (held, payload) in collection.points.items()
            if _matches(payload, body.get("filter", {}), collection.indexed)
        ]
        least = body.get("score_threshold", -1.0)
        best = sorted((p for p in found if p["score"] >= least), key=lambda p: -p["score"])
        return {"points": best[: body["limit"]]}

    def _count(self, name: str, body: Any) -> JsonValue:
        assert body == {"exact": True}
        return {"count": len(self._collection(name).points)}

    def _delete(self, name: str, body: Any) -> JsonValue:
        collection = self._collection(name)
        if "points" in body:
            assert set(body) == {"points"}
            for point in body["points"]:
                collection.points.pop(_id(point), None)
        else:
            assert body == {"filter": {}}, body
            collection.points.clear()
        return {"operation_id": 2, "status": "completed"}


def _id(value: Any) -> str:
    assert isinstance(value, str) and str(UUID(value)) == value, "an id is a UUID or a number"
    return value


def _vector(value: Any, size: int) -> np.ndarray:
    assert isinstance(value, list) and all(isinstance(number, float) for number in value)
    if len(value) != size:
        raise Refused(400, f"Wrong input: Vector dimension error: expected dim: {size}")
    return np.array(value, dtype=np.float32)


def _matches(payload: dict[str, Any], rule: Any, indexed: set[str]) -> bool:
    assert set(rule) <= {"must"}
    for condition in rule.get("must", []):
        assert set(condition) == {"key", "match"} and set(condition["match"]) == {"value"}
        assert condition["key"] in indexed, "a filter on a field without an index is slow"
        if payload.get(condition["key"]) != condition["match"]["value"]:
            return False
    return True


@asynccontextmanager
async def served(qdrant: FakeQdrant) -> AsyncIterator[str]:
    """The address where it listens."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        status, value = qdrant.handle(request.method, request.path_qs, body)
        return web.json_response(value, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
