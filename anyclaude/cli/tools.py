"""``anyclaude tools``: the tools that clients offer."""

from __future__ import annotations

from datetime import datetime

import click

from anyclaude.cli.connect import demand
from anyclaude.cli.options import with_settings
from anyclaude.cli.output import table
from anyclaude.config.settings import Settings

_COLUMNS = ("tool", "version", "schema", "first seen", "last seen", "offered")


@click.command()
@click.option("--all", "every", is_flag=True, help="Those too that no client offers any more.")
@with_settings
def tools(settings: Settings, every: bool) -> None:
    """Show the tools that clients of the running server offered.

    A tool whose description or schema changes has a new version; what changed is in the log, as
    an event of kind tools.
    """
    rows = [
        (
            tool.name,
            tool.version,
            tool.schema_hash,
            _time(tool.first_seen),
            _time(tool.last_seen),
            "no more" if tool.deprecated else "yes",
        )
        for tool in demand(settings, lambda client: client.tools())
        if every or not tool.deprecated
    ]
    click.echo(table(_COLUMNS, rows))


def _time(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")
