"""The line that docs/mcp.md prints, run by the real Claude Code."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.client.conftest import Stage, call

pytestmark = pytest.mark.client

DOCS = Path(__file__).parents[2] / "docs" / "mcp.md"
LINE = "claude mcp add anyclaude -- anyclaude mcp"
EXE = Path(sys.executable).parent / "anyclaude"


async def test_claude_code_says_why_its_last_turn_was_slow(stage: Stage) -> None:
    """Added as the docs have it; the tool's answer is the log's."""
    assert LINE in DOCS.read_text("utf-8")
    data = stage.runtime.settings.data_dir
    path = f"{EXE.parent}:/usr/bin:/bin"
    env = {"ANYCLAUDE_DATA_DIR": str(data), "PATH": path}
    added = await stage.plain_run(*LINE.split()[1:], extra=env)
    assert added.code == 0, added.stderr
    stage.playbook.scenes["why"] = [
        "A first answer.",
        call("ToolSearch", query="select:mcp__anyclaude__why_was_it_slow", max_results=5),
        call("mcp__anyclaude__why_was_it_slow"),
        "Now you know.",
    ]
    first = await stage.claude_run("SCENARIO:why go", extra=env)
    assert first.text == "A first answer."
    (slow,) = await stage.rows("SELECT id, prefill_ms FROM requests WHERE role = 'main'")
    allowed = ("--allowedTools", "mcp__anyclaude__why_was_it_slow,ToolSearch")
    reply = await stage.claude_run("why was the last turn slow?", *allowed, "--continue", extra=env)
    assert reply.text == "Now you know.", reply.stderr
    told = stage.playbook.prompts[-1]
    assert f"Request {slow[0]} (main, " in told
    assert f"- {float(str(slow[1])) / 1000:.2f} s (" in told
    assert re.search(r"reading the prompt: [\d,]+ of its [\d,]+ tokens were new", told)
    assert "cold: the cache was empty" in told or "new_session: " in told
