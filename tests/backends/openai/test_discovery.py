"""What a server is, told from its list of models, its headers and its address."""

from __future__ import annotations

import json

import pytest

from anyclaude.backends.openai.discovery import UpstreamModel, read_models
from anyclaude.backends.openai.profiles import detect
from anyclaude.errors import UpstreamError


@pytest.mark.parametrize(
    ("address", "headers", "owners", "expected"),
    [
        ("http://127.0.0.1:8000/v1", {}, ("vllm",), "vllm"),
        ("http://127.0.0.1:8000/v1", {"server": "uvicorn"}, ("vllm-mlx",), "vllm-mlx"),
        ("http://127.0.0.1:9999/v1", {}, ("organization_owner",), "lmstudio"),
        ("http://127.0.0.1:9999/v1", {}, ("library",), "ollama"),
        ("http://127.0.0.1:11434/v1", {}, ("someone",), "ollama"),
        ("http://127.0.0.1:1234/v1", {}, (), "lmstudio"),
        ("http://127.0.0.1:8080", {"server": "BaseHTTP/0.6 Python/3.11.7"}, ("",), "mlx-lm"),
        ("http://127.0.0.1:1234/v1", {"server": "BaseHTTP/0.6"}, (), "mlx-lm"),
        ("http://127.0.0.1:4000", {"x-litellm-version": "1.110.2"}, ("openai",), "litellm"),
        ("https://openrouter.ai/api/v1", {}, (), "openrouter"),
        ("https://api.openai.com/v1", {}, ("system",), "openai"),
        ("https://proxy.test/v1", {"openai-processing-ms": "3"}, ("system",), "openai"),
        ("https://example.test/v1", {}, ("sglang",), "generic"),
        ("https://example.test/v1", {}, (), "generic"),
    ],
)
def test_the_profile(
    address: str, headers: dict[str, str], owners: tuple[str, ...], expected: str
) -> None:
    assert detect(address, headers, owners).name == expected


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (
            {"object": "list", "data": [{"id": "a", "owned_by": "vllm", "max_model_len": 4096}]},
            (UpstreamModel("a", 4096, "vllm"),),
        ),
        ({"data": [{"id": "a", "context_length": 200000}]}, (UpstreamModel("a", 200000),)),
        ({"data": [{"id": "a", "meta": {"n_ctx": 512}}]}, (UpstreamModel("a", 512),)),
        ({"data": [{"id": "a", "max_model_len": None}, {"no": 1}, 3]}, (UpstreamModel("a"),)),
        ({"models": [{"name": "b", "model": "b:latest"}]}, (UpstreamModel("b:latest"),)),
        ([{"id": "a"}], (UpstreamModel("a"),)),
        ({"data": []}, ()),
    ],
)
def test_lists_of_models(body: object, models: tuple[UpstreamModel, ...]) -> None:
    assert read_models("up", json.dumps(body).encode()) == models


@pytest.mark.parametrize("body", [b"", b"Not Found", b"3", b'{"data": "x"}', b'{"object": "list"}'])
def test_what_is_no_list(body: bytes) -> None:
    with pytest.raises(UpstreamError) as raised:
        read_models("up", body)
    assert raised.value.category == "schema"
