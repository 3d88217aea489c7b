"""``anyclaude bench needle``: what is still known of a conversation that is too long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import click

from anyclaude.cli.bench_tools import until_told
from anyclaude.cli.options import settings_from
from anyclaude.cli.output import table
from anyclaude.cli.progress import Reporter
from anyclaude.config.settings import Overflow
from anyclaude.errors import UsageError

if TYPE_CHECKING:
    from anyclaude.bench.needle import NeedleReport

POLICIES: tuple[Overflow, ...] = get_args(Overflow)


@click.command()
@click.option(
    "--model",
    metavar="M",
    default="scripted",
    show_default=True,
    help="Name or folder of a model; scripted knows a fact exactly if it is in its prompt.",
)
@click.option(
    "--policies",
    metavar="LIST",
    default=",".join(POLICIES[1:]),
    show_default=True,
    help="Values of prompt.overflow, in commas.",
)
@click.option(
    "--window",
    type=click.IntRange(1024),
    metavar="N",
    default=8192,
    show_default=True,
    help="The context window in tokens, at most the model's own.",
)
@click.option(
    "--lengths",
    metavar="LIST",
    default="1.5,3,6",
    show_default=True,
    help="How long the conversations are, in windows, in commas.",
)
@click.option(
    "--facts",
    type=click.IntRange(1),
    metavar="N",
    default=5,
    show_default=True,
    help="Facts for each place, each in a conversation of its own.",
)
@click.option(
    "--max-tokens", type=click.IntRange(1), metavar="N", default=24, help="Of each answer."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "json"]),
    default="table",
    show_default=True,
    help="What to print.",
)
@click.option("--config", type=click.Path(path_type=Path), help="Read this TOML file alone.")
@click.option("--data-dir", metavar="FOLDER", help="Folder in whose models/ the model is.")
def needle(
    model: str,
    policies: str,
    window: int,
    lengths: str,
    facts: int,
    max_tokens: int,
    form: str,
    config: Path | None,
    data_dir: str | None,
) -> None:
    """Plant facts in long conversations and count those that are still known.

    Each is planted in the system prompt, in the user's first or last words, in what is said, or
    in what a tool reads, early, midway or late. Starts servers of its own on temporary folders,
    with the configuration's [prompt], [cache] and [performance].
    """
    chosen = _policies(policies)
    sizes = _lengths(lengths, window)
    settings = settings_from(config, {"data_dir": data_dir})

    from anyclaude.bench.needle import NeedlePlan, run_needles
    from anyclaude.bench.needle_cases import needles

    planted = tuple(one for size in sizes for one in needles(size, facts))
    plan = NeedlePlan(model, chosen, planted, window, max_tokens)
    with Reporter("bench needle") as reporter:
        report = until_told(run_needles(plan, settings, reporter.update))
    click.echo(_shown(report, form))


def _policies(text: str) -> tuple[Overflow, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = next((name for name in names if name not in POLICIES), None)
    if wrong is not None or not names:
        raise UsageError(f"--policies {wrong or repr(text)}: expected some of {','.join(POLICIES)}")
    return tuple(cast(Overflow, name) for name in dict.fromkeys(names))


def _lengths(text: str, window: int) -> tuple[int, ...]:
    """The lengths in tokens."""
    try:
        factors = [float(part) for part in text.split(",")]
    except ValueError:
        factors = []
    if not factors or not all(0 < factor <= 100 for factor in factors):
        raise UsageError(f"--lengths {text}: expected numbers from 0 to 100, such as 1.5,3")
    return tuple(dict.fromkeys(round(factor * window) for factor in factors))


def _shown(report: NeedleReport, form: str) -> str:
    from anyclaude.bench.needle import cells_of, headings, markdown

    if form == "json":
        return json.dumps(report.json(), indent=1)
    about, notes = report.about, report.notes()
    head = (
        f"anyclaude {about['anyclaude']}, mlx {about['mlx']} on {about['machine']};"
        f" {about['model']}, a window of {about['window']} tokens, {about['taken_at']}"
    )
    shown = markdown(report) if form == "markdown" else table(headings(report), cells_of(report))
    return "\n".join([head, "", shown, *(["", *notes] if notes else [])])
