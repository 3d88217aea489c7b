"""KV and states as bytes for the disk tier, and back. Runs on the MLX thread.

A run becomes bytes piece by piece, 1,024 tokens at most at a time, so that the thread is never
held up for long: each byte is copied once on the way out, and once on the way in. Plain KV is
left in its file's bytes until a prompt's buffers are filled from there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeAlias, cast

import mlx.core as mx

from anyclaude.caches.kv.disk_format import Blob
from anyclaude.engine.kv import StateKV, StoredKV
from anyclaude.engine.kv_arrays import (
    AnyLayerKV,
    Bits,
    FileLayerKV,
    QuantisedLayerKV,
    State,
    arrays_in,
    bits_of,
    cut_layer,
    from_bits,
    join_layer,
    layer_arrays,
)

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
ALIGN = 64

Parts: TypeAlias = Sequence[tuple[StoredKV, int]]
"""The KV of a prompt's beginning, root first: (storage, positions of it to use)."""

_NUMPY = {
    "bfloat16": "uint16",  # NumPy has none, so its bits travel as this.
    "bool": "bool",
    **{name: name for name in ("float16", "float32", "complex64")},
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_MLX: dict[str, mx.Dtype] = {
    name: getattr(mx, "bool_" if name == "bool" else name) for name in _NUMPY
}


def disk_fingerprint(model_fingerprint: str, bits: int) -> str:
    """Everything that decides what the bytes mean: model, quantisation, library, our format."""
    return f"{model_fingerprint}/kv{bits}/mlx-lm {version('mlx-lm')}/{FORMAT}"


def token_bytes(parts: Parts) -> float:
    """Bytes that one token's KV takes on disk; 0 for a model without any to cut."""
    tokens = sum(take for _, take in parts)
    held = sum(
        bits.nbytes * take / max(1, bits.shape[2])
        for kv, take in parts
        for layer in kv.layers
        if layer is not None
        for bits in _layer_bits(layer)
    )
    return held / tokens if tokens else 0.0


def run_to_bytes(parts: Parts, start: int, stop: int) -> Blob:
    """Positions ``start`` to ``stop`` of ``parts``, which must hold them.

    The parts are a lease's (``lease.parts()``) or a row's (``[(layout.views(caches), offset)]``).
    """
    chosen: list[tuple[StoredKV, int, int]] = []
    at = 0
    for kv, take in parts:
        low, high = max(start, at), min(stop, at + take)
        if low < high:
            chosen.append((kv, low - at, high - at))
        at += take
    if at < stop or not chosen:
        raise ValueError(f"tokens {start} to {stop} are wanted, the parts hold {at}")
    layers: list[object] = []
    pieces: list[list[Bits]] = []
    for index in range(len(chosen[0][0].layers)):
        spans = [(layer, a, b) for kv, a, b in chosen if (layer := kv.layers[index]) is not None]
        if not spans:
            layers.append(None)
            continue
        columns, about = _layer_pieces(spans)
        layers.append(about)
        pieces += columns
    shapes = [_joined(column) for column in pieces]
    data, places = _buffer(shapes)
    for column, place in zip(pieces, places, strict=True):
        at = 0
        for piece in column:
            place[:, :, at : at + piece.shape[2]] = piece
            at += piece.shape[2]
    return Blob(json.dumps({"format": FORMAT, "layers": layers}).encode(), data)


def run_from_bytes(blob: Blob, skip: int = 0, take: int | None = None) -> StoredKV:
    """``take`` tokens of the run after its first ``skip``.

    Quantised layers are evaluated arrays, all others stay on loan in the blob's bytes.
    Raises ValueError when the bytes are another format's.
    """
    about = _about(blob)
    arrays = _Arrays(blob)
    stop = None if take is None else skip + take
    layers: list[AnyLayerKV | None] = []
    for layer in cast("list[dict[str, object] | None]", about["layers"]):
        if layer is None:
            layers.append(None)
            continue
        described = [cast("list[object]", array) for array in cast("list[object]", layer["arrays"])]
        if "bits" in layer:
            group, bits = cast(int, layer["group"]), cast(int, layer["bits"])
            made = [arrays.next(array, skip, stop) for array in described]
            keys, values = (made[0], made[1], made[2]), (made[3], made[4], made[5])
            layers.append(QuantisedLayerKV(keys, values, group, bits))
        else:
            (loan, dtype), (other, _) = (arrays.loan(array, skip, stop) for array in described)
            layers.append(FileLayerKV(loan, other, dtype))
    mx.eval(arrays.made)
    return StoredKV(tuple(layers))


def state_to_bytes(state: StateKV) -> Blob:
    """A snapshot, whatever is nested in it."""
    views = [bits_of(array) for array in arrays_in(list(state.leaves))]
    data, places = _buffer([(view.shape, view.dtype) for view in views])
    for view, place in zip(views, places, strict=True):
        place[...] = view
    tree = [_described(leaf) for leaf in state.leaves]
    return Blob(json.dumps({"format": FORMAT, "state": tree}).encode(), data)


def state_from_bytes(blob: Blob) -> StateKV:
    """The reverse of :func:`state_to_bytes`, evaluated. Raises ValueError as above."""
    about = _about(blob)
    arrays = _Arrays(blob)
    leaves = tuple(_restored(leaf, arrays) for leaf in cast("list[object]", about["state"]))
    mx.eval(arrays.made)
    return StateKV(leaves)


# ---------------------------------------------------------------------------------------- inside


def _layer_pieces(
    spans: Sequence[tuple[AnyLayerKV, int, int]],
) -> tuple[list[list[Bits]], object]:
    """Per array of the layer its pieces along the tokens, and what describes the layer."""
    kinds = {
        (layer.group, layer.bits) if isinstance(layer, QuantisedLayerKV) else None
        for layer, _, _ in spans
    }
    if len(kinds) > 1:  # Quantised in different ways: only as plain KV do they fit together.
        cut: list[tuple[AnyLayerKV, int]] = [
            (cut_layer(layer, a, b, 0), b - a) for layer, a, b in spans
        ]
        plain = join_layer(cut, 0, 1)
        spans, kinds = [(plain, 0, sum(take for _, take in cut))], {None}
    columns = [
        list(column)
        for column in zip(
            *([bits[:, :, a:b] for bits in _layer_bits(layer)] for layer, a, b in spans),
            strict=True,
        )
    ]
    first = spans[0][0]
    arrays = [
        [_name(dtype), *_joined(column)[0]]
        for dtype, column in zip(_layer_types(first), columns, strict=True)
    ]
    if isinstance(first, QuantisedLayerKV):
        return columns, {"group": first.group, "bits": first.bits, "arrays": arrays}
    return columns, {"arrays": arrays}


def _layer_bits(layer: AnyLayerKV) -> list[Bits]:
    if isinstance(layer, FileLayerKV):
        return [layer.keys, layer.values]
    return [bits_of(array) for array in layer_arrays(layer)]


def _layer_types(layer: AnyLayerKV) -> list[mx.Dtype]:
    if isinstance(layer, FileLayerKV):
        return [layer.dtype, layer.dtype]
    return [array.dtype for array in layer_arrays(layer)]


def _joined(column: Sequence[Bits]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    first = column[0]
    length = sum(piece.shape[2] for piece in column)
    return (*first.shape[:2], length, *first.shape[3:]), first.dtype


def _buffer(
    shapes: Sequence[tuple[tuple[int, ...], np.dtype[np.generic]]],
) -> tuple[memoryview, list[Bits]]:
    """Bytes for all of the arrays, each at a multiple of 64, and the arrays in them."""
    import numpy as np

    offsets = [0]
    for shape, dtype in shapes:
        offsets.append(_after(offsets[-1], shape, dtype))
    data = np.zeros(offsets[-1], np.uint8)
    places: list[Bits] = [
        np.ndarray(shape, dtype, data.data, offset)
        for (shape, dtype), offset in zip(shapes, offsets, strict=False)
    ]
    return data.data, places


def _after(offset: int, shape: Sequence[int], dtype: np.dtype[np.generic]) -> int:
    return -(-(offset + math.prod(shape) * dtype.itemsize) // ALIGN) * ALIGN


def _name(dtype: mx.Dtype) -> str:
    return str(dtype).removeprefix("mlx.core.").rstrip("_")


class _Arrays:
    """The arrays of a blob, one after the other."""

    def __init__(self, blob: Blob) -> None:
        self._data = blob.data
        self._offset = 0
        self.made: list[mx.array] = []

    def next(self, described: list[object], skip: int = 0, stop: int | None = None) -> mx.array:
        """A copy of the next array; of its third axis ``skip`` to ``stop`` if those are given."""
        array = from_bits(*self.loan(described, skip, stop))
        self.made.append(array)
        return array

    def loan(
        self, described: list[object], skip: int = 0, stop: int | None = None
    ) -> tuple[Bits, mx.Dtype]:
        """The next array's memory in the blob, and what it means."""
        name, shape = cast(str, described[0]), cast("list[int]", described[1:])
        import numpy as np

        dtype = np.dtype(_NUMPY[name])
        view = np.ndarray(shape, dtype, self._data, self._offset)
        self._offset = _after(self._offset, shape, dtype)
        if skip or stop is not None:
            view = view[:, :, skip:stop]
        return view, _MLX[name]


def _about(blob: Blob) -> dict[str, object]:
    about = cast("dict[str, object]", json.loads(blob.meta))
    if about.get("format") != FORMAT:
        raise ValueError(f"the bytes have format {about.get('format')}, expected {FORMAT}")
    return about


def _described(state: State) -> object:
    """JSON for a state; arrays as their type and shape, tuples and dicts marked as such."""
    if isinstance(state, mx.array):
        return {"array": [_name(state.dtype), *state.shape]}
    if isinstance(state, dict):
        return {"dict": {name: _described(item) for name, item in state.items()}}
    if isinstance(state, tuple):
        return {"tuple": [_described(item) for item in state]}
    if isinstance(state, list):
        return [_described(item) for item in state]
    return state


def _restored(described: object, arrays: _Arrays) -> State:
    if isinstance(described, list):
        return [_restored(item, arrays) for item in described]
    if isinstance(described, dict):
        ((kind, inner),) = described.items()
        if kind == "array":
            return arrays.next(inner)
        if kind == "tuple":
            return tuple(_restored(item, arrays) for item in inner)
        return {name: _restored(item, arrays) for name, item in inner.items()}
    return cast(State, described)
