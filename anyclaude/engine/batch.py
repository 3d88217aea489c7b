"""The rows that read and write together over one model, step by step.

A step gives every running answer one token and then reads one chunk of one prompt. Each row has
its own caches (see :mod:`anyclaude.engine.ragged`), so that rows come and go without a copy and
short ones are never padded to long ones; those of like length that go on together are put
together for as long as they do (:mod:`anyclaude.engine.stacked`). The pass for the next token is
under way before the last one is looked at; a row that turns out to have ended has then been fed
once more, which its ``fed`` count knows. Where a row has a grammar (see
:mod:`anyclaude.engine.constraint`), the last tokens are read while the pass computes, and the
masks are made beside it too.

Everything runs on the MLX thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from anyclaude.engine.constraint import allowed
from anyclaude.engine.head import Head
from anyclaude.engine.job import Job
from anyclaude.engine.kv import Layout, RowCaches
from anyclaude.engine.ragged import any_length, ragged
from anyclaude.engine.rows import Detokenizer, Ended, Row, Step
from anyclaude.engine.sampling import make_sampler
from anyclaude.engine.scheduler import ChunkSizer, next_reader, price
from anyclaude.engine.stacked import Stacker
from anyclaude.engine.stop import StopText

SHORT_END = 64
"""Where a model's output layer can't be narrowed (see :mod:`anyclaude.engine.head`), a prompt's
last tokens still give the first answer token when they are so few: scoring them all then costs
less than a pass for the last one alone. Prompts as short as this share their last pass."""


class Batch:
    """``shared`` says whether several rows can take one pass (``ragged.fits``), ``stacks`` whether
    over common buffers too (``stacked.fits``); ``head`` narrows the model's output layer if it can
    be."""

    def __init__(
        self,
        model: nn.Module,
        layout: Layout,
        *,
        shared: bool,
        stacks: bool,
        head: Head | None,
        eos_ids: frozenset[int],
        detokenizer: Callable[[], Detokenizer],
        sizer: ChunkSizer,
        clock: Callable[[], float],
    ) -> None:
        self._model = model
        self._layout = layout
        self._shared = shared
        self._stacks = stacks
        self._head = head
        self._eos = eos_ids
        self._detokenizer = detokenizer
        self._sizer = sizer
        self._clock = clock
        self._stacker = Stacker()
        self._reading: list[Row] = []
        self._joining: list[Row] = []  # All read but the last token, which the next pass takes.
        self._writing: list[Row] = []
        self._sampled: mx.array | None = None  # One token for each row of ``_writing``.
        self._begun: list[Row] = []  # Of these, rows whose first token is there to be told.

    # -------------------------------------------------------------------------------- the rows

    @property
    def rows(self) -> list[Row]:
        return [*self._writing, *self._joining, *self._reading]

    @property
    def reading(self) -> Sequence[Row]:
        """Rows whose prompt isn't read yet."""
        return self._reading

    @property
    def idle(self) -> bool:
        return not (self._reading or self._joining or self._writing)

    def start(self, job: Job, caches: RowCaches) -> Row:
        """A row for ``job`` whose caches hold what its lease covers."""
        sampler = None if job.sampling.greedy else make_sampler(job.sampling)
        row = Row(
            job,
            caches,
            self._detokenizer(),
            StopText(job.stop_sequences),
            sampler,
            started=self._clock(),
            fed=job.lease.length,
            service=min((r.service for r in self._reading), default=0.0),
        )
        (self._joining if row.left == 1 and job.max_tokens else self._reading).append(row)
        return row

    def find(self, job_id: str) -> Row | None:
        return next((row for row in self.rows if row.job.id == job_id), None)

    def drop(self, row: Row) -> None:
        """Takes a row out; its caches hold ``row.covered``."""
        for rows in (self._reading, self._joining):
            if row in rows:
                rows.remove(row)
        self._keep_writing([r for r in self._writing if r is not row])

    def apart(self) -> None:
        """Every row's own caches hold what it has computed, until the next step."""
        self._stacker.apart()

    # -------------------------------------------------------------------------------- a step

    def step(self) -> Step:
        """One token for every running answer, then one chunk of one prompt."""
        started = self._clock()
        written, ended = self._write()
        read, tokens = self._read(started)
        first, over = self._begin()
        written, ended = [*written, *first], [*ended, *over]
        ended += [Ended(row, "length") for row in read if not row.left and not row.job.max_tokens]
        return Step(tuple(read), tuple(written), tuple(ended), tokens)

    def _write(self) -> tuple[list[Row], list[Ended]]:
        rows, sampled = self._writing, self._sampled
        going = [row for row in rows if row.told or len(row.tokens) + 1 < row.job.max_tokens]
        joining, self._joining = self._joining, []
        started = self._clock()
        alone = not self._reading
        following = self._pass(going, joining)
        ended: list[Ended] = []
        if sampled is not None:
            for row, token in zip(rows, cast(list[int], sampled.tolist()), strict=True):
                if row.told:
                    continue
                end = self._take(row, token)
                if end is not None:
                    ended.append(end)
        written = [row for row in rows if not row.told]
        for row in rows:
            row.told = False
        self._writing, self._sampled = [*going, *joining], following
        if ended:
            gone = {id(end.row) for end in ended}
            self._keep_writing([row for row in self._writing if id(row) not in gone])
        if rows and (alone or not self._sizer.step_seconds):
            self._sizer.decoded(self._clock() - started)
        return written, ended

    def _begin(self) -> tuple[list[Row], list[Ended]]:
        """Hands out the first tokens of rows that were just read, before the next pass begins."""
        if not self._begun:
            return [], []
        rows, self._begun = self._begun, []
        index = {id(row): number for number, row in enumerate(self._writing)}
        assert self._sampled is not None
        tokens = cast(list[int], self._sampled.tolist())
        ended = [end for row in rows if (end := self._take(row, tokens[index[id(row)]]))]
        for row in rows:
            row.told = True
        gone = {id(end.row) for end in ended}
        if gone:
            self._keep_writing([row for row in self._writing if id(row) not in gone])
        return rows, ended

    def _pass(self, going: list[Row], joining: list[Row]) -> mx.array | None:
        """Starts the pass for the next tokens; nothing is waited for."""
        inputs = []
        if going:
            assert self._sampled is not None
            inputs.append(self._chosen(going))
        if joining:
            inputs.append(mx.array([row.job.tokens[-1] for row in joining], mx.uint32))
        rows = [*going, *joining]
        if not rows:
            self._stacker.apart()
            return None
        tokens = inputs[0] if len(inputs) == 1 else mx.concatenate(inputs)
        following = self._next(rows, going, self._following(rows, tokens[:, None]))
        for row in rows:
            row.fed += 1
        mx.async_eval(following)  # type: ignore[no-untyped-call]
        return following

    def _next(self, rows: list[Row], going: list[Row], logits: mx.array) -> mx.array:
        """The tokens after the pass under way, which the rows' grammars allow."""
        constraints = [row.constraint for row in rows]
        if all(constraint is None for constraint in constraints):
            return self._sample(rows, logits)
        if any(constraint is not None and constraint.holds for constraint in constraints):
            mx.async_eval(logits)  # type: ignore[no-untyped-call]
            self._follow(going)
            return self._sample(rows, allowed([row.constraint for row in rows], logits))
        # Text is hardly ever masked, so the next tokens are drawn before the last are read.
        drawn = self._sample(rows, logits)
        mx.async_eval(drawn, logits)  # type: ignore[no-untyped-call]
        self._follow(going)
        held = allowed([row.constraint for row in rows], logits)
        return drawn if held is logits else self._sample(rows, held)

    def _follow(self, going: Sequence[Row]) -> None:
        """Tells the rows' constraints the tokens that the pass under way takes."""
        if self._sampled is None or all(row.constraint is None for row in going):
            return
        last = cast(list[int], self._sampled.tolist())
        for row, token in zip(self._writing, last, strict=True):
            if row.constraint is not None and row in going:
                row.constraint.took(token)

    def _chosen(self, rows: list[Row]) -> mx.array:
        assert self._sampled is not None
        if len(rows) == len(self._writing):
            return self._sampled
        index = {id(row): number for number, row in enumerate(self._writing)}
        return self._sampled[mx.array([index[id(row)] for row in rows])]

    def _keep_writing(self, rows: list[Row]) -> None:
        if len(rows) != len(self._writing):
            self._stacker.apart()
        if self._sampled is not None:
            self._sampled = self._chosen(rows) if rows else None
        self._writing = rows

    def _take(self, row: Row, token: int) -> Ended | None:
        if row.first_token is None:
            row.first_token = self._clock()
        ends = token in self._eos
        hit = row.take(token, ends)
        if hit is not None:
            return Ended(row, "stop_sequence", hit)
        if not ends and len(row.tokens) < row.job.max_tokens:
            return None
        hit = row.finish()
        if hit is not None:
            return Ended(row, "stop_sequence", hit)
        return Ended(row, "stop" if ends else "length")

    # ------------------------------------------------------------------------------- reading

    def _read(self, since: float) -> tuple[list[Row], int]:
        """One chunk; beside running answers its time is counted from the step's beginning."""
        if not self._reading:
            return [], 0
        rows = self._short_ones() or [next_reader(self._reading)]
        counts = [self._count(row) for row in rows]
        # A row of a model with states may stop at a message's end while another one is through.
        final = [
            i
            for i, (row, count) in enumerate(zip(rows, counts, strict=True))
            if row.left == count and row.job.max_tokens
        ]
        width = max(counts)
        tokens = mx.array(
            [
                [*row.job.tokens[row.fed : row.fed + count], *[0] * (width - count)]
                for row, count in zip(rows, counts, strict=True)
            ],
            mx.uint32,
        )
        busy = bool(self._writing or self._joining)
        started = since if busy else self._clock()
        logits = self._forward(rows, tokens, counts)
        ending = [rows[i] for i in final]
        sampled = self._first(ending, logits[mx.array(final)]) if final else None
        mx.eval(sampled, [_arrays(row.caches) for row in rows])
        for row, count in zip(rows, counts, strict=True):
            self._advance(row, count)
        if sampled is not None:
            self._begin_writing(ending, sampled)
        self._sizer.read(sum(counts), self._clock() - started, decoding=busy)
        return rows, sum(counts)

    def _short_ones(self) -> list[Row]:
        """Prompts that end in one short pass share it."""
        short = [row for row in self._reading if row.left <= SHORT_END and row.job.max_tokens]
        if len(short) < 2 or not self._shared:
            return []
        return short if any_length(self._layout.leaves(short[0].caches)) else []

    def _count(self, row: Row) -> int:
        """How much of the row's prompt is read now."""
        busy = bool(self._writing or self._joining)
        # Beside running answers the last token joins their next pass, which costs nothing more.
        apart = row.job.max_tokens and (busy or (self._head is None and row.left > SHORT_END))
        if row.left > 1 and apart:
            count = self._sizer.chunk(row.left - 1, row.new_tokens, decoding=busy)
        else:
            count = self._sizer.chunk(row.left, row.new_tokens, decoding=busy)
        if not self._layout.plain:
            count = min(count, row.next_stop() - row.fed)
        return count

    def _advance(self, row: Row, count: int) -> None:
        row.fed += count
        row.service += count * price(row.job.rank)
        if not self._layout.plain and row.fed in row.job.boundaries:
            state = self._layout.snapshot(row.caches)
            assert state is not None
            row.states[row.fed] = state
        if not row.left:
            self._reading.remove(row)
        elif row.left == 1 and row.job.max_tokens:
            self._reading.remove(row)
            self._joining.append(row)

    def _begin_writing(self, rows: list[Row], sampled: mx.array) -> None:
        have = [self._sampled] if self._sampled is not None else []
        self._sampled = mx.concatenate([*have, sampled]) if have else sampled
        self._writing = [*self._writing, *rows]
        if have:
            return  # The others' tokens are still being computed: all are taken together.
        self._begun = list(rows)

    # ---------------------------------------------------------------------------- the forward

    def _following(self, rows: Sequence[Row], tokens: mx.array) -> mx.array:
        """Scores after one more token of each row, of shape (rows, vocabulary)."""
        counts = [1] * len(rows)
        caches = [row.caches for row in rows]
        stack = self._stacker.stack(caches) if self._stacks else None
        if stack is None:
            return self._forward(rows, tokens, counts)
        logits = self._scores(tokens, list(stack.layers), counts)[:, -1]
        stack.advance()
        return logits

    def _forward(self, rows: Sequence[Row], tokens: mx.array, counts: Sequence[int]) -> mx.array:
        """Scores after each row's last of ``counts`` tokens, of shape (rows, vocabulary)."""
        if len(rows) == 1:
            return self._scores(tokens, rows[0].caches, counts)[:, -1]
        if self._shared:
            logits = self._scores(tokens, ragged([row.caches for row in rows], counts), counts)
            if logits.shape[1] == 1:
                return logits[:, -1]
            return logits[mx.arange(len(rows)), mx.array([count - 1 for count in counts])]
        return mx.concatenate(
            [
                self._scores(tokens[i : i + 1, :count], row.caches, [count])[:, -1]
                for i, (row, count) in enumerate(zip(rows, counts, strict=True))
            ]
        )

    def _scores(self, tokens: mx.array, caches: list[object], counts: Sequence[int]) -> mx.array:
        with self._head.only(counts) if self._head is not None else nullcontext():
            logits: mx.array = self._model(tokens, cache=caches)
        return logits

    def _first(self, rows: Sequence[Row], logits: mx.array) -> mx.array:
        return self._sample(rows, allowed([row.constraint for row in rows], logits))

    def _sample(self, rows: Sequence[Row], logits: mx.array) -> mx.array:
        if all(row.sampler is None for row in rows):
            return mx.argmax(logits, axis=-1)
        chosen = []
        for index, row in enumerate(rows):
            own = logits[index : index + 1]
            if row.sampler is None:
                chosen.append(mx.argmax(own, axis=-1))
            else:
                logprobs = own - mx.logsumexp(own, axis=-1, keepdims=True)
                chosen.append(row.sampler(logprobs).astype(mx.uint32))
        return mx.concatenate(chosen)


def _arrays(caches: RowCaches) -> list[mx.array]:
    found = (value for _, value in tree_flatten([c.state for c in caches]))  # type: ignore[attr-defined]
    return [value for value in found if isinstance(value, mx.array)]
