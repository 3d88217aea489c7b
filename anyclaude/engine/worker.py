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
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import mlx.core as mx

from anyclaude.caches.kv.tree import PrefixTree, TreeStats
from anyclaude.engine.batch import Batch, Ended, Removed, Step
from anyclaude.engine.job import Job
from anyclaude.engine.kv import KVCutter, StoredKV, is_sliceable
from anyclaude.engine.load import LoadedModel
from anyclaude.engine.template import ChatTemplate
from anyclaude.errors import AnyclaudeError, EngineFailed, Overloaded
from anyclaude.types import Delta, Finish, Prefill, Sampling, Usage

log = logging.getLogger(__name__)

MAX_FAILED_STEPS = 3
DRAIN_SECONDS = 60.0

ProgressFn: TypeAlias = Callable[[float, str], None]
ModelLoader: TypeAlias = Callable[[str, ProgressFn], LoadedModel]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What the loop has to know of a loaded model: everything but its weights."""

    name: str
    template: ChatTemplate
    context_limit: int
    fingerprint: str
    defaults: Sampling

    @classmethod
    def of(cls, model: LoadedModel) -> ServedModel:
        return cls(
            model.name, model.template, model.context_limit, model.fingerprint, model.defaults
        )


class Stopped(Exception):
    """Ends a load that is under way when the thread is told to stop."""


class Observer(Protocol):
    """Whom the thread tells; called on the MLX thread."""

    def loading(self, model: str, progress: float, detail: str) -> None: ...
    def loaded(self, model: ServedModel, tree: PrefixTree[StoredKV]) -> None: ...
    def load_failed(self, model: str, error: BaseException) -> None: ...
    def unloaded(self) -> None: ...
    def step_failed(self, error: BaseException, requests: int) -> None: ...
    def evicted(self, nbytes: int) -> None: ...
    def died(self, error: BaseException | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Tokens per prefill chunk and delta, rows at once, and bytes for stored KV."""

    prefill_chunk: int
    stream_chunk: int
    max_running: int
    cache_bytes: int
    cache_enabled: bool


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the thread has done so far; read from any thread."""

    running: int = 0
    waiting: int = 0
    busy_seconds: float = 0.0
    prefill_tps: float = 0.0
    active_bytes: int = 0


class Worker(threading.Thread):
    """Runs until :meth:`stop`; anything fatal ends it with one ``died`` report."""

    def __init__(
        self,
        loader: ModelLoader,
        limits: Limits,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="anyclaude-mlx", daemon=True)
        self._loader = loader
        self._limits = limits
        self._observer = observer
        self._clock = clock
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopping = False
        self._model: LoadedModel | None = None
        self._batch: Batch | None = None
        self._tree: PrefixTree[StoredKV] | None = None
        self._next_model: str | None = None
        self._drain_until = 0.0
        self._failed_steps = 0
        self._busy = 0.0
        self._prefill_tps = 0.0
        self.gauges = Gauges()

    # -------------------------------------------------------------------- called by the engine

    def submit(self, job: Job) -> None:
        self._commands.put(lambda: self._submit(job))

    def cancel(self, job_id: str) -> None:
        self._commands.put(lambda: self._cancel(job_id))

    def load(self, model: str) -> None:
        """Loads ``model``; running requests finish first, waiting ones are turned away."""
        self._commands.put(lambda: self._begin_swap(model))

    def unload(self) -> None:
        self._commands.put(lambda: self._begin_swap(""))

    def flush(self, done: Callable[[TreeStats], None]) -> None:
        """Empties the prefix tree and reports what went."""
        self._commands.put(lambda: self._flush(done))

    def stop(self) -> None:
        """Ends the thread after the current step; what runs is reported as failed."""
        self._stopping = True
        self._commands.put(lambda: None)

    # ------------------------------------------------------------------------------- the loop

    def run(self) -> None:
        error: BaseException | None = None
        try:
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
            if self._next_model is None and (self._batch is None or self._batch.idle):
                self._gauge()
                self._commands.get()()
            while not self._stopping:
                try:
                    command = self._commands.get_nowait()
                except queue.Empty:
                    break
                command()
            if self._next_model is not None:
                self._swap_when_drained()
            if self._batch is not None and not self._batch.idle:
                self._guarded_step(self._batch)

    def _guarded_step(self, batch: Batch) -> None:
        started = self._clock()
        try:
            step = batch.step()
        except Exception as exc:
            self._failed_steps += 1
            log.exception("a step failed")
            # An error inside a compiled sampler leaves this thread's random state unusable.
            mx.random.seed(time.time_ns() % 2**32)
            self._observer.step_failed(exc, len(batch.jobs))
            self._fail_all(EngineFailed(f"the model failed on this request: {exc}"))
            if self._failed_steps >= MAX_FAILED_STEPS:
                raise
            self._new_batch()
            return
        self._failed_steps = 0
        took = self._clock() - started
        self._busy += took
        self._gauge()  # First, so that whoever hears of an ending sees the row gone.
        self._report(step, took)

    def _report(self, step: Step, took: float) -> None:
        if step.prefill_tokens:
            rate = step.prefill_tokens / max(took, 1e-6)
            old = self._prefill_tps
            self._prefill_tps = rate if not old else 0.7 * old + 0.3 * rate
        for row in step.prefilled:
            reused = row.job.lease.length
            row.job.report(Prefill(reused + row.prefilled, len(row.job.tokens)))
        ended = {end.row.uid for end in step.ended}
        for row in step.generated:
            full = row.pending_tokens >= self._limits.stream_chunk
            if row.pending and (full or row.uid in ended):
                row.job.report(Delta(row.pending, row.pending_tokens))
                row.pending, row.pending_tokens = "", 0
        for end in step.ended:
            self._finish(end)

    def _finish(self, end: Ended) -> None:
        row, job = end.row, end.row.job
        nbytes = self._keep(end.removed)
        now = self._clock()
        first = row.first_token or now
        saved = job.lease.length / self._prefill_tps if self._prefill_tps else 0.0
        job.report(
            Finish(
                reason=end.reason,
                usage=usage_of(job, job.lease.length, len(row.tokens)),
                tokens=() if end.stop_sequence else tuple(row.tokens),
                stop_sequence=end.stop_sequence,
                queue_ms=(row.inserted - job.submitted) * 1000,
                prefill_ms=(first - row.inserted) * 1000,
                decode_ms=(now - first) * 1000,
                kv_bytes=nbytes,
                time_saved_ms=saved * 1000,
            )
        )
        job.lease.release()

    def _keep(self, removed: Removed) -> int:
        """Stores a row's KV in the tree; returns the bytes that the whole of it takes."""
        if removed.kv is None or self._tree is None:
            return 0
        nbytes = KVCutter().nbytes(removed.kv)
        if self._limits.cache_enabled:
            self._tree.insert(removed.tokens, removed.kv)
            freed = self._tree.evict_to(self._limits.cache_bytes)
            if freed:
                self._observer.evicted(freed)
        return nbytes

    # ------------------------------------------------------------------------------- commands

    def _submit(self, job: Job) -> None:
        if self._batch is None or self._next_model is not None:
            self._turn_away(job, Overloaded("the model is being changed", retry_after=5))
            return
        self._batch.add(job)

    def _turn_away(self, job: Job, error: BaseException) -> None:
        job.lease.release()
        job.report(error)

    def _cancel(self, job_id: str) -> None:
        if self._batch is None:
            return
        out = self._batch.cancel(job_id)
        if isinstance(out, Job):
            out.lease.release()
        elif out is not None:
            self._keep(out)
            out.row.job.lease.release()

    def _flush(self, done: Callable[[TreeStats], None]) -> None:
        freed = self._tree.clear() if self._tree is not None else TreeStats(0, 0, 0, 0)
        mx.clear_cache()
        done(freed)

    # ------------------------------------------------------------------------- changing models

    def _begin_swap(self, model: str) -> None:
        self._next_model = model
        self._drain_until = self._clock() + DRAIN_SECONDS
        if self._batch is not None:
            for job in self._batch.drop_waiting():
                self._turn_away(job, Overloaded("the model is being changed", retry_after=5))

    def _swap_when_drained(self) -> None:
        if self._batch is not None and not self._batch.idle:
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
            tree: PrefixTree[StoredKV] = PrefixTree(
                KVCutter(), sliceable=is_sliceable(loaded.model)
            )
        except Stopped:
            return
        except Exception as exc:
            if not isinstance(exc, AnyclaudeError):
                log.exception("loading %s failed", model)
            self._observer.load_failed(model, exc)
            return
        self._model, self._tree = loaded, tree
        self._new_batch()
        self._observer.loaded(ServedModel.of(loaded), tree)

    def _loading(self, model: str, progress: float, detail: str) -> None:
        if self._stopping:
            raise Stopped
        self._observer.loading(model, progress, detail)

    def _new_batch(self) -> None:
        assert self._model is not None and self._tree is not None
        if self._batch is not None:
            self._batch.close()
        model = self._model
        self._batch = Batch(
            model.model,
            eos_ids=model.eos_ids,
            detokenizer=lambda: model.tokenizer.detokenizer,
            sliceable=self._tree.sliceable,
            prefill_chunk=self._limits.prefill_chunk,
            max_running=self._limits.max_running,
            refresh=self._refresh,
            clock=self._clock,
        )

    def _refresh(self, job: Job) -> Job:
        """The job with what the tree has learnt since it was admitted."""
        assert self._tree is not None
        prompt = job.tokens[:-1]
        if self._tree.match_length(prompt) <= job.lease.length:
            return job
        job.lease.release()
        return replace(job, lease=self._tree.lease(prompt))

    def _drop_model(self) -> None:
        """Frees weights and KV before others are loaded; the engine holds neither."""
        if self._batch is not None:
            self._batch.close()
        if self._tree is not None:
            self._tree.clear()
        self._model = self._batch = self._tree = None
        gc.collect()
        mx.clear_cache()

    def _fail_all(self, error: BaseException) -> None:
        if self._batch is None:
            return
        for job in self._batch.jobs:
            self._turn_away(job, error)

    def _abandon(self, error: BaseException | None) -> None:
        reason = "anyclaude is stopping" if error is None else f"the MLX thread died: {error}"
        if self._batch is not None:
            for job in self._batch.jobs:
                self._turn_away(job, EngineFailed(reason))
            self._batch.close()
        self._model = self._batch = self._tree = None
        self._gauge()

    def _gauge(self) -> None:
        batch = self._batch
        self.gauges = Gauges(
            running=batch.running if batch else 0,
            waiting=batch.waiting if batch else 0,
            busy_seconds=self._busy,
            prefill_tps=self._prefill_tps,
            active_bytes=int(mx.get_active_memory()),
        )


def usage_of(job: Job, reused: int, output_tokens: int) -> Usage:
    """Anthropic's split of the prompt: read, newly written up to the mark, and the rest."""
    created = max(0, job.mark_tokens - reused)
    return Usage(
        input_tokens=len(job.tokens) - reused - created,
        cache_read_tokens=reused,
        cache_creation_tokens=created,
        output_tokens=output_tokens,
    )
