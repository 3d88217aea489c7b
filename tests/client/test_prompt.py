"""The real client's whole prompt in each tier.

What the client says is its own and never stored here: every figure is of its live request.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from anyclaude.backend import BackendRequest
from anyclaude.engine.engine import Engine
from anyclaude.prompt.canonical import canonicalise, definition_text
from anyclaude.prompt.deferring import deferrable, loader_for
from anyclaude.prompt.optimise import Optimiser
from anyclaude.prompt.tiers import ORDER, PromptTier
from anyclaude.prompt.tool_shapes import parameters
from anyclaude.server.schema import parse_messages
from anyclaude.types import MessagesRequest, Role, TextBlock
from tests.client.conftest import Stage

pytestmark = pytest.mark.client

MOST = 0.35
"""The share of its tokens that the client's prompt may have in tier strong."""


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
