"""Twenty tool turns of the real client over a long context: only what is new is computed.

``ANYCLAUDE_REUSE_TABLE=FILE`` writes the reuse of each turn as Markdown.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.client.conftest import Stage, call
from tests.client.reuse import Turn, lost, main_loop, table

pytestmark = pytest.mark.client

TOOLS = ("--allowedTools", "Bash,Write,Edit,Read,Agent,ToolSearch,NotebookEdit")
NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


def script(project: Path) -> list[str]:
    """Twenty answers that call tools, in the ways that models write them; then text."""
    main, other, notes = (str(project / name) for name in ("main.py", "other.py", "notes.md"))
    book = str(project / "n.ipynb")
    return [
        "I read the big file first.\n" + call("Read", file_path=str(project / "big.txt")),
        call("Write", content="one = 1   \ntwo = 2\t\n", file_path=main),
        call("Edit", new_string="two = 22", old_string="two = 2", file_path=main),
        call("Bash", description="Run", command=f"cd {project} && python3 main.py", timeout="5000"),
        call("Read", file_path=main) + call("Read", file_path=str(project / "big.txt"), limit=50),
        call("Write", file_path=other, content="import main\n\n\nprint(main.one, main.two)\n"),
        "And now I run it.\n" + call("Bash", command="python3 other.py"),
        call("ToolSearch", query="select:NotebookEdit", max_results=5),
        call("Bash", command="seq 1 900", description="A long output"),
        call("Write", content="# Notes  \n\nTwo blanks stay.  \n", file_path=notes),
        call("Edit", file_path=notes, old_string="Two", new_string="Both", replace_all=False),
        call(
            "Agent",
            description="Look around",
            prompt="SCENARIO:scout look around",
            subagent_type="general-purpose",
        ),
        call("Bash", command="ls -la", description="List") + "\nText after the call.",
        call("Edit", old_string="one = 1", new_string="one = 11   ", file_path=main),
        call("Bash", command="python3 other.py; exit 3", description="It fails"),
        call("Edit", old_string="not there at all", new_string="x", file_path=main),
        call("Read", file_path=str(project / "missing.txt")),
        call("Bash", command="git init -q . && git status --short", description="Ask git"),
        call("Read", file_path=other, offset=1, limit=2) + call("Read", file_path=book),
        call("Bash", command=f"cd {project} && seq 1 40"),
        "That was all.",
    ]


def write_table(turns: Sequence[Turn]) -> None:
    if target := os.environ.get("ANYCLAUDE_REUSE_TABLE"):
        Path(target).write_text(table(turns), "utf-8")


async def test_twenty_tool_turns_compute_only_what_is_new(stage: Stage) -> None:
    project = stage.project
    (project / "CLAUDE.md").write_text("\n".join(f"Rule {n}: keep line {n}." for n in range(400)))
    (project / "big.txt").write_text("\n".join(f"entry {n} of the file" for n in range(1200)))
    (project / "n.ipynb").write_text(NOTEBOOK)
    answers = script(project)
    stage.playbook.scenes["twenty"] = [*answers, *["That was all."] * 4]
    stage.playbook.scenes["scout"] = [call("Bash", command="ls"), "Nothing but files."]
    reply = await stage.claude_run("SCENARIO:twenty begin", *TOOLS)
    assert reply.code == 0, (reply.out, reply.stderr)
    assert (project / "main.py").read_text() == "one = 11\ntwo = 22\n"

    turns = await main_loop(stage)
    write_table(turns)
    assert sum(bool(turn.tools) for turn in turns) == 20, table(turns)
    assert turns[0].prompt > 15_000
    assert not lost(turns), "\n".join([*lost(turns), table(turns)])
    assert {turn.cause for turn in turns[1:]} == {"none"}
    roles = await stage.rows("select role, count(*) from requests group by role")
    assert dict(roles).get("subagent", 0) >= 2  # type: ignore[call-overload]
