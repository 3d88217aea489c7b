"""Generated turns in a SQLite file, so that a restart keeps the prefix of every session.

All of it runs on the one thread that made the object. The file is a cache: a damaged one is
moved aside and a new one begun, and one that can't be written costs a restart its prefix,
never a request its answer.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from anyclaude.prompt.echo_turn import StoredTurn

T = TypeVar("T")

_VERSION = 2
_BATCH = 500
_KEEP = 0.9
_SCHEMA = f"""
PRAGMA user_version = {_VERSION};
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
        self._path = path
        self._limit = limit_bytes
        self._warn = warn
        self._bytes = 0
        self._tick = 0
        self._failing = False
        self._db: sqlite3.Connection | None = None
        self._open()

    def put(self, key: bytes, session: str, turn: StoredTurn) -> None:
        """Writes a turn, in place of an older one of the same name."""
        if turn.size > self._limit * _KEEP:
            return
        self._guard(lambda db: self._put(db, key, session, turn), None)

    def get(self, keys: Iterable[bytes], session: str) -> dict[bytes, StoredTurn]:
        """The turns there are among ``keys``; their session counts as used."""
        wanted = list(keys)
        return self._guard(lambda db: self._get(db, wanted, session), {})

    def delete(self, key: bytes) -> None:
        """Forgets one turn, damaged as it was."""
        self._guard(lambda db: self._delete(db, key), None)

    def close(self) -> None:
        """Closes the file; the write-ahead log is folded into it."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None

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

    def _guard(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        if self._db is None:
            return otherwise
        try:
            result = work(self._db)
            self._failing = False
            return result
        except sqlite3.DatabaseError as error:
            # Damage is the bare class; locks, full disks and the like are its children.
            if type(error) is sqlite3.DatabaseError:
                self._replace(str(error))
            elif not self._failing:
                self._failing = True
                self._warn(f"{self._path} can't be used just now ({error}); turns stay in memory")
            return otherwise

    def _open(self) -> None:
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:
                self._replace(str(error))
            else:
                self._give_up(str(error))
        except OSError as error:
            self._give_up(error.strerror or str(error))

    def _connect(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        self._path.chmod(0o600)
        db = sqlite3.connect(self._path, timeout=0.5)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != _VERSION:
                db.executescript(
                    "DROP TABLE IF EXISTS turns; DROP TABLE IF EXISTS sessions;" + _SCHEMA
                )
            (self._bytes,) = db.execute("SELECT coalesce(sum(size), 0) FROM turns").fetchone()
            (self._tick,) = db.execute("SELECT coalesce(max(used), 0) FROM sessions").fetchone()
        except BaseException:
            db.close()
            raise
        self._db = db

    def _replace(self, reason: str) -> None:
        """Moves a damaged file aside, over an older one, and begins anew."""
        self.close()
        aside = self._path.with_name(self._path.name + ".corrupt")
        try:
            os.replace(self._path, aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self._connect()
        except (OSError, sqlite3.Error) as error:
            self._give_up(str(error))
        else:
            self._warn(
                f"{self._path} was damaged ({reason}); kept as {aside.name}, a new one began"
            )

    def _give_up(self, reason: str) -> None:
        self._db = None
        self._warn(
            f"{self._path} can't be opened ({reason}); generated turns end with this process"
        )
