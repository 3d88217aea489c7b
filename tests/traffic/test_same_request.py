"""The same request again: while the first runs, and after its client has left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.traffic import words
from tests.traffic.stage import Stage, cache_settings, staged
from tests.traffic.talk import Answers, Json, Outcome, Shot, Talk, Truth

CHUNK = 256
NEARLY = 64
"""Tokens that may be computed twice where two prompts meet in the middle of a chunk."""
ANYTHING = Truth("same", frozenset())


@pytest.fixture
async def stage(embedded_model_dir: Path, tmp_path: Path) -> AsyncIterator[Stage]:
    cache = cache_settings(64 * 2**20, l3=False)
    async with staged(embedded_model_dir, tmp_path, Answers(), cache, prefill_chunk=CHUNK) as stage:
        yield stage


def body_of(stage: Stage, **wanted: object) -> Json:
    """A first prompt of some 5,000 tokens."""
    rng = random.Random(3)
    talk = Talk("same", "anyclaude", words.TOOLS, words.system_prompt("x"), stage.answers, rng)
    mark = stage.answers.mark("All of it was read.")
    talk.begin(f"{words.prose(rng, 3_000)} {mark}")
    return {**talk.body(), **wanted}


def shot(body: Json, *, stream: bool) -> Shot:
    return Shot({**body, "stream": stream}, {"x-claude-code-session-id": "same"}, ANYTHING)


def said(outcome: Outcome) -> str:
    assert outcome.status == 200, outcome.error
    return "".join(str(block["text"]) for block in outcome.content)


async def admitted(stage: Stage, many: int) -> None:
    """Returns when so many requests have been taken by the engine."""
    await stage.until(lambda: stage.admitted >= many)


@pytest.mark.parametrize("temperature", [0, 1])
async def test_two_at_once_cost_one_prefill(stage: Stage, temperature: int) -> None:
    body = body_of(stage, temperature=temperature)
    stage.gate.open.clear()
    one = asyncio.ensure_future(stage.send(shot(body, stream=True)))
    await stage.model_waits()
    other = asyncio.ensure_future(stage.send(shot(body, stream=False)))
    await admitted(stage, 2)
    stage.gate.open.set()
    first, second = await one, await other
    assert said(first) == said(second) == "All of it was read."
    assert first.prompt == second.prompt > 4_000
    assert stage.gate.prefill_tokens <= first.prompt + NEARLY


async def read_most(stage: Stage, prompt: int) -> None:
    """Lets chunks through until 80 % of the prompt are computed; the model then stands still."""
    before = stage.gate.prefill_tokens
    await stage.model_waits()
    while stage.gate.prefill_tokens - before < 0.8 * prompt:
        stage.gate.open.admit(1)
        await stage.model_waits()


async def leave_at_80_percent(stage: Stage, body: Json) -> tuple[str, int]:
    """The hung-up request's id, and how many of its tokens were computed by then."""
    stage.gate.open.clear()
    async with stage.streaming(shot(body, stream=True)) as answer:
        id, prompt = answer.headers["request-id"], _prompt(answer.headers["x-anyclaude-cache"])
        await read_most(stage, prompt)
    return id, stage.gate.prefill_tokens


def _prompt(header: str) -> int:
    return int(header.partition("prompt=")[2].partition(";")[0])


@pytest.mark.parametrize("stream", [True, False])
async def test_it_resumes_where_the_client_hung_up(stage: Stage, stream: bool) -> None:
    body = body_of(stage)
    id, computed = await leave_at_80_percent(stage, body)
    await stage.ended(id)
    stage.gate.open.set()
    await stage.idle()
    again = await stage.send(shot(body, stream=stream))
    assert said(again) == "All of it was read."
    assert again.read >= computed >= 0.8 * again.prompt
    assert stage.gate.prefill_tokens <= again.prompt
    (status,) = await _statuses(stage, id)
    assert status == 499


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("temperature", [0, 1])
async def test_it_takes_over_what_still_runs(stage: Stage, stream: bool, temperature: int) -> None:
    """The client asks again before the server could clear away what it has left."""
    body = body_of(stage, temperature=temperature)
    id, _ = await leave_at_80_percent(stage, body)
    again = asyncio.ensure_future(stage.send(shot(body, stream=stream)))
    await admitted(stage, 2)
    await stage.ended(id)
    stage.gate.open.set()
    outcome = await again
    assert said(outcome) == "All of it was read."
    assert stage.gate.prefill_tokens <= outcome.prompt + NEARLY


async def test_who_stays_is_not_hurt_by_who_leaves(stage: Stage) -> None:
    """Two ask the same, the first one leaves at 80 %: the second has its answer, nothing twice."""
    body = body_of(stage)
    stage.gate.open.clear()
    async with stage.streaming(shot(body, stream=True)) as answer:
        id, prompt = answer.headers["request-id"], _prompt(answer.headers["x-anyclaude-cache"])
        await stage.model_waits()
        stays = asyncio.ensure_future(stage.send(shot(body, stream=False)))
        await admitted(stage, 2)
        await read_most(stage, prompt)
    await stage.ended(id)
    stage.gate.open.set()
    assert said(await stays) == "All of it was read."
    assert stage.gate.prefill_tokens <= prompt + NEARLY


async def _statuses(stage: Stage, id: str) -> list[object]:
    rows = await stage.rows("id, status")
    return [row["status"] for row in rows if row["id"] == id]
