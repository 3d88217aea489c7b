"""KV in and out of the prefix tree: what comes back continues as if it had never left."""

from __future__ import annotations

import mlx.core as mx
import pytest
from mlx_lm.models.cache import (
    ArraysCache,
    ChunkedKVCache,
    KVCache,
    RotatingKVCache,
    make_prompt_cache,
)

from anyclaude.engine.kv import Layout, RowCaches, StateKV
from anyclaude.engine.kv_arrays import arrays_in
from tests.engine.kv_rows import (
    MODELS,
    Leaves,
    kv_of,
    made,
    near,
    run,
    tokens_of,
    tree_of,
)
from tests.engine.tiny_models import Make


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("chunk", [1, 7, 40])
@pytest.mark.parametrize("then", [1, 9])
def test_a_restored_row_continues_as_the_row_it_was_cut_from(
    make: Make, chunk: int, then: int
) -> None:
    model = made(make)
    layout = Layout.of(model)
    tree = tree_of(layout)
    first, second, rest = tokens_of(1, 23), tokens_of(2, 30), tokens_of(3, 18)
    caches: RowCaches = list(make_prompt_cache(model))
    states: dict[int, StateKV] = {}
    for piece in (first, second):
        run(model, caches, piece, chunk)
        if (state := layout.snapshot(caches)) is not None:
            states[len(first) if piece is first else len(first + second)] = state
    tree.insert(first + second, layout.views(caches), states)
    straight = run(model, caches, rest, then)

    for _ in range(2):  # The first use leaves what the tree holds as it was.
        lease = tree.lease(first + second + rest)
        assert lease.length == len(first + second)
        restored = layout.restore(lease, 10)
        lease.release()
        assert near(run(model, restored, rest, then), straight) <= 1e-4

    branch = tree.lease(first + rest)
    assert branch.length == len(first)
    again: RowCaches = list(make_prompt_cache(model))
    run(model, again, first, chunk)
    expected = run(model, again, rest, then)
    assert near(run(model, layout.restore(branch, 0), rest, then), expected) <= 1e-4


@pytest.mark.parametrize("make", MODELS)
def test_a_restored_row_has_the_models_own_structure(make: Make) -> None:
    model = made(make)
    layout = Layout.of(model)
    tree = tree_of(layout)
    caches: RowCaches = list(make_prompt_cache(model))
    tokens = tokens_of(4, 40)
    run(model, caches, tokens, 16)
    state = layout.snapshot(caches)
    tree.insert(tokens, layout.views(caches), {40: state} if state is not None else {})
    restored = layout.restore(tree.lease(tokens), 300)
    assert [type(c) for c in restored] == [type(c) for c in make_prompt_cache(model)]
    for leaf, fresh, sliceable in zip(
        layout.leaves(restored),
        layout.leaves(make_prompt_cache(model)),
        layout.sliceable,
        strict=True,
    ):
        assert type(leaf) is type(fresh)
        assert sliceable == (type(fresh) is KVCache)
        if isinstance(leaf, KVCache) and not leaf.empty():
            assert leaf.offset == 40
            assert leaf.keys.shape[2] == leaf.values.shape[2] == 512
    empty = layout.restore(tree.lease((63, 63)), 10)
    assert all(leaf.empty() for leaf in layout.leaves(empty))  # type: ignore[attr-defined]


# ------------------------------------------------------------------------- single cache classes


def continued(cache: RotatingKVCache | ChunkedKVCache, steps: list[int]) -> list[mx.array]:
    """What attention sees at each of the next steps: keys, values and mask."""
    seen = []
    for number, count in enumerate(steps):
        mask = cache.make_mask(count, window_size=None, return_array=True) if count > 1 else None
        keys, values = cache.update_and_fetch(kv_of(number, count), kv_of(number + 50, count))
        seen += [mx.array(keys), mx.array(values), *([] if mask is None else [mask])]
        mx.eval(seen)
    return seen


@pytest.mark.parametrize("keep", [0, 4])
@pytest.mark.parametrize(
    "before", [[1] * 5, [7], [16], [30], [9, 40], [1] * 37, [30, 1, 1], [5, 1]]
)
@pytest.mark.parametrize("after", [[1] * 20, [3, 1, 1], [25, 2], [1, 9, 1]])
def test_a_rotating_cache_goes_on_with_the_same_keys(
    keep: int, before: list[int], after: list[int]
) -> None:
    model = Leaves(lambda: RotatingKVCache(16, keep))
    layout = Layout.of(model)
    tree = tree_of(layout)
    row = model.make_cache()
    continued(row[0], before)
    tokens = tokens_of(1, sum(before))
    state = layout.snapshot(row)
    assert state is not None
    used = min(sum(before), 16)
    assert state.nbytes == 2 * used * 8 * 4, "the window, without spare room or a whole chunk"
    tree.insert(tokens, layout.views(row), {len(tokens): state})
    restored = layout.restore(tree.lease(tokens), 0)
    assert isinstance(restored[0], RotatingKVCache)
    straight, again = continued(row[0], after), continued(restored[0], after)
    assert len(straight) == len(again)
    assert all(mx.array_equal(a, b) for a, b in zip(straight, again, strict=True))


def test_a_chunked_cache_goes_on_with_the_same_keys() -> None:
    model = Leaves(lambda: ChunkedKVCache(8))
    layout = Layout.of(model)
    row = model.make_cache()

    def step(cache: ChunkedKVCache, number: int) -> tuple[mx.array, mx.array]:
        cache.maybe_trim_front()
        return tuple(map(mx.array, cache.update_and_fetch(kv_of(number, 3), kv_of(number, 3))))

    for number in range(6):
        step(row[0], number)
    state = layout.snapshot(row)
    tree = tree_of(layout)
    tree.insert(tokens_of(1, 18), layout.views(row), {18: state})
    restored = layout.restore(tree.lease(tokens_of(1, 18)), 0)
    for number in range(6, 12):
        pairs = zip(step(row[0], number), step(restored[0], number), strict=True)
        assert all(mx.array_equal(a, b) for a, b in pairs)


def test_states_are_the_trees_own_on_both_sides() -> None:
    """Neither the row that was cut from nor one that was restored writes into a snapshot."""
    model = Leaves(lambda: ArraysCache(2), lambda: RotatingKVCache(4))
    layout = Layout.of(model)
    row = model.make_cache()
    row[0][0] = mx.ones((1, 3))
    row[1].update_and_fetch(kv_of(1, 1), kv_of(2, 1))
    state = layout.snapshot(row)
    assert state is not None
    before = [array.tolist() for leaf in state.leaves for array in arrays_in(leaf)]
    tree = tree_of(layout)
    tree.insert((1,), layout.views(row), {1: state})
    for caches in (row, layout.restore(tree.lease((1,)), 0)):
        caches[0][1] = mx.zeros((1, 3))
        caches[0][0][0, 1] = 7.0
        for _ in range(6):
            caches[1].update_and_fetch(kv_of(3, 1), kv_of(4, 1))
        mx.eval(caches[0].cache, caches[1].keys)
    assert [array.tolist() for leaf in state.leaves for array in arrays_in(leaf)] == before
