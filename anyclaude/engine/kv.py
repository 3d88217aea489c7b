"""KV storage in MLX arrays: cutting it for the prefix tree and laying it out for a batch.

One layer of plain attention is a pair of arrays of shape (1, heads, tokens, head size). What
the tree stores is a tuple of such pairs, one per layer. Everything here runs on the MLX thread.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import BatchKVCache, KVCache, make_prompt_cache

from anyclaude.caches.kv.tree import Lease

LayerKV: TypeAlias = tuple[mx.array, mx.array]


class WholeCache(Protocol):
    """One of mlx-lm's layer caches, as far as the tree looks at it."""

    @property
    def nbytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class StoredKV:
    """The KV of a run of tokens, or (``state``) whole caches that can't be cut."""

    layers: tuple[LayerKV, ...] = ()
    state: tuple[WholeCache, ...] = ()


class KVCutter:
    """The prefix tree's :class:`~anyclaude.caches.kv.tree.Cutter` over MLX arrays."""

    def cut(self, kv: StoredKV, start: int, stop: int) -> StoredKV:
        layers = tuple(
            (mx.contiguous(k[:, :, start:stop]), mx.contiguous(v[:, :, start:stop]))
            for k, v in kv.layers
        )
        mx.eval(layers)
        return StoredKV(layers)

    def nbytes(self, kv: StoredKV) -> int:
        if kv.state:
            return sum(cache.nbytes for cache in kv.state)
        return sum(int(k.nbytes + v.nbytes) for k, v in kv.layers)


def is_sliceable(model: nn.Module) -> bool:
    """Whether every layer keeps plain KV that can be cut at any token."""
    return all(type(cache) is KVCache for cache in make_prompt_cache(model))


def stored(caches: Sequence[WholeCache], *, sliceable: bool) -> StoredKV:
    """What ``BatchGenerator`` extracted, in the tree's form; no copy is made here."""
    if not sliceable:
        return StoredKV(state=tuple(caches))
    layers = []
    for cache in caches:
        assert isinstance(cache, KVCache)
        keys, values = cache.keys_and_values()
        layers.append((keys, values))
    return StoredKV(tuple(layers))


class LeasedKV:
    """One layer of a cache hit, laid out for the batch with a single copy.

    mlx-lm joins caches by the class's ``merge``; ours writes the tree's pieces straight into
    the batch's buffer and leaves ``room`` for the tokens to come, so that neither the rest of
    the prompt nor the first tokens of the answer reallocate it.
    """

    def __init__(self, pieces: list[LayerKV], length: int, room: int) -> None:
        self.pieces = pieces
        self.offset = length
        self.room = room

    @property
    def nbytes(self) -> int:
        return 0  # The tree owns and counts these arrays.

    @property
    def state(self) -> list[LayerKV]:
        return self.pieces

    def size(self) -> int:
        return self.offset

    def empty(self) -> bool:
        return self.offset == 0

    @staticmethod
    def merge(caches: Sequence[LeasedKV]) -> BatchKVCache:
        """One batch of the rows, padded on the left to the longest."""
        length = max(c.offset for c in caches)
        padding = [length - c.offset for c in caches]
        key, value = next(c.pieces[0] for c in caches if c.pieces)
        step = BatchKVCache.step
        width = -(-(length + max(c.room for c in caches)) // step) * step
        keys = mx.zeros((len(caches), key.shape[1], width, key.shape[3]), key.dtype)
        values = mx.zeros((len(caches), value.shape[1], width, value.shape[3]), value.dtype)
        for row, (cache, at) in enumerate(zip(caches, padding, strict=True)):
            for k, v in cache.pieces:
                until = at + k.shape[2]
                keys[row : row + 1, :, at:until] = k
                values[row : row + 1, :, at:until] = v
                at = until
        batch = BatchKVCache(padding)
        batch.keys, batch.values = keys, values
        batch.offset = batch.offset + length
        batch._idx = length
        return batch


def caches_for(
    model: nn.Module, lease: Lease[StoredKV], room: int, *, leased: bool
) -> list[object]:
    """Per-layer caches that hold the lease's tokens, ready for ``BatchGenerator``.

    ``room`` is how many more tokens the buffers should have place for at once. ``leased`` says
    that some row of the same batch reuses something, so that all need the same kind of cache.
    """
    if lease.length == 0:
        empty = list(make_prompt_cache(model))
        return [LeasedKV([], 0, room) for _ in empty] if leased else empty
    if lease.snapshot is not None:
        return [copy.deepcopy(cache) for cache in lease.snapshot.state]
    parts = lease.parts()
    count = len(parts[0][0].layers)
    caches: list[object] = []
    for layer in range(count):
        pieces = [
            (kv.layers[layer][0][:, :, :take], kv.layers[layer][1][:, :, :take])
            for kv, take in parts
        ]
        caches.append(LeasedKV(pieces, lease.length, room))
    return caches
