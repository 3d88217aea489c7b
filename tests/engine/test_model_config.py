"""What a model's own files say, and nothing where they don't."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from anyclaude.engine import model_config
from anyclaude.types import JsonObject, Sampling


@pytest.mark.parametrize(
    ("config", "window"),
    [
        ({}, 0),
        ({"max_position_embeddings": 8192}, 8192),
        ({"max_position_embeddings": None, "n_positions": 1024}, 1024),
        ({"max_position_embeddings": 131072, "seq_length": 32768}, 32768),
        ({"text_config": {"max_position_embeddings": 262144}, "max_position_embeddings": "x"},
         262144),
        ({"max_position_embeddings": 40960, "rope_scaling": {
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}},
         131072),
        ({"max_position_embeddings": 131072, "rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}},
         131072),
        ({"max_position_embeddings": 131072, "rope_scaling": {"type": "linear", "factor": 8.0}},
         131072),
        ({"max_position_embeddings": 32768, "rope_parameters": {
            "rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32768}},
         65536),
    ],
)  # fmt: skip
def test_window(config: JsonObject, window: int) -> None:
    assert model_config.context_limit(config) == window


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, ""),
        ({"quantization": {"bits": 4, "group_size": 64}}, "4-bit"),
        ({"quantization": {"bits": 4, "group_size": 32, "mode": "mxfp4"}}, "mxfp4"),
        ({"quantization": {"bits": 8, "mode": "affine"}}, "8-bit"),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8"),
        ({"torch_dtype": "bfloat16"}, "bfloat16"),
        ({"text_config": {"dtype": "float16"}}, "float16"),
    ],
)
def test_quantization(config: JsonObject, words: str) -> None:
    assert model_config.quantization(config) == words


def test_every_declared_end_counts() -> None:
    config: JsonObject = {"eos_token_id": 2, "text_config": {"eos_token_id": [7]}}
    assert model_config.eos_ids(config, {"eos_token_id": [1, 106]}) == {1, 2, 7, 106}
    assert model_config.eos_ids({"eos_token_id": None}, {}) == frozenset()


def test_sampling_defaults() -> None:
    qwen = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20}
    assert model_config.sampling_defaults(qwen) == Sampling(0.7, 0.8, 20)
    assert model_config.sampling_defaults({**qwen, "do_sample": False}) == Sampling(0.0)
    assert model_config.sampling_defaults({"temperature": 1, "top_k": 0}) == Sampling(1.0)
    assert model_config.sampling_defaults({}) == Sampling()


def test_broken_json_is_named(tmp_path: Path) -> None:
    assert model_config.read_json(tmp_path / "absent.json") == {}
    for text in ("{", "[]"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=r"config\.json"):
            model_config.read_json(tmp_path / "config.json")


def test_fingerprint_follows_the_content(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    (one / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (one / "tokenizer.json").write_text("{}")
    (one / "model.safetensors").write_bytes(bytes(range(256)) * 8192)
    first = model_config.fingerprint(one)

    two = Path(shutil.copytree(one, tmp_path / "two"))
    os.utime(two / "model.safetensors", (1, 1))
    assert model_config.fingerprint(two) == first

    seen = {first}
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        path = two / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"\x00")
        seen.add(model_config.fingerprint(two))
        path.write_bytes(content)
    (two / "chat_template.jinja").write_text("{{ x }}")
    seen.add(model_config.fingerprint(two))
    assert len(seen) == 5
