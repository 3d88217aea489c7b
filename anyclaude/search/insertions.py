"""Texts that were put into conversations, so that every later request has them where they were.

A prompt that loses a text it once had is read anew from there on; so what was put in, and that
nothing was, is kept by conversation and turn, beyond the end of the process.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence

from anyclaude.search.file import SearchFile

KEPT_S = 60 * 86_400.0
"""How long a conversation may rest and still have its texts."""
_IN_MEMORY = 4096
_BATCH = 500


class Insertions:
    """The table of them in ``file``. An empty text says that the turn is to have none."""

    def __init__(self, file: SearchFile, wall: Callable[[], float]) -> None:
        self._file = file
        self._wall = wall
        self._known: OrderedDict[tuple[str, bytes], str | None] = OrderedDict()
        self._any = False

    async def start(self) -> None:
        """Forgets what nobody will come back for."""
        oldest = self._wall() - KEPT_S

        def work(db: sqlite3.Connection) -> bool:
            db.execute("DELETE FROM inserted WHERE created <= ?", (oldest,))
            return db.execute("SELECT 1 FROM inserted LIMIT 1").fetchone() is not None

        self._any = await self._file.write(work, False)

    @property
    def any(self) -> bool:
        """Whether there may be one at all: until the first, no request need be looked at."""
        return self._any

    async def find(self, conversation: str, turns: Sequence[bytes]) -> dict[bytes, str]:
        """What is kept of these turns."""
        kept: dict[bytes, str | None] = {}
        unknown: list[bytes] = []
        for turn in turns:
            if (conversation, turn) in self._known:
                kept[turn] = self._known[conversation, turn]
            else:
                unknown.append(turn)
        for start in range(0, len(unknown), _BATCH):
            batch = unknown[start : start + _BATCH]
            found = await self._read(conversation, batch)
            for turn in batch:
                kept[turn] = found.get(turn)
                self._remember(conversation, turn, kept[turn])
        return {turn: text for turn, text in kept.items() if text is not None}

    async def keep(self, conversation: str, turn: bytes, text: str) -> None:
        """Returns once it is on the disk, or can't be; it is known here in any case."""
        self._any = True
        # Half a surrogate pair is in no file, so it must be in no prompt either.
        text = text.encode("utf-8", "replace").decode()
        self._remember(conversation, turn, text)
        row = (conversation, turn, self._wall(), text)
        await self._file.write(
            lambda db: (
                db.execute("INSERT OR REPLACE INTO inserted VALUES (?, ?, ?, ?)", row).rowcount
            ),
            0,
        )

    async def _read(self, conversation: str, turns: Sequence[bytes]) -> dict[bytes, str]:
        marks = ",".join("?" * len(turns))

        def work(db: sqlite3.Connection) -> dict[bytes, str]:
            rows = db.execute(
                f"SELECT turn, text FROM inserted WHERE conversation = ? AND turn IN ({marks})",
                (conversation, *turns),
            )
            return {bytes(turn): str(text) for turn, text in rows}

        return await self._file.read(work, {})

    def _remember(self, conversation: str, turn: bytes, text: str | None) -> None:
        self._known[conversation, turn] = text
        self._known.move_to_end((conversation, turn))
        while len(self._known) > _IN_MEMORY:
            self._known.popitem(last=False)
