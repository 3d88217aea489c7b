"""Facts in long conversations: what is planted, how it is counted, and a run over real servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from anyclaude.bench.needle import (
    Found,
    NeedlePlan,
    NeedleReport,
    cells_of,
    headings,
    markdown,
    run_needles,
)
from anyclaude.bench.needle_cases import MUST, PLACES, needles
from anyclaude.cli.main import main
from anyclaude.config.settings import Settings


@pytest.mark.parametrize("place", PLACES)
def test_a_fact_stands_where_it_is_said_to_and_once(place: str) -> None:
    (needle,) = (one for one in needles(4_000, 1) if one.place == place)
    body = needle.body(24)
    assert json.dumps(body).count(needle.fact) == 1 and needle.value in needle.fact
    assert body == needle.body(24)
    messages = body["messages"]
    assert isinstance(messages, list)
    at = [index for index, one in enumerate(messages) if needle.fact in json.dumps(one)]
    if place == "system":
        assert not at
    elif place == "last words":
        assert at == [len(messages) - 1]
    else:
        share = at[0] / len(messages)
        late, midway = place.endswith("late"), place.endswith("midway")
        assert share > 0.8 if late else 0.3 < share < 0.7 if midway else share < 0.3


def test_length_follows_the_tokens_asked_for() -> None:
    short, long = (len(json.dumps(next(needles(n, 1)).body(24))) for n in (4_000, 16_000))
    assert 3 < long / short < 5


def test_known_facts_are_counted_by_policy_length_and_place() -> None:
    outcomes = [
        Found("window", 100, "system", True, 60, "amber-1"),
        Found("window", 100, "system", False, 70, "no"),
        Found("window", 200, "said late", True, 80, "jade-1"),
        Found("refuse", 100, "system", False, 0, "", "400 prompt is too long"),
    ]
    report = NeedleReport(outcomes, {"model": "m"})
    assert headings(report) == ("policy", "length", "prompt", "system", "said late")
    assert cells_of(report) == [
        ("window", 100, 70, "1/2", "0/0"),
        ("window", 200, 80, "0/0", "1/1"),
        ("refuse", 100, 0, "refused", "0/0"),
    ]
    assert markdown(report).splitlines()[2] == "| window | 100 | 70 | 1/2 | 0/0 |"
    assert report.share("window", ["system"]) == 0.5
    assert report.share("window", ["read late"]) is None
    assert report.notes() == ["refuse, 100: 1 without an answer, such as: 400 prompt is too long"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policies", "never"], "--policies never: expected some of refuse,"),
        (["--lengths", "0"], "--lengths 0: expected numbers from 0 to 100"),
        (["--lengths", "x"], "--lengths x: expected numbers"),
        (["--window", "5"], "Invalid value for '--window'"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["bench", "needle", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert said in line


@pytest.mark.model
async def test_each_policy_keeps_what_it_promises(tmp_path: Path, embedded_model_dir: Path) -> None:
    """On the scripted model: must-haves and kept turns whole, four fifths of what is compressed."""
    data = tmp_path / "data"
    (data / "models").mkdir(parents=True, mode=0o700)
    (data / "models" / embedded_model_dir.name).symlink_to(embedded_model_dir)
    window = 4_096
    planted = tuple(one for size in (6_000, 8_000) for one in needles(size, 3))
    plan = NeedlePlan(
        "scripted", ("clear_tools", "window", "compress"), planted, window, max_tokens=24
    )
    settings = Settings(data, data / "anyclaude.duckdb")
    report = await run_needles(plan, settings, lambda share, what: None)
    assert not report.notes(), report.notes()
    for policy in plan.policies:
        assert report.share(policy, sorted(MUST)) == 1.0, markdown(report)
        assert report.share(policy, ["said late", "read late"]) == 1.0, markdown(report)
        assert all(one.tokens < window for one in report.outcomes)
    said = [place for place in PLACES if place.startswith("said")]
    assert report.share("clear_tools", said) == 1.0, markdown(report)
    early = [place for place in PLACES if place not in MUST and not place.endswith("late")]
    known = report.share("compress", early)
    assert known is not None and known >= 0.8, markdown(report)
    left = report.share("window", early)
    assert left is not None and left < 0.5, "or the conversations aren't too long"
