"""Two simulated hours of Claude Code traffic: memory stays flat and every miss is explained.

The short run is thin traffic over the two hours; ``ANYCLAUDE_SOAK=2h`` (or another number of
hours) sends as many requests as a person with three sessions does, in some minutes;
``ANYCLAUDE_SEED`` chooses other traffic.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from anyclaude.engine import worker
from tests.traffic.generator import Traffic
from tests.traffic.judge import COLUMNS, Judge
from tests.traffic.stage import Stage, cache_settings, staged
from tests.traffic.watch import Watch

WIDTH = 512
"""How wide the double's keys are: wide enough that no array is as small as what MLX rounds by."""
TOKENS = 40_000
"""Room for the three sessions that a person works in and two that they have just left: pins beyond
the budget are let go of, the one used longest ago first."""
BUDGET = TOKENS * WIDTH * 8
REQUESTS_AN_HOUR = 900
SHORT = 220
SEED = 7
IDLE_SECONDS = 0.02
"""The pause before answers are written to disk, compressed as the time between requests is."""


def wanted() -> tuple[int, float]:
    """How many requests, over how many simulated hours."""
    soak = os.environ.get("ANYCLAUDE_SOAK", "")
    hours = float(soak.removesuffix("h")) if soak else 0.0
    return (int(hours * REQUESTS_AN_HOUR), hours) if hours else (SHORT, 2.0)


async def drive(stage: Stage, traffic: Traffic, judge: Judge, watch: Watch) -> None:
    for beat in traffic.beats():
        stage.wall.now += beat.seconds
        if beat.action == "flush":
            await stage.runtime.control.flush()
        elif beat.action == "swap":
            await stage.swap("other-double")
        outcomes = await asyncio.gather(*(stage.send(shot) for shot in beat.shots))
        for shot, outcome in zip(beat.shots, outcomes, strict=True):
            judge.note(shot, outcome)
            shot.settle(outcome)
        await stage.idle()
        await watch.look(traffic.sent)


@pytest.mark.timeout(3600)
async def test_two_hours(
    embedded_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "IDLE_SECONDS", IDLE_SECONDS)
    requests, hours = wanted()
    seed = int(os.environ.get("ANYCLAUDE_SEED", SEED))
    traffic, judge = Traffic(seed, requests=requests, hours=hours), Judge()
    cache = cache_settings(BUDGET, l3=True, disk_gb=0.1)
    async with staged(embedded_model_dir, tmp_path, traffic.answers, cache, width=WIDTH) as stage:
        watch = Watch(stage, every=requests // 8)
        await drive(stage, traffic, judge, watch)
        rows = {str(row["id"]): row for row in await stage.rows(COLUMNS)}
        wrong = [*judge.wrong(rows), *watch.wrong()]
    told = [f"requests: {traffic.ops}", f"misses over 500 tokens: {dict(judge.misses)}"]
    told += [f"tokens from disk: {judge.from_disk}", watch.summary()]
    print("\n".join(told))  # noqa: T201
    assert not wrong, "\n".join(wrong)
