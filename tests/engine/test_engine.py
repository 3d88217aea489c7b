"""The engine end to end over the double: exact reuse, cancelling, failing, swapping."""

from __future__ import annotations

import asyncio
import random
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from anyclaude.backend import Delta, EchoTurn, Prefill
from anyclaude.engine.constraint import Constraints
from anyclaude.engine.engine import Engine
from anyclaude.errors import EngineFailed, Overloaded, PromptTooLong, Unavailable
from anyclaude.events import Bus, SystemEvent
from anyclaude.types import PrefixBreak, Sampling
from tests.doubles.token_model import DoubleLoader
from tests.engine.conftest import (
    LIMITS,
    OPTIONS,
    Rig,
    StartRig,
    ask,
    collect,
    digest,
    phase,
)

WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")


def words(count: int, seed: str) -> str:
    pick = random.Random(seed)
    return " ".join(pick.choice(WORDS) for _ in range(count))


async def test_answers_from_exactly_the_prompt(rig: Rig) -> None:
    generation = await rig.engine.open(ask("hello"))
    answer = await collect(generation)
    assert answer.text == digest(generation.admission.rendered_prompt)
    assert answer.finish.reason == "stop"
    assert answer.finish.usage.prompt_tokens == await rig.engine.count(ask("hello"))


async def test_next_turn_reads_all_of_the_last_one(rig: Rig) -> None:
    first = await rig.ask(ask("hello"))
    echo = EchoTurn(1, first.finish.tokens)
    generation = await rig.engine.open(ask("hello", first.text, "and now?", echoes=(echo,)))
    second = await collect(generation)
    written = first.finish.usage.prompt_tokens + len(first.finish.tokens)
    assert second.read >= written, "prompt and answer of the first turn come from the cache"
    assert second.text == digest(generation.admission.rendered_prompt)
    assert generation.admission.miss.cause is PrefixBreak.NONE


async def test_usage_is_disjoint_and_follows_the_mark(rig: Rig) -> None:
    request = ask("hello")
    unmarked = replace(request, request=replace(request.request, cache_mark=None))
    cold = (await rig.ask(unmarked)).finish.usage
    assert (cold.cache_read_tokens, cold.cache_creation_tokens) == (0, 0)
    other = ask("something else entirely")
    usage = (await rig.ask(other)).finish.usage
    assert usage.cache_read_tokens > 0
    assert usage.cache_creation_tokens > 0
    assert usage.prompt_tokens == await rig.engine.count(other)


async def test_random_conversations_at_once_never_mix(rig: Rig) -> None:
    pick = random.Random(7)

    async def one(index: int) -> None:
        system = words(pick.choice((5, 80)), f"s{index % 3}")
        turns = [words(pick.choice((3, 40, 150)), f"{index % 4}-{i}") for i in range(1 + index % 3)]
        turns = [t for turn in turns for t in (turn, "noted")][:-1]
        generation = await rig.engine.open(ask(*turns, id=f"req_{index}", system=system))
        answer = await collect(generation)
        assert answer.text == digest(generation.admission.rendered_prompt)

    for batch in range(6):
        await asyncio.gather(*(one(batch * 5 + i) for i in range(5)))
    assert rig.engine.caches.tiers()[0].hits > 10


async def test_cancelled_prefill_keeps_what_it_computed(start_rig: StartRig) -> None:
    rig = await start_rig()
    long = ask(words(400, "long"))
    rig.loader.gate.open.clear()
    generation = await rig.engine.open(long)
    stream = generation.__aiter__()
    rig.loader.gate.open.set()
    progress = await anext(stream)
    assert isinstance(progress, Prefill)
    rig.loader.gate.open.clear()
    await generation.cancel()
    rig.loader.gate.open.set()
    again = await rig.ask(replace(long, id="req_2"))
    assert 64 <= again.read < again.finish.usage.prompt_tokens
    assert rig.loader.gate.prefill_tokens < 2 * again.finish.usage.prompt_tokens


async def test_what_the_budget_has_no_room_for_is_told_with_the_reason(
    start_rig: StartRig,
) -> None:
    small = replace(OPTIONS, limits=replace(LIMITS, cache_bytes=1 << 20))
    rig = await start_rig(options=small, width=256)
    for number in range(3):
        await rig.ask(ask(words(300, f"{number}"), id=f"req_{number}", system=f"{number}"))
    assert rig.engine.caches.tiers()[0].bytes <= 1 << 20
    told = [e.message for e in rig.events.drain() if isinstance(e, SystemEvent)]
    evicted = [message for message in told if "evicted" in message]
    assert evicted and all(
        message.endswith("to keep to 1 MB (cache.memory_gb)") for message in evicted
    )


async def test_cancel_while_decoding_frees_the_row(start_rig: StartRig) -> None:
    rig = await start_rig(script=lambda prompt: words(500, "answer"))
    generation = await rig.engine.open(ask("talk", max_tokens=2000))
    async for event in generation:
        if isinstance(event, Delta):
            break
    await generation.cancel()
    answer = await rig.ask(ask("talk", id="req_2", max_tokens=3))
    assert answer.finish.reason == "length"
    assert answer.read > 0
    assert rig.engine.gauges.running == 0


async def test_max_tokens_and_stop_sequences(start_rig: StartRig) -> None:
    rig = await start_rig(script=lambda prompt: "one two three four")
    short = await rig.ask(ask("count", max_tokens=2))
    assert (short.finish.reason, short.finish.usage.output_tokens) == ("length", 2)
    stopped = await rig.ask(ask("count", id="req_2", stop=("three", "never")))
    assert stopped.text == "one two "
    assert (stopped.finish.reason, stopped.finish.stop_sequence) == ("stop_sequence", "three")


async def test_our_own_limit_of_an_answer_holds(start_rig: StartRig) -> None:
    rig = await start_rig(
        script=lambda prompt: "one two three four", options=replace(OPTIONS, max_output_tokens=2)
    )
    long = await rig.ask(ask("count", max_tokens=100))
    assert (long.finish.reason, long.finish.usage.output_tokens) == ("length", 2)
    short = await rig.ask(ask("count", id="req_2", max_tokens=1))
    assert short.finish.usage.output_tokens == 1


async def test_switched_off_everything_is_told_why(embedded_model_dir: Path) -> None:
    loader, bus = DoubleLoader(embedded_model_dir, digest), Bus()
    engine = Engine(loader, replace(OPTIONS, switched_off="off."), bus)
    engine.start()
    assert (bus.engine_state.phase, bus.engine_state.detail) == ("unloaded", "off.")
    for ask_it in (engine.open(ask("hello")), engine.count(ask("hello")), engine.flush()):
        with pytest.raises(Unavailable, match=r"off\."):
            await ask_it
    for do in (partial(engine.load, "double"), engine.unload, engine.restart):
        with pytest.raises(Unavailable, match=r"off\."):
            do()
    assert bus.engine_state.detail == "off."
    await engine.stop()


async def test_overflow_has_the_clients_wording(start_rig: StartRig) -> None:
    rig = await start_rig(context_limit=100)
    with pytest.raises(PromptTooLong, match=r"prompt is too long: \d+ tokens > 100 maximum"):
        await rig.engine.open(ask(words(200, "x")))
    answer = await rig.ask(ask("hi", max_tokens=32_000))
    assert answer.text


async def test_full_queue_is_overloaded_and_recovers(start_rig: StartRig) -> None:
    rig = await start_rig()
    rig.loader.gate.open.clear()
    open_ = [await rig.engine.open(ask(f"q{i}", id=f"req_{i}")) for i in range(8)]
    with pytest.raises(Overloaded) as refused:
        await rig.engine.open(ask("one too many", id="req_9"))
    assert refused.value.retry_after
    rig.loader.gate.open.set()
    answers = await asyncio.gather(*(collect(g) for g in open_))
    assert [a.text for a in answers] == [digest(g.admission.rendered_prompt) for g in open_]


async def test_a_failed_step_fails_its_requests_only(rig: Rig) -> None:
    rig.loader.gate.fail_next = RuntimeError("no such kernel")
    with pytest.raises(EngineFailed, match="no such kernel"):
        await rig.ask(ask("hello"))
    assert (await rig.ask(ask("hello", id="req_2"))).text


async def test_a_dead_thread_is_reported_and_restarted(rig: Rig) -> None:
    rig.loader.gate.fail_next = SystemExit("gone")
    with pytest.raises(EngineFailed, match="gone"):
        await rig.ask(ask("hello"))
    assert (await phase(rig.events, "failed")).detail.startswith("the MLX thread died")
    with pytest.raises(EngineFailed):
        await rig.engine.open(ask("hello", id="req_2"))
    rig.engine.restart()
    await phase(rig.events, "ready")
    assert (await rig.ask(ask("hello", id="req_3"))).text


async def test_swap_lets_running_answers_finish(start_rig: StartRig) -> None:
    rig = await start_rig(options=replace(OPTIONS, limits=replace(LIMITS, max_running=1)))
    rig.loader.gate.open.clear()
    running = await rig.engine.open(ask("first"))
    waiting = await rig.engine.open(ask("second", id="req_2"))
    rig.loader.gate.open.set()
    stream = running.__aiter__()
    await anext(stream)
    rig.engine.load("other")
    with pytest.raises(Unavailable):
        await rig.engine.open(ask("third", id="req_3"))
    assert (await collect(running)).text == digest(running.admission.rendered_prompt)
    with pytest.raises(Overloaded):
        await collect(waiting)
    assert (await phase(rig.events, "ready")).model == "other"
    fourth = await rig.ask(ask("first", id="req_4"))
    assert fourth.read == 0, "another model's cache is never used"


async def test_a_model_is_ready_once_the_grammar_knows_its_vocabulary(
    start_rig: StartRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = await start_rig()
    made: list[tuple[str, str]] = []

    class Watched(Constraints):
        def vocabulary(self) -> None:
            made.append((threading.current_thread().name, rig.engine._standing.phase))

    monkeypatch.setattr(
        "anyclaude.engine.served.constraints_of", lambda words, eos: Watched(words, eos)
    )
    rig.engine.load("other")
    assert (await phase(rig.events, "ready")).model == "other"
    assert made == [("anyclaude-mlx", "loading")]


async def test_failed_load_says_why_and_another_model_helps(start_rig: StartRig) -> None:
    rig = await start_rig(fail=frozenset({"broken"}))
    rig.engine.load("broken")
    assert "broken on purpose" in (await phase(rig.events, "failed")).detail
    rig.engine.load("double")
    await phase(rig.events, "ready")
    assert (await rig.ask(ask("hello"))).text


async def test_unload_then_requests_are_told(rig: Rig) -> None:
    rig.engine.unload()
    async for event in rig.events:
        if getattr(event, "message", "") == "the model was unloaded":
            break
    with pytest.raises(Unavailable, match="no model is loaded"):
        await rig.engine.open(ask("hello"))


async def test_flush_frees_and_the_next_prompt_is_cold(rig: Rig) -> None:
    await rig.ask(ask("hello"))
    freed = await rig.engine.flush()
    assert freed.entries >= 1
    assert freed.nbytes > 0
    generation = await rig.engine.open(ask("hello", id="req_2"))
    assert generation.admission.miss.cause is PrefixBreak.FLUSHED
    assert (await collect(generation)).read == 0


async def test_stopping_ends_open_requests(rig: Rig) -> None:
    rig.loader.gate.open.clear()
    generation = await rig.engine.open(ask("hello"))
    rig.loader.gate.open.set()
    await rig.engine.stop()
    with pytest.raises(EngineFailed):
        async for _ in generation:
            pass


async def test_a_top_k_beyond_the_vocabulary_harms_nobody(start_rig: StartRig) -> None:
    rig = await start_rig()
    for number, top_k in enumerate((0, 10_000_000, 5)):
        request = ask("hello", id=f"req_{number}")
        sampling = Sampling(temperature=0.01, top_k=top_k)
        sampled = replace(request, request=replace(request.request, sampling=sampling))
        assert (await rig.ask(sampled)).text


async def test_a_request_that_cannot_be_inserted_is_answered(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no room")

    with monkeypatch.context() as patched:
        patched.setattr("anyclaude.engine.kv.Layout.restore", broken)
        with pytest.raises(EngineFailed, match="no room"):
            await rig.ask(ask("hello"))
    assert rig.engine.in_flight == 0
    assert (await rig.ask(ask("hello", id="req_2"))).text


async def test_a_stuck_thread_is_not_believed_after_a_restart(rig: Rig) -> None:
    gate = rig.loader.gate
    gate.open.clear()
    stuck = await rig.engine.open(ask("hello"))
    flush = asyncio.ensure_future(rig.engine.flush())
    await asyncio.sleep(0)
    rig.engine.restart()
    with pytest.raises(EngineFailed):
        await collect(stuck)
    with pytest.raises(EngineFailed):
        await flush
    gate.fail_next = SystemExit("too late")
    gate.open.set()
    await phase(rig.events, "ready")
    gate.fail_next = None
    assert (await rig.ask(ask("hello", id="req_2"))).text


async def test_the_old_model_is_gone_while_the_next_one_loads(start_rig: StartRig) -> None:
    rig = await start_rig()
    await rig.ask(ask("hello"))
    alive: list[int] = []
    rig.loader.before_load.append(lambda: alive.append(rig.loader.alive()))
    rig.engine.load("other")
    await phase(rig.events, "ready")
    assert alive == [0]
