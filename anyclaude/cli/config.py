"""``anyclaude config``: effective values, a file to start from, and a check of one."""

from __future__ import annotations

import json
from pathlib import Path

import click

from anyclaude.cli.options import with_settings
from anyclaude.cli.output import table
from anyclaude.config.settings import Settings
from anyclaude.errors import ConfigError, UsageError


@click.group()
def config() -> None:
    """Show, write and check the configuration."""


@config.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "toml", "json"]),
    default="table",
    show_default=True,
)
@with_settings
def show(settings: Settings, form: str) -> None:
    """Print every effective value and where it came from; secrets are masked."""
    from anyclaude.config.document import masked_document, rows_of

    if form == "table":
        rows = [
            (name, "" if value is None else json.dumps(value), origin)
            for name, value, origin in rows_of(settings)
        ]
        click.echo(table(("key", "value", "from"), rows, widest=200))
    elif form == "json":
        click.echo(json.dumps(masked_document(settings), indent=1))
    else:
        import tomli_w

        click.echo(tomli_w.dumps(masked_document(settings)), nl=False)


@config.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
def init(path: Path | None, force: bool) -> None:
    """Write a file with every key at its default, for its owner's eyes only.

    Without PATH it is the user's own file, which every folder's anyclaude.toml is laid over.
    """
    from anyclaude.config.document import write_settings
    from anyclaude.config.files import default_data_dir, user_config_path

    target = path or user_config_path()
    if target.exists() and not force:
        raise UsageError(f"{target} exists; --force replaces it")
    write_settings(target, Settings(default_data_dir(), default_data_dir()))
    click.echo(f"wrote {target}")


@config.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
def check(path: Path | None) -> None:
    """Check one file, or everything in effect here; one line for each problem."""
    import os

    from anyclaude.config.load import check_file, load_settings

    if path is None:
        load_settings(env=os.environ, cwd=Path.cwd())
        click.echo("the configuration is fine")
        return
    if wrong := check_file(path, os.environ):
        raise ConfigError("\n".join(wrong))
    click.echo(f"{path} is fine")
