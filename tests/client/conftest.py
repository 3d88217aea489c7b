"""The unmodified Claude Code against our server, whose model is the token-memory double.

Skipped where the client isn't installed: put ``claude`` on the PATH, or its path into
``ANYCLAUDE_CLAUDE`` (``npm install @anthropic-ai/claude-code``).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from anyclaude.config.client_env import child_env, client_env
from anyclaude.config.settings import (
    CacheSettings,
    McpSettings,
    MemorySettings,
    PerformanceSettings,
    SearchSettings,
    ServerSettings,
    Settings,
    ToolSettings,
)
from anyclaude.runtime import Runtime
from tests.doubles.token_model import DoubleLoader
from tests.traffic.gates import StepGate

MARK = re.compile(r"SCENARIO:(\w+)")
TURN = "<|im_start|>assistant\n"
WINDOW = 200_000
SMALL_WINDOW = 26_000


def call(name: str, **arguments: object) -> str:
    """A tool call as a Hermes-style model writes it, keys in the order given."""
    body = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{body}\n</tool_call>"


@dataclass
class Playbook:
    """Answers by scenario and turn: the first ``SCENARIO:name`` of a prompt picks the list."""

    scenes: dict[str, Sequence[str]] = field(default_factory=dict)
    prompts: list[str] = field(default_factory=list)

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        found = MARK.search(prompt)
        if found is None:
            return "Noted."
        turns = prompt.count(TURN) - 1
        answers = self.scenes[found[1]]
        return answers[turns] if turns < len(answers) else "That was all."


@dataclass
class Reply:
    """What the client printed with ``--output-format json``."""

    code: int
    out: dict[str, Any]
    stderr: str

    @property
    def text(self) -> str:
        return str(self.out.get("result"))


@dataclass
class Said:
    """What a command of the client's printed."""

    code: int
    stdout: str
    stderr: str


@dataclass
class Stage:
    """A running server, a home and a project folder for the client, and the playbook."""

    runtime: Runtime
    playbook: Playbook
    gate: StepGate
    home: Path
    project: Path
    claude: str
    patience: float = 240.0
    """Seconds that a client may take before the test fails; nothing is measured by it."""

    def env(self) -> dict[str, str]:
        pairs = client_env(self.runtime.address, "", "local-double", WINDOW)
        base = {k: v for k, v in os.environ.items() if not k.startswith(("CLAUDE", "ANTHROPIC"))}
        return {**child_env(base, pairs), "HOME": str(self.home)}

    async def start(self, *args: str, extra: Mapping[str, str] = {}) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self.claude,
            "-p",
            "--output-format",
            "json",
            *args,
            cwd=self.project,
            env={**self.env(), **extra},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def claude_run(self, *args: str, extra: Mapping[str, str] = {}) -> Reply:
        process = await self.start(*args, extra=extra)
        try:
            out, err = await asyncio.wait_for(process.communicate(), self.patience)
        except TimeoutError:
            process.kill()  # Or it would ask on while the server ends.
            raise
        text = out.decode()
        return Reply(
            process.returncode or 0, json.loads(text) if text.strip() else {}, err.decode()
        )

    async def plain_run(self, *args: str, extra: Mapping[str, str] = {}) -> Said:
        """A command of the client's that has no conversation."""
        process = await asyncio.create_subprocess_exec(
            self.claude,
            *args,
            cwd=self.project,
            env={**self.env(), **extra},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return Said(process.returncode or 0, out.decode(), err.decode())

    async def rows(self, sql: str) -> tuple[tuple[object, ...], ...]:
        return (await self.runtime.control.sql(sql)).rows


@pytest.fixture
def claude_path() -> str:
    path = os.environ.get("ANYCLAUDE_CLAUDE") or shutil.which("claude")
    if not path:
        pytest.skip("Claude Code is not installed")
    return path


@asynccontextmanager
async def staged(
    claude: str,
    embedded: Path,
    tmp_path: Path,
    window: int,
    performance: PerformanceSettings | None = None,
    dialect: str = "hermes",
    constrain: bool = False,
    memory: MemorySettings = MemorySettings(),  # noqa: B008 - a frozen value
    width: int = 1,
    search: SearchSettings = SearchSettings(providers=()),  # noqa: B008 - a frozen value
    mcp: Mapping[str, McpSettings] = {},
) -> AsyncIterator[Stage]:
    """``constrain``: the grammar keeps the double, too, from writing what it shouldn't.

    A token's keys and values take ``8 * width`` bytes.
    """
    data, home, project = tmp_path / "data", tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    playbook, gate = Playbook(), StepGate()
    loader = DoubleLoader(
        embedded, playbook, context_limit=window, gate=gate, width=width, dialect=dialect
    )
    settings = Settings(
        data,
        data / "anyclaude.duckdb",
        server=ServerSettings(port=0),
        performance=performance or PerformanceSettings(),
        tools=ToolSettings(constrain=constrain),
        memory=memory,
        search=search,
        mcp=tuple(mcp.items()),
        cache=CacheSettings(l2=False),  # Repeated prompts are to reach the double.
    )
    runtime = Runtime(settings, loader=loader)
    await runtime.start()
    try:
        await asyncio.wait_for(runtime.ready(), 60)
        yield Stage(runtime, playbook, gate, home, project, claude)
    finally:
        gate.open.set()
        await runtime.stop()


@pytest.fixture
async def stage(
    claude_path: str, embedded_model_dir: Path, tmp_path: Path
) -> AsyncGenerator[Stage, None]:
    async with staged(claude_path, embedded_model_dir, tmp_path, WINDOW) as stage:
        yield stage


@pytest.fixture
async def small_stage(
    claude_path: str, embedded_model_dir: Path, tmp_path: Path
) -> AsyncGenerator[Stage, None]:
    """A window little larger than the client's own prompt, of which the client isn't told."""
    async with staged(claude_path, embedded_model_dir, tmp_path, SMALL_WINDOW) as stage:
        yield stage
