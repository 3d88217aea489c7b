"""Answers to the same question put in other words. Off by default, and never with tools.

Only the last text of the last message may differ; all else must be equal, which the digest of the
context makes sure of. The vectors find candidates, the guards decide (see
:mod:`anyclaude.caches.semantic.guards`). The answers are those of the other tiers, under the key of
the question they were made for.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from anyclaude.caches.response.entry import Entry
from anyclaude.caches.response.key import Served, context_of
from anyclaude.caches.semantic.embed import Embedder
from anyclaude.caches.semantic.guards import differ, gist_of
from anyclaude.caches.semantic.index import Near, Point, VectorIndex
from anyclaude.caches.tally import Tally
from anyclaude.errors import AnyclaudeError, ConfigError
from anyclaude.events import SystemEvent, TierStats
from anyclaude.types import MessagesRequest, TextBlock, Tier

T = TypeVar("T")

MIN_THRESHOLD = 0.97
MAX_CHARS = 1000
_START_S = 30.0
_FAILURES = (AnyclaudeError, OSError, TimeoutError, ValueError, LookupError)


@dataclass(frozen=True, slots=True)
class SemanticOptions:
    """``threshold`` is a cosine. Raises ConfigError for one below 0.97.

    A search that takes longer than ``timeout_s`` counts as a miss, and after a failure none is
    made for ``away_s``.
    """

    threshold: float = MIN_THRESHOLD
    timeout_s: float = 0.25
    away_s: float = 30.0

    def __post_init__(self) -> None:
        if not MIN_THRESHOLD <= self.threshold <= 1:
            raise ConfigError(
                f"the semantic cache's threshold must be {MIN_THRESHOLD} to 1, not"
                f" {self.threshold:g}: below that it gives wrong answers"
            )


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked up by meaning: ``text``, asked in ``context``."""

    context: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a question that means the same; ``score`` says how near its vector is."""

    digest: bytes
    entry: Entry
    score: float


def question_of(request: MessagesRequest, served: Served) -> Question | None:
    """The question of a request; ``None`` for one that is only looked up exactly.

    That is any with tools, whose last message doesn't end in text, or whose last text has several
    lines or more than 1,000 characters: the guards read sentences, not code.
    """
    if request.tools or not request.messages:
        return None
    last = request.messages[-1]
    block = last.content[-1] if last.content else None
    if last.role != "user" or not isinstance(block, TextBlock):
        return None
    text = block.text.strip()
    if not text or len(text) > MAX_CHARS or len(text.splitlines()) > 1:
        return None
    return Question(context_of(request, served), text)


class SemanticCache:
    """``clock`` only has to go forward, ``wall`` is Unix time; loop thread only."""

    def __init__(
        self,
        embedder: Embedder,
        index: VectorIndex,
        options: SemanticOptions,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        report: Callable[[SystemEvent], None],
    ) -> None:
        self._embedder = embedder
        self._index = index
        self._options = options
        self._clock = clock
        self._wall = wall
        self._report = report
        self._away_until = 0.0
        self._failing = False
        self._entries = 0
        self.tally = Tally()
        self.refused: Counter[str] = Counter()
        """Candidates near enough that a guard refused, by its reason."""

    async def start(self) -> None:
        """Reads weights and points, so that no request has to wait for that."""

        async def work() -> int:
            await self._embedder.embed("hello")
            await self._index.start()
            return await self._index.count()

        self._entries = await self._try(work, 0, _START_S)

    async def lookup(
        self, question: Question, fetch: Callable[[bytes], Awaitable[Entry | None]]
    ) -> Found | None:
        """An answer to a question that means the same; ``fetch`` gets entries by digest."""
        gist = gist_of(question.text)

        async def search() -> list[Near]:
            vector = await self._embedder.embed(gist.text)
            return await self._index.search(question.context, vector, self._options.threshold)

        nothing: list[Near] = []
        for near in await self._try(search, nothing, self._options.timeout_s):
            if near.score < self._options.threshold:
                continue
            entry = await fetch(near.digest)
            if entry is None:
                await self.forget(near.digest)
                continue
            reason = differ(gist, gist_of(entry.question))
            if not reason:
                return Found(near.digest, entry, min(near.score, 1.0))
            self.refused[reason] += 1
        return None

    async def remember(self, question: Question, digest: bytes) -> None:
        """Has the question found from now on; its answer must be kept under ``digest``."""

        async def work() -> int:
            vector = await self._embedder.embed(gist_of(question.text).text)
            await self._index.add(Point(digest, question.context, vector))
            return await self._index.count()

        self._entries = await self._try(work, self._entries, self._options.timeout_s)

    async def forget(self, digest: bytes) -> None:
        """Forgets a question whose answer is gone."""
        await self._try(lambda: self._index.remove(digest), None, self._options.timeout_s)

    async def flush(self) -> int:
        """Forgets every question; how many there were."""
        gone = await self._try(self._index.clear, 0, _START_S)
        self._entries = 0
        return gone

    def stats(self) -> TierStats:
        return self.tally.stats(Tier.SEMANTIC, enabled=True, entries=self._entries)

    async def _try(self, work: Callable[[], Awaitable[T]], otherwise: T, timeout_s: float) -> T:
        if self._failing and self._clock() < self._away_until:
            return otherwise
        try:
            async with asyncio.timeout(timeout_s):
                result = await work()
        except _FAILURES as error:
            self._away_until = self._clock() + self._options.away_s
            if not self._failing:
                self._failing = True
                why = str(error) or "no answer in time"
                self._say("warning", f"the semantic cache rests for a while: {why}")
            return otherwise
        if self._failing:
            self._failing = False
            self._say("info", "the semantic cache works again")
        return result

    def _say(self, level: Literal["info", "warning"], message: str) -> None:
        self._report(SystemEvent(self._wall(), level, "cache", message))
