"""Queries that were run before: a bounded file, and the way back and forth through it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from anyclaude.config.files import write_private

FILE_NAME = "sql-history.jsonl"
KEEP = 500
LONGEST = 20_000
"""Characters of a query that is still kept; a longer one is a paste, not a question."""


def load(path: Path) -> list[str]:
    """The queries of the file, oldest first; none when it isn't there or can't be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found: list[str] = []
    for text in lines:
        try:
            query = json.loads(text)
        except ValueError:
            continue
        if isinstance(query, str) and query.strip():
            found.append(query)
    return found[-KEEP:]


def add(queries: Sequence[str], query: str) -> list[str]:
    """``queries`` with ``query`` as the newest, each only once."""
    query = query.strip()
    if not query or len(query) > LONGEST:
        return list(queries)
    return [*(old for old in queries if old != query), query][-KEEP:]


def remember(path: Path, query: str) -> list[str]:
    """Adds ``query`` to the file, which other consoles may share; the queries it holds then.

    Readable by its owner alone. Raises OSError when it can't be written.
    """
    queries = add(load(path), query)
    # Escaped, so that no query can break a line.
    write_private(path, "".join(json.dumps(entry) + "\n" for entry in queries))
    return queries


class Recall:
    """Where one is among the earlier queries; behind the newest lies what was being written."""

    def __init__(self, queries: Sequence[str] = ()) -> None:
        self.queries = list(queries)
        self._at = len(self.queries)
        self._draft = ""

    def set(self, queries: Sequence[str]) -> None:
        """Takes other queries, and goes behind the newest of them."""
        self.queries = list(queries)
        self._at = len(self.queries)

    def older(self, written: str) -> str | None:
        """The query before; ``None`` at the oldest. ``written`` is what is there now."""
        if self._at == len(self.queries):
            self._draft = written
        at = self._at - 1
        # The one that is on show already would look like a key that does nothing.
        while at >= 0 and self.queries[at] == written.strip():
            at -= 1
        if at < 0:
            return None
        self._at = at
        return self.queries[at]

    def newer(self) -> str | None:
        """The query after, at last the draft; ``None`` behind that."""
        if self._at >= len(self.queries):
            return None
        self._at += 1
        return self.queries[self._at] if self._at < len(self.queries) else self._draft
