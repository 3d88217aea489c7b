"""Who may have a page: a token opens it once, a cookie keeps it open, strangers stay outside.

A page is a whole console. Another page in the same browser can reach a loopback port: with its
own ``Origin``, and after DNS rebinding with its own ``Host``, so both must be ours. Another user
of the machine can reach it too, but has no token.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

_OURS = frozenset({"127.0.0.1", "localhost", "::1"})


class Verdict(Enum):
    """What becomes of a request."""

    ADMITTED = "admitted"
    ENTERS = "enters"
    """By the token: the answer brings the cookie."""
    FOREIGN = "foreign"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class Knock:
    """What a request says of itself; ``None`` is what it doesn't say."""

    host: str
    origin: str | None = None
    token: str | None = None
    cookie: str | None = None
    socket: bool = False


@dataclass(frozen=True, slots=True)
class Guard:
    """Judges requests by one random token, which is in the address that is printed."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def judge(self, knock: Knock) -> Verdict:
        if not (is_ours(knock.host) and _same_origin(knock)):
            return Verdict.FOREIGN
        if not knock.socket and self._fits(knock.token):
            return Verdict.ENTERS
        return Verdict.ADMITTED if self._fits(knock.cookie) else Verdict.LOCKED

    def _fits(self, offered: str | None) -> bool:
        if offered is None:
            return False
        return hmac.compare_digest(offered.encode("utf-8", "replace"), self.token.encode())


def is_ours(host: str) -> bool:
    """Whether a ``Host`` names this machine in a way no DNS can; any port, for tunnels."""
    try:
        parts = urlsplit(f"//{host}")
        named = parts.hostname in _OURS and (parts.port or 0) >= 0
    except ValueError:
        return False
    return named and parts.netloc == host and parts.username is None


def _same_origin(knock: Knock) -> bool:
    """Browsers send an ``Origin`` with every WebSocket, so there it may not be missing."""
    if knock.origin is None:
        return not knock.socket
    return knock.origin.lower() == f"http://{knock.host.lower()}"
