"""Values as they may be shown: of what opens something, only that it is there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

MASK = "********"
SECRETS = frozenset({"admin_key", "api_key", "brave_key", "serpapi_key", "sha256", "tavily_key"})
ENV_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
SECRET_HEADER = re.compile(r"auth|cookie|credential|key|password|secret|session-token|token", re.I)
"""Headers of clients that are never kept."""

_WIDEST = 80
_CREDENTIALS = re.compile(r"(?<=://)\S*@")
_QUERY = re.compile(r"(?<=\?)\S+")


def hidden(name: str, value: object) -> object:
    """A value with everything secret in it masked, tables and lists inside included."""
    leaf = name.rpartition(".")[2]
    if leaf in SECRETS or (leaf.endswith("_key_env") and not _names_variable(value)):
        return MASK if value else value
    if leaf in ("headers", "env"):
        return _headers(name, value)
    if leaf == "args" and isinstance(value, list | tuple):
        return _arguments(value)
    if isinstance(value, Mapping):
        return {key: hidden(f"{name}.{key}", inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [hidden(name, inner) for inner in value]
    if isinstance(value, str) and "://" in value:
        return _QUERY.sub(MASK, _CREDENTIALS.sub(f"{MASK}@", value))
    return value


def show(name: str, value: object) -> str:
    """A value as text: secrets masked, long ones cut."""
    shown = hidden(name, value)
    if shown == MASK:
        return MASK
    text = json.dumps(shown, ensure_ascii=False, default=str)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}…"


def _names_variable(value: object) -> bool:
    """Whether it can be a variable's name; what can't be may be the key itself."""
    return isinstance(value, str) and ENV_NAME.fullmatch(value) is not None


def _arguments(words: Sequence[object]) -> list[object]:
    """A command's arguments without the values of options that sound like secrets."""
    shown: list[object] = []
    secret = False
    for word in words:
        text = str(word)
        option, given, _ = text.partition("=")
        sounds = text.startswith("-") and SECRET_HEADER.search(option) is not None
        if secret and not text.startswith("-"):
            shown.append(MASK)
        elif sounds and given:
            shown.append(f"{option}={MASK}")
        else:
            shown.append(hidden("", word))
        secret = sounds and not given
    return shown


def _headers(name: str, value: object) -> object:
    """What is sent is secret; what a route looks for is not, as long as it isn't a key."""
    if not isinstance(value, Mapping):
        return MASK if value else value
    sent = not name.startswith("routes")
    return {
        key: MASK if inner and (sent or SECRET_HEADER.search(key)) else inner
        for key, inner in value.items()
    }
