"""Rows of like length that write together, in one array per layer.

Row by row (:mod:`anyclaude.engine.ragged`) a step costs a dozen small operations for every row and
layer. Rows that went on together for a while are therefore put below one another: each layer has
one buffer of shape (rows, heads, room, head size), every row's last token in the same column and
its empty columns on the left, behind a mask. A pass then costs as many operations as one for a
single row. As soon as a row comes or goes, each has its caches back, as slices of the buffer.

Padding and copying are bounded: rows of unlike length and long ones stay apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import KVCache

from anyclaude.engine.kv import RowCaches
from anyclaude.engine.ragged import Unsupported, agrees

STEADY_PASSES = 2
"""Passes of the same rows before they are put together: the next one may end or join."""

MOST_BYTES = 256 * 1024 * 1024
"""Of keys and values in one stack: what is copied in one go, in the middle of answers."""

SPARE = 64
"""Empty columns that any row may have; above, an eighth of what all rows hold."""


class Columns:
    """Where the rows of a stack stand; ``empty`` are the columns to the left of each, ``end`` is
    the one that the next tokens take.

    Layers know this and not their stack: a cycle would keep the buffers until the collector comes.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.end = max(lengths)
        self.empty = tuple(self.end - length for length in lengths)
        self._at: tuple[int, mx.array] | None = None
        self._masks: dict[int | None, mx.array] = {}

    @property
    def offsets(self) -> mx.array:
        """Each row's position in its text, of shape (rows)."""
        if self._at is None or self._at[0] != self.end:
            self._at = self.end, mx.array([self.end - empty for empty in self.empty])
        return self._at[1]

    def mask(self, window: int | None) -> mx.array | None:
        """What each row sees of the columns, its new one included: (rows, 1, 1, columns)."""
        if not any(self.empty) and window is None:
            return None
        if window not in self._masks:
            first = [max(e, self.end + 1 - window) if window else e for e in self.empty]
            columns = mx.arange(self.end + 1)[None]
            self._masks[window] = (columns >= mx.array(first)[:, None])[:, None, None]
        return self._masks[window]

    def advance(self) -> None:
        self.end += 1
        self._masks = {}


class StackedKV:
    """One layer's buffers, as the model's layers want a cache."""

    __slots__ = ("__weakref__", "_columns", "_keys", "_values")

    def __init__(self, columns: Columns, keys: mx.array, values: mx.array) -> None:
        self._columns = columns
        self._keys = keys
        self._values = values

    @property
    def offset(self) -> mx.array:
        return self._columns.offsets

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        end = self._columns.end
        if end == self._keys.shape[2]:
            self._keys, self._values = _longer(self._keys), _longer(self._values)
        self._keys[:, :, end : end + 1] = keys
        self._values[:, :, end : end + 1] = values
        return self._keys[:, :, : end + 1], self._values[:, :, : end + 1]

    def make_mask(
        self, count: int, window_size: int | None = None, **options: object
    ) -> mx.array | None:
        return self._columns.mask(window_size)

    def row(self, index: int) -> tuple[mx.array, mx.array]:
        """One row's keys and values without its empty columns; nothing is copied."""
        at, own = slice(index, index + 1), slice(self._columns.empty[index], self._columns.end)
        return self._keys[at, :, own], self._values[at, :, own]


class Stack:
    """``rows`` are the caches that are in here; until :meth:`dissolve` theirs are empty."""

    def __init__(self, rows: Sequence[RowCaches]) -> None:
        self._rows = list(rows)
        self._columns = Columns([_length(row) for row in rows])
        self.layers: list[StackedKV] = [self._put(layer) for layer in zip(*rows, strict=True)]

    def holds(self, rows: Sequence[RowCaches]) -> bool:
        return len(rows) == len(self._rows) and all(
            mine is theirs for mine, theirs in zip(self._rows, rows, strict=True)
        )

    def advance(self) -> None:
        """A pass over all layers has begun: every row has one token more."""
        self._columns.advance()

    def dissolve(self) -> None:
        """Every row has its caches back."""
        end = self._columns.end
        for number, layer in enumerate(self.layers):
            for index, (row, empty) in enumerate(zip(self._rows, self._columns.empty, strict=True)):
                cache = _plain(row[number])
                cache.keys, cache.values = layer.row(index)
                cache.offset = end - empty

    def _put(self, caches: Sequence[object]) -> StackedKV:
        keys, values = [], []
        end = self._columns.end
        room = -(-(end + 1) // KVCache.step) * KVCache.step - end
        for cache, empty in zip(caches, self._columns.empty, strict=True):
            padding = [(0, 0), (0, 0), (empty, room), (0, 0)]
            own_keys, own_values = _plain(cache).keys_and_values()
            keys.append(mx.pad(own_keys, padding))
            values.append(mx.pad(own_values, padding))
        joined = mx.concatenate(keys), mx.concatenate(values)
        mx.eval(joined)
        for cache in caches:  # Each layer's are let go of before the next is copied.
            _plain(cache).keys = _plain(cache).values = None
        return StackedKV(self._columns, *joined)


class Stacker:
    """Puts the rows of one batch together and apart; belongs to the MLX thread."""

    def __init__(self) -> None:
        self._stack: Stack | None = None
        self._last: list[RowCaches] = []
        self._passes = 0

    def stack(self, rows: Sequence[RowCaches]) -> Stack | None:
        """What the next token of ``rows`` is written in; ``None``: their own caches."""
        if self._stack is not None:
            if self._stack.holds(rows):
                return self._stack
            self.apart()
        same = len(rows) == len(self._last) and all(
            now is then for now, then in zip(rows, self._last, strict=True)
        )
        self._passes = self._passes + 1 if same else 0
        self._last = list(rows)
        if len(rows) > 1 and self._passes == STEADY_PASSES and _alike(rows):
            self._stack = Stack(rows)
        return self._stack

    def apart(self) -> None:
        """Every row's caches hold what it has computed."""
        stack, self._stack = self._stack, None
        self._last, self._passes = [], 0
        if stack is not None:
            stack.dissolve()


def fits(model: nn.Module, vocabulary: int) -> bool:
    """Whether a model's rows can be put together: tried."""
    stack: Stack | None = None

    def layers(rows: list[RowCaches]) -> list[object]:
        nonlocal stack
        if stack is None:
            if not _alike(rows):
                raise Unsupported("only rows of plain caches can be put together")
            stack = Stack(rows)
        else:
            stack.advance()
        return list(stack.layers)

    return agrees(model, vocabulary, layers)


def _alike(rows: Sequence[RowCaches]) -> bool:
    """Whether it is worth putting ``rows`` together, and possible."""
    lengths, nbytes = [], 0
    for row in rows:
        length = _length(row)
        for cache in row:
            if not isinstance(cache, KVCache) or type(cache) is not KVCache:
                return False
            if cache.keys is None or cache.offset != length:
                return False
            nbytes += cache.nbytes * length // cache.keys.shape[2]
        lengths.append(length)
    columns, held = max(lengths) * len(rows), sum(lengths)
    if columns - held > max(SPARE * len(rows), held // 8):
        return False
    return nbytes * columns <= MOST_BYTES * held


def _plain(cache: object) -> KVCache:
    assert type(cache) is KVCache
    return cache


def _length(row: RowCaches) -> int:
    return int(row[0].offset)  # type: ignore[attr-defined]


def _longer(array: mx.array) -> mx.array:
    return mx.pad(array, [(0, 0), (0, 0), (0, KVCache.step), (0, 0)])
