"""The tier on disk: what it keeps, what it deletes, and what it survives."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from anyclaude.caches.response.persistent import DAY_S, PersistentOptions, PersistentTier
from tests.caches.response.kit import Clock, Reports

Make = Callable[..., PersistentTier]


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
async def make(tmp_path: Path, clock: Clock, reports: Reports) -> AsyncIterator[Make]:
    tiers: list[PersistentTier] = []

    def build(name: str = "responses.sqlite", **options: float) -> PersistentTier:
        tier = PersistentTier(
            tmp_path / name,
            PersistentOptions(**{"read_timeout_s": 30.0, **options}),  # type: ignore[arg-type]
            wall=clock,
            report=reports,
        )
        tiers.append(tier)
        tier.start()
        return tier

    yield build
    for tier in tiers:
        tier.close()


async def test_what_was_put_is_there_after_a_restart(make: Make, clock: Clock) -> None:
    tier = make()
    assert await tier.put(digest(1), b"answer", clock())
    tier.close()
    again = make()
    assert await again.get(digest(1)) == b"answer"
    assert await again.get(digest(2)) is None
    assert (again.stats().tier, again.stats().entries) == ("response-disk", 1)
    assert again.stats().bytes >= len(b"answer")


async def test_a_second_put_takes_the_place_of_the_first(make: Make, clock: Clock) -> None:
    tier = make()
    await tier.put(digest(1), b"one", clock())
    await tier.put(digest(1), b"two", clock())
    assert await tier.get(digest(1)) == b"two" and tier.stats().entries == 1
    assert await tier.delete(digest(1))
    assert await tier.get(digest(1)) is None and tier.stats().bytes == 0


async def test_many_at_once_are_all_written(make: Make, clock: Clock) -> None:
    tier = make()
    done = await asyncio.gather(*(tier.put(digest(n), b"x%d" % n, clock()) for n in range(600)))
    assert all(done) and tier.stats().entries == 600
    found = await asyncio.gather(*(tier.get(digest(n)) for n in range(600)))
    assert found == [b"x%d" % n for n in range(600)]


async def test_an_answer_is_over_after_its_days(make: Make, clock: Clock) -> None:
    tier = make(days=30)
    await tier.put(digest(1), b"answer", clock())
    clock.forward(30 * DAY_S - 1)
    assert await tier.get(digest(1)) == b"answer"
    clock.forward(1)
    assert await tier.get(digest(1)) is None
    await tier.put(digest(2), b"later", clock())
    assert tier.stats().entries == 1


async def test_those_used_longest_ago_go_first(make: Make, clock: Clock) -> None:
    tier = make(limit_bytes=20_000)
    for number in range(4):
        await tier.put(digest(number), bytes(4500), clock())
        clock.forward(1)
    assert await tier.get(digest(0)) is not None
    clock.forward(1)
    await tier.put(digest(9), bytes(4500), clock())
    held = [number for number in (0, 1, 2, 3, 9) if await tier.get(digest(number))]
    assert held == [0, 3, 9]
    assert tier.stats().evictions == 2 and tier.stats().bytes <= 18_000
    assert not await tier.put(digest(10), bytes(6000), clock()), "too large a share"


async def test_the_file_is_its_owners_alone(make: Make, tmp_path: Path, clock: Clock) -> None:
    tier = make("deep/er/responses.sqlite")
    await tier.put(digest(1), b"x", clock())
    assert stat.S_IMODE((tmp_path / "deep/er").stat().st_mode) == 0o700
    for file in (tmp_path / "deep/er").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


async def test_a_flush_leaves_nothing_in_the_files(
    make: Make, tmp_path: Path, clock: Clock
) -> None:
    secret = b"the secret of the house"
    (tmp_path / "responses.sqlite.corrupt").write_bytes(secret)
    (tmp_path / "responses.sqlite.old").write_bytes(secret)
    tier = make()
    for number in range(50):
        await tier.put(digest(number), secret * 200, clock())
    await tier.delete(digest(3))
    assert _holds(tmp_path, secret)
    entries, size = await tier.flush()
    assert entries == 49 and size > 49 * len(secret) * 200
    assert not _holds(tmp_path, secret)
    assert (tier.stats().entries, tier.stats().bytes) == (0, 0)
    assert await tier.put(digest(1), b"new", clock())


def _holds(folder: Path, text: bytes) -> bool:
    return any(text in file.read_bytes() for file in folder.iterdir() if file.is_file())


async def test_a_read_elsewhere_does_not_keep_a_flush_from_deleting(
    make: Make, tmp_path: Path, clock: Clock, reports: Reports
) -> None:
    tier = make()
    await tier.put(digest(1), b"the secret", clock())
    other = sqlite3.connect(tmp_path / "responses.sqlite", isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM entries").fetchone()
    await tier.flush()
    assert await tier.get(digest(1)) is None
    assert reports.messages, "a person is told that it isn't all gone yet"
    other.execute("COMMIT")
    other.close()
    await tier.flush()
    assert not _holds(tmp_path, b"the secret")


# ------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    "damage", [b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4096]
)
async def test_a_damaged_file_is_moved_aside(
    make: Make, tmp_path: Path, clock: Clock, reports: Reports, damage: bytes
) -> None:
    (tmp_path / "responses.sqlite").write_bytes(damage)
    tier = make()
    assert await tier.put(digest(1), b"x", clock())
    assert (tmp_path / "responses.sqlite.corrupt").read_bytes() == damage
    assert len(reports.messages) == 1 and "damaged" in reports.messages[0]


async def test_a_file_damaged_while_it_is_open_is_replaced(
    make: Make, tmp_path: Path, clock: Clock, reports: Reports
) -> None:
    tier = make()
    for number in range(200):
        await tier.put(digest(number), os.urandom(2000), clock())
    tier.close()
    path = tmp_path / "responses.sqlite"
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(bytes(data))
    again = make()
    assert await again.get(digest(5)) is None
    assert await again.put(digest(5), b"new", clock())
    assert await again.get(digest(5)) == b"new"
    assert any("damaged" in message for message in reports.messages)


@pytest.mark.parametrize("version", [0, 99])
async def test_a_file_of_another_release_is_moved_aside(
    make: Make, tmp_path: Path, clock: Clock, reports: Reports, version: int
) -> None:
    with sqlite3.connect(tmp_path / "responses.sqlite") as db:
        db.executescript(f"CREATE TABLE entries (other TEXT); PRAGMA user_version = {version}")
    db.close()
    tier = make()
    assert await tier.put(digest(1), b"x", clock())
    assert (tmp_path / "responses.sqlite.old").exists()
    assert len(reports.messages) == 1 and "another release" in reports.messages[0]


async def test_a_locked_file_costs_an_answer_and_one_event(
    make: Make, tmp_path: Path, clock: Clock, reports: Reports
) -> None:
    tier = make()
    await tier.put(digest(1), b"x", clock())
    other = sqlite3.connect(tmp_path / "responses.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert not await tier.put(digest(2), b"y", clock())
    assert not await tier.put(digest(3), b"z", clock())
    assert await tier.get(digest(1)) == b"x", "reading goes on"
    assert len([m for m in reports.messages if "locked" in m]) >= 1
    other.execute("ROLLBACK")
    other.close()
    assert await tier.put(digest(2), b"y", clock())
    assert tier.stats().entries == 2, "what failed doesn't count"


async def test_a_full_disk_costs_an_answer_and_one_event(
    make: Make, clock: Clock, reports: Reports
) -> None:
    tier = make()
    await tier.put(digest(1), b"x", clock())
    pages = await tier.read(lambda db: db.execute("PRAGMA page_count").fetchone()[0], 0)
    await tier.read(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchall(), [])
    done = [await tier.put(digest(number), bytes(9000), clock()) for number in range(2, 6)]
    assert not any(done)
    assert len(reports.messages) == 1 and "full" in reports.messages[0]
    assert await tier.get(digest(1)) == b"x"
    await tier.read(lambda db: db.execute("PRAGMA max_page_count = 100000").fetchall(), [])
    assert await tier.put(digest(2), bytes(9000), clock())
    assert tier.stats().entries == 2


async def test_a_folder_that_anyone_may_write_to_is_refused(
    make: Make, tmp_path: Path, clock: Clock, reports: Reports
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    tier = make("open/responses.sqlite")
    assert not await tier.put(digest(1), b"x", clock())
    assert await tier.get(digest(1)) is None
    assert await tier.flush() == (0, 0)
    assert len(reports.messages) == 1 and "anyone may write" in reports.messages[0]
    assert not (tmp_path / "open/responses.sqlite").exists()


async def test_a_link_in_its_place_is_not_followed(
    make: Make, tmp_path: Path, clock: Clock, reports: Reports
) -> None:
    (tmp_path / "mine").write_bytes(b"")
    (tmp_path / "responses.sqlite").symlink_to(tmp_path / "mine")
    tier = make()
    assert not await tier.put(digest(1), b"x", clock())
    assert (tmp_path / "mine").read_bytes() == b"" and len(reports.messages) == 1


async def test_a_read_that_hangs_counts_as_a_miss(make: Make, clock: Clock) -> None:
    tier = make(read_timeout_s=0.001)
    await tier.put(digest(1), b"x", clock())
    held, let_go = threading.Event(), threading.Event()

    def hang(db: sqlite3.Connection) -> None:
        held.set()
        let_go.wait()

    hanging = asyncio.create_task(tier.read(hang, None))
    await asyncio.to_thread(held.wait)
    assert await tier.get(digest(1)) is None
    let_go.set()
    await hanging


async def test_a_put_nobody_waits_for_is_written_all_the_same(make: Make, clock: Clock) -> None:
    tier = make()
    task = asyncio.create_task(tier.put(digest(1), b"x", clock()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert await tier.put(digest(2), b"y", clock())
    assert await tier.get(digest(1)) == b"x"


async def test_after_the_close_nothing_happens(make: Make, clock: Clock) -> None:
    tier = make()
    tier.close()
    assert not await tier.put(digest(1), b"x", clock())
    assert await tier.get(digest(1)) is None
    assert await tier.flush() == (0, 0)
    tier.close()


_WRITER = """
import asyncio, sys, time
from pathlib import Path
from anyclaude.caches.response.persistent import PersistentOptions, PersistentTier

async def main():
    tier = PersistentTier(
        Path(sys.argv[1]), PersistentOptions(), wall=time.time, report=lambda event: None
    )
    tier.start()
    async def put(number):
        if await tier.put(number.to_bytes(32, "big"), b"%d" % number * 300, time.time()):
            sys.stdout.write(f"{number}\\n")
            sys.stdout.flush()
    for start in range(0, 100_000, 20):
        await asyncio.gather(*(put(start + n) for n in range(20)))

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_that_was_acknowledged(
    make: Make, tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "responses.sqlite"
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WRITER, str(path)), stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    said = [await writer.stdout.readline() for _ in range(200)]
    writer.kill()
    rest, _ = await writer.communicate()
    said += rest.splitlines(keepends=True)
    numbers = [int(line) for line in said if line.endswith(b"\n")]
    assert len(numbers) >= 200
    clock.now = path.stat().st_mtime
    tier = make()
    for number in numbers:
        assert await tier.get(digest(number)) == b"%d" % number * 300, number
