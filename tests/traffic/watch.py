"""What must not grow while the server runs: memory, threads, files, tasks and objects."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import linear_regression

import mlx.core as mx
import psutil

from tests.traffic.stage import SPARE_BYTES, Stage

HOUR = 3600.0
BESIDE = 0.15
"""Share of the budget that MLX may hold beside what the tree counts."""

STORES_BYTES = 160 * 2**20
"""What the bounded stores may come to in the second half: details, answers, last prompts."""

STORES = {
    "Node": math.inf,  # Bounded in bytes, with what hangs on it: the look at the tree sees it.
    "StoredKV": math.inf,
    "StateKV": math.inf,
    "StoredTurn": math.inf,  # 32 MiB of answers, more than the longest run writes.
    "StoredMessage": 200,  # Those of the row that was written last.
    "RequestDetail": 500,
    "ToolCallRecord": 1500,  # Those of the request details.
    "_Seen": 256,  # The last prompts of 128 conversations, and of requests that never ended.
    "Prompt": 256,
    "MessagesRequest": 260,
    "Sampling": 260,
    "ToolChoice": 260,
    "_Offered": 64 * 30,  # The tools last offered in each of 64 conversations.
    "ToolVersion": 2000,
    "Decision": 2000,  # One for each conversation.
    "Message": math.inf,  # What is below is theirs.
    "TextBlock": math.inf,
    "ToolUseBlock": math.inf,
    "ToolResultBlock": math.inf,
    "ToolDefinition": math.inf,
}
"""Classes whose objects are kept on purpose, and how many there may be."""


@dataclass(frozen=True, slots=True)
class Look:
    """One moment with nothing running. Sizes are bytes, ``at`` simulated seconds.

    ``beside`` is what MLX holds that the tree doesn't count, ``spare`` the freed buffers it keeps.
    """

    at: float
    requests: int
    tree: int
    limit: int
    evictions: int
    beside: int
    spare: int


@dataclass(frozen=True, slots=True)
class Census:
    """What lives with nothing running and no client connected."""

    requests: int
    threads: Counter[str]
    tasks: Counter[str]
    files: int
    rss: int
    objects: Counter[str]


@dataclass
class Watch:
    """Looks after every beat, and takes a census of everything now and then."""

    stage: Stage
    every: int
    looks: list[Look] = field(default_factory=list)
    censuses: list[Census] = field(default_factory=list)
    over: list[str] = field(default_factory=list)

    async def look(self, requests: int) -> None:
        tiers = {tier.tier: tier for tier in await self.stage.runtime.control.cache()}
        kv, disk = tiers["kv"], tiers.get("kv-disk")
        if disk is not None and disk.bytes > disk.limit_bytes:
            self.over.append(f"the disk tier holds {disk.bytes} of {disk.limit_bytes} bytes")
        beside = mx.get_active_memory() - kv.bytes
        self.looks.append(
            Look(
                self.stage.wall(),
                requests,
                kv.bytes,
                kv.limit_bytes,
                kv.evictions,
                beside,
                mx.get_cache_memory(),
            )
        )
        if requests >= self.every * (len(self.censuses) + 1):
            await self.stage.reconnect()
            await self._tasks_end()
            self.censuses.append(census(requests))

    async def _tasks_end(self) -> None:
        """Those of closed connections have a few steps to go; what never ends is counted."""
        for _ in range(1000):
            if not self.censuses or len(asyncio.all_tasks()) <= self.censuses[0].tasks.total():
                return
            await asyncio.sleep(0.002)

    # ------------------------------------------------------------------------------ verdicts

    def wrong(self) -> list[str]:
        """What grew, one sentence each."""
        return [*self._memory(), *self._processes(), *self._objects()]

    def _memory(self) -> list[str]:
        found = list(self.over)
        found += [
            f"after {look.requests} requests the tree holds {look.tree} of {look.limit} bytes"
            for look in self.looks
            if look.tree > look.limit
        ]
        limit = self.looks[-1].limit
        allowed = limit / 100
        for name, of in (("tree", _tree), ("MLX memory", _active), ("MLX beside it", _beside)):
            slope = self.slope(of)
            if slope > allowed:
                found.append(f"{name} grows by {slope:.0f} bytes an hour, over {allowed:.0f}")
        peak = max(look.beside for look in self._last_quarter())
        if peak > limit * BESIDE:
            found.append(f"MLX holds {peak} bytes that are not the tree's, whose limit is {limit}")
        spare = max(look.spare for look in self.looks)
        if spare > SPARE_BYTES:
            found.append(f"MLX keeps {spare} freed bytes, over {SPARE_BYTES}")
        middle, last = self._halves()
        if last.rss > middle.rss + STORES_BYTES:
            found.append(f"the process grew from {middle.rss} to {last.rss} bytes")
        if not self.looks[-1].evictions:
            found.append("nothing was ever evicted: the traffic is too small for the budget")
        return found

    def slope(self, of: Callable[[Look], int]) -> float:
        """Bytes an hour over the last quarter, of what a machine has to have free for it.

        That is the highest value of the half hour before: the tree fills up to the limit and
        falls by a whole leaf when it evicts.
        """
        quarter = self._last_quarter()
        peaks = [
            max(of(past) for past in self.looks if look.at - HOUR / 2 <= past.at <= look.at)
            for look in quarter
        ]
        hours = [look.at / HOUR for look in quarter]
        return linear_regression(hours, peaks).slope

    def _last_quarter(self) -> list[Look]:
        first, last = self.looks[0].at, self.looks[-1].at
        return [look for look in self.looks if look.at >= last - (last - first) / 4]

    def _processes(self) -> list[str]:
        middle, last = self._halves()
        found = []
        if last.files > middle.files:
            found.append(f"open files were {middle.files} half way and are {last.files}")
        for name, now in last.tasks.items():
            if now > middle.tasks[name]:
                found.append(f"{now} tasks run {name}, half way {middle.tasks[name]}")
        executor = min(32, (os.cpu_count() or 1) + 4)  # It starts threads until it has them all.
        for name, now in last.threads.items():
            was = executor if name == "asyncio" else middle.threads[name]
            if now > was:
                found.append(f"{now} threads are called {name}, half way {was}")
        return found

    def _objects(self) -> list[str]:
        """Of what isn't a bounded store there is never more at the end than before."""
        middle, last = self._halves()
        found = []
        for name, count in last.objects.items():
            before = max(c.objects[name] for c in self.censuses if c.requests <= middle.requests)
            most = STORES.get(name.rpartition(".")[2], before * 1.5 + 8)
            if count > most:
                found.append(f"{count} objects of {name}, half way {before}, at most {most:.0f}")
        return found

    def _halves(self) -> tuple[Census, Census]:
        return self.censuses[len(self.censuses) // 2 - 1], self.censuses[-1]

    def summary(self) -> str:
        step = max(1, len(self.looks) // 30)
        lines = [
            f"{k.requests:5} requests  tree {k.tree}  evictions {k.evictions}  beside {k.beside}  "
            f"spare {k.spare >> 20} MiB"
            for k in self.looks[::step]
        ]
        lines += [
            f"{c.requests:5} requests  threads {c.threads.total()}  tasks {c.tasks.total()}  "
            f"files {c.files}  rss {c.rss >> 20} MiB"
            for c in self.censuses
        ]
        middle, last = self._halves()
        grown = {k: f"{middle.objects[k]} -> {n}" for k, n in last.objects.items() if n > 8}
        return "\n".join([*lines, f"objects: {grown}"])


def _tree(look: Look) -> int:
    return look.tree


def _beside(look: Look) -> int:
    return look.beside


def _active(look: Look) -> int:
    return look.tree + look.beside


def census(requests: int) -> Census:
    gc.collect()
    process = psutil.Process()
    return Census(
        requests,
        Counter(thread.name.rstrip("0123456789_-") for thread in threading.enumerate()),
        Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks()),
        process.num_fds(),
        process.memory_info().rss,
        Counter(
            f"{type(o).__module__}.{type(o).__qualname__}".removeprefix("anyclaude.")
            for o in gc.get_objects()
            if type(o).__module__.startswith("anyclaude.")
        ),
    )
