"""A person's first quarter of an hour, in a real terminal: the console beside Claude Code.

Drives tmux, looks at what stands on the screen, and never at anything else.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.client

PATIENCE = 120.0
LOOK_S = 0.2  # A terminal has no events to wait for.

SCRIPT = """
prefill = 20000
decode = 300

[[answers]]
when = "SCENARIO:two"
turn = 0
says = '''
I write the file first.
<tool_call>
{write}
</tool_call>'''

[[answers]]
when = "SCENARIO:two"
turn = 1
says = '''
Now I run it.
<tool_call>
{run}
</tool_call>'''

[[answers]]
when = "SCENARIO:two"
turn = 2
says = "It prints forty-two."
"""


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
async def terminal(folder: Path, environment: dict[str, str]) -> AsyncIterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    found = Terminal(f"anyclaude-{folder.name}")
    pairs = [f"{name}={value}" for name, value in environment.items()]
    shell = shlex.join(["env", *pairs, "bash", "--norc", "--noprofile"])
    for name in ("console", "client"):
        await found.tmux("new-session", "-d", "-s", name, "-x", "120", "-y", "40", shell)
    try:
        yield found
    finally:
        await found.tmux("kill-server")


@pytest.fixture
async def desk(
    claude_path: str, embedded_model_dir: Path, tmp_path: Path
) -> AsyncGenerator[tuple[Terminal, Path, str], None]:
    data, project, home = tmp_path / "data", tmp_path / "project", tmp_path / "home"
    for folder in (data, project, home):
        folder.mkdir()
    (data / "models").symlink_to(embedded_model_dir.parent)
    file = str(project / "hello.py")
    write = {"name": "Write", "arguments": {"file_path": file, "content": "print(6 * 7)\n"}}
    run = {"name": "Bash", "arguments": {"command": f"python3 {file}", "description": "Run it"}}
    script = SCRIPT.format(write=json.dumps(write), run=json.dumps(run))
    (tmp_path / "script.toml").write_text(script, "utf-8")
    environment = {
        "HOME": str(home),
        "ANYCLAUDE_DATA_DIR": str(data),
        "ANYCLAUDE_SERVER_PORT": "0",
        "ANYCLAUDE_MODEL_DEFAULT": f"scripted:{tmp_path / 'script.toml'}",
        "PATH": f"{Path(sys.executable).parent}:{Path(claude_path).parent}:/usr/bin:/bin",
        "TERM": "xterm-256color",
        "PS1": "$ ",
    }
    async with terminal(tmp_path, environment) as found:
        yield found, project, claude_path


async def test_from_the_first_look_to_the_last_key(desk: tuple[Terminal, Path, str]) -> None:
    term, project, claude = desk
    await term.type("console", "anyclaude-tui")
    await term.press("console", "Enter")
    first = await term.sees("console", "tokens of context", "eval")
    line = next(part for part in first.splitlines() if "eval" in part)
    paste = line[line.index("eval") :].rstrip(" │")

    # The printed lines, in the other terminal.
    await term.type("client", f"cd {project}; {paste}")
    await term.press("client", "Enter")
    await term.type("client", f"{claude} -p 'SCENARIO:two begin' --allowedTools Write,Bash")
    await term.press("client", "Enter")
    await term.sees("client", "It prints forty-two.")
    assert (project / "hello.py").read_text() == "print(6 * 7)\n"

    # Live in the list, found by a filter, and opened at what is new in its prompt.
    await term.sees("console", "tool_use", "end_turn")
    await term.press("console", "/")
    await term.type("console", "tool:bash")
    await term.press("console", "Enter", "Enter")
    await term.press("console", "]")
    await term.sees("console", "lines the same")
    for _ in range(3):
        await term.escape("console")

    # Flush, another model, a question in SQL.
    await term.press("console", "F")
    await term.sees("console", "Flush caches", "prompts in memory")
    await term.press("console", "F")
    await term.sees("console", "Freed")
    await term.press("console", "m")
    await term.sees("console", "SmolLM2-135M-Instruct", "Models")
    await term.press("console", "Enter")
    await term.sees("console", "SmolLM2-135M-Instruct answers")
    await term.escape("console")
    await term.press("console", "s")
    await term.sees("console", "Query", "Questions that are ready")
    await term.type("console", "select count(*) * 1000 + 7 as found from tool_calls")
    await term.press("console", "C-j")
    await term.sees("console", "2007")

    for _ in range(2):
        await term.escape("console")
    await term.press("console", "q")
    await term.sees("console", "$ ")
    assert "anyclaude-tui" not in (await term.screen("console")).splitlines()[-1]
