"""Every cache tier of a process in one list: prompts, finished answers, results of searches."""

from __future__ import annotations

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
    ) -> None:
        self._engine = engine
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

        Raises :class:`InvalidRequest` for an unknown name, and for one of a tier that is off.
        """
        tiers = (*_PROMPTS, *_ANSWERS, Tier.SEARCH)
        if name in (None, ALL):
            answers = (*await self._flush_answers(None), *await self._flush_results())
            try:
                return (*await self._prompts(_PROMPTS), *answers)
            except Unavailable:
                if not answers:
                    raise
                return answers  # There is no model here, so there are no prompts either.
        if name not in tiers:
            known = ", ".join((*tiers, ALL))
            raise InvalidRequest(
                f"there is no tier {name!r} here; the tiers are: {known}", field="tier"
            )
        tier = Tier(name)
        if tier in _PROMPTS:
            return await self._prompts((tier,))
        flushed = await (
            self._flush_results() if tier is Tier.SEARCH else self._flush_answers(tier)
        )
        if not flushed:
            raise InvalidRequest(f"the tier {name} is switched off", field="tier")
        return flushed

    async def _prompts(self, tiers: tuple[Tier, ...]) -> tuple[Flushed, ...]:
        flushed: list[Flushed] = []
        if Tier.KV in tiers:
            freed = await self._engine.flush()
            flushed.append(Flushed(Tier.KV, freed.entries, freed.nbytes))
        if Tier.KV_DISK in tiers:
            deleted = await self._engine.caches.flush_disk()
            flushed.append(Flushed(Tier.KV_DISK, deleted.entries, deleted.nbytes))
        return tuple(flushed)

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
