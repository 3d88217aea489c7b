"""``anyclaude bench``: the project's own benchmark, and others by their names."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anyclaude.cli.bench_needle import needle
from anyclaude.cli.bench_routing import routing
from anyclaude.cli.bench_tools import tools, until_told
from anyclaude.cli.options import settings_from
from anyclaude.cli.output import table
from anyclaude.cli.progress import Reporter
from anyclaude.errors import UsageError

if TYPE_CHECKING:
    from anyclaude.bench.run import Plan, Report
    from anyclaude.config.settings import Settings

PHASES = (
    "prefix",
    "decode",
    "streams",
    "constrained",
    "stall",
    "join",
    "restart",
    "memory",
)


@click.group(invoke_without_command=True, subcommand_metavar="[COMMAND]")
@click.option("--model", metavar="M", help="Name or folder of the model; the embedded one else.")
@click.option(
    "--peer",
    type=click.Choice(["auto", "none"]),
    default="auto",
    show_default=True,
    help="auto compares with mlx_lm.server where it is installed.",
)
@click.option(
    "--phases",
    metavar="LIST",
    default=",".join(PHASES),
    show_default=True,
    help="What to measure, in commas. restart includes prefix.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    metavar="N",
    help="Rounds of which medians are taken: 5, or 1 with --quick.",
)
@click.option(
    "--words",
    metavar="LIST",
    help="Words of the prefixes, in commas, a token each: 1500,6000, or 300 with --quick.",
)
@click.option(
    "--cycles",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="How often turn, branch and back are taken behind each cold prompt.",
)
@click.option("--quick", is_flag=True, help="Small prompts, for a look in a minute.")
@click.option("--seed", metavar="S", help="Of the prompts; a new one each time if absent.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "json"]),
    default="table",
    show_default=True,
    help="What to print.",
)
@click.option(
    "--json",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write every sample to this file too.",
)
@click.option("--config", type=click.Path(path_type=Path), help="Read this TOML file alone.")
@click.option("--data-dir", metavar="FOLDER", help="Folder in whose models/ the model is.")
@click.pass_context
def bench(
    context: click.Context,
    model: str | None,
    peer: str,
    phases: str,
    rounds: int | None,
    words: str | None,
    cycles: int,
    quick: bool,
    seed: str | None,
    form: str,
    file: Path | None,
    config: Path | None,
    data_dir: str | None,
) -> None:
    """Measure anyclaude, the model's own forward pass, and mlx_lm.server.

    Starts servers of its own on a temporary folder, with the configuration's [cache] and
    [performance]; a running server and its data aren't touched, but share the machine: stop it.
    Prompts are new random words in every round. A whole run takes a few minutes on a Mac, and
    up to an hour without Metal.
    """
    if context.invoked_subcommand is not None:
        _nothing_before(context, context.invoked_subcommand)
        return
    sizes = _words(words)
    chosen = _phases(phases)
    if file is not None and not file.absolute().parent.is_dir():
        raise UsageError(f"--json {file}: there is no folder {file.absolute().parent}")
    settings = settings_from(config, {"data_dir": data_dir})

    from anyclaude.bench.run import Plan, peer_installed
    from anyclaude.bench.workload import QUICK, Sizes
    from anyclaude.engine.smollm2 import EMBEDDED_NAME

    given = replace(QUICK if quick else Sizes(), cycles=cycles)
    plan = Plan(
        model=model or EMBEDDED_NAME,
        phases=chosen,
        rounds=rounds or (1 if quick else 5),
        sizes=replace(given, prefixes=sizes) if sizes else given,
        peer=peer == "auto" and peer_installed(),
        seed=seed or str(time.time_ns()),
    )
    report = _run(plan, settings)
    if file is not None:
        file.write_text(json.dumps(report.json(), indent=1) + "\n", "utf-8")
    click.echo(_shown(report, form))


bench.add_command(tools)
bench.add_command(routing)
bench.add_command(needle)


def _nothing_before(context: click.Context, command: str) -> None:
    """Refuses options that the command after them would not see."""
    for param in context.command.params:
        given = context.get_parameter_source(param.name or "")
        if given is click.core.ParameterSource.COMMANDLINE:
            raise UsageError(f"{param.opts[0]} stands before {command}: put it after {command}")


def _phases(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = next((name for name in names if name not in PHASES), None)
    if wrong is not None or not names:
        raise UsageError(f"--phases {wrong or repr(text)}: expected some of {','.join(PHASES)}")
    if "restart" in names:
        names.append("prefix")
    return tuple(name for name in PHASES if name in names)


def _words(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--words {text}: expected whole numbers, such as 1500,6000")
    return tuple(dict.fromkeys(map(int, parts)))


def _run(plan: Plan, settings: Settings) -> Report:
    from anyclaude.bench.run import run

    with Reporter("bench") as reporter:
        return until_told(run(plan, settings, reporter.update))


def _shown(report: Report, form: str) -> str:
    from anyclaude.bench.figures import HEADINGS, markdown, rows_of

    if form == "json":
        return json.dumps(report.json(), indent=1)
    lines = [_about(report), ""]
    if form == "markdown":
        lines += [markdown(report.figures), ""]
        lines += [f"- {note}" for note in report.figures.notes]
    else:
        lines += [table(HEADINGS, rows_of(report.figures)), ""]
        lines += report.figures.notes
    return "\n".join(lines).rstrip()


def _about(report: Report) -> str:
    about = report.about
    parts = [f"anyclaude {about['anyclaude']}", *([about["peer"]] if about["peer"] else [])]
    rounds = "one round" if about["rounds"] == 1 else f"medians of {about['rounds']} rounds"
    return (
        f"{', '.join(map(str, parts))}, mlx {about['mlx']}; {about['model']} on {about['machine']};"
        f" {rounds}, {about['taken_at']}"
    )
