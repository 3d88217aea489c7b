"""Results of tools that only read, for the same call again."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from anyclaude.types import JsonObject

MAX_CHARS = 8 * 2**20


@dataclass(frozen=True, slots=True)
class _Kept:
    text: str
    until: float


class ResultCache:
    """By server, tool and arguments, whatever the order of their keys; the oldest go first.

    ``clock`` counts seconds. Loop thread only.
    """

    def __init__(self, clock: Callable[[], float], limit: int = MAX_CHARS) -> None:
        self._clock = clock
        self._limit = limit
        self._kept: OrderedDict[tuple[str, str, str], _Kept] = OrderedDict()
        self._chars = 0
        self._forgotten: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, server: str, tool: str, arguments: JsonObject) -> str | None:
        key = _key(server, tool, arguments)
        kept = self._kept.get(key)
        if kept is None or kept.until <= self._clock():
            self._drop(key)
            return None
        return kept.text

    def keeper(
        self, server: str, tool: str, arguments: JsonObject, ttl_s: float
    ) -> Callable[[str], None]:
        """Takes the result of a call that begins now, unless its server's are forgotten by then."""
        before = self._forgotten[server]

        def keep(text: str) -> None:
            if ttl_s > 0 and len(text) <= self._limit and self._forgotten[server] == before:
                self._put(_key(server, tool, arguments), text, ttl_s)

        return keep

    def _put(self, key: tuple[str, str, str], text: str, ttl_s: float) -> None:
        self._drop(key)
        self._kept[key] = _Kept(text, self._clock() + ttl_s)
        self._chars += len(text)
        while self._chars > self._limit:
            self._drop(next(iter(self._kept)))

    def forget(self, server: str) -> None:
        """Drops all of a server: what it reads may have changed."""
        self._forgotten[server] += 1
        for key in [key for key in self._kept if key[0] == server]:
            self._drop(key)

    def _drop(self, key: tuple[str, str, str]) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._chars -= len(kept.text)


def _key(server: str, tool: str, arguments: JsonObject) -> tuple[str, str, str]:
    return server, tool, json.dumps(arguments, sort_keys=True)
