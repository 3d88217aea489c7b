"""What the server's process holds, looked at now and then, and whether that stays flat."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

GROWTH = 0.05
"""How much more memory the last third of the time may hold than the middle one, as a share."""
GROWTH_BYTES = 8 * 2**20
"""And in bytes, for a short run."""
SPARE = 10
"""Descriptors for what caches and logs open late. The pools of connections, to Redis and to
backends that are looked after, hold one more for each client that asked at once."""


@dataclass(frozen=True, slots=True)
class Sample:
    """``seconds`` since the start; ``descriptors`` and ``threads`` of the process."""

    seconds: float
    requests: int
    memory: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, process: psutil.Process, seconds: float, requests: int) -> Sample:
        with process.oneshot():
            return cls(
                seconds,
                requests,
                process.memory_info().rss,
                process.num_fds(),
                process.num_threads(),
            )


def thirds(samples: Sequence[Sample]) -> tuple[Sequence[Sample], ...]:
    size = len(samples) // 3
    return samples[:size], samples[size : 2 * size], samples[2 * size :]


def drift(samples: Sequence[Sample], of: Callable[[Sample], int]) -> tuple[float, float]:
    """Medians in the middle third of the time, and in the last one."""
    _, middle, last = thirds(samples)
    before, after = (statistics.median(map(of, part)) for part in (middle, last))
    return before, after


def memory(sample: Sample) -> int:
    return sample.memory


def descriptors(sample: Sample) -> int:
    return sample.descriptors


def wrong(samples: Sequence[Sample], before: Sample, after: Sample, clients: int) -> list[str]:
    """Why what was held wasn't flat. ``before`` and ``after`` are without any client."""
    problems = []
    middle, last = drift(samples, memory)
    if last > middle + max(GROWTH * middle, GROWTH_BYTES):
        problems.append(f"memory grew from {middle / 2**20:.0f} to {last / 2**20:.0f} MB")
    middle, last = drift(samples, descriptors)
    if last > middle + SPARE:
        problems.append(f"descriptors grew from {middle:.0f} to {last:.0f}")
    if after.descriptors > before.descriptors + SPARE + clients:
        problems.append(f"{after.descriptors} descriptors are open, {before.descriptors} before")
    # Each client has one connection, and each request one to a backend and one more at most.
    most = max(sample.descriptors for sample in samples)
    if most > before.descriptors + SPARE + 3 * clients:
        problems.append(f"{most} descriptors were open at once")
    return problems


def markdown(samples: Sequence[Sample], rows: int = 10) -> str:
    """A table of some of the samples, evenly apart, the last one among them."""
    step = max(1, len(samples) // rows)
    lines = ["| minute | requests | memory | descriptors | threads |", "| ---: " * 5 + "|"]
    for sample in samples[::-1][::step][::-1]:
        lines.append(
            f"| {sample.seconds / 60:.1f} | {sample.requests:,} | {sample.memory / 2**20:.0f} MB "
            f"| {sample.descriptors} | {sample.threads} |"
        )
    return "\n".join(lines)
