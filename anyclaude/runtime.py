"""The composition root: builds every part, starts them in order, stops them in a bounded time.

The console and ``anyclaude serve`` are the same runtime with and without a screen. It is also
the :class:`~anyclaude.control.Control` that the admin routes and the console steer by.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from anyclaude import __version__
from anyclaude.config.files import ensure_data_dir
from anyclaude.config.settings import Settings
from anyclaude.config.state import ServerState, base_url, read_state, remove_state, write_state
from anyclaude.control import BackendInfo, Flushed, ModelInfo, Stats
from anyclaude.errors import EngineFailed, InvalidRequest, NotFound, UsageError
from anyclaude.events import Bus, EngineState, SystemEvent, SystemKind, TierStats, Vitals
from anyclaude.ids import new_id
from anyclaude.keepalive import KeepAliveTimes
from anyclaude.pipeline import Pipeline, PipelineOptions
from anyclaude.prompt.echo import EchoStore
from anyclaude.recent import RecentDetails
from anyclaude.types import RequestDetail, RequestRecord, Sampling, SqlResult, Tier

if TYPE_CHECKING:
    from anyclaude.engine.engine import Engine
    from anyclaude.engine.worker import ModelLoader
    from anyclaude.logs.log import RequestLog
    from anyclaude.metrics.lag import LoopLag
    from anyclaude.metrics.meter import Meter
    from anyclaude.server.listen import Listener

log = logging.getLogger(__name__)

VITALS_SECONDS = 1.0
STOP_SECONDS = 2.5
MEMORY_SHARE = 4  # The KV budget is a quarter of the machine unless the configuration says.


class Runtime:
    """Everything that runs; see :class:`anyclaude.control.Control` for what it can be asked."""

    def __init__(
        self,
        settings: Settings,
        *,
        bus: Bus | None = None,
        loader: ModelLoader | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.bus = bus or Bus()
        self.admin_token = secrets.token_urlsafe(24)
        self.address = base_url(settings.server.host, settings.server.port)
        self._loader = loader
        self._wall = wall
        self._started = wall()
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closers: list[Callable[[], None]] = []
        self._stopped = False
        self.recent = RecentDetails()
        self.pipeline: Pipeline
        self.engine: Engine
        self.log: RequestLog
        self._echo: EchoStore
        self._meter: Meter
        self._lag: LoopLag
        self._listener: Listener
        self._vitals: Vitals | None = None
        self._busy_before = (0.0, 0.0)

    # ------------------------------------------------------------------------------- starting

    async def start(self) -> None:
        """Opens the log, starts the MLX thread, serves, and begins to load the model.

        Raises :class:`ConfigError` or :class:`UsageError` for what a person can mend (a busy
        port, a locked database); whatever was started by then is stopped again.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        from anyclaude.server.listen import Listener

        settings = self.settings
        ensure_data_dir(settings.data_dir)
        self._refuse_second(settings.data_dir)
        self._listener = Listener.bind(settings.server)
        self._closers.append(self._listener.close)
        self.address = base_url(settings.server.host, self._listener.port)
        await self._open_log()
        self._start_meters()
        await self._start_engine()
        self._start_pipeline()
        self._serve()
        write_state(settings.data_dir, self._state(""))
        self._closers.append(lambda: remove_state(settings.data_dir, os.getpid()))
        self.engine.load(settings.model.default or await self._default_model())

    def _refuse_second(self, data_dir: Path) -> None:
        other = read_state(data_dir)
        if other is not None and other.pid != os.getpid():
            raise UsageError(
                f"anyclaude already runs at {other.address} (pid {other.pid}); stop it, attach "
                f"with `anyclaude-tui --attach {other.address}`, or use another ANYCLAUDE_DATA_DIR"
            )

    async def _open_log(self) -> None:
        from anyclaude.logs.log import RequestLog

        settings = self.settings
        self.log = await RequestLog.open(
            settings.db,
            retention_days=settings.log.retention_days,
            bodies=settings.log.bodies,
            report=self.bus.publish,
        )
        self._echo = EchoStore(
            settings.data_dir / "echo.sqlite" if settings.cache.echo else None,
            report=self.bus.publish,
        )
        self._spawn(self._log_events())

    def _start_meters(self) -> None:
        from anyclaude.metrics.lag import LoopLag
        from anyclaude.metrics.meter import Meter

        self._meter = Meter()
        self._lag = LoopLag()
        self._lag.start()
        self._closers.append(self._lag.stop)
        self._spawn(self._meter_events())
        self._spawn(self._publish_vitals())

    async def _start_engine(self) -> None:
        from anyclaude.engine.blas import load_blas

        await asyncio.get_running_loop().run_in_executor(None, _import_mlx, load_blas)
        from anyclaude.engine.engine import Engine, EngineOptions
        from anyclaude.engine.worker import Limits

        settings = self.settings
        performance = settings.performance
        self.engine = Engine(
            self._loader or self._default_loader(),
            EngineOptions(
                limits=Limits(
                    prefill_chunk=performance.prefill_chunk,
                    stream_chunk=performance.stream_chunk_size,
                    max_running=performance.max_running,
                    cache_bytes=self._cache_bytes(),
                    cache_enabled=settings.cache.l1,
                ),
                max_waiting=performance.max_waiting,
                context_limit=settings.model.context_limit,
                sampling=_configured_sampling(settings),
            ),
            self.bus,
        )
        self.engine.start()

    def _cache_bytes(self) -> int:
        wanted = self.settings.cache.memory_gb
        return int(wanted * 2**30) if wanted else psutil.virtual_memory().total // MEMORY_SHARE

    def _default_loader(self) -> ModelLoader:
        from anyclaude.loading import default_loader

        return default_loader(self.settings.data_dir)

    async def _default_model(self) -> str:
        from anyclaude.engine.catalog import Catalog

        return Catalog(self.settings.data_dir).default_model()

    def _start_pipeline(self) -> None:
        settings = self.settings
        self.pipeline = Pipeline(
            self.engine,
            self._echo,
            self.log,
            self.bus,
            self.recent,
            PipelineOptions(
                disabled_rules=frozenset(settings.prompt.disabled_rules),
                echo=settings.cache.echo,
                bodies=settings.log.bodies,
                times=KeepAliveTimes(
                    ping=settings.performance.keepalive_interval,
                    progress=settings.performance.progress_interval,
                ),
            ),
            new_id=new_id,
            wall=self._wall,
        )

    def _serve(self) -> None:
        from anyclaude.server.app import create_app

        app = create_app(
            self.pipeline,
            self,
            self.bus,
            self.settings,
            self.admin_token,
            model_names=self._model_names,
            metrics=self._prometheus,
        )
        self._spawn(self._listener.serve(app, self._stop))

    def _state(self, model: str) -> ServerState:
        server = self.settings.server
        return ServerState(
            os.getpid(), server.host, self._listener.port, self.admin_token, self._started, model
        )

    async def ready(self) -> None:
        """Returns when the model answers; raises :class:`EngineFailed` when it never will."""
        subscription = self.bus.subscribe()
        try:
            state = self.bus.engine_state
            if state.phase in ("ready", "failed", "stopped"):
                return self._check_ready(state)
            async for event in subscription:
                if isinstance(event, EngineState) and event.phase in ("ready", "failed", "stopped"):
                    return self._check_ready(event)
        finally:
            subscription.close()

    def _check_ready(self, state: EngineState) -> None:
        if state.phase != "ready":
            raise EngineFailed(state.detail or "the engine was stopped")

    # -------------------------------------------------------------------------------- stopping

    async def stop(self) -> None:
        """Streams get an error event, the thread is joined, the log is flushed. Idempotent."""
        if self._stopped:
            return
        self._stopped = True
        if hasattr(self, "pipeline"):
            self.pipeline.stopping = True
        self._stop.set()
        if hasattr(self, "engine"):
            await self.engine.stop()
        if hasattr(self, "pipeline"):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.pipeline.settle(), 1.0)
        await self._end_tasks()
        if hasattr(self, "_echo"):
            await self._echo.close()
        if hasattr(self, "log"):
            await self.log.close()
        for close in reversed(self._closers):
            close()

    async def _end_tasks(self) -> None:
        """Lets the server end by itself, then cancels what is left."""
        if not self._tasks:
            return
        serving = self._tasks[-1:]
        await asyncio.wait(serving, timeout=STOP_SECONDS - 1.5)
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                log.error("a task ended badly", exc_info=result)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    # ------------------------------------------------------------------------- background work

    async def _log_events(self) -> None:
        subscription = self.bus.subscribe()
        async for event in subscription:
            if isinstance(event, SystemEvent):
                self.log.post(event)
            elif isinstance(event, EngineState) and event.phase == "ready":
                write_state(self.settings.data_dir, self._state(event.model))

    async def _meter_events(self) -> None:
        async for event in self.bus.subscribe():
            self._meter.observe(event)

    async def _publish_vitals(self) -> None:
        while True:
            await asyncio.sleep(VITALS_SECONDS)
            self.bus.publish(self._measure())

    def _measure(self) -> Vitals:
        engine, meter = self.engine, self._meter
        gauges = engine.gauges
        now = time.monotonic()
        busy, at = gauges.busy_seconds, self._busy_before[1]
        share = (busy - self._busy_before[0]) / (now - at) if at and now > at else 0.0
        self._busy_before = (busy, now)
        memory = psutil.virtual_memory()
        self._vitals = Vitals(
            at=self._wall(),
            running=gauges.running,
            waiting=max(0, engine.in_flight - gauges.running),
            decode_tps=meter.decode_tps(),
            prefill_tps=meter.prefill_tps(),
            ttft_p50_ms=meter.ttft_ms(0.5),
            ttft_p95_ms=meter.ttft_ms(0.95),
            memory_bytes=psutil.Process().memory_info().rss,
            memory_total_bytes=memory.total,
            mlx_active_bytes=gauges.active_bytes,
            mlx_busy=min(1.0, max(0.0, share)),
            loop_lag_p99_ms=self._lag.p99_ms(),
            tiers=engine.tiers(),
        )
        return self._vitals

    def _event(self, kind: SystemKind, message: str) -> None:
        self.bus.publish(SystemEvent(self._wall(), "info", kind, message))

    # --------------------------------------------------------------------------------- control

    async def stats(self) -> Stats:
        meter = self._meter
        return Stats(
            version=__version__,
            address=self.address,
            uptime_s=self._wall() - self._started,
            engine=self.bus.engine_state,
            vitals=self._vitals or self._measure(),
            requests_total=meter.requests_total,
            errors_total=meter.errors_total,
            output_tokens_total=meter.output_tokens_total,
            tool_calls_total=meter.tool_calls_total,
            tool_calls_failed=meter.tool_calls_failed,
        )

    async def cache(self) -> tuple[TierStats, ...]:
        return self.engine.tiers()

    async def flush(self, tier: str | None = None) -> tuple[Flushed, ...]:
        if tier not in (None, Tier.KV):
            raise InvalidRequest(
                f"there is no tier {tier!r} here; the tiers are: {Tier.KV}", field="tier"
            )
        freed = await self.engine.flush()
        self._event("flush", f"kv flushed: {freed.entries} entries, {freed.nbytes / 2**20:.0f} MiB")
        return (Flushed(Tier.KV, freed.entries, freed.nbytes),)

    async def models(self) -> tuple[ModelInfo, ...]:
        from anyclaude.loading import local_models

        loaded = self.engine.model.name if self.engine.model else ""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, local_models, self.settings.data_dir, loaded)

    async def load_model(self, name: str) -> None:
        from anyclaude.engine.catalog import Catalog

        catalog = Catalog(self.settings.data_dir)
        if self._loader is None:
            await asyncio.get_running_loop().run_in_executor(None, catalog.resolve, name)
        self.engine.load(name)

    async def unload_model(self) -> None:
        self.engine.unload()

    async def restart_engine(self) -> None:
        self._event("server", "the engine was restarted by hand")
        self.engine.restart()

    async def backends(self) -> tuple[BackendInfo, ...]:
        state = self.bus.engine_state
        return (
            BackendInfo(
                name=self.engine.name,
                type="mlx",
                healthy=state.phase == "ready",
                in_flight=self.engine.in_flight,
                latency_ms=self._meter.ttft_ms(0.5),
                detail=state.detail or state.phase,
            ),
        )

    async def requests(
        self, limit: int = 200, before: float | None = None
    ) -> tuple[RequestRecord, ...]:
        return await self.log.requests(limit, before)

    async def detail(self, request_id: str) -> RequestDetail:
        detail = self.recent.get(request_id)
        if detail is not None:
            return detail
        calls = await self.log.tool_calls(request_id)
        messages = await self.log.messages(request_id)
        if not calls and not messages:
            raise NotFound(f"no request {request_id} here, nor its messages in the log")
        body = "\n".join(f'{{"role": "{m.role}", "content": {m.body}}}' for m in messages)
        return RequestDetail(request_id, body=body, tool_calls=calls)

    async def cancel(self, request_id: str) -> bool:
        return await self.pipeline.cancel(request_id)

    async def sql(self, query: str, limit: int = 10_000) -> SqlResult:
        return await self.log.query(query, limit)

    def _model_names(self) -> tuple[str, ...]:
        return (self.engine.model.name,) if self.engine.model else ()

    async def _prometheus(self) -> str:
        from anyclaude.metrics.prometheus import prometheus

        return prometheus(await self.stats(), self._meter, self.engine.tiers())


def _import_mlx(load_blas: Callable[[], str | None]) -> None:
    """BLAS first, then MLX, off the loop: together they take most of a second."""
    load_blas()
    import anyclaude.engine.engine  # noqa: F401


def _configured_sampling(settings: Settings) -> Sampling:
    model = settings.model
    return Sampling(model.temperature, model.top_p, model.top_k)
