"""A file, a service and providers that say what a test tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from anyclaude.events import SystemEvent
from anyclaude.search.cache import CacheOptions, ResultCache
from anyclaude.search.file import FILE_NAME, SearchFile
from anyclaude.search.pages import Pages
from anyclaude.search.service import SearchService
from anyclaude.search.values import Asking, Provider, Result, SearchFailed, SearchOptions

PYTHON = Result("https://www.python.org/", "Python", "Python 3.14.2 is the newest release.")
DOCS = Result("https://docs.python.org/3/", "Python docs", "What is new in Python.", "Dec 2025")
SPAM = Result("https://spam.example.com/", "Free Python", "Buy it here.")


class Clock:
    """Seconds that pass when told to."""

    def __init__(self, at: float = 1_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@dataclass
class FakeProvider:
    """Gives the next of ``says``, the last one again and again; an error is raised."""

    name: str = "fake"
    says: list[Sequence[Result] | Exception] = field(default_factory=lambda: [[PYTHON, DOCS]])
    asked: list[Asking] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def search(self, asking: Asking) -> tuple[Result, ...]:
        self.asked.append(asking)
        if self.gate is not None:
            await self.gate.wait()
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, Exception):
            raise said
        return tuple(said)


def failing(
    name: str, code: str = "unavailable", *, retry_after: float | None = None
) -> FakeProvider:
    error = SearchFailed(code, f"{name} is away", retry_after=retry_after)  # type: ignore[arg-type]
    return FakeProvider(name, [error])


@asynccontextmanager
async def opened(
    folder: Path, clock: Clock, said: list[SystemEvent] | None = None
) -> AsyncIterator[SearchFile]:
    """The file in ``folder``; what went wrong with it goes to ``said``."""
    file = SearchFile(
        folder / FILE_NAME, wall=clock, report=(said if said is not None else []).append
    )
    file.start()
    try:
        yield file
    finally:
        await asyncio.to_thread(file.close)


@asynccontextmanager
async def serving(
    folder: Path,
    *providers: Provider,
    clock: Clock | None = None,
    options: SearchOptions = SearchOptions(),  # noqa: B008 - a frozen value
    cache: CacheOptions = CacheOptions(),  # noqa: B008 - a frozen value
    pages: Pages | None = None,
) -> AsyncIterator[SearchService]:
    clock = clock or Clock()
    async with opened(folder, clock) as file:
        results = ResultCache(file, cache, clock)
        await results.start()
        service = SearchService(providers, results, options, clock=clock, pages=pages)
        yield service
