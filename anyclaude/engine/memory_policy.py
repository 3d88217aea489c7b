"""The values of the memory guard: what it is told, what it decides, and its lines in the sand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from anyclaude.config.settings import MemorySettings
from anyclaude.engine.footprint import Reading
from anyclaude.errors import ApiError

GIB = 1 << 30
MIB = 1 << 20

Level: TypeAlias = Literal["normal", "soft", "hard"]
Report: TypeAlias = Callable[[Literal["info", "warning"], Literal["memory", "reset"], str], None]
"""Who hears of events: level, kind and text."""

# Shares of the limit at which a level begins, and below which it ends.
SOFT, SOFT_BACK = 0.88, 0.82
HARD, HARD_BACK = 0.96, 0.92
FREE_BACK = 1.25  # Times a floor of free memory, at which its level ends.
# What a relief aims at lies beyond, or its own rounding would keep the level on.
TARGET, FREE_TARGET = 0.8, 1.35


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """Bytes: ``footprint`` of the process, ``buffers`` that MLX may keep, ``wired`` (0: not set).

    ``soft_free`` and ``hard_free``: what must stay free on the machine before a level begins.
    """

    footprint: int
    buffers: int
    wired: int
    soft_free: int
    hard_free: int

    @property
    def ceiling(self) -> int:
        """Where hard pressure begins, and so what may be planned with."""
        return int(self.footprint * HARD)


def memory_limits(settings: MemorySettings, total: int, working_set: int = 0) -> MemoryLimits:
    """The limits on a machine with ``total`` bytes.

    ``working_set`` is what Metal advises its buffers to stay under, 0 without Metal. The limit
    leaves the system an eighth and at least 2 GiB, or a quarter where that is less.
    """
    room = min(total // 4, max(2 * GIB, total // 8))
    own = min(total - room, working_set or total)
    limit = min(int(settings.limit_gb * GIB), total) if settings.limit_gb else own
    buffers = int(settings.buffer_cache_gb * GIB) or min(4 * GIB, limit // 16)
    soft_free = min(total // 8, max(total // 16, 512 * MIB))
    return MemoryLimits(limit, buffers, int(settings.wired_gb * GIB), soft_free, soft_free // 2)


@dataclass(frozen=True, slots=True)
class ResetRules:
    """When to empty the whole cache: after so many requests, over so many tokens; 0 never."""

    after_requests: int = 0
    over_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the MLX thread holds now, in bytes unless said otherwise.

    ``active`` and ``buffers`` are MLX's own counts; ``tree`` the stored KV, of which ``kept``
    can't be evicted short of a reset. ``tree_tokens``, ``running`` rows, and ``ahead``: prompt
    tokens that running rows have still to compute.
    """

    active: int = 0
    buffers: int = 0
    tree: int = 0
    kept: int = 0
    tree_tokens: int = 0
    running: int = 0
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Relief:
    """What the MLX thread is to do now, in this order, and then report.

    ``reset``: drop the whole tree, pins and all; else ``evict_to``: bytes that it may keep.
    ``clear_buffers``: synchronise and clear MLX's buffer cache. ``shed``: end the youngest row
    with an :class:`~anyclaude.errors.Overloaded`. ``give_back``: what the C library keeps of
    freed memory goes back to the system, as it does with ``clear_buffers``. ``asked`` is the
    bytes hoped for.
    """

    level: Level
    reason: str
    reset: bool = False
    evict_to: int | None = None
    clear_buffers: bool = False
    shed: bool = False
    give_back: bool = False
    asked: int = 0


@dataclass(frozen=True, slots=True)
class Freed:
    """What a relief really freed, in bytes; ``shed`` is the id of the request it ended."""

    tree: int = 0
    buffers: int = 0
    shed: str = ""

    @property
    def total(self) -> int:
        return self.tree + self.buffers


@dataclass(frozen=True, slots=True)
class Need:
    """A request that wants to start: its whole prompt, what of it is reused, and the chunk that
    it would be prefilled by, all in tokens."""

    id: str
    prompt: int
    reused: int
    chunk: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may start.

    ``go``; ``relieve`` first, and ask again; ``wait`` until a running row has ended; ``refuse``
    with the error.
    """

    kind: Literal["go", "relieve", "wait", "refuse"]
    relief: Relief | None = None
    error: ApiError | None = None


@dataclass(frozen=True, slots=True)
class MemoryView:
    """How things stood at the last look; read from any thread. Bytes, but for ``running`` rows.

    ``base`` is the process without caches and rows, ``spare`` what caches could give back.
    """

    level: Level
    reading: Reading
    limit: int
    base: int = 0
    spare: int = 0
    running: int = 0


def next_level(level: Level, reading: Reading, limits: MemoryLimits) -> Level:
    """The level after this reading; each ends later than it begins, so that it doesn't flap."""
    used, free = reading.footprint / max(1, limits.footprint), reading.available
    if used >= HARD or free < limits.hard_free or reading.critical:
        return "hard"
    if level == "hard" and (used >= HARD_BACK or free < limits.hard_free * FREE_BACK):
        return "hard"
    if used >= SOFT or free < limits.soft_free:
        return "soft"
    if level != "normal" and (used >= SOFT_BACK or free < limits.soft_free * FREE_BACK):
        return "soft"
    return "normal"


def excess(reading: Reading, limits: MemoryLimits) -> int:
    """Bytes to free for the level to become normal again; 0 or less when there are none."""
    over = reading.footprint - int(limits.footprint * TARGET)
    short = int(limits.soft_free * FREE_TARGET) - reading.available
    alarm = limits.footprint // 16 if reading.critical else 0
    return max(over, short, alarm)


def room(reading: Reading, limits: MemoryLimits) -> int:
    """Bytes that may be planned with: up to hard pressure, none under the kernel's alarm."""
    if reading.critical:
        return 0
    return min(limits.ceiling - reading.footprint, reading.available - limits.hard_free)


def size(nbytes: int) -> str:
    """Bytes for an event: ``1.2 GB`` or ``340 MB``, of 2**30 and 2**20 as in the settings."""
    if abs(nbytes) >= GIB:
        return f"{nbytes / GIB:.1f} GB"
    return f"{nbytes / MIB:.0f} MB"


def standing(reading: Reading, limits: MemoryLimits) -> str:
    """``process 11.4 of 12.0 GB, 1.1 GB free on the machine``."""
    return (
        f"process {size(reading.footprint)} of {size(limits.footprint)}, "
        f"{size(reading.available)} free on the machine"
    )
