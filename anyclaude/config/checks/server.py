"""Who may reach the server, and the keys of those who do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from anyclaude.config.checks.addresses import is_open
from anyclaude.config.checks.case import Case, Finding


def check_server(case: Case) -> Iterator[Finding]:
    server = case.settings.server
    keyed = server.api_key or case.settings.keys
    if is_open(server.host) and not keyed and _keys_are_known(case):
        yield (
            "server.host",
            f"is {json.dumps(server.host)}, which others can reach; expected a server.api_key"
            " or a virtual key ('anyclaude keys add') beside it, or a loopback address such as"
            " 127.0.0.1",
        )
    if server.admin_key and server.admin_key == server.api_key:
        yield (
            "server.admin_key",
            "is the server.api_key, which every client has; expected a key of its own",
        )
    if server.gzip_streams and not server.gzip:
        yield (
            "server.gzip_streams",
            "is true while server.gzip is false; expected both true, or this one false",
        )


def _keys_are_known(case: Case) -> bool:
    return case.sound("server.api_key") and case.sound_within("keys")


def check_keys(case: Case) -> Iterator[Finding]:
    """Of the virtual keys."""
    server = case.settings.server
    taken = {
        _digest(secret): name
        for name, secret in (
            ("server.api_key", server.api_key),
            ("server.admin_key", server.admin_key),
        )
        if secret
    }
    for name, key in case.settings.keys:
        field = f"keys.{name}.sha256"
        if not case.sound(field):
            continue
        if not key.sha256:
            yield field, f"is missing; 'anyclaude keys add {name}' makes a key and writes it down"
        elif key.sha256 in taken:
            yield field, f"is that of {taken[key.sha256]}; expected a key of its own"
        else:
            taken[key.sha256] = f"keys.{name}"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
