"""Results put into a conversation unasked: where, when, once, and in every later request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from anyclaude.errors import InvalidRequest
from anyclaude.events import RequestFinished
from tests.doubles.search_engines import SearchEngines
from tests.search_kit import Stage, side_request, staged, told

FRESH = "What is the latest stable version of Python?"
REMINDER = "<system-reminder>\nToday: what is the latest version of Rust?\n</system-reminder>"
TOOLS = [{"name": "Bash", "description": "Runs", "input_schema": {"type": "object"}}]


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def called(number: int) -> list[dict[str, Any]]:
    """One step of an agent loop: a call, and what it gave."""
    use = {"type": "tool_use", "id": f"toolu_{number}", "name": "Bash", "input": {"n": number}}
    result = {
        "type": "tool_result",
        "tool_use_id": f"toolu_{number}",
        "content": f"What is the latest version of Node? {number}",
    }
    reminder = {"type": "text", "text": REMINDER}
    return [
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result, reminder]},
    ]


def body(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "model": "claude-x",
        "max_tokens": 100,
        "tools": TOOLS,
        "messages": list(messages),
        **more,
    }


@pytest.fixture
async def engines() -> AsyncIterator[SearchEngines]:
    async with SearchEngines() as engines:
        yield engines


@pytest.fixture
async def stage(engines: SearchEngines, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path / "data", engines, proactive=True) as stage:
        yield stage


def inserted(prompt: str) -> int:
    return prompt.count('<web-search inserted-by="anyclaude"')


async def test_off_by_default(engines: SearchEngines, tmp_path: Path) -> None:
    async with staged(tmp_path / "data", engines) as stage:
        answer = await stage.ask(body(user(FRESH)))
        assert inserted(await stage.prompt(answer)) == 0
    assert engines.asked == []


async def test_behind_the_turn_that_asks(stage: Stage) -> None:
    answer = await stage.ask(body(user(REMINDER, FRESH), {"role": "system", "content": "cwd"}))
    prompt = await stage.prompt(answer)
    before, _, after = prompt.partition('<web-search inserted-by="anyclaude"')
    assert before.rstrip().endswith(FRESH) and "3.14.2" in after
    assert after.index("</web-search>") < after.index("[system]")
    assert stage.engines.asked == [("searxng", "What is the latest stable version of Python")]
    (search,) = await stage.searches()
    assert (search["request_id"], search["results"]) == (answer.headers["request-id"], 4)
    (row,) = await stage.rows("select role, input_tokens from requests")
    assert row["role"] == "main" and row["input_tokens"] > search["tokens"]
    detail = await stage.runtime.control.detail(answer.headers["request-id"])
    assert ("web_search", 1) in [tuple(rule) for rule in detail.canonical]
    metrics = (await stage.http.get("/metrics")).text
    assert 'kind="inserted",outcome="found"} 1' in metrics


async def test_a_loop_of_thirty_turns_injects_once(stage: Stage) -> None:
    talk = [user(FRESH)]
    prompts: list[str] = []
    for number in range(30):
        answer = await stage.ask(body(*talk))
        prompts.append(await stage.prompt(answer))
        talk += called(number)
    assert len(stage.engines.asked) == 1 and len(await stage.searches()) == 1
    assert [inserted(prompt) for prompt in prompts] == [1] * 30
    for shorter, longer in pairwise(prompts):
        assert longer.startswith(shorter)


async def test_the_text_stays_whatever_is_switched(engines: SearchEngines, tmp_path: Path) -> None:
    async with staged(tmp_path / "data", engines, proactive=True) as stage:
        first = await stage.prompt(await stage.ask(body(user(FRESH))))
        await stage.runtime.control.set_switch("proactive_search", False)
        said = {"role": "assistant", "content": "3.14.2"}
        talk = [user(FRESH), said, user("Thanks. And what is the latest version of Go?")]
        second = await stage.prompt(await stage.ask(body(*talk)))
        assert second.startswith(first) and inserted(second) == 1
    # Another process, with nobody to ask any more.
    async with staged(tmp_path / "data", engines, providers=()) as stage:
        again = await stage.prompt(await stage.ask(body(*talk)))
        assert again == second
        count = await stage.http.post(
            "/v1/messages/count_tokens",
            json={key: value for key, value in body(*talk).items() if key != "max_tokens"},
            headers={"x-claude-code-session-id": "s1"},
        )
        (row,) = await stage.rows(
            "select input_tokens from requests where role = 'main' order by started_at desc limit 1"
        )
        assert count.json()["input_tokens"] == row["input_tokens"]
        other = await stage.prompt(await stage.ask(body(*talk), session="s2"))
        assert inserted(other) == 0
    assert len(engines.asked) == 1


async def test_the_same_words_twice_are_two_turns(stage: Stage) -> None:
    said = {"role": "assistant", "content": "3.14.2"}
    await stage.ask(body(user(FRESH)))
    second = await stage.ask(body(user(FRESH), said, user(FRESH)))
    assert inserted(await stage.prompt(second)) == 2
    # The second is out of the result cache: it is a search that went nowhere.
    assert [s["cached"] for s in await stage.searches()] == [False, True]


async def test_a_request_that_is_tried_again_is_the_same(stage: Stage) -> None:
    first = await stage.prompt(await stage.ask(body(user(FRESH), temperature=1.0)))
    again = await stage.prompt(await stage.ask(body(user(FRESH), temperature=1.0)))
    assert first == again and len(await stage.searches()) == 1


async def test_a_search_that_failed_is_not_made_again_for_its_turn(stage: Stage) -> None:
    stage.engines.fails["searxng"] = 500
    failed = await stage.ask(body(user(FRESH)))
    assert inserted(await stage.prompt(failed)) == 0
    stage.engines.fails.clear()
    again = await stage.ask(body(user(FRESH), stop_sequences=["x"]))
    assert inserted(await stage.prompt(again)) == 0
    assert [s["error"] is not None for s in await stage.searches()] == [True]


async def test_a_client_that_leaves_while_its_turn_is_searched_for(stage: Stage) -> None:
    stage.engines.hangs.add("searxng")
    headers = {"x-claude-code-session-id": "s1"}
    asking = asyncio.ensure_future(
        stage.http.post("/v1/messages", json=body(user(FRESH)), headers=headers)
    )
    await stage.engines.reached.wait()
    heard = stage.runtime.bus.subscribe()
    asking.cancel()
    assert (await told(heard, RequestFinished)).record.status == 499
    (search,) = await stage.searches()
    assert search["error"] == "unavailable: it was given up before it ended"
    # Nothing was decided for the turn: it gets its results when the client comes back.
    stage.engines.hangs.clear()
    assert inserted(await stage.prompt(await stage.ask(body(user(FRESH))))) == 1


async def test_the_exact_cache_sees_what_was_put_in(stage: Stage) -> None:
    """With results the prompt is another one than without."""
    plain = await stage.ask(body(user(FRESH)), session="")
    with_results = await stage.ask(body(user(FRESH)))
    assert plain.headers["x-anyclaude-cache"].startswith("tier=none")
    assert with_results.headers["x-anyclaude-cache"].startswith("tier=none")
    assert inserted(await stage.prompt(with_results)) == 1
    again = await stage.ask(body(user(FRESH)))
    assert again.headers["x-anyclaude-cache"].startswith("tier=response")


@pytest.mark.parametrize(
    "messages",
    [
        [user("Rename latest_version to newest_version.")],
        [user(REMINDER)],
        [user(FRESH), {"role": "assistant", "content": "3.14.2"}],
        [user("<command-name>what</command-name>", REMINDER)],
    ],
)
async def test_turns_that_ask_for_nothing(stage: Stage, messages: list[dict[str, Any]]) -> None:
    await stage.ask(body(*messages))
    assert stage.engines.asked == []


async def test_only_the_main_conversation(stage: Stage) -> None:
    headers = {"x-claude-code-session-id": "s1", "x-claude-code-agent-id": "a1"}
    await stage.http.post("/v1/messages", json=body(user(FRESH)), headers=headers)
    await stage.ask(body(user(FRESH)), session="")
    assert stage.engines.asked == []
    await stage.ask(side_request("newest python"))
    assert len(stage.engines.asked) == 1


async def test_the_switch_needs_somebody_to_ask(engines: SearchEngines, tmp_path: Path) -> None:
    async with staged(tmp_path / "data", engines, providers=()) as stage:
        with pytest.raises(InvalidRequest, match=r"search\.providers is empty"):
            await stage.runtime.control.set_switch("proactive_search", True)
    async with staged(tmp_path / "data", engines) as stage:
        control = stage.runtime.control
        assert {s.name: s.on for s in await control.switches()}["proactive_search"] is False
        await control.set_switch("proactive_search", True)
        assert {s.name: s.on for s in await control.switches()}["proactive_search"] is True
        answer = await stage.ask(body(user(FRESH)))
        assert inserted(await stage.prompt(answer)) == 1
