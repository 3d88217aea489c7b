"""The MLX thread: the only one that loads, prefills, decodes, cuts and evicts.

The loop sends commands through a queue and gets reports back as callbacks, which the engine
marshals onto the event loop. Between two commands the thread steps the batch; with nothing to
do it sleeps on the queue.
"""

from __future__ import annotations

import gc
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import mlx.core as mx

from anyclaude.caches.kv.disk import DiskTier
from anyclaude.caches.kv.tree import TreeStats
from anyclaude.config.settings import MemorySettings
from anyclaude.engine.disk_link import DiskLink
from anyclaude.engine.footprint import probe as make_probe
from anyclaude.engine.job import Job
from anyclaude.engine.kv import KVTree
from anyclaude.engine.load import LoadedModel
from anyclaude.engine.memory import MemoryGuard
from anyclaude.engine.memory_actions import apply_limits, gives_back, working_set
from anyclaude.engine.memory_policy import ResetRules, memory_limits
from anyclaude.engine.served import ServedModel
from anyclaude.engine.serving import Limits, Serving
from anyclaude.errors import AnyclaudeError, EngineFailed, Overloaded
from anyclaude.types import Tokens

log = logging.getLogger(__name__)

MAX_FAILED_STEPS = 3
DRAIN_SECONDS = 60.0
IDLE_SECONDS = 1.5  # Before answers are written to disk, and between two looks at the memory.
GATHER_SECONDS = 0.03  # A thread with nothing to do waits so long for requests on their way.
FULL_SECONDS = 0.2  # Until the disk tier's full queue is looked at again.

ProgressFn: TypeAlias = Callable[[float, str], None]
ModelLoader: TypeAlias = Callable[[str, ProgressFn], LoadedModel]


class Stopped(Exception):
    """Ends a load that is under way when the thread is told to stop."""


class Observer(Protocol):
    """Whom the thread tells; called on the MLX thread."""

    def loading(self, model: str, progress: float, detail: str) -> None: ...
    def loaded(self, model: ServedModel, tree: KVTree) -> None: ...
    def load_failed(self, model: str, error: BaseException) -> None: ...
    def unloaded(self) -> None: ...
    def step_failed(self, error: BaseException, requests: int) -> None: ...
    def evicted(self, nbytes: int) -> None: ...
    def said(
        self, level: Literal["info", "warning"], kind: Literal["memory", "reset"], message: str
    ) -> None: ...
    def died(self, error: BaseException | None) -> None: ...


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """How much memory the process may take, and when the cache is emptied."""

    settings: MemorySettings
    resets: ResetRules


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the thread has done so far; read from any thread."""

    running: int = 0
    waiting: int = 0
    busy_seconds: float = 0.0
    prefill_tps: float = 0.0
    active_bytes: int = 0


class Worker(threading.Thread):
    """Runs until :meth:`stop`; anything fatal ends it with one ``died`` report.

    ``expected`` counts the requests that are being made ready for it; with ``constrain`` a model
    is loaded only once its vocabulary is known to the grammar, too.
    """

    def __init__(
        self,
        loader: ModelLoader,
        limits: Limits,
        observer: Observer,
        disk: DiskTier | None = None,
        memory: MemoryOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        expected: Callable[[], int] = lambda: 0,
        *,
        constrain: bool = False,
    ) -> None:
        super().__init__(name="anyclaude-mlx", daemon=True)
        self._expected = expected
        self._constrain = constrain
        self._loader = loader
        self._limits = limits
        self._observer = observer
        self._disk = disk
        self._memory = memory
        self._clock = clock
        self.guard = self._make_guard()
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopping = False
        self._serving: Serving | None = None
        self._next_model: str | None = None
        self._drain_until = 0.0
        self._paused = False
        self._failed_steps = 0
        self._busy = 0.0
        self.gauges = Gauges()

    # -------------------------------------------------------------------- called by the engine

    def submit(self, job: Job) -> None:
        self._commands.put(lambda: self._submit(job))

    def cancel(self, job_id: str) -> None:
        self._commands.put(lambda: self._cancel(job_id))

    def pause(self, paused: bool) -> None:
        """Whether jobs that haven't begun go on waiting."""
        self._commands.put(lambda: self._pause(paused))

    def fetch(self, tokens: Tokens, done: Callable[[None], None]) -> None:
        """Brings what the disk has of ``tokens`` into the tree, then calls ``done``."""
        self._commands.put(lambda: self._fetch(tokens, lambda: done(None)))

    def load(self, model: str) -> None:
        """Loads ``model``; running requests finish first, waiting ones are turned away."""
        self._commands.put(lambda: self._begin_swap(model))

    def unload(self) -> None:
        self._commands.put(lambda: self._begin_swap(""))

    def flush(self, done: Callable[[TreeStats], None]) -> None:
        """Empties the prefix tree and reports what went."""
        self._commands.put(lambda: self._flush(done))

    def forget_unwritten(self, done: Callable[[None], None]) -> None:
        """What waits to be written to disk stays unwritten; ``done`` once that is so."""
        self._commands.put(lambda: self._forget_unwritten(done))

    def stop(self) -> None:
        """Ends the thread after the current step; what runs is reported as failed."""
        self._stopping = True
        self._commands.put(lambda: None)

    def _make_guard(self) -> MemoryGuard | None:
        memory = self._memory
        if memory is None:
            return None
        probe = make_probe()
        return MemoryGuard(
            memory_limits(memory.settings, probe().total, working_set()),
            probe,
            self._observer.said,
            max_rows=self._limits.max_running,
            resets=memory.resets,
            gives_back=gives_back(),
            clock=self._clock,
        )

    # ------------------------------------------------------------------------------- the loop

    def run(self) -> None:
        error: BaseException | None = None
        try:
            if self.guard is not None:
                apply_limits(self.guard.limits, self._observer.said)
            self._loop()
        except BaseException as exc:
            error = exc
            log.error("the MLX thread ended", exc_info=exc)
        finally:
            self._abandon(error)
            if error is not None or not self._stopping:
                self._observer.died(error)

    def _loop(self) -> None:
        while not self._stopping:
            if self._next_model is None and (self._serving is None or self._serving.idle):
                self._gauge()
                self._wait()
                self._gather()
            while not self._stopping:
                try:
                    command = self._commands.get_nowait()
                except queue.Empty:
                    break
                command()
            if self._next_model is not None:
                self._swap_when_drained()
            if self._serving is not None and not self._serving.idle:
                self._guarded_step(self._serving)

    def _wait(self) -> None:
        """Runs the next command; until one comes, answers are brought to disk."""
        pause = IDLE_SECONDS  # Whoever comes at once shall not share the machine with a write.
        while self._serving is not None:
            try:
                command = self._commands.get(block=bool(pause), timeout=pause)
            except queue.Empty:
                self._serving.check_memory()
            else:
                return command()
            if not self._serving.unwritten:
                pause = IDLE_SECONDS
            else:
                pause = 0.0 if self._serving.write() else FULL_SECONDS
        self._commands.get()()

    def _gather(self) -> None:
        """Requests that come together share their first pass, which costs hardly more than one."""
        until = self._clock() + GATHER_SECONDS
        while not self._stopping and self._expected() and (left := until - self._clock()) > 0:
            try:
                command = self._commands.get(timeout=left)
            except queue.Empty:
                return
            command()

    def _guarded_step(self, serving: Serving) -> None:
        started = self._clock()
        try:
            step = serving.step()
        except Exception as exc:
            self._failed_steps += 1
            log.exception("a step failed")
            # An error inside a compiled sampler leaves this thread's random state unusable.
            mx.random.seed(time.time_ns() % 2**32)
            self._observer.step_failed(exc, len(serving.jobs))
            self._fail_all(EngineFailed(f"the model failed on this request: {exc}"))
            if self._failed_steps >= MAX_FAILED_STEPS:
                raise
            return
        self._failed_steps = 0
        self._busy += self._clock() - started
        self._gauge()  # First, so that whoever hears of an ending sees the row gone.
        serving.reports(step)
        serving.check_memory()

    # ------------------------------------------------------------------------------- commands

    def _submit(self, job: Job) -> None:
        if self._serving is None or self._next_model is not None:
            self._turn_away(job, Overloaded("the model is being changed", retry_after=5))
            return
        self._serving.submit(job)

    def _turn_away(self, job: Job, error: BaseException) -> None:
        job.lease.release()
        job.report(error)

    def _cancel(self, job_id: str) -> None:
        if self._serving is not None:
            self._serving.cancel(job_id)

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        if self._serving is not None:
            self._serving.paused = paused

    def _fetch(self, tokens: Tokens, done: Callable[[], None]) -> None:
        if self._serving is None or self._serving.disk is None:
            return done()
        self._serving.disk.fetch(tokens, done)

    def _flush(self, done: Callable[[TreeStats], None]) -> None:
        done(self._serving.flush() if self._serving is not None else TreeStats(0, 0, 0, 0))

    def _forget_unwritten(self, done: Callable[[None], None]) -> None:
        if self._serving is not None and self._serving.disk is not None:
            self._serving.disk.forget()
        done(None)

    # ------------------------------------------------------------------------- changing models

    def _begin_swap(self, model: str) -> None:
        self._next_model = model
        self._drain_until = self._clock() + DRAIN_SECONDS
        if self._serving is not None:
            for job in self._serving.drop_waiting():
                self._turn_away(job, Overloaded("the model is being changed", retry_after=5))

    def _swap_when_drained(self) -> None:
        if self._serving is not None and not self._serving.idle:
            if self._clock() < self._drain_until:
                return
            self._fail_all(Overloaded("the model was changed during this answer", retry_after=5))
        model, self._next_model = self._next_model, None
        self._drop_model()
        if not model:
            self._observer.unloaded()
            return
        try:
            loaded = self._loader(model, lambda p, what: self._loading(model, p, what))
            serving = Serving(loaded, self._limits, self._observer.evicted, self._clock, self.guard)
            served = ServedModel.of(loaded)
            if self._constrain and served.constraints is not None:
                # It holds the GIL for a third of a second: before anybody waits for an answer.
                self._loading(model, 1.0, "reading the vocabulary")
                served.constraints.vocabulary()
            self._link_disk(serving)
        except Stopped:
            return
        except Exception as exc:
            if not isinstance(exc, AnyclaudeError):
                log.exception("loading %s failed", model)
            self._observer.load_failed(model, exc)
            return
        serving.paused = self._paused
        self._serving = serving
        self._observer.loaded(served, serving.tree)

    def _loading(self, model: str, progress: float, detail: str) -> None:
        if self._stopping:
            raise Stopped
        self._observer.loading(model, progress, detail)

    def _link_disk(self, serving: Serving) -> None:
        if self._disk is not None and self._limits.cache_enabled:
            serving.disk = DiskLink(
                self._disk,
                serving.tree,
                serving.layout,
                serving.model.fingerprint,
                self._limits.kv_bits,
                self._commands.put,
                lambda: self._warm_up(serving),
            )

    def _warm_up(self, serving: Serving) -> None:
        """What the last session began with is brought back from disk, or else read again."""
        disk = serving.disk
        if disk is None or not self._limits.warm_up or serving is not self._serving:
            return
        if head := disk.last_head():
            disk.fetch(head, lambda: serving.warm_up(head))

    def _drop_model(self) -> None:
        """Frees weights and KV before others are loaded; the engine holds neither."""
        if self._serving is not None:
            self._serving.close()
        self._serving = None
        gc.collect()
        mx.clear_cache()

    def _fail_all(self, error: BaseException) -> None:
        if self._serving is not None:
            for job in self._serving.abandon():
                self._turn_away(job, error)

    def _abandon(self, error: BaseException | None) -> None:
        reason = "anyclaude is stopping" if error is None else f"the MLX thread died: {error}"
        self._fail_all(EngineFailed(reason))
        if self._serving is not None:
            self._serving.close()
        self._serving = None
        self._gauge()

    def _gauge(self) -> None:
        serving = self._serving
        self.gauges = Gauges(
            running=serving.running if serving else 0,
            waiting=serving.waiting if serving else 0,
            busy_seconds=self._busy,
            prefill_tps=serving.sizer.tokens_per_second if serving else 0.0,
            active_bytes=int(mx.get_active_memory()),
        )
