"""The state file is private, whole, and silent about servers that died."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from anyclaude.config.state import (
    STATE_NAME,
    ServerState,
    base_url,
    read_state,
    remove_state,
    write_state,
)


def state(pid: int) -> ServerState:
    created = psutil.Process(pid).create_time()
    return ServerState(pid, "127.0.0.1", 8082, "t0ken", created + 1, "SmolLM2")


def test_round_trip_in_a_private_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    mine = state(os.getpid())
    write_state(folder, mine)
    assert read_state(folder) == mine
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / STATE_NAME).stat().st_mode & 0o777 == 0o600
    assert [p.name for p in folder.iterdir()] == [STATE_NAME]


def test_a_dead_server_is_none(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        write_state(tmp_path, state(process.pid))
        assert read_state(tmp_path) is not None
        process.kill()
        # Dead but not waited for: a zombie keeps its number.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert read_state(tmp_path) is None
    finally:
        process.kill()
        process.communicate()
    assert read_state(tmp_path) is None


def test_a_number_in_use_again_is_none(tmp_path: Path) -> None:
    mine = state(os.getpid())
    write_state(tmp_path, replace(mine, started_at=mine.started_at - 1000))
    assert read_state(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x"}', '{"pid": -1}', "\x00", "null"])
def test_a_damaged_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / STATE_NAME).write_text(text)
    assert read_state(tmp_path) is None


def test_remove_spares_the_file_of_another(tmp_path: Path) -> None:
    write_state(tmp_path, state(os.getpid()))
    remove_state(tmp_path, os.getppid())
    assert read_state(tmp_path) is not None
    remove_state(tmp_path, os.getpid())
    assert not (tmp_path / STATE_NAME).exists()
    remove_state(tmp_path)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://[::1]:1"),
        ("::1", "http://[::1]:1"),
        ("[::1]", "http://[::1]:1"),
        ("mac.local", "http://mac.local:1"),
    ],
)
def test_base_url(host: str, url: str) -> None:
    assert base_url(host, 1) == url
