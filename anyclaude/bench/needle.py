"""What is still known of a long conversation, by what is done when it is longer than the window.

One fact a conversation, asked over HTTP on a server of our own for each policy. A scripted model
knows a fact exactly if its sentence stands in the prompt, so it tells what a policy keeps; any
other tells what a model makes of it besides.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeAlias

import httpx

from anyclaude.bench.client import NO_CERTIFICATES, TIMEOUT, UNCACHED
from anyclaude.bench.needle_cases import Needle, Place
from anyclaude.bench.process import OwnServer
from anyclaude.bench.run import Progress, about_machine, put_model
from anyclaude.config.settings import Overflow, Settings
from anyclaude.errors import AnyclaudeError
from anyclaude.script import PREFIX
from anyclaude.types import JsonObject, JsonValue

SCRIPTED = "scripted"
"""The name of the model that knows what is in its prompt, and nothing else."""

_KEY = dict([("x-api-key", "local"), UNCACHED])
_UNKNOWN = "That is not known."


@dataclass(frozen=True, slots=True)
class NeedlePlan:
    """``window`` in tokens, 0 for the model's own; ``max_tokens`` of each answer."""

    model: str
    policies: tuple[Overflow, ...]
    needles: tuple[Needle, ...]
    window: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one fact. ``tokens`` are those of the prompt that the model was given; a
    ``problem`` is what the server said instead of an answer."""

    policy: Overflow
    length: int
    place: Place
    right: bool
    tokens: int
    text: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NeedleReport:
    """The outcomes of a run and how they were taken."""

    outcomes: Sequence[Found]
    about: JsonObject

    def json(self) -> dict[str, JsonValue]:
        return {**self.about, "outcomes": [asdict(outcome) for outcome in self.outcomes]}

    def notes(self) -> list[str]:
        """What was said instead of answers, for each policy and length."""
        found: dict[tuple[Overflow, int], list[str]] = {}
        for one in self.outcomes:
            if one.problem:
                found.setdefault((one.policy, one.length), []).append(one.problem)
        return [
            f"{policy}, {length}: {len(said)} without an answer, such as: {said[0]}"
            for (policy, length), said in found.items()
        ]

    def share(self, policy: Overflow, places: Sequence[Place], length: int = 0) -> float | None:
        """The share of facts that were known; ``None`` where none was asked for."""
        own = [
            one.right
            for one in self.outcomes
            if one.policy == policy and one.place in places and length in (0, one.length)
        ]
        return sum(own) / len(own) if own else None


Cell: TypeAlias = str | int


def headings(report: NeedleReport) -> tuple[str, ...]:
    return ("policy", "length", "prompt", *_places(report))


def cells_of(report: NeedleReport) -> list[tuple[Cell, ...]]:
    """A row for each policy and length: facts known of those asked for, by place."""
    rows: list[tuple[Cell, ...]] = []
    for policy, length in dict.fromkeys((one.policy, one.length) for one in report.outcomes):
        own = [o for o in report.outcomes if (o.policy, o.length) == (policy, length)]
        most = max(one.tokens for one in own)
        rows.append((policy, length, most, *(_known(own, place) for place in _places(report))))
    return rows


def markdown(report: NeedleReport) -> str:
    """The rows as a Markdown table."""
    named = headings(report)
    lines: list[Sequence[Cell]] = [named, ["---", *["---:"] * (len(named) - 1)], *cells_of(report)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _places(report: NeedleReport) -> tuple[Place, ...]:
    return tuple(dict.fromkeys(one.place for one in report.outcomes))


def _known(outcomes: Sequence[Found], place: Place) -> str:
    own = [one for one in outcomes if one.place == place]
    if own and all(one.problem for one in own):
        return "refused"
    return f"{sum(one.right for one in own)}/{len(own)}"


async def run_needles(plan: NeedlePlan, settings: Settings, progress: Progress) -> NeedleReport:
    """Asks everything, on folders and processes of its own that are gone afterwards.

    Raises NotFound if the model isn't there, AnyclaudeError when a server fails.
    """
    outcomes: list[Found] = []
    total = len(plan.policies) * len(plan.needles)
    for policy in plan.policies:
        progress(len(outcomes) / total, f"{policy}: starting anyclaude serve")
        with tempfile.TemporaryDirectory(
            prefix="anyclaude-bench-", ignore_cleanup_errors=True
        ) as kept:
            folder = Path(kept)
            model = _model(plan, folder, settings)
            summaries = settings.prompt.summaries if policy == "compress" else "extract"
            shaped = replace(
                settings,
                prompt=replace(settings.prompt, overflow=policy, summaries=summaries),
                model=replace(settings.model, context_limit=plan.window),
            )
            own = OwnServer(folder, shaped, model)
            try:
                await own.start()
                for needle in plan.needles:
                    outcomes.append(await _ask(own.address, plan, policy, needle))
                    progress(len(outcomes) / total, f"{policy}: {needle.place}")
            finally:
                await own.stop()
    progress(1.0, "done")
    about = {**about_machine(), "model": plan.model, "window": plan.window}
    return NeedleReport(outcomes, about)


def _model(plan: NeedlePlan, folder: Path, settings: Settings) -> str:
    if plan.model != SCRIPTED:
        return put_model(folder, settings.data_dir, plan.model)
    script = folder / "needles.toml"
    script.write_text(_script(plan.needles), "utf-8")
    return f"{PREFIX}{script}"


def _script(needles: Sequence[Needle]) -> str:
    """Each fact is known where its sentence is; JSON's strings are TOML's."""
    answers = [
        f"[[answers]]\nwhen = {json.dumps(needle.fact)}\nsays = {json.dumps(needle.value)}\n"
        for needle in needles
    ]
    return f"otherwise = {json.dumps(_UNKNOWN)}\n\n" + "\n".join(answers)


async def _ask(address: str, plan: NeedlePlan, policy: Overflow, needle: Needle) -> Found:
    async with httpx.AsyncClient(
        base_url=address, timeout=TIMEOUT, trust_env=False, verify=NO_CERTIFICATES
    ) as http:
        try:
            body = needle.body(plan.max_tokens)
            answer = await http.post("/v1/messages", json=body, headers=_KEY)
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            raise AnyclaudeError(f"anyclaude broke off at {address}: {what}") from error
    said = answer.json()
    if answer.status_code != 200:
        problem = f"{answer.status_code} {said['error']['message']}"
        return Found(policy, needle.tokens, needle.place, False, 0, "", problem)
    text = "".join(block.get("text", "") for block in said["content"])
    usage = said["usage"]
    tokens = sum(
        usage[name]
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    return Found(policy, needle.tokens, needle.place, needle.value in text, tokens, text)
