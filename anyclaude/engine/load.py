"""A model from its folder into memory, with everything the engine has to know about it.

Runs on the thread that owns MLX. Code that a model brings along is never run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from anyclaude.engine import model_config
from anyclaude.engine.template import ChatTemplate, ToolFallback
from anyclaude.errors import EngineFailed
from anyclaude.types import Sampling

if TYPE_CHECKING:
    import mlx.nn as nn
    from mlx_lm.tokenizer_utils import TokenizerWrapper

    from anyclaude.engine.head import Head

Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to run. ``weight_bytes`` is what it holds in memory, ``context_limit`` its
    own window in tokens (0 when it declares none); ``rows_share_passes`` is whether several
    answers can be written in one forward pass, ``rows_stack`` whether over common buffers, ``head``
    narrows its output layer."""

    name: str
    path: Path
    model: nn.Module
    tokenizer: TokenizerWrapper
    template: ChatTemplate
    context_limit: int
    fingerprint: str
    defaults: Sampling
    eos_ids: frozenset[int]
    weight_bytes: int
    tools: Literal["template", "fallback"]
    rows_share_passes: bool = False
    rows_stack: bool = False
    head: Head | None = None


def load_model(path: Path, name: str, progress: Progress, fallback: ToolFallback) -> LoadedModel:
    """Loads the weights and tokenizer in ``path``; ``progress`` gets a fraction and a phase.

    Raises :class:`EngineFailed` naming the model and what is wrong with its files.
    """
    from mlx_lm import utils

    from anyclaude.engine import head, ragged, stacked

    progress(0.0, "reading files")
    try:
        config = model_config.read_json(path / "config.json")
        generation = model_config.read_json(path / "generation_config.json")
        fingerprint = model_config.fingerprint(path)
        progress(0.05, "loading tokenizer")
        declared_eos = model_config.eos_ids(config, generation)
        tokenizer = utils.load_tokenizer(
            path, {"trust_remote_code": False}, eos_token_ids=sorted(declared_eos) or None
        )
        template = ChatTemplate(tokenizer, fallback, model_type=str(config.get("model_type", "")))
        progress(0.1, "loading weights")
        model, _ = utils.load_model(path, lazy=True, trust_remote_code=False)
        weight_bytes = _materialise(model, progress)
        ragged.install(model)
        shared = ragged.fits(model, len(tokenizer))
        stack = shared and stacked.fits(model, len(tokenizer))
        narrowed = head.install(model)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
        reason = str(error).strip() or type(error).__name__
        raise EngineFailed(
            f"cannot load the model {name} from {path}: {reason}; "
            "`anyclaude models list` shows what else is here"
        ) from error
    progress(1.0, "ready")
    return LoadedModel(
        name=name,
        path=path,
        model=model,
        tokenizer=tokenizer,
        template=template,
        context_limit=model_config.context_limit(config),
        fingerprint=fingerprint,
        defaults=model_config.sampling_defaults(generation),
        eos_ids=frozenset(tokenizer.eos_token_ids) | declared_eos,
        weight_bytes=weight_bytes,
        tools=template.tools,
        rows_share_passes=shared,
        rows_stack=stack,
        head=narrowed,
    )


def _materialise(model: nn.Module, progress: Progress) -> int:
    """Reads the weights from disk piece by piece and returns their size in memory."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    if not mx.metal.is_available():
        _widen(model)
    arrays: list[mx.array] = [value for _, value in tree_flatten(model.parameters())]
    total = sum(array.nbytes for array in arrays)
    done = 0
    for array in arrays:
        mx.eval(array)
        done += array.nbytes
        progress(0.1 + 0.88 * done / max(1, total), "loading weights")
    return total


def _widen(model: nn.Module) -> None:
    """Float32 for MLX's CPU build, whose other products are slow, where memory has the room."""
    import mlx.core as mx
    from mlx_lm.utils import dequantize_model, get_total_parameters

    if get_total_parameters(model) * 4 > psutil.virtual_memory().available // 2:
        return
    dequantize_model(model)
    model.set_dtype(mx.float32)
