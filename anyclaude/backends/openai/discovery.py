"""Which models a server has, and what it is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from anyclaude.backends import faults
from anyclaude.backends.http import Timeouts, Upstream
from anyclaude.backends.openai.profiles import Profile, detect
from anyclaude.errors import UpstreamError
from anyclaude.types import JsonObject, JsonValue

MAX_LIST_BYTES = 16 * 1024 * 1024  # OpenRouter's is half a megabyte
PROBE_S = 5.0

_WINDOWS = (
    "max_model_len",  # vLLM, SGLang
    "context_length",  # OpenRouter, Together
    "context_window",  # Groq
    "max_context_length",  # Mistral, LM Studio's own API
    "loaded_context_length",
    "max_input_tokens",
)


@dataclass(frozen=True, slots=True)
class UpstreamModel:
    """``context_limit`` is in tokens, 0 where the server doesn't say."""

    id: str
    context_limit: int = 0
    owned_by: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """``certain``: the server answered, so that asking again would say the same."""

    profile: Profile
    models: tuple[UpstreamModel, ...]
    certain: bool


async def list_models(
    upstream: Upstream, headers: Iterable[tuple[str, str]]
) -> tuple[UpstreamModel, ...]:
    """Raises UpstreamError when there is no list, or it can't be read."""
    reply = await upstream.get("/models", headers, timeouts=probing(upstream))
    if reply.status != 200:
        raise await reply.error()
    return read_models(upstream.name, await reply.read(MAX_LIST_BYTES))


async def look(upstream: Upstream, headers: Iterable[tuple[str, str]]) -> Found:
    """What can be found out about a server; never raises for its faults."""
    try:
        reply = await upstream.get("/models", headers, timeouts=probing(upstream))
    except UpstreamError:
        return Found(detect(upstream.base_url, {}, ()), (), False)
    given = dict(reply.headers)
    try:
        if reply.status != 200:
            raise await reply.error()
        models = read_models(upstream.name, await reply.read(MAX_LIST_BYTES))
    except UpstreamError:
        # mlx_lm.server breaks off here when no model was ever downloaded.
        models = ()
    owners = tuple(model.owned_by for model in models)
    return Found(detect(upstream.base_url, given, owners), models, reply.status < 500)


def probing(upstream: Upstream) -> Timeouts:
    """A list comes at once, or the server is not well."""
    return Timeouts(min(upstream.timeouts.connect, PROBE_S), PROBE_S, PROBE_S)


def read_models(backend: str, body: bytes) -> tuple[UpstreamModel, ...]:
    """OpenAI's list, or a bare one, or Ollama's; raises UpstreamError for anything else."""
    try:
        value: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        raise faults.garbage(backend, "a list of models that isn't JSON") from None
    listed: JsonValue = value
    if isinstance(value, Mapping):
        listed = value.get("data")
        listed = value.get("models") if listed is None else listed
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise faults.garbage(backend, "something else where its list of models belongs")
    models = (_model(entry) for entry in listed if isinstance(entry, Mapping))
    return tuple(model for model in models if model.id)


def _model(entry: JsonObject) -> UpstreamModel:
    names = (entry.get(key) for key in ("id", "key", "model", "name"))
    name = next((name for name in names if isinstance(name, str)), "")
    owner = entry.get("owned_by")
    meta = entry.get("meta")  # llama.cpp
    windows = [entry.get(key) for key in _WINDOWS]
    if isinstance(meta, Mapping):
        windows.append(meta.get("n_ctx"))
    window = next((w for w in windows if isinstance(w, int) and w > 0), 0)
    return UpstreamModel(name, window, owner if isinstance(owner, str) else "")
