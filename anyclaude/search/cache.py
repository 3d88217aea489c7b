"""Results of earlier searches, so that the same one goes out once an hour and not once a minute.

They are what the providers gave, before anything was left out or cut: what a later search with
other limits makes of them is its own affair.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from hashlib import sha256

from anyclaude.caches.tally import Tally
from anyclaude.events import TierStats
from anyclaude.search.file import SearchFile
from anyclaude.search.values import Query, Result
from anyclaude.types import Tier

_KEEP = 0.9
_OVERHEAD = 150


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Results are kept for ``ttl_s`` seconds; over ``limit_bytes`` those used longest ago go
    first. Either 0: nothing is kept. Those with ``pages`` read are none of those with others."""

    ttl_s: float = 3600.0
    limit_bytes: int = 16 * 2**20
    pages: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """What a provider answered. ``ms`` is how long that took then."""

    provider: str
    results: tuple[Result, ...]
    ms: float


class ResultCache:
    """The table of results in ``file``. Loop thread only; what it counts is of this process."""

    def __init__(self, file: SearchFile, options: CacheOptions, wall: Callable[[], float]) -> None:
        self._file = file
        self._options = options
        self._wall = wall
        self._entries = 0
        self._bytes = 0
        self._tally = Tally()

    @property
    def on(self) -> bool:
        return self._options.ttl_s > 0 and self._options.limit_bytes > 0

    async def start(self) -> None:
        """Forgets what is too old and counts the rest."""
        oldest = self._wall() - self._options.ttl_s

        def work(db: sqlite3.Connection) -> tuple[int, int]:
            db.execute("DELETE FROM results WHERE created <= ?", (oldest,))
            return _counted(db)

        self._entries, self._bytes = await self._file.write(work, (0, 0))

    async def get(self, query: Query, providers: Sequence[str]) -> Kept | None:
        """What one of the providers answered, not too long ago; counts as a hit or a miss."""
        if not self.on:
            return None
        now = self._wall()
        key, oldest = _key(query, self._options.pages), now - self._options.ttl_s

        def work(db: sqlite3.Connection) -> str | None:
            row = db.execute(
                "SELECT payload FROM results WHERE key = ? AND created > ?", (key, oldest)
            ).fetchone()
            return None if row is None else str(row[0])

        payload = await self._file.read(work, None)
        kept = _unpacked(payload) if payload is not None else None
        if kept is None or kept.provider not in providers:
            self._tally.misses += 1
            return None
        self._tally.hit(0, kept.ms / 1000)
        await self._file.write(
            lambda db: db.execute("UPDATE results SET used = ? WHERE key = ?", (now, key)).rowcount,
            0,
        )
        return kept

    async def put(self, query: Query, kept: Kept) -> None:
        """Keeps an answer in place of an older one to the same query."""
        if not self.on:
            return
        payload, now, key = _packed(kept), self._wall(), _key(query, self._options.pages)
        size, limit = len(payload.encode()) + _OVERHEAD, self._options.limit_bytes
        oldest = now - self._options.ttl_s

        def work(db: sqlite3.Connection) -> tuple[int, int, int]:
            db.execute("DELETE FROM results WHERE created <= ?", (oldest,))
            db.execute(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?)",
                (key, now, now, size, kept.ms, payload),
            )
            evicted = _evict(db, limit)
            return (*_counted(db), evicted)

        same = (self._entries, self._bytes, 0)
        self._entries, self._bytes, evicted = await self._file.write(work, same)
        self._tally.evictions += evicted

    async def flush(self) -> tuple[int, int]:
        """Forgets everything; how many entries and bytes that were."""

        def work(db: sqlite3.Connection) -> tuple[int, int]:
            gone = _counted(db)
            db.execute("DELETE FROM results")
            return gone

        gone = await self._file.write(work, (0, 0))
        self._entries = self._bytes = 0
        return gone

    def stats(self) -> TierStats:
        return self._tally.stats(
            Tier.SEARCH,
            enabled=self.on,
            entries=self._entries,
            bytes=self._bytes,
            limit_bytes=self._options.limit_bytes,
        )


def _key(query: Query, pages: int) -> bytes:
    """Alike for queries that ask the same: case, spaces and the order of domains say nothing."""
    words = " ".join(query.text.lower().split())
    domains = [sorted({d.lower() for d in side}) for side in (query.allowed, query.blocked)]
    said = [words, domains, pages] if pages else [words, domains]
    return sha256(json.dumps(said).encode()).digest()


def _packed(kept: Kept) -> str:
    # ASCII, for what a page says may have half a surrogate pair, which no file takes.
    return json.dumps([kept.provider, kept.ms, [astuple(one) for one in kept.results]])


def _unpacked(payload: str) -> Kept | None:
    """``None`` for a row that is damaged."""
    try:
        provider, ms, results = json.loads(payload)
        return Kept(str(provider), tuple(Result(*map(str, one)) for one in results), float(ms))
    except (ValueError, TypeError):
        return None


def _counted(db: sqlite3.Connection) -> tuple[int, int]:
    row = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM results").fetchone()
    return int(row[0]), int(row[1])


def _evict(db: sqlite3.Connection, limit: int) -> int:
    """Deletes what was used longest ago once there is too much; how many rows."""
    size = _counted(db)[1]
    if size <= limit:
        return 0
    gone = 0
    rows = db.execute("SELECT key, size FROM results ORDER BY used, created").fetchall()
    for key, bytes_ in rows:
        if size <= limit * _KEEP:
            break
        db.execute("DELETE FROM results WHERE key = ?", (key,))
        size -= bytes_
        gone += 1
    return gone
