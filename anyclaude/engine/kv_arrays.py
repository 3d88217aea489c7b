"""Arrays with storage of their own: cutting, quantising and joining KV, copying states.

MLX shares buffers freely: a slice, and at times a "contiguous" copy of one, keeps the whole of
what it was taken from alive. What the prefix tree keeps is made by :func:`own_copy`, so that its
bytes are what is held. The one exception is :class:`FileLayerKV`, on loan from the disk tier.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

import mlx.core as mx

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# NumPy itself is imported where it is used, when a model is there: a start should not wait for it.
Bits: TypeAlias = "npt.NDArray[np.generic]"
"""An array's memory as NumPy sees it; bfloat16, which it lacks, as uint16."""

LayerKV: TypeAlias = tuple[mx.array, mx.array]
"""Keys and values of one layer, both (1, heads, tokens, head size)."""

Packed: TypeAlias = tuple[mx.array, mx.array, mx.array]
"""What ``mx.quantize`` gives: packed words, scales, biases."""

State: TypeAlias = (
    "mx.array | int | float | str | list[State] | tuple[State, ...] | dict[str, State] | None"
)
"""Attributes of a cache, by name at the top; arrays anywhere inside."""

GROUPS = (64, 32)


@dataclass(frozen=True, slots=True)
class QuantisedLayerKV:
    """Keys and values of one layer in ``bits`` bits, groups of ``group`` along the head size."""

    keys: Packed
    values: Packed
    group: int
    bits: int


@dataclass(frozen=True, slots=True)
class FileLayerKV:
    """A layer's :data:`LayerKV` as it stands in a file's bytes, ``dtype`` what they mean.

    A prompt that begins with it fills its own buffers from there, one copy instead of two; the
    tree makes it an array later, when nobody waits.
    """

    keys: Bits
    values: Bits
    dtype: mx.Dtype


AnyLayerKV: TypeAlias = LayerKV | QuantisedLayerKV | FileLayerKV


def own_copy(array: mx.array) -> mx.array:
    """``array`` in a buffer of exactly its size; lazy.

    ``mx.contiguous`` keeps the old buffer when that is at most 16 KiB larger, and on one head a
    run of tokens is contiguous. Joining two halves always writes a new one.
    """
    if array.size < 2:
        return array + mx.zeros_like(array)
    axis = max(range(array.ndim), key=lambda a: int(array.shape[a]))
    halves = list(mx.split(array, [array.shape[axis] // 2], axis=axis))
    return mx.concatenate(halves, axis=axis)


def array_bytes(array: mx.array) -> int:
    """Bytes that the array's own buffer takes: Metal gives out whole pages above one page."""
    nbytes = int(array.nbytes)
    if nbytes > mmap.PAGESIZE and mx.metal.is_available():
        return -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    return nbytes


def layer_arrays(layer: LayerKV | QuantisedLayerKV) -> tuple[mx.array, ...]:
    """The arrays that hold the layer, in a fixed order."""
    return layer if isinstance(layer, tuple) else (*layer.keys, *layer.values)


def layer_bytes(layer: AnyLayerKV) -> int:
    """Bytes that hold the layer, in arrays or on loan."""
    if isinstance(layer, FileLayerKV):
        return layer.keys.nbytes + layer.values.nbytes
    return sum(array_bytes(array) for array in layer_arrays(layer))


def from_bits(bits: Bits, dtype: mx.Dtype) -> mx.array:
    """A copy of ``bits`` as an array of ``dtype``."""
    array = mx.array(bits)
    return array if array.dtype == dtype else array.view(dtype)


def bits_of(array: mx.array) -> Bits:
    """The array's own memory; evaluates it."""
    import numpy as np

    if array.dtype == mx.bfloat16:
        array = array.view(mx.uint16)
    return cast(Bits, np.asarray(memoryview(array)))  # type: ignore[arg-type]


def cut_layer(layer: AnyLayerKV, start: int, stop: int, bits: int) -> LayerKV | QuantisedLayerKV:
    """Positions ``start`` to ``stop`` in storage of their own; lazy.

    ``bits`` 4 or 8 quantises what isn't yet, if a group size divides both head sizes.
    """
    if isinstance(layer, QuantisedLayerKV):
        return QuantisedLayerKV(
            _cut_packed(layer.keys, start, stop),
            _cut_packed(layer.values, start, stop),
            layer.group,
            layer.bits,
        )
    if isinstance(layer, FileLayerKV):
        keys = from_bits(layer.keys[:, :, start:stop], layer.dtype)
        return keys, from_bits(layer.values[:, :, start:stop], layer.dtype)
    keys, values = (array[:, :, start:stop] for array in layer)
    group = quantisable(keys, values) if bits else None
    if group is None:
        return own_copy(keys), own_copy(values)
    return QuantisedLayerKV(
        mx.quantize(keys, group_size=group, bits=bits),
        mx.quantize(values, group_size=group, bits=bits),
        group,
        bits,
    )


def quantisable(keys: mx.array, values: mx.array) -> int | None:
    """The group size that fits both; ``None`` if they can't be quantised."""
    sizes = (int(keys.shape[-1]), int(values.shape[-1]))
    return next((g for g in GROUPS if all(size and size % g == 0 for size in sizes)), None)


def _cut_packed(packed: Packed, start: int, stop: int) -> Packed:
    words, scales, biases = _each(packed, start, stop)
    return own_copy(words), own_copy(scales), own_copy(biases)


def join_layer(pieces: Sequence[tuple[AnyLayerKV, int]], room: int, step: int) -> LayerKV:
    """One buffer of the first so many positions of each piece, in order; lazy.

    It has place for ``room`` more tokens and is a multiple of ``step`` long.
    """
    length = sum(take for _, take in pieces)
    width = -(-(length + room) // step) * step
    loan = next((layer for layer, _ in pieces if isinstance(layer, FileLayerKV)), None)
    if loan is not None:
        return _filled(pieces, width, loan.dtype)
    plain = [_first(layer, take) for layer, take in pieces if not isinstance(layer, FileLayerKV)]
    return (
        _join([keys for keys, _ in plain], width - length),
        _join([values for _, values in plain], width - length),
    )


def _filled(pieces: Sequence[tuple[AnyLayerKV, int]], width: int, dtype: mx.Dtype) -> LayerKV:
    """Keys and values put together in memory that is reused, then copied once into arrays."""
    both = [_first_bits(layer, take) for layer, take in pieces]
    return (
        from_bits(_in_a_row([keys for keys, _ in both], width), dtype),
        from_bits(_in_a_row([values for _, values in both], width), dtype),
    )


def _first_bits(layer: AnyLayerKV, take: int) -> tuple[Bits, Bits]:
    if isinstance(layer, FileLayerKV):
        return layer.keys[:, :, :take], layer.values[:, :, :take]
    keys, values = _first(layer, take)
    return bits_of(keys), bits_of(values)


def _in_a_row(pieces: Sequence[Bits], width: int) -> Bits:
    import numpy as np

    first = pieces[0]
    row = np.empty((*first.shape[:2], width, first.shape[3]), first.dtype)
    at = 0
    for bits in pieces:
        row[:, :, at : at + bits.shape[2]] = bits
        at += bits.shape[2]
    row[:, :, at:] = 0
    return row


def _first(layer: LayerKV | QuantisedLayerKV, take: int) -> LayerKV:
    if isinstance(layer, QuantisedLayerKV):
        return _unpacked(layer, layer.keys, take), _unpacked(layer, layer.values, take)
    return layer[0][:, :, :take], layer[1][:, :, :take]


def _unpacked(layer: QuantisedLayerKV, packed: Packed, take: int) -> mx.array:
    words, scales, biases = _each(packed, 0, take)
    return mx.dequantize(words, scales, biases, group_size=layer.group, bits=layer.bits)


def _each(packed: Packed, start: int, stop: int) -> Packed:
    words, scales, biases = packed
    return words[:, :, start:stop], scales[:, :, start:stop], biases[:, :, start:stop]


def _join(pieces: list[mx.array], spare: int) -> mx.array:
    first = pieces[0]
    if spare:
        shape = (*first.shape[:2], spare, first.shape[3])
        pieces = [*pieces, mx.broadcast_to(mx.array(0, first.dtype), shape)]
    return own_copy(first) if len(pieces) == 1 else mx.concatenate(pieces, axis=2)


def arrays_in(state: State) -> Iterator[mx.array]:
    """Every array of a state, in a fixed order."""
    if isinstance(state, mx.array):
        yield state
    elif isinstance(state, dict):
        for item in state.values():
            yield from arrays_in(item)
    elif isinstance(state, list | tuple):
        for item in state:
            yield from arrays_in(item)


def map_arrays(change: Callable[[mx.array], mx.array], state: State) -> State:
    """The same state with every array changed; lists, tuples and dicts are made anew."""
    if isinstance(state, mx.array):
        return change(state)
    if isinstance(state, dict):
        return {name: map_arrays(change, item) for name, item in state.items()}
    if isinstance(state, list):
        return [map_arrays(change, item) for item in state]
    if isinstance(state, tuple):
        return tuple(map_arrays(change, item) for item in state)
    return state
