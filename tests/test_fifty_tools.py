"""Fifty tools in the manner of Claude Code's and of MCP servers', demanded of the embedded model.

The short run asks for a few of them. ``ANYCLAUDE_SAMPLES=4`` asks for every one four times, with
the grammar and without it, and prints what came (``pytest -n 0 -s``): half an hour on two cores.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from anyclaude.config.settings import ToolSettings
from anyclaude.runtime import Runtime
from tests.grammar.test_schema import all_tools
from tests.test_end_to_end import settings_for

pytestmark = pytest.mark.model

SAMPLES = int(os.environ.get("ANYCLAUDE_SAMPLES", "0"))
FEW = ("Bash", "const_union", "multiple_of", "tuple_items")
AT_ONCE = 4
TEMPERATURE = 1.0
MOST_TOKENS = 400
MOST_MISSING = 0.025
"""The share of requests that may come to no call, those that ``max_tokens`` ended not counted."""


@dataclass
class Tally:
    """Requests by what became of them; ``wrong`` are calls that their schema doesn't allow."""

    asked: int = 0
    called: int = 0
    unfinished: int = 0
    without: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        valid = self.called - len(self.wrong)
        return (
            f"{self.asked} requests, {self.called} calls delivered, {valid} valid, "
            f"{self.unfinished} unfinished at {MOST_TOKENS} tokens, {self.without} without a call"
        )


@asynccontextmanager
async def serving(folder: Path, embedded: Path, *, constrain: bool) -> AsyncIterator[str]:
    plain = settings_for(folder, embedded)
    runtime = Runtime(replace(plain, tools=ToolSettings(constrain=constrain)))
    await runtime.start()
    try:
        await runtime.ready()
        yield runtime.address
    finally:
        await runtime.stop()


async def demand(address: str, tools: list[dict[str, Any]]) -> Tally:
    """One call of each tool, a few requests at once."""
    tally, turns = Tally(), asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=address, timeout=None, trust_env=False) as http:

        async def one(tool: dict[str, Any]) -> None:
            shown = {key: tool[key] for key in ("name", "description", "input_schema")}
            body = {
                "model": "m",
                "max_tokens": MOST_TOKENS,
                "temperature": TEMPERATURE,
                "tools": [shown],
                "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
                "messages": [{"role": "user", "content": tool["ask"]}],
            }
            async with turns:
                answer = await http.post("/v1/messages", json=body)
            assert answer.status_code == 200, answer.text
            judge(tally, tool, answer.json())

        await asyncio.gather(*map(one, tools))
    return tally


def judge(tally: Tally, tool: dict[str, Any], message: dict[str, Any]) -> None:
    tally.asked += 1
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    if message["stop_reason"] == "max_tokens":
        tally.unfinished += 1
    elif not calls:
        tally.without += 1
    else:
        tally.called += 1
        checker = Draft202012Validator(tool["input_schema"])
        if not all(checker.is_valid(call["input"]) for call in calls):
            tally.wrong.append(f"{tool['name']}: {calls}")


def chosen() -> list[dict[str, Any]]:
    if SAMPLES:
        return all_tools() * SAMPLES
    return [tool for tool in all_tools() if tool["name"] in FEW]


def test_there_are_fifty_of_them() -> None:
    assert len({tool["name"] for tool in all_tools()}) == 50


@pytest.mark.timeout(7200)
async def test_a_call_that_is_demanded_comes_and_fits(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    async with serving(tmp_path, embedded_model_dir, constrain=True) as address:
        tally = await demand(address, chosen())
    print(f"\nconstrained: {tally}")  # noqa: T201
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.without <= MOST_MISSING * tally.asked, tally
    assert tally.called, tally


@pytest.mark.skipif(not SAMPLES, reason="what comes without the grammar is only counted")
@pytest.mark.timeout(7200)
async def test_what_comes_of_it_without_the_grammar(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    async with serving(tmp_path, embedded_model_dir, constrain=False) as address:
        tally = await demand(address, chosen())
    print(f"\nfree: {tally}")  # noqa: T201
    assert tally.asked == SAMPLES * 50
