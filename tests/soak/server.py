"""``anyclaude serve`` in a process of its own, so that what it holds and takes is its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from anyclaude.bench.process import Child
from anyclaude.config.document import write_settings
from anyclaude.config.settings import Settings
from anyclaude.config.state import read_state

START_S = 60.0


@dataclass(slots=True)
class Server:
    """The process, and how to ask it how it is."""

    child: Child
    address: str
    token: str

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.child.pid)

    async def sql(self, query: str) -> Any:
        return (await self._admin("POST", "/anyclaude/sql", {"query": query}))["rows"]

    async def running(self) -> int:
        vitals = (await self._admin("GET", "/anyclaude/stats"))["vitals"]
        return int(vitals["running"]) + int(vitals["waiting"])

    async def _admin(self, method: str, path: str, body: object = None) -> Any:
        headers = {"authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=self.address, trust_env=False, timeout=60) as http:
            answer = await http.request(method, path, headers=headers, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Server]:
    folder = settings.data_dir
    config = folder / "anyclaude.toml"
    write_settings(config, settings)
    flags = [f"--config={config}", f"--data-dir={folder}", "--port=0", f"--db={settings.db}"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("ANYCLAUDE_")}
    arguments = ["-m", "anyclaude.cli.main", "serve", *flags]
    child = await Child.start("anyclaude serve", arguments, folder / "serve.log", env)
    try:
        async with asyncio.timeout(START_S):
            while not (line := await child.line()).startswith("anyclaude ready "):
                pass
        state = read_state(folder)
        assert state is not None
        yield Server(child, line.split()[2], state.token)
    finally:
        await child.stop()
