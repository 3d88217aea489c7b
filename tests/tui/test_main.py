"""The command: its options, its end by signal, crash or key, and what it leaves behind."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from textual.drivers.headless_driver import HeadlessDriver

from anyclaude.cli.client import AdminClient
from anyclaude.config.load import load_settings
from anyclaude.config.settings import Settings, UiSettings
from anyclaude.config.state import ServerState, write_state
from anyclaude.errors import UsageError
from tests.tui.fake_source import Clock, FakeLaunch, FakeSource, session
from tui import __main__ as command
from tui.app import Console
from tui.desk import Surroundings
from tui.launch import FailedLaunch, LocalLaunch, RemoteLaunch, explain
from tui.logtap import LogTap
from tui.themes import load_themes, theme_folder


class Ready(Console):
    """Says when it is up, so that a test can act then."""

    up: asyncio.Event

    def on_ready(self) -> None:
        # Textual calls the handler of every class, the console's own included.
        self.up.set()


@pytest.fixture(autouse=True)
def one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, the driver and Rich guess different heights, and fight over them."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "40")


def _app(launch: FakeLaunch) -> Ready:
    around = Surroundings(now=Clock(), tick_s=None)
    app = Ready(launch, UiSettings(), load_themes([theme_folder()]), around)
    app.driver_class = HeadlessDriver
    app.up = asyncio.Event()
    return app


async def _running(app: Ready, launch: FakeLaunch) -> asyncio.Task[int]:
    """The app as the command runs it, once it is up; raises if it ended before."""
    running = asyncio.create_task(command.run(app, launch))
    up = asyncio.create_task(app.up.wait())
    await asyncio.wait({running, up}, return_when=asyncio.FIRST_COMPLETED)
    assert up.done(), "the app ended before it was up"
    return running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_stops_the_server_and_exits_with_0(number: signal.Signals) -> None:
    source = FakeSource()
    launch = FakeLaunch(source)
    app = _app(launch)
    running = await _running(app, launch)
    source.send(*session())
    os.kill(os.getpid(), number)
    assert await running == 0
    assert launch.stops >= 1


async def test_a_crash_of_the_app_still_stops_the_server(
    capsys: pytest.CaptureFixture[str],
) -> None:
    launch = FakeLaunch(FakeSource())
    app = _app(launch)

    def broken() -> None:
        raise RuntimeError("a fault of ours")

    running = await _running(app, launch)
    app.call_later(broken)
    assert await running == 1
    assert launch.stops == 1
    assert "a fault of ours" in capsys.readouterr().err


def test_without_a_terminal_it_says_so() -> None:
    result = CliRunner().invoke(command.main, [])
    assert result.exit_code == 2
    assert "anyclaude serve" in result.output


def test_flags_become_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYCLAUDE_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    launch, ui, _ = command._prepare(
        None, {"server.port": 0, "ui.theme": "anyclaude-light"}, None, False
    )
    assert isinstance(launch, LocalLaunch)
    assert ui.theme == "anyclaude-light"
    launch, _, _ = command._prepare(None, {}, "http://127.0.0.1:1", False)
    assert isinstance(launch, RemoteLaunch)


async def test_a_broken_config_is_a_failed_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "anyclaude.toml").write_text("[server]\nport = 'many'\n")
    launch, _, _ = command._prepare(None, {}, None, False)
    assert isinstance(launch, FailedLaunch)
    with pytest.raises(Exception, match=r"server\.port"):
        await launch.start(lambda source: None)


async def test_attaching_needs_a_token(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, db=tmp_path / "x.duckdb")
    with pytest.raises(UsageError, match=r"No token for http://127\.0\.0\.1:9"):
        command._connect(settings, "http://127.0.0.1:9/")
    state = ServerState(os.getpid(), "127.0.0.1", 9, "secret", time.time(), "m")
    write_state(tmp_path, state)
    client, address = command._connect(settings, "http://127.0.0.1:9/")
    assert address == "http://127.0.0.1:9"
    await client.aclose()
    with pytest.raises(UsageError, match=r"is at http://127\.0\.0\.1:9"):
        command._connect(settings, "http://127.0.0.1:10")


async def test_attaching_elsewhere_takes_the_admin_key_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("SERVER_ADMIN_KEY", "mine"), ("DATA_DIR", str(tmp_path))):
        monkeypatch.setenv(f"ANYCLAUDE_{name}", value)
    settings = load_settings(env=os.environ, cwd=tmp_path)
    client, _ = command._connect(settings, "http://192.0.2.1:8082")
    assert isinstance(client, AdminClient)
    assert client._http.headers["authorization"] == "Bearer mine"
    await client.aclose()


def test_a_start_that_failed_is_explained() -> None:
    assert explain(UsageError("do this")) == "do this"
    assert "--port 8083" in explain(OSError(98, "Address already in use"))
    assert "Install anyclaude again" in explain(ImportError("no mlx"))
    assert explain(RuntimeError("odd")) == "RuntimeError: odd"


def test_log_records_become_events() -> None:
    tap = LogTap()
    log = logging.Logger("anyclaude.x", logging.INFO)
    log.addHandler(tap)
    log.debug("not this")
    log.info("loaded")
    log.warning("took %d s", 3)
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("broke")
    events = tap.drain()
    assert [(e.level, e.message) for e in events] == [
        ("info", "anyclaude.x: loaded"),
        ("warning", "anyclaude.x: took 3 s"),
        ("error", "anyclaude.x: broke (ValueError: why)"),
    ]
    assert tap.drain() == []
