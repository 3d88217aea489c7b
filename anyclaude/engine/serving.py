"""What lives as long as one loaded model: the queue, the running rows and the prefix tree.

Here a job waits for its turn, takes over what the tree holds of its prompt, is read and
answered, and leaves its KV in the tree. Everything runs on the MLX thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import mlx.core as mx

from anyclaude.backend import Delta, Finish, Prefill
from anyclaude.caches.kv.node import common_prefix
from anyclaude.caches.kv.tree import TreeStats
from anyclaude.engine.batch import Batch
from anyclaude.engine.disk_link import DiskLink
from anyclaude.engine.ending import finish_of
from anyclaude.engine.job import Job
from anyclaude.engine.kv import KVCutter, KVLease, KVTree, Layout
from anyclaude.engine.kv_arrays import layer_bytes
from anyclaude.engine.load import LoadedModel
from anyclaude.engine.memory import MemoryGuard
from anyclaude.engine.memory_actions import carry_out, holdings, row_size
from anyclaude.engine.memory_policy import Holdings, Need, Relief
from anyclaude.engine.rows import Ended, Row, Step
from anyclaude.engine.sampling import ResolvedSampling
from anyclaude.engine.scheduler import BACKGROUND, ChunkSizer, in_order
from anyclaude.errors import Overloaded
from anyclaude.types import Tokens

ROOM = 256
"""Places for answer tokens that a row's buffers begin with: one of mlx-lm's growth steps."""
WORTH_WAITING = 64
"""Tokens that a row now being read must save a waiting job, for the job to wait for it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Tokens per prefill chunk and delta, rows at once, and bytes for stored KV.

    ``kv_bits`` 0 stores KV as the model wrote it; ``pin_main`` keeps the newest prompt of each
    session's main conversation whatever else comes; ``warm_up`` reads the last session's system
    prompt when the model is loaded.
    """

    prefill_chunk: int
    stream_chunk: int
    max_running: int
    cache_bytes: int
    cache_enabled: bool
    kv_bits: int = 0
    pin_main: bool = True
    warm_up: bool = True


class Serving:
    """Jobs and rows over one model; ``disk`` is set once, if there is a disk tier. While it is
    ``paused``, jobs that belong to no answer under way wait."""

    def __init__(
        self,
        model: LoadedModel,
        limits: Limits,
        evicted: Callable[[int], None],
        clock: Callable[[], float],
        guard: MemoryGuard | None = None,
    ) -> None:
        self.model = model
        self.layout = Layout.of(model.model)
        self.tree = KVTree(KVCutter(limits.kv_bits), needs_state=not self.layout.plain)
        self.sizer = ChunkSizer(limits.prefill_chunk)
        self._limits = limits
        self._evicted = evicted
        self._guard = guard
        self.disk: DiskLink | None = None
        self.paused = False
        self._clock = clock
        self._waiting: list[Job] = []
        self._overlaps: dict[tuple[str, str], int] = {}
        self._batch = self._new_batch()
        if guard is not None:
            guard.model_loaded(row_size(model.model), limits.prefill_chunk, self.held)

    def _new_batch(self) -> Batch:
        model = self.model
        return Batch(
            model.model,
            self.layout,
            shared=model.rows_share_passes,
            stacks=model.rows_stack,
            head=model.head,
            eos_ids=model.eos_ids,
            detokenizer=lambda: model.tokenizer.detokenizer,
            sizer=self.sizer,
            clock=self._clock,
        )

    # ------------------------------------------------------------------------------- the jobs

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._batch.rows)

    @property
    def idle(self) -> bool:
        return not self._ready and self._batch.idle

    @property
    def _ready(self) -> list[Job]:
        """The waiting jobs that a pause doesn't hold back."""
        return [job for job in self._waiting if job.goes_on] if self.paused else self._waiting

    @property
    def unwritten(self) -> bool:
        """Whether something is still to be brought to disk."""
        return self.disk is not None and self.disk.pending

    def write(self) -> bool:
        """Brings a file's worth to disk; ``False`` when nothing can be done just now."""
        return self.disk is not None and self.disk.work()

    @property
    def jobs(self) -> list[Job]:
        """Every job here, running ones first."""
        return [*(row.job for row in self._batch.rows), *self._waiting]

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def warm_up(self, head: Tokens) -> None:
        """Has a session head read when nobody else needs the model."""
        if len(head) <= self.tree.match_length(head):
            return
        self.submit(
            Job(
                id="warm-up",
                tokens=head,
                lease=self.tree.lease(head[:-1]),
                max_tokens=0,
                sampling=ResolvedSampling(),
                stop_sequences=(),
                mark_tokens=0,
                submitted=self._clock(),
                rank=BACKGROUND,
                report=lambda report: None,
                system_tokens=len(head),
                boundaries=(len(head),),
            )
        )

    def drop_waiting(self) -> list[Job]:
        """Takes out the jobs that haven't started."""
        dropped, self._waiting = self._waiting, []
        return dropped

    def cancel(self, job_id: str) -> None:
        """Takes a request out wherever it is; what was computed for it stays in the tree."""
        for job in self._waiting:
            if job.id == job_id:
                self._waiting.remove(job)
                job.lease.release()
                return
        row = self._batch.find(job_id)
        if row is not None:
            self._batch.drop(row)
            self._leave(row)

    def abandon(self) -> list[Job]:
        """Forgets every job and row without keeping anything; the jobs, for whoever tells."""
        jobs = self.jobs
        self._waiting = []
        self._overlaps.clear()
        self._batch = self._new_batch()
        return jobs

    # --------------------------------------------------------------------------------- a step

    def step(self) -> Step:
        """Starts what may start, then one token for everyone and one chunk of a prompt."""
        self._admit()
        return self._batch.step()

    def _admit(self) -> None:
        if not self._waiting:
            return
        for job in in_order(self._ready, self._clock()):
            if self.running >= self._most_rows:
                return
            if self._waits_for_a_row(job):
                continue
            verdict, job = self._may_start(self._refresh(job))
            if verdict == "wait":
                return
            if verdict == "go":
                self._start(self._refresh(job))

    @property
    def _most_rows(self) -> int:
        most = self._limits.max_running
        return most if self._guard is None else min(most, self._guard.rows)

    def _refresh(self, job: Job) -> Job:
        """The waiting job with what the tree holds of its prompt by now."""
        prompt = job.tokens[:-1]
        if self.tree.match_length(prompt) <= job.lease.length:
            return job
        job.lease.release()
        return self._exchange(job, self.tree.lease(prompt))

    def _exchange(self, job: Job, lease: KVLease) -> Job:
        index = self._waiting.index(job)
        job = self._waiting[index] = replace(job, lease=lease)
        return job

    def _may_start(self, job: Job) -> tuple[Literal["go", "wait", "refused"], Job]:
        """Asks the memory guard, and makes room if that helps; the job may be another then."""
        if self._guard is None:
            return "go", job
        for tried in itertools.count():
            need = Need(job.id, len(job.tokens), job.lease.length, self.sizer.largest)
            verdict = self._guard.admit(need, self.held, tried=tried)
            if verdict.relief is not None:
                if verdict.relief.reset:  # Or its own prefix would stay.
                    job.lease.release()
                    job = self._exchange(job, self.tree.lease(()))
                self.relieve(verdict.relief)
                continue
            if verdict.error is not None:
                self._waiting.remove(job)
                job.lease.release()
                job.report(verdict.error)
                return "refused", job
            return "wait" if verdict.kind == "wait" else "go", job
        raise AssertionError("unreachable")

    # ---------------------------------------------------------------------------------- memory

    def held(self) -> Holdings:
        """What there is now, for the memory guard."""
        ahead = sum(row.left for row in self._batch.reading)
        return holdings(self.tree, running=self.running, ahead=ahead)

    def check_memory(self) -> None:
        """Sheds what the guard asks for, if it does."""
        if self._guard is not None and (relief := self._guard.check(self.held)) is not None:
            self.relieve(relief)

    def relieve(self, relief: Relief) -> None:
        assert self._guard is not None
        self._guard.done(relief, carry_out(relief, self.tree, self._shed))

    def _shed(self) -> str:
        """Ends the youngest row, without keeping anything of it; the request's id."""
        rows = self._batch.rows
        if not rows:
            return ""
        row = max(rows, key=lambda row: row.started)
        self._batch.drop(row)
        row.job.lease.release()
        row.job.report(
            Overloaded("ended, for the machine runs out of memory; try again", retry_after=10)
        )
        return row.job.id

    def _may_keep(self, row: Row, covered: Tokens, nbytes: int) -> bool:
        """Whether the tree may copy what the row has computed; its caches take ``nbytes``."""
        if self._guard is None:
            return True
        for tried in itertools.count():
            new = row.fed - self.tree.match_length(covered)
            copied = -(-nbytes * new // row.fed)
            verdict = self._guard.keep(new, copied, self.held, tried=tried)
            if verdict.relief is None:
                return verdict.kind == "go"
            self.relieve(verdict.relief)
        raise AssertionError("unreachable")

    def _start(self, job: Job) -> None:
        index = self._waiting.index(job)
        room = len(job.tokens) - job.lease.length + ROOM
        self._batch.start(job, self.layout.restore(job.lease, room))
        del self._waiting[index]  # Last: until now, whoever cleans up finds the job there.

    def _waits_for_a_row(self, job: Job) -> bool:
        """Whether a row is about to compute what this job needs too.

        A row that already has computed it puts it into the tree at once.
        """
        if not self._limits.cache_enabled:
            return False
        held = max(job.lease.length, self.tree.match_length(job.tokens[:-1]))
        for row in self._batch.rows:
            common = self._overlap(row, job)
            if common - held < WORTH_WAITING:
                continue
            if row.fed < common:
                return True
            self._keep(row)
            held = common
        return False

    def _overlap(self, row: Row, job: Job) -> int:
        """Tokens of the row's prompt that the job could take over."""
        key = (row.job.id, job.id)
        if key not in self._overlaps:
            common = common_prefix(row.job.tokens, job.tokens[:-1])
            if not self.layout.plain:
                common = max((at for at in row.job.boundaries if at <= common), default=0)
            self._overlaps[key] = common
        return self._overlaps[key]

    # ---------------------------------------------------------------------------------- the end

    def finish(self, end: Ended) -> Finish:
        """Takes a complete row out, keeps its KV, and says how it went."""
        nbytes = self._leave(end.row)
        return finish_of(
            end,
            self._clock(),
            self.model.eos_ids,
            kv_bytes=nbytes,
            token_seconds=self.sizer.token_seconds,
        )

    def _leave(self, row: Row) -> int:
        """A row is no more: its KV goes to the tree and from there to disk."""
        nbytes = self._keep(row)
        row.job.lease.release()
        if self._guard is not None:
            self._guard.request_finished(row.fed, nbytes)
        for key in [key for key in self._overlaps if row.job.id in key]:
            del self._overlaps[key]
        if self.disk is not None and nbytes and self._limits.cache_enabled:
            self.disk.answered(row)
        return nbytes

    def _keep(self, row: Row) -> int:
        """Stores a row's KV in the tree; returns the bytes that the whole of it takes."""
        if not row.fed:
            return 0
        self._batch.apart()
        kv = self.layout.views(row.caches)
        nbytes = sum(layer_bytes(layer) for layer in kv.layers if layer is not None)
        if not self._limits.cache_enabled:
            return nbytes
        if not self.layout.plain and row.fed not in row.states:
            state = self.layout.snapshot(row.caches)
            assert state is not None
            row.states[row.fed] = state
            nbytes += state.nbytes
        covered = row.covered
        if not self._may_keep(row, covered, nbytes):
            return nbytes
        self.tree.insert(covered, kv, row.states)
        if row.job.session and self._limits.pin_main:
            self.tree.pin(row.job.session, covered)
        freed = self.tree.evict_to(self._limits.cache_bytes)
        if freed:
            self._evicted(freed)
        return nbytes

    def flush(self) -> TreeStats:
        """Empties the tree of everything that isn't in use, and says what went."""
        if self.disk is not None:
            self.disk.forget()
        freed = self.tree.clear()
        if self._guard is not None:
            self._guard.cache_emptied()
        mx.synchronize()
        mx.clear_cache()
        return freed

    def close(self) -> None:
        """Lets go of everything that is kept."""
        if self.disk is not None:
            self.disk.close()
        self.tree.clear()

    def reports(self, step: Step) -> None:
        """Tells the jobs what the step did for them."""
        for row in step.read:
            row.job.report(Prefill(row.fed, len(row.job.tokens)))
        ended = {id(end.row) for end in step.ended}
        for row in step.written:
            full = row.pending_tokens >= self._limits.stream_chunk
            if row.pending and (full or id(row) in ended):
                row.job.report(Delta(row.pending, row.pending_tokens))
                row.pending, row.pending_tokens = "", 0
        for end in step.ended:
            end.row.job.report(self.finish(end))
