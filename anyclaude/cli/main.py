"""The ``anyclaude`` command: one group, one module per command, heavy imports only inside them."""

from __future__ import annotations

import click

from anyclaude.cli.bench import bench
from anyclaude.cli.cache import cache
from anyclaude.cli.config import config
from anyclaude.cli.doctor import doctor
from anyclaude.cli.env import env
from anyclaude.cli.errors import Program
from anyclaude.cli.keys import keys
from anyclaude.cli.logs import logs
from anyclaude.cli.mcp import mcp
from anyclaude.cli.models import models
from anyclaude.cli.prompt import prompt
from anyclaude.cli.replay import replay
from anyclaude.cli.run import run
from anyclaude.cli.serve import serve
from anyclaude.cli.sql import sql
from anyclaude.cli.tools import tools


@click.group(
    name="anyclaude", cls=Program, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="anyclaude", message="anyclaude %(version)s")
def main() -> None:
    """Claude Code on a model of your own, on this machine.

    'anyclaude-tui' opens the console; these commands do the rest.
    """


COMMANDS = (
    serve,
    run,
    env,
    models,
    sql,
    logs,
    cache,
    tools,
    prompt,
    keys,
    mcp,
    config,
    replay,
    bench,
    doctor,
)
for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    main()
