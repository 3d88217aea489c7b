"""Rows put together give what each gives alone, and have their caches back afterwards."""

from __future__ import annotations

import gc
import weakref

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.models.cache import KVCache

from anyclaude.engine import ragged, stacked
from anyclaude.engine.kv import RowCaches
from anyclaude.engine.stacked import STEADY_PASSES, Stack, Stacker
from tests.engine.tiny_models import (
    Make,
    build,
    fed,
    hybrid,
    plain,
    prompts,
    recurrent,
    rotating,
    sinks,
)

VOCAB = 97


def alone(model: nn.Module, tokens: list[int], rows: list[RowCaches]) -> mx.array:
    steps = [
        model(mx.array([[token]]), cache=caches)[:, -1]
        for token, caches in zip(tokens, rows, strict=True)
    ]
    return mx.concatenate(steps)


def close(one: mx.array, other: mx.array) -> bool:
    return bool(mx.max(mx.abs(one - other)).item() < 1e-4)


@pytest.mark.parametrize("lengths", [(1, 5, 40, 60), (7, 7), (250, 253, 251)])
def test_steps_together_are_steps_alone_and_go_on_so(lengths: tuple[int, ...]) -> None:
    model = build(plain, VOCAB)
    together = [fed(model, prompt) for prompt in prompts(VOCAB, lengths)]
    apart = [fed(model, prompt) for prompt in prompts(VOCAB, lengths)]
    stack = Stack(together)
    for step in range(20):
        nexts = [(step * 7 + row) % VOCAB for row in range(len(lengths))]
        shared = model(mx.array([[token] for token in nexts]), cache=list(stack.layers))[:, -1]
        stack.advance()
        assert close(shared, alone(model, nexts, apart))
    stack.dissolve()
    for mine, theirs, length in zip(together, apart, lengths, strict=True):
        for cache, other in zip(mine, theirs, strict=True):
            assert isinstance(cache, KVCache) and isinstance(other, KVCache)
            assert cache.offset == other.offset == length + 20
            for array, expected in zip(
                cache.keys_and_values(), other.keys_and_values(), strict=True
            ):
                assert array.shape == expected.shape
                assert close(array, expected)
    nexts = [3] * len(lengths)
    assert close(alone(model, nexts, together), alone(model, nexts, apart))


def test_a_row_that_leaves_doesnt_change_the_others() -> None:
    model = build(plain, VOCAB)
    lengths = (30, 34, 50)
    together = [fed(model, prompt) for prompt in prompts(VOCAB, lengths)]
    apart = [fed(model, prompt) for prompt in prompts(VOCAB, lengths)]
    stacker = Stacker()
    seen = []
    for step in range(24):
        if step == 10:
            stacker.apart()
            del together[1], apart[1]
        nexts = [(step * 5 + row) % VOCAB for row in range(len(together))]
        tokens = mx.array([[token] for token in nexts])
        stack = stacker.stack(together)
        seen.append(stack is not None)
        if stack is None:
            caches = ragged.ragged(together, [1] * len(together))
        else:
            caches = list(stack.layers)
        shared = model(tokens, cache=caches)[:, -1]
        if stack is not None:
            stack.advance()
        assert close(shared, alone(model, nexts, apart))
    wait = [False] * STEADY_PASSES
    assert seen == [*wait, *[True] * (10 - STEADY_PASSES), *wait, *[True] * (14 - STEADY_PASSES)]


@pytest.mark.parametrize("make", [plain, rotating, recurrent, hybrid, sinks])
def test_only_plain_caches_are_put_together(make: Make) -> None:
    assert stacked.fits(build(make, VOCAB), VOCAB) is (make is plain)


def steady(rows: list[RowCaches]) -> Stack | None:
    stacker = Stacker()
    found = [stacker.stack(rows) for _ in range(STEADY_PASSES + 1)]
    assert found[:-1] == [None] * STEADY_PASSES
    return found[-1]


def rows_of(*lengths: int, width: int = 1) -> list[RowCaches]:
    def cache(length: int) -> KVCache:
        made = KVCache()
        made.update_and_fetch(mx.zeros((1, 1, length, width)), mx.zeros((1, 1, length, width)))
        return made

    return [[cache(length)] for length in lengths]


def test_rows_of_unlike_length_stay_apart() -> None:
    assert steady(rows_of(10, 10 + stacked.SPARE)) is not None
    assert steady(rows_of(500, 6000)) is None
    assert steady(rows_of(5000, 6000)) is not None


def test_long_rows_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_of_both = 2 * 100 * 16 * 4 * 2
    monkeypatch.setattr(stacked, "MOST_BYTES", bytes_of_both)
    assert steady(rows_of(100, 100, width=16)) is not None
    monkeypatch.setattr(stacked, "MOST_BYTES", bytes_of_both - 1)
    assert steady(rows_of(100, 100, width=16)) is None


def test_what_is_put_together_is_held_once_and_given_back_to_the_last_row() -> None:
    rows = rows_of(300, 290)
    stacker = Stacker()
    for _ in range(STEADY_PASSES + 1):
        stack = stacker.stack(rows)
    assert stack is not None
    assert all(cache.keys is None and cache.values is None for (cache,) in rows)  # type: ignore[attr-defined]
    for _ in range(STEADY_PASSES + 2):
        assert stacker.stack(rows[1:]) is None, "one row alone is in no stack"
    assert [cache.keys.shape[2] for (cache,) in rows] == [300, 290]  # type: ignore[attr-defined]


def test_each_row_sees_its_own_columns_and_a_window_the_last_ones() -> None:
    stack = Stack(rows_of(2, 4))
    (layer,) = stack.layers
    own = layer.make_mask(1)
    assert own is not None
    assert np.array(own)[:, 0, 0].tolist() == [
        [False, False, True, True, True],
        [True, True, True, True, True],
    ]
    window = layer.make_mask(1, window_size=2, return_array=False)
    assert window is not None
    assert np.array(window)[:, 0, 0].tolist() == [[False, False, False, True, True]] * 2
    assert Stack(rows_of(3, 3)).layers[0].make_mask(1) is None


def test_buffers_go_with_their_stack_and_not_when_the_collector_comes() -> None:
    stack = Stack(rows_of(3, 5))
    layer, whole = weakref.ref(stack.layers[0]), weakref.ref(stack)
    gc.disable()
    try:
        del stack
        assert (layer(), whole()) == (None, None)
    finally:
        gc.enable()
