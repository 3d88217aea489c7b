"""Web search as the configuration has it: built, started, closed.

Nothing is asked of anybody here; a provider hears of us with the first search.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from anyclaude import __version__
from anyclaude.config.settings import SearchSettings, Settings
from anyclaude.events import SystemEvent
from anyclaude.injecting import Injector
from anyclaude.ledger import Ledger
from anyclaude.search.cache import CacheOptions, ResultCache
from anyclaude.search.file import FILE_NAME, SearchFile
from anyclaude.search.http import Fetch, Headers
from anyclaude.search.insertions import Insertions
from anyclaude.search.pages import Pages
from anyclaude.search.providers import brave, duckduckgo, searxng, serpapi, tavily
from anyclaude.search.robots import AGENT
from anyclaude.search.service import SearchService
from anyclaude.search.values import Provider, SearchOptions
from anyclaude.types import JsonObject, JsonValue

if TYPE_CHECKING:
    from anyclaude.backends.http import Upstream
    from anyclaude.backends.web import WebAnswer, WebClient

MB = 2**20


async def open_search(
    settings: Settings,
    ledger: Ledger,
    parts: AsyncExitStack,
    *,
    report: Callable[[SystemEvent], None],
    wall: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
) -> Injector:
    """Opens its file and has ``parts`` close everything, in the opposite order.

    ``report`` may be called on another thread.
    """
    search = settings.search
    file = SearchFile(settings.data_dir / FILE_NAME, wall=wall, report=report)
    file.start()
    parts.push_async_callback(asyncio.to_thread, file.close)
    kept = CacheOptions(search.cache_ttl_s, search.cache_mb * MB, search.pages)
    cache = ResultCache(file, kept, wall)
    insertions = Insertions(file, wall)
    await cache.start()
    await insertions.start()
    options = SearchOptions(
        search.timeout_s,
        search.max_results,
        search.max_tokens,
        search.allowed_domains,
        search.blocked_domains,
        search.pages,
    )
    providers = tuple(_providers(search, parts))
    pages = _pages(search, clock) if search.pages else None
    service = SearchService(providers, cache, options, clock=clock, pages=pages)
    return Injector(service, insertions, ledger, on=search.proactive, wall=wall)


def _pages(search: SearchSettings, clock: Callable[[], float]) -> Pages:
    timeout = search.timeout_s

    @functools.cache
    def web() -> WebClient:
        from anyclaude.backends.http import Timeouts
        from anyclaude.backends.web import WebClient

        return WebClient(f"{AGENT}/{__version__}", Timeouts(timeout, timeout, timeout))

    async def get(address: str, accept: str, limit: int) -> WebAnswer:
        # With the first page, since aiohttp takes longer to import than a start should wait.
        return await web().get(address, accept, limit)

    return Pages(get, clock, timeout)


def _providers(search: SearchSettings, parts: AsyncExitStack) -> Iterator[Provider]:
    def fetch(name: str, address: str) -> Fetch:
        from anyclaude.backends.http import Timeouts, Upstream

        timeout = search.timeout_s
        upstream = Upstream(name, address, Timeouts(timeout, timeout, timeout))
        parts.push_async_callback(upstream.close)
        return _fetch(upstream)

    for name in search.providers:
        match name:
            case "duckduckgo":
                yield duckduckgo.DuckDuckGo()
            case "brave":
                yield brave.Brave(fetch(name, brave.ADDRESS), search.brave_key)
            case "tavily":
                yield tavily.Tavily(fetch(name, tavily.ADDRESS), search.tavily_key)
            case "serpapi":
                yield serpapi.SerpApi(fetch(name, serpapi.ADDRESS), search.serpapi_key)
            case "searxng":
                yield searxng.SearxNg(fetch(name, search.searxng_url))


def _fetch(upstream: Upstream) -> Fetch:
    from anyclaude.backends.json_calls import json_calls

    async def fetch(
        method: str, path: str, headers: Headers = (), body: JsonObject | None = None
    ) -> JsonValue:
        return await json_calls(upstream, headers)(method, path, body)

    return fetch
