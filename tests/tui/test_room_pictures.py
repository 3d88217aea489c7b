"""Pictures of the tree, vitals and backends rooms: full, empty and in trouble."""

from __future__ import annotations

import pytest
from syrupy.assertion import SnapshotAssertion

from anyclaude.control import PrefixTreePicture
from anyclaude.errors import EngineFailed, Unavailable
from anyclaude.events import EngineState, TierStats
from tests.tui.conftest import Opener
from tests.tui.fake_source import HEADS, MODEL, READY, FakeSource, vitals
from tests.tui.room_scenes import busy, minutes, source

SIZES = [(120, 40), (80, 24), (60, 40)]


def _name(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


sizes = pytest.mark.parametrize("size", SIZES, ids=_name)
all_sizes = pytest.mark.parametrize("size", [(160, 45), (100, 30), *SIZES, (40, 20)], ids=_name)


@all_sizes
async def test_tree(console: Opener, svg: SnapshotAssertion, size: tuple[int, int]) -> None:
    async with console(size=size, source=source()) as stage:
        await stage.send(*busy())
        await stage.press("T")
        await stage.press("j", "j")
        assert stage.picture() == svg


@sizes
async def test_tree_of_nothing(
    console: Opener, svg: SnapshotAssertion, size: tuple[int, int]
) -> None:
    async with console(size=size) as stage:
        stage.source.fake.tree = PrefixTreePicture(MODEL, (), 0)
        await stage.send(READY)
        await stage.press("T")
        assert stage.picture() == svg


@sizes
async def test_tree_that_cannot_be_read(
    console: Opener, svg: SnapshotAssertion, size: tuple[int, int]
) -> None:
    async with console(size=size, source=source()) as stage:
        await stage.send(*busy())
        stage.source.fake.failure = EngineFailed("the MLX thread has ended: [metal] no memory")
        await stage.press("T")
        assert stage.picture() == svg


@all_sizes
async def test_vitals(console: Opener, svg: SnapshotAssertion, size: tuple[int, int]) -> None:
    async with console(size=size, source=source()) as stage:
        minutes(stage.app.store)
        await stage.send(*busy())
        await stage.press("v")
        await stage.settle()
        assert stage.picture() == svg


@sizes
async def test_vitals_of_nothing(
    console: Opener, svg: SnapshotAssertion, size: tuple[int, int]
) -> None:
    async with console(size=size) as stage:
        await stage.press("v")
        await stage.settle()
        assert stage.picture() == svg


@sizes
async def test_vitals_after_a_failure(
    console: Opener, svg: SnapshotAssertion, size: tuple[int, int]
) -> None:
    async with console(size=size, source=source()) as stage:
        minutes(stage.app.store)
        await stage.send(*busy())
        stage.clock.advance(45)
        await stage.send(EngineState("failed", MODEL, 0.0, "[metal::malloc] out of memory"))
        await stage.press("v")
        await stage.settle()
        assert stage.picture() == svg


@all_sizes
async def test_backends(console: Opener, svg: SnapshotAssertion, size: tuple[int, int]) -> None:
    async with console(size=size, source=source()) as stage:
        await stage.send(*busy())
        await stage.press("b")
        await stage.settle()
        assert stage.picture() == svg


@sizes
async def test_backends_slots(
    console: Opener, svg: SnapshotAssertion, size: tuple[int, int]
) -> None:
    async with console(size=size, source=source()) as stage:
        await stage.send(*busy())
        await stage.press("b", "s", "j", "j", "enter")
        await stage.settle()
        assert stage.picture() == svg


@sizes
async def test_backends_none(
    console: Opener, svg: SnapshotAssertion, size: tuple[int, int]
) -> None:
    async with console(size=size) as stage:
        await stage.send(READY)
        await stage.press("b")
        await stage.settle()
        assert stage.picture() == svg


@sizes
async def test_backends_engine_failed(
    console: Opener, svg: SnapshotAssertion, size: tuple[int, int]
) -> None:
    found: FakeSource = source()
    local, *others = found.fake.served
    async with console(size=size, source=found) as stage:
        await stage.send(*busy())
        why = "[metal::malloc] 9.1 GB exceed the limit"
        await stage.send(EngineState("failed", MODEL, 0.0, why))
        stage.source.fake.served = (
            type(local)("mlx", "mlx", False, 0, 400.0, why),
            *others,
        )
        await stage.press("b")
        await stage.settle()
        assert stage.picture() == svg


@sizes
async def test_backends_unknown(
    console: Opener, svg: SnapshotAssertion, size: tuple[int, int]
) -> None:
    async with console(size=size, source=source()) as stage:
        await stage.send(*busy())
        stage.source.fake.failure = Unavailable("the server is stopping")
        await stage.press("b")
        await stage.settle()
        assert stage.picture() == svg


@all_sizes
async def test_cache_pane(console: Opener, svg: SnapshotAssertion, size: tuple[int, int]) -> None:
    found = source()
    found.fake.heads = HEADS
    async with console(size=size, source=found) as stage:
        minutes(stage.app.store)
        await stage.send(*busy())
        kv = vitals().tiers[0]
        stats = (9, 14, 57, 19_327_352_832, 53_687_091_200, 11, 212_000, 96.0)
        await stage.send(vitals(tiers=(kv, TierStats("kv-disk", True, *stats))))
        await stage.press("2")
        assert stage.picture() == svg
