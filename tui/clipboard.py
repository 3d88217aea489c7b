"""Copying by the system's own command, beside the terminal's OSC 52.

macOS Terminal ignores OSC 52 and some multiplexers drop it, so the first of ``pbcopy``,
``wl-copy`` and ``xclip`` that is installed gets the text too.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress

_COMMANDS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("pbcopy", (), ""),
    ("wl-copy", (), "WAYLAND_DISPLAY"),
    ("xclip", ("-selection", "clipboard"), "DISPLAY"),
)
_PATIENCE_S = 2.0


def copy_command(env: Mapping[str, str], path: str | None = None) -> tuple[str, ...] | None:
    """The command that takes text on its input, if this machine has one it can use now."""
    for name, arguments, needs in _COMMANDS:
        if needs and not env.get(needs):
            continue
        found = shutil.which(name, path=path)
        if found:
            return (found, *arguments)
    return None


async def copy_by_command(text: str) -> bool:
    """Hands ``text`` to the copy command; False when there is none or it failed."""
    command = copy_command(os.environ)
    if command is None:
        return False
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        await asyncio.wait_for(process.communicate(text.encode("utf-8", "replace")), _PATIENCE_S)
    except (TimeoutError, OSError):
        with suppress(ProcessLookupError):
            process.kill()
        return False
    return process.returncode == 0
