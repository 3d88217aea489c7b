"""Every tier of finished answers behind one door: memory, disk, shared, then by meaning.

A hit in a slower tier is put into memory. What a tier holds and can't read (damaged, of another
release) is deleted there and counts as a miss.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from anyclaude.caches.response.control import CacheControl, NotCached, header_value
from anyclaude.caches.response.entry import Entry, Unreadable, pack, unpack
from anyclaude.caches.response.key import CacheKey
from anyclaude.caches.response.memory import MemoryTier
from anyclaude.caches.response.persistent import PersistentTier
from anyclaude.caches.shared.tier import SharedAnswers
from anyclaude.caches.tally import Tally
from anyclaude.events import TierStats
from anyclaude.types import Tier

if TYPE_CHECKING:
    # Which brings NumPy, and is off unless somebody turned it on.
    from anyclaude.caches.semantic.cache import Question, SemanticCache

_ANY = CacheControl()


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer from ``tier``, made ``age`` seconds ago; ``key`` is its short form.

    ``similarity`` is below 1 only for a question in other words.
    """

    entry: Entry
    tier: Tier
    age: float
    key: str
    similarity: float = 1.0

    @property
    def header(self) -> str:
        """The value of ``x-anyclaude-cache``."""
        return header_value(self.tier, self.key, self.age, self.similarity)


class ResponseCache:
    """The tiers that are given; the others are off. ``wall`` is Unix time. Loop thread only."""

    def __init__(
        self,
        *,
        wall: Callable[[], float],
        memory: MemoryTier | None = None,
        disk: PersistentTier | None = None,
        shared: SharedAnswers | None = None,
        semantic: SemanticCache | None = None,
    ) -> None:
        self._wall = wall
        self._memory = memory
        self._disk = disk
        self._shared = shared
        self._semantic = semantic

    @property
    def semantic(self) -> bool:
        """Whether questions are looked up by meaning too."""
        return self._semantic is not None

    async def lookup(
        self, key: CacheKey, control: CacheControl = _ANY, question: Question | None = None
    ) -> Hit | None:
        """The answer to a request, from the fastest tier that has one.

        ``question`` is looked up by meaning where there is a semantic cache. Raises
        :class:`NotCached` when the request wanted nothing else than an answer from here.
        """
        hit = await self._lookup(key, control, question) if control.read else None
        if hit is None and control.only_if_cached:
            raise NotCached
        return hit

    async def store(
        self,
        key: CacheKey,
        entry: Entry,
        control: CacheControl = _ANY,
        question: Question | None = None,
    ) -> bool:
        """Keeps an answer in every tier; whether any has it. Returns once the slowest is done."""
        if not control.write or entry.mentions(key.id_marks):
            return False
        semantic = self._semantic if question is not None and not control.private else None
        if semantic is not None and question is not None:
            entry = replace(entry, question=question.text)
        payload = pack(entry, key.digest)
        kept = self._memory is not None and self._memory.put(key.digest, payload)
        if not control.private:
            writes: list[Awaitable[bool]] = []
            if self._disk is not None:
                writes.append(self._disk.put(key.digest, payload, entry.created))
            if self._shared is not None:
                writes.append(self._shared.put(key.digest, payload))
            kept = any(await asyncio.gather(*writes)) or kept
        if kept and semantic is not None and question is not None:
            await semantic.remember(question, key.digest)
        return kept

    async def flush(self, tier: Tier | None = None) -> dict[Tier, tuple[int, int]]:
        """Empties one tier or all; how many entries and bytes were in each."""
        gone: dict[Tier, tuple[int, int]] = {}
        if self._semantic is not None and tier in (None, Tier.SEMANTIC):
            gone[Tier.SEMANTIC] = (await self._semantic.flush(), 0)
        if self._memory is not None and tier in (None, Tier.RESPONSE):
            gone[Tier.RESPONSE] = self._memory.flush()
        if self._disk is not None and tier in (None, Tier.RESPONSE_DISK):
            gone[Tier.RESPONSE_DISK] = await self._disk.flush()
        if self._shared is not None and tier in (None, Tier.SHARED):
            gone[Tier.SHARED] = (await self._shared.flush(), 0)
        return gone

    def stats(self) -> tuple[TierStats, ...]:
        """One for each of response, response-disk, shared and semantic, off ones too."""
        tiers = (
            (Tier.RESPONSE, self._memory),
            (Tier.RESPONSE_DISK, self._disk),
            (Tier.SHARED, self._shared),
            (Tier.SEMANTIC, self._semantic),
        )
        return tuple(
            TierStats(tier.value, enabled=False) if held is None else held.stats()
            for tier, held in tiers
        )

    # ------------------------------------------------------------------------------- inside

    async def _lookup(
        self, key: CacheKey, control: CacheControl, question: Question | None
    ) -> Hit | None:
        for tier, tally, get, delete in self._tiers():
            read = await self._read(key.digest, get, delete)
            if read is None or self._age(read[1]) > control.max_age:
                tally.misses += 1
                continue
            payload, entry = read
            tally.hit(entry.tokens, entry.seconds)
            if tier is not Tier.RESPONSE and self._memory is not None:
                self._memory.put(key.digest, payload)
            return Hit(entry, tier, self._age(entry), key.short)
        if self._semantic is None or question is None:
            return None
        found = await self._semantic.lookup(question, self._fetch)
        if found is None or self._age(found.entry) > control.max_age:
            self._semantic.tally.misses += 1
            return None
        entry = found.entry
        self._semantic.tally.hit(entry.tokens, entry.seconds)
        short = CacheKey(found.digest).short
        return Hit(entry, Tier.SEMANTIC, self._age(entry), short, found.score)

    async def _fetch(self, digest: bytes) -> Entry | None:
        for _, _, get, delete in self._tiers():
            read = await self._read(digest, get, delete)
            if read is not None:
                return read[1]
        return None

    def _tiers(self) -> list[tuple[Tier, Tally, _Get, _Delete]]:
        """The tiers that hold answers, fastest first."""
        tiers: list[tuple[Tier, Tally, _Get, _Delete]] = []
        if (memory := self._memory) is not None:
            tiers.append((Tier.RESPONSE, memory.tally, memory.get, memory.delete))
        if (disk := self._disk) is not None:
            tiers.append((Tier.RESPONSE_DISK, disk.tally, disk.get, disk.delete))
        if (shared := self._shared) is not None:
            tiers.append((Tier.SHARED, shared.tally, shared.get, shared.delete))
        return tiers

    async def _read(self, digest: bytes, get: _Get, delete: _Delete) -> tuple[bytes, Entry] | None:
        payload = get(digest)
        if isinstance(payload, Awaitable):
            payload = await payload
        if payload is None:
            return None
        try:
            return payload, unpack(payload, digest)
        except Unreadable:
            gone = delete(digest)
            if isinstance(gone, Awaitable):
                await gone
            return None

    def _age(self, entry: Entry) -> float:
        return max(0.0, self._wall() - entry.created)


_Get = Callable[[bytes], bytes | Awaitable[bytes | None] | None]
_Delete = Callable[[bytes], object]
