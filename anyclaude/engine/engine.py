"""The local MLX backend as the event loop sees it.

Renders and tokenises on an executor thread, takes a lease on the prefix tree, hands the job to
the MLX thread and turns its reports into an async stream. Nothing here computes with MLX.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from anyclaude.backend import BackendRequest, Finish
from anyclaude.caches.kv.disk import DiskTier, Freed
from anyclaude.caches.kv.tree import TreeStats
from anyclaude.engine.admission import admission_for, constraint_for, flight_key, job_for
from anyclaude.engine.caches import Caches
from anyclaude.engine.flights import Flights
from anyclaude.engine.generation import MlxGeneration
from anyclaude.engine.job import JobReport
from anyclaude.engine.kv import KVTree
from anyclaude.engine.on_loop import OnLoop
from anyclaude.engine.options import EngineOptions
from anyclaude.engine.prefix_break import Reuse
from anyclaude.engine.preparing import Prepared, prepare, render
from anyclaude.engine.served import ServedModel
from anyclaude.engine.standing import Standing
from anyclaude.engine.worker import Gauges, ModelLoader, Worker
from anyclaude.errors import EngineFailed, Overloaded, Unavailable
from anyclaude.events import Bus
from anyclaude.types import Tokens

__all__ = ["Engine", "EngineOptions"]

T = TypeVar("T")

LOADING_RETRY_SECONDS = 3.0
FULL_RETRY_SECONDS = 5.0
JOIN_SECONDS = 1.3
WORTH_READING = 64
"""Tokens that the disk must know beyond those in memory."""


class Engine:
    """Loads models, admits requests and streams answers; the backend named ``mlx``."""

    name = "mlx"

    def __init__(
        self,
        loader: ModelLoader,
        options: EngineOptions,
        bus: Bus,
        *,
        disk: DiskTier | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._loader = loader
        self._options = options
        self._disk = disk
        self._clock = clock
        self._on_loop: OnLoop
        self._worker: Worker | None = None
        self.caches = Caches(disk, options.limits)
        self._standing = Standing(options, self.caches, bus, wall, self._fail_open)
        self._paused = False
        self.flights = Flights()
        self._pending: set[asyncio.Future[Any]] = set()
        self._admitting = 0

    # ------------------------------------------------------------------------------ lifecycle

    def start(self) -> None:
        """Starts the MLX thread unless it is switched off; must be called on the event loop."""
        if self._options.switched_off:
            return self._standing.enter("unloaded", detail=self._options.switched_off)
        self._on_loop = OnLoop(asyncio.get_running_loop(), self._standing)
        self._worker = Worker(
            self._loader,
            self._options.limits,
            self._on_loop,
            self._disk,
            self._options.memory,
            self._clock,
            expected=lambda: self._admitting,
            constrain=self._options.constrain,
        )
        self._worker.pause(self._paused)
        self._worker.start()

    async def stop(self) -> None:
        """Ends the thread in little over a second; open requests get an error."""
        worker = self._worker
        self._standing.enter("stopped", detail="anyclaude is stopping")
        if worker is not None:
            worker.stop()
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, worker.join, JOIN_SECONDS)
        self._fail_open(EngineFailed("anyclaude is stopping"))

    def load(self, model: str) -> None:
        """Begins loading ``model`` (a name the loader knows); progress comes as events."""
        worker = self._live_worker()
        self._standing.wanted = model
        self._standing.enter("loading", detail="waiting for running answers")
        worker.load(model)

    def unload(self) -> None:
        """Frees the model once running answers are done."""
        worker = self._live_worker()
        self._standing.wanted = ""
        self._standing.enter("unloaded", detail="unloading")
        worker.unload()

    def restart(self) -> None:
        """A new MLX thread with the model of the old one."""
        self._require_switched_on()
        old = self._worker
        if old is not None:
            self._on_loop.detach()  # A stuck thread may still end, and must not be believed.
            old.stop()
        self._fail_open(EngineFailed("the engine was restarted"))
        self._standing.forget_model()
        self.start()
        if self._standing.wanted:
            self.load(self._standing.wanted)

    @property
    def paused(self) -> bool:
        return self._paused

    def pause(self, paused: bool) -> None:
        """Whether new requests wait in the queue; what runs goes on, and an engine that is
        started anew keeps to it."""
        self._paused = paused
        if self._worker is not None:
            self._worker.pause(paused)

    def _require_switched_on(self) -> None:
        if self._options.switched_off:
            raise Unavailable(self._options.switched_off, context={"retry": False})

    def _live_worker(self) -> Worker:
        self._require_switched_on()
        if self._worker is None or not self._worker.is_alive():
            raise EngineFailed(
                "the MLX thread is dead; press R in the console, or POST "
                "/anyclaude/engine/restart, to start it again"
            )
        return self._worker

    # -------------------------------------------------------------------------------- requests

    @property
    def fingerprint(self) -> str:
        return self.model.fingerprint if self.model else ""

    @property
    def model(self) -> ServedModel | None:
        """The model that answers now."""
        return self.caches.model

    @property
    def context_limit(self) -> int:
        """Tokens that prompt and answer may take together; 0 without a model."""
        return self._standing.context_limit

    async def open(self, request: BackendRequest) -> MlxGeneration:
        """Admits the request.

        Raises :class:`Unavailable` while no model answers, :class:`Overloaded` when the queue
        is full and :class:`PromptTooLong` when the prompt leaves no room for an answer.
        """
        model, tree = self._require_model()
        if len(self.flights) + self._admitting >= self._options.capacity:
            raise Overloaded(
                f"{len(self.flights)} requests are running or waiting; try again shortly",
                retry_after=FULL_RETRY_SECONDS,
            )
        self._admitting += 1
        try:
            ready = await prepare(model, request, constrain=self._options.constrain)
            await self._fetch(tree, ready.rendered.tokens[:-1])
        finally:
            self._admitting -= 1
        guard = self._live_worker().guard
        if guard is not None:
            guard.preflight(len(ready.rendered.tokens))
        if self.model is not model or self._standing.phase != "ready":
            raise Overloaded("the model is being changed", retry_after=FULL_RETRY_SECONDS)
        return self._admit(model, tree, ready)

    async def count(self, request: BackendRequest) -> int:
        model, _ = self._require_model()
        return len((await render(model, request)).tokens)

    async def count_texts(self, texts: Sequence[str]) -> tuple[int, ...]:
        """The tokens of each text by itself; raises as :meth:`open` while no model answers."""
        model, _ = self._require_model()
        encode = model.template.encode
        return await asyncio.get_running_loop().run_in_executor(
            None, lambda: tuple(len(encode(text)) if text else 0 for text in texts)
        )

    async def _fetch(self, tree: KVTree, tokens: Tokens) -> None:
        """Has what the disk knows of the prompt brought to memory, if that is worth a read."""
        disk, loop = self._disk, asyncio.get_running_loop()
        if disk is None:
            return
        match = await loop.run_in_executor(None, disk.match, tokens)
        if match.length < tree.match_length(tokens) + WORTH_READING:
            return
        await self._reply(partial(self._live_worker().fetch, tokens))

    def _admit(self, model: ServedModel, tree: KVTree, ready: Prepared) -> MlxGeneration:
        request, rendered, tokens = ready.request, ready.rendered, ready.rendered.tokens
        constraint = constraint_for(request, rendered, ready.plan, ready.resumed)
        key = flight_key(
            request,
            rendered,
            model,
            self._options.sampling,
            window=self.context_limit,
            most_output=self._options.max_output_tokens,
            plan=ready.plan,
        )
        flight = self.flights.shared(key)
        lease = tree.lease(tokens[:-1])
        reused = lease.length if flight is None else len(tokens) - 1
        from_disk = lease.from_disk if flight is None else 0
        miss = self.caches.history.judge(
            request,
            rendered,
            model.fingerprint,
            Reuse(
                reused,
                tree.stats().tokens,
                self.gauges.prefill_tps,
                exact=not tree.needs_state,
            ),
            model.template.decode,
        )
        report = partial(self._post_report, request.id)
        job = job_for(request, rendered, key, lease, self._clock(), report, constraint)
        admission = admission_for(
            self.name, model, rendered, job, miss, reused=reused, from_disk=from_disk
        )
        generation = MlxGeneration(
            request.id,
            admission,
            self._leave,
            joined=flight is not None,
            resumed=ready.resumed.tokens,
        )
        if flight is not None:
            lease.release()
            flight.attach(generation)
            return generation
        self.flights.add(key, generation)
        self._live_worker().submit(job)
        return generation

    def _leave(self, generation: MlxGeneration) -> None:
        unneeded = self.flights.leave(generation)
        if unneeded is not None and self._worker is not None:
            self._worker.cancel(unneeded)

    def _post_report(self, job_id: str, report: JobReport) -> None:
        """MLX thread."""
        self._on_loop.post(partial(self._deliver, job_id, report))

    def _deliver(self, job_id: str, report: JobReport) -> None:
        flight = self.flights.deliver(job_id, report)
        if isinstance(report, Finish):
            self.caches.answered(job_id, report)
        if flight is not None and isinstance(report, Finish):
            for listener in flight.listeners:
                self.caches.tally.finished(listener.admission, report)

    def _require_model(self) -> tuple[ServedModel, KVTree]:
        model, tree = self.caches.model, self.caches.tree
        if self._standing.phase == "ready" and model is not None and tree is not None:
            self._live_worker()
            return model, tree
        self._require_switched_on()
        if self._standing.phase == "loading":
            raise Unavailable(
                f"{self._standing.wanted} is loading ({self._standing.detail})",
                retry_after=LOADING_RETRY_SECONDS,
            )
        if self._standing.phase == "failed":
            raise EngineFailed(f"the engine is down: {self._standing.detail}")
        raise Unavailable(
            "no model is loaded; choose one with m in the console or PUT /anyclaude/model",
            retry_after=LOADING_RETRY_SECONDS,
        )

    # --------------------------------------------------------------------------------- figures

    @property
    def gauges(self) -> Gauges:
        return self._worker.gauges if self._worker is not None else Gauges()

    @property
    def in_flight(self) -> int:
        return len(self.flights)

    async def flush(self) -> TreeStats:
        """Empties the prefix tree of everything that isn't in use."""
        freed = await self._reply(self._live_worker().flush)
        self.caches.history.flushed()
        return freed

    async def flush_disk(self) -> Freed:
        """Deletes the files of the disk tier; what waits to be written there never is."""
        worker = self._worker
        if worker is not None and worker.is_alive():
            await self._reply(worker.forget_unwritten)
        return await self.caches.flush_disk()

    async def _reply(self, command: Callable[[Callable[[T], None]], None]) -> T:
        """What a command of the thread reports once it is done; raises when the thread ends."""
        reply: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(value: T) -> None:
            self._on_loop.post(lambda: None if reply.done() else reply.set_result(value))

        command(done)
        self._pending.add(reply)
        try:
            return await reply
        finally:
            self._pending.discard(reply)

    def _fail_open(self, error: BaseException) -> None:
        self.flights.fail(error)
        for waiting in self._pending:
            if not waiting.done():
                waiting.set_exception(error)
