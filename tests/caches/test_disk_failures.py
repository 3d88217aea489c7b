"""Whatever goes wrong with the disk ends in an event and a cache that works."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anyclaude.caches.kv import disk_format, disk_shelf
from anyclaude.caches.kv.disk import DiskLimits, DiskTier
from anyclaude.events import SystemEvent
from tests.caches.disk_kit import SECONDS, TOKEN_BYTES, Kit, MakeKit, blob_for, tokens_of

PROMPT = tokens_of(*range(25))  # Three files.


def works(kit: Kit) -> None:
    """The tier still does all it should, and says nothing more."""
    kit.messages()
    kit.save(PROMPT)
    assert kit.read(PROMPT) == len(PROMPT)
    new = tokens_of("works", kit.now)
    kit.save(new)
    kit.restart()
    assert kit.read(new) == len(new)
    assert kit.read(PROMPT) == len(PROMPT)
    assert kit.messages() == []


def damage(path: Path, place: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit(kit: Kit, seed: int) -> None:
    rng = random.Random(seed)
    kit.save(PROMPT)
    which = rng.randrange(3)
    damage(kit.files()[which], rng.randrange(10**6), rng.randrange(8))
    kit.restart()
    assert kit.read(PROMPT) == which * 1024
    (message,) = kit.messages()
    assert "deleted" in message
    assert len(kit.files()) == 2
    works(kit)


def test_damage_while_the_tier_runs_keeps_what_is_before_it(kit: Kit) -> None:
    kit.save(PROMPT)
    damage(kit.files()[1], -1, 0)
    assert kit.tier.match(PROMPT).length == 2500
    assert kit.read(PROMPT) == 1024
    (message,) = kit.messages()
    assert message == (
        f"{kit.folder}/{kit.tier._shelf._folder.of(disk_format.model_digest('model')).name}/"
        f"{message.split()[0].rpartition('/')[2]} was deleted from the disk cache:"
        " its contents are damaged"
    )
    assert kit.tier.match(PROMPT).length == 1024
    assert [(r.start, r.stop) for r in kit.save(PROMPT)] == [(1024, 2048)]
    works(kit)


@pytest.mark.parametrize("which", ["head", "tail"])
def test_a_damaged_state_gives_way_to_the_one_before(make_kit: MakeKit, which: str) -> None:
    kit = make_kit(states=True)
    for end in (1100, 2100):
        kit.save(PROMPT[:end], states={end: 10})
    kit.save(PROMPT, states={2500: 10})
    states = kit.files("state")
    assert len(states) == 3
    damage(states[-1], 0 if which == "head" else -1, 0)
    if which == "head":
        kit.restart(states=True)
        assert kit.tier.match(PROMPT).length == 2100
    assert kit.read(PROMPT) == 2100
    damage(kit.files()[1], -1, 0)  # KV that the next state needs.
    assert kit.read(PROMPT) == 0
    assert kit.read(PROMPT[:1100]) == 0
    kit.save(PROMPT, states={2500: 10})
    assert kit.read(PROMPT) == 2500
    assert len(kit.messages()) == 2


def test_damaged_kv_leads_to_a_state_above_it(make_kit: MakeKit) -> None:
    kit = make_kit(states=True)
    kit.save(PROMPT[:1100], states={1100: 10})
    kit.save(PROMPT, states={2500: 10})
    damage(kit.files()[-1], -1, 0)
    assert kit.tier.match(PROMPT).length == 2500
    assert kit.read(PROMPT) == 1100


def test_a_truncated_file(kit: Kit) -> None:
    kit.save(PROMPT)
    for path, length in zip(kit.files(), (0, 50, -1), strict=True):
        os.truncate(path, length if length >= 0 else path.stat().st_size - 1)
    assert kit.read(PROMPT) == 0
    kit.restart()
    assert kit.read(PROMPT) == 0
    first, second = kit.messages()
    assert "was deleted" in first
    assert second == "files in the disk cache couldn't be used; deleted: 2 x damaged"
    works(kit)


def test_files_of_another_release(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.save(PROMPT)
    monkeypatch.setattr(disk_format, "VERSION", disk_format.VERSION + 1)
    kit.restart()
    assert kit.read(PROMPT) == 0
    assert kit.messages() == [
        "files in the disk cache couldn't be used; deleted: 3 x other version"
    ]
    works(kit)


def test_files_of_another_model_and_under_wrong_names(kit: Kit) -> None:
    kit.save(PROMPT)
    mine = kit.files()
    kit.open("other")
    kit.save(tokens_of("other"))
    (theirs,) = set(kit.files()) - set(mine)
    shutil.copy(theirs, mine[0].parent)
    shutil.copy(mine[0], mine[0].with_name(mine[0].name[:-4] + "0000"))
    kit.restart()
    assert kit.messages() == ["files in the disk cache couldn't be used; deleted: 2 x damaged"]
    assert kit.read(PROMPT) == len(PROMPT)
    works(kit)


def test_strange_files_are_left_alone(kit: Kit) -> None:
    kit.save(PROMPT)
    folder = kit.files()[0].parent
    (folder / "notes.txt").write_text("hello", encoding="utf-8")
    (folder / ".DS_Store").write_text("hello", encoding="utf-8")
    (folder / kit.files()[0].name.replace("kv-", "state-")).mkdir()
    kit.restart()
    assert kit.messages() == ["files in the disk cache couldn't be used; left alone: 2 x not ours"]
    assert kit.read(PROMPT) == len(PROMPT)
    assert (folder / "notes.txt").exists()
    kit.tier.flush().result(SECONDS)
    assert (folder / "notes.txt").exists()


# --------------------------------------------------------------------------------- the disk


def test_a_full_disk_pauses_the_writing(kit: Kit) -> None:
    kit.save(PROMPT[:200])
    spent = kit.tier.stats().written_today
    kit.free = 10**9
    kit.save(PROMPT)
    assert kit.messages() == [
        f"{kit.folder} can't be written (less than 1 GB would be free); the disk cache tries"
        " again every 10 minutes, cache.l3 = false ends it"
    ]
    assert kit.tier.stats().paused
    assert (kit.tier.stats().queued, kit.tier.stats().written_today) == (0, spent)
    assert kit.save(PROMPT) == []
    assert kit.read(PROMPT) == 200
    kit.now += 601
    kit.save(PROMPT)
    assert kit.messages() == []  # It was said already.
    kit.now += 601
    kit.free = 10**12
    assert not kit.tier.stats().paused
    works(kit)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
def test_a_write_that_fails_in_the_middle(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    calls = 0

    def failing(handle: int, data: memoryview) -> int:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise OSError(code, os.strerror(code))
        return os_write(handle, data[: len(data) // 2 + 1])

    os_write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(disk_format.os, "write", failing)
        kit.save(PROMPT)
        (message,) = kit.messages()
    assert f"can't be written ({os.strerror(code)})" in message
    assert [p for p in kit.folder.rglob(".writing*")] == []
    assert kit.files() == []
    kit.now += 601
    works(kit)


def test_the_folder_is_deleted_while_in_use(kit: Kit) -> None:
    kit.save(PROMPT)
    folder = kit.files()[0].parent
    shutil.rmtree(kit.folder)
    assert kit.read(PROMPT) == 0
    assert kit.messages() == [f"{folder} was deleted; the disk cache begins anew"]
    assert kit.tier.stats().entries == 0
    works(kit)
    shutil.rmtree(kit.folder)
    kit.save(tokens_of("new", 1))
    assert kit.messages() == [f"{folder} was deleted; the disk cache begins anew"]
    assert kit.tier.match(PROMPT).length == 0
    works(kit)


def test_one_file_is_deleted_while_in_use(kit: Kit) -> None:
    kit.save(PROMPT)
    kit.files()[1].unlink()
    assert kit.read(PROMPT) == 1024
    (message,) = kit.messages()
    assert message.endswith("has gone from the disk cache")
    works(kit)


def test_a_file_that_cannot_be_read_is_left_and_written_again(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.save(PROMPT)

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(disk_shelf, "read_file", refused)
        assert kit.read(PROMPT) == 0
    (message,) = kit.messages()
    assert message.endswith("can't be read: Permission denied")
    assert len(kit.files()) == 3
    assert [(r.start, r.stop) for r in kit.save(PROMPT)] == [(0, 1024)]
    assert kit.tier.stats().nbytes == sum(f.stat().st_size for f in kit.files())
    works(kit)


def test_headers_that_cannot_be_read(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    from anyclaude.caches.kv import disk_folder

    kit.save(PROMPT)

    def refused(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(disk_folder, "read_header", refused)
        kit.restart()
    assert kit.messages() == [
        "files in the disk cache couldn't be used; left alone: 3 x unreadable (Permission denied)"
    ]
    kit.restart()
    works(kit)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "kv").write_text("in the way", encoding="utf-8")
    kit = Kit(tmp_path / "kv")
    kit.open()
    (message,) = kit.messages()
    assert message.startswith(f"{tmp_path}/kv can't be used for the disk cache: ")
    assert kit.save(PROMPT) == []
    assert kit.read(PROMPT) == 0
    assert kit.tier.flush().result(SECONDS).entries == 0
    (tmp_path / "kv").unlink()
    kit.open()
    works(kit)
    kit.tier.close(SECONDS)


def test_no_memory_to_read(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.save(PROMPT)

    def full(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(disk_shelf, "read_file", full)
        assert kit.read(PROMPT) == 0
    (message,) = kit.messages()
    assert message.startswith("no memory to read ")
    assert kit.read(PROMPT) == len(PROMPT)
    works(kit)


def test_an_error_that_nobody_thought_of_does_not_end_the_thread(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*_: object) -> None:
        raise ZeroDivisionError("odd")

    with monkeypatch.context() as patched:
        patched.setattr(disk_shelf, "encode", odd)
        kit.save(PROMPT[:100])
    assert kit.messages() == ["the disk cache failed: ZeroDivisionError: odd"]
    assert (kit.tier.stats().queued, kit.tier.stats().written_today) == (0, 0)
    with monkeypatch.context() as patched:
        kit.save(PROMPT[:100])
        patched.setattr(disk_shelf, "read_file", odd)
        assert kit.read(PROMPT) == 0
    assert kit.messages() == ["the disk cache failed: ZeroDivisionError: odd"]
    works(kit)


def test_nobody_listening_any_more_is_no_failure(tmp_path: Path) -> None:
    def closed(_: SystemEvent) -> None:
        raise RuntimeError("Event loop is closed")

    (tmp_path / "kv").write_text("in the way", encoding="utf-8")
    tier = DiskTier(tmp_path / "kv", DiskLimits(), closed)
    tier.open("model").result(SECONDS)
    tier.drain().result(SECONDS)
    tier.close(SECONDS)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", '{"day": 1}', '{"day": "x", "bytes": 1}', '{"bytes": 1e999}']
)
def test_a_senseless_budget_file_counts_nothing(make_kit: MakeKit, text: str) -> None:
    kit = make_kit(DiskLimits(10**9, 10**6))
    kit.save(PROMPT)
    (kit.folder / "writes.json").write_text(text, encoding="utf-8")
    kit.restart()
    assert kit.tier.stats().written_today == 0
    works(kit)


# ---------------------------------------------------------------------------------- kill -9

_CHILD = """
import os, sys
from pathlib import Path
from anyclaude.caches.kv import disk_format
from tests.caches.disk_kit import TOKEN_BYTES, Kit, blob_for
from tests.caches.test_disk_failures import PROMPT

kit = Kit(Path(sys.argv[1]))
kit.open()
kit.save(PROMPT[:1024])
write, calls = os.write, 0

def slow(handle, data):
    global calls
    calls += 1
    if calls == 2:
        write(handle, data[: len(data) // 2])
        print("half", flush=True)
        sys.stdin.read()
    return write(handle, data)

disk_format.os.write = slow
for run in kit.tier.missing(PROMPT, token_bytes=TOKEN_BYTES):
    assert kit.tier.store(run, blob_for(run, PROMPT))
kit.settle()
"""


def test_kill_9_in_the_middle_of_a_write_loses_that_write(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(tmp_path / "kv")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "kv").rglob(".writing-*"))) == 1
    kit = Kit(tmp_path / "kv")
    kit.open()
    assert list((tmp_path / "kv").rglob(".writing-*")) == []
    assert kit.messages() == ["files in the disk cache couldn't be used; deleted: 1 x unfinished"]
    assert kit.read(PROMPT) == 1024
    assert [(r.start, r.stop) for r in kit.save(PROMPT)] == [(1024, 2048), (2048, 2500)]
    works(kit)
    kit.tier.close(SECONDS)


def test_what_another_process_is_writing_is_left_alone(kit: Kit) -> None:
    kit.save(PROMPT)
    folder = kit.files()[0].parent
    (folder / f".writing-{os.getppid()}-1").write_bytes(b"")
    (folder / f".writing-{2**31 - 1}-1").write_bytes(b"")
    kit.restart()
    assert [p.name for p in folder.glob(".writing*")] == [f".writing-{os.getppid()}-1"]


def test_runs_that_were_planned_before_a_flush_can_still_be_stored(kit: Kit) -> None:
    runs = kit.tier.missing(PROMPT, token_bytes=TOKEN_BYTES)
    kit.tier.flush().result(SECONDS)
    for run in runs:
        assert kit.tier.store(run, blob_for(run, PROMPT))
    kit.settle()
    assert kit.read(PROMPT) == len(PROMPT)
