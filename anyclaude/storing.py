"""What is kept on disk or elsewhere as the configuration has it: built, started, closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anyclaude.config.checks.cache import LOCAL_EMBEDDINGS, LOCAL_VECTORS, QDRANT_VECTORS
from anyclaude.config.checks.extras import installed
from anyclaude.config.settings import CacheSettings, Settings, Target
from anyclaude.events import SystemEvent
from anyclaude.prompt.decisions import Decisions
from anyclaude.traces import FileThread, Folder, StreamLog, Traces

if TYPE_CHECKING:
    from anyclaude.caches.kv.disk import DiskTier
    from anyclaude.caches.response.cache import ResponseCache
    from anyclaude.caches.response.persistent import PersistentTier
    from anyclaude.caches.semantic.cache import SemanticCache
    from anyclaude.caches.semantic.embed import Embedder
    from anyclaude.caches.semantic.index import VectorIndex
    from anyclaude.caches.shared.link import Link
    from anyclaude.caches.shared.state import SharedState

Clock = Callable[[], float]
Report = Callable[[SystemEvent], None]
MB = 2**20


@dataclass(frozen=True, slots=True)
class Stores:
    """``answers`` is ``None`` when every tier is off, ``state`` without a shared server."""

    answers: ResponseCache | None = None
    state: SharedState | None = None


async def open_stores(
    settings: Settings,
    parts: AsyncExitStack,
    *,
    report: Report,
    wall: Clock = time.time,
    clock: Clock = time.monotonic,
) -> Stores:
    """Starts what is switched on and has ``parts`` close it, in the opposite order.

    ``report`` may be called on other threads. A server that is away costs its tier, not the start.
    Raises ConfigError for a package that isn't installed or an address that can't be used.
    """
    cache = settings.cache
    if not (cache.l2 or cache.redis_url):
        return Stores()
    from anyclaude.caches.response.cache import ResponseCache
    from anyclaude.caches.response.memory import MemoryTier

    memory = MemoryTier(clock, cache.response_mb * MB, cache.response_ttl_s) if cache.l2 else None
    disk = _disk(settings, parts, report, wall) if cache.l2 and cache.response_disk else None
    link = await _link(cache, parts, report, wall, clock) if cache.redis_url else None
    state = None
    if link is not None:
        from anyclaude.caches.shared.tier import RedisState

        state = RedisState(link, wall)
    if memory is None and cache.redis_private:
        return Stores(None, state)
    shared = None
    if link is not None and not cache.redis_private:
        from anyclaude.caches.shared.tier import SharedAnswers, SharedOptions

        shared = SharedAnswers(link, SharedOptions(ttl_s=cache.response_ttl_s))
    semantic = None
    if cache.semantic:
        semantic = await _semantic(settings, disk, parts, report, wall, clock)
    answers = ResponseCache(wall=wall, memory=memory, disk=disk, shared=shared, semantic=semantic)
    return Stores(answers, state)


def open_disk(
    settings: Settings, parts: AsyncExitStack, *, report: Report, wall: Clock
) -> DiskTier | None:
    """The KV cache on disk, which ``parts`` closes; ``None`` where it is off."""
    from anyclaude.caches.kv.disk import DiskLimits, DiskTier
    from anyclaude.caches.kv.disk_folder import FOLDER_NAME

    cache = settings.cache
    if not (cache.l1 and cache.l3):
        return None
    limits = DiskLimits(int(cache.disk_gb * 10**9), int(cache.disk_writes_gb_per_day * 10**9))
    tier = DiskTier(settings.data_dir / FOLDER_NAME, limits, report, wall=wall)
    parts.push_async_callback(asyncio.to_thread, tier.close)
    return tier


def open_decisions(
    settings: Settings, parts: AsyncExitStack, *, report: Report, wall: Clock
) -> Decisions | None:
    """What conversations began with and where they were cut, which ``parts`` closes; ``None``
    where nothing of prompts is decided."""
    prompt = settings.prompt
    if prompt.tier == "off" and prompt.overflow == "refuse":
        return None
    decisions = Decisions(settings.data_dir / "prompts.sqlite", report=report, clock=wall)
    parts.push_async_callback(decisions.close)
    return decisions


def open_summariser(settings: Settings) -> Embedder | None:
    """What tells alike from unlike in turns that are summarised; ``None``: their words alone."""
    if settings.prompt.overflow != "compress" or not installed("wordllama"):
        return None
    from anyclaude.caches.semantic.embed import WordLlamaEmbedder

    return WordLlamaEmbedder()


def open_traces(
    settings: Settings, parts: AsyncExitStack, report: Report, wall: Clock
) -> tuple[Traces | None, StreamLog | None]:
    """Where requests go whole, and where streams are taken down; each ``None`` where it is off."""

    def thread(setting: str) -> FileThread:
        made = FileThread(setting, report, wall)
        parts.push_async_callback(made.close)
        return made

    log, folder = settings.log, settings.data_dir
    traces = Traces(Folder(folder / "traces"), thread("log.traces")) if log.traces else None
    streams = None
    if log.stream_log:
        streams = StreamLog(Folder(folder / "streams"), thread("log.stream_log"))
    return traces, streams


def _disk(settings: Settings, parts: AsyncExitStack, report: Report, wall: Clock) -> PersistentTier:
    from anyclaude.caches.response.persistent import (
        FILE_NAME,
        PersistentOptions,
        PersistentTier,
    )

    cache = settings.cache
    options = PersistentOptions(cache.persistent_days, cache.persistent_mb * MB)
    tier = PersistentTier(settings.data_dir / FILE_NAME, options, wall=wall, report=report)
    tier.start()
    parts.push_async_callback(asyncio.to_thread, tier.close)
    return tier


async def _link(
    cache: CacheSettings, parts: AsyncExitStack, report: Report, wall: Clock, clock: Clock
) -> Link:
    from anyclaude.caches.shared.link import Link, LinkOptions

    link = Link(LinkOptions(cache.redis_url), clock=clock, wall=wall, report=report)
    parts.push_async_callback(link.close)
    await link.start()
    return link


async def _semantic(
    settings: Settings,
    disk: PersistentTier | None,
    parts: AsyncExitStack,
    report: Report,
    wall: Clock,
    clock: Clock,
) -> SemanticCache:
    from anyclaude.caches.semantic.cache import SemanticCache, SemanticOptions

    embedder = _embedder(settings, parts)
    semantic = SemanticCache(
        embedder,
        _index(settings.cache.vectors, settings.data_dir, embedder, disk, parts),
        SemanticOptions(settings.cache.semantic_threshold),
        clock=clock,
        wall=wall,
        report=report,
    )
    await semantic.start()
    return semantic


def _embedder(settings: Settings, parts: AsyncExitStack) -> Embedder:
    from anyclaude.caches.semantic.embed import CalledEmbedder, WordLlamaEmbedder

    wanted = settings.cache.embeddings
    if wanted == LOCAL_EMBEDDINGS:
        return WordLlamaEmbedder()
    from anyclaude.backends.signatures import SignatureLedger
    from anyclaude.upstreams import openai_backend

    target = Target.parse(wanted)
    options = dict(settings.backends)[target.backend]
    # One of its own: vectors are asked for whether or not a route leads to the backend.
    backend = openai_backend(target.backend, options, SignatureLedger())
    parts.push_async_callback(backend.close)
    name = f"{options.base_url} {target.model}"
    return CalledEmbedder(name, lambda text: backend.embed(target.model, text))


def _index(
    vectors: str,
    data_dir: Path,
    embedder: Embedder,
    disk: PersistentTier | None,
    parts: AsyncExitStack,
) -> VectorIndex:
    if vectors == LOCAL_VECTORS:
        from anyclaude.caches.semantic.index import LocalIndex, SqlitePoints

        return LocalIndex(SqlitePoints(disk, embedder.name) if disk is not None else None)
    from anyclaude.caches.semantic.qdrant import QdrantIndex, QdrantLocal, collection_of

    collection = collection_of(embedder.name)
    if vectors == QDRANT_VECTORS:
        local = QdrantLocal(data_dir / "qdrant", collection)
        parts.push_async_callback(local.close)
        return local
    from anyclaude.backends.http import Timeouts, Upstream
    from anyclaude.backends.json_calls import json_calls

    upstream = Upstream("qdrant", vectors, Timeouts(connect=1.0, headers=5.0, idle=5.0))
    parts.push_async_callback(upstream.close)
    return QdrantIndex(json_calls(upstream), collection)
