"""Identifiers in the shape that Anthropic's have: a prefix and 24 letters and digits."""

from __future__ import annotations

import secrets
import string

_ALPHABET = string.digits + string.ascii_letters
_LENGTH = 24
_KINDS = len(_ALPHABET) ** _LENGTH


def new_id(prefix: str) -> str:
    """A random id such as ``msg_01…``; ``prefix`` comes with its underscore."""
    number, letters = secrets.randbelow(_KINDS), []
    for _ in range(_LENGTH):
        number, rest = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return prefix + "".join(letters)
