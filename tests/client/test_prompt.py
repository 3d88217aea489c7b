"""The real client's whole prompt in each tier, and on a model whose window it would overflow.

What the client says is its own and never stored here: every figure is of its live request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest

from anyclaude.backend import BackendRequest
from anyclaude.config.client_env import child_env, client_env
from anyclaude.config.settings import CacheSettings, PromptSettings, ServerSettings, Settings
from anyclaude.engine.engine import Engine
from anyclaude.engine.generation import MlxGeneration
from anyclaude.prompt.canonical import canonicalise, definition_text
from anyclaude.prompt.deferring import deferrable, loader_for
from anyclaude.prompt.optimise import Optimiser
from anyclaude.prompt.tiers import ORDER, PromptTier
from anyclaude.prompt.tool_shapes import parameters
from anyclaude.runtime import Runtime
from anyclaude.server.schema import parse_messages
from anyclaude.types import MessagesRequest, Role, TextBlock, ToolChoice
from tests.client.conftest import Playbook, Stage
from tests.client.reuse import lost, main_loop
from tests.traffic.gates import StepGate

pytestmark = pytest.mark.client

MOST = 0.35
"""The share of its tokens that the client's prompt may have in tier strong."""
EMBEDDED_WINDOW = 8_192
ANSWER = 160
"""Tokens; the call of the second turn takes about 70."""
PATIENCE = 1_500.0


@dataclass(frozen=True)
class Weighed:
    """Tokens of one tier: of the whole prompt as rendered, and of its parts by themselves."""

    tier: PromptTier
    prompt: int
    system: int
    tools: int
    turns: int


async def weighed(engine: Engine, request: MessagesRequest) -> list[Weighed]:
    """The client's request in every tier, by the model's own tokenizer."""
    found = []
    for tier in ORDER:
        shown = Optimiser().show(request, tier)
        assert not shown.failure
        job = BackendRequest("r", shown.request, Role.COUNT, "")
        texts = (
            [block.text for block in shown.request.system],
            [definition_text(tool) for tool in shown.request.tools],
            [
                block.text
                for message in shown.request.messages
                for block in message.content
                if isinstance(block, TextBlock)
            ],
        )
        sums = [sum(await engine.count_texts(part)) for part in texts]
        found.append(Weighed(tier, await engine.count(job), *sums))
    return found


def table(tiers: list[Weighed]) -> str:
    """The lines of the table in docs/prompt.md."""
    whole = tiers[0].prompt
    lines = [
        "| tier | system prompt | tools | messages | whole prompt | share |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {one.tier.value} | {one.system:,} | {one.tools:,} | {one.turns:,} | {one.prompt:,} "
        f"| {100 * one.prompt / whole:.1f} % |"
        for one in tiers
    ]
    return "\n".join(lines) + "\n"


async def first_request(stage: Stage) -> MessagesRequest:
    """What the client sends first, in its canonical form."""
    stage.playbook.scenes["hello"] = ["Hello."]
    reply = await stage.claude_run("SCENARIO:hello")
    assert reply.code == 0, (reply.out, reply.stderr)
    (row,) = await stage.rows("select id from requests where role = 'main' and tool_count > 0")
    body = (await stage.runtime.control.detail(str(row[0]))).body
    return canonicalise(parse_messages(body.encode(), None).request).request


async def test_each_tier_takes_less_and_loses_nothing_it_must_keep(
    stage: Stage, tmp_path: Path
) -> None:
    request = await first_request(stage)
    engine = stage.runtime.control._parts.engine  # type: ignore[attr-defined]
    tiers = await weighed(engine, request)
    (tmp_path / "tiers.md").write_text(table(tiers))  # For the docs: pytest --basetemp keeps it.
    sizes = [one.prompt for one in tiers]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 10_000
    assert sizes[-1] <= MOST * sizes[0], table(tiers)
    strong = Optimiser().show(request, PromptTier.STRONG)
    text = "\n\n".join(
        block.text
        for part in (
            strong.request.system,
            *(m.content for m in strong.request.messages if m.role == "system"),
        )
        for block in part
        if isinstance(block, TextBlock)
    )
    protected = [placed.part for placed in strong.parts if placed.part.protected]
    assert len(protected) > 20 and all(part.before in text for part in protected)
    for before, after in zip(request.tools, strong.request.tools, strict=True):
        assert before.name == after.name
        assert parameters(before.input_schema) == parameters(after.input_schema)
    assert Optimiser().show(request, PromptTier.OFF).request is request


SELDOM = ("Workflow", "ReportFindings", "ScheduleWakeup", "ListAgents")


@pytest.mark.parametrize("tier", [PromptTier.STANDARD, PromptTier.STRONG])
async def test_tools_that_are_only_named_take_less(
    stage: Stage, tmp_path: Path, tier: PromptTier
) -> None:
    request = await first_request(stage)
    engine = stage.runtime.control._parts.engine  # type: ignore[attr-defined]
    deferred = deferrable(request.tools, SELDOM)
    assert deferred, [tool.name for tool in request.tools]
    named = replace(request, tools=(*request.tools, loader_for(deferred)))
    sizes = []
    for asked in (request, named):
        shown = Optimiser().show(asked, tier)
        assert not shown.failure
        sizes.append(await engine.count(BackendRequest("r", shown.request, Role.COUNT, "")))
    (tmp_path / "deferred.md").write_text(f"{tier.value} {len(deferred)} {sizes}\n")
    assert sizes[1] < sizes[0], sizes


# ------------------------------------------------------------------------ on the embedded model


@dataclass
class Embedded(Stage):
    """The embedded model itself, and no double; the client is told of its true window."""

    def env(self) -> dict[str, str]:
        pairs = client_env(self.runtime.address, "", "SmolLM2", EMBEDDED_WINDOW, ANSWER)
        return {**child_env(super().env(), pairs), "HOME": str(self.home)}


@pytest.fixture
async def embedded(claude_path: str, tmp_path: Path) -> AsyncGenerator[Embedded, None]:
    data, home, project = tmp_path / "data", tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    settings = Settings(
        data,
        data / "anyclaude.duckdb",
        server=ServerSettings(port=0),
        cache=CacheSettings(l2=False, l3=False),
        prompt=PromptSettings(tier="strong"),
    )
    runtime = Runtime(settings)
    await runtime.start()
    try:
        await asyncio.wait_for(runtime.ready(), 300)
        yield Embedded(runtime, Playbook(), StepGate(), home, project, claude_path, PATIENCE)
    finally:
        await runtime.stop()


WRITE_NOW = "Use the Write tool"
ANSWERS = """
    select status, stop_reason, output_tokens from requests where role = 'main' order by started_at
"""


@pytest.mark.model
@pytest.mark.timeout(3_600)
async def test_the_whole_client_works_on_a_window_that_its_prompt_overflows(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three turns, the second with a call: it is asked for here, as so small a model seldom opens
    one by itself, and all of it is then the model's own under the grammar.

    Whether the model comes to an end of what it says is its own affair: a turn that ran into the
    limit is an answer too, which the client has gone on up to three times.
    """
    opened = Engine.open

    async def open(self: Engine, request: BackendRequest) -> MlxGeneration:
        # A turn of the system may follow the user's.
        last = next(m for m in reversed(request.request.messages) if m.role == "user")
        asked = any(isinstance(b, TextBlock) and WRITE_NOW in b.text for b in last.content)
        if asked and any(tool.name == "Write" for tool in request.request.tools):
            wanted = replace(request.request, tool_choice=ToolChoice("tool", "Write", True))
            request = replace(request, request=wanted)
        return await opened(self, request)

    monkeypatch.setattr(Engine, "open", open)
    path = embedded.project / "hello.txt"
    allowed = ("--allowedTools", "Write")
    for asked in (
        ("What is the capital of France?",),
        ("--continue", f"{WRITE_NOW} to write the word hello to {path}"),
        ("--continue", "Thank you. Say goodbye."),
    ):
        before = len(await main_loop(embedded))
        reply = await embedded.claude_run(*asked, *allowed)
        answered = await embedded.rows(ANSWERS)
        assert len(answered) > before and all(row[0] == 200 and row[2] for row in answered)
        assert reply.code == 0 or answered[-1][1] == "max_tokens", (reply.out, reply.stderr)
    rows = await embedded.rows(
        "select prompt_tier, status, window_tokens, prompt_tokens_after, prompt_tokens_before, "
        "input_tokens + cache_read_tokens + cache_creation_tokens, prompt_id "
        "from requests where role = 'main' order by started_at"
    )
    assert {row[:3] for row in rows} == {("strong", 200, EMBEDDED_WINDOW)}
    assert all(int(str(row[5])) < EMBEDDED_WINDOW for row in rows)
    assert int(str(rows[0][3])) < MOST * int(str(rows[0][4]))
    calls = await embedded.rows("select name, verdict, final from tool_calls")
    assert calls[0][:2] == ("Write", "valid"), calls
    turns = await main_loop(embedded)
    assert len(turns) >= 4, "three turns and the one after the call"
    assert not lost(turns), lost(turns)
    assert all(turn.read >= before.prompt - 1 for before, turn in pairwise(turns))
    assert all(turn.cause == "none" for turn in turns[1:])
