"""Arrays with storage of their own: cutting, quantising and joining KV, copying states.

MLX shares buffers freely: a slice, and at times a "contiguous" copy of one, keeps the whole of
what it was taken from alive. What the prefix tree keeps is made by :func:`own_copy`, so that its
bytes are what is held. The one exception is :class:`FileLayerKV`, on loan from the disk tier.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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

Pieces: TypeAlias = Sequence[tuple[AnyLayerKV, int]]
"""One layer in a row: (storage, positions of it to use)."""


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


def join_layer(pieces: Pieces, room: int, step: int) -> LayerKV:
    """One buffer of the first so many positions of each piece, in order; lazy unless :func:`lent`.

    It has place for ``room`` more tokens and is a multiple of ``step`` long.
    """
    if lent(pieces):
        return filled([pieces], room, step)[0]
    width, length = _width(pieces, room, step), _length(pieces)
    plain = [_first(layer, take) for layer, take in pieces if not isinstance(layer, FileLayerKV)]
    return (
        _join([keys for keys, _ in plain], width - length),
        _join([values for _, values in plain], width - length),
    )


def lent(pieces: Pieces) -> bool:
    """Whether any of it is on loan from the disk tier."""
    return any(isinstance(layer, FileLayerKV) for layer, _ in pieces)


def filled(layers: Sequence[Pieces], room: int, step: int) -> list[LayerKV]:
    """As :func:`join_layer` for every one of the layers, which are :func:`lent`; evaluated.

    Fresh memory costs a page fault every 4 KiB: 36 of the 53 ms that 70 MB of KV took on the
    build machine. Two threads share the faults, then the copies: 27 ms.
    """
    buffers: list[mx.array] = []
    columns: list[tuple[Bits, ...]] = []
    for pieces in layers:
        dtype = next(layer.dtype for layer, _ in pieces if isinstance(layer, FileLayerKV))
        for column in zip(*(_first_bits(layer, take) for layer, take in pieces), strict=True):
            heads, size = column[0].shape[1], column[0].shape[3]
            shape = (1, heads, _width(pieces, room, step), size)
            stream = _second_stream() if len(buffers) % 2 else None
            buffers.append(mx.zeros(shape, dtype, stream=stream))
            columns.append(column)
    mx.eval(buffers)
    copies = list(zip(map(bits_of, buffers), columns, strict=True))
    with ThreadPoolExecutor(1, "anyclaude-fill") as beside:
        others = beside.submit(_copy, copies[1::2])
        _copy(copies[::2])
        others.result()
    return list(zip(buffers[::2], buffers[1::2], strict=True))


def _copy(copies: Sequence[tuple[Bits, tuple[Bits, ...]]]) -> None:
    for place, pieces in copies:
        at = 0
        for bits in pieces:
            place[:, :, at : at + bits.shape[2]] = bits
            at += bits.shape[2]


_streams = threading.local()


def _second_stream() -> mx.Stream | None:
    """A CPU stream, which is a thread of MLX's, beside this thread's own; one without Metal."""
    if mx.metal.is_available():
        return None
    if not hasattr(_streams, "second"):
        _streams.second = mx.new_stream(mx.Device(mx.cpu))
    return cast(mx.Stream, _streams.second)


def _length(pieces: Pieces) -> int:
    return sum(take for _, take in pieces)


def _width(pieces: Pieces, room: int, step: int) -> int:
    return -(-(_length(pieces) + room) // step) * step


def _first_bits(layer: AnyLayerKV, take: int) -> tuple[Bits, Bits]:
    if isinstance(layer, FileLayerKV):
        return layer.keys[:, :, :take], layer.values[:, :, :take]
    keys, values = _first(layer, take)
    return bits_of(keys), bits_of(values)


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
