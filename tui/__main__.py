"""``anyclaude-tui``: the console with its embedded server, or attached to one that runs.

Kept light: the screen is up before the server, MLX or DuckDB are even imported.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from anyclaude.cli.serve import leave
from anyclaude.config.diagnostics import set_level
from anyclaude.config.settings import Settings, UiSettings
from anyclaude.errors import AnyclaudeError, ConfigError, UsageError
from tui.app import Console
from tui.desk import Surroundings
from tui.launch import FailedLaunch, Launch, LocalLaunch, RemoteLaunch
from tui.logtap import LogTap
from tui.terminal import outlive_terminal
from tui.themes import load_themes, theme_folder, user_theme_folder

if TYPE_CHECKING:
    from tui.source import RemoteClient

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", metavar="M", help="Name or folder of the model to load.")
@click.option("--host", metavar="H", help="Address to bind; loopback by default.")
@click.option("--port", type=int, metavar="P", help="TCP port; 0 picks a free one.")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="F", help="Read this TOML file alone."
)
@click.option("--db", metavar="F", help="The request log, a DuckDB file.")
@click.option("--theme", metavar="T", help="Name of a theme.")
@click.option("--attach", metavar="URL", help="Show a server that runs already.")
@click.option("--web", is_flag=True, help="Serve the console to browsers on this machine.")
@click.option("--demo", is_flag=True, help="A scripted model and client, in a folder of their own.")
def main(
    model: str | None,
    host: str | None,
    port: int | None,
    config: Path | None,
    db: str | None,
    theme: str | None,
    attach: str | None,
    web: bool,
    demo: bool,
) -> None:
    """The anyclaude console."""
    flags: dict[str, str | int | None] = {
        "model.default": model,
        "server.host": host,
        "server.port": port,
        "db": db,
        "ui.theme": theme,
    }
    if web:
        _serve_pages(config, flags, attach, demo)
    if "TEXTUAL_DRIVER" not in os.environ and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("the console needs a terminal; without one use 'anyclaude serve'")
    launch, ui, data_dir = _prepare(config, flags, attach, demo)
    tap = LogTap()
    logging.getLogger().addHandler(tap)
    app = Console(
        launch,
        ui,
        load_themes([theme_folder(), user_theme_folder()]),
        Surroundings(logged=tap.drain, data_dir=data_dir),
    )
    outlive_terminal()
    code = asyncio.run(run(app, launch))
    if app.problem:
        with suppress(OSError):  # The terminal may be what is gone.
            click.echo(f"anyclaude-tui: {app.problem}", err=True)
    leave(code)


def _prepare(
    config: Path | None, flags: dict[str, str | int | None], attach: str | None, demo: bool
) -> tuple[Launch, UiSettings, Path | None]:
    """The server to show, how to show it, and where things are kept."""
    from anyclaude.config.load import load_settings

    given = {key: value for key, value in flags.items() if value is not None}
    try:
        settings = load_settings(config=config, overrides=given, env=os.environ, cwd=Path.cwd())
    except AnyclaudeError as error:
        return FailedLaunch(error), UiSettings(), None
    set_level(settings.log.level)
    return _launch(settings, attach, demo), settings.ui, None if demo else settings.data_dir


def _launch(settings: Settings, attach: str | None, demo: bool) -> Launch:
    if demo:
        from tui.demo import DemoLaunch

        return DemoLaunch(settings)
    if attach is None:
        return LocalLaunch(settings, partial(_attached, settings))
    return _attached(settings, attach)


def _serve_pages(
    config: Path | None, flags: dict[str, str | int | None], attach: str | None, demo: bool
) -> NoReturn:
    """Consoles in a browser instead of one here."""
    from anyclaude.cli.options import settings_from
    from anyclaude.cli.serve import log_to_stderr
    from tui.web.command import require_extra, running_server, serve_pages

    try:
        require_extra()
        settings = settings_from(config, flags)
        log_to_stderr(settings.log.level)
        if attach is None and not demo:
            attach = asyncio.run(running_server(settings))
        launch = _launch(settings, attach, demo)
        own = launch.settings if isinstance(launch, LocalLaunch) else settings
        given = {"--config": config, "--theme": flags["ui.theme"]}
        options = [f"{name}={value}" for name, value in given.items() if value is not None]
        asyncio.run(serve_pages(launch, options, own.data_dir))
    except AnyclaudeError as error:
        click.echo(f"anyclaude-tui: {' '.join(error.message.split())}", err=True)
        leave(2 if isinstance(error, ConfigError | UsageError) else 1)


def _attached(settings: Settings, url: str) -> Launch:
    return RemoteLaunch(partial(_connect, settings, url))


def _connect(settings: Settings, url: str) -> tuple[RemoteClient, str]:
    """The admin client of the server at ``url``; raises UsageError without a token for it."""
    from anyclaude.cli.client import AdminClient
    from anyclaude.config.state import read_state

    address = url.rstrip("/")
    state = read_state(settings.data_dir)
    token = state.token if state and state.address == address else settings.server.admin_key
    if not token:
        running = f"; the one of {settings.data_dir} is at {state.address}" if state else ""
        raise UsageError(
            f"No token for {address}{running}.\n"
            "Attach as the user who started it, or set ANYCLAUDE_SERVER_ADMIN_KEY to the "
            "server.admin_key of that server."
        )
    return AdminClient.at(address, token), address


async def run(app: Console, launch: Launch) -> int:
    """The app until it ends, and the server's end whatever became of the app."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, app.call_later, app.action_end)
    try:
        await app.run_async()
    finally:
        for started in {launch, app.launch}:
            with suppress(TimeoutError):
                await started.stop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    return app.return_code or 0


if __name__ == "__main__":
    main()
