"""A real terminal to drive: tmux, its keys, and what stands on its screens."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 120.0
LOOK_S = 0.2  # A terminal has no events to wait for.


@dataclass
class Terminal:
    """One tmux server of its own, with two windows: the console's and the client's."""

    socket: str

    async def tmux(self, *args: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "tmux",
            "-L",
            self.socket,
            *args,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return out.decode(errors="replace")

    async def screen(self, window: str) -> str:
        return await self.tmux("capture-pane", "-p", "-t", window)

    async def painted(self, window: str) -> str:
        """The screen with its colours, as escape sequences, and every line in full."""
        return await self.tmux("capture-pane", "-p", "-e", "-N", "-t", window)

    async def sees(self, window: str, *texts: str, patience: float = PATIENCE) -> str:
        """The screen once all ``texts`` stand on it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while True:
            screen = await self.screen(window)
            if all(text in screen for text in texts):
                return screen
            assert loop.time() < until, f"no {texts} on:\n{screen}"
            await asyncio.sleep(LOOK_S)

    async def press(self, window: str, *keys: str) -> None:
        for key in keys:
            await self.tmux("send-keys", "-t", window, key)
            await asyncio.sleep(LOOK_S)

    async def escape(self, window: str) -> None:
        """Escape, and time enough that the next key isn't taken for its second half."""
        await self.press(window, "Escape")
        await asyncio.sleep(5 * LOOK_S)

    async def type(self, window: str, text: str) -> None:
        await self.tmux("send-keys", "-t", window, "-l", text)
        await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def terminal(folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Terminal]:
    """A console's window and a client's, 120x40, until the block is left."""
    found = Terminal(f"anyclaude-{folder.name}")
    pairs = [f"{name}={value}" for name, value in environment.items()]
    shell = shlex.join(["env", *pairs, "bash", "--norc", "--noprofile"])
    for name in ("console", "client"):
        size = ("-x", "120", "-y", "40")
        await found.tmux("new-session", "-d", "-s", name, *size, "-c", str(folder), shell)
    try:
        yield found
    finally:
        await found.tmux("kill-server")
