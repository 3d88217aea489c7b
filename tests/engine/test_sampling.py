"""Whose sampling figures count, and what they do to a distribution."""

from __future__ import annotations

import mlx.core as mx
import pytest

from anyclaude.engine.sampling import ResolvedSampling, make_sampler, resolve_sampling
from anyclaude.types import Sampling


def test_request_over_config_over_model_each_figure_alone() -> None:
    resolved = resolve_sampling(
        Sampling(temperature=0.0), Sampling(temperature=0.5, top_p=0.8), Sampling(0.7, 0.9, 20)
    )
    assert resolved == ResolvedSampling(0.0, 0.8, 20)


def test_greedy_when_nobody_says() -> None:
    assert resolve_sampling(Sampling(), Sampling(), Sampling()) == ResolvedSampling(0.0, 1.0, 0)


def drawn(sampling: ResolvedSampling, logits: list[float], draws: int = 200) -> set[int]:
    mx.random.seed(7)
    sampler = make_sampler(sampling)
    logprobs = mx.broadcast_to(mx.array(logits)[None], (draws, len(logits)))
    logprobs = logprobs - mx.logsumexp(logprobs, axis=-1, keepdims=True)
    tokens: list[int] = sampler(logprobs).tolist()  # type: ignore[assignment]
    return set(tokens)


EVEN = [1.0, 1.1, 1.2, 1.3]


@pytest.mark.parametrize(
    ("sampling", "tokens"),
    [
        (ResolvedSampling(), {3}),
        (ResolvedSampling(1.0, 1.0, 0), {0, 1, 2, 3}),
        (ResolvedSampling(1.0, 1.0, 2), {2, 3}),
        (ResolvedSampling(1.0, 1.0, 1), {3}),
        (ResolvedSampling(1.0, 0.0, 0), {3}),
        (ResolvedSampling(1.0, 0.5, 0), {2, 3}),
    ],
)
def test_limits_hold(sampling: ResolvedSampling, tokens: set[int]) -> None:
    assert drawn(sampling, EVEN) == tokens
