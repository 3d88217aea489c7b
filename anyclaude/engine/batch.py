"""The one place that talks to mlx-lm's ``BatchGenerator``.

Its argument names changed in 0.31, 0.32.0 and 0.32.2, it copies caches on the way in and out,
and a short remainder next to a long chunk is padded to the chunk. So: one prompt, or a group of
like length, prefills at a time; the others wait here, in order.

Everything runs on the MLX thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import mlx.nn as nn
from mlx_lm.generate import BatchGenerator, StopSequences

from anyclaude.engine.job import Job
from anyclaude.engine.kv import StoredKV, caches_for, stored
from anyclaude.engine.sampling import make_sampler
from anyclaude.engine.stop import StopText
from anyclaude.types import FinishReason, Tokens

DECODE_ROOM = 256  # One of mlx-lm's own growth steps.


class Detokenizer(Protocol):
    """mlx-lm's streaming detokenizer, as far as it is used here."""

    @property
    def last_segment(self) -> str: ...
    def add_token(self, token: int) -> None: ...
    def finalize(self) -> None: ...


@dataclass(slots=True)
class Row:
    """One sequence in the batch and what it has produced."""

    job: Job
    detokenizer: Detokenizer
    stop: StopText
    uid: int = -1
    inserted: float = 0.0
    first_token: float | None = None
    prefilled: int = 0
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    pending: str = ""
    pending_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Removed:
    """A row that left the batch. ``kv`` covers exactly ``tokens``; ``None`` if it had none."""

    row: Row
    kv: StoredKV | None
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Ended:
    """A row whose answer is complete."""

    removed: Removed
    reason: FinishReason
    stop_sequence: str | None = None

    @property
    def row(self) -> Row:
        return self.removed.row


@dataclass(frozen=True, slots=True)
class Step:
    """What one call of :meth:`Batch.step` did."""

    prefilled: tuple[Row, ...] = ()
    generated: tuple[Row, ...] = ()
    ended: tuple[Ended, ...] = ()
    prefill_tokens: int = 0


class Batch:
    """Rows that prefill and decode together over one model."""

    def __init__(
        self,
        model: nn.Module,
        *,
        eos_ids: frozenset[int],
        detokenizer: Callable[[], Detokenizer],
        sliceable: bool,
        prefill_chunk: int,
        max_running: int,
        refresh: Callable[[Job], Job],
        clock: Callable[[], float],
    ) -> None:
        self._model = model
        self._eos = eos_ids
        self._detokenizer = detokenizer
        self._sliceable = sliceable
        self._chunk = prefill_chunk
        self._max_running = max_running
        self._refresh = refresh
        self._clock = clock
        self._waiting: deque[Job] = deque()
        self._rows: dict[int, Row] = {}
        self._prefilling: set[int] = set()
        self._stops = StopSequences([[token] for token in sorted(eos_ids)])
        self._generator = BatchGenerator(
            model,
            prefill_step_size=prefill_chunk,
            prefill_batch_size=max_running,
            completion_batch_size=max_running,
        )

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._rows)

    @property
    def idle(self) -> bool:
        return not self._rows and not self._waiting

    @property
    def jobs(self) -> list[Job]:
        """Every job here, running ones first."""
        return [*(row.job for row in self._rows.values()), *self._waiting]

    def add(self, job: Job) -> None:
        self._waiting.append(job)

    def drop_waiting(self) -> list[Job]:
        """Takes out the jobs that haven't started."""
        dropped = list(self._waiting)
        self._waiting.clear()
        return dropped

    def close(self) -> None:
        self._generator.close()

    # ------------------------------------------------------------------------------- a step

    def step(self) -> Step:
        """One decode step for every running row and one prefill chunk for those that need it."""
        self._admit()
        if not self._rows:
            return Step()
        prompts, responses = self._generator.next()
        prefilled, tokens = self._progress(prompts)
        generated: list[Row] = []
        ended: list[Ended] = []
        for response in responses:
            row = self._rows[response.uid]
            if row.first_token is None:
                row.first_token = self._clock()
            self._prefilling.discard(row.uid)
            end = self._take(row, response)
            generated.append(row)
            if end is not None:
                ended.append(end)
        return Step(tuple(prefilled), tuple(generated), tuple(ended), tokens)

    def _admit(self) -> None:
        if self._prefilling or not self._waiting:
            return
        group = self._next_group()
        if not group:
            return
        try:
            self._insert(group)
        except Exception:
            self._waiting.extendleft(reversed(group))  # Where whoever cleans up finds them.
            raise

    def _insert(self, group: list[Job]) -> None:
        rows = [
            Row(job, self._detokenizer(), StopText(job.stop_sequences), inserted=self._clock())
            for job in group
        ]
        rests = [list(row.job.tokens[row.job.lease.length :]) for row in rows]
        leased = any(row.job.lease.length for row in rows)
        uids = self._generator.insert(
            rests,
            max_tokens=[row.job.max_tokens for row in rows],
            caches=[
                caches_for(self._model, row.job.lease, len(rest) + DECODE_ROOM, leased=leased)
                for row, rest in zip(rows, rests, strict=True)
            ],
            all_tokens=[list(row.job.tokens[: row.job.lease.length]) for row in rows],
            samplers=[make_sampler(row.job.sampling) for row in rows],
            stop_sequences=[self._stops] * len(rows),
        )
        for uid, row in zip(uids, rows, strict=True):
            row.uid = uid
            self._rows[uid] = row
            self._prefilling.add(uid)

    def _next_group(self) -> list[Job]:
        """The first waiting job, and those next to it that pad it little."""
        group: list[Job] = []
        while self._waiting and len(group) + len(self._rows) < self._max_running:
            job = self._waiting[0] = self._refresh(self._waiting[0])
            if group and not _alike([*group, job]):
                break
            group.append(self._waiting.popleft())
        return group

    def _progress(self, prompts: Sequence[BatchGenerator.Response]) -> tuple[list[Row], int]:
        rows, tokens = [], 0
        for prompt in prompts:
            row = self._rows.get(prompt.uid)
            if row is None:
                continue
            done = prompt.progress[0]
            tokens += done - row.prefilled
            row.prefilled = done
            rows.append(row)
            if prompt.end_of_prompt:
                self._prefilling.discard(prompt.uid)
        return rows, tokens

    def _take(self, row: Row, response: BatchGenerator.Response) -> Ended | None:
        token = int(response.token)
        row.pending_tokens += 1
        hit = None
        if token not in self._eos:
            row.tokens.append(token)
            row.detokenizer.add_token(token)
            hit = row.stop.feed(row.detokenizer.last_segment)
            row.pending += hit.text
        if hit is not None and hit.sequence is not None:
            if response.finish_reason is not None:
                return Ended(self._finished(row, response), "stop_sequence", hit.sequence)
            return Ended(self._remove(row), "stop_sequence", hit.sequence)
        if response.finish_reason is None:
            return None
        row.detokenizer.finalize()
        last = row.stop.feed(row.detokenizer.last_segment)
        row.pending += last.text
        if last.sequence is not None:
            return Ended(self._finished(row, response), "stop_sequence", last.sequence)
        row.pending += row.stop.flush()
        return Ended(self._finished(row, response), "stop" if token in self._eos else "length")

    def _finished(self, row: Row, response: BatchGenerator.Response) -> Removed:
        self._forget(row)
        kv = stored(response.prompt_cache, sliceable=self._sliceable)
        return Removed(row, kv, tuple(response.all_tokens))

    # ------------------------------------------------------------------------------- leaving

    def cancel(self, job_id: str) -> Removed | Job | None:
        """Takes a request out wherever it is; a running one brings its KV along."""
        for job in self._waiting:
            if job.id == job_id:
                self._waiting.remove(job)
                return job
        for row in self._rows.values():
            if row.job.id == job_id:
                return self._remove(row)
        return None

    def _remove(self, row: Row) -> Removed:
        extracted = self._generator.remove([row.uid], return_prompt_caches=True)
        self._forget(row)
        if row.uid not in extracted or not row.prefilled:
            return Removed(row, None, ())
        caches, tokens = extracted[row.uid]
        return Removed(row, stored(caches, sliceable=self._sliceable), tuple(tokens))

    def _forget(self, row: Row) -> None:
        self._rows.pop(row.uid, None)
        self._prefilling.discard(row.uid)


def _alike(jobs: Sequence[Job]) -> bool:
    """Whether the jobs' prompts can share padded steps without much waste.

    Rows are padded to the longest, both in what the cache gives and in what is to be computed.
    States that can't be cut (snapshots) have no such padding and stay alone.
    """
    if any(job.lease.snapshot is not None for job in jobs):
        return False
    held = [job.lease.length for job in jobs]
    rests = [len(job.tokens) - job.lease.length for job in jobs]
    return _waste(held) <= max(512, sum(held) // 2) and (
        max(rests) <= 64 or _waste(rests) <= sum(rests) // 2
    )


def _waste(lengths: Sequence[int]) -> int:
    return len(lengths) * max(lengths) - sum(lengths)
