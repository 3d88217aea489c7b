"""Pages of the open web, one request at a time, and never anything else than the open web.

An address may come from anywhere: a page that somebody else wrote. So nothing is asked whose
address isn't public, whatever its name says, and the address that was looked at is the one that
is connected to. Redirects are told, not followed; no cookie is sent or kept.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from anyclaude.backends.http import Timeouts, Upstream
from anyclaude.errors import AnyclaudeError, ConfigError

Public: TypeAlias = Callable[[str], bool]
"""Whether an IP address belongs to the open web."""

_EMBEDDING = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))
"""NAT64, 6to4 and Teredo: addresses that mean an IPv4 address behind some gateway."""


class NotOnTheWeb(AnyclaudeError):
    """An address that may not be asked, whoever says so."""

    category = "invalid_input"


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """``body`` has no more than the bytes that were wanted; ``whole`` says if that is all of it.

    ``location`` is where a redirect leads, absolute; empty without one. ``charset`` is what the
    header says, in small letters.
    """

    status: int
    content_type: str
    charset: str
    location: str
    body: bytes
    whole: bool


class WebClient:
    """Asks with ``agent`` for a name. ``public`` may say that other addresses are on the web."""

    def __init__(
        self,
        agent: str,
        timeouts: Timeouts,
        *,
        public: Public | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._agent = agent
        self._timeouts = timeouts
        self._public = public or is_public
        self._clock = clock

    async def get(self, address: str, accept: str, limit: int) -> WebAnswer:
        """One page of at most ``limit`` bytes, whatever its status.

        Raises :class:`NotOnTheWeb` for an address that isn't, and UpstreamError.
        """
        url = _checked(address, self._public)
        host = url.host or ""
        try:
            upstream = Upstream(
                host,
                str(url.origin()),
                self._timeouts,
                resolver=_Guard(self._public),
                clock=self._clock,
            )
        except ConfigError as error:
            raise NotOnTheWeb(f"{host}: no address that can be asked") from error
        try:
            headers = (("accept", accept), ("user-agent", self._agent))
            reply = await upstream.get(url.raw_path_qs, headers)
            target = reply.header("location") if 300 <= reply.status < 400 else ""
            body, whole = await reply.beginning(limit)
            return WebAnswer(
                reply.status,
                reply.content_type,
                _charset(reply.header("content-type")),
                _joined(url, target),
                body,
                whole,
            )
        finally:
            await upstream.close()


def is_public(address: str) -> bool:
    """Whether it is one that anybody on the internet may reach: none of this machine, of the
    network that it is in, or that stands for such a one."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return _global(found.ipv4_mapped)
        if any(found in network for network in _EMBEDDING):
            return False
    return _global(found)


def _global(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved)


class _Guard(AbstractResolver):
    """Names to addresses, public ones alone. What it returns is what is connected to."""

    def __init__(self, public: Public) -> None:
        self._public = public
        self._names = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._names.resolve(host, port, family)
        kept = [one for one in found if self._public(one["host"])]
        if not kept:
            raise NotOnTheWeb(f"{host} is at no address of the open web")
        return kept

    async def close(self) -> None:
        await self._names.close()


def _checked(address: str, public: Public) -> URL:
    try:
        url = URL(address)
        host, port = url.host, url.port
    except ValueError as error:
        raise NotOnTheWeb("an address that can't be read") from error
    if url.scheme not in ("http", "https") or not host or not port:
        raise NotOnTheWeb("an address that isn't on the web")
    if url.user or url.password:
        raise NotOnTheWeb(f"{host}: an address with a user's name in it")
    if _is_ip(host) and not public(host):
        raise NotOnTheWeb(f"{host} is no address of the open web")
    return url.with_fragment(None)


def _is_ip(host: str) -> bool:
    """aiohttp asks nobody for these, so they never come to the guard."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _joined(url: URL, target: str) -> str:
    try:
        return str(url.join(URL(target))) if target else ""
    except ValueError:
        return ""


def _charset(header: str) -> str:
    for part in header.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'").lower()
    return ""
