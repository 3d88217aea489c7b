"""What this machine is, and which models serve Claude Code well on it.

Sizes are computed, not quoted; how, and from which facts, is in
:data:`~anyclaude.config.candidates.SOURCES` and is shown with the advice.
"""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from anyclaude.config.candidates import BANDWIDTH, CANDIDATES, SOURCES, Candidate
from anyclaude.config.model_shape import ModelShape

__all__ = ["CANDIDATES", "SOURCES", "Advice", "Candidate", "Fit", "Machine"]

GIB = 1 << 30
EMBEDDED_MODEL = "SmolLM2-135M-Instruct"
MEMORY_SIZES_GB = (8, 16, 24, 32, 48, 64, 96, 128)
KV_BITS = (0, 8, 4)
"""How stored KV may be kept, the most exact first; 0 as the model wrote it."""
GOOD_WINDOW = 32_768
LEAST_WINDOW = 16_384
"""Claude Code's own prompt takes about 13,000 tokens of it (measured)."""
CACHE_SHARE = 4
"""The KV cache may take a quarter of the machine unless the configuration says."""
LEAST_SPEED = 20
"""Tokens a second that a chip must at best be able to write for a model to come first."""
STATES = 4
"""States planned for: a running row's own, and those at three ends of messages."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine we run on; ``metal`` is false where MLX works on the CPU alone."""

    chip: str
    memory_bytes: int
    metal: bool

    @property
    def limit_bytes(self) -> int:
        """What the process may take, by a rule of thumb; Metal itself knows it better."""
        if self.memory_bytes < 32 * GIB:
            return self.memory_bytes * 2 // 3
        return self.memory_bytes * 3 // 4

    @property
    def budget_bytes(self) -> int:
        """What weights and KV cache may take together."""
        return self.limit_bytes * 9 // 10

    @property
    def bandwidth(self) -> int:
        """Bytes a second between memory and chip; 0 for a chip that isn't in the table."""
        return BANDWIDTH.get(self.chip.removeprefix("Apple "), 0) * 10**9


@dataclass(frozen=True, slots=True)
class Advice:
    """A candidate on one machine: the ``window`` in tokens that fits beside its weights, with
    the prefix cache kept in ``kv_bits`` (``cache.kv_bits``). ``speed`` is the tokens a second
    that the chip's memory allows at most, 0 when the chip isn't known."""

    candidate: Candidate
    window: int
    kv_bits: int
    speed: int


@dataclass(frozen=True, slots=True)
class Fit:
    """A model in a memory limit, in bytes: ``window_bytes`` for one running request that fills
    the window, ``cache_bytes`` for the prefix cache. ``window`` is the tokens that would fit."""

    limit: int
    weights: int
    window_bytes: int
    cache_bytes: int
    window: int

    @property
    def fits(self) -> bool:
        return self.weights + self.window_bytes + self.cache_bytes <= self.limit * 9 // 10

    @property
    def cache_that_fits(self) -> int:
        """Bytes left for the prefix cache beside weights and one full window."""
        return max(0, self.limit * 9 // 10 - self.weights - self.window_bytes)


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
    """The candidates that fit, the largest first. Last come those with a short window, before
    them those too slow for the chip, and before those the ones that need a quantised cache.

    Empty without Metal, where only the embedded model is quick enough, and where none fits.
    """
    if not machine.metal:
        return ()
    fitting = [found for candidate in CANDIDATES if (found := _advise(candidate, machine))]
    return tuple(sorted(fitting, key=_drawbacks))


def _drawbacks(found: Advice) -> tuple[bool, bool, bool]:
    slow = 0 < found.speed < LEAST_SPEED
    return found.window < GOOD_WINDOW, slow, found.kv_bits != 0


def _advise(candidate: Candidate, machine: Machine) -> Advice | None:
    """The least quantisation that makes the window good, or else usable."""
    budget = machine.budget_bytes
    speed = machine.bandwidth // candidate.read_bytes
    windows = [
        (bits, fitting_window(candidate.shape, candidate.weight_bytes, budget, bits))
        for bits in KV_BITS
    ]
    for enough in (GOOD_WINDOW, LEAST_WINDOW):
        for bits, window in windows:
            if window >= enough:
                return Advice(candidate, min(window, candidate.window), bits, speed)
    return None


def fitting_window(
    shape: ModelShape, weights: int, budget: int, kv_bits: int = 0, *, itemsize: int = 2
) -> int:
    """Tokens that fit beside the weights, in whole thousands of 1024; 0 for none.

    Each counts twice: in the row that runs, and in the prefix cache that it was taken from.
    """
    left = budget - weights - STATES * shape.state_bytes
    row = shape.token_bytes(8 * itemsize)
    per_token = row + (shape.token_bytes(kv_bits) if kv_bits else row)
    return max(0, left) // max(1, per_token) // 1024 * 1024


def kv_budget(memory_gb: float, total: int) -> int:
    """Bytes for the prefix cache: ``cache.memory_gb``, 0 for a quarter of the machine's."""
    return int(memory_gb * GIB) if memory_gb else total // CACHE_SHARE


def fit(
    shape: ModelShape,
    weights: int,
    window: int,
    cache_bytes: int,
    limit: int,
    *,
    itemsize: int = 2,
) -> Fit:
    """How a model with a window of ``window`` tokens and that cache stands in the limit."""
    return Fit(
        limit=limit,
        weights=weights,
        window_bytes=shape.kv_bytes(window, itemsize=itemsize),
        cache_bytes=cache_bytes,
        window=fitting_window(shape, weights, limit * 9 // 10, itemsize=itemsize),
    )


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
