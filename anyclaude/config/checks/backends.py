"""Backends: each type's own keys, and what it can't do without."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from anyclaude.config import schema
from anyclaude.config.checks.addresses import HTTP, complaint, leads_here
from anyclaude.config.checks.case import Case, Finding
from anyclaude.config.settings import BackendSettings

EXAMPLES = {
    "anthropic": '"https://api.anthropic.com"',
    "openai": '"http://127.0.0.1:1234/v1"',
}
_TOO_LONG = {
    "anthropic": re.compile(r"/messages(/count_tokens)?/*$"),
    "openai": re.compile(r"/(chat/completions|completions|models|embeddings)/*$"),
}
"""Ends of an address that the backend adds by itself."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
FRAMING = frozenset(
    {"connection", "content-length", "content-type", "expect", "keep-alive", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)
"""Headers that belong to one connection or body, and so to who makes it."""


def check_backends(case: Case) -> Iterator[Finding]:
    engines = [n for n, b in case.settings.backends if b.type == "mlx" and b.enabled]
    for name in engines[1:]:
        if case.sound(f"backends.{name}.type", f"backends.{engines[0]}.type"):
            yield (
                f"backends.{name}.type",
                f'is "mlx" like that of backends.{engines[0]}; expected one engine in a process,'
                f" so another type, or enabled = false for one of them",
            )
    for name, backend in case.settings.backends:
        if case.sound(f"backends.{name}.type"):
            yield from _foreign_keys(case, name, backend)
            yield from _address(case, name, backend)
            yield from _key(case, name, backend)
            yield from _script(case, name, backend)
            yield from header_faults(f"backends.{name}.headers", backend.headers)


def _foreign_keys(case: Case, name: str, backend: BackendSettings) -> Iterator[Finding]:
    """Keys that were given and mean nothing for this type."""
    prefix = f"backends.{name}."
    for given in case.origins:
        key = schema.find(given) if given.startswith(prefix) else None
        if key is not None and not key.fits_type(backend.type):
            meant = " or ".join(json.dumps(type) for type in key.types)
            text = f'means nothing for type "{backend.type}"; expected type {meant} beside it'
            if backend.type == "mlx" and (own := _ENGINE_KEYS.get(given.removeprefix(prefix))):
                text += f"; the engine has {own}"
            yield given, text


def _address(case: Case, name: str, backend: BackendSettings) -> Iterator[Finding]:
    key, example = f"backends.{name}.base_url", EXAMPLES.get(backend.type)
    if example is None or not case.sound(key):
        return
    if not backend.base_url:
        yield key, f'is missing; type "{backend.type}" needs an address such as {example}'
    elif text := complaint(backend.base_url, HTTP, example):
        yield key, text
    elif found := _TOO_LONG[backend.type].search(urlsplit(backend.base_url).path):
        yield key, f'ends in "{found[0]}", which is added to it; expected {example} in its form'
    elif leads_here(urlsplit(backend.base_url), case.settings.server.port):
        yield (
            key,
            f"is the address of this server (server.port {case.settings.server.port}), which"
            f" would ask itself; expected another",
        )


def _key(case: Case, name: str, backend: BackendSettings) -> Iterator[Finding]:
    key = f"backends.{name}.api_key_env"
    if not backend.api_key_env or not case.sound(key) or backend.type not in EXAMPLES:
        return
    if backend.api_key:
        yield key, f"is there beside backends.{name}.api_key; expected one of them"
    elif backend.enabled and not case.env.get(backend.api_key_env):
        yield (
            key,
            f"is {json.dumps(backend.api_key_env)}, and there is no such environment variable;"
            " expected one with the key in it",
        )


def _script(case: Case, name: str, backend: BackendSettings) -> Iterator[Finding]:
    key = f"backends.{name}.script"
    if backend.type != "scripted" or not case.sound(key):
        return
    if not backend.script:
        yield key, 'is missing; type "scripted" needs the TOML file with its answers'
    elif not Path(backend.script).is_file():
        yield key, f"is {json.dumps(backend.script)}, and there is no such file"


def header_faults(key: str, headers: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """What can't be sent; values are secret, and no part of a message."""
    for header, value in headers:
        shown = json.dumps(header)
        if not _HEADER_NAME.fullmatch(header):
            yield key, f"has {shown}; expected names of headers: letters, digits and hyphens"
        elif header.lower() in FRAMING:
            yield key, f"has {shown}, which belongs to the connection; expected others alone"
        elif _CONTROL.search(value) or not value.isascii():
            yield key, f"has a value of {shown} that no header can have; expected plain ASCII"


_ENGINE_KEYS = {
    "max_concurrency": "performance.max_running",
    "max_waiting": "performance.max_waiting",
    "context_limit": "model.context_limit",
}
