"""Addresses as they stand in a configuration."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

HTTP = ("http", "https")


def is_open(host: str) -> bool:
    """Whether an IP address can be reached by others; of a name only the listener can tell."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def leads_here(parts: SplitResult, port: int) -> bool:
    """Whether an address is that of the port on this machine."""
    host = parts.hostname or ""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
    return local and port != 0 and (parts.port or _PORTS.get(parts.scheme)) == port


def split(text: str) -> SplitResult | None:
    """The parts of an address; ``None`` when it can't be taken apart."""
    try:
        parts = urlsplit(text)
        return parts if parts.port is None or parts.port else None
    except ValueError:
        return None


def complaint(text: str, schemes: Collection[str], example: str) -> str:
    """What is wrong with the address of a server, which is never quoted; empty: nothing."""
    expected = f"expected an address such as {example}"
    parts = split(text)
    if parts is None or any(c.isspace() for c in text):
        return f"can't be read as an address; {expected}"
    if parts.scheme not in schemes:
        found = f'begins with "{parts.scheme}://"' if "://" in text else "has no scheme"
        return f"{found}; {expected}"
    if parts.username is not None or parts.password is not None:
        return f"has a user or password in it; {expected}, and the key in a key of its own"
    if not parts.hostname:
        return f"names no host; {expected}"
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        return f"goes on after its path with ? or #; {expected}"
    return ""


_PORTS = {"http": 80, "https": 443}
