"""One page's console: a process of its own, attached to the server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from textual_serve.app_service import AppService

if TYPE_CHECKING:
    from aiohttp import web
    from textual_serve.download_manager import DownloadManager

DRIVER = "tui.web.driver:PageDriver"
QUIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Child:
    """How a page's console is started; secrets are in neither, it reads the state file."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def attached(address: str, options: tuple[str, ...], environment: Mapping[str, str]) -> Child:
    """The console on the server at ``address``."""
    command = (sys.executable, "-m", "tui", "--attach", address, *options)
    return Child(command, environment)


class Session(AppService):
    """textual-serve's, without its shell, its output on our stdout and its patience."""

    def __init__(
        self,
        child: Child,
        request: web.Request,
        socket: web.WebSocketResponse,
        downloads: DownloadManager,
    ) -> None:
        super().__init__(
            "",
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=self._hang_up,
            download_manager=downloads,
        )
        self._child, self._request, self._socket = child, request, socket
        self._stopping = asyncio.Lock()

    async def _hang_up(self) -> None:
        await self._socket.close()

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        """Its errors go to our stderr; ctrl+c at our terminal is ours to pass on."""
        environment = self._build_environment(width, height) | dict(self._child.environment)
        process = self._process = await asyncio.create_subprocess_exec(
            *self._child.command,
            stdin=PIPE,
            stdout=PIPE,
            env=environment | {"TEXTUAL_DRIVER": DRIVER},
            start_new_session=True,
        )
        self._stdin = process.stdin
        # The base class would collect what stands there and print it on stdout.
        process.stderr = asyncio.StreamReader()
        process.stderr.feed_eof()
        return process

    async def run(self) -> None:
        """Until the console ends, however it does; the page is told then."""
        try:
            await super().run()
        finally:
            await self.remote_close()

    async def on_meta(self, data: bytes) -> None:
        """A page is a screen: its console opens no addresses in it and sends it no files."""
        if json.loads(data)["type"] == "exit":
            await self.remote_close()

    async def stop(self) -> None:
        """Asks the console to leave, and makes it after a while; may be called again."""
        process = self._process
        if process is None:
            return
        async with self._stopping:  # The base class can't be stopped twice at once.
            last_resort = asyncio.get_running_loop().call_later(QUIT_S, self._force, process)
            try:
                await super().stop()
                await process.wait()
            finally:
                last_resort.cancel()

    def _force(self, process: Process) -> None:
        """Whatever holds us up is one of two: the console, or a browser that doesn't read."""
        if process.returncode is None:
            # Not process.kill(): it may take the exit code before asyncio does.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if self._request.transport is not None:
            self._request.transport.abort()
