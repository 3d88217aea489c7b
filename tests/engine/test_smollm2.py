"""The embedded model: converted right, once, and again when its folder is damaged."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections import namedtuple
from pathlib import Path

import mlx.core as mx
import mlx_lm
import pytest
from mlx.utils import tree_flatten
from mlx_lm import utils

from anyclaude.engine import gguf_tokenizer, smollm2
from anyclaude.engine.smollm2 import EMBEDDED_NAME, EMBEDDED_WINDOW, ensure_embedded
from anyclaude.errors import UsageError

pytestmark = pytest.mark.model

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def quiet(fraction: float, what: str) -> None:
    pass


@pytest.fixture(scope="module")
def quantized_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_embedded(tmp_path_factory.mktemp("data"), quiet, quantized=True)


def test_stock_mlx_lm_answers_paris(embedded_model_dir: Path) -> None:
    model, tokenizer = mlx_lm.load(str(embedded_model_dir))
    prompt = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True)
    answer = mlx_lm.generate(model, tokenizer, prompt, max_tokens=20)
    assert answer == "The capital of France is Paris."


def test_quantized_and_float_weights_are_one_model(
    embedded_model_dir: Path, quantized_dir: Path
) -> None:
    config = json.loads((quantized_dir / "config.json").read_text())
    assert config["quantization"]["model.embed_tokens"] == {"group_size": 32, "bits": 8}
    assert config["quantization"]["model.layers.0.mlp.up_proj"] == {"group_size": 32, "bits": 4}
    wide, _ = utils.load_model(embedded_model_dir, lazy=True)
    packed, _ = utils.load_model(quantized_dir, lazy=True)
    utils.dequantize_model(wide)
    utils.dequantize_model(packed)
    theirs = dict(tree_flatten(packed.parameters()))
    for name, weight in tree_flatten(wide.parameters()):
        apart = mx.abs(weight.astype(mx.float32) - theirs[name].astype(mx.float32))
        assert bool(mx.all(apart < 0.01)), name


def test_tokenizer(embedded_model_dir: Path) -> None:
    tokenizer = utils.load_tokenizer(embedded_model_dir)
    pieces = [tokenizer.decode([token]) for token in tokenizer.encode("In 2024: 3.14²")]
    assert pieces[:7] == ["In", " ", "2", "0", "2", "4", ":"]
    assert pieces[7:11] == [" ", "3", ".", "1"]
    for text in ("héllo 世界 🎉\n\tdef f(x): return x  # don't\r\n\n\n   end ", "a\u200db\u0000c"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode("<|im_start|>user<|im_end|>")[::2] == [1, 2]
    assert tokenizer.encode("") == []
    assert (tokenizer.eos_token, tokenizer.eos_token_ids) == ("<|im_end|>", {2})
    assert len(tokenizer) == 49152
    assert tokenizer.decode([1, 2], skip_special_tokens=True) == ""


def test_files_state_the_window_and_how_weights_are_stored(embedded_model_dir: Path) -> None:
    config = json.loads((embedded_model_dir / "config.json").read_text())
    assert config["max_position_embeddings"] == EMBEDDED_WINDOW == 8192
    assert (config["rms_norm_eps"], config["rope_theta"]) == (1e-05, 100_000.0)
    assert ("quantization" in config) == mx.metal.is_available()


def seen_while(data_dir: Path) -> list[str]:
    said: list[str] = []
    fractions: list[float] = []

    def progress(fraction: float, what: str) -> None:
        fractions.append(fraction)
        said.append(what)

    path = ensure_embedded(data_dir, progress, quantized=True)
    assert path == data_dir / "models" / EMBEDDED_NAME
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    return said


def test_converted_once_and_again_after_damage(quantized_dir: Path) -> None:
    data = quantized_dir.parent.parent
    (quantized_dir / ".DS_Store").touch()
    assert "converting weights" not in seen_while(data)

    weights = quantized_dir / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert "converting weights" in seen_while(data)
    content[len(content) // 2] ^= 1
    assert weights.read_bytes() == content

    (quantized_dir / "tokenizer.json").unlink()
    assert "converting weights" in seen_while(data)
    manifest = quantized_dir / "anyclaude-manifest.json"
    for text in ("", "[]", "{}", manifest.read_text().replace('"format": 1', '"format": 0')):
        manifest.write_text(text)
        assert not smollm2._intact(quantized_dir, {"format": 1})


def test_leftovers_of_dead_processes_go_and_those_of_live_ones_stay(
    quantized_dir: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(quantized_dir, models / EMBEDDED_NAME)
    (models / EMBEDDED_NAME / "config.json").write_text("{}")
    dead, living = models / f".{EMBEDDED_NAME}.99999999.tmp", models / f".{EMBEDDED_NAME}.1.tmp"
    dead.mkdir()
    living.mkdir()
    seen_while(tmp_path)
    assert {path.name for path in models.iterdir()} == {EMBEDDED_NAME, living.name}


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"uv sync --group embedded.*pip install --no-deps"):
        ensure_embedded(tmp_path, quiet)


def test_without_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 50_000_000))
    with pytest.raises(UsageError, match="50 MB are free"):
        ensure_embedded(tmp_path, quiet)
    assert list((tmp_path / "models").iterdir()) == []


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(UsageError, match="cannot write the embedded model"):
        ensure_embedded(tmp_path, quiet)


def test_a_broken_gguf_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really" * 10)
    monkeypatch.setattr(smollm2, "find_gguf", lambda: broken)
    with pytest.raises(UsageError, match="damaged or of another version: reinstall"):
        ensure_embedded(tmp_path, quiet)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_vocabulary_of_another_kind_is_refused() -> None:
    metadata: dict[str, object] = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
    }
    with pytest.raises(ValueError, match="llama/default"):
        gguf_tokenizer.tokenizer_json(metadata)
    with pytest.raises(ValueError, match=r"tokenizer\.ggml\.model"):
        gguf_tokenizer.tokenizer_json({})
