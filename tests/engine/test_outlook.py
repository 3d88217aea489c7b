"""What the engine foresees of a request is what it then finds."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path

from anyclaude.backend import EchoTurn
from anyclaude.engine.engine import Engine
from anyclaude.engine.outlook import outlook
from anyclaude.events import Bus
from tests.doubles.token_model import DoubleLoader, Gate
from tests.engine.conftest import OPTIONS, Rig, StartRig, ask, collect, digest


async def test_without_a_model_it_takes_for_ever(embedded_model_dir: Path) -> None:
    engine = Engine(DoubleLoader(embedded_model_dir, digest), OPTIONS, Bus())
    seen = outlook(engine, "session", 100)
    assert (seen.queue_seconds, seen.matched_tokens) == (math.inf, 0)


async def test_a_conversation_goes_on_from_what_was_read_and_written(rig: Rig) -> None:
    assert outlook(rig.engine, "session", 100).matched_tokens == 0
    first = await rig.ask(ask("hello"))
    seen = outlook(rig.engine, "session", 5000)
    echo = EchoTurn(1, first.finish.tokens)
    second = await rig.ask(ask("hello", first.text, "and now?", echoes=(echo,), id="req_2"))
    assert seen.matched_tokens == first.finish.usage.prompt_tokens + len(first.finish.tokens)
    assert 0 <= second.read - seen.matched_tokens <= 2, "all of it was found, and little more"
    assert (seen.prompt_tokens, seen.queue_seconds) == (5000, 0.0)
    assert seen.prefill_tps > 0
    assert outlook(rig.engine, "another", 100).matched_tokens == 0
    assert outlook(rig.engine, "", 100).matched_tokens == 0


async def test_a_guess_is_no_less_than_what_is_known(rig: Rig) -> None:
    await rig.ask(ask("hello " * 50))
    seen = outlook(rig.engine, "session", 1)
    assert seen.prompt_tokens == seen.matched_tokens + 1


async def test_a_flushed_cache_promises_nothing(rig: Rig) -> None:
    await rig.ask(ask("hello"))
    await rig.engine.flush()
    assert outlook(rig.engine, "session", 100).matched_tokens == 0


async def test_those_before_it_are_waited_for(start_rig: StartRig) -> None:
    gate = Gate()
    rig = await start_rig(gate=gate)
    await rig.ask(ask("hello"))
    gate.open.clear()
    long = await rig.engine.open(replace(ask("word " * 400, id="req_2"), session_id="other"))
    seen = outlook(rig.engine, "session", 100)
    unread = long.admission.usage.prompt_tokens - long.admission.usage.cache_read_tokens
    assert seen.queue_seconds == unread / seen.prefill_tps
    gate.open.set()
    await asyncio.wait_for(collect(long), 30)
    assert outlook(rig.engine, "session", 100).queue_seconds == 0.0
