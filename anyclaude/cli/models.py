"""``anyclaude models``: what is here, what to get, and what fits this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anyclaude.cli.connect import ask
from anyclaude.cli.fit import per_token, shape_of
from anyclaude.cli.options import with_settings
from anyclaude.cli.output import size, table
from anyclaude.cli.progress import Reporter
from anyclaude.config import advice
from anyclaude.config.settings import Settings
from anyclaude.control import ModelInfo
from anyclaude.errors import NotFound

if TYPE_CHECKING:
    from anyclaude.engine.catalog import Catalog

MAC = "Apple silicon"


@click.group()
def models() -> None:
    """Local models: list, download, explain, recommend."""


@models.command(name="list")
@with_settings
def list_models(settings: Settings) -> None:
    """The models on this machine; * marks the loaded one."""
    rows = [
        (
            "*" if info.loaded else "",
            info.name,
            size(info.size_bytes),
            info.quantization,
            info.context_limit or None,
            info.tools,
            "yes" if info.fits else "no",
        )
        for info in _known(settings)
    ]
    click.echo(table(("", "model", "size", "weights", "window", "tools", "fits"), rows))


@models.command()
@click.argument("name")
@with_settings
def pull(settings: Settings, name: str) -> None:
    """Download a model from Hugging Face, such as mlx-community/NAME."""
    with Reporter(f"pulling {name}") as reporter:
        path = _catalog(settings).pull(name, reporter.update)
    click.echo(f"{name} is in {path}")


@models.command()
@click.argument("name")
@with_settings
def info(settings: Settings, name: str) -> None:
    """Everything known about one model on this machine."""
    known = _known(settings)
    found = next((m for m in known if name in (m.name, m.path)), None)
    if found is None:
        names = ", ".join(m.name for m in known) or "none"
        raise NotFound(f"no model {name!r} here (there is: {names}); get it with 'models pull'")
    click.echo(f"name: {found.name}")
    click.echo(f"path: {found.path}")
    click.echo(f"size: {size(found.size_bytes)}")
    click.echo(f"weights: {found.quantization}")
    click.echo(f"window: {found.context_limit or 'unknown'} tokens")
    shape = shape_of(Path(found.path))
    if shape is not None:
        click.echo(f"kv cache: {per_token(shape)}")
    click.echo(f"tools: {found.tools}")
    click.echo(f"fits: {'yes' if found.fits else 'no, it needs more memory than there is'}")
    click.echo(f"loaded: {'yes' if found.loaded else 'no'}")


@models.command()
@click.option("--memory", type=click.IntRange(1), metavar="GB", help="As if a Mac had this much.")
def recommend(memory: int | None) -> None:
    """Which models serve Claude Code well for how much memory."""
    here = advice.this_machine()
    click.echo(
        f"this machine: {here.chip}, {round(here.memory_bytes / advice.GIB)} GB,"
        f" {'Metal' if here.metal else 'no Metal'}"
    )
    if not here.metal and memory is None:
        click.echo(
            f"without Metal the embedded {advice.EMBEDDED_MODEL} is the model to use: the others"
            " are too slow on a CPU. For a Mac:"
        )
    machine = here if memory is None else _mac(memory, here.chip if here.metal else MAC)
    fitting = advice.recommend(machine)
    if machine.metal and not fitting:
        click.echo(f"no larger model fits; the embedded {advice.EMBEDDED_MODEL} does")
    if fitting:
        click.echo(f"\nfits {round(machine.memory_bytes / advice.GIB)} GB, best first:")
        columns = (
            "model",
            "weights",
            "KV a token",
            "window",
            "KV of it",
            "cache.kv_bits",
            "at most",
            "seen",
        )
        click.echo(table(columns, map(_row, fitting), widest=80))
    click.echo("\nbest model by memory:")
    best = [(gb, *_best(gb)) for gb in advice.MEMORY_SIZES_GB]
    click.echo(table(("memory GB", "model", "weights", "window", "cache.kv_bits"), best))
    click.echo(
        "\nThe window is what fits beside the weights; cache.kv_bits is the least quantisation of"
        " the\nprefix cache that gives a good one. How this is computed:"
    )
    for source in advice.SOURCES:
        click.echo(f"  {source}")


def _row(found: advice.Advice) -> tuple[object, ...]:
    candidate, shape = found.candidate, found.candidate.shape
    return (
        candidate.name,
        size(candidate.weight_bytes),
        size(shape.token_bytes()),
        found.window,
        size(shape.kv_bytes(found.window)),
        found.kv_bits,
        f"{found.speed} tok/s" if found.speed else "",
        candidate.speed,
    )


def _best(memory_gb: int) -> tuple[object, ...]:
    fitting = advice.recommend(_mac(memory_gb))
    if not fitting:
        return advice.EMBEDDED_MODEL, None, None, None
    best = fitting[0]
    return best.candidate.name, size(best.candidate.weight_bytes), best.window, best.kv_bits


def _mac(memory_gb: int, chip: str = MAC) -> advice.Machine:
    return advice.Machine(chip, memory_gb * advice.GIB, metal=True)


def _known(settings: Settings) -> tuple[ModelInfo, ...]:
    """Models as the running server sees them, else as they lie in the folders."""
    running = ask(settings, lambda client: client.models())
    if running is not None:
        return running
    return tuple(replace(m, loaded=False) for m in _catalog(settings).list())


def _catalog(settings: Settings) -> Catalog:
    from anyclaude.engine.catalog import Catalog

    return Catalog(settings.data_dir)
