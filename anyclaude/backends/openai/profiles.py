"""What the servers that speak chat completions take, and where they differ. Data only.

Where it was read, in November 2026: mlx_lm.server 0.32.2 and vllm-mlx 0.6.0 (their sources),
vLLM's ``entrypoints/openai/chat_completion/protocol.py``, Ollama's ``openai/openai.go`` and its
page on compatibility, LiteLLM 1.110 (source), OpenAI's own types (openai 3.57), OpenRouter's pages
on reasoning and errors, LM Studio's pages and bug tracker (issues 670, 1027, 1120, 1752).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

NamedChoice: TypeAlias = Literal["named", "words", "none"]
"""``tool_choice``: one tool by its name; only the words none, auto and required; not at all."""

ThinkingField: TypeAlias = Literal["", "reasoning_effort", "reasoning", "enable_thinking"]
"""How thinking is asked for: a word, OpenRouter's object, or the chat template's own switch."""

ReplayField: TypeAlias = Literal["", "reasoning_content", "reasoning"]
"""The field of an assistant message that takes the model's earlier reasoning."""

ALL_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of server.

    ``stops`` is how many stop sequences it takes. ``image_types`` are those it takes as base64,
    ``image_urls`` whether it fetches images itself. ``formats`` is whether an answer can be held
    to a JSON schema, ``formats_with_tools`` also beside tools. ``think_tags``: reasoning may come
    as ``<think>`` in the text. ``usage_option``: usage in a stream has to be asked for.
    ``thinks_unasked``: without a word about it, a model that can think does. ``keywords`` of JSON
    Schema are left out of what it gets. ``deferred``: tools loaded late have to be in the list to
    be called. ``unnamed`` is what it takes as a model's name for the one it has; empty when a
    name must be found.
    """

    name: str
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    top_k: bool = False
    tool_choice: NamedChoice = "named"
    parallel: bool = True
    stops: int = 4
    image_types: tuple[str, ...] = ALL_IMAGES
    image_urls: bool = True
    formats: bool = True
    formats_with_tools: bool = True
    thinking: ThinkingField = ""
    thinks_unasked: bool = False
    replay: ReplayField = ""
    think_tags: bool = True
    usage_option: bool = True
    keywords: frozenset[str] = frozenset({"$schema", "$id", "$comment"})
    deferred: bool = True
    unnamed: str = ""


GENERIC = Profile("generic")

PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        GENERIC,
        Profile(
            "openai",
            token_limit="max_completion_tokens",
            thinking="reasoning_effort",
            think_tags=False,
        ),
        # An object as tool_choice and WebP are refused; images are never fetched.
        Profile(
            "lmstudio",
            top_k=True,
            tool_choice="words",
            parallel=False,
            stops=64,
            image_types=("image/png", "image/jpeg"),
            image_urls=False,
            thinking="reasoning_effort",
        ),
        # Fields it doesn't know are passed over in silence; any fault is a 404.
        Profile(
            "mlx-lm",
            top_k=True,
            tool_choice="none",
            parallel=False,
            stops=64,
            formats=False,
            thinking="enable_thinking",
            thinks_unasked=True,
            replay="reasoning_content",
            deferred=False,
            unnamed="default_model",
        ),
        # "tools and response_format cannot be combined" is a 400.
        Profile(
            "vllm-mlx",
            top_k=True,
            parallel=False,
            stops=64,
            formats_with_tools=False,
            thinking="enable_thinking",
            thinks_unasked=True,
            replay="reasoning_content",
            deferred=False,
        ),
        Profile(
            "vllm",
            top_k=True,
            stops=64,
            thinking="enable_thinking",
            thinks_unasked=True,
            replay="reasoning",
            deferred=False,
        ),
        # Neither tool_choice nor top_k is in its request; other image types are refused.
        Profile(
            "ollama",
            tool_choice="none",
            parallel=False,
            stops=64,
            image_types=("image/png", "image/jpeg", "image/webp"),
            image_urls=False,
            thinking="reasoning_effort",
            thinks_unasked=True,
            replay="reasoning",
            deferred=False,
        ),
        Profile(
            "openrouter",
            top_k=True,
            thinking="reasoning",
            replay="reasoning",
            think_tags=False,
        ),
        Profile("litellm", thinking="reasoning_effort", replay="reasoning_content"),
    )
}

_OWNERS = {
    "vllm": "vllm",
    "vllm-mlx": "vllm-mlx",
    "organization_owner": "lmstudio",
    "library": "ollama",
}
_HOSTS = {"openrouter.ai": "openrouter", "api.openai.com": "openai"}
_PORTS = {1234: "lmstudio", 11434: "ollama"}


def detect(base_url: str, headers: Mapping[str, str], owners: tuple[str, ...]) -> Profile:
    """The profile of the server whose model list came with ``headers`` (names in lower case).

    ``owners`` are the ``owned_by`` of its models; GENERIC when nothing gives it away.
    """
    address = urlsplit(base_url)
    name = _HOSTS.get(address.hostname or "", "")
    if not name and any(header.startswith("x-litellm-") for header in headers):
        name = "litellm"
    if not name and headers.get("server", "").startswith("BaseHTTP/"):
        name = "mlx-lm"
    if not name:
        name = next((_OWNERS[owner] for owner in owners if owner in _OWNERS), "")
    if not name and "openai-processing-ms" in headers:
        name = "openai"
    if not name:
        name = _PORTS.get(address.port or 0, "")
    return PROFILES.get(name, GENERIC)
