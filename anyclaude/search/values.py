"""A search as a value: what is asked, what was found, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from anyclaude.errors import AnyclaudeError

ErrorCode: TypeAlias = Literal[
    "too_many_requests", "invalid_input", "max_uses_exceeded", "query_too_long", "unavailable"
]
"""Anthropic's codes of a ``web_search_tool_result_error``."""

MAX_QUERY_CHARS = 400
"""Brave and Tavily refuse more; the others cut."""


GIVEN_UP = "it was given up before it ended"
"""The detail of a search whose client went away, or that a person ended."""


@dataclass(frozen=True, slots=True)
class Query:
    """``allowed`` and ``blocked`` are domains, sub-domains included; a path may follow one.

    Without ``allowed`` every domain may be in the results that isn't ``blocked``.
    """

    text: str
    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """``text`` is what the provider quotes of the page, ``age`` its date in his words.

    ``page`` is what the page says itself, where it was read; of a result that is shown ``text``
    is then out of it.
    """

    url: str
    title: str
    text: str
    age: str = ""
    page: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one search. ``ms`` is the time it took, now.

    ``provider`` is who answered, or who failed last; empty when nobody was asked. ``detail`` says
    of an ``error`` what a person can do, ``troubles`` what went wrong with each that failed.
    """

    query: str
    provider: str = ""
    results: tuple[Result, ...] = ()
    ms: float = 0.0
    cached: bool = False
    error: ErrorCode | None = None
    detail: str = ""
    troubles: tuple[str, ...] = ()


class SearchFailed(AnyclaudeError):
    """A provider gave no results; ``retry_after`` is in seconds, when it said so."""

    category = "network"

    def __init__(self, code: ErrorCode, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Asking:
    """What a provider is asked: at most ``limit`` results within ``timeout_s`` seconds."""

    query: Query
    limit: int
    timeout_s: float


class Provider(Protocol):
    """One place on the web that answers searches."""

    @property
    def name(self) -> str: ...

    async def search(self, asking: Asking) -> tuple[Result, ...]:
        """The best results first. Raises :class:`SearchFailed`."""
        ...


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """``timeout_s`` is what each provider may take. Results are cut to ``max_results`` and to
    ``max_tokens`` together; the pages of the first ``pages`` are read. The domains hold for every
    search, whatever its client says."""

    timeout_s: float = 8.0
    max_results: int = 8
    max_tokens: int = 2000
    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    pages: int = 0
