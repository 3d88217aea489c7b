"""A model's caches on both sides of the prefix tree: rows in mlx-lm's classes, KV in ours.

Plain attention (``KVCache``) is cut by position: the tree's edges hold a pair of arrays of shape
(1, heads, tokens, head size) per layer, or the same quantised. All other caches (rotating,
recurrent, chunked) can't be cut; of these a :class:`StateKV` holds everything at one position.
:class:`Layout` takes both out of a row's caches and puts them back. Everything here runs on the
MLX thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import (
    CacheList,
    ChunkedKVCache,
    KVCache,
    RotatingKVCache,
    make_prompt_cache,
)

from anyclaude.caches.kv.tree import Lease, PrefixTree
from anyclaude.engine.kv_arrays import (
    AnyLayerKV,
    LayerKV,
    Pieces,
    QuantisedLayerKV,
    State,
    array_bytes,
    arrays_in,
    cut_layer,
    filled,
    join_layer,
    layer_arrays,
    layer_bytes,
    lent,
    map_arrays,
    own_copy,
)

__all__ = [
    "KVCutter",
    "KVLease",
    "KVTree",
    "LayerKV",
    "Layout",
    "QuantisedLayerKV",
    "RowCaches",
    "State",
    "StateKV",
    "StoredKV",
]

RowCaches: TypeAlias = list[object]
"""What mlx-lm's ``make_prompt_cache`` gives: one cache per layer, for one row."""


@dataclass(frozen=True, slots=True)
class StoredKV:
    """The KV of a run of tokens, one entry per leaf cache of the layout.

    ``None`` stands for leaves that can't be cut, and for those that the model never fills.
    """

    layers: tuple[AnyLayerKV | None, ...]


@dataclass(frozen=True, slots=True)
class StateKV:
    """The leaf caches that can't be cut, at one position.

    Per leaf its attributes by name, every array with storage of its own (nobody writes to them);
    ``None`` for leaves that are cut by position.
    """

    leaves: tuple[State, ...]

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays really hold."""
        return sum(array_bytes(array) for leaf in self.leaves for array in arrays_in(leaf))


KVTree: TypeAlias = PrefixTree[StoredKV, StateKV]
KVLease: TypeAlias = Lease[StoredKV, StateKV]


class KVCutter:
    """The prefix tree's :class:`~anyclaude.caches.kv.tree.Cutter` over MLX arrays.

    With ``bits`` 4 or 8 what is cut out of a row is quantised on the way; layers whose head size
    no group of 64 or 32 divides stay as they are.
    """

    def __init__(self, bits: int = 0) -> None:
        if bits not in (0, 4, 8):
            raise ValueError(f"KV is stored in 4 or 8 bits, or as it is (0), not in {bits}")
        self.bits = bits

    def cut(self, kv: StoredKV, start: int, stop: int) -> StoredKV:
        layers = tuple(
            None if layer is None else cut_layer(layer, start, stop, self.bits)
            for layer in kv.layers
        )
        mx.eval([layer_arrays(layer) for layer in layers if layer is not None])
        return StoredKV(layers)

    def nbytes(self, kv: StoredKV) -> int:
        return sum(layer_bytes(layer) for layer in kv.layers if layer is not None)

    def state_nbytes(self, state: StateKV) -> int:
        return state.nbytes


class Layout:
    """How one model's caches are built: their leaves in order, and which can be cut."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        leaves = self.leaves(make_prompt_cache(model))
        self.sliceable: tuple[bool, ...] = tuple(type(leaf) is KVCache for leaf in leaves)
        self.plain: bool = all(self.sliceable)

    @classmethod
    def of(cls, model: nn.Module) -> Layout:
        return cls(model)

    @staticmethod
    def leaves(caches: Sequence[object]) -> list[object]:
        """The caches themselves, those inside a ``CacheList`` in their place."""
        return list(_flat(caches))

    def views(self, caches: Sequence[object]) -> StoredKV:
        """Positions 0 to the caches' offset of the leaves that can be cut; copies nothing.

        Let go of it before the row's next step: while it lives, a write to the row copies the
        whole buffer first.
        """
        return StoredKV(
            tuple(
                leaf.keys_and_values() if isinstance(leaf, KVCache) and not leaf.empty() else None
                for leaf in self._cut_leaves(caches)
            )
        )

    def snapshot(self, caches: Sequence[object]) -> StateKV | None:
        """Copies of the other leaves where they stand now, evaluated; ``None`` if plain."""
        if self.plain:
            return None
        states: list[State] = [
            None if sliceable else map_arrays(own_copy, _attributes(leaf))
            for leaf, sliceable in zip(self.leaves(caches), self.sliceable, strict=True)
        ]
        mx.eval([array for state in states for array in arrays_in(state)])
        return StateKV(tuple(states))

    def restore(self, lease: KVLease, room: int) -> RowCaches:
        """Fresh caches for one row that hold exactly the lease's tokens.

        Plain leaves have place for ``room`` more tokens, rounded up to mlx-lm's own growth
        step. Nothing is shared with the tree: each byte is copied once.
        """
        caches: RowCaches = list(make_prompt_cache(self._model))
        if lease.length == 0:
            return caches
        parts = lease.parts()
        state = lease.state
        made: list[mx.array] = []
        from_files: list[tuple[KVCache, Pieces]] = []
        for index, leaf in enumerate(self.leaves(caches)):
            if isinstance(leaf, KVCache) and self.sliceable[index]:
                pieces = [
                    (layer, take) for kv, take in parts if (layer := kv.layers[index]) is not None
                ]
                if not pieces:
                    continue
                leaf.offset = lease.length
                if lent(pieces):
                    from_files.append((leaf, pieces))
                else:
                    leaf.keys, leaf.values = join_layer(pieces, room, leaf.step)
                    made += [leaf.keys, leaf.values]
            elif state is not None:
                own = map_arrays(own_copy, state.leaves[index])
                assert isinstance(own, dict)
                vars(leaf).update(own)
                made += arrays_in(own)
        mx.eval(made)
        if from_files:
            step = from_files[0][0].step
            layers = filled([pieces for _, pieces in from_files], room, step)
            for (leaf, _), (keys, values) in zip(from_files, layers, strict=True):
                leaf.keys, leaf.values = keys, values
        return caches

    def _cut_leaves(self, caches: Sequence[object]) -> list[object]:
        return [
            leaf if sliceable else None
            for leaf, sliceable in zip(self.leaves(caches), self.sliceable, strict=True)
        ]


def _flat(caches: Sequence[object]) -> Iterator[object]:
    for cache in caches:
        if isinstance(cache, CacheList):
            yield from _flat(cache.caches)
        else:
            yield cache


def _attributes(leaf: object) -> dict[str, State]:
    """Everything that a cache is made of, without the spare room in its buffers.

    What is left continues with exactly the same results: mlx-lm drops the same positions of a
    rotating cache at its next step, and grows a buffer that is full.
    """
    state = dict(vars(leaf))
    if isinstance(leaf, RotatingKVCache) and leaf.keys is not None:
        size, spare = leaf.keys.shape[2], leaf.keys.shape[2] - leaf.max_size
        for name in ("keys", "values"):
            array = state[name]
            if spare > 0:  # A chunk went through; only a window of it is looked at again.
                state[name] = mx.concatenate(
                    [array[..., : leaf.keep, :], array[..., spare + leaf.keep :, :]], axis=2
                )
            elif leaf.offset < size:
                state[name] = array[..., : leaf.offset, :]
        if spare > 0:
            state["_idx"] = leaf.max_size
    elif isinstance(leaf, ChunkedKVCache) and leaf.keys is not None:
        state["keys"], state["values"] = leaf.keys_and_values()
    return state
