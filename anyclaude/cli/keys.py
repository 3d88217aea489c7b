"""``anyclaude keys``: what others may use of this anyclaude."""

from __future__ import annotations

import click

from anyclaude.cli.options import with_settings
from anyclaude.cli.output import table
from anyclaude.config.settings import KeySettings, Settings
from anyclaude.errors import UsageError


@click.group()
def keys() -> None:
    """Make, list and take back virtual keys; a running server takes them up at once."""


@keys.command()
@click.argument("name")
@click.option("--rpm", type=click.IntRange(min=1), metavar="N", help="Requests a minute.")
@click.option("--tpm", type=click.IntRange(min=1), metavar="N", help="Tokens a minute.")
@click.option(
    "--tokens-per-day", type=click.IntRange(min=1), metavar="N", help="Tokens a day (UTC)."
)
@click.option(
    "--budget-usd",
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help="Dollars a day (UTC), by the prices of the backends.",
)
@click.option(
    "--models",
    multiple=True,
    metavar="PATTERN",
    help="Model names it may ask for, such as 'claude-*haiku*'; may be given several times.",
)
@with_settings
def add(
    settings: Settings,
    name: str,
    rpm: int | None,
    tpm: int | None,
    tokens_per_day: int | None,
    budget_usd: float | None,
    models: tuple[str, ...],
) -> None:
    """Make a key called NAME and print it, this once: only its SHA-256 is kept."""
    from anyclaude.config import schema
    from anyclaude.config.keyfile import changing_keys, keys_path
    from anyclaude.keys.secret import digest, new_key

    key = new_key()
    made = KeySettings(
        sha256=digest(key),
        rpm=rpm or 0,
        tpm=tpm or 0,
        tokens_per_day=tokens_per_day or 0,
        budget_usd=budget_usd or 0.0,
        models=tuple(dict.fromkeys(models)),
    )
    for problem in schema.problems({"keys": {name: {"models": list(made.models)}}}):
        raise UsageError(problem.text)
    if name in dict(settings.keys):
        raise UsageError(f"there is a key {name} already; take another name")
    with changing_keys(settings.data_dir) as kept:
        kept[name] = made
    click.echo(key)
    click.echo(
        f"{name} is in {keys_path(settings.data_dir)}. Its key isn't shown again; a client sends it"
        " as ANTHROPIC_AUTH_TOKEN.",
        err=True,
    )


@keys.command(name="list")
@with_settings
def list_keys(settings: Settings) -> None:
    """The keys by their names, with their limits and where each is kept."""
    origins = dict(settings.sources)
    rows = [
        (
            name,
            key.rpm or None,
            key.tpm or None,
            key.tokens_per_day or None,
            key.budget_usd or None,
            ", ".join(key.models) or "all",
            origins[f"keys.{name}.sha256"],
        )
        for name, key in settings.keys
    ]
    columns = ("key", "requests/min", "tokens/min", "tokens/day", "$/day", "models", "from")
    click.echo(table(columns, rows, widest=200))


@keys.command()
@click.argument("name")
@with_settings
def remove(settings: Settings, name: str) -> None:
    """Take the key called NAME back: requests with it are refused from now on."""
    from anyclaude.config.keyfile import changing_keys, own_keys

    if name in own_keys(settings):
        origin = dict(settings.sources)[f"keys.{name}.sha256"]
        raise UsageError(f"the key {name} is from {origin}; take [keys.{name}] out there")
    with changing_keys(settings.data_dir) as kept:
        if name not in kept:
            known = ", ".join(kept) or "none"
            raise UsageError(f"there is no key {name}; there are: {known}")
        del kept[name]
    click.echo(f"removed {name}")
