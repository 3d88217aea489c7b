"""A start that fails: who is in the way, and the other ways that are offered."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from anyclaude.config.settings import ServerSettings, Settings
from anyclaude.config.state import ServerState, write_state
from anyclaude.errors import ConfigError, EngineFailed, UsageError
from tests.tui.fake_source import FakeLaunch, FakeSource
from tui.launch import ATTACH, ELSEWHERE, FailedLaunch, Launch, LocalLaunch, RemoteLaunch
from tui.ports import Holder, holder, is_busy, next_free


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this very process listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(1)
        yield sock.getsockname()[1]


def _settings(folder: Path, port: int) -> Settings:
    server = replace(ServerSettings(), host="127.0.0.1", port=port)
    return Settings(data_dir=folder, db=folder / "log.duckdb", server=server)


def test_the_holder_of_a_port_is_named(taken: int) -> None:
    assert is_busy("127.0.0.1", taken) and not is_busy("127.0.0.1", 0)
    found = holder(taken)
    assert found is not None and found.pid == os.getpid()
    assert Path(sys.executable).name in found.command or "pytest" in found.command
    free = next_free("127.0.0.1", taken)
    assert free > taken and not is_busy("127.0.0.1", free)
    assert holder(free) is None


def test_a_holder_that_is_not_ours_to_see() -> None:
    assert str(Holder(0, "")) == "a program of another user"
    assert str(Holder(411, "node server.js")) == "node server.js (pid 411)"


async def test_a_busy_port_names_its_holder_and_offers_the_next(tmp_path: Path, taken: int) -> None:
    launch = LocalLaunch(_settings(tmp_path, taken))
    failure = await launch.explain(ConfigError(f"server.port: port {taken} is in use; stop it"))
    assert f"(pid {os.getpid()})" in failure.problem
    (offer,) = failure.offers
    assert offer.binding == ELSEWHERE and isinstance(offer.launch, LocalLaunch)
    port = offer.launch.settings.server.port
    assert port > taken and offer.text == f"starts at port {port} instead"


async def test_a_locked_log_offers_another_file(tmp_path: Path) -> None:
    settings = _settings(tmp_path, 0)
    settings.db.touch()
    failure = await LocalLaunch(settings).explain(
        ConfigError(f"{settings.db} is in use by python (pid 7): stop it")
    )
    (offer,) = failure.offers
    assert offer.text == "starts with a new log, log-2.duckdb"
    assert isinstance(offer.launch, LocalLaunch)
    assert offer.launch.settings.db == tmp_path / "log-2.duckdb"


async def test_another_anyclaude_can_be_attached_to(tmp_path: Path) -> None:
    write_state(tmp_path, ServerState(os.getpid(), "127.0.0.1", 9, "secret", time.time(), "m"))
    asked: list[str] = []

    def attach(address: str) -> Launch:
        asked.append(address)
        return FakeLaunch(FakeSource())

    launch = LocalLaunch(_settings(tmp_path, 0), attach)
    failure = await launch.explain(UsageError("anyclaude already runs at http://127.0.0.1:9"))
    assert [(o.binding, o.text) for o in failure.offers] == [
        (ATTACH, "attaches to the one at http://127.0.0.1:9")
    ]
    assert asked == ["http://127.0.0.1:9"]


async def test_other_failures_offer_what_they_can(tmp_path: Path) -> None:
    local = await LocalLaunch(_settings(tmp_path, 0)).explain(EngineFailed("no"))
    assert (local.problem, local.offers) == ("no", ())
    failed = await FailedLaunch(ConfigError("wrong")).explain(ConfigError("wrong"))
    assert (failed.problem, failed.offers) == ("wrong", ())

    def connect() -> tuple[object, str]:
        raise UsageError("nobody is there")

    remote = RemoteLaunch(connect)  # type: ignore[arg-type]
    gone = await remote.explain(UsageError("nobody is there"))
    assert [(o.binding, o.text, o.launch) for o in gone.offers] == [
        (ELSEWHERE, "tries again", remote)
    ]
