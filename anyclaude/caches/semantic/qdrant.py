"""The index in a Qdrant: a server by its HTTP API, or the client library's local mode.

Points carry digests only. The texts of questions and answers never go there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote
from uuid import UUID

from anyclaude.caches.semantic.embed import Vector
from anyclaude.caches.semantic.index import LIMIT, Near, Point
from anyclaude.errors import ConfigError
from anyclaude.types import JsonObject, JsonValue

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

T = TypeVar("T")

COLLECTION = "anyclaude"


def collection_of(embedder: str) -> str:
    """A collection for each embedder: the vectors of two can't be compared."""
    return f"{COLLECTION}-{sha256(embedder.encode()).hexdigest()[:12]}"


class QdrantAnswer(OSError):
    """The server refused, or said something that is no answer."""


class QdrantIndex:
    """A collection on a server, made at the first point.

    ``send(method, path, body)`` returns the parsed body of a 2xx answer and raises
    :class:`LookupError` for a 404, OSError, TimeoutError or AnyclaudeError for anything else.
    """

    def __init__(
        self,
        send: Callable[[str, str, JsonObject | None], Awaitable[JsonValue]],
        collection: str = COLLECTION,
    ) -> None:
        self._send = send
        self._path = f"/collections/{quote(collection, safe='')}"
        self._ready = False

    async def start(self) -> None:
        """Finds out whether the collection is there."""
        await self.count()

    async def add(self, point: Point) -> None:
        await self._prepare(point.vector.size)
        body: JsonObject = {
            "points": [
                {
                    "id": _point_id(point.digest),
                    "vector": point.vector.tolist(),
                    "payload": {"digest": point.digest.hex(), "context": point.context.hex()},
                }
            ]
        }
        await self._send("PUT", f"{self._path}/points?wait=true", body)

    async def search(self, context: bytes, vector: Vector, at_least: float) -> list[Near]:
        body: JsonObject = {
            "query": vector.tolist(),
            "filter": {"must": [{"key": "context", "match": {"value": context.hex()}}]},
            "limit": LIMIT,
            "score_threshold": at_least,
            "with_payload": ["digest"],
        }
        try:
            answer = await self._send("POST", f"{self._path}/points/query", body)
        except LookupError:
            self._ready = False
            return []
        points = _field(_field(answer, "result"), "points")
        if not isinstance(points, Sequence) or isinstance(points, str):
            raise QdrantAnswer("its answer has no list of points")
        return [_near(point) for point in points]

    async def remove(self, digest: bytes) -> None:
        await self._delete({"points": [_point_id(digest)]})

    async def clear(self) -> int:
        gone = await self.count()
        await self._delete({"filter": {}})
        return gone

    async def count(self) -> int:
        try:
            answer = await self._send("POST", f"{self._path}/points/count", {"exact": True})
        except LookupError:
            return 0
        found = _field(_field(answer, "result"), "count")
        if not isinstance(found, int):
            raise QdrantAnswer("its answer has no count")
        return found

    async def _delete(self, which: JsonObject) -> None:
        try:
            await self._send("POST", f"{self._path}/points/delete?wait=true", which)
        except LookupError:
            self._ready = False

    async def _prepare(self, width: int) -> None:
        if self._ready:
            return
        try:
            await self._send("GET", self._path, None)
        except LookupError:
            await self._send("PUT", self._path, {"vectors": {"size": width, "distance": "Cosine"}})
            await self._send(
                "PUT",
                f"{self._path}/index?wait=true",
                {"field_name": "context", "field_schema": "keyword"},
            )
        self._ready = True


class QdrantLocal:
    """The client library's own index in ``folder``, of one process; slow over 20,000 points."""

    def __init__(self, folder: Path, collection: str = COLLECTION) -> None:
        """Raises ConfigError when qdrant-client isn't installed."""
        try:
            import qdrant_client  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                "a local Qdrant needs its client: pip install 'anyclaude[qdrant]'"
            ) from error
        self._folder = folder
        self._collection = collection
        self._client: QdrantClient | None = None
        self._thread = ThreadPoolExecutor(1, "anyclaude-qdrant")
        """One thread, for the client is none for several."""

    async def start(self) -> None:
        """Opens the folder."""
        await self.count()

    async def add(self, point: Point) -> None:
        from qdrant_client import models

        def work(client: QdrantClient) -> None:
            if not client.collection_exists(self._collection):
                client.create_collection(
                    self._collection,
                    vectors_config=models.VectorParams(
                        size=point.vector.size, distance=models.Distance.COSINE
                    ),
                )
            payload = {"digest": point.digest.hex(), "context": point.context.hex()}
            client.upsert(
                self._collection,
                [
                    models.PointStruct(
                        id=_point_id(point.digest), vector=point.vector.tolist(), payload=payload
                    )
                ],
            )

        await self._run(work)

    async def search(self, context: bytes, vector: Vector, at_least: float) -> list[Near]:
        from qdrant_client import models

        def work(client: QdrantClient) -> list[Near]:
            if not client.collection_exists(self._collection):
                return []
            match = models.MatchValue(value=context.hex())
            found = client.query_points(
                self._collection,
                query=vector.tolist(),
                query_filter=models.Filter(
                    must=[models.FieldCondition(key="context", match=match)]
                ),
                limit=LIMIT,
                score_threshold=at_least,
            )
            return [
                Near(bytes.fromhex((point.payload or {})["digest"]), point.score)
                for point in found.points
            ]

        return await self._run(work)

    async def remove(self, digest: bytes) -> None:
        from qdrant_client import models

        def work(client: QdrantClient) -> None:
            if client.collection_exists(self._collection):
                client.delete(self._collection, models.PointIdsList(points=[_point_id(digest)]))

        await self._run(work)

    async def clear(self) -> int:
        def work(client: QdrantClient) -> int:
            gone = self._count(client)
            client.delete_collection(self._collection)
            return gone

        return await self._run(work)

    async def count(self) -> int:
        return await self._run(self._count)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, client.close)
        self._thread.shutdown(wait=False)

    def _count(self, client: QdrantClient) -> int:
        if not client.collection_exists(self._collection):
            return 0
        return client.count(self._collection).count

    async def _run(self, work: Callable[[QdrantClient], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._with_client, work)

    def _with_client(self, work: Callable[[QdrantClient], T]) -> T:
        from qdrant_client import QdrantClient

        if self._client is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._client = QdrantClient(path=str(self._folder))
            except RuntimeError as error:  # Another process holds the folder.
                raise QdrantAnswer(str(error)) from error
        return work(self._client)


def _point_id(digest: bytes) -> str:
    return str(UUID(bytes=digest[:16]))


def _field(value: JsonValue, name: str) -> JsonValue:
    return value.get(name) if isinstance(value, Mapping) else None


def _near(point: JsonValue) -> Near:
    score = _field(point, "score")
    digest = _field(_field(point, "payload"), "digest")
    if not isinstance(score, int | float) or not isinstance(digest, str):
        raise QdrantAnswer("a point in its answer has no score or digest")
    try:
        return Near(bytes.fromhex(digest), float(score))
    except ValueError as error:
        raise QdrantAnswer("a point in its answer has a digest that is none") from error
