"""Who may ask what: API key, admin token, and where a browser's page may not come from.

A page in the user's browser can reach a loopback port. It sends an ``Origin``, and after DNS
rebinding a ``Host`` of its own: both must be ours.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from typing import Protocol
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from anyclaude.config.settings import ServerSettings
from anyclaude.errors import AuthenticationFailed, PermissionDenied
from anyclaude.keys.limiter import KeyInfo

_OPEN = frozenset({"/", "/api/hello", "/health/live", "/health/ready"})

_KEY_HEADERS = frozenset({"x-api-key", "authorization"})


class Keys(Protocol):
    """The virtual keys, as far as the door is concerned."""

    @property
    def required(self) -> bool:
        """Whether a request needs a key."""
        ...

    def identify(self, offered: Iterable[str]) -> KeyInfo | None:
        """The virtual key among those offered, if one is."""
        ...

    def permit(self, key: KeyInfo, model: str) -> None:
        """Raises PermissionDenied when the key may not use the model."""
        ...

    async def check(self, key: KeyInfo, model: str) -> None:
        """Counts a request. Raises as :meth:`permit`, and RateLimited."""
        ...


class Guard:
    """Checks the headers of each request against the settings, the admin token and virtual keys.

    The admin token is that of the state file; an admin key of the settings is as good.
    """

    def __init__(
        self, settings: ServerSettings, admin_token: str, keys: Keys | None = None
    ) -> None:
        self._key = settings.api_key
        self._keys = keys
        self._admins = (admin_token, settings.admin_key)
        self._bound = settings.host.strip("[]").lower()

    def check(self, path: str, headers: Headers) -> KeyInfo | None:
        """The virtual key of the request; ``None`` for one that has no limits.

        Raises AuthenticationFailed or PermissionDenied.
        """
        self._check_origin(headers)
        if path.startswith("/anyclaude/"):
            self._check_admin(headers)
        elif path not in _OPEN and (self._key or (self._keys is not None and self._keys.required)):
            return self._check_key(headers)
        return None

    def opened_by(self, name: str, value: str) -> bool:
        """Whether a header holds a key of this server's, which is for nobody else to see."""
        if name.lower() not in _KEY_HEADERS:
            return False
        offered = (value, _token(value))
        if any(_same(key, own) for key in offered for own in (self._key, *self._admins)):
            return True
        return self._keys is not None and self._keys.identify(filter(None, offered)) is not None

    def _check_key(self, headers: Headers) -> KeyInfo | None:
        sent = (headers.get("x-api-key"), _bearer(headers))
        offered = [key for key in sent if key is not None]
        if any(_same(key, own) for key in offered for own in (self._key, *self._admins)):
            return None
        found = self._keys.identify(offered) if self._keys is not None else None
        if found is not None:
            return found
        state = "wrong" if offered else "no"
        own = "the server.api_key of this anyclaude" if self._key else "the key you were given"
        raise AuthenticationFailed(f"anyclaude: {state} API key; set ANTHROPIC_AUTH_TOKEN to {own}")

    def _check_admin(self, headers: Headers) -> None:
        if not self._is_ours(headers.get("host", "")):
            raise PermissionDenied(
                "this Host is not an address of this anyclaude; use the one it is bound to, or "
                "its IP address"
            )
        offered = _bearer(headers)
        if not any(_same(offered, own) for own in self._admins):
            state = "have none" if offered is None else "have another"
            raise PermissionDenied(
                "admin routes need 'Authorization: Bearer' with the token of the state file or "
                f"the server.admin_key of this anyclaude; these headers {state}"
            )

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None:
            return
        host = headers.get("host", "")
        try:
            netloc = urlsplit(origin).netloc
        except ValueError:
            netloc = ""
        if not netloc or netloc.lower() != host.lower() or not self._is_ours(host):
            raise PermissionDenied("requests from web pages of another origin are refused")

    def _is_ours(self, host: str) -> bool:
        """Whether a ``Host`` value names this machine in a way no foreign DNS can."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in {"localhost", self._bound}:
            return bool(name)
        address = _address(name)
        bound = _address(self._bound)
        if address is None:
            return False
        return address.is_loopback or (bound is not None and bound.is_unspecified)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what is bound to the address ``host``."""
    address = _address(host.strip("[]"))
    return address is not None and address.is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _bearer(headers: Headers) -> str | None:
    return _token(headers.get("authorization", ""))


def _token(authorization: str) -> str | None:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _same(offered: str | None, secret: str) -> bool:
    # Header values arrive as Latin-1 text of the bytes sent.
    if offered is None or not secret:
        return False
    return hmac.compare_digest(offered.encode("latin-1", "replace"), secret.encode())
