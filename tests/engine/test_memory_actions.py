"""The memory guard over MLX itself: real arrays, a real tree, the real process."""

from __future__ import annotations

import ctypes
import gc

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx_lm.models.cache import KVCache, make_prompt_cache

from anyclaude.engine.footprint import Reading, probe
from anyclaude.engine.kv import KVCutter, KVTree, Layout
from anyclaude.engine.memory import MemoryGuard
from anyclaude.engine.memory_actions import (
    apply_limits,
    carry_out,
    gives_back,
    holdings,
    row_size,
    working_set,
)
from anyclaude.engine.memory_policy import MIB, Freed, MemoryLimits, Relief
from anyclaude.engine.row_size import RowSize
from tests.engine import tiny_models

TOKENS = 512
TOKEN_BYTES = 2 * 8 * 256 * 4


class OneLayer(nn.Module):
    """A cache of 16 kB a token, and nothing else."""

    def make_cache(self) -> list[KVCache]:
        return [KVCache()]


def store(tree: KVTree, layout: Layout, number: int) -> None:
    """A conversation of its own, 8 MB."""
    [cache] = caches = OneLayer().make_cache()
    kv = mx.full((1, 8, TOKENS, 256), float(number))
    cache.update_and_fetch(kv, kv + 1)
    tree.insert((number,) * TOKENS, layout.views(caches))


@pytest.fixture
def layout() -> Layout:
    return Layout.of(OneLayer())


@pytest.fixture
def tree() -> KVTree:
    return KVTree(KVCutter(), needs_state=False)


def nobody() -> str:
    raise AssertionError("no row was to be shed")


def test_holdings_are_true_counts(tree: KVTree, layout: Layout) -> None:
    before = holdings(tree, running=2, ahead=5)
    for number in range(3):
        store(tree, layout, number)
    tree.pin("main", (1,) * TOKENS)
    held = holdings(tree, running=2, ahead=5)
    assert held.tree == 3 * TOKENS * TOKEN_BYTES
    assert held.kept == TOKENS * TOKEN_BYTES
    assert held.tree_tokens == 3 * TOKENS
    assert (held.running, held.ahead) == (2, 5)
    assert held.active - before.active == held.tree


@pytest.mark.skipif(not gives_back(), reason="the C library keeps nothing")
def test_freed_memory_goes_back_without_evicting_anything(tree: KVTree, layout: Layout) -> None:
    store(tree, layout, 1)
    c = ctypes.CDLL(None)
    c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    c.free.argtypes = (ctypes.c_void_p,)
    size, measure = 100_000, probe()  # Less than glibc would map, and unmap, by itself.
    blocks = [c.malloc(size) for _ in range(1000)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks[::2]:
        c.free(block)
    before = measure().footprint
    freed = carry_out(Relief("normal", "", give_back=True), tree, nobody)
    assert freed == Freed()
    assert before - measure().footprint > 30 * MIB
    assert tree.stats().tokens == TOKENS
    for block in blocks[1::2]:
        c.free(block)


def test_an_eviction_goes_back_to_the_system(tree: KVTree, layout: Layout) -> None:
    for number in range(8):
        store(tree, layout, number)
    measure = probe()
    before = measure().footprint
    evict_to = 2 * TOKENS * TOKEN_BYTES
    freed = carry_out(Relief("soft", "", evict_to=evict_to, clear_buffers=True), tree, nobody)
    assert freed.tree == 6 * TOKENS * TOKEN_BYTES
    assert mx.get_cache_memory() == 0
    assert before - measure().footprint > 0.9 * freed.tree


def test_a_reset_takes_everything_but_what_is_leased(tree: KVTree, layout: Layout) -> None:
    for number in range(3):
        store(tree, layout, number)
    tree.pin("main", (1,) * TOKENS)
    lease = tree.lease((2,) * TOKENS)
    freed = carry_out(Relief("hard", "", reset=True, clear_buffers=True), tree, nobody)
    assert freed.tree == 2 * TOKENS * TOKEN_BYTES
    lease.release()


def test_only_idle_buffers_count_as_cleared(tree: KVTree, layout: Layout) -> None:
    gc.collect()
    mx.clear_cache()
    previous = mx.set_cache_limit(64 * MIB)
    try:
        array = mx.zeros((4 * MIB,), mx.float32)
        mx.eval(array)
        del array
        gc.collect()
        freed = carry_out(Relief("soft", "", clear_buffers=True), tree, nobody)
        assert freed.tree == 0
        assert 16 * MIB <= freed.buffers < 17 * MIB
    finally:
        mx.set_cache_limit(previous)


def test_shedding_is_left_to_the_worker(tree: KVTree) -> None:
    freed = carry_out(Relief("hard", "", shed=True), tree, lambda: "req_9")
    assert (freed.shed, freed.total) == ("req_9", 0)


def test_the_buffer_cache_is_bounded() -> None:
    previous = mx.set_cache_limit(1 << 20)
    try:
        apply_limits(MemoryLimits(1 << 30, 12 * MIB, 0, 0, 0), report=lambda *event: None)
        assert mx.set_cache_limit(previous) == 12 * MIB
    finally:
        mx.set_cache_limit(previous)


@pytest.mark.skipif(mx.metal.is_available(), reason="about machines without Metal")
def test_wired_memory_needs_metal() -> None:
    previous = mx.set_cache_limit(1 << 20)
    events: list[tuple[str, str, str]] = []
    apply_limits(MemoryLimits(1 << 30, previous, 1 << 30, 0, 0), lambda *e: events.append(e))
    mx.set_cache_limit(previous)
    assert events == [("warning", "memory", "memory.wired_gb has no effect without Metal")]
    assert working_set() == 0


def test_wiring_happens_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    previous = mx.set_cache_limit(1 << 20)
    wired: list[int] = []
    events: list[tuple[str, str, str]] = []

    def set_wired_limit(limit: int) -> int:
        wired.append(limit)
        if limit > 1 << 30:
            raise ValueError("over the maximum")
        return 0

    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(mx, "set_wired_limit", set_wired_limit)
    for wanted in (0, 1 << 30, 3 << 30):
        apply_limits(MemoryLimits(1 << 30, previous, wanted, 0, 0), lambda *e: events.append(e))
    mx.set_cache_limit(previous)
    assert wired == [1 << 30, 3 << 30]
    assert events == [
        ("warning", "memory", "memory.wired_gb = 3.0 GB is refused: over the maximum")
    ]


@pytest.mark.parametrize(
    "make", [tiny_models.plain, tiny_models.hybrid, tiny_models.latent, tiny_models.sinks]
)
def test_rows_are_planned_from_the_models_own_arguments(make: tiny_models.Make) -> None:
    model = tiny_models.build(make, 60)
    caches = make_prompt_cache(model)
    for _ in range(2):
        model(mx.zeros((1, 256), mx.int32), cache=caches)
        mx.eval([cache.state for cache in caches])
    held = sum(cache.nbytes for cache in caches)
    assert row_size(model).row(512, 256) == held


def test_a_model_that_says_nothing_of_itself_has_no_shape() -> None:
    assert row_size(OneLayer()) == RowSize(None, 2, metal=mx.metal.is_available())


def test_a_forced_limit_holds_while_conversations_keep_coming(tree: KVTree, layout: Layout) -> None:
    """The guard over this very process: the limit is a few conversations above where we are."""
    mx.clear_cache()
    measure = probe()
    limit = int((measure().footprint + 64 * MIB) / 0.8)
    limits = MemoryLimits(limit, 0, 0, 0, 0)
    events: list[str] = []

    def read() -> Reading:
        now = measure()
        return Reading(now.footprint, now.total, now.total)

    guard = MemoryGuard(limits, read, lambda level, kind, text: events.append(text), max_rows=8)
    look = lambda: holdings(tree, running=0, ahead=0)  # noqa: E731
    guard.model_loaded(row_size(OneLayer()), 512, look)
    conversations = limit // (TOKENS * TOKEN_BYTES) + 8
    for number in range(conversations):
        store(tree, layout, number)
        relief = guard.check(look, force=True)
        if relief is not None:
            guard.done(relief, carry_out(relief, tree, nobody))
        assert measure().footprint < limit
    assert tree.stats().nbytes > 32 * MIB
    assert guard.view.level != "hard"
    assert any("of the prefix cache" in text for text in events)
