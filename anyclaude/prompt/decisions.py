"""What was decided for a conversation once and must stay: its tier, and where it was cut.

Changing either costs a re-prefill of the whole conversation, so both outlive a restart. All work
with the file runs on one thread; a file that can't be used costs a restart its decisions.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from anyclaude.caches.sqlite_file import SqliteFile
from anyclaude.events import SystemEvent

_VERSION = 1
_SCHEMA = """
CREATE TABLE decisions (
    conversation TEXT PRIMARY KEY,
    tier TEXT NOT NULL,
    cut TEXT NOT NULL,
    used INTEGER NOT NULL
);
"""
MOST = 2_000
"""Conversations that are remembered; those used longest ago are forgotten first."""


@dataclass(frozen=True, slots=True)
class Decision:
    """``tier`` is a word of PromptTier, ``cut`` a Cut as JSON; empty: nothing decided."""

    tier: str = ""
    cut: str = ""


class Decisions:
    """By conversation; ``path`` ``None`` keeps them in memory alone."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        report: Callable[[SystemEvent], None] = lambda event: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._report = report
        self._clock = clock
        self._known: OrderedDict[str, Decision] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="anyclaude-decisions")
        self._file: SqliteFile | None = None
        self._warnings: list[str] = []
        self._closed = False

    async def of(self, conversation: str) -> Decision:
        """What was decided for it; nothing for one without a name."""
        if not conversation:
            return Decision()
        if (known := self._known.get(conversation)) is not None:
            self._known.move_to_end(conversation)
            return known
        found = Decision()
        if self._path is not None and not self._closed:
            loop = asyncio.get_running_loop()
            found, warnings = await loop.run_in_executor(self._thread, self._read, conversation)
            self._tell(warnings)
        # Another request of the same conversation may have decided meanwhile.
        known = self._known.setdefault(conversation, found)
        self._forget_oldest()
        return known

    async def decide(
        self, conversation: str, *, tier: str | None = None, cut: str | None = None
    ) -> None:
        """Takes down what is given; on disk a little later."""
        if not conversation:
            return
        decision = await self.of(conversation)
        if tier is not None:
            decision = replace(decision, tier=tier)
        if cut is not None:
            decision = replace(decision, cut=cut)
        self._known[conversation] = decision
        self._forget_oldest()
        if self._path is not None and not self._closed:
            loop = asyncio.get_running_loop()
            self._tell(
                await loop.run_in_executor(self._thread, self._write, conversation, decision)
            )

    def _forget_oldest(self) -> None:
        while len(self._known) > MOST:
            self._known.popitem(last=False)

    async def close(self) -> None:
        """Writes what is left and closes the file."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            self._thread.shutdown(wait=False)

    def _tell(self, warnings: list[str]) -> None:
        for warning in warnings:
            self._report(SystemEvent(self._clock(), "warning", "prompt", warning))

    # ---------------------------------------------------------------------------- the thread

    def _opened(self) -> SqliteFile:
        if self._file is None:
            assert self._path is not None
            self._file = SqliteFile(
                self._path,
                _SCHEMA,
                _VERSION,
                opened=lambda db: None,
                warn=self._warned,
                loss="what was decided for conversations ends with this process",
                other_version="drop",
                synchronous="NORMAL",
            )
        self._file.open()
        return self._file

    def _warned(self, text: str) -> None:
        self._warnings.append(text)

    def _read(self, conversation: str) -> tuple[Decision, list[str]]:
        warnings: list[str] = []
        self._warnings = warnings

        def read(db: sqlite3.Connection) -> Decision:
            row = db.execute(
                "SELECT tier, cut FROM decisions WHERE conversation = ?", [conversation]
            ).fetchone()
            return Decision(str(row[0]), str(row[1])) if row else Decision()

        return self._opened().run(read, Decision()), warnings

    def _write(self, conversation: str, decision: Decision) -> list[str]:
        warnings: list[str] = []
        self._warnings = warnings

        def write(db: sqlite3.Connection) -> None:
            with db:
                db.execute(
                    "INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?)",
                    [conversation, decision.tier, decision.cut, int(self._clock())],
                )
                db.execute(
                    "DELETE FROM decisions WHERE conversation IN (SELECT conversation FROM "
                    "decisions ORDER BY used DESC, rowid DESC LIMIT -1 OFFSET ?)",
                    [MOST],
                )

        self._opened().run(write, None)
        return warnings

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
