"""Generated turns in a SQLite file, so that a restart keeps the prefix of every session.

All of it runs on the one thread that made the object. A file that can't be used costs a restart
its prefix, never a request its answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from anyclaude.caches.sqlite_file import SqliteFile
from anyclaude.prompt.echo_turn import StoredTurn

_VERSION = 2
_BATCH = 500
_KEEP = 0.9
_SCHEMA = """
CREATE TABLE turns (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL UNIQUE,
    session TEXT NOT NULL,
    size INTEGER NOT NULL,
    content BLOB NOT NULL,
    tokens BLOB NOT NULL,
    thinking INTEGER NOT NULL
);
CREATE INDEX turns_session ON turns (session, n);
CREATE TABLE sessions (session TEXT PRIMARY KEY, used INTEGER NOT NULL);
"""


class EchoDisk:
    """The file at ``path``, mode 0600, kept under ``limit_bytes`` of turns.

    The sessions used longest ago lose their turns first. ``warn`` gets a sentence whenever
    something about the file went wrong.
    """

    def __init__(self, path: Path, limit_bytes: int, warn: Callable[[str], None]) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._tick = 0
        self._file = SqliteFile(
            path,
            _SCHEMA,
            _VERSION,
            opened=self._opened,
            warn=warn,
            loss="generated turns end with this process",
            other_version="drop",
            synchronous="NORMAL",
        )

    def put(self, key: bytes, session: str, turn: StoredTurn) -> None:
        """Writes a turn, in place of an older one of the same name."""
        if turn.size > self._limit * _KEEP:
            return
        self._file.run(lambda db: self._put(db, key, session, turn), None)

    def get(self, keys: Iterable[bytes], session: str) -> dict[bytes, StoredTurn]:
        """The turns there are among ``keys``; their session counts as used."""
        wanted = list(keys)
        return self._file.run(lambda db: self._get(db, wanted, session), {})

    def delete(self, key: bytes) -> None:
        """Forgets one turn, damaged as it was."""
        self._file.run(lambda db: self._delete(db, key), None)

    def close(self) -> None:
        """Closes the file; the write-ahead log is folded into it."""
        self._file.close()

    # ------------------------------------------------------------------------------- inside

    def _put(self, db: sqlite3.Connection, key: bytes, session: str, turn: StoredTurn) -> None:
        with db:
            self._forget(db, key)
            db.execute(
                "INSERT INTO turns (key, session, size, content, tokens, thinking)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (key, session, turn.size, turn.content, turn.tokens, turn.thinking),
            )
            self._touch(db, session)
            self._bytes += turn.size
            if self._bytes > self._limit:
                self._evict(db)

    def _get(
        self, db: sqlite3.Connection, keys: list[bytes], session: str
    ) -> dict[bytes, StoredTurn]:
        found: dict[bytes, StoredTurn] = {}
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            marks = ",".join("?" * len(batch))
            rows = db.execute(
                f"SELECT key, content, tokens, thinking FROM turns WHERE key IN ({marks})", batch
            )
            found.update(
                (key, StoredTurn(content, tokens, bool(thinking)))
                for key, content, tokens, thinking in rows
            )
        if found:
            with db:
                self._touch(db, session)
        return found

    def _delete(self, db: sqlite3.Connection, key: bytes) -> None:
        with db:
            self._forget(db, key)

    def _forget(self, db: sqlite3.Connection, key: bytes) -> None:
        for (size,) in db.execute("DELETE FROM turns WHERE key = ? RETURNING size", (key,)):
            self._bytes -= size

    def _touch(self, db: sqlite3.Connection, session: str) -> None:
        self._tick += 1
        db.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?)", (session, self._tick))

    def _evict(self, db: sqlite3.Connection) -> None:
        oldest = db.execute(
            "SELECT n, size FROM turns LEFT JOIN sessions USING (session)"
            " ORDER BY coalesce(used, 0), n"
        ).fetchall()
        for n, size in oldest:
            if self._bytes <= self._limit * _KEEP:
                break
            db.execute("DELETE FROM turns WHERE n = ?", (n,))
            self._bytes -= size
        db.execute("DELETE FROM sessions WHERE session NOT IN (SELECT session FROM turns)")

    def _opened(self, db: sqlite3.Connection) -> None:
        (self._bytes,) = db.execute("SELECT coalesce(sum(size), 0) FROM turns").fetchone()
        (self._tick,) = db.execute("SELECT coalesce(max(used), 0) FROM sessions").fetchone()
