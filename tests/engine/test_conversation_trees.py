"""500 random conversation trees through the engine: nothing is computed twice, nothing is wrong.

What must be reused is worked out from the tokens alone: every prompt and what was generated for
it are noted, and message ends are told from the end-of-turn token. What must come out is worked
out by the bare model, which reads each prompt and its answer afresh.
"""

from __future__ import annotations

import asyncio
import bisect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.models.cache import make_prompt_cache
from numpy.typing import NDArray

from anyclaude.engine import ragged
from anyclaude.engine.engine import Engine, EngineOptions
from anyclaude.engine.load import LoadedModel
from anyclaude.events import Bus
from anyclaude.types import BackendRequest, Sampling, Tokens
from tests.doubles.token_model import embedded_base
from tests.engine.conftest import LIMITS, Answer, collect, phase
from tests.engine.random_talks import Talk, TalkTree
from tests.engine.tiny_models import Make, build, hybrid, plain, recurrent, rotating

VOCABULARY = 1024
MARGIN = 1e-3
END_OF_MESSAGE = (2, 198)
"""``<|im_end|>`` and a line break, never part of anything else."""
EOS = END_OF_MESSAGE[0]
REQUESTS = 6
"""For each tree; of these some are several requests at once."""
AT_ONCE = (1, 1, 1, 1, 2, 3)
ANSWERS = (0, 1, 2, 3, 4, 6)
"""How many tokens may be written."""

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
        return max((len(os.path.commonprefix([run, tokens])) for run in near), default=0)


def last_message_end(tokens: Tokens, limit: int) -> int:
    width = len(END_OF_MESSAGE)
    ends = range(limit, width - 1, -1)
    return next((at for at in ends if tokens[at - width : at] == END_OF_MESSAGE), 0)


class Watched(nn.Module):
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
            mx.async_eval(last)
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
        )


@dataclass
class Trees:
    """One engine, and what it did for every conversation so far."""

    engine: Engine
    model: Watched
    exact: bool
    computed: Computed = field(default_factory=Computed)
    requests: int = 0
    reused: int = 0
    passes_seen: int = 0

    async def grow(self, seed: int) -> None:
        tree = TalkTree(seed)
        for step in range(REQUESTS):
            talks = [tree.next() for _ in range(tree.rng.choice(AT_ONCE) if step else 1)]
            limits = [tree.rng.choice(ANSWERS) for _ in talks]
            about = f"tree {seed}, step {step}, after {tree.moves}"
            for talk, tokens, text in await self._ask(talks, limits, f"talk_{seed}", about):
                tree.answered(talk, tokens, text)

    async def _ask(
        self, talks: Sequence[Talk], limits: Sequence[int], session: str, about: str
    ) -> list[tuple[Talk, Tokens, str]]:
        asked: list[BackendRequest] = []
        for talk, limit in zip(talks, limits, strict=True):
            self.requests += 1
            asked.append(talk.request(f"req_{self.requests}", session, limit))
        prompts = [self._prompt(request) for request in asked]
        due = [self.computed.prefix(prompt) for prompt in prompts]
        self.model.passes()
        open_ = [await self.engine.open(request) for request in asked]
        answers = await asyncio.wait_for(asyncio.gather(*map(collect, open_)), 30)
        passes = self.model.passes() if len(asked) == 1 else []
        whole = [
            (*a.finish.tokens, EOS) if a.finish.reason == "stop" else a.finish.tokens
            for a in answers
        ]
        for prompt, limit, written in zip(prompts, limits, whole, strict=True):
            self.computed.add(prompt + (written[:-1] if len(written) == limit else written))
        for prompt, answer, written, least in zip(prompts, answers, whole, due, strict=True):
            assert answer.finish.usage.prompt_tokens == len(prompt), about
            self._check_reuse(prompt, answer, least, about, alone=len(asked) == 1)
            self._check_answer(prompt, answer, written, passes, about)
        return [
            (talk, answer.finish.tokens, answer.text)
            for talk, answer in zip(talks, answers, strict=True)
        ]

    def _prompt(self, request: BackendRequest) -> Tokens:
        assert self.engine.model is not None
        return self.engine.model.template.render(request.request, request.echoes).tokens

    def _check_reuse(
        self, prompt: Tokens, answer: Answer, held: int, about: str, *, alone: bool
    ) -> None:
        most = held if alone else self.computed.prefix(prompt)
        least = held - 1 if self.exact else last_message_end(prompt, min(held, len(prompt) - 1))
        assert least <= answer.read <= most, f"{about}: {held} of {len(prompt)} were computed"
        self.reused += answer.read

    def _check_answer(
        self,
        prompt: Tokens,
        answer: Answer,
        written: Tokens,
        passes: Sequence[tuple[int, mx.array]],
        about: str,
    ) -> None:
        if not written:
            return
        cold = self.model.cold_scores(prompt, written)
        top = np.partition(cold, -2)[:, -2:]
        for at, token in enumerate(written):
            second, best = top[at]
            chosen = cold[at, token]
            if best - second > MARGIN:
                assert chosen == best, f"{about}: token {at} is {token}, behind by {best - chosen}"
            else:
                assert best - chosen <= MARGIN, f"{about}: token {at} is {token}"
        fed = answer.read
        for count, scores in passes:
            fed += count
            if fed >= len(prompt):
                off = np.abs(np.array(scores) - cold[fed - len(prompt)]).max()
                assert off <= MARGIN, f"{about}: scores after {fed} tokens are off by {off}"
                self.passes_seen += 1


@pytest.mark.parametrize("block", range(10))
@pytest.mark.parametrize(
    ("make", "trees"), [(plain, 20), (rotating, 10), (recurrent, 10), (hybrid, 10)]
)
async def test_conversations_reuse_what_they_share_and_answer_as_if_cold(
    embedded_model_dir: Path, make: Make, trees: int, block: int
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
        grown = Trees(engine, loader.model, exact=make is plain)
        for seed in range(block * trees, (block + 1) * trees):
            await grown.grow(seed)
        assert grown.passes_seen > trees
        print(make.__name__, grown.requests, grown.reused, sum(map(len, grown.computed.runs)), grown.passes_seen)
    finally:
        await engine.stop()
