"""Which models there are, what a name means, and downloads from a Hub that is our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from anyclaude.engine.catalog import Catalog, tools_of
from anyclaude.engine.smollm2 import EMBEDDED_NAME
from anyclaude.errors import ApiError, InvalidRequest, NotFound, PermissionDenied, Unavailable
from tests.doubles.hub import FILES, SHA, serving_hub
from tests.engine import families


def make_model(folder: Path, *, template: str = "", weights: int = 1000, **config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    (folder / "model.safetensors").write_bytes(b"w" * weights)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    return folder


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    data, cache = tmp_path / "data", tmp_path / "hub"
    make_model(
        data / "models" / "mine",
        template=families.CHATML,
        max_position_embeddings=4096,
        quantization={"group_size": 64, "bits": 4},
    )
    (data / "models" / "half").mkdir()
    (data / "models" / "half" / "config.json").write_text("{}")
    make_model(data / "models" / f".{EMBEDDED_NAME}.123.tmp")
    repo = cache / "models--org--big"
    make_model(repo / "snapshots" / SHA, weights=9000, torch_dtype="bfloat16")
    make_model(repo / "snapshots" / ("b" * 40), weights=1)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(SHA)
    make_model(cache / "datasets--org--words" / "snapshots" / SHA)
    return Catalog(data, cache, memory_bytes=10_000)


def test_list_tells_what_the_files_say(catalog: Catalog, tmp_path: Path) -> None:
    embedded, mine, big = catalog.list()
    assert (embedded.name, embedded.fits) == (EMBEDDED_NAME, False)
    assert (mine.name, mine.size_bytes, mine.quantization) == ("mine", 1000, "4-bit")
    assert (mine.context_limit, mine.tools, mine.fits) == (4096, "template", True)
    assert (big.name, big.size_bytes, big.quantization) == ("org/big", 9000, "bfloat16")
    assert (big.context_limit, big.tools, big.fits) == (0, "fallback", False)
    assert big.path == str(tmp_path / "hub" / "models--org--big" / "snapshots" / SHA)


def test_a_missing_cache_is_an_empty_one(tmp_path: Path) -> None:
    infos = Catalog(tmp_path, tmp_path / "no-hub").list()
    assert [info.name for info in infos] == [EMBEDDED_NAME]


def test_names_resolve_to_folders(catalog: Catalog, tmp_path: Path) -> None:
    mine = tmp_path / "data" / "models" / "mine"
    assert catalog.resolve("mine") == mine
    assert catalog.resolve(str(mine)) == mine
    assert catalog.resolve("org/big").name == SHA
    assert catalog.resolve(catalog.default_model()).name == EMBEDDED_NAME


@pytest.mark.parametrize(
    "name",
    ["", " ", "..", "../mine", "a/../mine", "/tmp/../etc", "./..", "a\\b", "a\0b", "a\nb", "a/b/c",
     "~/mine", ".hidden"],
)  # fmt: skip
def test_what_cannot_be_a_name_is_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(InvalidRequest):
        catalog.resolve(name)


@pytest.mark.parametrize("name", ["other", "org/other", "half", "/tmp", "./nowhere"])
def test_what_is_not_there_is_said_so(catalog: Catalog, name: str) -> None:
    with pytest.raises(NotFound, match=r"models pull|config\.json"):
        catalog.resolve(name)
    if not name.startswith(("/", ".")):
        with pytest.raises(NotFound, match="mine, org/big"):
            catalog.resolve(name)


def test_tools_by_template(tmp_path: Path) -> None:
    shapes = {
        "chatml": families.CHATML,
        "glm": families.GLM,
        "mistral": families.MISTRAL,
        "llama": families.LLAMA3 + "{{ tools }}",
        "gemma": families.GEMMA,
    }
    found = {n: tools_of(make_model(tmp_path / n, template=t)) for n, t in shapes.items()}
    assert found == {
        "chatml": "template",
        "glm": "template",
        "mistral": "template",
        "llama": "template",
        "gemma": "fallback",
    }
    (tmp_path / "gemma" / "chat_template.jinja").write_text(families.CHATML)
    assert tools_of(tmp_path / "gemma") == "template"
    (tmp_path / "llama" / "tokenizer_config.json").write_text("{")
    assert tools_of(tmp_path / "llama") == "unknown"


# ------------------------------------------------------------------------------------- pull


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving_hub(monkeypatch) as hub:
        yield hub.url


def test_pull_downloads_what_is_needed_and_tells_how_far(tmp_path: Path, hub: str) -> None:
    seen: list[tuple[float, str]] = []
    catalog = Catalog(tmp_path, tmp_path / "hub", endpoint=hub)
    path = catalog.pull("org/tiny", lambda fraction, what: seen.append((fraction, what)))
    assert sorted(file.name for file in path.iterdir()) == ["config.json", "model.safetensors"]
    assert (path / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert 0.9 < fractions[-2] < 1.0
    assert catalog.resolve("org/tiny") == path


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("org/absent", NotFound, "no model org/absent"),
        ("org/gated", PermissionDenied, "terms"),
        ("org/gguf", InvalidRequest, "safetensors"),
        ("org/broken", Unavailable, "answered 500"),
        ("tiny", InvalidRequest, "ORG/NAME"),
        ("org/..", InvalidRequest, r"\.\."),
    ],
)
def test_pull_says_in_one_sentence_what_is_wrong(
    tmp_path: Path, hub: str, name: str, error: type[ApiError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        Catalog(tmp_path, tmp_path / "hub", endpoint=hub).pull(name, lambda fraction, what: None)
    assert "\n" not in str(caught.value)


def test_pull_without_a_network(tmp_path: Path, hub: str) -> None:
    closed = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    endpoint = f"http://127.0.0.1:{closed.server_port}"
    closed.server_close()
    with pytest.raises(Unavailable, match="cannot reach Hugging Face"):
        Catalog(tmp_path, tmp_path / "hub", endpoint=endpoint).pull(
            "org/tiny", lambda fraction, what: None
        )
