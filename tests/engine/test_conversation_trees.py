"""500 random conversation trees through the engine: nothing is computed twice, nothing is wrong.

What must be reused is worked out from the tokens alone: every prompt and what was generated for
it are noted, and message ends are told from the end-of-turn token. What must come out is worked
out by the bare model, which reads each prompt and its answer afresh.
"""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.models.cache import make_prompt_cache
from numpy.typing import NDArray

from anyclaude.backend import BackendRequest
from anyclaude.engine import ragged, stacked
from anyclaude.engine.engine import Engine, EngineOptions
from anyclaude.engine.load import LoadedModel
from anyclaude.events import Bus
from anyclaude.types import Sampling, Tokens
from tests.doubles.token_model import embedded_base
from tests.engine.conftest import LIMITS, Answer, collect, phase
from tests.engine.random_talks import Talk, TalkTree
from tests.engine.tiny_models import Make, build, hybrid, plain, recurrent, rotating

VOCABULARY = 1024
MARGIN = 1e-3
END_OF_MESSAGE = (2, 198)
"""``<|im_end|>`` and a line break, never part of anything else."""
EOS = END_OF_MESSAGE[0]
STEPS = 5
"""For each tree, of one or more requests at once."""
AT_ONCE = (1, 1, 1, 1, 2, 3)
CHECKED = 0.35
"""How many of the steps are compared with the bare model."""
ANSWERS = (0, 1, 2, 3, 4, 6)
"""How many tokens may be written; with none, the prompt is read all the same."""

OPTIONS = EngineOptions(
    replace(LIMITS, prefill_chunk=32), max_waiting=4, context_limit=0, sampling=Sampling()
)


@dataclass
class Computed:
    """All token runs that the engine has computed KV for."""

    runs: list[Tokens] = field(default_factory=list)

    def add(self, run: Tokens) -> None:
        bisect.insort(self.runs, run)

    def prefix(self, tokens: Tokens) -> int:
        """How many of the first tokens some run begins with."""
        at = bisect.bisect(self.runs, tokens)
        near = self.runs[max(0, at - 1) : at + 1]  # In this order, the most alike are neighbours.
        return max((common(run, tokens) for run in near), default=0)


def common(one: Tokens, other: Tokens) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def last_message_end(tokens: Tokens, limit: int) -> int:
    width = len(END_OF_MESSAGE)
    ends = range(limit, width - 1, -1)
    return next((at for at in ends if tokens[at - width : at] == END_OF_MESSAGE), 0)


class Watched(nn.Module):  # type: ignore[misc]
    """A model of few words, and the scores of each of its passes over a single row.

    Tokens beyond its vocabulary are taken for ones within, which keeps passes short. ``passes``
    are pairs of how many tokens were fed and the scores after the last of them.
    """

    def __init__(self, make: Make) -> None:
        super().__init__()
        self.inner = build(make, VOCABULARY)
        self._passes: list[tuple[int, mx.array]] = []

    def make_cache(self) -> list[object]:
        return list(make_prompt_cache(self.inner))

    def __call__(self, inputs: mx.array, cache: list[object]) -> mx.array:
        logits: mx.array = self.inner(inputs % VOCABULARY, cache=cache)
        if inputs.shape[0] == 1:
            last = logits[0, -1]
            mx.async_eval(last)  # type: ignore[no-untyped-call]
            self._passes.append((inputs.shape[1], last))
        return logits

    def passes(self) -> list[tuple[int, mx.array]]:
        """Those since the last call."""
        passes, self._passes = self._passes, []
        return passes

    def cold_scores(self, prompt: Tokens, written: Tokens) -> NDArray[np.float32]:
        """The scores before each token of an answer, read afresh in two passes."""
        caches = self.make_cache()
        self.inner(mx.array([prompt[:-1]]) % VOCABULARY, cache=caches)
        last = mx.array([[prompt[-1], *written[:-1]]])
        return np.array(self.inner(last % VOCABULARY, cache=caches)[0])


class WatchedLoader:
    """The embedded model's tokenizer and template over a watched model."""

    def __init__(self, embedded: Path, make: Make) -> None:
        self._embedded = embedded
        self._make = make
        self.model: Watched

    def __call__(self, name: str, progress: Callable[[float, str], None]) -> LoadedModel:
        self.model = Watched(self._make)
        return replace(
            embedded_base(self._embedded),
            name=name,
            model=self.model,
            defaults=Sampling(),
            rows_share_passes=ragged.fits(self.model, VOCABULARY),
            rows_stack=stacked.fits(self.model, VOCABULARY),
        )


@dataclass(frozen=True)
class Case:
    """One request: its prompt, how much of that was computed before, and what came of it."""

    about: str
    prompt: Tokens
    held: int
    answer: Answer
    written: Tokens
    """The answer with the token that ended it."""


@dataclass
class Trees:
    """One engine, and what it did for all conversations so far."""

    engine: Engine
    model: Watched
    exact: bool
    computed: Computed = field(default_factory=Computed)
    requests: int = 0
    passes_compared: int = 0

    async def grow(self, seed: int) -> None:
        tree = TalkTree(seed)
        for step in range(STEPS):
            talks = [tree.next() for _ in range(tree.rng.choice(AT_ONCE) if step else 1)]
            about = f"tree {seed}, step {step}, moves {tree.moves}"
            asked = [self._request(talk, seed, tree.rng.choice(ANSWERS)) for talk in talks]
            self.model.passes()
            cases = await self._ask(asked, about)
            for case in cases:
                self._check_reuse(case, alone=len(cases) == 1)
            if tree.rng.random() < CHECKED:
                passes = self.model.passes() if len(cases) == 1 else []
                for case in cases:
                    self._check_answer(case, passes)
            for talk, case in zip(talks, cases, strict=True):
                tree.answered(talk, case.answer.finish.tokens, case.answer.text)

    def _request(self, talk: Talk, seed: int, max_tokens: int) -> BackendRequest:
        self.requests += 1
        return talk.request(f"req_{self.requests}", f"session_{seed}", max_tokens)

    async def _ask(self, asked: Sequence[BackendRequest], about: str) -> list[Case]:
        assert self.engine.model is not None
        render = self.engine.model.template.render
        prompts = [render(request.request, request.echoes).tokens for request in asked]
        held = [self.computed.prefix(prompt) for prompt in prompts]
        generations = [await self.engine.open(request) for request in asked]
        answers = await asyncio.wait_for(asyncio.gather(*map(collect, generations)), 60)
        cases = []
        for request, prompt, length, answer in zip(asked, prompts, held, answers, strict=True):
            ended = (EOS,) if answer.finish.reason == "stop" else ()
            written = answer.finish.tokens + ended
            cases.append(Case(about, prompt, length, answer, written))
            # A pass is under way when a token is looked at, but not after the last one allowed.
            full = len(written) == request.request.max_tokens
            self.computed.add(prompt + (written[:-1] if full else written))
        return cases

    def _check_reuse(self, case: Case, *, alone: bool) -> None:
        prompt, held = case.prompt, case.held
        assert case.answer.finish.usage.prompt_tokens == len(prompt), case.about
        least = held - 1 if self.exact else last_message_end(prompt, min(held, len(prompt) - 1))
        most = held if alone else self.computed.prefix(prompt)
        said = f"{case.about}: reused {case.answer.read} of {len(prompt)}, {held} were computed"
        assert least <= case.answer.read <= most, said

    def _check_answer(self, case: Case, passes: Sequence[tuple[int, mx.array]]) -> None:
        if not case.written:
            return
        cold = self.model.cold_scores(case.prompt, case.written)
        for number, (token, scores) in enumerate(zip(case.written, cold, strict=True)):
            second, best = np.partition(scores, -2)[-2:]
            behind = best - scores[token]
            said = f"{case.about}: token {number} is {token}, {behind} behind the likeliest"
            assert behind <= (0 if best - second > MARGIN else MARGIN), said
        fed = case.answer.read
        for count, scores in passes:
            fed += count
            if fed >= len(case.prompt):
                off = np.abs(np.array(scores) - cold[fed - len(case.prompt)]).max()
                assert off <= MARGIN, f"{case.about}: scores after {fed} tokens are off by {off}"
                self.passes_compared += 1


@pytest.mark.parametrize(
    ("make", "first"),
    [
        *((plain, first) for first in (0, 50, 100, 150)),
        *((make, first) for make in (rotating, recurrent, hybrid) for first in (0, 50)),
    ],
)
async def test_conversations_reuse_what_they_share_and_answer_as_if_cold(
    embedded_model_dir: Path, make: Make, first: int
) -> None:
    bus = Bus()
    events = bus.subscribe()
    loader = WatchedLoader(embedded_model_dir, make)
    engine = Engine(loader, OPTIONS, bus)
    engine.start()
    try:
        engine.load(make.__name__)
        state = await asyncio.wait_for(phase(events, "ready", "failed"), 60)
        assert state.phase == "ready", state.detail
        trees = Trees(engine, loader.model, exact=make is plain)
        for seed in range(first, first + 50):
            await trees.grow(seed)
        assert trees.passes_compared > 50
    finally:
        await engine.stop()
