"""Which of the questions asked before is nearest to a new one.

A question is only compared with those asked in the same context: a digest of everything else in
the request.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from anyclaude.caches.response.persistent import PersistentTier
from anyclaude.caches.semantic.embed import Vector

MAX_ENTRIES = 50_000
_FIRST = 64


@dataclass(frozen=True, slots=True)
class Point:
    """A question: the digest that its answer is kept under, and its vector of length 1."""

    digest: bytes
    context: bytes
    vector: Vector


@dataclass(frozen=True, slots=True)
class Near:
    """A question that was found; ``score`` is the cosine of the angle between the two."""

    digest: bytes
    score: float


class VectorIndex(Protocol):
    """Keeps points. A server behind it may fail: then OSError, TimeoutError or AnyclaudeError."""

    async def start(self) -> None:
        """Reads what was stored."""
        ...

    async def add(self, point: Point) -> None:
        """Keeps a point, in place of an older one of the same digest."""
        ...

    async def search(self, context: bytes, vector: Vector, at_least: float) -> list[Near]:
        """The nearest few points of the context with that score, best first."""
        ...

    async def remove(self, digest: bytes) -> None: ...

    async def clear(self) -> int:
        """Forgets every point; how many there were."""
        ...

    async def count(self) -> int: ...


LIMIT = 8
"""How many points a search returns at most."""


class PointStore(Protocol):
    """Where points outlive the process; nothing here raises."""

    async def load(self) -> list[Point]: ...

    async def save(self, point: Point) -> None: ...

    async def delete(self, digest: bytes) -> None: ...

    async def clear(self) -> None: ...


class SqlitePoints:
    """Points beside the answers of L3, gone when their answer is; of one embedder only."""

    def __init__(self, tier: PersistentTier, embedder: str) -> None:
        self._tier = tier
        self._embedder = embedder

    async def load(self) -> list[Point]:
        def work(db: sqlite3.Connection) -> list[Point]:
            rows = db.execute(
                "SELECT digest, context, vector FROM vectors WHERE model = ?", (self._embedder,)
            )
            return [
                Point(d, c, np.frombuffer(v, dtype="<f4").astype(np.float32)) for d, c, v in rows
            ]

        return await self._tier.read(work, [])

    async def save(self, point: Point) -> None:
        values = (point.context, self._embedder, point.vector.astype("<f4").tobytes(), point.digest)

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO vectors (context, model, vector, digest)"
                " SELECT ?, ?, ?, digest FROM entries WHERE digest = ?",
                values,
            )

        await self._tier.write(work, None)

    async def delete(self, digest: bytes) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM vectors WHERE digest = ?", (digest,))

        await self._tier.write(work, None)

    async def clear(self) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM vectors")

        await self._tier.write(work, None)


class LocalIndex:
    """A matrix in memory, the oldest points leaving first; with ``store``, on the disk as well."""

    def __init__(self, store: PointStore | None = None, max_entries: int = MAX_ENTRIES) -> None:
        self._store = store
        self._max = max_entries
        self._matrix: Vector | None = None
        self._places: dict[bytes, tuple[int, bytes]] = {}
        """Row and context by digest, oldest first."""
        self._contexts: dict[bytes, dict[bytes, int]] = {}
        self._free: list[int] = []

    async def start(self) -> None:
        """Reads what was stored."""
        if self._store is not None:
            for point in await self._store.load():
                self._add(point)

    async def add(self, point: Point) -> None:
        self._add(point)
        if self._store is not None:
            await self._store.save(point)

    async def search(self, context: bytes, vector: Vector, at_least: float) -> list[Near]:
        places = self._contexts.get(context)
        if not places or self._matrix is None or self._matrix.shape[1] != vector.size:
            return []
        scores = self._matrix[list(places.values())] @ vector
        near = [Near(digest, float(s)) for digest, s in zip(places, scores, strict=True)]
        found = sorted((n for n in near if n.score >= at_least), key=lambda n: -n.score)
        return found[:LIMIT]

    async def remove(self, digest: bytes) -> None:
        if self._drop(digest) and self._store is not None:
            await self._store.delete(digest)

    async def clear(self) -> int:
        gone = len(self._places)
        self._matrix = None
        self._places.clear()
        self._contexts.clear()
        self._free.clear()
        if self._store is not None:
            await self._store.clear()
        return gone

    async def count(self) -> int:
        return len(self._places)

    # ------------------------------------------------------------------------------- inside

    def _add(self, point: Point) -> None:
        self._drop(point.digest)
        if self._matrix is not None and self._matrix.shape[1] != point.vector.size:
            return
        while len(self._places) >= self._max:
            self._drop(next(iter(self._places)))
        row = self._row(point.vector.size)
        assert self._matrix is not None
        self._matrix[row] = point.vector
        self._places[point.digest] = (row, point.context)
        self._contexts.setdefault(point.context, {})[point.digest] = row

    def _row(self, width: int) -> int:
        if not self._free:
            held = 0 if self._matrix is None else len(self._matrix)
            grown = np.zeros((max(_FIRST, held * 2), width), dtype=np.float32)
            if self._matrix is not None:
                grown[:held] = self._matrix
            self._matrix = grown
            self._free = list(range(len(grown) - 1, held - 1, -1))
        return self._free.pop()

    def _drop(self, digest: bytes) -> bool:
        place = self._places.pop(digest, None)
        if place is None:
            return False
        row, context = place
        self._free.append(row)
        points = self._contexts[context]
        del points[digest]
        if not points:
            del self._contexts[context]
        return True
