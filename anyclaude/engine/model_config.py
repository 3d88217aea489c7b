"""What a model folder says about itself, read without MLX: window, stop tokens, defaults.

Figures come from the model's own files or are absent; nothing here guesses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from anyclaude.types import JsonObject, JsonValue, Sampling

_WINDOW_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_seq_length",
    "max_sequence_length",
    "seq_length",
    "model_max_length",
)
_SAMPLES = 16
_SAMPLE_BYTES = 1 << 16


def read_json(path: Path) -> JsonObject:
    """The object in a JSON file, empty when there is no file.

    Raises ValueError naming the file when it holds anything else.
    """
    try:
        value: JsonValue = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, Mapping):
        raise ValueError(f"{path} does not hold a JSON object")
    return value


def context_limit(config: JsonObject) -> int:
    """The window in tokens, 0 when the config does not say.

    Position scaling that names the original window (YaRN, Llama 3) extends it to
    ``original * factor`` where that is more than the figure stated.
    """
    for part in _levels(config):
        stated = [n for key in _WINDOW_KEYS if (n := _whole(part.get(key))) > 0]
        if stated:
            return max(min(stated), _scaled_window(part))
    return 0


def _scaled_window(config: JsonObject) -> int:
    for key in ("rope_scaling", "rope_parameters"):
        scaling = config.get(key)
        if isinstance(scaling, Mapping):
            factor = scaling.get("factor")
            original = _whole(scaling.get("original_max_position_embeddings"))
            if isinstance(factor, (int, float)) and original > 0:
                return int(original * factor)
    return 0


def quantization(config: JsonObject) -> str:
    """``4-bit``, ``mxfp4``, or the stored float type; empty when the config does not say."""
    for key in ("quantization", "quantization_config"):
        value = config.get(key)
        if isinstance(value, Mapping):
            mode = value.get("mode")
            if isinstance(mode, str) and mode != "affine":
                return mode
            bits = _whole(value.get("bits"))
            return f"{bits}-bit" if bits else str(value.get("quant_method", ""))
    for part in _levels(config):
        for key in ("torch_dtype", "dtype"):
            if isinstance(dtype := part.get(key), str):
                return dtype
    return ""


def eos_ids(config: JsonObject, generation: JsonObject) -> frozenset[int]:
    """Every token the model's files declare as an end."""
    found: set[int] = set()
    for part in (generation, *_levels(config)):
        value = part.get("eos_token_id")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int) and not isinstance(item, bool):
                found.add(item)
    return frozenset(found)


def sampling_defaults(generation: JsonObject) -> Sampling:
    """The sampling of ``generation_config.json``; ``do_sample: false`` means temperature 0."""
    if generation.get("do_sample") is False:
        return Sampling(temperature=0.0)
    temperature, top_p = generation.get("temperature"), generation.get("top_p")
    top_k = _whole(generation.get("top_k"))
    return Sampling(
        temperature=float(temperature) if isinstance(temperature, (int, float)) else None,
        top_p=float(top_p) if isinstance(top_p, (int, float)) else None,
        top_k=top_k if top_k > 0 else None,
    )


def weight_files(path: Path) -> list[Path]:
    """The safetensors files that mlx-lm would load, by name."""
    return sorted(path.glob("model*.safetensors"))


def fingerprint(path: Path) -> str:
    """A hash that changes when the model does: its small files whole, the weights by sample.

    Each weight file counts with its size, its header and sixteen pieces spread over it, so that
    a fine-tune of the same shape differs and a copy does not.
    """
    digest = hashlib.sha256()
    for pattern in ("config.json", "generation_config.json", "*token*", "*.jinja", "vocab*"):
        for file in sorted(path.glob(pattern)):
            if file.is_file():
                digest.update(file.name.encode() + b"\0" + file.read_bytes())
    for file in weight_files(path):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            for index in range(_SAMPLES):
                stream.seek(index * max(0, size - _SAMPLE_BYTES) // (_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _levels(config: JsonObject) -> Iterator[JsonObject]:
    """The config and, of a multimodal model, the part on its language model."""
    yield config
    for key in ("text_config", "llm_config", "language_config"):
        inner = config.get(key)
        if isinstance(inner, Mapping):
            yield inner


def _whole(value: JsonValue) -> int:
    """``value`` if it is an integer, or 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
