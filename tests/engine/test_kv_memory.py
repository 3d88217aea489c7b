"""What stored KV costs: quantised edges, and bytes counted against those that MLX holds."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import mlx.core as mx
import pytest
from mlx_lm.models.cache import KVCache, make_prompt_cache

from anyclaude.engine.kv import KVCutter, Layout, QuantisedLayerKV, RowCaches, StateKV
from anyclaude.types import Tokens
from tests.engine.kv_rows import (
    MODELS,
    Leaves,
    kv_of,
    made,
    near,
    one_kv_head,
    run,
    tokens_of,
    tree_of,
)
from tests.engine.tiny_models import Make

# ------------------------------------------------------------------------------ quantised edges


@pytest.mark.parametrize(("bits", "tolerance"), [(8, 0.02), (4, 0.4)])
def test_quantised_edges_come_back_near(bits: int, tolerance: float) -> None:
    model = made(one_kv_head)
    layout = Layout.of(model)
    exact, small = tree_of(layout), tree_of(layout, bits)
    tokens, rest = tokens_of(5, 300), tokens_of(6, 12)
    caches: RowCaches = list(make_prompt_cache(model))
    run(model, caches, tokens, 64)
    views = layout.views(caches)
    for tree in (exact, small):
        tree.insert(tokens[:130], views)
        tree.insert(tokens, views)
        tree.insert((*tokens[:77], 63), views)  # Cuts what is quantised already.
    assert small.nbytes < exact.nbytes * (bits + 3) / 32
    straight = run(model, caches, rest, 4)
    lease = small.lease(tokens)
    assert [take for _, take in lease.parts()] == [77, 53, 170]
    assert all(
        isinstance(layer, QuantisedLayerKV) for kv, _ in lease.parts() for layer in kv.layers
    )
    assert 0 < near(run(model, layout.restore(lease, 12), rest, 4), straight) < tolerance


def test_a_cut_of_a_quantised_edge_is_the_same_numbers() -> None:
    model = Leaves(KVCache)
    layout = Layout.of(model)
    row = model.make_cache()
    row[0].update_and_fetch(kv_of(1, 40, 2, 64), kv_of(2, 40, 2, 64))
    tokens = tokens_of(1, 40)
    whole, parted = tree_of(layout, 4), tree_of(layout, 4)
    whole.insert(tokens, layout.views(row))
    parted.insert(tokens, layout.views(row))
    parted.insert((*tokens[:9], 63), layout.views(row))
    one, two = (layout.restore(tree.lease(tokens), 0)[0] for tree in (whole, parted))
    assert isinstance(one, KVCache) and isinstance(two, KVCache)
    assert mx.array_equal(one.keys, two.keys) and mx.array_equal(one.values, two.values)


@pytest.mark.parametrize(("keys", "values"), [(8, 8), (64, 0), (64, 80), (80, 64)])
def test_heads_that_no_group_divides_are_kept_as_they_are(keys: int, values: int) -> None:
    model = Leaves(KVCache)
    layout = Layout.of(model)
    row = model.make_cache()
    row[0].update_and_fetch(kv_of(1, 9, 2, keys), kv_of(2, 9, 2, values))
    tree = tree_of(layout, 8)
    tree.insert(tokens_of(1, 9), layout.views(row))
    assert tree.nbytes == 9 * 2 * (keys + values) * 4
    restored = layout.restore(tree.lease(tokens_of(1, 9)), 3)[0]
    assert isinstance(restored, KVCache)
    for mine, theirs in zip(restored.keys_and_values(), row[0].keys_and_values(), strict=True):
        assert mx.array_equal(mine, theirs)


def test_other_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="not in 3"):
        KVCutter(3)


# --------------------------------------------------------------------------------------- bytes


SCRAP = 256
"""Bytes of scalars that MLX keeps here and there."""


@pytest.fixture
def exact_buffers() -> Iterator[None]:
    """MLX otherwise hands out a freed buffer that is up to two pages larger than asked for."""
    limit = mx.set_cache_limit(0)
    yield
    mx.set_cache_limit(limit)


def active() -> int:
    mx.synchronize()
    gc.collect()
    return int(mx.get_active_memory())


@pytest.mark.usefixtures("exact_buffers")
@pytest.mark.parametrize("bits", [0, 8])
@pytest.mark.parametrize("make", MODELS)
def test_the_tree_holds_the_bytes_that_it_counts_and_nothing_of_the_row(
    make: Make, bits: int
) -> None:
    model = made(make)
    layout = Layout.of(model)
    tree = tree_of(layout, bits)
    tokens = tokens_of(7, 300)
    run(model, list(make_prompt_cache(model)), tokens[:5], 5)  # Whatever a first pass leaves.
    before = active()
    caches: RowCaches = list(make_prompt_cache(model))
    states: dict[int, StateKV] = {}
    at = 0
    for end in (1, 100, 255, 256, 300):
        run(model, caches, tokens[at:end], 64)
        at = end
        if (state := layout.snapshot(caches)) is not None:
            states[end] = state
    if layout.plain:
        tree.insert(tokens[:255], layout.views(caches))
    tree.insert(tokens, layout.views(caches), states)
    tree.insert((tokens[0], 63), layout.views(caches), {1: states[1]} if states else {})
    del caches, states, state
    assert tree.nbytes > 0
    assert active() - before == pytest.approx(tree.nbytes, abs=SCRAP)
    tree.clear()
    assert active() - before == pytest.approx(0, abs=SCRAP)


@pytest.mark.usefixtures("exact_buffers")
def test_a_restore_copies_once_and_a_row_writes_in_place() -> None:
    model = Leaves(KVCache, KVCache)
    layout = Layout.of(model)
    row = model.make_cache()
    for leaf in row:
        leaf.update_and_fetch(kv_of(1, 5000, 1, 64), kv_of(2, 5000, 1, 64))
    tree = tree_of(layout)
    tokens = tokens_of(1, 5000)
    tree.insert(tokens[:3000], layout.views(row))
    tree.insert(tokens, layout.views(row))
    buffers = 4 * 5376 * 64 * 4
    del row, leaf
    lease = tree.lease(tokens)
    before = active()
    mx.reset_peak_memory()
    restored = layout.restore(lease, 200)
    assert active() - before == pytest.approx(buffers, abs=SCRAP)
    assert int(mx.get_peak_memory()) - before == pytest.approx(buffers, abs=SCRAP)
    mx.reset_peak_memory()
    for step in range(3):
        for leaf in layout.leaves(restored):
            assert isinstance(leaf, KVCache)
            leaf.update_and_fetch(kv_of(step, 1, 1, 64), kv_of(step, 1, 1, 64))
            mx.eval(leaf.keys, leaf.values)
    assert int(mx.get_peak_memory()) - before == pytest.approx(buffers, abs=8 * SCRAP)


def test_eight_conversations_over_one_prefix_hold_it_once() -> None:
    model = made(one_kv_head)
    layout = Layout.of(model)
    tree = tree_of(layout)
    prefix = tokens_of(9, 4000)
    token_bytes = 2 * 2 * 64 * 4

    def talk(tail: Tokens) -> None:
        lease = tree.lease(prefix + tail)
        caches = layout.restore(lease, len(tail))
        run(model, caches, (prefix + tail)[lease.length :], 512)
        tree.insert(prefix + tail, layout.views(caches))
        lease.release()

    run(model, list(make_prompt_cache(model)), prefix[:5], 5)
    before = active()
    tails = [(number, *tokens_of(number, 150)) for number in range(8)]
    for tail in tails:
        talk(tail)
    one = len(prefix) * token_bytes
    own = sum(map(len, tails)) * token_bytes
    assert tree.nbytes <= 1.01 * one + own
    assert active() - before <= 1.01 * one + own
