"""The text of a virtual key, and what is kept of it."""

from __future__ import annotations

import hashlib
import secrets

PREFIX = "sk-anyclaude-"
_BYTES = 32


def new_key() -> str:
    """A key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def digest(key: str) -> str:
    """Its SHA-256 in hex. Without salt or stretching: nobody guesses 256 random bits."""
    return hashlib.sha256(key.encode()).hexdigest()


def digest_of_header(value: str) -> str:
    """The same of a header's value, which is Latin-1 text of the bytes that were sent."""
    return hashlib.sha256(value.encode("latin-1", "replace")).hexdigest()
