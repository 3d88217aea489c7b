"""One forward pass over rows of any lengths, each with caches of its own.

mlx-lm's own batch caches pad every row to the longest and copy whenever a row comes or goes.
Here a row keeps the single-row caches that mlx-lm made for it. What the model sees is a thin
stand-in per layer that hands each row's new keys to that row's cache; attention then runs row by
row, and everything else (the weights, which is what a step costs) once for all of them.

Models that do their own attention over the cache can't be served so; :func:`fits` finds out, and
their rows take turns.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models import base
from mlx_lm.models.cache import (
    ArraysCache,
    CacheList,
    KVCache,
    RotatingKVCache,
    make_prompt_cache,
)

from anyclaude.engine.kv import RowCaches

_Mask: TypeAlias = "mx.array | str | None"


class _Attended(Protocol):
    offset: int

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]: ...
    def make_mask(self, count: int, **options: object) -> _Mask: ...


class Rows:
    """The same thing of every row, where a model passes one array: keys, values or masks."""

    __slots__ = ("each",)

    def __init__(self, each: list[mx.array]) -> None:
        self.each = each


class _Masks:
    __slots__ = ("each",)

    def __init__(self, each: list[_Mask]) -> None:
        self.each = each


class RaggedKV:
    """One attention layer's caches; ``lengths`` are the real tokens of each row in this pass."""

    def __init__(self, rows: list[_Attended], lengths: Sequence[int], offset: mx.array) -> None:
        self._rows = rows
        self.lengths = lengths
        self.offset = offset

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[Rows, Rows]:
        every_key, every_value = [], []
        width = keys.shape[2]
        for row, count, k, v in zip(
            self._rows, self.lengths, _apart(keys), _apart(values), strict=True
        ):
            if count < width:
                k, v = k[:, :, :count], v[:, :, :count]
            k, v = row.update_and_fetch(k, v)
            every_key.append(k)
            every_value.append(v)
        return Rows(every_key), Rows(every_value)

    def make_mask(self, count: int, **options: object) -> _Masks | None:
        masks = [
            row.make_mask(length, **options)
            for row, length in zip(self._rows, self.lengths, strict=True)
        ]
        return None if all(mask is None for mask in masks) else _Masks(masks)


class RaggedArrays(ArraysCache):  # type: ignore[misc]
    """One recurrent layer's states, joined for the pass and taken apart after it."""

    def __init__(self, rows: list[ArraysCache]) -> None:
        super().__init__(0)  # Models ask for the class before they write to it.
        self._rows = rows

    def __getitem__(self, index: int) -> mx.array | None:
        states = [row[index] for row in self._rows]
        known = next((state for state in states if state is not None), None)
        if known is None:
            return None
        return mx.concatenate([mx.zeros_like(known) if s is None else s for s in states])

    def __setitem__(self, index: int, value: mx.array) -> None:
        for number, row in enumerate(self._rows):
            row[index] = value[number : number + 1]


class RaggedList:
    """A layer with several caches."""

    def __init__(self, caches: list[object]) -> None:
        self.caches = caches

    def __getitem__(self, index: int) -> object:
        return self.caches[index]


class Unsupported(Exception):
    """A kind of cache that rows can't share a pass over."""


def ragged(rows: Sequence[RowCaches], lengths: Sequence[int]) -> list[object]:
    """Per-layer caches for one pass over ``rows``; raises :class:`Unsupported`."""
    offsets: dict[tuple[int, ...], mx.array] = {}
    return [_layer(list(layer), lengths, offsets) for layer in zip(*rows, strict=True)]


def any_length(leaves: Sequence[object]) -> bool:
    """Whether rows over such caches may be fed different numbers of tokens in one pass."""
    return all(type(leaf) in (KVCache, RotatingKVCache) for leaf in leaves)


def _layer(
    layer: list[object], lengths: Sequence[int], offsets: dict[tuple[int, ...], mx.array]
) -> object:
    kind = type(layer[0])
    if kind in (KVCache, RotatingKVCache):
        at = tuple(cache.offset for cache in layer)  # type: ignore[attr-defined]
        if at not in offsets:
            offsets[at] = mx.array(at)
        return RaggedKV(layer, lengths, offsets[at])  # type: ignore[arg-type]
    if kind is ArraysCache and max(lengths) == min(lengths):
        return RaggedArrays(layer)
    if kind is CacheList:
        parts = zip(*(cache.caches for cache in layer), strict=True)  # type: ignore[attr-defined]
        return RaggedList([_layer(list(part), lengths, offsets) for part in parts])
    raise Unsupported(f"rows can't share a pass over {kind.__name__}")


def attention(
    queries: mx.array,
    keys: mx.array | Rows,
    values: mx.array | Rows,
    cache: object,
    scale: float,
    mask: _Masks | mx.array | str | None,
    sinks: mx.array | None = None,
) -> mx.array:
    """mlx-lm's attention, and row by row over :class:`Rows`."""
    if not (isinstance(keys, Rows) and isinstance(values, Rows)):
        assert not isinstance(keys, Rows) and not isinstance(values, Rows)
        assert not isinstance(mask, _Masks)
        every_head = mask is None or (
            isinstance(mask, mx.array) and mask.ndim == 4 and mask.shape[1] == 1
        )
        if queries.shape[2] == 1 and every_head and sinks is None and not hasattr(cache, "bits"):
            assert not isinstance(mask, str)
            return _one(queries, keys, values, scale, mask)
        scored: mx.array = base.scaled_dot_product_attention(
            queries, keys, values, cache=cache, scale=scale, mask=mask, sinks=sinks
        )
        return scored
    width = queries.shape[2]
    out = []
    each = zip(_apart(queries), keys.each, values.each, strict=True)
    for index, (q, k, v) in enumerate(each):
        count = cache.lengths[index]  # type: ignore[attr-defined]
        own = mask.each[index] if isinstance(mask, _Masks) else mask
        if count < width:
            q = q[:, :, :count]
        if width == 1 and own is None and sinks is None:
            row = _one(q, k, v, scale)
        else:
            row = mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=own, sinks=sinks)
        if count < width:
            row = mx.pad(row, [(0, 0), (0, 0), (0, width - count), (0, 0)])
        out.append(row)
    return mx.concatenate(out)


def _apart(rows: mx.array) -> list[mx.array]:
    """The rows one by one: a single operation, where as many slices cost one each."""
    return list(mx.split(rows, rows.shape[0])) if rows.shape[0] > 1 else [rows]


def _one(
    query: mx.array, keys: mx.array, values: mx.array, scale: float, mask: mx.array | None = None
) -> mx.array:
    """Attention of one position, which sees everything or what the ``mask`` for all heads says.

    MLX's CPU build reads the keys once per query head; there, the heads that share keys become
    positions of one product. Metal has a kernel of its own for this.
    """
    rows, heads, _, size = query.shape
    shared = keys.shape[1]
    if _METAL or heads == shared:
        return mx.fast.scaled_dot_product_attention(query, keys, values, scale=scale, mask=mask)
    folded = query.reshape(rows, shared, heads // shared, size)
    out = mx.fast.scaled_dot_product_attention(folded, keys, values, scale=scale, mask=mask)
    return out.reshape(rows, heads, 1, values.shape[-1])


_METAL = mx.metal.is_available()


def install(model: nn.Module) -> None:
    """Makes the model's layers call :func:`attention`: mlx-lm's modules import it by name."""
    for name in {type(module).__module__ for module in model.modules()}:
        module = importlib.import_module(name)
        if getattr(module, "scaled_dot_product_attention", None) in _THEIRS:
            module.scaled_dot_product_attention = attention  # type: ignore[attr-defined]


_THEIRS = (base.scaled_dot_product_attention,)


def fits(model: nn.Module, vocabulary: int) -> bool:
    """Whether rows can share a pass over caches of their own: tried."""
    return agrees(model, vocabulary, lambda rows: ragged(rows, (1, 1)))


def agrees(
    model: nn.Module, vocabulary: int, layers: Callable[[list[RowCaches]], list[object]]
) -> bool:
    """Whether a common pass over the ``layers`` of two short rows gives what each gives alone.

    ``layers`` is asked before each of a few passes, always with the same rows.
    """
    together = [_fed(model, prompt, vocabulary) for prompt in _PROMPTS]
    separate = [_fed(model, prompt, vocabulary) for prompt in _PROMPTS]
    for step in range(3):  # What a layer forgets to keep shows a step later.
        nexts = mx.array([[(7 + step) % vocabulary], [(8 + step) % vocabulary]])
        expected = mx.concatenate(
            [
                model(nexts[row : row + 1], cache=caches)[:, -1]
                for row, caches in enumerate(separate)
            ]
        ).astype(mx.float32)
        try:
            common = model(nexts, cache=layers(together))[:, -1].astype(mx.float32)
        except (Unsupported, TypeError, ValueError, AttributeError, IndexError):
            return False
        error = float(mx.max(mx.abs(common - expected)))
        if error > 0.1 * max(float(mx.std(expected)), 1e-6):
            return False
    return True


_PROMPTS = ([1, 2, 3, 4], [5, 6])


def _fed(model: nn.Module, prompt: list[int], vocabulary: int) -> RowCaches:
    caches: RowCaches = make_prompt_cache(model)
    mx.eval(model(mx.array([[token % vocabulary for token in prompt]]), cache=caches))
    return caches
