"""A model that breaks its calls, asked over HTTP: client, row, counters and pane say the same."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from anyclaude.bench.grammar import check_message, check_sse
from anyclaude.config.settings import CacheSettings, ServerSettings, Settings, ToolSettings
from anyclaude.engine.load import LoadedModel
from anyclaude.events import Subscription
from anyclaude.runtime import Runtime
from tests.doubles.broken_calls import (
    SCHEMAS,
    WAYS,
    Fate,
    answer_to,
    call,
    failed,
    text,
    use,
)
from tests.doubles.token_model import DoubleLoader, TokenMemory
from tui.lines import plain_text
from tui.panels import error_lines
from tui.state import Store

UNKNOWN = "(unknown)"


@dataclass
class Stage:
    """A server with a double for a model, a client, and what a console would know."""

    runtime: Runtime
    http: httpx.AsyncClient
    heard: Subscription
    store: Store
    asked: int = 0

    async def ask(self, way: str, *, stream: bool, max_tokens: int = 200) -> Answer:
        self.asked += 1
        body = {
            "model": "m",
            "max_tokens": max_tokens,
            "stream": stream,
            "tools": [{"name": n, "description": n, "input_schema": s} for n, s in SCHEMAS.items()],
            "messages": [{"role": "user", "content": f"{self.asked} WAY:{way}| do it"}],
        }
        response = await self.http.post("/v1/messages", json=body)
        assert response.status_code == 200, response.text
        for event in self.heard.drain():
            self.store.apply(event, 3.0)
        if stream:
            read = check_sse(response.text.split("\n"))
            blocks, stop, problems = read.content, read.stop_reason, read.problems
            tokens = (read.usage or {})["output_tokens"]
        else:
            message = response.json()
            blocks, stop, problems = (
                message["content"],
                message["stop_reason"],
                check_message(message),
            )
            tokens = message["usage"]["output_tokens"]
        request_id = response.headers["request-id"]
        return Answer(request_id, blocks, stop, problems, tokens, await self.rows(request_id))

    async def rows(self, request_id: str = "") -> list[dict[str, Any]]:
        where = f"where request_id = '{request_id}'" if request_id else ""
        result = await self.runtime.control.sql(f"select * from tool_calls {where} order by rowid")
        rows: list[dict[str, Any]] = [
            dict(zip(result.columns, row, strict=True)) for row in result.rows
        ]
        for row in rows:
            row["issues"], row["repairs"] = json.loads(row["issues"]), json.loads(row["repairs"])
        return rows

    async def counters(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """A family of ``/metrics``, by some of its labels."""
        sums: Counter[tuple[str, ...]] = Counter()
        page = (await self.http.get("/metrics")).text
        for labelled, value in re.findall(rf"^anyclaude_{name}{{(.*)}} (\S+)$", page, re.M):
            values = dict(re.findall(r'(\w+)="([^"]*)"', labelled))
            sums[tuple(values[label] for label in labels)] += float(value)  # type: ignore[assignment]
        return dict(sums)

    def notes(self, words: str) -> list[str]:
        """What the console was told of calls, as far as it has ``words``."""
        return [event.message for event in self.store.events if words in event.message]


@dataclass(frozen=True)
class Answer:
    request_id: str
    blocks: list[dict[str, Any]]
    stop: str | None
    problems: list[str]
    tokens: int
    rows: list[dict[str, Any]]


Loader = Callable[[str, Callable[[float, str], None]], LoadedModel]


@asynccontextmanager
async def staged(tmp_path: Path, loader: Loader, tools: ToolSettings) -> AsyncIterator[Stage]:
    settings = Settings(
        tmp_path,
        tmp_path / "log.duckdb",
        server=ServerSettings(port=0),
        cache=CacheSettings(l2=False),
        tools=tools,
    )
    runtime = Runtime(settings, loader=loader)
    await runtime.start()
    try:
        await runtime.ready()
        async with httpx.AsyncClient(base_url=runtime.address, timeout=60, trust_env=False) as http:
            yield Stage(runtime, http, runtime.bus.subscribe(), Store())
    finally:
        await runtime.stop()


def check(stage: Stage, answer: Answer, fate: Fate) -> None:
    """The client's blocks, the row and the pane, each against what is specified."""
    assert answer.stop == fate.stop
    assert answer.problems == list(fate.problems)
    got = [{k: v for k, v in block.items() if k != "id"} for block in answer.blocks]
    calls = [block for block in answer.blocks if block["type"] == "tool_use"]
    if fate.blocks[0]["type"] == "text":
        assert calls == []
        assert "".join(b["text"] for b in got).startswith(f"I look.\n{fate.blocks[0]['text']}")
    else:
        assert got == [text("I look."), *fate.blocks]
    (row,) = answer.rows
    assert (row["verdict"], row["version"]) == (fate.verdict, fate.version)
    assert tuple(dict.fromkeys(repair["stage"] for repair in row["repairs"])) == fate.stages
    assert tuple(issue["rule"] for issue in row["issues"]) == fate.rules
    assert row["repaired"] == bool(fate.stages)
    assert 0 < row["tokens"] <= answer.tokens and row["ms"] > 0
    if calls:
        assert [block["id"] for block in calls] == [row["tool_use_id"]]
        assert calls[0]["name"] == row["name"]
    else:
        assert row["tool_use_id"] == ""
    if calls and not fate.problems:
        final = {"name": calls[0]["name"], "input": calls[0]["input"]}
        assert json.loads(row["final"]) == final
    else:
        assert row["final"] == ""
    if fate.verdict in ("valid", "repaired", "regenerated"):
        jsonschema.validate(calls[0]["input"], SCHEMAS[calls[0]["name"]])
    check_pane(stage.store, row)


def check_pane(store: Store, row: dict[str, Any]) -> None:
    errors = [e for e in store.tool_errors if e.call.request_id == row["request_id"]]
    (seen,) = store.rows[row["request_id"]].calls
    for name in ("tool_use_id", "name", "verdict", "raw", "final", "version", "tokens", "ms"):
        assert getattr(seen, name) == row[name], name
    assert [issue.rule for issue in seen.issues] == [issue["rule"] for issue in row["issues"]]
    assert [fix.stage for fix in seen.repairs] == [fix["stage"] for fix in row["repairs"]]
    assert [error.call for error in errors] == ([] if row["verdict"] == "valid" else [seen])
    if errors:
        pane = plain_text(error_lines(errors, 0, 400))
        assert row["verdict"] in pane
        assert all(issue.text in pane for issue in seen.issues)
        assert all(fix.stage in pane for fix in seen.repairs)
        assert all(part in pane for part in row["raw"].strip().split("\n"))
        assert ("(not delivered)" in pane) is (row["final"] == "")


async def check_counters(stage: Stage) -> None:
    """``/metrics`` and the pane's totals are the sums of the rows."""
    rows = await stage.rows()
    names = [
        UNKNOWN if not row["name"] or row["name"] not in SCHEMAS else row["name"] for row in rows
    ]
    named = list(zip(names, rows, strict=True))
    verdicts = Counter((name, row["verdict"]) for name, row in named)
    assert await stage.counters("tool_calls_total", "tool", "verdict") == verdicts
    stages = Counter(
        (n, stage) for n, row in named for stage in {r["stage"] for r in row["repairs"]}
    )
    assert await stage.counters("tool_call_repairs_total", "tool", "stage") == stages
    rules = Counter((name, issue["rule"]) for name, row in named for issue in row["issues"])
    assert await stage.counters("tool_call_issues_total", "tool", "rule") == rules
    for counter, column, unit in (
        ("tool_call_tokens_total", "tokens", 1.0),
        ("tool_call_seconds_total", "ms", 1000.0),
    ):
        (total,) = (await stage.counters(counter)).values()
        assert total == pytest.approx(sum(row[column] for row in rows) / unit)
    assert stage.store.tool_calls_total == len(rows)
    assert stage.store.tool_calls_bad == sum(row["verdict"] != "valid" for row in rows)


@pytest.mark.parametrize("regenerate", [False, True])
async def test_every_way_is_mended_or_told_as_it_is(
    regenerate: bool, tmp_path: Path, embedded_model_dir: Path
) -> None:
    """Without a grammar nothing can be written again: then ``regenerate`` changes nothing."""
    tools = ToolSettings(constrain=False, regenerate=regenerate)
    async with staged(tmp_path, DoubleLoader(embedded_model_dir, answer_to), tools) as stage:
        for name, way in WAYS.items():
            whole = await stage.ask(name, stream=False, max_tokens=way.max_tokens)
            check(stage, whole, way.fate)
            streamed = await stage.ask(name, stream=True, max_tokens=way.max_tokens)
            check(stage, streamed, way.streamed or way.fate)
        await check_counters(stage)
        assert bool(stage.notes("can't be held to a call")) is regenerate


@pytest.mark.parametrize("regenerate", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_follows_a_broken_call_is_not_lost(
    regenerate: bool, stream: bool, tmp_path: Path, embedded_model_dir: Path
) -> None:
    tools = ToolSettings(constrain=False, regenerate=regenerate)
    async with staged(tmp_path, DoubleLoader(embedded_model_dir, answer_to), tools) as stage:
        answer = await stage.ask("two", stream=stream)
        assert (answer.problems, answer.stop) == ([], "tool_use")
        assert [block.get("input", block.get("text")) for block in answer.blocks] == [
            "I look.",
            {"limit": 5},
            {"command": "ls"},
            "\nDone.",
        ]
        assert [row["verdict"] for row in answer.rows] == ["failed", "valid"]
        for row in answer.rows:
            assert 0 < row["tokens"] < answer.tokens
        await check_counters(stage)


async def test_what_fails_is_shown_as_text_where_that_is_set(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    tools = ToolSettings(constrain=False, stream=False, on_invalid="text")
    async with staged(tmp_path, DoubleLoader(embedded_model_dir, answer_to), tools) as stage:
        for name, way in WAYS.items():
            fate = way.fate
            if fate.verdict == "failed":
                fate = replace(fate, blocks=(text(way.text),), stop="end_turn")
            for stream in (False, True):
                answer = await stage.ask(name, stream=stream, max_tokens=way.max_tokens)
                check(stage, answer, fate)
        await check_counters(stage)


# ------------------------------------------------------------------------------ written again


class Rewriting(TokenMemory):
    """Says something else when it is taken back to where it has been before."""

    second = ""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._longest: dict[tuple[int, ...], int] = {}
        self._again: set[tuple[int, ...]] = set()

    def _next(self, history: list[int]) -> int:
        at = self._prompt_end(history)
        if at is None:
            return self._eos
        prompt, written = tuple(history[:at]), history[at:]
        if len(written) < self._longest.get(prompt, 0):
            self._again.add(prompt)
        self._longest[prompt] = max(len(written), self._longest.get(prompt, 0))
        if prompt not in self._again:
            return super()._next(history)
        said = self._tokenizer.decode(written)
        if not self.second.startswith(said) or said == self.second:
            return self._eos
        ahead = self._tokenizer.encode(self.second[len(said) :], add_special_tokens=False)
        return int(ahead[0])


def rewriting(embedded: Path, first: str, second: str) -> Loader:
    """A model whose answer is ``first``, and ``second`` from where it is taken up again."""
    double = DoubleLoader(embedded, lambda prompt: first)

    def load(name: str, progress: Callable[[float, str], None]) -> LoadedModel:
        loaded = double(name, progress)
        words = loaded.tokenizer
        eos = words.convert_tokens_to_ids("<|im_end|>")
        model = Rewriting(words, len(words), eos, lambda prompt: first, double.gate)
        model.second = second
        return replace(loaded, model=model)

    return load


TWICE = "I look.\n" + call("Pick", '{"days": ["mon", "mon"]}')


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_the_grammar_let_through_is_written_again(
    stream: bool, tmp_path: Path, embedded_model_dir: Path
) -> None:
    """The grammar has no ``uniqueItems``, so such a call can break in spite of it."""
    right = "I look.\n" + call("Pick", '{"days": ["mon", "tue"]}')
    loader = rewriting(embedded_model_dir, TWICE, right)
    async with staged(tmp_path, loader, ToolSettings()) as stage:
        answer = await stage.ask("again", stream=stream)
        picked = use("Pick", days=["mon", "tue"])
        fate = Fate("regenerated", ("regenerated",), ("uniqueItems",), (picked,), version=2)
        check(stage, answer, fate)
        assert stage.notes("Pick is written again")
        assert not stage.notes("it can't be")
        await check_counters(stage)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("on_invalid", ["deliver", "text"])
async def test_a_call_that_is_wrong_twice_is_told_as_it_is(
    on_invalid: Any, stream: bool, tmp_path: Path, embedded_model_dir: Path
) -> None:
    wrong = call("Pick", '{"days": ["tue", "tue"]}')
    loader = rewriting(embedded_model_dir, TWICE, f"I look.\n{wrong}")
    async with staged(tmp_path, loader, ToolSettings(on_invalid=on_invalid)) as stage:
        answer = await stage.ask("again", stream=stream)
        fate = replace(failed("Pick", "uniqueItems", days=["tue", "tue"]), version=2)
        if on_invalid == "text":
            fate = replace(fate, blocks=(text(wrong),), stop="end_turn")
        check(stage, answer, fate)
        await check_counters(stage)


# --------------------------------------------------------------------------- what the tools become


async def events_of(stage: Stage, wanted: int) -> list[dict[str, Any]]:
    """The rows of ``events`` of kind tools, once there are so many."""
    while sum(event.kind == "tools" for event in stage.store.events) < wanted:
        async for event in stage.heard:
            stage.store.apply(event, 3.0)
            break
    result = await stage.runtime.control.sql(
        "select level, message, detail, request_id from events where kind = 'tools' order by rowid"
    )
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


async def test_what_became_of_a_tool_is_in_events_once_per_version(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    loader = DoubleLoader(embedded_model_dir, answer_to)
    async with staged(tmp_path, loader, ToolSettings()) as stage:
        first = await stage.ask("unknown tool", stream=False)
        await stage.ask("unknown tool", stream=True)
        rows = await events_of(stage, 2)
        assert [(row["level"], row["message"]) for row in rows] == [
            ("info", "Bash (version 1): the grammar gained 1 key"),
            ("info", "Pick (version 1): the grammar lost 1 key"),
        ]
        assert {row["request_id"] for row in rows} == {first.request_id}
        removed, why = rows[1]["detail"].split("\n")
        assert removed == "grammar: removed properties.days.uniqueItems"
        assert why.startswith("grammar: /properties/days: uniqueItems is not in the grammar: ")


PATTERNED = {
    "type": "object",
    "properties": {"file_path": {"type": "string"}},
    "required": ["file_path"],
    "dependentRequired": {"a": ["b"]},
    "propertyNames": {"minLength": 2},
    "not": {"required": ["x"]},
    "if": {"required": ["y"]},
}


async def test_examples_reach_the_prompt_and_the_count_and_great_losses_are_a_warning(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    prompts: list[str] = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        return "Yes."

    examples = [{"file_path": "a.py"}, {"file": "b.py"}, {"file_path": "ü/c.py"}]
    tool = {
        "name": "Read", "description": "Reads", "input_schema": PATTERNED,
        "input_examples": examples,
    }  # fmt: skip
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    loader = DoubleLoader(embedded_model_dir, answer)
    async with staged(tmp_path, loader, ToolSettings()) as stage:
        usages = []
        for _ in range(2):
            response = await stage.http.post("/v1/messages", json={**body, "tools": [tool]})
            assert response.status_code == 200, response.text
            usages.append(response.json()["usage"])
        counted = await stage.http.post("/v1/messages/count_tokens", json={**body, "tools": [tool]})
        plain = await stage.http.post(
            "/v1/messages/count_tokens", json={**body, "tools": [{**tool, "input_examples": []}]}
        )
        (row,) = await events_of(stage, 1)
    whole = [sum(v for k, v in usage.items() if k != "output_tokens") for usage in usages]
    tokens = counted.json()["input_tokens"]
    assert whole == [tokens, tokens]
    assert tokens > plain.json()["input_tokens"]
    told = json.dumps('Reads\n\nExamples of input:\n{"file_path":"a.py"}\n{"file_path":"ü/c.py"}',
                      ensure_ascii=False)  # fmt: skip
    assert prompts and all(told in prompt for prompt in prompts)
    assert len(set(prompts)) == 1
    assert row["level"] == "warning"
    assert row["message"] == (
        "Read (version 1): the prompt lost 1 key; the grammar lost 8 keys, gained 1 key"
    )
    assert "prompt: removed input_examples.1" in row["detail"]
    assert "grammar: removed not" in row["detail"]
