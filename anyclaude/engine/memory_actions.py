"""The memory guard's hands: what it decides, done with MLX. MLX thread only."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections import Counter
from collections.abc import Callable
from typing import cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from anyclaude.config.model_shape import model_shape
from anyclaude.engine.kv import KVTree
from anyclaude.engine.memory_policy import Freed, Holdings, MemoryLimits, Relief, Report, size
from anyclaude.engine.row_size import RowSize
from anyclaude.types import JsonObject


def working_set() -> int:
    """Bytes that Metal advises its buffers to stay under; 0 without Metal."""
    if not mx.metal.is_available():
        return 0
    return int(cast(int, mx.device_info().get("max_recommended_working_set_size", 0)))


def apply_limits(limits: MemoryLimits, report: Report) -> None:
    """Bounds MLX's buffer cache, and wires memory where that was asked for and can be."""
    mx.set_cache_limit(limits.buffers)
    if not limits.wired:
        return
    if not mx.metal.is_available():
        report("warning", "memory", "memory.wired_gb has no effect without Metal")
        return
    try:
        mx.set_wired_limit(limits.wired)
    except (ValueError, RuntimeError) as error:
        report("warning", "memory", f"memory.wired_gb = {size(limits.wired)} is refused: {error}")


def row_size(model: nn.Module) -> RowSize:
    """What is known of the model's rows before the first one, from the arguments it was made of."""
    floats = Counter(
        array.dtype.size
        for _, array in tree_flatten(model.parameters())
        if mx.issubdtype(array.dtype, mx.floating)
    )
    itemsize = floats.most_common(1)[0][0] if floats else 2
    args = vars(model.args) if hasattr(model, "args") else {}
    shape = model_shape(cast(JsonObject, args))
    return RowSize(shape, itemsize, metal=mx.metal.is_available())


def holdings(tree: KVTree, *, running: int, ahead: int) -> Holdings:
    """What is held now, by MLX's and the tree's own counts."""
    stats = tree.stats()
    return Holdings(
        active=int(mx.get_active_memory()),
        buffers=int(mx.get_cache_memory()),
        tree=stats.nbytes,
        kept=tree.kept_bytes(),
        tree_tokens=stats.tokens,
        running=running,
        ahead=ahead,
    )


def carry_out(relief: Relief, tree: KVTree, shed: Callable[[], str]) -> Freed:
    """Does what the guard asks for; ``shed`` ends the youngest row and returns its id, or "".

    The buffers counted as freed are those that lay idle before, not what the tree gave up.
    """
    idle = int(mx.get_cache_memory())
    freed = 0
    if relief.reset:
        freed = tree.clear().nbytes
    elif relief.evict_to is not None:
        freed = tree.evict_to(relief.evict_to)
    ended = shed() if relief.shed else ""
    if relief.give_back:
        _give_back()
    if not relief.clear_buffers:
        return Freed(freed, 0, ended)
    if relief.reset:
        gc.collect()
    # Buffers of a pass that is under way must not be given away beneath it.
    mx.synchronize()
    mx.clear_cache()
    _give_back()
    return Freed(freed, idle, ended)


def gives_back() -> bool:
    """Whether the C library keeps freed memory and can be asked for it: glibc does."""
    return _malloc_trim() is not None


def _give_back() -> None:
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


def _malloc_trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
