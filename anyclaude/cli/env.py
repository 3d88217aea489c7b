"""``anyclaude env``: the lines that point Claude Code at the server."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from anyclaude.cli.connect import connect
from anyclaude.cli.options import with_settings
from anyclaude.config.client_env import client_env
from anyclaude.config.settings import Settings
from anyclaude.config.state import base_url
from anyclaude.errors import UsageError

if TYPE_CHECKING:
    from anyclaude.cli.client import AdminClient
    from anyclaude.events import EngineState


@dataclass(frozen=True, slots=True)
class Target:
    """What the client is pointed at; ``context_limit`` 0 when it isn't known.

    ``token`` opens its door; empty when no key is known, or none is needed.
    """

    address: str
    model: str
    context_limit: int
    running: bool
    token: str = field(default="", repr=False)


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["sh", "fish", "json"]),
    default="sh",
    show_default=True,
    help="Lines for sh, bash and zsh, for fish, or one JSON object.",
)
@with_settings
def env(settings: Settings, form: str) -> None:
    """Print the environment for Claude Code: eval "$(anyclaude env)"."""
    target = asyncio.run(find_target(settings))
    pairs = pairs_for(settings, target)
    if not target.running:
        click.echo(
            f"anyclaude: no server runs; these lines are for {target.address} as configured",
            err=True,
        )
        if settings.keys and not target.token:
            click.echo(
                "anyclaude: it will ask for a virtual key; set ANTHROPIC_AUTH_TOKEN to one",
                err=True,
            )
    click.echo(render(pairs, form))


def pairs_for(settings: Settings, target: Target) -> tuple[tuple[str, str], ...]:
    """The client's environment for ``target``, a server of these settings."""
    return client_env(
        target.address,
        target.token,
        target.model,
        target.context_limit,
        settings.model.max_output_tokens,
    )


def token_for(settings: Settings, admin_token: str) -> str:
    """What opens the server of these settings to its own user; empty when it is open to all.

    Of a virtual key only the digest is known here, but the token of the state file is as good.
    """
    return settings.server.api_key or (admin_token if settings.keys else "")


async def find_target(settings: Settings) -> Target:
    """The running server, else the one the settings would start."""
    client = await connect(settings)
    if client is not None:
        async with client:
            engine = (await client.stats()).engine
        return running_at(client, engine, settings)
    if settings.server.port == 0:
        raise UsageError(
            "no server runs and server.port is 0, so there is no address to print; start one"
            " with 'anyclaude serve'"
        )
    model, limit = configured_model(settings)
    address = base_url(settings.server.host, settings.server.port)
    return Target(address, model, limit, False, token_for(settings, ""))


def running_at(client: AdminClient, engine: EngineState, settings: Settings) -> Target:
    """The server that ``client`` speaks with, and that runs with these settings."""
    token = token_for(settings, client.token)
    return Target(client.address, engine.model, engine.context_limit, True, token)


def configured_model(settings: Settings) -> tuple[str, int]:
    """Name and window of the model a server would load; window 0 when it isn't known."""
    from anyclaude.engine.catalog import Catalog

    catalog = Catalog(settings.data_dir)
    name = settings.model.default or catalog.default_model()
    known = {info.name: info.context_limit for info in catalog.list()}
    limits = [n for n in (known.get(name, 0), settings.model.context_limit) if n > 0]
    return name, min(limits) if known.get(name, 0) > 0 else 0


def render(pairs: Sequence[tuple[str, str]], form: str) -> str:
    """The pairs as shell lines or JSON."""
    match form:
        case "json":
            return json.dumps(dict(pairs), indent=1)
        case "fish":
            return "\n".join(f"set -gx {name} {_fish(value)}" for name, value in pairs)
        case _:
            return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in pairs)


def _fish(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
