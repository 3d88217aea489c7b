"""``anyclaude bench routing``: the strategies on fake targets in simulated time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from anyclaude.cli.output import table
from anyclaude.cli.progress import Reporter
from anyclaude.errors import UsageError

if TYPE_CHECKING:
    from anyclaude.bench.routing import RoutingReport
    from anyclaude.routing.values import StrategyName


@click.command()
@click.option(
    "--requests",
    type=click.IntRange(1),
    metavar="N",
    default=10_000,
    show_default=True,
    help="For each row.",
)
@click.option(
    "--strategies",
    "names",
    metavar="LIST",
    help="Some of them, in commas; all if absent. Times are compared with shuffle's.",
)
@click.option("--seed", type=int, metavar="S", default=6, show_default=True, help="Of everything.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "json"]),
    default="table",
    show_default=True,
    help="What to print.",
)
def routing(requests: int, names: str | None, seed: int, form: str) -> None:
    """Run every routing strategy on three fake targets, and see who gets what.

    The targets differ in speed, price and failures, and keep the prefixes of the sessions that
    they have answered; the router is the real one, and time is simulated. Without affinity, with
    it, and with it while a target is down. Nothing is contacted, and the same seed gives the same
    table: about half a minute for all of it.
    """
    chosen = _strategies(names)

    from anyclaude.bench.routing import RoutingPlan, run_routing

    with Reporter("bench routing") as reporter:
        report = run_routing(RoutingPlan(requests, seed, chosen), reporter.update)
    click.echo(_shown(report, form))


def _strategies(text: str | None) -> tuple[StrategyName, ...]:
    from anyclaude.routing.values import STRATEGIES

    if text is None:
        return STRATEGIES
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = next((name for name in names if name not in STRATEGIES), None)
    if wrong is not None or not names:
        raise UsageError(
            f"--strategies {wrong or repr(text)}: expected some of {','.join(STRATEGIES)}"
        )
    return tuple(name for name in STRATEGIES if name in names)


def _shown(report: RoutingReport, form: str) -> str:
    from anyclaude.bench.routing import HEADINGS, cells_of, markdown

    match form:
        case "json":
            return json.dumps(report.json(), indent=1)
        case "markdown":
            return markdown(report)
        case _:
            return table(HEADINGS, cells_of(report.rows))
