"""Sizes of rows: from the shape, and from rows seen, which bound the others on both sides."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import mlx.core as mx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlx_lm.models.cache import make_prompt_cache

from anyclaude.config.model_shape import ModelShape, model_shape
from anyclaude.engine.row_size import LONGEST, RowSize
from anyclaude.types import JsonObject, JsonValue

BASE: dict[str, JsonValue] = {
    "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 32, "intermediate_size": 96, "vocab_size": 50, "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0, "max_position_embeddings": 4096, "tie_word_embeddings": True,
}  # fmt: skip
EXPERTS: dict[str, JsonValue] = {
    "num_experts": 4, "num_experts_per_tok": 2, "decoder_sparse_step": 1, "mlp_only_layers": [],
    "shared_expert_intermediate_size": 32, "moe_intermediate_size": 32, "norm_topk_prob": True,
}  # fmt: skip
LINEAR: dict[str, JsonValue] = {
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 16,
    "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4, "partial_rotary_factor": 0.25,
}  # fmt: skip
LATENT: dict[str, JsonValue] = {
    "num_key_value_heads": 4, "kv_lora_rank": 32, "q_lora_rank": 32, "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16, "v_head_dim": 16, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}  # fmt: skip
CONFIGS: list[dict[str, JsonValue]] = [
    {**BASE, "model_type": "llama"},
    {**BASE, "model_type": "qwen3_moe", **EXPERTS},
    {**BASE, "model_type": "qwen3_next", **EXPERTS, **LINEAR},
    {
        **BASE,
        "model_type": "gemma3_text",
        "num_hidden_layers": 6,
        "sliding_window": 256,
        "sliding_window_pattern": 3,
    },
    {
        **BASE,
        "model_type": "gpt_oss",
        "sliding_window": 256,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
    {**BASE, "model_type": "glm4_moe_lite", **LATENT},
    {
        **BASE,
        "model_type": "llama",
        "sliding_window": 256,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
]
CHUNK = 256


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: str(c["model_type"]))
def test_the_shape_gives_what_mlx_lm_really_keeps(config: Mapping[str, JsonValue]) -> None:
    module = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    model = module.Model(module.ModelArgs.from_dict(dict(config)))
    shape = model_shape(config)
    assert shape is not None
    cache = make_prompt_cache(model)
    for tokens in (CHUNK, 2 * CHUNK, 4 * CHUNK):
        while max(layer.offset for layer in cache if hasattr(layer, "offset")) < tokens:
            model(mx.zeros((1, CHUNK), mx.int32), cache=cache)
            mx.eval([layer.state for layer in cache])
        held = sum(int(layer.nbytes) for layer in cache)
        assert shape.kv_bytes(tokens, itemsize=4, chunk=CHUNK) == held


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 2, "state_size": 16},
        {**BASE, "model_type": "jamba", "mamba_d_state": 16},
        {**BASE, "model_type": "lfm2", "layer_types": ["conv", "full_attention"] * 2},
        {**BASE, "model_type": "llama", "layer_types": ["full_attention"]},
    ],
)
def test_what_it_does_not_know_it_does_not_guess(config: JsonObject) -> None:
    assert model_shape(config) is None


def test_the_language_part_of_a_multimodal_config_counts() -> None:
    inner = {**BASE, "model_type": "llama"}
    outer: JsonObject = {"model_type": "llava", "hidden_size": 9, "text_config": inner}
    assert model_shape(outer) == model_shape(inner)


def test_only_a_fused_kernel_saves_the_scores() -> None:
    shape = ModelShape(per_token=1, heads=10, head_dim=128, width=100)
    assert shape.workspace_bytes(512, 1488, itemsize=2, metal=True) == 512 * 100 * 2
    plain = shape.workspace_bytes(512, 1488, itemsize=2, metal=False)
    assert plain == 512 * 100 * 2 + 10 * 512 * 2000 * 4
    odd = ModelShape(per_token=1, heads=10, head_dim=256, width=100)
    assert odd.workspace_bytes(512, 1488, itemsize=2, metal=True) == plain


def test_without_a_shape_nothing_is_known_until_a_row_was_seen() -> None:
    sizes = RowSize()
    assert sizes.whole(100_000, 512) == 0
    assert sizes.longest(0, 512) == LONGEST
    sizes.see(30, 10**9)  # Too short to say anything.
    assert sizes.whole(100_000, 512) == 0
    sizes.see(1000, 50_000)
    assert sizes.row(2000, 512) == 100_000
    assert sizes.longest(100_000, 512) == 2000


def test_a_measured_row_corrects_a_shape_that_says_too_much_or_too_little() -> None:
    sizes = RowSize(ModelShape(per_token=100), itemsize=2)
    assert sizes.row(1000, 1) == 200_000
    sizes.see(1000, 50_000)
    assert sizes.row(1000, 1) == 50_000
    assert sizes.row(4000, 1) == 200_000
    small = RowSize(ModelShape(per_token=1), itemsize=2)
    small.see(1000, 50_000)
    assert small.row(1000, 1) == 50_000


@given(
    per_token=st.integers(0, 5),
    sliding=st.integers(0, 50),
    window=st.integers(1, 2000),
    state=st.integers(0, 10_000),
    seen=st.lists(st.integers(256, 100_000), min_size=1, max_size=6),
    asked=st.integers(1, 200_000),
)
def test_no_row_is_larger_than_was_planned(
    per_token: int, sliding: int, window: int, state: int, seen: list[int], asked: int
) -> None:
    """Without a shape: rows seen bound every row at least as long as the shortest of them."""
    true = ModelShape(per_token, sliding, window, state_bytes=state)
    sizes = RowSize()
    for tokens in seen:
        sizes.see(tokens, true.kv_bytes(tokens))
    assert sizes.row(asked, 1) >= true.kv_bytes(asked)
    for tokens in seen:
        assert sizes.row(tokens, 1) >= true.kv_bytes(tokens)


@given(per_token=st.integers(1, 5000), room=st.integers(0, 10**10), more=st.integers(0, 2000))
def test_the_longest_prompt_is_the_last_that_fits(per_token: int, room: int, more: int) -> None:
    sizes = RowSize(ModelShape(per_token, heads=4, width=64))
    longest = sizes.longest(room, 512, more)
    assert longest == 0 or sizes.whole(longest + more, 512) <= room
    assert sizes.whole(longest + 1 + more, 512) > room
