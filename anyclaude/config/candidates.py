"""Models worth having for Claude Code on a Mac: a table with its sources.

Figures are facts of each model's ``config.json`` and of the files on Hugging Face. Speeds are
other people's, each with who measured it where. ``(n)`` refers to :data:`SOURCES`.
"""

from __future__ import annotations

from dataclasses import dataclass

from anyclaude.config.model_shape import FLOAT32_BYTES, ModelShape


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model worth having. ``window`` is its own limit in tokens.

    ``active`` is the parameters that one token goes through, 0 for all of them.
    ``layers`` x ``kv_heads`` x ``head_dim`` fix its KV cache: ``layers`` counts those with full
    attention, ``state_bytes`` is what the others keep whatever the length. ``stored_bytes``:
    the size of its files where that was read, else it follows from parameters and bits.
    ``speed`` quotes somebody's figure, with its source.
    """

    name: str
    parameters: float
    bits: int
    window: int
    layers: int
    kv_heads: int
    head_dim: int
    active: float = 0.0
    state_bytes: int = 0
    stored_bytes: int = 0
    speed: str = ""

    @property
    def weight_bytes(self) -> int:
        return self.stored_bytes or round(self.parameters * (self.bits + 0.5) / 8)

    @property
    def read_bytes(self) -> int:
        """Bytes of weights that are read for one token, at least."""
        return round((self.active or self.parameters) * (self.bits + 0.5) / 8)

    @property
    def shape(self) -> ModelShape:
        values = 2 * self.layers * self.kv_heads * self.head_dim
        return ModelShape(values, state_bytes=self.state_bytes, head_dim=self.head_dim)

    @property
    def kv_bytes_per_token(self) -> int:
        return self.shape.token_bytes()


def _gated_delta(layers: int, value_heads: int, key_heads: int = 16, dim: int = 128) -> int:
    """Bytes that the linear layers of the Qwen hybrids keep: a matrix per head in float32, and
    the last three inputs of a convolution."""
    convolved = 2 * key_heads * dim + value_heads * dim
    return FLOAT32_BYTES * layers * (value_heads * dim * dim + 3 * convolved)


BANDWIDTH = {
    "M1": 68, "M1 Pro": 200, "M1 Max": 400, "M1 Ultra": 800,
    "M2": 100, "M2 Pro": 200, "M2 Max": 400, "M2 Ultra": 800,
    "M3": 100, "M3 Pro": 150, "M3 Max": 400, "M3 Ultra": 819,
    "M4": 120, "M4 Pro": 273, "M4 Max": 546,
    "M5": 153, "M5 Pro": 307, "M5 Max": 614,
}  # fmt: skip
"""GB/s between memory and chip, of the largest configuration of each."""

CANDIDATES: tuple[Candidate, ...] = (
    Candidate("mlx-community/GLM-4.5-Air-4bit", 106e9, 4, 131_072, 46, 8, 128, 12e9),
    Candidate(
        "mlx-community/Qwen3-Coder-Next-4bit",  # (1)
        80e9,
        4,
        262_144,
        12,
        2,
        256,
        active=3e9,
        state_bytes=_gated_delta(36, 32),
    ),
    Candidate(
        "mlx-community/Qwen3-Coder-30B-A3B-Instruct-8bit", 30.5e9, 8, 262_144, 48, 4, 128, 3.3e9
    ),
    Candidate(
        "mlx-community/Qwen3.6-35B-A3B-4bit",  # (2)
        35.1e9,
        4,
        262_144,
        10,
        2,
        256,
        active=3e9,
        state_bytes=_gated_delta(30, 32),
        stored_bytes=20_401_929_952,
        speed="69 tok/s on an M2 Max (one report, raullenchai/Rapid-MLX#1065)",
    ),
    Candidate(
        "mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit",
        30.5e9,
        4,
        262_144,
        48,
        4,
        128,
        active=3.3e9,
        speed="about 130 tok/s on an M4 Max (one report, anyclaude issue 92)",
    ),
    Candidate("mlx-community/Qwen3-14B-4bit", 14.8e9, 4, 40_960, 40, 8, 128),
    Candidate(
        "mlx-community/Qwen3.5-9B-4bit",  # (3)
        9.4e9,
        4,
        262_144,
        8,
        4,
        256,
        state_bytes=_gated_delta(24, 32),
        stored_bytes=5_980_000_000,
        speed="43 tok/s on an M4 Pro (one report, raullenchai/Rapid-MLX#567)",
    ),
    Candidate(
        "mlx-community/Qwen3-4B-Instruct-2507-4bit",
        4.0e9,
        4,
        262_144,
        36,
        8,
        128,
        speed="45 tok/s on an M3 Pro (one report, ml-explore/mlx-lm#1569)",
    ),
)
"""The largest first. Where one has states, prefixes are reused to the last message and not to
the last token."""

SOURCES = (
    "weights: the files' size, else parameters x (bits + 0.5) / 8, as MLX's formats take",
    "KV cache: layers, KV heads and head size of each config.json, bfloat16;"
    " in 8 and 4 bits half a bit more for the scales",
    "a window counts twice: a running request copies what the prefix cache holds of its prompt",
    "memory for the process: two thirds of a Mac's up to 24 GB, three quarters from 32 GB on, a"
    " rule of thumb; Metal advised 10.7 of 16 GB (exo-explore/exo#1672), 25.0 of 32, 48 of 64"
    " (raullenchai/Rapid-MLX#183), 107.5 of 128 (antirez/ds4#893)",
    "a tenth of that is left for the process itself and the work on a prompt",
    "at most: each token reads the active weights once, at the memory bandwidth that Apple states"
    " for the largest configuration of the chip; real speeds are below",
    "(1) config.json of Qwen3-Coder-Next: 48 layers, every 4th of full attention, 2 KV heads of"
    " 256, 262,144 tokens; about 45 GB (trailofbits/claude-code-config#9)",
    "(2) Qwen3.6-35B-A3B: 40 layers, 10 of full attention, 2 KV heads of 256, 262,144 tokens"
    " (huggingface.co/blog/EXDai/qwen36-35b-a3b-architecture-overview)",
    "(3) transformers' defaults for qwen3_5: 32 layers, every 4th of full attention, 4 KV heads"
    " of 256; its file size as Hugging Face lists it",
)
