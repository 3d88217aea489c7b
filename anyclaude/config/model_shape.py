"""What a model's ``config.json`` says of the memory that a prompt takes: KV cache and workspace.

Follows the caches that mlx-lm makes for the families in use. Where a config leaves something
open the figure is the larger one; what was measured replaces it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from anyclaude.types import JsonObject, JsonValue

SCALE_BITS = 0.5  # A 16-bit scale and a 16-bit bias for each group of 64.
FLOAT32_BYTES = 4
FUSED_HEAD_SIZES = (64, 80, 128)  # MLX's Metal attention for prompts has kernels for these.

# Families whose cache in mlx-lm is one latent vector for all heads; deepseek_v2's isn't.
_LATENT = frozenset({"deepseek_v3", "deepseek_v32", "kimi_k2", "kimi_k25", "glm4_moe_lite"})
# Families of alternating windows whose configs needn't list their layers.
_EVERY_NTH = {"gemma3": 6, "gemma3_text": 6, "gpt_oss": 2}


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Numbers of values, not bytes.

    ``per_token``: what each token adds to the caches for good; ``sliding``: what it adds to
    those that keep the last ``window`` tokens only; ``state_bytes``: recurrent states, whatever
    the length. ``heads`` and ``width`` (values that one token has in a layer at once) are for
    the workspace.
    """

    per_token: int
    sliding: int = 0
    window: int = 0
    state_bytes: int = 0
    heads: int = 0
    head_dim: int = 0
    width: int = 0

    def kv_bytes(self, tokens: int, *, itemsize: int = 2, chunk: int = 1) -> int:
        """Bytes of the caches of one row that holds ``tokens``, prefilled by ``chunk``.

        A sliding window is that much longer than its name while a chunk goes through it.
        """
        kept = min(tokens, self.window + chunk - 1)
        return (self.per_token * tokens + self.sliding * kept) * itemsize + self.state_bytes

    def token_bytes(self, bits: int = 16) -> int:
        """Bytes that one more token takes, in 32 or 16 bits, or quantised to 8 or 4."""
        return int(self.per_token * (bits + (0 if bits >= 16 else SCALE_BITS)) / 8)

    def workspace_bytes(self, chunk: int, context: int, *, itemsize: int, metal: bool) -> int:
        """Bytes beside weights and caches while ``chunk`` tokens follow ``context`` others.

        Without a fused kernel the scores of one layer exist as a whole.
        """
        fused = metal and self.head_dim in FUSED_HEAD_SIZES
        scores = 0 if fused else self.heads * chunk * (context + chunk) * FLOAT32_BYTES
        return chunk * self.width * itemsize + scores


def model_shape(config: JsonObject) -> ModelShape | None:
    """The shape of a model, ``None`` when its config doesn't describe one we know."""
    for part in _levels(config):
        shape = _shape(part)
        if shape is not None:
            return shape
    return None


def _shape(config: JsonObject) -> ModelShape | None:
    family = str(config.get("model_type", ""))
    layers, heads = _whole(config, "num_hidden_layers"), _whole(config, "num_attention_heads")
    hidden = _whole(config, "hidden_size")
    if not layers or not heads or not hidden:
        return None
    head_dim = _whole(config, "head_dim") or hidden // heads
    kv_heads = _whole(config, "num_key_value_heads") or heads
    per_layer = 2 * kv_heads * head_dim
    if family in _LATENT and _whole(config, "kv_lora_rank"):
        per_layer = _whole(config, "kv_lora_rank") + _whole(config, "qk_rope_head_dim")
    kinds = _layer_kinds(config, family, layers)
    if kinds is None:
        return None
    linear = kinds.count("linear_attention")
    sliding = kinds.count("sliding_attention")
    return ModelShape(
        per_token=per_layer * (layers - linear - sliding),
        sliding=per_layer * sliding,
        window=_whole(config, "sliding_window") if sliding else 0,
        state_bytes=linear * _linear_state(config),
        heads=heads,
        head_dim=head_dim,
        width=8 * (hidden + _intermediate(config)),
    )


def _layer_kinds(config: JsonObject, family: str, layers: int) -> list[str] | None:
    """One of full, sliding and linear attention for each layer; ``None`` for other kinds."""
    listed = config.get("layer_types")
    if isinstance(listed, list) and listed:
        kinds = [str(kind) for kind in listed[:layers]]
        known = {"full_attention", "sliding_attention", "linear_attention"}
        return kinds if len(kinds) == layers and set(kinds) <= known else None
    interval = _whole(config, "full_attention_interval")
    if not interval and _whole(config, "linear_num_value_heads"):
        interval = 4
    if interval:
        return _pattern(layers, interval, "linear_attention")
    if any(key in config for key in ("ssm_cfg", "mamba_d_state", "ssm_state_size", "state_size")):
        return None
    every = _whole(config, "sliding_window_pattern") or _EVERY_NTH.get(family, 0)
    if every and _whole(config, "sliding_window"):
        return _pattern(layers, every, "sliding_attention")
    return ["full_attention"] * layers


def _pattern(layers: int, every: int, other: str) -> list[str]:
    return ["full_attention" if (i + 1) % every == 0 else other for i in range(layers)]


def _linear_state(config: JsonObject) -> int:
    """Bytes of one layer of gated linear attention: a float32 matrix per head, and the
    convolution's last inputs."""
    keys = _whole(config, "linear_num_key_heads") * _whole(config, "linear_key_head_dim")
    value_heads = _whole(config, "linear_num_value_heads")
    value_dim = _whole(config, "linear_value_head_dim")
    matrix = value_heads * value_dim * _whole(config, "linear_key_head_dim")
    kernel = max(0, _whole(config, "linear_conv_kernel_dim") - 1)
    return FLOAT32_BYTES * (matrix + kernel * (2 * keys + value_heads * value_dim))


def _intermediate(config: JsonObject) -> int:
    """Values that one token has inside a layer's feed-forward part."""
    experts = _whole(config, "num_experts_per_tok")
    routed = experts * _whole(config, "moe_intermediate_size")
    return max(routed, _whole(config, "intermediate_size"))


def _levels(config: JsonObject) -> Iterator[JsonObject]:
    for key in ("text_config", "llm_config", "language_config"):
        inner = config.get(key)
        if isinstance(inner, Mapping):
            yield inner
    yield config


def _whole(config: JsonObject, key: str) -> int:
    value: JsonValue = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
