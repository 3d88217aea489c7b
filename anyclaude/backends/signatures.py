"""Which backend wrote which reasoning.

A thinking block comes back from the client on every later turn, and is worth something only to
the model that wrote it: another one refuses its signature, or takes foreign reasoning for its
own. What is remembered are digests, never the text.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from anyclaude.types import ThinkingBlock

MAX_BLOCKS = 16_384  # 200 bytes each; a long session has some hundred


@dataclass(frozen=True, slots=True)
class Origin:
    """``model`` is the backend's own name of it."""

    backend: str
    model: str


class SignatureLedger:
    """Bounded; the block not asked about for longest goes first. For one thread."""

    def __init__(self, limit: int = MAX_BLOCKS) -> None:
        self._limit = limit
        self._origins: OrderedDict[bytes, Origin] = OrderedDict()

    def __len__(self) -> int:
        return len(self._origins)

    def remember(self, origin: Origin, thinking: str, signature: str = "") -> None:
        """``origin`` wrote this block; ``signature`` where the backend signs its blocks itself."""
        for key in _keys(thinking, signature):
            self._origins[key] = origin
            self._origins.move_to_end(key)
        while len(self._origins) > self._limit:
            self._origins.popitem(last=False)

    def origin(self, block: ThinkingBlock) -> Origin | None:
        """Who wrote ``block``; ``None`` when nobody is known to have."""
        for key in reversed(_keys(block.thinking, block.signature)):
            if (origin := self._origins.get(key)) is not None:
                self._origins.move_to_end(key)
                return origin
        return None


def _keys(thinking: str, signature: str) -> list[bytes]:
    """The text's, and the signature's when there is one; a redacted block has only the latter."""
    keys = [_digest("text", thinking)] if thinking else []
    return [*keys, _digest("signature", signature)] if signature else keys


def _digest(kind: str, text: str) -> bytes:
    return hashlib.sha256(f"{kind}\n{text}".encode("utf-8", "replace")).digest()
