"""Keeps the process within its memory: sheds what it can spare, refuses what can't fit.

Pure policy over an injected probe and clock. The MLX thread asks between steps and before a
prefill, carries the decision out and reports what it freed; nothing here touches MLX. Soft
pressure evicts just enough and starts fewer rows at once; hard pressure may empty the cache,
makes new requests wait, and refuses them before the machine would swap.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from anyclaude.engine.footprint import Probe, Reading
from anyclaude.engine.memory_policy import (
    MIB,
    Freed,
    Holdings,
    Level,
    MemoryLimits,
    MemoryView,
    Need,
    Relief,
    Report,
    ResetRules,
    Verdict,
    excess,
    next_level,
    room,
    size,
    standing,
)
from anyclaude.engine.row_size import RowSize
from anyclaude.errors import Overloaded, PromptTooLong, Unavailable

CHECK_SECONDS = 0.5
FUTILE_SECONDS = 5.0  # Before trying again what brought next to nothing.
RETRY_SECONDS = 10.0
LEAST_BUFFERS = 16 * MIB  # Clearing less would only cost the next step its buffers.
DECODE_TOKENS = 1024  # Of the answer, planned for together with the prompt.
LEAST_PROMPT = 256  # A model with less room than this for prompts can't serve at all.

Look: TypeAlias = Callable[[], Holdings]


class MemoryGuard:
    """Belongs to the MLX thread, except :meth:`preflight`, :attr:`view` and :attr:`rows`.

    ``report`` gets level, kind and text of each event; ``max_rows`` is what may run at once
    when memory is plentiful. ``gives_back`` says whether the C library keeps freed memory and
    can be asked for it: what it keeps is then bounded as MLX's buffers are.
    """

    def __init__(
        self,
        limits: MemoryLimits,
        probe: Probe,
        report: Report,
        *,
        max_rows: int,
        resets: ResetRules = ResetRules(),  # noqa: B008 - a frozen value
        gives_back: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = self._limits = limits
        self._probe = probe
        self._report = report
        self._max_rows = max_rows
        self._resets = resets
        self._gives_back = gives_back
        self._clock = clock
        self._size = RowSize()
        self._weights = 0
        self._chunk = 1
        self._finished = 0
        self._checked = float("-inf")
        self._not_before = float("-inf")
        self._futile = False
        self._waiting = ""
        self._wait_until = float("-inf")
        self._told: Level = "normal"
        self._leanest: int | None = None  # The base as it was before freed memory was kept.
        self.view = MemoryView("normal", probe(), limits.footprint)

    # ------------------------------------------------------------------------------- any thread

    @property
    def rows(self) -> int:
        """Rows that may run at once now: half of them under soft pressure, one under hard."""
        match self.view.level:
            case "normal":
                return self._max_rows
            case "soft":
                return max(1, self._max_rows // 2)
            case _:
                return 1

    @property
    def longest_prompt(self) -> int:
        """Tokens of the longest prompt that fits an empty cache, ``LONGEST`` when unknown."""
        return self._size.longest(self._limits.ceiling - self.view.base, self._chunk, DECODE_TOKENS)

    def preflight(self, prompt: int) -> None:
        """Refuses a prompt early, while the client can still be told by a status.

        Raises :class:`PromptTooLong`, on which Claude Code compacts, for one that can never fit;
        :class:`Unavailable` when the limit has no room for prompts at all; :class:`Overloaded`
        when nothing runs that could make room, and emptying the cache wouldn't either.
        """
        needed = self._size.whole(prompt + DECODE_TOKENS, self._chunk)
        view = self.view
        if needed > self._limits.ceiling - view.base:
            raise self._never_fits(prompt)
        if not view.running:
            reading = self._probe()
            if needed > room(reading, self._limits) + view.spare:
                raise self._no_room(prompt, needed, reading)

    def _never_fits(self, prompt: int) -> PromptTooLong | Unavailable:
        longest = self.longest_prompt
        if longest < LEAST_PROMPT:
            return Unavailable(
                f"the memory limit of {size(self._limits.footprint)} leaves no room for prompts "
                f"beside the model: {size(self.view.base)} are taken without any; raise "
                "memory.limit_gb or choose a smaller model",
                context={"retry": False},
            )
        return PromptTooLong(prompt, longest)

    def _no_room(self, prompt: int, needed: int, reading: Reading) -> Overloaded:
        return Overloaded(
            f"not enough memory just now: {self._plan(prompt, needed, reading)}; close other "
            "programs, raise memory.limit_gb, or try again",
            retry_after=RETRY_SECONDS,
        )

    def _plan(self, prompt: int, needed: int, reading: Reading) -> str:
        return (
            f"a prompt of {prompt} tokens needs {size(needed)}, {standing(reading, self._limits)}"
        )

    # -------------------------------------------------------------------- what the thread tells

    def model_loaded(self, sizes: RowSize, chunk: int, look: Look) -> None:
        """A model was loaded and nothing runs; ``chunk`` is the largest that a prefill uses."""
        self._size, self._chunk = sizes, chunk
        self._weights = look().active
        self._finished = 0
        self._leanest = None
        self.view = replace(self.view, base=0)  # The old model's.
        self._look(look)

    def request_finished(self, tokens: int, nbytes: int) -> None:
        """A row ended whose caches held ``tokens`` in ``nbytes`` (0 when they weren't weighed)."""
        self._finished += 1
        self._wait_until = float("-inf")
        self._size.see(tokens, nbytes)

    def cache_emptied(self) -> None:
        """Somebody else emptied the tree: the count towards a reset begins anew."""
        self._finished = 0

    # ---------------------------------------------------------------------------- between steps

    def check(self, look: Look, *, force: bool = False) -> Relief | None:
        """What must be done now, if anything; looks at most every half second unless forced."""
        now = self._clock()
        if not force and now - self._checked < CHECK_SECONDS:
            return None
        self._checked = now
        reading, held = self._look(look)
        relief = self._due_reset(held)
        if relief is None and (force or now >= self._not_before):
            relief = self._under_pressure(reading, held)
        if relief is None:
            relief = self._kept_back(reading, held)
        if relief is None:
            self._tell_level(reading)
        return relief

    def done(self, relief: Relief, freed: Freed) -> None:
        """The relief was carried out: says so with the true figures."""
        if relief.reset:
            self._finished = 0
        self._futile = freed.total * 8 < relief.asked
        if self._futile:
            self._not_before = self._clock() + FUTILE_SECONDS
        quiet = relief.level == self._told and not relief.reset and not freed.shed
        self._told = relief.level
        reading = self._probe()
        given = self.view.reading.footprint - reading.footprint if relief.give_back else 0
        if relief.give_back or relief.clear_buffers:
            self._leanest = None
        if quiet and not freed.total and given < MIB:
            return
        steps = []
        if relief.reset:
            steps.append(f"emptied the prefix cache ({size(freed.tree)})")
        elif relief.evict_to is not None:
            steps.append(f"evicted {size(freed.tree)} of the prefix cache")
        if relief.clear_buffers:
            steps.append(f"cleared {size(freed.buffers)} of MLX's buffers")
        if relief.give_back:
            steps.append(f"gave {size(given)} back to the system")
        if freed.shed:
            steps.append(f"ended request {freed.shed}")
        after = standing(reading, self._limits)
        self._report(
            "warning" if relief.level == "hard" else "info",
            "reset" if relief.reset else "memory",
            f"{relief.reason}; {', '.join(steps)}; now {after}, {self.rows} rows at once",
        )

    def _look(self, look: Look) -> tuple[Reading, Holdings]:
        reading, held = self._probe(), look()
        base = self._base(reading, held)
        self._leanest = base if self._leanest is None else min(base, self._leanest)
        if self.view.base:
            base = min(base, self.view.base)
        level = next_level(self.view.level, reading, self._limits)
        spare = held.buffers + held.tree
        self.view = MemoryView(level, reading, self._limits.footprint, base, spare, held.running)
        return reading, held

    def _base(self, reading: Reading, held: Holdings) -> int:
        """The footprint without anything that can go; MLX's own counts may run behind it."""
        movable = held.buffers + max(0, held.active - self._weights)
        return max(0, reading.footprint - movable)

    def _kept_back(self, reading: Reading, held: Holdings) -> Relief | None:
        """When more was freed and kept than buffers may be: it goes back.

        Less is left alone. Where the host takes memory back too, as under some hypervisors, the
        next prompt would wait for each of its pages.
        """
        if not self._gives_back or self._leanest is None:
            return None
        kept = self._base(reading, held) - self._leanest
        if kept <= self._limits.buffers:
            return None
        return Relief(
            self.view.level, f"{size(kept)} were freed and are kept for later", give_back=True
        )

    def _due_reset(self, held: Holdings) -> Relief | None:
        """The resets of the configuration; they wait for a quiet moment, but not for ever."""
        rules, finished = self._resets, self._finished
        overdue = 1 if not held.running else 2
        if rules.after_requests and finished >= rules.after_requests * overdue:
            reason = (
                f"{finished} requests since the last reset "
                f"(cache.reset_after_requests = {rules.after_requests})"
            )
        elif rules.over_tokens and finished and held.tree_tokens > rules.over_tokens * overdue:
            reason = (
                f"{held.tree_tokens} tokens are cached "
                f"(cache.reset_over_tokens = {rules.over_tokens})"
            )
        else:
            return None
        return Relief(self.view.level, reason, reset=True, clear_buffers=True)

    def _under_pressure(self, reading: Reading, held: Holdings) -> Relief | None:
        level = self.view.level
        needed = excess(reading, self._limits)
        if level == "normal" or needed <= 0:
            return None
        clear = held.buffers >= LEAST_BUFFERS
        left = needed - (held.buffers if clear else 0)
        evictable = max(0, held.tree - held.kept)
        reset = level == "hard" and held.tree > 0 and left > evictable and not self._futile
        evict_to = held.tree - min(left, evictable) if left > 0 and evictable else None
        shed = self._must_shed(reading, held)
        if not (clear or reset or evict_to is not None or shed):
            return None
        return Relief(
            level,
            f"{_name(level)}: {standing(reading, self._limits)}",
            reset=reset,
            evict_to=None if reset else evict_to,
            clear_buffers=clear or reset or evict_to is not None,
            shed=shed,
            asked=needed,
        )

    def _must_shed(self, reading: Reading, held: Holdings) -> bool:
        """Rows grow while they answer; the last resort is to end one, but never the last one."""
        if self.view.level != "hard" or held.running < 2 or not self._futile:
            return False
        limits = self._limits
        return reading.footprint >= limits.footprint or reading.available < limits.hard_free

    def _tell_level(self, reading: Reading) -> None:
        level = self.view.level
        if level == self._told:
            return
        self._told = level
        now = standing(reading, self._limits)
        if level == "normal":
            self._report("info", "memory", f"{_name(level)} again: {now}")
            return
        self._report(
            "warning" if level == "hard" else "info",
            "memory",
            f"{_name(level)}: {now}; {self.rows} rows at once from now on",
        )

    # -------------------------------------------------------------------------- before a prefill

    def admit(self, need: Need, look: Look, *, tried: int = 0) -> Verdict:
        """Whether the request may start; after ``relieve``, ask again with ``tried`` one higher.

        Planned for are the row's own copy of its whole prompt, a stretch of the answer, the
        work on a chunk, and what running rows have still to compute. Before a reset the request
        lets go of its lease, and starts cold.
        """
        if self._clock() < self._wait_until:
            return Verdict("wait")
        reading, held = self._look(look)
        needed = self._size.whole(need.prompt + DECODE_TOKENS, need.chunk)
        if needed > self._limits.ceiling - self.view.base:
            return self._refuse(need, self._never_fits(need.prompt))
        needed += self._size.row(held.ahead, need.chunk)
        short = needed - room(reading, self._limits)
        if short <= 0:
            self._waiting = ""
            return Verdict("go")
        reason = self._plan(need.prompt, needed, reading)
        leased = self._size.row(need.reused, need.chunk)
        evictable = max(0, held.tree - max(held.kept, leased))
        if not tried and short <= held.buffers + evictable:
            return Verdict("relieve", self._making_room(reason, short, held, evictable))
        if held.running:
            return self._wait(need, reason)
        if tried < 2 and held.tree:
            relief = Relief(self.view.level, reason, reset=True, clear_buffers=True, asked=short)
            return Verdict("relieve", relief)
        return self._refuse(need, self._no_room(need.prompt, needed, reading))

    def keep(self, tokens: int, copied: int, look: Look, *, tried: int = 0) -> Verdict:
        """Whether a row that ends may leave ``tokens`` of new KV in the tree.

        It copies them, ``copied`` bytes. ``go``, ``relieve`` first, or ``refuse`` (without an
        error): the copy would go over the limit, and the next turn of that conversation starts
        from what the tree has.
        """
        reading = self._probe()
        short = copied - room(reading, self._limits)
        if short <= 0:
            return Verdict("go")
        held = look()
        reason = f"{tokens} new tokens take {size(copied)} of the prefix cache"
        evictable = max(0, held.tree - held.kept)
        if not tried and short <= held.buffers + evictable:
            return Verdict("relieve", self._making_room(reason, short, held, evictable))
        now = standing(reading, self._limits)
        self._report("warning", "memory", f"{reason}, and are not kept: {now}")
        return Verdict("refuse")

    def _making_room(self, reason: str, short: int, held: Holdings, evictable: int) -> Relief:
        evict = max(0, min(evictable, short - held.buffers))
        return Relief(
            self.view.level,
            reason,
            evict_to=held.tree - evict if evict else None,
            clear_buffers=True,
            asked=short,
        )

    def _wait(self, need: Need, reason: str) -> Verdict:
        self._wait_until = self._clock() + CHECK_SECONDS
        if self._waiting != need.id:
            self._waiting = need.id
            self._report("info", "memory", f"{need.id} waits for a running request: {reason}")
        return Verdict("wait")

    def _refuse(self, need: Need, error: PromptTooLong | Unavailable | Overloaded) -> Verdict:
        self._report("warning", "memory", f"{need.id} was refused: {error.message}")
        return Verdict("refuse", error=error)


def _name(level: Level) -> str:
    return {"normal": "memory is plentiful", "soft": "memory is tight"}.get(
        level, "memory is short"
    )
