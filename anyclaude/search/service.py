"""One search from its words to its results: checked, looked up, asked, chosen from.

Providers are asked one after the other until one has something. One that wants fewer searches
is left alone for as long as it says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from anyclaude.search.cache import Kept, ResultCache
from anyclaude.search.choosing import choose, may_show, with_pages
from anyclaude.search.pages import Pages
from anyclaude.search.values import (
    MAX_QUERY_CHARS,
    Asking,
    ErrorCode,
    Outcome,
    Provider,
    Query,
    Result,
    SearchFailed,
    SearchOptions,
)

log = logging.getLogger(__name__)

REST_S = 30.0
"""How long a provider is left alone that wants fewer searches and doesn't say for how long."""
MAX_REST_S = 3600.0
_SPARE = 2
"""Results asked for per result shown: some are the same page, or of a domain that is blocked."""

OFF = "web search is switched off here: search.providers is empty in the configuration"


class SearchService:
    """Loop thread only."""

    def __init__(
        self,
        providers: Sequence[Provider],
        cache: ResultCache,
        options: SearchOptions,
        *,
        clock: Callable[[], float],
        pages: Pages | None = None,
    ) -> None:
        self.cache = cache
        self._pages = pages
        self.options = options
        self._providers = tuple(providers)
        self._clock = clock
        self._resting: dict[str, float] = {}

    @property
    def on(self) -> bool:
        """Whether there is anybody to ask."""
        return bool(self._providers)

    @property
    def providers(self) -> tuple[str, ...]:
        """Their names in the order in which they are asked."""
        return tuple(provider.name for provider in self._providers)

    async def known(self, query: Query) -> Outcome | None:
        """What needs nobody on the web: a query that can't be asked, or results of earlier."""
        started = self._clock()
        if refused := self._refused(query):
            return Outcome(query.text, error=refused[0], detail=refused[1])
        kept = await self.cache.get(query, self.providers)
        if kept is None:
            return None
        results = choose(kept.results, query, self.options)
        return Outcome(query.text, kept.provider, results, self._ms(started), cached=True)

    async def search(self, query: Query) -> Outcome:
        """The results of a query, or why there are none; never raises."""
        return await self.known(query) or await self.ask(query)

    async def ask(self, query: Query) -> Outcome:
        """As :meth:`search` for a query that isn't :meth:`known`."""
        started = self._clock()
        failed: tuple[str, SearchFailed] | None = None
        troubles: list[str] = []
        empty = ""
        for provider in self._providers:
            try:
                found = await self._asked(provider, query)
            except SearchFailed as error:
                failed = (provider.name, error)
                troubles.append(error.message)
                continue
            results = choose(found, query, self.options)
            if results:
                if self._pages is not None and self.options.pages:
                    found, unread = await self._read(self._pages, query, found, results)
                    results = choose(found, query, self.options)
                    troubles += unread
                ms = self._ms(started)
                await self.cache.put(query, Kept(provider.name, found, ms))
                return Outcome(query.text, provider.name, results, ms, troubles=tuple(troubles))
            empty = empty or provider.name
        ended = Outcome(query.text, empty, ms=self._ms(started), troubles=tuple(troubles))
        if empty or failed is None:
            return ended
        name, why = failed
        return replace(ended, provider=name, error=why.code, detail=why.message)

    async def _read(
        self, pages: Pages, query: Query, found: Sequence[Result], chosen: Sequence[Result]
    ) -> tuple[tuple[Result, ...], tuple[str, ...]]:
        """What was found, with the pages of the first that are shown; and what wasn't read."""
        options = self.options
        addresses = [one.url for one in chosen[: options.pages]]
        read = await pages.read(addresses, lambda url: may_show(url, query, options))
        return with_pages(found, read.texts), read.troubles

    async def _asked(self, provider: Provider, query: Query) -> tuple[Result, ...]:
        rest = self._resting.get(provider.name, 0.0) - self._clock()
        if rest > 0:
            text = f"{provider.name} wants fewer searches; it is asked again in {rest:.0f} s"
            raise SearchFailed("too_many_requests", text)
        timeout, options = self.options.timeout_s, self.options
        # The user's own domains go along, so that a provider that knows them looks there.
        wide = replace(
            query,
            allowed=query.allowed or options.allowed,
            blocked=tuple(dict.fromkeys((*query.blocked, *options.blocked))),
        )
        asking = Asking(wide, options.max_results * _SPARE, timeout)
        try:
            async with asyncio.timeout(timeout):
                return await provider.search(asking)
        except TimeoutError as error:
            text = f"{provider.name} gave no answer in {timeout:g} s"
            raise SearchFailed("unavailable", text) from error
        except SearchFailed as error:
            if error.code == "too_many_requests":
                wait = REST_S if error.retry_after is None else error.retry_after
                self._resting[provider.name] = self._clock() + min(wait, MAX_REST_S)
            raise
        except Exception as error:
            # What a page or a library does that nobody foresaw must not end a request.
            log.exception("the search provider %s failed", provider.name)
            text = f"{provider.name} answered what can't be read: {type(error).__name__}"
            raise SearchFailed("unavailable", text) from error

    def _refused(self, query: Query) -> tuple[ErrorCode, str] | None:
        if not self.on:
            return "unavailable", OFF
        if not query.text.strip():
            return "invalid_input", "there is nothing to search for"
        if query.allowed and query.blocked:
            return "invalid_input", "expected allowed_domains or blocked_domains, not both"
        if len(query.text) > MAX_QUERY_CHARS:
            text = f"the query has {len(query.text)} characters; expected {MAX_QUERY_CHARS} at most"
            return "query_too_long", text
        return None

    def _ms(self, since: float) -> float:
        return (self._clock() - since) * 1000
