"""The text of pages that a search found, for results that say more than a snippet does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from anyclaude.errors import AnyclaudeError, UpstreamError
from anyclaude.search.domains import parts_of
from anyclaude.search.extract import MARKUP, PLAIN, text_of
from anyclaude.search.robots import MAX_BYTES as ROBOTS_BYTES
from anyclaude.search.robots import Robots, Rules, rules_of

log = logging.getLogger(__name__)

MAX_BYTES = 2 * 2**20
"""Of a page; what comes after is left unread."""
MAX_HOPS = 5
_ACCEPT = ", ".join((*MARKUP, *(f"{kind};q=0.5" for kind in PLAIN)))


class Answer(Protocol):
    """See :class:`anyclaude.backends.web.WebAnswer`."""

    @property
    def status(self) -> int: ...
    @property
    def content_type(self) -> str: ...
    @property
    def charset(self) -> str: ...
    @property
    def location(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class Get(Protocol):
    """Asks for one page; see :meth:`anyclaude.backends.web.WebClient.get`."""

    async def __call__(self, address: str, accept: str, limit: int) -> Answer:
        """Raises AnyclaudeError."""
        ...


class PageFailed(AnyclaudeError):
    """A page that wasn't read, and why."""

    category = "network"


Permits: TypeAlias = Callable[[str], bool]
"""Whether an address may be asked, where redirects lead included."""


@dataclass(frozen=True, slots=True)
class Read:
    """Texts by the address that was asked for, and what went wrong with the others."""

    texts: dict[str, str]
    troubles: tuple[str, ...]


class Pages:
    """Reads pages. Loop thread only; ``timeout_s`` is for all pages of a search together."""

    def __init__(self, get: Get, clock: Callable[[], float], timeout_s: float) -> None:
        self._get = get
        self._timeout = timeout_s
        self._robots = Robots(self._rules, clock)

    async def read(self, addresses: Sequence[str], permits: Permits) -> Read:
        """What each page says, as far as it is there in time. Never raises."""
        if not addresses:
            return Read({}, ())
        tasks = {asyncio.ensure_future(self._text(one, permits)): one for one in addresses}
        try:
            await asyncio.wait(tasks, timeout=self._timeout)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        texts: dict[str, str] = {}
        troubles: list[str] = []
        for address, found in zip(tasks.values(), ended, strict=True):
            match found:
                case str():
                    texts[address] = found
                    continue
                case asyncio.CancelledError():
                    said = f"no answer in {self._timeout:g} s"
                case AnyclaudeError():
                    said = str(found)
                case _:
                    log.error("reading a page of %s failed", _host(address), exc_info=found)
                    said = type(found).__name__
            # The whole address would say what was looked for, which not every log may have.
            troubles.append(f"a page of {_host(address)} wasn't read: {said}")
        return Read(texts, tuple(troubles))

    async def _text(self, address: str, permits: Permits) -> str:
        where, answer = await self._followed(address, _ACCEPT, MAX_BYTES, permits)
        if not 200 <= answer.status < 300:
            raise PageFailed(f"the server answered {answer.status}")
        kind = answer.content_type
        if kind not in (*MARKUP, *PLAIN):
            raise PageFailed(f"it is {kind or 'of no known type'}, and no text")
        text = await asyncio.to_thread(text_of, answer.body, kind, answer.charset, where)
        if not text:
            raise PageFailed("there is no text in it")
        return text

    async def _followed(
        self, address: str, accept: str, limit: int, permits: Permits | None
    ) -> tuple[str, Answer]:
        """The page at the end of redirects, and where that is.

        Without ``permits`` it is a file of rules itself, and nobody is asked about it.
        """
        for _ in range(MAX_HOPS):
            if permits is not None:
                if not permits(address):
                    raise PageFailed(f"it leads to {_host(address)}, which isn't permitted")
                if not await self._robots.allow(address):
                    raise PageFailed("its robots.txt asks programs to stay away")
            answer = await self._get(address, accept, limit)
            if not answer.location:
                return address, answer
            address = answer.location
        raise PageFailed(f"it leads elsewhere {MAX_HOPS} times")

    async def _rules(self, address: str) -> Rules:
        try:
            _, answer = await self._followed(address, "text/plain", ROBOTS_BYTES, None)
        except UpstreamError:
            return False
        except AnyclaudeError:
            return True  # Too many redirects are as no file (RFC 9309); the page is checked itself.
        return rules_of(answer.status, answer.body)


def _host(address: str) -> str:
    return (parts_of(address) or ("an address", ""))[0]
