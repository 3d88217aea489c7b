"""How the next token is picked: the request's wish, else the configuration's, else the model's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from anyclaude.types import Sampling

if TYPE_CHECKING:
    import mlx.core as mx

_T = TypeVar("_T", float, int)

TINY = 1e-6
"""Below this, a temperature or ``top_p`` means greedy; float32 would turn it into NaN or noise."""


@dataclass(frozen=True, slots=True)
class ResolvedSampling:
    """Concrete figures. ``temperature`` 0 is greedy, ``top_p`` 1 and ``top_k`` 0 are off."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0

    @property
    def greedy(self) -> bool:
        """Whether only the likeliest token can come out."""
        return min(self.temperature, self.top_p) < TINY or self.top_k == 1


def resolve_sampling(request: Sampling, config: Sampling, model: Sampling) -> ResolvedSampling:
    """Each figure on its own, from the first of the three that has it."""

    def first(a: _T | None, b: _T | None, c: _T | None, neutral: _T) -> _T:
        return next((value for value in (a, b, c) if value is not None), neutral)

    return ResolvedSampling(
        temperature=first(request.temperature, config.temperature, model.temperature, 0.0),
        top_p=first(request.top_p, config.top_p, model.top_p, 1.0),
        top_k=first(request.top_k, config.top_k, model.top_k, 0),
    )


def make_sampler(sampling: ResolvedSampling) -> Callable[[mx.array], mx.array]:
    """mlx-lm's sampler: log-probabilities in, token ids out.

    A ``top_p`` of 0 keeps the likeliest token only, as does a ``top_k`` of 1; mlx-lm itself
    would read the former as no limit, and fails on a ``top_k`` that isn't below the vocabulary.
    """
    from mlx_lm import sample_utils

    greedy = sampling.greedy

    def make(top_k: int) -> Callable[[mx.array], mx.array]:
        sampler: Callable[[mx.array], mx.array] = sample_utils.make_sampler(
            temp=0.0 if greedy else sampling.temperature, top_p=sampling.top_p, top_k=top_k
        )
        return sampler

    unlimited = make(0)
    if greedy or sampling.top_k <= 0:
        return unlimited
    limited = make(sampling.top_k)

    def sample(logprobs: mx.array) -> mx.array:
        return (limited if sampling.top_k < logprobs.shape[-1] else unlimited)(logprobs)

    return sample
