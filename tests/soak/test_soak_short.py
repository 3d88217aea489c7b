"""The soak in short: fewer clients, and as many requests as meet every fault some times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.soak.stage import Plan, soak
from tests.soak.upstream import FAULTS
from tests.soak.watch import SPARE, Sample, drift, markdown, memory, wrong

MB = 2**20


@pytest.mark.timeout(600)
async def test_among_faults_every_request_is_answered_and_nothing_is_left(tmp_path: Path) -> None:
    plan = Plan(clients=20, requests=1_500, think_s=0.0)
    report = await soak(tmp_path, plan)
    assert report.wrong == []
    assert {name for name, _ in FAULTS} < report.faults.keys()
    for outcome in ("a whole stream", "a whole body", "an error event", "left in the middle"):
        assert report.tally.outcomes[outcome] > 10, outcome
    assert "broken" not in report.tally.outcomes
    assert report.after.descriptors <= report.before.descriptors + SPARE + plan.clients


def samples(*megabytes: int, descriptors: int = 40) -> list[Sample]:
    return [Sample(60.0 * n, 100 * n, mb * MB, descriptors, 9) for n, mb in enumerate(megabytes)]


def test_what_grows_is_told() -> None:
    idle = Sample(0.0, 0, 100 * MB, 30, 9)
    flat = samples(100, 150, 200, 200, 201, 199, 203, 202, 201)
    assert drift(flat, memory) == (200 * MB, 202 * MB)
    assert wrong(flat, idle, idle, 10) == []
    grows = samples(100, 150, 200, 200, 210, 220, 230, 240, 250)
    assert wrong(grows, idle, idle, 10) == ["memory grew from 210 to 240 MB"]
    leaks = Sample(600.0, 900, 200 * MB, 51, 9)
    assert wrong(flat, idle, leaks, 10) == ["51 descriptors are open, 30 before"]
    leaking = [replace(sample, descriptors=40 + 4 * n) for n, sample in enumerate(flat)]
    assert wrong(leaking, idle, idle, 10) == [
        "descriptors grew from 56 to 68",
        "72 descriptors were open at once",
    ]
    many = samples(200, 200, 200, descriptors=71)
    assert wrong(many, idle, idle, 10) == ["71 descriptors were open at once"]


def test_the_table_ends_with_the_last_sample() -> None:
    rows = markdown(samples(*range(100, 200)), rows=10).splitlines()
    assert len(rows) == 12
    assert rows[-1] == "| 99.0 | 9,900 | 199 MB | 40 | 9 |"
