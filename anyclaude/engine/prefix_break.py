"""Why a prompt didn't extend the one before it in its session."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from anyclaude.caches.kv.tree import common_prefix
from anyclaude.types import PrefixBreak, Role, Tokens


@dataclass(frozen=True, slots=True)
class Verdict:
    """The cause, and the first token that differs (``None`` when nothing was lost)."""

    cause: PrefixBreak
    at: int | None


@dataclass(frozen=True, slots=True)
class _Seen:
    tokens: Tokens
    system_tokens: int


class PrefixHistory:
    """The last prompt of each conversation, to compare the next one with."""

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._flushed = False

    def flushed(self) -> None:
        """The cache was emptied on purpose: losses up to the next prompts are due to that."""
        self._flushed = True
        self._seen = OrderedDict(self._seen)

    def forget(self) -> None:
        """Another model was loaded; its prompts have nothing to compare with."""
        self._seen.clear()
        self._flushed = False

    def judge(
        self,
        key: str,
        role: Role,
        tokens: Tokens,
        system_tokens: int,
        reused: int,
        held: int,
        *,
        echo_changed: bool = False,
    ) -> Verdict:
        """Compares with the last prompt under ``key`` and remembers this one.

        ``reused`` tokens come from the cache; ``held`` is how many the cache holds in all.
        ``echo_changed``: the newest assistant turn came back other than it was generated.
        """
        before = self._seen.pop(key, None)
        self._seen[key] = _Seen(tokens, system_tokens)
        while len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        if before is None:
            cause = PrefixBreak.NEW_SESSION if held else PrefixBreak.COLD
            return Verdict(cause, reused)
        shared = common_prefix(before.tokens, tokens)
        if reused + 1 < shared:
            cause = PrefixBreak.FLUSHED if self._flushed else PrefixBreak.EVICTED
            return Verdict(cause, reused)
        self._flushed = False
        if shared >= len(before.tokens) - 1:
            return Verdict(PrefixBreak.NONE, None)
        if shared < min(before.system_tokens, system_tokens):
            return Verdict(PrefixBreak.SYSTEM_CHANGED, shared)
        if echo_changed:
            return Verdict(PrefixBreak.ECHO_CHANGED, shared)
        if role is Role.COMPACT or len(tokens) < len(before.tokens) // 2:
            return Verdict(PrefixBreak.COMPACTION, shared)
        return Verdict(PrefixBreak.HISTORY_CHANGED, shared)
