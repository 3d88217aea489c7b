"""Identifiers in the shape that Anthropic's have: a prefix and 24 letters and digits."""

from __future__ import annotations

import secrets
import string

_ALPHABET = string.digits + string.ascii_letters


def new_id(prefix: str) -> str:
    """A random id such as ``msg_01…``; ``prefix`` comes with its underscore."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(24))
