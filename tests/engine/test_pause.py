"""Admission paused by a person: what comes waits, what runs goes on, and nothing is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest

from anyclaude.backend import Delta
from anyclaude.engine.generation import MlxGeneration
from anyclaude.errors import EngineFailed, Overloaded
from tests.engine.conftest import LIMITS, OPTIONS, Answer, Rig, StartRig, ask, collect, phase
from tests.engine.test_resume import KEPT, resuming


async def paused(rig: Rig, *names: str) -> list[asyncio.Task[Answer]]:
    """Requests that have come to the thread, which had its chance to begin with them."""
    answers = [asyncio.ensure_future(collect(await rig.engine.open(ask(n, id=n)))) for n in names]
    await rig.engine.flush()  # The thread takes one thing after another.
    return answers


async def test_new_requests_wait_and_then_come_in_order(start_rig: StartRig) -> None:
    rig = await start_rig(options=replace(OPTIONS, limits=replace(LIMITS, max_running=1)))
    rig.engine.pause(True)
    ended: list[str] = []
    answers = await paused(rig, "one", "two", "three")
    for name, answer in zip(("one", "two", "three"), answers, strict=True):
        answer.add_done_callback(partial(_note, ended, name))
    assert rig.engine.paused
    assert rig.loader.gate.prefill_calls == 0
    assert rig.engine.in_flight == 3
    assert await rig.engine.count(ask("one")) > 0
    rig.engine.pause(False)
    await asyncio.gather(*answers)
    await asyncio.sleep(0)
    assert ended == ["one", "two", "three"]
    assert not rig.engine.paused


def _note(ended: list[str], name: str, answer: asyncio.Future[Answer]) -> None:
    ended.append(name)


async def test_what_runs_goes_on(start_rig: StartRig) -> None:
    rig = await start_rig(script=lambda prompt: "hello " * 150)
    first = await rig.engine.open(ask("first", id="first"))
    events = aiter(first)
    while not isinstance(await anext(events), Delta):
        pass
    rig.loader.gate.open.clear()  # It is under way, and far from its end.
    rig.engine.pause(True)
    second = asyncio.ensure_future(collect(await rig.engine.open(ask("second", id="second"))))
    rig.loader.gate.open.set()
    assert [event async for event in events][-1].reason == "stop"  # type: ignore[union-attr]
    await rig.engine.flush()
    assert not second.done()
    rig.engine.pause(False)
    assert (await second).finish.reason == "stop"


async def test_an_answer_whose_call_is_written_again_is_under_way(start_rig: StartRig) -> None:
    rig = await start_rig(script=lambda prompt: "hello " * 12)
    rig.engine.pause(True)
    (waiting,) = await paused(rig, "another")
    again = await rig.ask(resuming(KEPT))
    assert again.text in ("true}}\n</tool_call>", "false}}\n</tool_call>")
    assert not waiting.done()
    rig.engine.pause(False)
    await waiting


async def test_an_engine_started_anew_is_still_paused(rig: Rig) -> None:
    rig.engine.pause(True)
    (lost,) = await paused(rig, "before")
    rig.engine.restart()
    with pytest.raises(EngineFailed, match="restarted"):
        await lost
    await phase(rig.events, "ready")
    (waiting,) = await paused(rig, "after")
    assert rig.loader.gate.prefill_calls == 0
    rig.engine.pause(False)
    await waiting


async def test_another_model_can_be_loaded_meanwhile(rig: Rig) -> None:
    rig.engine.pause(True)
    (waiting,) = await paused(rig, "before")
    rig.engine.load("other")
    with pytest.raises(Overloaded, match="being changed"):
        await waiting
    await phase(rig.events, "ready")
    (after,) = await paused(rig, "after")
    assert rig.loader.gate.prefill_calls == 0
    rig.engine.pause(False)
    await after


async def test_a_client_that_leaves_while_it_waits_costs_nothing(rig: Rig) -> None:
    rig.engine.pause(True)
    generation: MlxGeneration = await rig.engine.open(ask("gone"))
    await generation.cancel()
    rig.engine.pause(False)
    await rig.engine.flush()
    assert rig.loader.gate.prefill_calls == 0
    assert rig.engine.in_flight == 0


async def test_a_paused_engine_stops_at_once(rig: Rig) -> None:
    rig.engine.pause(True)
    (waiting,) = await paused(rig, "never")
    await rig.engine.stop()
    with pytest.raises(EngineFailed, match="stopping"):
        await waiting
    worker = rig.engine._worker
    assert worker is not None and not worker.is_alive()
