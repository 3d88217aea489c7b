"""Whether the configured model goes into the memory, with its window and the prefix cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anyclaude.cli.output import size
from anyclaude.config import advice
from anyclaude.config.model_shape import FLOAT32_BYTES, SCALE_BITS, ModelShape, model_shape
from anyclaude.config.settings import Settings
from anyclaude.errors import AnyclaudeError
from anyclaude.types import JsonObject


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found, and ``text`` that says it."""

    fit: advice.Fit
    shape: ModelShape
    window: int
    text: str


def judge(settings: Settings, limit: int) -> Judged | str:
    """The configured model in ``limit`` bytes, or why that can't be said."""
    from anyclaude.engine import model_config
    from anyclaude.engine.catalog import Catalog

    catalog = Catalog(settings.data_dir)
    try:
        folder = catalog.resolve(settings.model.default or catalog.default_model())
    except AnyclaudeError:
        return "not judged without the model"
    if not (folder / "config.json").is_file():
        return "not judged before the model was unpacked, at its first start"
    config = model_config.read_json(folder / "config.json")
    shape = model_shape(config)
    window = min(
        (n for n in (settings.model.context_limit, model_config.context_limit(config)) if n),
        default=0,
    )
    if shape is None or not window:
        return "not judged: the model's config.json doesn't describe its KV cache"
    here = advice.this_machine()
    weights = sum(file.stat().st_size for file in model_config.weight_files(folder))
    if not here.metal:
        weights = _widened(weights, config)
    cache = (
        advice.kv_budget(settings.cache.memory_gb, here.memory_bytes) if settings.cache.l1 else 0
    )
    itemsize = 2 if here.metal else FLOAT32_BYTES
    fit = advice.fit(shape, weights, window, cache, limit, itemsize=itemsize)
    return Judged(fit, shape, window, _text(fit, shape, window))


def advise(judged: Judged) -> str:
    """What to change for it to fit; empty when it does."""
    fit = judged.fit
    if fit.fits:
        return ""
    if fit.window < advice.LEAST_WINDOW and fit.window < judged.window:
        return "choose a smaller model: 'anyclaude models recommend' shows which fit"
    if fit.window < judged.window:
        return (
            f"set model.context_limit = {fit.window}, or longer prompts start cold or are refused"
        )
    left = int(fit.cache_that_fits / advice.GIB * 10) / 10
    return f"set cache.memory_gb = {left}, or the prefix cache will shrink while prompts run"


def shape_of(folder: Path) -> ModelShape | None:
    """What the model in a folder says of its KV cache."""
    from anyclaude.engine import model_config

    try:
        return model_shape(model_config.read_json(folder / "config.json"))
    except (OSError, ValueError):
        return None


def per_token(shape: ModelShape) -> str:
    """``36.9 kB a token (19.6 kB in 8 bits, 10.4 kB in 4)``."""
    whole, eight, four = (size(shape.token_bytes(bits)) for bits in (16, 8, 4))
    return f"{whole} a token ({eight} in 8 bits, {four} in 4)"


def _text(fit: advice.Fit, shape: ModelShape, window: int) -> str:
    return (
        f"weights {size(fit.weights)}, KV {per_token(shape)}, {size(fit.window_bytes)} for a"
        f" window of {window}, prefix cache up to {size(fit.cache_bytes)}, in {size(fit.limit)}"
    )


def _widened(weights: int, config: JsonObject) -> int:
    """Without Metal weights are run in float32; their files' size grows accordingly."""
    from anyclaude.engine.model_config import quantization

    bits, _, unit = quantization(config).partition("-")
    stored = int(bits) + SCALE_BITS if unit == "bit" and bits.isdigit() else 16
    if quantization(config) == "float32":
        stored = 32
    return round(weights * 8 * FLOAT32_BYTES / stored)
