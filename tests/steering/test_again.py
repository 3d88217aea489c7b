"""Requests of the log once more: run again as new ones, and their output read again."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anyclaude.config.settings import ToolSettings
from anyclaude.errors import InvalidRequest, NotFound
from anyclaude.events import (
    PrefillProgress,
    RequestAdmitted,
    RequestFinished,
    RequestReceived,
    ToolFailed,
)
from tests.doubles.broken_calls import SCHEMAS, WAYS, answer_to
from tests.steering.stage import Stage, body, staged

AS_WRITTEN = ToolSettings(constrain=False, regenerate=False)
TOOLS = [{"name": n, "description": n, "input_schema": s} for n, s in SCHEMAS.items()]
KEPT = ("id", "started_at", "kv_bytes", "time_saved_ms", "tokens_per_second")
CACHE = {
    "input_tokens",
    "cache_level",
    "cache_tier",
    "cache_read_tokens",
    "tokens_reused",
    "prefix_break_cause",
    "prefix_break_at",
    "prefix_break_message",
}


def own(column: str) -> bool:
    """Whether it is another with every request, however alike they are."""
    return column in KEPT or column.endswith("_ms")


async def replayed(stage: Stage, request_id: str, model: str = "") -> dict[str, Any]:
    """The row of a request that is run again, once it has ended."""
    new = await stage.admin.replay(request_id, model)
    assert new != request_id
    await stage.told(RequestFinished, lambda event: event.record.id == new)
    return await stage.row(new)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_replay_is_a_request_like_any_other(
    tmp_path: Path, embedded_model_dir: Path, stream: bool
) -> None:
    async with staged(tmp_path, embedded_model_dir, lambda prompt: "Paris") as stage:
        asked = body("What is the capital of France?", stream=stream, system="Be brief.")
        first = await stage.ask(asked)
        before = await stage.row(first)
        after = await replayed(stage, first)
        ours = {name: value for name, value in after.items() if not own(name)}
        theirs = {name: value for name, value in before.items() if not own(name)}
        changed = {name for name in ours if ours[name] != theirs[name]}
        assert changed - CACHE == {"route_reason"}
        assert after["route_reason"] == f"{before['route_reason']}; a replay of {first}"
        assert (after["session_id"], after["role"], after["status"]) == ("s1", "main", 200)
        assert after["cache_read_tokens"] == before["input_tokens"] - 1, "nothing is read twice"
        kinds = [
            type(e)
            for e in stage.heard
            if getattr(e, "id", getattr(getattr(e, "record", None), "id", "")) == after["id"]
        ]
        assert kinds[:2] == [RequestReceived, RequestAdmitted]
        assert kinds[-1] is RequestFinished
        detail, old = await stage.admin.detail(after["id"]), await stage.admin.detail(first)
        assert (detail.output, detail.prompt, detail.headers) == (
            "Paris",
            old.prompt,
            old.headers,
        )
        assert json.loads(detail.body) == asked
        again = await replayed(stage, after["id"])
        assert again["route_reason"].endswith(f"a replay of {after['id']}")


async def test_a_replay_may_ask_for_another_model(tmp_path: Path, embedded_model_dir: Path) -> None:
    async with staged(tmp_path, embedded_model_dir) as stage:
        first = await stage.ask(body("héllo"))
        row = await replayed(stage, first, "claude-opus")
        assert row["model_requested"] == "claude-opus"
        detail = await stage.admin.detail(row["id"])
        assert json.loads(detail.body) == {**body("héllo"), "model": "claude-opus"}
        assert (await stage.row(first))["model_requested"] == "m"


async def test_a_replay_leaves_its_session_as_it_was(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    """What the client says next is compared with what it said last, not with the replay."""
    result = {
        "type": "tool_result",
        "tool_use_id": "toolu_x",
        "is_error": True,
        "content": "InputValidationError: no",
    }
    use = {"type": "tool_use", "id": "toolu_x", "name": "Read", "input": {}}
    turns = [
        {"role": "user", "content": "read it"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    async with staged(tmp_path, embedded_model_dir) as stage:
        first = await stage.ask({**body("a"), "messages": turns, "tools": TOOLS})
        await stage.told(ToolFailed)
        follow = [*turns, {"role": "assistant", "content": "Hello"}]
        await stage.ask(
            {
                **body("a"),
                "messages": [*follow, {"role": "user", "content": "go on"}],
                "tools": TOOLS,
            }
        )
        pins = {n.sessions for n in (await stage.admin.prefix_tree()).nodes if n.pinned}
        await replayed(stage, first)
        last = await stage.ask(
            {
                **body("a"),
                "messages": [
                    *follow,
                    {"role": "user", "content": "go on"},
                    {"role": "assistant", "content": "Hello"},
                    {"role": "user", "content": "and on"},
                ],
                "tools": TOOLS,
            }
        )
        assert (await stage.row(last))["prefix_break_cause"] == "none"
        assert {n.sessions for n in (await stage.admin.prefix_tree()).nodes if n.pinned} == pins
        assert sum(isinstance(event, ToolFailed) for event in stage.heard) == 1


async def test_a_replay_waits_runs_and_is_cancelled_like_any_other(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    async with staged(tmp_path, embedded_model_dir) as stage:
        first = await stage.ask(body("hello"))
        await stage.admin.pause(True)
        new = await stage.admin.replay(first)
        await stage.told(RequestAdmitted, lambda event: event.id == new)
        assert not [e for e in stage.heard if isinstance(e, PrefillProgress) and e.id == new]
        assert await stage.admin.cancel(new)
        await stage.told(RequestFinished, lambda event: event.record.id == new)
        assert (await stage.row(new))["error_message"] == (
            "the request was cancelled from the console"
        )


async def test_what_runs_again_at_the_end_has_its_row(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    async with staged(tmp_path, embedded_model_dir) as stage:
        first = await stage.ask(body("hello"))
        await stage.admin.pause(True)
        new = await stage.admin.replay(first)
        await stage.told(RequestAdmitted, lambda event: event.id == new)
    async with staged(tmp_path, embedded_model_dir) as stage:
        row = await stage.row(new)
        assert (row["status"] >= 400, row["error_message"]) in (
            (True, "anyclaude is stopping"),
            (True, "anyclaude stopped"),
        )


async def test_what_can_not_be_run_again_says_why(tmp_path: Path, embedded_model_dir: Path) -> None:
    async with staged(tmp_path, embedded_model_dir) as stage:
        refused = await stage.http.post("/v1/messages", json={**body("x"), "max_tokens": 0})
        broken = await stage.http.post("/v1/messages", content=b'{"model": "m",')
        counted = await stage.http.post("/v1/messages/count_tokens", json=body("x"))
        with pytest.raises(InvalidRequest, match=r"the body of req_\w+ can't be run: max_tokens: "):
            await stage.admin.replay(refused.headers["request-id"])
        for reply in (broken, counted):
            with pytest.raises((InvalidRequest, NotFound), match=reply.headers["request-id"]):
                await stage.admin.replay(reply.headers["request-id"])
        for unknown in ("req_0", "..log", "%2e%2e%2flog"):
            with pytest.raises(NotFound, match=r"is not kept: .* log\.traces = true"):
                await stage.admin.replay(unknown)
            with pytest.raises(NotFound, match="is not kept"):
                await stage.admin.reparse(unknown)
        with pytest.raises(NotFound, match="has no output to read"):
            await stage.admin.reparse(refused.headers["request-id"])
        rows = (await stage.admin.sql("select count(*) from requests")).rows
        assert rows == ((3,),), "nothing was begun"


async def test_a_trace_outlives_the_process(tmp_path: Path, embedded_model_dir: Path) -> None:
    options: dict[str, Any] = {"tools": AS_WRITTEN, "traces": True}
    way = next(iter(WAYS))
    asked = body(f"WAY:{way}| do it", tools=TOOLS)
    async with staged(tmp_path, embedded_model_dir, answer_to, **options) as stage:
        first = await stage.ask(asked)
        whole = await stage.admin.detail(first)
    async with staged(tmp_path, embedded_model_dir, answer_to, **options) as stage:
        assert await stage.admin.detail(first) == whole
        assert await stage.admin.reparse(first) == whole.tool_calls
        row = await replayed(stage, first)
        assert (row["status"], row["session_id"]) == (200, "s1")
    async with staged(tmp_path, embedded_model_dir, answer_to) as stage:
        (tmp_path / "traces" / f"{first}.json").write_text('{"id": "torn')
        with pytest.raises(NotFound, match="is not kept"):
            await stage.admin.replay(first)


# --------------------------------------------------------------------------- read once more


async def test_every_broken_call_reads_as_it_did(tmp_path: Path, embedded_model_dir: Path) -> None:
    async with staged(tmp_path, embedded_model_dir, answer_to, tools=AS_WRITTEN) as stage:
        written = 0
        for way in (*WAYS, "two"):
            most = WAYS[way].max_tokens if way in WAYS else 200
            asked = body(f"WAY:{way}| do it", tools=TOOLS, max_tokens=most)
            request_id = await stage.ask(asked)
            kept = (await stage.admin.detail(request_id)).tool_calls
            assert kept
            written += len(kept)
            assert await stage.admin.reparse(request_id) == kept, way
        calls = (await stage.admin.sql("select count(*) from tool_calls")).rows
        assert calls == ((written,),), "nothing is written"


async def test_what_failed_then_may_be_read_today(tmp_path: Path, embedded_model_dir: Path) -> None:
    """The record is that of another release, which could not mend the call."""
    async with staged(tmp_path, embedded_model_dir, answer_to, tools=AS_WRITTEN) as stage:
        request_id = await stage.ask(body("WAY:trailing comma| do it", tools=TOOLS))
        recent = stage.runtime.control._kept._recent  # type: ignore[attr-defined]
        detail = recent.get(request_id)
        (call,) = detail.tool_calls
        old = replace(call, verdict="unparsed", repaired=False, repairs=(), final="")
        recent.put(replace(detail, tool_calls=(old,)))
        assert await stage.admin.reparse(request_id) == (call,)
        recent.put(replace(detail, tool_calls=()))
        assert await stage.admin.reparse(request_id) == (
            replace(call, tool_use_id="", tokens=0, ms=0.0),
        )
        assert recent.get(request_id).tool_calls == ()


async def test_an_output_without_calls_has_none(tmp_path: Path, embedded_model_dir: Path) -> None:
    async with staged(tmp_path, embedded_model_dir, tools=AS_WRITTEN) as stage:
        assert await stage.admin.reparse(await stage.ask(body("hi", tools=TOOLS))) == ()
        unasked = await stage.ask(body("WAY:two| do it"))
        assert await stage.admin.reparse(unasked) == (), "no tools were offered"


async def test_it_is_read_as_the_model_of_then_wrote(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    written = '[TOOL_CALLS]Read[ARGS]{"file_path": "a"}'
    async with staged(
        tmp_path, embedded_model_dir, lambda prompt: written, tools=AS_WRITTEN
    ) as stage:
        request_id = await stage.ask(body("hi", tools=TOOLS))
        assert await stage.admin.reparse(request_id) == ()
        recent = stage.runtime.control._kept._recent  # type: ignore[attr-defined]
        recent.put(replace(recent.get(request_id), dialect="mistral"))
        (call,) = await stage.admin.reparse(request_id)
        assert (call.name, call.verdict) == ("Read", "valid")


async def test_the_loop_has_its_turn_while_a_long_output_is_read(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    async with staged(tmp_path, embedded_model_dir, tools=AS_WRITTEN) as stage:
        request_id = await stage.ask(body("hi", tools=TOOLS))
        recent = stage.runtime.control._kept._recent  # type: ignore[attr-defined]
        recent.put(replace(recent.get(request_id), output="word " * 40_000))
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.ensure_future(count())
        assert await stage.runtime.control.reparse(request_id) == ()
        counter.cancel()
        assert turns > 40
