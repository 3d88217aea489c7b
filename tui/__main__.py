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
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anyclaude.cli.serve import leave
from anyclaude.config.diagnostics import set_level
from anyclaude.config.settings import Settings, UiSettings
from anyclaude.errors import AnyclaudeError, UsageError
from tui.app import Console, Surroundings
from tui.launch import FailedLaunch, Launch, LocalLaunch, RemoteLaunch
from tui.logtap import LogTap
from tui.themes import load_themes, theme_folder

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
def main(
    model: str | None,
    host: str | None,
    port: int | None,
    config: Path | None,
    db: str | None,
    theme: str | None,
    attach: str | None,
) -> None:
    """The anyclaude console."""
    flags: dict[str, str | int | None] = {
        "model.default": model,
        "server.host": host,
        "server.port": port,
        "db": db,
        "ui.theme": theme,
    }
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("the console needs a terminal; without one use 'anyclaude serve'")
    launch, ui = _prepare(config, flags, attach)
    tap = LogTap()
    logging.getLogger().addHandler(tap)
    app = Console(launch, ui, load_themes([theme_folder()]), Surroundings(logged=tap.drain))
    code = asyncio.run(run(app, launch))
    if app.problem:
        click.echo(f"anyclaude-tui: {app.problem}", err=True)
    leave(code)


def _prepare(
    config: Path | None, flags: dict[str, str | int | None], attach: str | None
) -> tuple[Launch, UiSettings]:
    from anyclaude.config.load import load_settings

    given = {key: value for key, value in flags.items() if value is not None}
    try:
        settings = load_settings(config=config, overrides=given, env=os.environ, cwd=Path.cwd())
    except AnyclaudeError as error:
        return FailedLaunch(error), UiSettings()
    set_level(settings.log.level)
    if attach is None:
        return LocalLaunch(settings), settings.ui
    return RemoteLaunch(lambda: _connect(settings, attach)), settings.ui


def _connect(settings: Settings, url: str) -> tuple[RemoteClient, str]:
    """The admin client of the server at ``url``; raises UsageError without a token for it."""
    from anyclaude.cli.client import AdminClient
    from anyclaude.config.state import read_state

    address = url.rstrip("/")
    state = read_state(settings.data_dir)
    token = state.token if state and state.address == address else settings.server.api_key
    if not token:
        running = f"; the one of {settings.data_dir} is at {state.address}" if state else ""
        raise UsageError(
            f"No token for {address}{running}.\n"
            "Attach as the user who started it, or set server.api_key to that server's key."
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
        with suppress(TimeoutError):
            await launch.stop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    return app.return_code or 0


if __name__ == "__main__":
    main()
