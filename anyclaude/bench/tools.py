"""How well a model calls tools: the cases asked over HTTP, with its calls constrained and free.

What comes is read as a client reads it, and judged here against the schema that was sent, not by
the server's own validation. Every pass has a server and a folder of its own, so that none finds
what another left in a cache.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias, cast

import httpx
from jsonschema import Draft202012Validator

from anyclaude.bench.client import NO_CERTIFICATES, TIMEOUT, UNCACHED
from anyclaude.bench.grammar import check_sse
from anyclaude.bench.process import OwnServer
from anyclaude.bench.run import Progress, about_machine, put_model
from anyclaude.bench.sse import lines_of
from anyclaude.bench.tool_cases import KINDS, Case, Kind
from anyclaude.config.settings import Settings
from anyclaude.engine.catalog import Catalog
from anyclaude.errors import AnyclaudeError
from anyclaude.types import JsonObject, JsonValue

Choice: TypeAlias = Literal["auto", "any"]


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """What to ask: ``cases`` of each model, with the calls constrained or not as ``modes`` say.

    ``choice`` is the tool_choice where a call is right; where none is, it is auto.
    """

    models: tuple[str, ...]
    cases: tuple[Case, ...]
    modes: tuple[bool, ...]
    choice: Choice
    max_tokens: int

    def body(self, case: Case) -> dict[str, JsonValue]:
        return {
            "model": "bench",
            "max_tokens": self.max_tokens,
            "stream": True,
            "temperature": 0.0,
            "tools": list(case.tools),
            "tool_choice": {"type": self.choice if case.calls else "auto"},
            "messages": [{"role": "user", "content": case.question}],
        }


@dataclass(frozen=True, slots=True)
class Called:
    """A call as it came. ``arguments`` is its JSON text; ``valid`` by the schema that was sent."""

    tool: str
    arguments: str
    valid: bool


@dataclass(slots=True)
class Outcome:
    """What became of one case. ``calls`` are those delivered whole; ``cut`` says that max_tokens
    ended the answer; ``problem`` is empty for a well-formed one. ``seconds`` to its end."""

    model: str
    constrained: bool
    kind: Kind
    case: str
    calls: list[Called] = field(default_factory=list)
    right: bool = False
    cut: bool = False
    tokens: int = 0
    seconds: float = 0.0
    text: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """The sums of a kind. ``right`` and ``cut`` count requests, ``valid`` counts calls."""

    model: str
    constrained: bool
    kind: str
    requests: int
    calls: int
    valid: int
    right: int
    cut: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ToolReport:
    """The outcomes of a run and how they were taken."""

    outcomes: Sequence[Outcome]
    about: JsonObject

    def rows(self) -> list[Row]:
        """A row for every kind, and one for all where there are several."""
        return list(_rows(self.outcomes))

    def notes(self) -> list[str]:
        """What a reader has to know of answers that weren't well-formed."""
        return [
            f"{one.model}, {_mode(one.constrained)}, {one.kind}, {one.case}: {one.problem}"
            for one in self.outcomes
            if one.problem
        ]

    def json(self) -> dict[str, JsonValue]:
        return {
            **self.about,
            "notes": list(self.notes()),
            "rows": [asdict(row) for row in self.rows()],
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
        }


HEADINGS = (
    "model", "constraint", "kind", "requests", "calls", "valid", "right", "cut", "tokens",
    "seconds",
)  # fmt: skip


def cells_of(report: ToolReport) -> list[tuple[str | int | float, ...]]:
    """The rows under :data:`HEADINGS`."""
    return [
        (
            row.model, "on" if row.constrained else "off", row.kind, row.requests, row.calls,
            row.valid, row.right, row.cut, row.tokens, round(row.seconds, 1),
        )
        for row in report.rows()
    ]  # fmt: skip


def markdown(report: ToolReport) -> str:
    """The rows as a Markdown table."""
    lines = [HEADINGS, (*["---"] * 3, *["---:"] * 7), *cells_of(report)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


async def run_tools(plan: ToolPlan, settings: Settings, progress: Progress) -> ToolReport:
    """Asks everything, on folders and processes of its own that are gone afterwards.

    Raises NotFound before anything is started if a model isn't there, AnyclaudeError when a
    server fails.
    """
    for model in plan.models:
        Catalog(settings.data_dir).resolve(model)
    outcomes: list[Outcome] = []
    passes = [(model, mode) for model in plan.models for mode in plan.modes]
    total = len(passes) * len(plan.cases)
    for model, constrained in passes:
        what = f"{model}, {_mode(constrained)}"
        progress(len(outcomes) / total, f"{what}: starting anyclaude serve")
        tools = replace(settings.tools, constrain=constrained)
        with tempfile.TemporaryDirectory(
            prefix="anyclaude-bench-", ignore_cleanup_errors=True
        ) as kept:
            folder = Path(kept)
            name = put_model(folder, settings.data_dir, model)
            own = OwnServer(folder, replace(settings, tools=tools), name)
            try:
                await own.start()
                async for outcome in ask_all(plan, own.address, model, constrained):
                    outcomes.append(outcome)
                    progress(len(outcomes) / total, f"{what}: {outcome.kind}")
            finally:
                await own.stop()
    progress(1.0, "done")
    return ToolReport(outcomes, _about(plan))


async def ask_all(
    plan: ToolPlan, address: str, model: str, constrained: bool
) -> AsyncIterator[Outcome]:
    """The outcome of each case as it ends; one short answer first, which isn't counted.

    Raises AnyclaudeError when the server is gone; an answer that isn't one is a problem.
    """
    async with httpx.AsyncClient(
        base_url=address, timeout=TIMEOUT, trust_env=False, verify=NO_CERTIFICATES
    ) as http:
        try:
            warm = {"messages": [{"role": "user", "content": "Warm up."}], "max_tokens": 4}
            await http.post("/v1/messages", json={"model": "bench", **warm}, headers=_KEY)
            for case in plan.cases:
                outcome = Outcome(model, constrained, case.kind, case.name)
                await _ask(http, plan.body(case), case, outcome)
                yield outcome
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            raise AnyclaudeError(f"anyclaude broke off at {address}: {what}") from error


_KEY = dict([("x-api-key", "local"), UNCACHED])


async def _ask(
    http: httpx.AsyncClient, body: Mapping[str, JsonValue], case: Case, outcome: Outcome
) -> None:
    started = time.perf_counter()
    async with http.stream("POST", "/v1/messages", json=body, headers=_KEY) as response:
        if response.status_code != 200:
            said = (await response.aread())[:300].decode(errors="replace")
            outcome.problem = f"{response.status_code} {said}"
        else:
            judge([line async for line in lines_of(response)], case, outcome)
    outcome.seconds = time.perf_counter() - started


def judge(lines: Sequence[str], case: Case, outcome: Outcome) -> None:
    """Puts into ``outcome`` what the lines of a streamed answer come to."""
    verdict = check_sse(lines)
    outcome.cut = verdict.stop_reason == "max_tokens"
    outcome.tokens = (verdict.usage or {}).get("output_tokens", 0)
    outcome.text = verdict.text
    calls = [(tool, text, _object(text)) for tool, text in _calls(lines)]
    unfinished = outcome.cut and bool(calls) and calls[-1][2] is None
    if unfinished:
        calls.pop()
    outcome.calls = [
        Called(tool, text, arguments is not None and _valid(case, tool, arguments))
        for tool, text, arguments in calls
    ]
    problems = [
        problem
        for problem in verdict.problems
        if not (unfinished and problem.startswith("the arguments of a call"))
    ]
    if problems:
        outcome.problem = "; ".join(problems)
    elif verdict.error is not None:
        outcome.problem = f"the stream ended in {json.dumps(verdict.error)}"
    whole = [(tool, arguments) for tool, _, arguments in calls if arguments is not None]
    outcome.right = (
        not outcome.problem and not unfinished and len(whole) == len(calls) and case.right(whole)
    )


def _calls(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Name and JSON text of every call that a stream began."""
    found: dict[int, tuple[str, str]] = {}
    for line in lines:
        if not line.startswith("data: "):
            continue
        # What is wrong with the stream, the reading of the protocol has said already.
        with suppress(ValueError, KeyError, TypeError):
            event = json.loads(line.removeprefix("data: "))
            if event["type"] == "content_block_start":
                if event["content_block"]["type"] == "tool_use":
                    found[event["index"]] = (event["content_block"]["name"], "")
            elif event["type"] == "content_block_delta" and event["index"] in found:
                tool, text = found[event["index"]]
                found[event["index"]] = (tool, text + event["delta"]["partial_json"])
    return list(found.values())


def _object(text: str) -> dict[str, object] | None:
    """The arguments that a client reads; ``None`` for what isn't an object."""
    try:
        value: object = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _valid(case: Case, tool: str, arguments: Mapping[str, object]) -> bool:
    schema = case.schema(tool)
    return schema is not None and Draft202012Validator(schema).is_valid(arguments)


def _rows(outcomes: Sequence[Outcome]) -> Iterator[Row]:
    for model, constrained in dict.fromkeys((one.model, one.constrained) for one in outcomes):
        own = [o for o in outcomes if (o.model, o.constrained) == (model, constrained)]
        kinds = [kind for kind in KINDS if any(one.kind == kind for one in own)]
        for kind in kinds:
            yield _row(model, constrained, kind, [one for one in own if one.kind == kind])
        if len(kinds) > 1:
            yield _row(model, constrained, "all", own)


def _row(model: str, constrained: bool, kind: str, outcomes: Sequence[Outcome]) -> Row:
    return Row(
        model,
        constrained,
        kind,
        requests=len(outcomes),
        calls=sum(len(one.calls) for one in outcomes),
        valid=sum(call.valid for one in outcomes for call in one.calls),
        right=sum(one.right for one in outcomes),
        cut=sum(one.cut for one in outcomes),
        tokens=sum(one.tokens for one in outcomes),
        seconds=sum(one.seconds for one in outcomes),
    )


def _mode(constrained: bool) -> str:
    return f"constraint {'on' if constrained else 'off'}"


def _about(plan: ToolPlan) -> JsonObject:
    return {
        **about_machine(),
        "models": list(plan.models),
        "tool_choice": plan.choice,
        "max_tokens": plan.max_tokens,
        "cases": len(plan.cases),
    }
