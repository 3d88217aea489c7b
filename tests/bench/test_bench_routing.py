"""``anyclaude bench routing``: what the issue asks of the strategies, and the docs' table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from anyclaude.bench.routing import (
    HEADINGS,
    TARGETS,
    RoutingPlan,
    RoutingReport,
    cells_of,
    markdown,
    run_routing,
)
from anyclaude.cli.main import main
from anyclaude.routing.values import STRATEGIES

DOCS = Path(__file__).parents[2] / "docs" / "routing.md"


@pytest.fixture(scope="module")
def small() -> RoutingReport:
    return run_routing(RoutingPlan(requests=400))


def test_ten_thousand_requests_are_as_the_docs_say() -> None:
    """The rows of the two strategies that are compared: once, since it takes some seconds."""
    whole = run_routing(RoutingPlan(strategies=("shuffle", "latency")))

    apart, quick = (whole.find(name, affinity=False) for name in ("shuffle", "latency"))
    assert quick.to_shuffle == quick.ttft_mean / apart.ttft_mean <= 0.7
    assert apart.together < 0.6
    for strategy in ("shuffle", "latency"):
        assert whole.find(strategy, affinity=True).together >= 0.99
    assert whole.find("shuffle", affinity=True).ttft_mean < 0.5 * apart.ttft_mean
    # No client sees an error while others can answer.
    assert [row.errors for row in whole.rows] == [0] * 6
    assert all(row.retries > 0 for row in whole.rows)

    shown = DOCS.read_text("utf-8").splitlines()
    for line in markdown(whole).splitlines():
        assert line in shown, f"run `anyclaude bench routing --format markdown`: {line}"
    names = [line.split(" ")[1].rstrip(",") for line in shown if line.endswith(" % |")]
    assert {name: names.count(name) for name in STRATEGIES} == dict.fromkeys(STRATEGIES, 3)


def test_the_same_seed_gives_the_same_rows(small: RoutingReport) -> None:
    again = run_routing(RoutingPlan(requests=400, strategies=("usage", "shuffle")))
    for row in again.rows:
        twin = small.find(row.strategy, affinity=row.affinity, weather=row.weather)
        assert (row.shares, row.ttft_mean) == (twin.shares, twin.ttft_mean)
    other = run_routing(RoutingPlan(requests=400, seed=7, strategies=("shuffle",)))
    assert other.rows[0].ttft_mean != small.rows[0].ttft_mean


def test_every_row_is_whole(small: RoutingReport) -> None:
    assert len(small.rows) == 3 * len(STRATEGIES)
    for row in small.rows:
        assert sum(row.shares.values()) == pytest.approx(1)
        assert list(row.shares) == [fake.traits.name for fake in TARGETS]
        assert 0 < row.ttft_mean <= row.ttft_p95 * 2
        assert row.ttft_mean < row.whole_mean
        assert 1 / 3 <= row.together <= 1
    assert {len(cells) for cells in cells_of(small.rows)} == {len(HEADINGS)}


def test_each_strategy_does_what_it_is_for(small: RoutingReport) -> None:
    shares = {name: small.find(name, affinity=False).shares for name in STRATEGIES}
    for even in ("shuffle", "round-robin", "usage"):
        assert all(0.25 < share < 0.42 for share in shares[even].values()), even
    assert shares["priority"]["fast"] > shares["priority"]["middle"] > shares["priority"]["slow"]
    assert shares["cost"]["middle"] > 0.95
    assert shares["latency"]["fast"] > 0.9
    assert shares["cache-aware"]["fast"] > 0.9
    assert shares["least-busy"]["slow"] < shares["shuffle"]["slow"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strategies", "fastest"], "--strategies fastest: expected some of shuffle,round-"),
        (["--strategies", ","], "--strategies ',': expected some of shuffle,"),
        (["--requests", "0"], "Invalid value for '--requests': 0 is not in the range x>=1."),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["bench", "routing", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert said in line


def test_the_command_prints_what_was_found() -> None:
    asked = ["bench", "routing", "--requests", "40", "--strategies", "latency,shuffle"]
    shown = {
        form: CliRunner().invoke(main, [*asked, "--format", form]).stdout
        for form in ("table", "markdown", "json")
    }
    report = run_routing(RoutingPlan(requests=40, strategies=("shuffle", "latency")))
    assert shown["markdown"] == markdown(report) + "\n"
    assert json.loads(shown["json"]) == report.json()
    lines = shown["table"].splitlines()
    assert [line.split()[0].rstrip(",") for line in lines[2:]] == ["shuffle", "latency"] * 3
