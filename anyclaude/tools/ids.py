"""Random ids in the form the Messages API uses."""

from __future__ import annotations

import secrets
import string

_ALPHABET = string.digits + string.ascii_letters


def random_id(prefix: str) -> str:
    """``prefix`` and 24 random base62 characters, about 143 bits."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(24))
