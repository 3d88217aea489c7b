"""A SQLite file that is a cache: what every such file needs, whatever its tables are.

It is readable by its owner alone and in WAL mode. A damaged one is moved aside and a new one
begun; one that can't be used just now (locked, disk full) costs its owner an answer, never a
request. All of it belongs to the one thread that made it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")

LOCKED_S = 0.5
"""How long another process's lock is waited for."""


class SqliteFile:
    """The file at ``path``, whose tables ``schema`` makes.

    One with another ``user_version`` than ``version`` is moved ``aside``, or its tables and what
    is in them are dropped. ``opened`` is called with each new connection, ``warn`` with a
    sentence for a person when something went wrong, once until it works again; ``loss`` is how
    that sentence ends.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        version: int,
        *,
        opened: Callable[[sqlite3.Connection], None],
        warn: Callable[[str], None],
        loss: str,
        other_version: Literal["aside", "drop"] = "aside",
        synchronous: Literal["NORMAL", "FULL"] = "FULL",
    ) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._opened = opened
        self._warn = warn
        self._loss = loss
        self._other_version = other_version
        self._synchronous = synchronous
        self._failing = False
        self._db: sqlite3.Connection | None = None
        self.open()

    @property
    def is_open(self) -> bool:
        return self._db is not None

    def run(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """What ``work`` returns, or ``otherwise`` where the file can't be used; never raises."""
        if self._db is None:
            return otherwise
        try:
            result = work(self._db)
        except sqlite3.DatabaseError as error:
            # Damage is the bare class; locks, full disks and the like are its children.
            if type(error) is sqlite3.DatabaseError:
                self._replace(str(error))
            elif not self._failing:
                self._failing = True
                self._warn(f"{self.path} can't be used just now ({error}); {self._loss}")
            return otherwise
        self._failing = False
        return result

    def open(self) -> None:
        """Opens the file unless it is; tried again after a failure, it says nothing new."""
        if self._db is not None:
            return
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:
                self._replace(str(error))
            else:
                self._give_up(str(error))
        except OSError as error:
            self._give_up(error.strerror or str(error))
        else:
            self._failing = False

    def close(self) -> None:
        """Closes the file; the write-ahead log is folded into it."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def delete_asides(self) -> None:
        """Deletes the files that were moved aside; raises OSError."""
        for name in ("corrupt", "old"):
            self._beside(f".{name}").unlink(missing_ok=True)

    # ------------------------------------------------------------------------------- inside

    def _connect(self) -> None:
        folder = self.path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & stat.S_IWOTH:
            raise OSError(errno.EPERM, f"anyone may write to its folder {folder}")
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
        self.path.chmod(0o600)
        db = self._begin()
        try:
            (found,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables and found != self._version:
                if self._other_version == "aside":
                    db.close()
                    self._move("old")
                    self._warn(
                        f"{self.path} is of another release (its format is {found}, not"
                        f" {self._version}); kept as {self.path.name}.old, a new one began"
                    )
                    self._connect()
                    return
                _drop_all(db)
                tables = 0
            if not tables:
                db.executescript(
                    f"BEGIN; {self._schema} PRAGMA user_version = {self._version}; COMMIT;"
                )
            self._opened(db)
        except BaseException:
            db.close()
            raise
        self._db = db

    def _begin(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=LOCKED_S)
        try:
            db.execute("PRAGMA secure_delete = ON")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
        except BaseException:
            db.close()
            raise
        return db

    def _replace(self, reason: str) -> None:
        """Moves a damaged file aside, over an older one, and begins anew."""
        self.close()
        try:
            self._move("corrupt")
            self._connect()
        except (OSError, sqlite3.Error) as error:
            self._give_up(str(error))
        else:
            self._warn(
                f"{self.path} was damaged ({reason}); kept as {self.path.name}.corrupt,"
                " a new one began"
            )

    def _move(self, name: str) -> None:
        os.replace(self.path, self._beside(f".{name}"))
        for suffix in ("-wal", "-shm"):
            self._beside(suffix).unlink(missing_ok=True)

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _give_up(self, reason: str) -> None:
        self._db = None
        if not self._failing:
            self._failing = True
            self._warn(f"{self.path} can't be opened ({reason}); {self._loss}")


def _drop_all(db: sqlite3.Connection) -> None:
    rows = db.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    for (name,) in rows:
        db.execute(f'DROP TABLE "{name}"')
