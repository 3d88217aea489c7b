"""The engine over a disk tier: what was computed once is never computed again, not after a
restart either."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from anyclaude.backend import EchoTurn
from anyclaude.caches.kv.disk import DiskLimits, DiskTier
from anyclaude.engine.engine import Engine, EngineOptions
from anyclaude.engine.worker import ModelLoader
from anyclaude.events import Bus, SystemEvent
from tests.doubles.token_model import DoubleLoader, Gate
from tests.engine.conftest import LIMITS, OPTIONS, Answer, ask, collect, digest, phase
from tests.engine.kv_rows import one_kv_head
from tests.engine.tiny_models import Make, TinyLoader, hybrid, plain, recurrent, rotating

LONG = "tell me of " + "ships and harbours and " * 120
NO_WARM_UP = replace(OPTIONS, limits=replace(LIMITS, warm_up=False))


class House:
    """An engine and its disk tier, as after a start of the program."""

    def __init__(self, engine: Engine, disk: DiskTier, events: list[SystemEvent]) -> None:
        self.engine = engine
        self.disk = disk
        self.events = events

    async def ask(self, *turns: str, echoes: tuple[EchoTurn, ...] = (), id: str = "r") -> Answer:
        return await collect(
            await self.engine.open(ask(*turns, echoes=echoes, id=id, max_tokens=12))
        )

    async def written(self) -> None:
        """Returns when everything that is worth it is on disk."""
        worker = self.engine._worker
        assert worker is not None
        # The thread does this when idle, and tells nobody.
        while worker._serving is None or worker._serving.unwritten:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.wrap_future(self.disk.drain())

    async def leave(self) -> None:
        await self.engine.stop()
        self.disk.close()


Start = Callable[..., Awaitable[House]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    houses: list[House] = []

    async def begin(loader: ModelLoader, options: EngineOptions = NO_WARM_UP) -> House:
        events: list[SystemEvent] = []
        disk = DiskTier(tmp_path / "kv", DiskLimits(1 << 30, 0), events.append)
        bus = Bus()
        subscription = bus.subscribe()
        engine = Engine(loader, options, bus, disk=disk)
        engine.start()
        engine.load("model")
        await asyncio.wait_for(phase(subscription, "ready"), 60)
        house = House(engine, disk, events)
        houses.append(house)
        return house

    yield begin
    for house in houses:
        await house.leave()


async def test_a_restart_starts_where_it_was(start: Start, embedded_model_dir: Path) -> None:
    gate = Gate()
    loader = DoubleLoader(embedded_model_dir, digest, gate=gate)
    house = await start(loader)
    first = await house.ask(LONG)
    await house.written()
    await house.leave()
    gate.prefill_tokens = 0
    house = await start(loader)
    await asyncio.wrap_future(house.disk.drain())
    generation = await house.engine.open(ask(LONG, id="again", max_tokens=12))
    again = await collect(generation)
    prompt = first.finish.usage.prompt_tokens
    assert again.text == first.text
    assert again.read == prompt - 1
    assert generation.admission.from_disk == prompt - 1
    assert gate.prefill_tokens <= 1
    memory, disk = house.engine.caches.tiers()
    assert (memory.hits, disk.hits, disk.tokens_saved) == (0, 1, prompt - 1)
    third = await house.ask(LONG, id="third")
    assert third.read == prompt - 1
    assert house.engine.caches.tiers()[0].hits == 1, "what was loaded lies in memory now"


async def test_once_nobody_waits_what_was_loaded_needs_its_files_no_more(
    start: Start, embedded_model_dir: Path, tmp_path: Path
) -> None:
    loader = DoubleLoader(embedded_model_dir, digest)
    house = await start(loader)
    first = await house.ask(LONG)
    await house.written()
    await house.leave()
    house = await start(loader)
    await asyncio.wrap_future(house.disk.drain())
    tree = house.engine.caches.tree
    assert tree is not None
    loaded = await house.ask(LONG)
    assert tree.on_loan
    await house.written()
    assert not tree.on_loan
    for path in (tmp_path / "kv").glob("*/kv-*"):
        os.truncate(path, 0)
    again = await house.ask(LONG)
    assert first.text == loaded.text == again.text
    assert again.read == first.finish.usage.prompt_tokens - 1


@pytest.mark.parametrize("make", [plain, rotating, recurrent, hybrid])
async def test_every_kind_of_cache_comes_back_exactly(
    start: Start, embedded_model_dir: Path, make: Make
) -> None:
    loader = TinyLoader(embedded_model_dir, make)
    house = await start(loader)
    first = await house.ask(LONG)
    echo = EchoTurn(1, first.finish.tokens)
    turns = (LONG, "an answer", "And then?")
    await house.written()
    warm = await house.ask(*turns, echoes=(echo,))
    await house.leave()
    house = await start(loader)
    await asyncio.wrap_future(house.disk.drain())
    restarted = await house.ask(*turns, echoes=(echo,))
    assert restarted.finish.tokens == warm.finish.tokens
    assert restarted.read >= first.finish.usage.prompt_tokens - 4


async def test_the_head_is_warm_before_anyone_asks(start: Start, embedded_model_dir: Path) -> None:
    gate = Gate()
    loader = DoubleLoader(embedded_model_dir, digest, gate=gate)
    house = await start(loader, OPTIONS)
    await house.engine.open(ask("hello", id="one", system="You know " + "ships and " * 200))
    generation = await house.engine.open(
        ask("hello", id="two", system="You know " + "ships and " * 200)
    )
    await collect(generation)
    await house.written()
    await house.leave()
    house = await start(loader, OPTIONS)
    tree = house.engine.caches.tree
    assert tree is not None
    while tree.stats().tokens < generation.admission.system_tokens:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    asked = await house.engine.open(
        ask("something else", id="three", system="You know " + "ships and " * 200)
    )
    assert asked.admission.usage.cache_read_tokens >= generation.admission.system_tokens
    await collect(asked)


async def test_a_flush_of_the_disk_really_deletes(
    start: Start, embedded_model_dir: Path, tmp_path: Path
) -> None:
    house = await start(DoubleLoader(embedded_model_dir, digest))
    await house.ask(LONG)
    await house.written()
    assert house.engine.caches.tiers()[1].entries > 0
    freed = await house.engine.flush_disk()
    assert freed.entries > 0 and freed.nbytes > 0
    assert not [p for p in (tmp_path / "kv").rglob("*-*") if p.is_file()]
    await house.engine.flush()
    again = await house.ask(LONG, id="again")
    assert again.read == 0


async def test_what_waited_for_the_disk_is_not_written_after_a_flush_of_it(
    start: Start, embedded_model_dir: Path, tmp_path: Path
) -> None:
    house = await start(DoubleLoader(embedded_model_dir, digest))
    first = await house.ask(LONG)
    await house.engine.flush_disk()
    await house.written()
    assert not [p for p in (tmp_path / "kv").rglob("kv-*") if p.is_file()]
    again = await house.ask(LONG, id="again")
    assert again.read == first.finish.usage.prompt_tokens - 1, "memory has it still"


async def test_broken_files_cost_a_prefill_and_an_event(
    start: Start, embedded_model_dir: Path, tmp_path: Path
) -> None:
    loader = DoubleLoader(embedded_model_dir, digest)
    house = await start(loader)
    first = await house.ask(LONG)
    await house.written()
    await house.leave()
    for path in (tmp_path / "kv").rglob("kv-*"):
        data = bytearray(path.read_bytes())
        data[-5] ^= 0xFF
        path.write_bytes(data)
    house = await start(loader)
    await asyncio.wrap_future(house.disk.drain())
    again = await house.ask(LONG, id="again")
    assert again.text == first.text
    assert again.read < first.finish.usage.prompt_tokens - 1
    assert house.events


async def test_another_model_never_gets_these_files(start: Start, embedded_model_dir: Path) -> None:
    house = await start(TinyLoader(embedded_model_dir, plain))
    await house.ask(LONG)
    await house.written()
    await house.leave()
    house = await start(DoubleLoader(embedded_model_dir, digest))
    await asyncio.wrap_future(house.disk.drain())
    assert (await house.ask(LONG)).read == 0


@pytest.mark.parametrize("bits", [8, 4])
async def test_kv_in_few_bits_is_small_comes_back_and_is_nobody_elses(
    start: Start, embedded_model_dir: Path, bits: Literal[8, 4]
) -> None:
    loader = TinyLoader(embedded_model_dir, one_kv_head)
    house = await start(loader)
    first = await house.ask(LONG)
    whole = house.engine.caches.tiers()[0].bytes
    await house.written()
    await house.leave()
    few = replace(NO_WARM_UP, limits=replace(NO_WARM_UP.limits, kv_bits=bits))
    house = await start(loader, few)
    await asyncio.wrap_future(house.disk.drain())
    anew = await house.ask(LONG)
    assert (anew.read, anew.finish.tokens) == (0, first.finish.tokens)
    assert 0 < house.engine.caches.tiers()[0].bytes < whole * (bits + 3) / 32
    await house.written()
    await house.leave()
    house = await start(loader, few)
    await asyncio.wrap_future(house.disk.drain())
    again = await house.ask(LONG, id="again")
    assert again.read == first.finish.usage.prompt_tokens - 1


async def test_the_picture_has_what_a_restart_left_on_disk(
    start: Start, embedded_model_dir: Path
) -> None:
    loader = DoubleLoader(embedded_model_dir, lambda prompt: "Hello")
    house = await start(loader)
    await house.ask(LONG)
    await house.written()
    nodes = (await house.engine.caches.picture(400)).nodes
    # The end of the answer is too short for a file.
    (both,) = [node for node in nodes if node.tokens >= 64]
    assert both.on_disk and both.bytes
    await house.leave()
    house = await start(loader)
    await asyncio.wrap_future(house.disk.drain())
    (left,) = (await house.engine.caches.picture(400)).nodes
    assert left.on_disk and not left.bytes and not left.sessions
    assert left.text == both.text
    assert left.tokens <= both.tokens < left.tokens + 64
