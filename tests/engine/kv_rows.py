"""Rows over tiny models, and a layout over bare caches, for what goes in and out of the tree."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models import llama
from mlx_lm.models.cache import CacheList, KVCache

from anyclaude.engine.kv import KVCutter, KVTree, Layout, RowCaches
from anyclaude.types import Tokens
from tests.engine.tiny_models import Make, hybrid, latent, plain, recurrent, rotating, sinks

VOCAB = 64


def one_kv_head(vocab: int) -> nn.Module:
    """A run of its KV is contiguous, so that a careless copy is a view."""
    return llama.Model(
        llama.ModelArgs(
            model_type="llama",
            hidden_size=128,
            num_hidden_layers=2,
            intermediate_size=64,
            num_attention_heads=2,
            num_key_value_heads=1,
            rms_norm_eps=1e-5,
            vocab_size=vocab,
        )
    )


class Listed(nn.Module):
    """A llama whose layers keep their cache in a ``CacheList`` beside one that stays unused."""

    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.inner = plain(vocab)

    def make_cache(self) -> list[CacheList]:
        return [CacheList(KVCache(), CacheList(KVCache())) for _ in self.inner.layers]

    def __call__(self, inputs: mx.array, cache: list[CacheList]) -> mx.array:
        return self.inner(inputs, cache=[c[0] for c in cache])


MODELS: list[Make] = [plain, one_kv_head, latent, rotating, sinks, recurrent, hybrid, Listed]


def made(make: Make) -> nn.Module:
    mx.random.seed(3)
    model = make(VOCAB)
    mx.eval(model.parameters())
    return model


def run(model: nn.Module, caches: RowCaches, tokens: Tokens, chunk: int) -> list[mx.array]:
    """Feeds ``tokens`` in chunks; the logits of every position."""
    logits = []
    for start in range(0, len(tokens), chunk):
        piece = mx.array([tokens[start : start + chunk]])
        out = model(piece, cache=caches)
        mx.eval(out)
        logits += list(out[0])
    return logits


def tokens_of(seed: int, count: int) -> Tokens:
    return tuple((seed * 31 + i * i * 7 + i) % VOCAB for i in range(count))


def tree_of(layout: Layout, bits: int = 0) -> KVTree:
    return KVTree(KVCutter(bits), needs_state=not layout.plain)


def near(left: list[mx.array], right: list[mx.array]) -> float:
    assert len(left) == len(right)
    return max(float(mx.abs(a - b).max()) for a, b in zip(left, right, strict=True))


class Leaves:
    """A model as far as a layout looks at it: it makes these caches."""

    def __init__(self, *make: Callable[[], object]) -> None:
        self._make = make

    def make_cache(self) -> list[object]:
        return [make() for make in self._make]


def kv_of(seed: int, count: int, heads: int = 1, size: int = 8) -> mx.array:
    mx.random.seed(seed)
    return mx.random.normal((1, heads, count, size))
