"""A user of our own for every command: home, data folder, no configuration, no ``ANYCLAUDE_*``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_doubles import AdminServer, User, admin_server

from anyclaude.config.state import write_state


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    home = tmp_path / "home"
    home.mkdir()
    for name in list(os.environ):
        if name.startswith(("ANYCLAUDE_", "XDG_", "FAKE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    monkeypatch.setenv("ANYCLAUDE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return User(home, tmp_path / "data")


@pytest.fixture
def server(user: User) -> Iterator[AdminServer]:
    """A running server that the user's state file names."""
    with admin_server() as server:
        write_state(user.data, server.state())
        yield server
