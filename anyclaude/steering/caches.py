"""Every cache tier of a process in one list: prompts, finished answers, results of searches."""

from __future__ import annotations

import asyncio
from pathlib import Path

from anyclaude.caches.kv.disk_folder import DiskFolder
from anyclaude.caches.response.cache import ResponseCache
from anyclaude.control import Flushed
from anyclaude.engine.engine import Engine
from anyclaude.errors import InvalidRequest, Unavailable
from anyclaude.events import TierStats
from anyclaude.keeping import Answers
from anyclaude.search.cache import ResultCache
from anyclaude.types import Tier

ALL = "all"
_PROMPTS = (Tier.KV, Tier.KV_DISK)
_ANSWERS = (Tier.RESPONSE, Tier.RESPONSE_DISK, Tier.SHARED, Tier.SEMANTIC)


class Caches:
    """What is held where, and how it is emptied. Without ``store`` no answers are kept."""

    def __init__(
        self,
        engine: Engine,
        store: ResponseCache | None,
        answers: Answers,
        results: ResultCache,
        kv_folder: Path,
    ) -> None:
        self._engine = engine
        self._kv_folder = kv_folder
        self._store = store
        self._answers = answers
        self._results = results

    def tiers(self) -> tuple[TierStats, ...]:
        """All of them, those that are off too."""
        if self._store is not None:
            answers = self._store.stats()
        else:
            answers = tuple(TierStats(tier.value, enabled=False) for tier in _ANSWERS)
        return (*self._engine.caches.tiers(), *answers, self._results.stats())

    async def flush(self, name: str | None) -> tuple[Flushed, ...]:
        """Empties the tier of that name; every one that is on for ``None`` or :data:`ALL`.

        Prompts that an earlier run has left on disk go too when that tier is off now. Raises
        :class:`InvalidRequest` for an unknown name, and for one of another tier that is off.
        """
        tiers = (*_PROMPTS, *_ANSWERS, Tier.SEARCH)
        if name in (None, ALL):
            return await self._flush_all()
        if name not in tiers:
            known = ", ".join((*tiers, ALL))
            raise InvalidRequest(
                f"there is no tier {name!r} here; the tiers are: {known}", field="tier"
            )
        tier = Tier(name)
        if tier is Tier.KV:
            return (await self._flush_prompts(),)
        if tier is Tier.KV_DISK:
            return (await self._flush_files(),)
        flushed = await (
            self._flush_results() if tier is Tier.SEARCH else self._flush_answers(tier)
        )
        if not flushed:
            raise InvalidRequest(f"the tier {name} is switched off", field="tier")
        return flushed

    async def _flush_all(self) -> tuple[Flushed, ...]:
        prompts: tuple[Flushed, ...] = ()
        refused: Unavailable | None = None
        try:
            prompts = (await self._flush_prompts(),)
        except Unavailable as error:  # There is no model here, so there are no prompts in memory.
            refused = error
        files = await self._flush_files()
        answers = (*await self._flush_answers(None), *await self._flush_results())
        if refused is None:
            return (*prompts, files, *answers)
        if not (files.entries or answers):
            raise refused
        return (files, *answers) if files.entries else answers

    async def _flush_prompts(self) -> Flushed:
        freed = await self._engine.flush()
        return Flushed(Tier.KV, freed.entries, freed.nbytes)

    async def _flush_files(self) -> Flushed:
        if self._engine.caches.disk is None:
            folder = DiskFolder(self._kv_folder)
            return Flushed(Tier.KV_DISK, *await asyncio.to_thread(folder.delete_all))
        freed = await self._engine.flush_disk()
        return Flushed(Tier.KV_DISK, freed.entries, freed.nbytes)

    async def _flush_results(self) -> tuple[Flushed, ...]:
        if not self._results.on:
            return ()
        return (Flushed(Tier.SEARCH, *await self._results.flush()),)

    async def _flush_answers(self, tier: Tier | None) -> tuple[Flushed, ...]:
        if self._store is None:
            return ()
        owed = self._answers.forget_owed() if tier in (None, Tier.RESPONSE) else 0
        gone = await self._store.flush(tier)
        if Tier.RESPONSE in gone:
            entries, size = gone[Tier.RESPONSE]
            gone[Tier.RESPONSE] = (entries + owed, size)
        return tuple(Flushed(flushed, *figures) for flushed, figures in gone.items())
