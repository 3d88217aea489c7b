"""Caches that need each other, something installed, or a server elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

from anyclaude.config.checks.addresses import HTTP, complaint
from anyclaude.config.checks.case import Case, Finding
from anyclaude.config.checks.extras import installed, missing
from anyclaude.config.settings import Target

LOCAL_VECTORS = "local"
QDRANT_VECTORS = "qdrant"
LOCAL_EMBEDDINGS = "wordllama"
_REDIS = ("redis", "rediss", "unix")


def check_cache(case: Case) -> Iterator[Finding]:
    cache = case.settings.cache
    if cache.response_disk and not cache.l2:
        yield (
            "cache.response_disk",
            "is true while cache.l2 is false; expected both true, or this one false",
        )
    if cache.redis_private and not cache.redis_url and case.sound("cache.redis_url"):
        yield (
            "cache.redis_private",
            "is true while cache.redis_url is empty; expected an address",
        )
    if cache.redis_url:
        yield from _redis(cache.redis_url)
    if cache.semantic and not cache.l2 and (not cache.redis_url or cache.redis_private):
        yield (
            "cache.semantic",
            "is true while cache.l2 is false and no answers are in Redis; expected one of the two,"
            " for it only finds what they hold",
        )
    if cache.vectors == QDRANT_VECTORS:
        if cache.semantic and not installed("qdrant_client"):
            yield "cache.vectors", missing("qdrant_client", "qdrant", f'or "{LOCAL_VECTORS}"')
    elif cache.vectors != LOCAL_VECTORS and (
        text := complaint(cache.vectors, HTTP, '"http://127.0.0.1:6333"')
    ):
        yield "cache.vectors", f'{text}, or "{LOCAL_VECTORS}" or "{QDRANT_VECTORS}"'
    yield from _embeddings(case)


def _embeddings(case: Case) -> Iterator[Finding]:
    cache = case.settings.cache
    if cache.embeddings == LOCAL_EMBEDDINGS:
        if cache.semantic and not installed("wordllama"):
            yield (
                "cache.semantic",
                missing("wordllama", "semantic", "or cache.embeddings of a backend"),
            )
        return
    target = Target.parse(cache.embeddings)
    backend = dict(case.settings.backends).get(target.backend)
    shown = json.dumps(cache.embeddings)
    expected = f'expected "{LOCAL_EMBEDDINGS}", or the name of an openai backend, / and a model'
    if target.backend not in case.backend_names:
        yield "cache.embeddings", f"is {shown}, and there is no such backend; {expected}"
    elif not target.model:
        yield "cache.embeddings", f"is {shown}, which names no model; {expected}"
    elif backend is not None and case.sound(f"backends.{target.backend}.type"):
        if backend.type != "openai":
            text = f"is {shown}, a backend of type {backend.type}; {expected}"
            yield "cache.embeddings", text
        elif cache.semantic and not backend.enabled:
            yield "cache.embeddings", f"is {shown}, a backend that is switched off; {expected}"


def _redis(url: str) -> Iterator[Finding]:
    """Nothing of the address is quoted but its scheme: there may be a password in it."""
    expected = 'expected an address such as "redis://:PASSWORD@127.0.0.1:6379/0"'
    key = "cache.redis_url"
    try:
        parts = urlsplit(url)
        where = parts.path if parts.scheme == "unix" else parts.hostname
        known = parts.scheme in _REDIS and parts.port != 0
    except ValueError:
        yield key, f"can't be read as an address; {expected}"
        return
    if "://" not in url:
        yield key, f"has no scheme; {expected}"
    elif not known:
        yield key, f'begins with "{parts.scheme}://"; {expected}, or with rediss:// or unix://'
    elif not where:
        yield key, f"names no server; {expected}"
    elif not installed("redis"):
        yield key, missing("redis", "shared", "or an empty redis_url")
