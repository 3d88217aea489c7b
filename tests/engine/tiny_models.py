"""Tiny models of mlx-lm's own classes with random weights, one for each kind of cache."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models import deepseek_v3, gemma3_text, gpt_oss, llama, mamba, qwen3_next
from mlx_lm.models.cache import make_prompt_cache

from anyclaude.engine import head, ragged, stacked
from anyclaude.engine.kv import RowCaches
from anyclaude.engine.load import LoadedModel
from anyclaude.types import Sampling
from tests.doubles.token_model import embedded_base

Make = Callable[[int], nn.Module]


def plain(vocab: int) -> nn.Module:
    return llama.Model(
        llama.ModelArgs(
            model_type="llama",
            hidden_size=32,
            num_hidden_layers=2,
            intermediate_size=64,
            num_attention_heads=4,
            num_key_value_heads=2,
            rms_norm_eps=1e-5,
            vocab_size=vocab,
        )
    )


def rotating(vocab: int) -> nn.Module:
    return gemma3_text.Model(
        gemma3_text.ModelArgs(
            model_type="gemma3_text",
            hidden_size=32,
            num_hidden_layers=4,
            intermediate_size=64,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            vocab_size=vocab,
            sliding_window=32,
            sliding_window_pattern=2,
        )
    )


def recurrent(vocab: int) -> nn.Module:
    return mamba.Model(
        mamba.ModelArgs(
            model_type="mamba",
            vocab_size=vocab,
            hidden_size=32,
            intermediate_size=64,
            state_size=8,
            num_hidden_layers=2,
            conv_kernel=4,
            use_bias=False,
            use_conv_bias=True,
            time_step_rank=4,
        )
    )


def hybrid(vocab: int) -> nn.Module:
    return qwen3_next.Model(
        qwen3_next.ModelArgs(
            model_type="qwen3_next",
            hidden_size=32,
            num_hidden_layers=4,
            intermediate_size=64,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            vocab_size=vocab,
            linear_num_value_heads=4,
            linear_num_key_heads=2,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            linear_conv_kernel_dim=4,
            num_experts=0,
            num_experts_per_tok=0,
            decoder_sparse_step=1,
            shared_expert_intermediate_size=0,
            mlp_only_layers=[],
            moe_intermediate_size=0,
            rms_norm_eps=1e-6,
            rope_theta=10000.0,
            partial_rotary_factor=0.5,
            max_position_embeddings=4096,
            full_attention_interval=2,
        )
    )


def sinks(vocab: int) -> nn.Module:
    return gpt_oss.Model(
        gpt_oss.ModelArgs(
            hidden_size=32,
            num_hidden_layers=2,
            intermediate_size=32,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            vocab_size=vocab,
            sliding_window=16,
            num_local_experts=2,
            num_experts_per_tok=1,
        )
    )


def latent(vocab: int) -> nn.Module:
    """Does its own attention over a compressed cache."""
    return deepseek_v3.Model(
        deepseek_v3.ModelArgs(
            vocab_size=vocab,
            hidden_size=32,
            intermediate_size=64,
            moe_intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            n_shared_experts=None,
            n_routed_experts=None,
            kv_lora_rank=8,
            q_lora_rank=None,
            qk_rope_head_dim=8,
            qk_nope_head_dim=8,
            v_head_dim=8,
        )
    )


def build(make: Make, vocab: int) -> nn.Module:
    """The same weights each time, ready to share passes."""
    mx.random.seed(3)
    model = make(vocab)
    mx.eval(model.parameters())
    ragged.install(model)
    return model


def prompts(vocab: int, lengths: Sequence[int]) -> list[list[int]]:
    """Random tokens, the same each time."""
    pick = random.Random(5)
    return [[pick.randrange(vocab) for _ in range(length)] for length in lengths]


def fed(model: nn.Module, tokens: list[int]) -> RowCaches:
    """Caches that hold ``tokens``."""
    caches: RowCaches = make_prompt_cache(model)
    mx.eval(model(mx.array([tokens]), cache=caches))
    return caches


class TinyLoader:
    """The embedded model's tokenizer and template over random weights."""

    def __init__(self, embedded: Path, make: Make) -> None:
        self._embedded = embedded
        self._make = make

    def __call__(self, name: str, progress: Callable[[float, str], None]) -> LoadedModel:
        base = embedded_base(self._embedded)
        progress(0.5, "making weights")
        vocab = len(base.tokenizer)
        model = build(self._make, vocab)
        return replace(
            base,
            name=name,
            model=model,
            defaults=Sampling(),
            rows_share_passes=ragged.fits(model, vocab),
            rows_stack=stacked.fits(model, vocab),
            head=head.install(model),
        )
