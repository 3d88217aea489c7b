"""``anyclaude cache``: the cache tiers of the running server."""

from __future__ import annotations

import click

from anyclaude.cli.connect import demand
from anyclaude.cli.options import with_settings
from anyclaude.cli.output import size, table
from anyclaude.config.settings import Settings


@click.group()
def cache() -> None:
    """Show and empty the caches of the running server."""


@cache.command()
@with_settings
def stats(settings: Settings) -> None:
    """One line per tier: hits, size, evictions, and what it saved."""
    tiers = demand(settings, lambda client: client.cache())
    columns = ("tier", "on", "hits", "misses", "hit %", "entries", "size", "limit", "evicted")
    rows = [
        (
            tier.tier,
            "on" if tier.enabled else "off",
            tier.hits,
            tier.misses,
            round(100 * tier.hits / (tier.hits + tier.misses)) if tier.hits + tier.misses else None,
            tier.entries,
            size(tier.bytes),
            size(tier.limit_bytes),
            tier.evictions,
            tier.tokens_saved,
            round(tier.seconds_saved, 1),
        )
        for tier in tiers
    ]
    click.echo(table((*columns, "tokens saved", "seconds saved"), rows))


@cache.command()
@click.option("--tier", metavar="T", help="One tier by its word in 'cache stats'; all if absent.")
@with_settings
def flush(settings: Settings, tier: str | None) -> None:
    """Empty one tier or all."""
    for flushed in demand(settings, lambda client: client.flush(tier)):
        entries = "entry" if flushed.entries == 1 else "entries"
        click.echo(f"{flushed.tier}: {flushed.entries} {entries}, {size(flushed.bytes)} freed")
