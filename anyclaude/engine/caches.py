"""The engine's caches as a person asks about them and steers them. Event-loop thread."""

from __future__ import annotations

import asyncio

from anyclaude.backend import Finish
from anyclaude.caches.kv.disk import DiskTier, Freed
from anyclaude.caches.kv.picture import draw
from anyclaude.caches.kv.tree import TreeStats
from anyclaude.control import PrefixTreePicture
from anyclaude.engine.kv import KVTree
from anyclaude.engine.prefix_break import PrefixHistory
from anyclaude.engine.served import ServedModel
from anyclaude.engine.serving import Limits
from anyclaude.engine.tally import Tally
from anyclaude.errors import NotFound
from anyclaude.events import TierStats

NO_STATS = TreeStats(0, 0, 0, 0)


class Caches:
    """What is known of prefixes: the model's tree, the disk's files, and the conversations.

    ``model`` and ``tree`` are set while a model answers.
    """

    def __init__(self, disk: DiskTier | None, limits: Limits) -> None:
        self.disk = disk
        self.history = PrefixHistory()
        self.tally = Tally()
        self.model: ServedModel | None = None
        self.tree: KVTree | None = None
        self._limits = limits
        self._pinned: set[str] = set()

    def tiers(self) -> tuple[TierStats, ...]:
        """``kv`` and ``kv-disk``."""
        tree = self.tree.stats() if self.tree is not None else NO_STATS
        disk = self.disk.stats() if self.disk is not None else None
        return self.tally.tiers(tree, disk, self._limits)

    async def flush_disk(self) -> Freed:
        """Deletes the files of the disk tier; nothing without one."""
        if self.disk is None:
            return Freed(0, 0)
        freed = await asyncio.wrap_future(self.disk.flush())
        self.history.flushed()
        return freed

    async def picture(self, limit: int) -> PrefixTreePicture:
        """The tree in memory and on disk, at most ``limit`` edges; empty without a model."""
        model, tree = self.model, self.tree
        if model is None or tree is None:
            return PrefixTreePicture("", (), 0)
        files = self.disk.runs() if self.disk is not None else []
        talks = self.history.talks(model.fingerprint)
        nodes, left_out = await asyncio.to_thread(
            draw, tree, files, talks, model.template.decode, limit
        )
        return PrefixTreePicture(model.name, nodes, left_out)

    def matched(self, session: str) -> int:
        """Tokens of what was last read and written in the session that are still in memory."""
        tree = self.tree
        return tree.match_length(self._tokens(session)) if tree is not None and session else 0

    # ---------------------------------------------------------------------------- pins by hand

    def pin(self, session: str) -> int:
        """Keeps what the session has in the tree, and what it will have; how many tokens.

        Raises :class:`NotFound` when there is nothing of it.
        """
        length = self._pin(session)
        if not length:
            raise NotFound(
                f"the prefix tree holds nothing of a session {session!r}; a session can be "
                "pinned once it has been answered"
            )
        self._pinned.add(session)
        return length

    def unpin(self, session: str) -> None:
        """Lets it be evicted again, the pin that every main conversation has included.

        Raises :class:`NotFound` for a session that is neither pinned nor known.
        """
        tree = self.tree
        pinned = session in self._pinned or (tree is not None and session in tree.pinned())
        if not pinned and not self._tokens(session):
            raise NotFound(f"no session {session!r} is pinned or known here")
        self._pinned.discard(session)
        if tree is not None:
            tree.unpin(session, by_hand=True)
            tree.unpin(session)

    def answered(self, request_id: str, finish: Finish) -> None:
        """A request has ended well; a pin goes on with its session."""
        conversation = self.history.answered(request_id, finish.tokens)
        if conversation in self._pinned:
            self._pin(conversation)

    def _pin(self, session: str) -> int:
        tokens = self._tokens(session)
        if self.tree is None or not tokens:
            return 0
        return self.tree.pin(session, tokens, by_hand=True)

    def _tokens(self, session: str) -> tuple[int, ...]:
        if self.model is None:
            return ()
        return self.history.tokens_of(session, self.model.fingerprint)
