"""The file: private, recoverable, locked to one process, and whole after a kill."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from anyclaude.errors import ConfigError, UsageError
from anyclaude.events import SystemEvent
from anyclaude.logs.database import is_corrupt, locked_by, one_line, wal_of
from anyclaude.logs.file import query_file
from tests.logs.clock import message, record
from tests.logs.conftest import OpenLog


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _start(script: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(script: str, *args: object, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, args)],
        capture_output=True,
        text=True,
        env=env,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_folder_and_files_are_the_owners_alone(open_log: OpenLog, path: Path) -> None:
    old = os.umask(0o022)
    try:
        log = await open_log()
        await log.record(record("req_1"), (), (message("secret"),))
        assert _mode(path.parent) == 0o700
        assert (_mode(path), _mode(wal_of(path))) == (0o600, 0o600)
        await log.query("SELECT * FROM checkpoint()", 1)  # DuckDB removes its log here
        await log.record(record("req_2"))
        assert (_mode(path), _mode(wal_of(path))) == (0o600, 0o600)
    finally:
        os.umask(old)


async def test_a_folder_that_was_there_keeps_its_mode(open_log: OpenLog, path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    before = _mode(path.parent)
    await open_log()
    assert _mode(path.parent) == before


@pytest.mark.parametrize("content", [b"", b"x", b"not a database " * 5_000])
async def test_a_damaged_file_is_moved_aside_and_reported(
    open_log: OpenLog, path: Path, reported: list[SystemEvent], content: bytes
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    log = await open_log()
    await log.record(record("req_1"))
    (moved,) = path.parent.glob("anyclaude.duckdb.corrupt-*")
    assert moved.read_bytes() == content
    assert moved.name == "anyclaude.duckdb.corrupt-20260921T141320Z"
    assert [(e.level, e.kind) for e in reported] == [("error", "log")]
    assert str(moved) in reported[0].message
    assert [r.id for r in await log.requests(10)] == ["req_1"]


async def test_a_second_damaged_file_does_not_overwrite_the_first(
    open_log: OpenLog, path: Path
) -> None:
    path.parent.mkdir()
    for content in (b"one", b"two"):
        path.write_bytes(content)
        log = await open_log()
        await log.close()
    kept = sorted(path.parent.glob("anyclaude.duckdb.corrupt-*"))
    assert [file.read_bytes() for file in kept] == [b"one", b"two"]


async def test_flipped_bytes_in_a_block_move_the_file_aside(
    open_log: OpenLog, path: Path, reported: list[SystemEvent]
) -> None:
    log = await open_log()
    await log.record(record("req_1"))
    await log.close()
    with path.open("r+b") as file:
        for block in (4096, 8192):
            file.seek(block + 16)
            file.write(b"\xff" * 64)
    await open_log()
    assert len(reported) == 1
    assert "Corrupt database file" in reported[0].detail


async def test_damaged_newest_rows_do_not_cost_the_older_ones(
    open_log: OpenLog, path: Path, reported: list[SystemEvent]
) -> None:
    log = await open_log()
    await log.record(record("req_old"))
    await log.query("SELECT * FROM checkpoint()", 1)
    await log.record(record("req_new"))
    await log.record(record("req_newest"))
    wal = wal_of(path).read_bytes()
    file = path.read_bytes()
    await log.close()

    path.write_bytes(file)
    inside = len(wal) // 4  # of the first entry, so that it can't be taken for a torn end
    wal_of(path).write_bytes(wal[:inside] + bytes([wal[inside] ^ 0xFF]) + wal[inside + 1 :])
    log = await open_log()
    assert [r.id for r in await log.requests(10)] == ["req_old"]
    (moved,) = path.parent.glob("*.corrupt-*.wal")
    assert str(moved) in reported[0].message


async def test_another_programs_database_is_refused(open_log: OpenLog, path: Path) -> None:
    path.parent.mkdir()
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE requests (a INTEGER)")
    with pytest.raises(ConfigError, match=r"not anyclaude's log.*--db"):
        await open_log()


async def test_a_newer_schema_is_refused(open_log: OpenLog, path: Path) -> None:
    log = await open_log()
    await log.close()
    with duckdb.connect(str(path)) as con:
        con.execute("INSERT INTO schema_migrations VALUES (999, 'later', now()::TIMESTAMP)")
    with pytest.raises(ConfigError, match="newer anyclaude"):
        await open_log()
    with duckdb.connect(str(path)) as con:
        assert con.execute("SELECT count(*) FROM requests").fetchall() == [(0,)]


async def test_a_folder_in_the_files_place_is_refused(open_log: OpenLog, path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ConfigError, match="Is a directory"):
        await open_log()


async def test_a_file_in_the_folders_place_is_refused(open_log: OpenLog, path: Path) -> None:
    path.parent.write_text("")
    with pytest.raises(ConfigError, match="folder"):
        await open_log()


_HOLD = """
import sys, duckdb
con = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_file_held_by_another_process_names_it(open_log: OpenLog, path: Path) -> None:
    path.parent.mkdir()
    holder = _start(_HOLD, path)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=rf"in use by process {holder.pid} \(.*--db"):
            await open_log()
        with pytest.raises(UsageError, match=rf"process {holder.pid} .*running server"):
            query_file(path, "SELECT 1", 1)
    finally:
        holder.communicate()


@pytest.mark.parametrize(
    ("text", "who"),
    [
        (
            'IO Error: Could not set lock on file "/a": Conflicting lock is held in /usr/bin/py '
            "(PID 12). See also",
            "process 12 (/usr/bin/py)",
        ),
        (
            'IO Error: Could not set lock on file "/a": Conflicting lock is held in PID 12.',
            "process 12",
        ),
        ('IO Error: Could not set lock on file "/a": Resource busy', "another process"),
        ("IO Error: No such file", None),
    ],
)
def test_the_holder_is_read_from_duckdbs_words(text: str, who: str | None) -> None:
    assert locked_by(duckdb.IOException(text)) == who


def test_a_message_loses_its_source_excerpt() -> None:
    text = 'Binder Error: no column "a"\nCandidate bindings: "b"\n\nLINE 1: SELECT a\n      ^'
    assert one_line(duckdb.Error(text)) == 'Binder Error: no column "a" Candidate bindings: "b"'


_RECORD_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from anyclaude.logs.log import RequestLog
from anyclaude.records import StoredMessage
from tests.logs.clock import call, record

async def main():
    log = await RequestLog.open(
        Path(sys.argv[1]), retention_days=0, bodies=True, report=print
    )
    n = 0
    async def client():
        nonlocal n
        while True:
            n += 1
            id = f"req_{n}"
            body = StoredMessage(id, "user", "text " * 2000)
            await log.record(record(id), (call(id),), (body,))
            print(id, flush=True)
    await asyncio.gather(*(client() for _ in range(4)))

asyncio.run(main())
"""


async def test_a_kill_loses_no_row_that_was_recorded(open_log: OpenLog, path: Path) -> None:
    writer = _start(_RECORD_FOR_EVER, path)
    assert writer.stdout is not None
    seen = [writer.stdout.readline().strip() for _ in range(150)]
    os.kill(writer.pid, signal.SIGKILL)
    rest, errors = writer.communicate()
    seen += rest.split("\n")[:-1]
    assert len(seen) >= 150, errors
    assert all(id.startswith("req_") for id in seen), seen
    log = await open_log()
    for table, column in (
        ("requests", "id"), ("tool_calls", "request_id"), ("request_messages", "request_id"),
        ("messages", "hash"),
    ):  # fmt: skip
        stored = {row[0] for row in (await log.query(f"SELECT {column} FROM {table}", 10**6)).rows}
        assert stored >= set(seen)


_EXIT_WITHOUT_CLOSE = """
import asyncio, sys
from pathlib import Path
from anyclaude.events import SystemEvent
from anyclaude.logs.log import RequestLog

async def main():
    log = await RequestLog.open(
        Path(sys.argv[1]), retention_days=0, bodies=True, report=print
    )
    log.post(SystemEvent(0.0, "error", "error", "the console crashed"))

asyncio.run(main())
"""


async def test_a_crash_elsewhere_still_writes_what_is_queued(open_log: OpenLog, path: Path) -> None:
    _run(_EXIT_WITHOUT_CLOSE, path)
    log = await open_log()
    result = await log.query("SELECT message FROM events", 10)
    assert result.rows == (("the console crashed",),)


_FULL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from anyclaude.logs.log import RequestLog
from tests.logs.clock import message, record

reported = []

async def main():
    log = await RequestLog.open(
        Path(sys.argv[1]), retention_days=0, bodies=True, report=reported.append
    )
    await log.record(record("req_before"))
    free, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    for n in range(3):
        await log.record(record(f"req_{n}"), (), (message(f"{n}" * 5000),))
    inside = await log.requests(10)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, most))
    await log.record(record("req_after"))
    ids = sorted(r.id for r in await log.requests(10))
    await log.close()
    print([r.id for r in inside])
    print(ids)
    for event in reported:
        print(event.level, event.kind, event.message)

asyncio.run(main())
"""


async def test_a_full_disk_is_reported_once_and_costs_no_row(path: Path) -> None:
    lines = _run(_FULL_DISK, path).splitlines()
    assert lines[0] == "['req_before']"
    assert lines[1] == "['req_0', 'req_1', 'req_2', 'req_after', 'req_before']"
    assert len(lines) == 4
    assert lines[2].startswith("error log ")
    assert "File too large" in lines[2]
    assert "free disk space" in lines[2]
    assert lines[3].startswith("info log ")
    assert "can be written again" in lines[3]


async def test_a_deleted_file_is_started_anew(
    open_log: OpenLog, path: Path, reported: list[SystemEvent]
) -> None:
    log = await open_log()
    await log.record(record("req_1"))
    path.unlink()
    wal_of(path).unlink()
    await log.record(record("req_2"))
    await log.record(record("req_3"))
    assert {r.id for r in await log.requests(10)} == {"req_2", "req_3"}
    assert [e.level for e in reported] == ["error", "info"]


async def test_an_open_database_is_reopened_after_damage(
    open_log: OpenLog, path: Path, reported: list[SystemEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB finds damage when it reads a block; here the writer is told so."""
    from anyclaude.logs import writer as writer_module
    from anyclaude.logs.rows import store

    log = await open_log()
    await log.record(record("req_1"))
    damage = [duckdb.Error("Corrupt database file: computed checksum 1 does not match")]

    def failing_store(con: Any, entries: Any, **options: Any) -> set[str]:
        if damage:
            raise damage.pop()
        return store(con, entries, **options)

    monkeypatch.setattr(writer_module, "store", failing_store)
    await log.record(record("req_2"))
    await log.record(record("req_3"))
    assert {r.id for r in await log.requests(10)} == {"req_2", "req_3"}
    (moved,) = path.parent.glob("*.corrupt-*Z")
    with duckdb.connect(str(moved)) as con:
        assert con.execute("SELECT id FROM requests").fetchall() == [("req_1",)]
    assert [e.level for e in reported] == ["error", "error", "info"]


@pytest.mark.parametrize(
    ("error", "damaged"),
    [
        (duckdb.IOException("is not a valid DuckDB database file!"), True),
        (duckdb.IOException("No space left on device"), False),
        (duckdb.IOException('Failure while replaying WAL file "a": Could not write file'), False),
        (OSError("Corrupt database file"), False),
    ],
)
def test_only_duckdbs_words_about_the_file_count_as_damage(error: Exception, damaged: bool) -> None:
    assert is_corrupt(error) is damaged
