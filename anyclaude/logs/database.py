"""The DuckDB file: opened privately, locked down, and never lost to a bad byte.

The file and its write-ahead log are readable by their owner alone. A damaged file is moved
aside under a dated name and a new one started, so that a log can't keep the server from
running. Nothing that runs here may touch another file, the network or an extension: DuckDB's
external access is off and its configuration locked, for the writer as for every query.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb

from anyclaude.errors import ConfigError, Unavailable
from anyclaude.logs.migrations import migrate

OPTIONS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "enable_external_access": False,
    "python_enable_replacements": False,
    # Spilled rows would land in a folder of the default mode; a query too big fails instead.
    "temp_directory": "",
    "memory_limit": "512MB",
    # With glibc, DuckDB's own threads end every pause by giving the whole process's free memory
    # back to the system, which the model then has to fetch again page by page.
    "threads": 1 if sys.platform == "linux" else 2,
}

_CORRUPT = (
    "not a valid DuckDB database file",
    "Corrupt database file",
    "Corrupt WAL file",
    "Failure while replaying WAL",
    "Could not read enough bytes",
    "Failed to deserialize",
    "Serialization Error",
)
_NOT_THE_FILE = ("No space left", "Could not write", "Out of Memory", "Permission denied")
_READERS_LEAVE_S = 2.0


def one_line(error: BaseException) -> str:
    """A DuckDB message without its source excerpt, on one line."""
    kept: list[str] = []
    for line in str(error).splitlines():
        if line.startswith("LINE ") or (kept and not line.strip()):
            break
        kept.append(line.strip())
    return " ".join(kept)


def is_corrupt(error: BaseException) -> bool:
    """Whether DuckDB says that the file itself is damaged."""
    text = str(error)
    return (
        isinstance(error, duckdb.Error)
        and any(words in text for words in _CORRUPT)
        and not any(words in text for words in _NOT_THE_FILE)
    )


def locked_by(error: BaseException) -> str | None:
    """Who holds the file, when that is what the error says."""
    text = str(error)
    if "Could not set lock" not in text and "used by another process" not in text:
        return None
    number = re.search(r"PID (\d+)", text)
    program = re.search(r"held in (\S.*?) \(PID", text)
    if number is None:
        return "another process"
    return f"process {number[1]}" + (f" ({program[1]})" if program else "")


def connect(path: Path | str, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A locked-down connection whose clock is UTC; raises :class:`duckdb.Error`."""
    con = duckdb.connect(str(path), read_only=read_only, config=OPTIONS)
    try:
        locked = con.execute("SELECT current_setting('lock_configuration')").fetchone()
        # Already locked when this process has the same file open elsewhere.
        if locked is None or not locked[0]:
            # Not possible as an option: ICU loads after the options are read.
            con.execute("SET GLOBAL TimeZone = 'UTC'")
            con.execute("SET lock_configuration = true")
        return con
    except BaseException:
        con.close()
        raise


def wal_of(path: Path) -> Path:
    """DuckDB's write-ahead log beside the file."""
    return path.with_name(path.name + ".wal")


class Database:
    """The open file: one connection for the writer, cursors for readers.

    :meth:`reader` may be used from any thread; everything else belongs to the writer's.
    """

    def __init__(
        self, path: Path, *, now: Callable[[], float], moved: Callable[[str, str], None]
    ) -> None:
        """``moved(message, detail)`` hears of every file that was moved aside."""
        self.path = path
        self._now = now
        self._moved = moved
        self._root: duckdb.DuckDBPyConnection | None = None
        self._writer: duckdb.DuckDBPyConnection | None = None
        self._readers: set[duckdb.DuckDBPyConnection] = set()
        self._changed = threading.Condition()

    # ------------------------------------------------------------------------------ opening

    def open(self) -> None:
        """Opens or creates the file and brings its schema up to date.

        Raises :class:`ConfigError` when it can't be used as it stands: locked, not permitted,
        not a file, another program's, or from a newer release.
        """
        _make_folder(self.path.parent)
        for _ in range(3):
            try:
                root = self._connect()
                break
            except duckdb.Error as error:
                if not is_corrupt(error):
                    raise self._explain(error) from error
                self._move_aside(error)
        else:
            raise ConfigError(f"{self.path} can't be opened; name another file with --db")
        with self._changed:
            self._root = root
            self._writer = root.cursor()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        con = connect(self.path)
        try:
            self.keep_private()
            migrate(con, str(self.path))
            return con
        except OSError as error:
            con.close()
            raise ConfigError(
                f"{self.path} can't be made private to its owner: {error.strerror}; "
                "change its owner, or name another file with --db"
            ) from error
        except BaseException:
            con.close()
            raise

    def keep_private(self) -> None:
        """Makes both files 0600, the log before DuckDB creates it: it does so with 0644."""
        wal = wal_of(self.path)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(wal, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        for file in (self.path, wal):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)

    def _explain(self, error: duckdb.Error) -> ConfigError:
        holder = locked_by(error)
        if holder:
            return ConfigError(
                f"{self.path} is in use by {holder}: stop it, or name another file with --db"
            )
        if isinstance(error, duckdb.CatalogException):
            return ConfigError(
                f"{self.path} is a DuckDB database but not anyclaude's log "
                f"({one_line(error)}): name another file with --db"
            )
        return ConfigError(
            f"{self.path} can't be opened as the log database: {one_line(error)}; "
            "make it writable, or name another file with --db"
        )

    def _move_aside(self, error: duckdb.Error) -> None:
        suffix = time.strftime("corrupt-%Y%m%dT%H%M%SZ", time.gmtime(self._now()))
        target = self.path.with_name(f"{self.path.name}.{suffix}")
        count = 1
        while target.exists() or wal_of(target).exists():
            count += 1
            target = self.path.with_name(f"{self.path.name}.{suffix}-{count}")
        wal = wal_of(self.path)
        only_wal = "WAL" in str(error) and "read enough bytes" not in str(error) and wal.exists()
        try:
            if wal.exists():
                wal.rename(wal_of(target))
            if not only_wal:
                self.path.rename(target)
        except OSError as failure:
            raise ConfigError(
                f"{self.path} is damaged ({one_line(error)}) and can't be moved aside: {failure}; "
                "move it yourself, or name another file with --db"
            ) from failure
        if only_wal:
            message = (
                f"the newest rows of {self.path} are damaged and were moved to "
                f"{wal_of(target)}; the log goes on with the older ones"
            )
        else:
            message = (
                f"the log database {self.path} is damaged and was moved to {target}; "
                "a new one was started"
            )
        self._moved(message, one_line(error))

    # ------------------------------------------------------------------------------- in use

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    @property
    def writer(self) -> duckdb.DuckDBPyConnection:
        """The writer's connection; raises :class:`Unavailable` when the file isn't open."""
        if self._writer is None:
            raise Unavailable(f"the log database {self.path} is not open", retry_after=1.0)
        return self._writer

    @contextlib.contextmanager
    def reader(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor of its own, closed at the end; :class:`Unavailable` when none can be had."""
        with self._changed:
            if self._root is None:
                raise Unavailable(f"the log database {self.path} is not open", retry_after=1.0)
            try:
                cursor = self._root.cursor()
            except duckdb.Error as error:
                raise Unavailable(
                    f"the log database {self.path} can't be read: {one_line(error)}",
                    retry_after=1.0,
                ) from error
            self._readers.add(cursor)
        try:
            yield cursor
        finally:
            with self._changed:
                self._readers.discard(cursor)
                cursor.close()
                self._changed.notify_all()

    def reopen(self, error: BaseException | None = None) -> None:
        """Closes and opens again; the file goes aside first if ``error`` says it is damaged."""
        self._disconnect(checkpoint=False)
        if isinstance(error, duckdb.Error) and is_corrupt(error):
            self._move_aside(error)
        self.open()

    def close(self) -> None:
        """Interrupts the readers, writes everything into the one file and lets go of it."""
        self._disconnect(checkpoint=True)

    def _disconnect(self, *, checkpoint: bool) -> None:
        with self._changed:
            root, writer = self._root, self._writer
            self._root = self._writer = None
        if root is None or writer is None:
            return
        self._dismiss_readers()
        with contextlib.suppress(duckdb.Error):
            if checkpoint:
                writer.execute("CHECKPOINT")
        writer.close()
        root.close()
        wal = wal_of(self.path)
        with contextlib.suppress(OSError):
            if wal.stat().st_size == 0:
                wal.unlink()

    def _dismiss_readers(self) -> None:
        deadline = time.monotonic() + _READERS_LEAVE_S
        with self._changed:
            while self._readers and time.monotonic() < deadline:
                for cursor in self._readers:
                    cursor.interrupt()
                # An interrupt before the query has begun is lost, hence the loop.
                self._changed.wait(0.02)


def _make_folder(folder: Path) -> None:
    missing = [folder, *folder.parents]
    missing = missing[: next(i for i, parent in enumerate(missing) if parent.exists())]
    try:
        for parent in reversed(missing):
            parent.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(
            f"the folder {folder} for the log database can't be made: {error.strerror}; "
            "name another file with --db"
        ) from error
