"""What may be written: so many bytes a day, for the wear, and what was asked for before.

Not locked: the disk tier's lock guards both classes.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from anyclaude.caches.kv.disk_format import TOKEN_BYTES, prefix_digests
from anyclaude.config.files import write_private

SECONDS_PER_DAY = 86400
SEEN_STEP = 128
SEEN_LIMIT = 50_000


class DayBudget:
    """Bytes written since midnight UTC, against ``limit`` (0: none), kept in a file.

    What is queued counts already, so a killed process has counted too much, never too little.
    """

    def __init__(self, limit: int, wall: Callable[[], float]) -> None:
        self.limit = limit
        self._wall = wall
        self._day = self._today()
        self._spent = 0

    @property
    def spent(self) -> int:
        if self._today() != self._day:
            self._day, self._spent = self._today(), 0
        return self._spent

    def allows(self, nbytes: int, *, preferred: bool) -> bool:
        """Whether ``nbytes`` more may be written; the last half of a day is for the preferred."""
        limit = self.limit if preferred else self.limit // 2
        return not self.limit or self.spent + nbytes <= limit

    def spend(self, nbytes: int) -> None:
        """Counts bytes, or gives them back when negative."""
        self._spent = max(0, self.spent + nbytes)

    def read(self, path: Path) -> None:
        """Takes over what is on file of today; a missing or senseless file counts nothing."""
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            day, spent = int(kept["day"]), int(kept["bytes"])
        except (OSError, ValueError, TypeError, KeyError):
            return
        if day == self._today() and spent > 0:
            self.spend(spent)

    def text(self) -> str:
        """What :meth:`read` reads."""
        spent = self.spent
        return json.dumps({"day": self._day, "bytes": spent})

    def _today(self) -> int:
        return int(self._wall() // SECONDS_PER_DAY)


def write_budget(path: Path, text: str) -> None:
    """Replaces the file of a :class:`DayBudget`. Raises OSError."""
    write_private(path, text)


class Seen:
    """How far into a prompt its prefix has been asked for before, in steps of 128 tokens."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def through(self, packed: bytes) -> int:
        """Leading tokens seen in an earlier call; from now on all of these are seen."""
        positions = range(SEEN_STEP, len(packed) // TOKEN_BYTES + 1, SEEN_STEP)
        seen = 0
        for position, digest in zip(positions, prefix_digests(packed, positions), strict=True):
            key = digest[:8]
            if key in self._known:
                seen = position
                self._known.move_to_end(key)
            else:
                self._known[key] = None
        while len(self._known) > SEEN_LIMIT:
            self._known.popitem(last=False)
        return seen
