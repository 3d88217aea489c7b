"""What this machine is, and which models serve Claude Code well on it.

Sizes are computed, not quoted: weights from the parameter count and the bits per weight of MLX's
affine quantisation (a 16-bit scale and bias for each group of 64 add half a bit), the KV cache
from the model's own ``config.json`` in bfloat16. That the GPU may use two thirds of the memory is
a rule of thumb: macOS allows 10.67 of 16 GB and more on large machines.
"""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30
EMBEDDED_MODEL = "SmolLM2-135M-Instruct"
MEMORY_SIZES_GB = (8, 16, 24, 32, 48, 64, 96, 128)
GOOD_WINDOW = 32_768
LEAST_WINDOW = 16_384
"""Claude Code's own prompt takes about 13,000 tokens of it (measured)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine we run on; ``metal`` is false where MLX works on the CPU alone."""

    chip: str
    memory_bytes: int
    metal: bool

    @property
    def budget_bytes(self) -> int:
        """What weights and KV cache may take together: two thirds, a rule of thumb."""
        return self.memory_bytes * 2 // 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model worth having. ``window`` is its own limit in tokens; ``layers`` × ``kv_heads``
    × ``head_dim`` fix its KV cache; ``speed`` quotes somebody's figure, with its source."""

    name: str
    parameters: float
    bits: int
    window: int
    layers: int
    kv_heads: int
    head_dim: int
    speed: str = ""

    @property
    def weight_bytes(self) -> int:
        return round(self.parameters * (self.bits + 0.5) / 8)

    @property
    def kv_bytes_per_token(self) -> int:
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim


@dataclass(frozen=True, slots=True)
class Advice:
    """A candidate on one machine: the ``window`` in tokens that fits beside its weights."""

    candidate: Candidate
    window: int


CANDIDATES: tuple[Candidate, ...] = (
    Candidate("mlx-community/GLM-4.5-Air-4bit", 106e9, 4, 131_072, 46, 8, 128),
    Candidate("mlx-community/Qwen3-Coder-30B-A3B-Instruct-8bit", 30.5e9, 8, 262_144, 48, 4, 128),
    Candidate(
        "mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit",
        30.5e9,
        4,
        262_144,
        48,
        4,
        128,
        "about 130 tok/s on an M4 Max (one report, anyclaude issue 92)",
    ),
    Candidate("mlx-community/Qwen3-14B-4bit", 14.8e9, 4, 40_960, 40, 8, 128),
    Candidate("mlx-community/Qwen3-4B-Instruct-2507-4bit", 4.0e9, 4, 262_144, 36, 8, 128),
)
"""The most capable first; all with plain attention, whose prefixes are reused to the token."""

SOURCES = (
    "weights: parameters x (bits + 0.5) / 8, the size of MLX's 4- and 8-bit formats",
    "KV cache: layers, KV heads and head size from each model's config.json, bfloat16",
    "memory for both: two thirds of the machine's, a rule of thumb"
    " (10.67 of 16 GB measured, exo-explore/exo#1672)",
)


def this_machine() -> Machine:
    """Chip, memory and Metal of this machine; takes a few milliseconds."""
    import psutil

    system = platform.system()
    return Machine(
        chip=_chip(system),
        memory_bytes=int(psutil.virtual_memory().total),
        metal=system == "Darwin" and platform.machine() == "arm64",
    )


def recommend(machine: Machine) -> tuple[Advice, ...]:
    """The candidates that fit, the most capable first; those with a short window last.

    Empty without Metal, where only the embedded model is quick enough, and where none fits.
    """
    if not machine.metal:
        return ()
    fitting = [
        Advice(candidate, window)
        for candidate in CANDIDATES
        if (window := fitting_window(candidate, machine)) >= LEAST_WINDOW
    ]
    return tuple(sorted(fitting, key=lambda advice: advice.window < GOOD_WINDOW))


def fitting_window(candidate: Candidate, machine: Machine) -> int:
    """Tokens of KV cache that fit beside the weights, in whole thousands of 1024; 0 for none."""
    left = machine.budget_bytes - candidate.weight_bytes
    tokens = max(0, left) // candidate.kv_bytes_per_token
    return min(candidate.window, tokens // 1024 * 1024)


def _chip(system: str) -> str:
    if system == "Darwin":
        try:
            done = subprocess.run(
                ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
                capture_output=True,
                text=True,
                timeout=5,
                check=True,
            )
            return done.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
