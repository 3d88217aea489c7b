"""What a site's ``robots.txt`` says of us (RFC 9309), looked up once an hour."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

AGENT = "anyclaude"
KEPT_S = 3600.0
MAX_BYTES = 512 * 1024
"""As much of it as the RFC has crawlers read."""
_SITES = 256

Rules: TypeAlias = str | bool
"""The file's text, or whether everything may be asked."""
LookUp: TypeAlias = Callable[[str], Awaitable[Rules]]
"""Fetches the file at an address; never raises."""


class Robots:
    """Loop thread only. ``look_up`` is called once for a site, and again after an hour."""

    def __init__(self, look_up: LookUp, clock: Callable[[], float]) -> None:
        self._look_up = look_up
        self._clock = clock
        self._sites: OrderedDict[str, tuple[RobotFileParser | bool, float]] = OrderedDict()

    async def allow(self, address: str) -> bool:
        """Whether the page may be read by a program."""
        parts = urlsplit(address)
        site = f"{parts.scheme}://{parts.netloc}"
        known = self._sites.get(site)
        if known is None or self._clock() >= known[1]:
            rules = await self._look_up(f"{site}/robots.txt")
            known = self._sites[site] = (_parsed(rules), self._clock() + KEPT_S)
            while len(self._sites) > _SITES:
                self._sites.popitem(last=False)
        self._sites.move_to_end(site)
        said = known[0]
        return said if isinstance(said, bool) else said.can_fetch(AGENT, address)


def rules_of(status: int, body: bytes) -> Rules:
    """What an answer for the file means: one that isn't there forbids nothing, a server that
    can't say forbids everything."""
    if 200 <= status < 300:
        return body.decode("utf-8", "replace")
    return 400 <= status < 500


def _parsed(rules: Rules) -> RobotFileParser | bool:
    if isinstance(rules, bool):
        return rules
    parser = RobotFileParser()
    parser.parse(rules.removeprefix("\ufeff").splitlines())
    parser.modified()  # Or a file without a rule would forbid everything.
    return parser
