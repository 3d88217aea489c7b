"""From a folder to a model that runs; or one sentence on why not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlx.core as mx
import psutil
import pytest
from mlx.utils import tree_flatten

from anyclaude.engine import ragged
from anyclaude.engine.load import LoadedModel, load_model
from anyclaude.engine.smollm2 import ensure_embedded
from anyclaude.errors import EngineFailed
from anyclaude.types import Sampling
from tests.engine.test_template import FALLBACK, ask, user

pytestmark = pytest.mark.model


def quiet(fraction: float, what: str) -> None:
    pass


@pytest.fixture(scope="module")
def loaded(embedded_model_dir: Path) -> LoadedModel:
    return load_model(embedded_model_dir, "small", quiet, FALLBACK)


def test_the_embedded_model(loaded: LoadedModel, embedded_model_dir: Path) -> None:
    assert (loaded.name, loaded.path) == ("small", embedded_model_dir)
    assert (loaded.context_limit, loaded.eos_ids) == (8192, frozenset({2}))
    assert (loaded.defaults, loaded.tools) == (Sampling(), "fallback")
    arrays = [array for _, array in tree_flatten(loaded.model.parameters())]
    assert loaded.weight_bytes == sum(array.nbytes for array in arrays)
    assert loaded.template.dialect is FALLBACK.dialect
    assert not loaded.template.has_thinking


def test_it_answers_its_own_rendering(loaded: LoadedModel) -> None:
    request = ask(user("What is the capital of France?"), system=(), tools=())
    tokens = loaded.template.render(request).tokens
    logits = loaded.model(mx.array([tokens]))
    assert loaded.tokenizer.decode([mx.argmax(logits[0, -1]).item()]) == "The"


def test_progress_rises_to_one(embedded_model_dir: Path) -> None:
    seen: list[float] = []
    load_model(embedded_model_dir, "small", lambda fraction, what: seen.append(fraction), FALLBACK)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)
    assert len(seen) > 100


@pytest.mark.skipif(mx.metal.is_available(), reason="Metal runs packed weights as they are")
def test_packed_weights_are_widened_where_memory_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Trying out a forward pass of several rows takes a minute with packed weights.
    monkeypatch.setattr(ragged, "fits", lambda model, vocabulary: False)
    packed = ensure_embedded(tmp_path, quiet, quantized=True)
    wide = load_model(packed, "packed", quiet, FALLBACK)
    kinds = {array.dtype for _, array in tree_flatten(wide.model.parameters())}
    assert kinds == {mx.float32}

    class Tight:
        available = 10_000_000

    monkeypatch.setattr(psutil, "virtual_memory", Tight)
    narrow = load_model(packed, "packed", quiet, FALLBACK)
    assert narrow.weight_bytes < wide.weight_bytes / 4
    assert narrow.fingerprint == wide.fingerprint


@pytest.fixture
def broken(tmp_path: Path, embedded_model_dir: Path) -> Path:
    folder = tmp_path / "broken"
    weights = shutil.ignore_patterns("*.safetensors")
    return Path(shutil.copytree(embedded_model_dir, folder, ignore=weights))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "No safetensors"),
        ({"model_type": "unheard_of"}, "unheard_of not supported"),
        ({"model_file": "evil.py"}, r"(?s)evil\.py.*disabled"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(
    broken: Path, change: dict[str, object], words: str
) -> None:
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, **change}))
    if change:
        mx.save_safetensors(str(broken / "model.safetensors"), {"x": mx.zeros((1,))})
    with pytest.raises(EngineFailed, match=words) as caught:
        load_model(broken, "odd", quiet, FALLBACK)
    assert "cannot load the model odd" in str(caught.value)


def test_damaged_files(broken: Path) -> None:
    (broken / "model.safetensors").write_bytes(b"not a safetensors file")
    with pytest.raises(EngineFailed, match="odd"):
        load_model(broken, "odd", quiet, FALLBACK)
    (broken / "config.json").write_text("{")
    with pytest.raises(EngineFailed, match=r"config\.json is not valid JSON"):
        load_model(broken, "odd", quiet, FALLBACK)


def test_code_that_comes_with_a_tokenizer_is_not_run(broken: Path) -> None:
    (broken / "evil.py").write_text("raise SystemExit('run')")
    settings = json.loads((broken / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (broken / "tokenizer_config.json").write_text(json.dumps(settings))
    (broken / "tokenizer.json").unlink()
    with pytest.raises(EngineFailed):
        load_model(broken, "odd", quiet, FALLBACK)
