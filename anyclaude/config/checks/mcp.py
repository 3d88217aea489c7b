"""MCP servers: how each is reached, and what can't be said beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sized
from urllib.parse import urlsplit

from anyclaude.config.checks.addresses import HTTP, complaint, leads_here
from anyclaude.config.checks.backends import header_faults
from anyclaude.config.checks.case import Case, Finding, Findings
from anyclaude.config.settings import McpSettings

EXAMPLE = '"http://127.0.0.1:3000/mcp"'
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_mcp(case: Case) -> Findings:
    for name, server in case.settings.mcp:
        if case.sound_within(f"mcp.{name}"):
            yield from _reached(case, name, server)
            yield from header_faults(f"mcp.{name}.headers", server.headers)
            yield from _variables(name, server)


def _reached(case: Case, name: str, server: McpSettings) -> Findings:
    command, url = f"mcp.{name}.command", f"mcp.{name}.url"
    if server.command and server.url:
        yield url, f"is there beside {command}; expected one of them"
        return
    if not server.command:
        yield from _useless(name, {"args": server.args, "env": server.env}, command)
    if not server.url:
        yield from _useless(name, {"headers": server.headers}, url)
    if server.url:
        if text := complaint(server.url, HTTP, EXAMPLE):
            yield url, text
        elif leads_here(urlsplit(server.url), case.settings.server.port):
            yield (
                url,
                f"is the address of this server (server.port {case.settings.server.port});"
                " expected another",
            )
    elif not server.command and server.enabled and not case.settings.tools.mcp_file:
        yield (
            command,
            f"is missing; expected a program, an address in {url}, or tools.mcp_file with a"
            " server of that name",
        )


def _useless(name: str, keys: Mapping[str, Sized], needed: str) -> Findings:
    for key, value in keys.items():
        if value:
            yield f"mcp.{name}.{key}", f"means nothing without {needed}; expected that beside it"


def _variables(name: str, server: McpSettings) -> Findings:
    """Their values are secret, and no part of a message."""
    for variable, value in server.env:
        finding: Finding | None = None
        if not _VARIABLE.fullmatch(variable):
            finding = (
                f"mcp.{name}.env",
                f"has {json.dumps(variable)}; expected names of environment variables",
            )
        elif "\0" in value:
            finding = f"mcp.{name}.env", f"has a NUL in the value of {json.dumps(variable)}"
        if finding is not None:
            yield finding
