"""What a person does with Claude Code, done by the real one."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from tests.client.conftest import Stage, call

pytestmark = pytest.mark.client

TOOLS = ("--allowedTools", "Bash,Write,Edit,Read,Agent,ToolSearch,NotebookEdit")
ROWS = """
    select role, status, stop_reason, input_tokens + cache_read_tokens + cache_creation_tokens,
           cache_read_tokens, retries, prefix_break_cause
    from requests where role != 'count' order by started_at
"""


async def test_edits_really_happen_and_the_prefix_survives_the_echo(stage: Stage) -> None:
    """Write, Edit and Bash come back reordered, defaulted, trimmed and cut; reuse goes on."""
    path = stage.project / "hello.py"
    stage.playbook.scenes["work"] = [
        "I write it.\n"
        + call("Write", content="print('one')   \nprint('two')\n", file_path=str(path)),
        call("Edit", new_string="'deux'", old_string="'two'", file_path=str(path)),
        call(
            "Bash",
            description="Run it",
            command=f"cd {stage.project} && python3 hello.py",
            timeout="5000",
        )
        + "\nText after the call.",
        "It prints one and deux.",
    ]
    reply = await stage.claude_run("SCENARIO:work do it", *TOOLS)
    assert reply.code == 0, reply.stderr
    assert reply.text == "It prints one and deux."
    assert path.read_text() == "print('one')\nprint('deux')\n"
    assert "one\ndeux" in stage.playbook.prompts[-1]
    rows = await stage.rows(ROWS)
    assert [row[2] for row in rows] == ["tool_use", "tool_use", "tool_use", "end_turn"]
    for before, after in pairwise(rows):
        assert int(str(after[4])) > int(str(before[3])), "reuse reaches past the call"
    assert all(row[6] == "none" for row in rows[1:])
    events = await stage.rows("select message from events where kind = 'echo'")
    assert events == ()


async def test_parallel_calls_and_subagents_beside_the_main_loop(stage: Stage) -> None:
    for name in ("a", "b", "c"):
        (stage.project / f"{name}.txt").write_text(f"content of {name}")
        stage.playbook.scenes[f"sub{name}"] = [f"Report of {name}."]
    stage.playbook.scenes["crowd"] = [
        "".join(call("Read", file_path=str(stage.project / f"{n}.txt")) for n in "abc"),
        "".join(
            call(
                "Agent",
                description=f"Look at {n}",
                prompt=f"SCENARIO:sub{n} look",
                subagent_type="general-purpose",
            )
            for n in "abc"
        ),
        "All done.",
        "All done.",
        "All done.",
        "All done.",
    ]
    reply = await stage.claude_run("SCENARIO:crowd go", *TOOLS)
    assert reply.code == 0, reply.stderr
    assert "All done." in reply.text
    rows = await stage.rows(ROWS)
    roles = [row[0] for row in rows]
    assert roles.count("subagent") == 3
    assert all(row[1] == 200 for row in rows)
    for name in "abc":
        assert any(f"content of {name}" in p for p in stage.playbook.prompts)
        assert any(
            f"SCENARIO:sub{name}" in p.split("<|im_start|>user")[1] for p in stage.playbook.prompts
        )


async def test_continue_reads_the_whole_conversation_from_the_cache(stage: Stage) -> None:
    stage.playbook.scenes["talk"] = ["One.", "Two.", "Three.", "Four."]
    replies = [await stage.claude_run("SCENARIO:talk first")]
    for word in ("second", "third", "fourth"):
        replies.append(await stage.claude_run("--continue", word))
    assert [r.text for r in replies] == ["One.", "Two.", "Three.", "Four."]
    rows = await stage.rows(ROWS)
    for (before, after), reply in zip(pairwise(rows), replies[1:], strict=True):
        assert int(str(after[4])) >= 0.95 * int(str(before[3]))
        assert reply.out["usage"]["cache_read_input_tokens"] == after[4]


async def test_a_deferred_tool_is_loaded_and_called(stage: Stage) -> None:
    book = stage.project / "n.ipynb"
    book.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    stage.playbook.scenes["defer"] = [
        call("ToolSearch", query="select:NotebookEdit", max_results=5),
        "Loaded.",
    ]
    reply = await stage.claude_run("SCENARIO:defer go", *TOOLS)
    assert reply.text == "Loaded."
    first, last = stage.playbook.prompts[0], stage.playbook.prompts[-1]
    header = first.split("<|im_start|>user")[0]
    assert '"name": "NotebookEdit"' not in header
    assert '"name": "NotebookEdit"' in last.removeprefix(header)
    assert "DeferredToolPlaceholder" not in last
    assert last.startswith(first), "loading a tool doesn't touch the prefix"


async def test_leaving_in_the_middle_stops_the_generation(stage: Stage) -> None:
    stage.playbook.scenes["long"] = ["word " * 3000]
    finished = stage.runtime.bus.subscribe()
    process = await stage.start("SCENARIO:long talk")
    async for event in finished:
        if type(event).__name__ == "FirstToken":
            break
    process.terminate()
    await asyncio.wait_for(process.communicate(), 30)
    async for event in finished:
        if type(event).__name__ == "RequestFinished":
            break
    steps = stage.gate.decode_calls
    rows = await stage.rows(ROWS)
    assert rows[-1][1] == 499
    assert stage.gate.decode_calls <= steps + 2


async def test_model_probe_and_context_burst(stage: Stage) -> None:
    reply = await stage.claude_run("/context")
    assert reply.code == 0, reply.stderr
    counts = await stage.rows("select status from requests where role = 'count'")
    assert {row[0] for row in counts} <= {200}


async def test_overflow_makes_the_client_compact_and_go_on(small_stage: Stage) -> None:
    """A window that the third prompt doesn't fit: one 400, a summary, and the work goes on."""
    stage = small_stage
    filler = " ".join(f"word{i}" for i in range(1500))
    stage.playbook.scenes["grow"] = ["One.", "Two.", "Three.", "Four."]
    assert (await stage.claude_run(f"SCENARIO:grow a {filler}")).code == 0
    assert (await stage.claude_run("--continue", f"b {filler}")).code == 0
    last = await stage.claude_run("--continue", f"c {filler}")
    rows = await stage.rows("select role, status, error_message from requests order by started_at")
    assert last.code == 0, (last.out, rows)
    assert any(str(row[2]).startswith("prompt is too long: ") for row in rows)
    assert any(row[0] == "compact" and row[1] == 200 for row in rows)
