"""The processes of a run: our server on a folder of its own, the peer's, and the floor.

Each is a child in a session of its own, so that Ctrl-C reaches the benchmark alone, and is
stopped by its process id. What a child says on stderr is in a file beside its data.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import psutil

from anyclaude.bench.client import NO_CERTIFICATES, UNCACHED, Anthropic, Client, OpenAI
from anyclaude.bench.workload import Prompt
from anyclaude.config.document import write_settings
from anyclaude.config.files import DATABASE_NAME
from anyclaude.config.settings import (
    ENGINE,
    BackendSettings,
    LogSettings,
    ServerSettings,
    Settings,
)
from anyclaude.config.state import read_state
from anyclaude.errors import AnyclaudeError

STOP_S = 10.0
START_S = 600.0
POLL_S = 0.25
WRITTEN_WITHIN_S = 30.0
QUIET_S = 2.0
"""Nothing more is written if nothing was within this; the engine pauses 1.5 s before it begins."""


class Child:
    """One process. Use it as a context, or stop it yourself."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @classmethod
    async def start(
        cls,
        name: str,
        arguments: Sequence[str],
        log: Path,
        env: Mapping[str, str],
        *,
        talks: bool = True,
    ) -> Child:
        """Runs this Python with ``arguments``; the output of one that doesn't talk is logged."""
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if talks else errors,
                stderr=errors,
                env=dict(env),
                start_new_session=True,
                limit=1 << 24,
            )
        return cls(name, process, log)

    async def line(self) -> str:
        """The next line of its output; raises AnyclaudeError when it ended instead."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise self.died(await self._process.wait())
        return line.decode().rstrip("\n")

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    def died(self, code: int) -> AnyclaudeError:
        try:
            said = self._log.read_text("utf-8", "replace").strip().splitlines()
        except OSError:
            said = []
        last = f": {said[-1][:300]}" if said else ""
        return AnyclaudeError(f"{self.name} ended with exit code {code}{last}")

    def memory(self) -> int:
        """Bytes of memory it holds, those of its children included."""
        try:
            own = psutil.Process(self._process.pid)
            return sum(p.memory_info().rss for p in (own, *own.children(recursive=True)))
        except psutil.NoSuchProcess:
            return 0

    async def stop(self) -> None:
        """Ends it, by force if that takes longer than ten seconds or nobody waits for it."""
        try:
            if self._process.returncode is None:
                self._process.terminate()
                await asyncio.wait_for(self._process.wait(), STOP_S)
        except (ProcessLookupError, TimeoutError):
            pass
        finally:
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    self._process.kill()
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


class OwnServer:
    """``anyclaude serve`` on ``folder``, with the ``[cache]``, ``[performance]`` and such of
    ``settings`` and nothing else of theirs."""

    name = "anyclaude"

    def __init__(self, folder: Path, settings: Settings, model: str) -> None:
        self._folder = folder
        self._model = model
        self._config = folder / "anyclaude.toml"
        self._settings = replace(
            settings,
            data_dir=folder,
            db=folder / DATABASE_NAME,
            server=ServerSettings(port=0),
            model=replace(settings.model, default=""),
            # What comes from disk is to be timed, not what was read ahead.
            cache=replace(settings.cache, warm_up=False),
            backends=((ENGINE, BackendSettings()),),
            routes=(),
            keys=(),
            log=LogSettings(),
        )
        self._child: Child | None = None
        self._client: Client | None = None
        self._token = ""
        self._address = ""

    @property
    def client(self) -> Client:
        assert self._client is not None
        return self._client

    @property
    def address(self) -> str:
        """Where it answers; empty before it was started."""
        return self._address

    async def start(self) -> None:
        """Returns when its model answers."""
        write_settings(self._config, self._settings)
        flags = [f"--config={self._config}", f"--data-dir={self._folder}", "--port=0"]
        arguments = ["-m", "anyclaude.cli.main", "serve", *flags, f"--model={self._model}"]
        log = self._folder / "serve.log"
        self._child = await Child.start("anyclaude serve", arguments, log, _environment())
        async with asyncio.timeout(START_S):
            while not (line := await self._child.line()).startswith("anyclaude ready "):
                pass
        self._address = line.split()[2]
        state = read_state(self._folder)
        if state is None:
            raise AnyclaudeError(f"{self._folder} names no running server")
        self._token = state.token
        headers = {"x-api-key": "local", **dict([UNCACHED])}
        self._client = Client(self.name, self._address, Anthropic(), headers)

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop()
            self._child = None

    async def restart(self) -> None:
        """Stops it once what it wants on disk is there, and starts it on the same folder."""
        await self.written()
        await self.stop()
        await self.start()

    def memory(self) -> int:
        return self._child.memory() if self._child is not None else 0

    async def active_bytes(self) -> int:
        """What MLX holds, weights included."""
        stats = cast("Mapping[str, Any]", await self._ask("GET", "/anyclaude/stats"))
        return int(stats["vitals"]["mlx_active_bytes"])

    async def tier(self, name: str) -> Mapping[str, Any]:
        """The figures of a cache tier; empty when there is none of that name."""
        tiers = cast("Sequence[Mapping[str, Any]]", await self._ask("GET", "/anyclaude/cache"))
        return next((tier for tier in tiers if tier["tier"] == name), {})

    async def flush(self) -> None:
        await self._ask("DELETE", "/anyclaude/cache")

    async def written(self) -> None:
        """Waits for the SSD tier to stop growing, for half a minute at most."""
        before: object = None
        async with asyncio.timeout(WRITTEN_WITHIN_S + 5):
            for _ in range(round(WRITTEN_WITHIN_S / QUIET_S)):
                tier = await self.tier("kv-disk")
                now = (tier.get("entries"), tier.get("bytes"))
                if not tier.get("enabled") or now == before:
                    return
                before = now
                await asyncio.sleep(QUIET_S)

    async def _ask(self, method: str, path: str) -> object:
        headers = {"authorization": f"Bearer {self._token}"}
        try:
            async with httpx.AsyncClient(
                base_url=self._address, trust_env=False, verify=NO_CERTIFICATES
            ) as http:
                response = await http.request(method, path, headers=headers, timeout=60)
        except httpx.HTTPError as error:
            raise AnyclaudeError(
                f"{self._address}{path}: {error or type(error).__name__}"
            ) from error
        if response.status_code != 200:
            raise AnyclaudeError(f"{self._address}{path}: {response.status_code} {response.text}")
        body: object = response.json()
        return body


class Peer:
    """``mlx_lm.server`` over the same weights, with the same BLAS."""

    name = "mlx_lm.server"

    def __init__(self, folder: Path, model: Path, blas: str | None) -> None:
        self._log = folder / "peer.log"
        self._model = model
        self._env = _environment()
        if blas is not None:
            self._env["LD_PRELOAD"] = " ".join(
                part for part in (blas, self._env.get("LD_PRELOAD")) if part
            )
        self._child: Child | None = None
        self._client: Client | None = None
        self._address = ""

    @property
    def client(self) -> Client:
        assert self._client is not None
        return self._client

    @property
    def address(self) -> str:
        """Where it answers; empty before it was started."""
        return self._address

    async def start(self) -> None:
        """Returns when it answers; it may load its weights only for the first request."""
        port = _free_port()
        arguments = ["-m", "mlx_lm", "server", f"--model={self._model}", "--host=127.0.0.1"]
        arguments += [f"--port={port}", "--log-level=WARNING"]
        self._child = await Child.start(self.name, arguments, self._log, self._env, talks=False)
        self._address = address = f"http://127.0.0.1:{port}"
        self._client = Client(self.name, address, OpenAI(), {})
        async with (
            asyncio.timeout(START_S),
            httpx.AsyncClient(base_url=address, trust_env=False) as http,
        ):
            while not await _healthy(http, OpenAI.health):
                if self._child.exit_code is not None:
                    raise self._child.died(self._child.exit_code)
                await asyncio.sleep(POLL_S)

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop()
            self._child = None

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def memory(self) -> int:
        return self._child.memory() if self._child is not None else 0


class FloorProcess:
    """:mod:`anyclaude.engine.floor` in its process."""

    name = "floor"

    def __init__(self, folder: Path, model: Path) -> None:
        self._log = folder / "floor.log"
        self._model = model
        self._child: Child | None = None

    async def start(self) -> None:
        arguments = ["-m", "anyclaude.engine.floor", str(self._model)]
        self._child = await Child.start(
            "the model's own forward pass", arguments, self._log, _environment()
        )

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop()
            self._child = None

    async def first(
        self, prompt: Prompt, known: Sequence[tuple[Prompt, str]] = (), *, run: bool = True
    ) -> Mapping[str, float]:
        """``prompt_tokens``, ``new_tokens`` and, if it is run, ``seconds``."""
        return await self._ask(
            {
                "op": "first" if run else "count",
                "system": prompt.system,
                "turns": prompt.turns,
                "known": [[other.turns, answer] for other, answer in known],
            }
        )

    async def decode(self, tokens: int) -> float:
        """Tokens per second after the last prompt."""
        return (await self._ask({"op": "decode", "tokens": tokens}))["tokens_per_second"]

    async def _ask(self, question: Mapping[str, object]) -> Mapping[str, float]:
        assert self._child is not None
        self._child.say(json.dumps(question))
        return cast("Mapping[str, float]", json.loads(await self._child.line()))


async def _healthy(http: httpx.AsyncClient, path: str) -> bool:
    try:
        return (await http.get(path, timeout=5)).status_code == 200
    except httpx.HTTPError:
        return False


def _environment() -> dict[str, str]:
    """Ours without what would configure anyclaude."""
    return {k: v for k, v in os.environ.items() if not k.startswith("ANYCLAUDE_")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
