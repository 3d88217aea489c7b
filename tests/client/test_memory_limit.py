"""The real client under a memory limit that its conversations don't fit into together."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import mlx.core as mx
import psutil
import pytest

from anyclaude.config.settings import MemorySettings
from tests.client.conftest import WINDOW, Stage, call, staged
from tests.doubles.token_model import embedded_base

pytestmark = pytest.mark.client

GIB, MIB = 1 << 30, 1 << 20
WIDTH = 4096
"""32 kB a token, so that the client's own prompt of 18,000 tokens takes over half a gigabyte."""

TOOLS = ("--allowedTools", "Bash,Write,Edit,Read")


async def _limited(
    claude: str, embedded: Path, tmp_path: Path, beside: int
) -> AsyncGenerator[Stage, None]:
    """A stage that may take ``beside`` bytes more than the process takes already."""
    embedded_base(embedded)
    _give_back()
    limit = psutil.Process().memory_info().rss + beside
    memory = MemorySettings(limit_gb=limit / GIB)
    async with staged(claude, embedded, tmp_path, WINDOW, memory=memory, width=WIDTH) as stage:
        yield stage


def _give_back() -> None:
    """What earlier tests have freed is not to count as room."""
    gc.collect()
    mx.clear_cache()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
async def tight_stage(
    claude_path: str, embedded_model_dir: Path, tmp_path: Path
) -> AsyncGenerator[Stage, None]:
    """Room for one conversation of the client and a half."""
    async for stage in _limited(claude_path, embedded_model_dir, tmp_path, 2000 * MIB):
        yield stage


@pytest.fixture
async def hopeless_stage(
    claude_path: str, embedded_model_dir: Path, tmp_path: Path
) -> AsyncGenerator[Stage, None]:
    """No room for the client's first prompt."""
    async for stage in _limited(claude_path, embedded_model_dir, tmp_path, 250 * MIB):
        yield stage


def _work(path: Path) -> list[str]:
    file, name = str(path), path.stem
    return [
        call("Write", file_path=file, content=f"print('{name}')\n"),
        call("Bash", command=f"python3 {file}", description="Run"),
        call("Bash", command="seq 1 400", description="A long output"),
        call("Edit", file_path=file, old_string="print(", new_string="print(1 + 1,"),
        call("Bash", command=f"python3 {file}", description="Run again"),
        "That was all.",
    ]


async def test_three_conversations_take_turns_in_the_room_of_one(tight_stage: Stage) -> None:
    stage = tight_stage
    names = ("first", "second", "third")
    for name in names:
        stage.playbook.scenes[name] = _work(stage.project / f"{name}.py")
        # Read at the beginning of the conversation, so that each has a prompt of its own.
        (stage.project / "CLAUDE.md").write_text(
            "\n".join(f"Rule {n} of {name}: keep line {n}." for n in range(300))
        )
        reply = await stage.claude_run(f"SCENARIO:{name} begin", *TOOLS)
        assert reply.code == 0, (reply.out, reply.stderr)
        assert reply.text == "That was all."
        assert (stage.project / f"{name}.py").read_text() == f"print(1 + 1,'{name}')\n"

    failed = await stage.rows("select status, error_message from requests where status >= 400")
    assert not failed
    told = await stage.rows("select message from events where kind in ('memory', 'reset')")
    assert any("evicted" in str(text) or "emptied" in str(text) for (text,) in told), told
    stats = await stage.runtime.control.stats()
    assert stats.engine.phase == "ready"
    # What a conversation has in common with the one before was never read twice in a row.
    reread = await stage.rows(
        """
        select id from requests where role = 'main' and cache_read_tokens = 0
        and started_at > (select min(started_at) from requests where role = 'main')
        """
    )
    assert not reread


async def test_a_prompt_without_room_is_refused_and_small_ones_go_on(
    hopeless_stage: Stage,
) -> None:
    stage = hopeless_stage
    stage.playbook.scenes["big"] = ["Never said."]
    reply = await stage.claude_run("SCENARIO:big begin", *TOOLS)
    assert reply.code != 0 or reply.out.get("is_error"), reply.out
    assert "long" in reply.text.lower(), reply.text
    refused = await stage.rows(
        "select distinct status, error_message from requests where role = 'main'"
    )
    assert {status for status, _ in refused} == {400}
    assert all("prompt is too long" in str(text) for _, text in refused), refused

    stage.playbook.scenes["small"] = ["Small enough."]
    reply = await stage.claude_run(
        "SCENARIO:small begin", "--system-prompt", "You are brief.", "--tools", ""
    )
    assert reply.code == 0, (reply.out, reply.stderr)
    assert reply.text == "Small enough."
