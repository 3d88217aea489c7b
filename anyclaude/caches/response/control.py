"""What a request may say of the response caches, and what an answer says of them.

Two request headers are read, ``x-anyclaude-cache-control`` and, where that one isn't sent, the
standard ``cache-control``. Their words: ``no-cache`` (don't answer from a cache), ``no-store``
(don't keep the answer), ``private`` (keep it in this process's memory only), ``max-age=N`` (no
answer older than N seconds), ``only-if-cached`` (an answer from a cache or none).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from anyclaude.errors import ApiError
from anyclaude.types import Tier

OWN_HEADER = "x-anyclaude-cache-control"
STANDARD_HEADER = "cache-control"


@dataclass(frozen=True, slots=True)
class CacheControl:
    """``read`` from caches, ``write`` to them, ``private``: to memory only; seconds of age."""

    read: bool = True
    write: bool = True
    private: bool = False
    max_age: float = math.inf
    only_if_cached: bool = False


class NotCached(ApiError):
    """The client wanted an answer from a cache or none, and there is none."""

    status = 504
    type = "not_found_error"
    category = "invalid_input"

    def __init__(self) -> None:
        super().__init__("no cache has an answer to this request, and it said only-if-cached")


def control_of(headers: Iterable[tuple[str, str]]) -> CacheControl:
    """What the headers say; words that mean nothing here are passed over.

    A ``max-age`` that is no number counts as 0: an answer must not be older than was asked.
    """
    values: dict[str, list[str]] = {OWN_HEADER: [], STANDARD_HEADER: []}
    for name, value in headers:
        if name.lower() in values:
            values[name.lower()].append(value)
    given = values[OWN_HEADER] or values[STANDARD_HEADER]
    words = dict(_word(word) for word in ",".join(given).split(",") if word.strip())
    return CacheControl(
        read="no-cache" not in words,
        write="no-store" not in words,
        private="private" in words,
        max_age=_seconds(words["max-age"]) if "max-age" in words else math.inf,
        only_if_cached="only-if-cached" in words,
    )


def _word(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() else 0.0


def header_value(tier: Tier | None, key: str, age: float = 0.0, similarity: float = 1.0) -> str:
    """The value of ``x-anyclaude-cache`` for an answer from ``tier``, or kept under ``key``."""
    fields = [f"tier={tier.value}", f"age={int(age)}"] if tier else []
    if tier is Tier.SEMANTIC:
        fields.append(f"similarity={similarity:.3f}")
    return "; ".join([*fields, f"key={key}"])
