"""A person's first quarter of an hour, in a real terminal: the console beside Claude Code.

``python -m tests.client.tour docs/pictures`` walks it and keeps pictures of the console on the way;
``test_terminal.py`` walks it and keeps none.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from tests.client.tmux import Terminal, terminal

SCRIPT = """
prefill = 20000
decode = 50

[[answers]]
when = "SCENARIO:two"
turn = 0
says = '''
The task has two steps. I write the file first, with a single line in it that computes the product
and prints it, and nothing besides: no function, no main guard, no comment, since a script of one
line explains itself. Then I run it with the interpreter that is on the path, read what it prints,
and report that number, so that we both know that the file is what was asked for.
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

Seen = Callable[[str], Awaitable[None]]
"""Told the name of what stands on the console's screen now."""


@dataclass(frozen=True)
class Desk:
    """Two terminals, the folder that Claude Code works in, and the client's own path."""

    term: Terminal
    project: Path
    claude: str


@asynccontextmanager
async def desk(folder: Path, models: Path, claude: str) -> AsyncIterator[Desk]:
    """Everything in ``folder``; ``models`` holds the model that is changed to."""
    data, project, home = folder / "data", folder / "project", folder / "home"
    for made in (data, project, home):
        made.mkdir()
    (data / "models").symlink_to(models)
    file = str(project / "hello.py")
    write = {"name": "Write", "arguments": {"file_path": file, "content": "print(6 * 7)\n"}}
    run = {"name": "Bash", "arguments": {"command": f"python3 {file}", "description": "Run it"}}
    script = SCRIPT.format(write=json.dumps(write), run=json.dumps(run))
    (folder / "session.toml").write_text(script, "utf-8")
    environment = {
        "HOME": str(home),
        "ANYCLAUDE_DATA_DIR": str(data),
        "ANYCLAUDE_SERVER_PORT": "0",
        "ANYCLAUDE_MODEL_DEFAULT": "scripted:./session.toml",
        "PATH": f"{Path(sys.executable).parent}:{Path(claude).parent}:/usr/bin:/bin",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "PS1": "$ ",
    }
    async with terminal(folder, environment) as found:
        yield Desk(found, project, claude)


async def walk(at: Desk, seen: Seen) -> None:
    """From the first look to the last key; an AssertionError shows the screen that it came to."""
    term = at.term
    await term.type("console", "anyclaude-tui")
    await term.press("console", "Enter")
    first = await term.sees("console", "session.toml is ready", "eval")
    await seen("first")
    line = next(part for part in first.splitlines() if "eval" in part)
    paste = line[line.index("eval") :].rstrip(" │")

    # The printed lines, in the other terminal; what is written shows while it is.
    await term.press("console", "]", "]")
    await term.type("client", f"cd {at.project}; {paste}")
    await term.press("client", "Enter")
    await term.type("client", f"{at.claude} -p 'SCENARIO:two begin' --allowedTools Write,Bash")
    await term.press("client", "Enter")
    await term.sees("console", "decoding", "I write the file first")
    await seen("live")
    await term.sees("client", "It prints forty-two.")
    assert (at.project / "hello.py").read_text() == "print(6 * 7)\n"
    await term.sees("console", "tool_use", "end_turn")

    # Found by a filter, and opened at what is new in its prompt.
    await term.press("console", "/")
    await term.type("console", "tool:bash")
    await term.sees("console", "1 of")
    await seen("found")
    await term.press("console", "Enter", "Enter", "[")
    await term.sees("console", "lines the same")
    await term.press("console", "z")
    await seen("diff")
    for _ in range(4):
        await term.escape("console")

    # Flush, another model, a question in SQL.
    await term.press("console", "F")
    await term.sees("console", "Flush caches", "prompts in memory")
    await seen("flush")
    await term.press("console", "F")
    await term.sees("console", "Freed")
    await term.press("console", "m")
    await term.sees("console", "SmolLM2-135M-Instruct", "Models")
    await term.press("console", "Enter")
    await term.sees("console", "SmolLM2-135M-Instruct answers")
    await seen("model")
    await term.escape("console")
    await term.press("console", "s")
    await term.sees("console", "Query", "Questions that are ready")
    await term.type("console", "select count(*) * 1000 + 7 as found from tool_calls")
    await term.press("console", "C-j")
    await term.sees("console", "2007")
    await seen("sql")

    for _ in range(2):
        await term.escape("console")
    await term.press("console", "q")
    await term.sees("console", "$ ")
    assert "anyclaude-tui" not in (await term.screen("console")).splitlines()[-1]


def picture(painted: str) -> str:
    """A screen as an SVG like those of ``tui.screenshots``."""
    from rich.console import Console
    from rich.terminal_theme import DIMMED_MONOKAI
    from rich.text import Text

    lines = painted.removesuffix("\n").split("\n")
    drawn = [Text.from_ansi(line, no_wrap=True) for line in lines]
    console = Console(
        width=max(text.cell_len for text in drawn),
        height=len(drawn),
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        record=True,
        legacy_windows=False,
    )
    for text in drawn:
        console.print(text, overflow="crop", crop=False)
    return console.export_svg(title="anyclaude", theme=DIMMED_MONOKAI)


async def photographed(folder: Path, models: Path, claude: str) -> dict[str, str]:
    """Walks once; the console's screens on the way, as SVG by name."""
    taken: dict[str, str] = {}
    async with desk(folder, models, claude) as at:

        async def seen(name: str) -> None:
            taken[name] = picture(await at.term.painted("console"))

        await walk(at, seen)
    return taken


def main(arguments: Sequence[str]) -> None:
    from anyclaude.engine.smollm2 import ensure_embedded

    target = Path(arguments[0])
    claude = os.environ.get("ANYCLAUDE_CLAUDE") or shutil.which("claude")
    if not claude or not shutil.which("tmux"):
        missing = "tmux" if claude else "Claude Code (put its path into ANYCLAUDE_CLAUDE)"
        sys.stderr.write(f"The tour's pictures stay as they are: {missing} is not installed.\n")
        return
    cache = os.environ.get("ANYCLAUDE_TEST_CACHE") or platformdirs.user_cache_dir("anyclaude-tests")
    models = ensure_embedded(Path(cache), lambda fraction, what: None).parent
    with tempfile.TemporaryDirectory(prefix="tour-", ignore_cleanup_errors=True) as folder:
        taken = asyncio.run(photographed(Path(folder), models, claude))
    target.mkdir(parents=True, exist_ok=True)
    for name, svg in taken.items():
        (target / f"tour-{name}.svg").write_text(svg, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
