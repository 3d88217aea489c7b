"""The composition root: builds every part, starts them in order, stops them in a bounded time.

The console and ``anyclaude serve`` are this same runtime with and without a screen.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import secrets
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import psutil

from anyclaude.accounts import open_accounts
from anyclaude.background import (
    collect_less,
    discover,
    finish,
    log_events,
    name_model,
    publish_vitals,
    warm,
)
from anyclaude.config.files import ensure_data_dir
from anyclaude.config.settings import Settings
from anyclaude.config.state import ServerState, base_url, read_state, remove_state, write_state
from anyclaude.control import Control
from anyclaude.errors import EngineFailed, Unavailable, UsageError
from anyclaude.events import Bus, EngineState, SystemEvent
from anyclaude.fleet import share_breakers
from anyclaude.ids import new_id
from anyclaude.keeping import Answers
from anyclaude.ledger import Ledger
from anyclaude.mcp.client.opening import open_hub
from anyclaude.options import engine_options, pipeline_options, prompt_options
from anyclaude.pipeline import Pipeline
from anyclaude.prompt.echo import EchoStore
from anyclaude.prompting import Prompter
from anyclaude.recent import RecentDetails
from anyclaude.searched import WebSearch
from anyclaude.storing import (
    open_decisions,
    open_disk,
    open_stores,
    open_summariser,
    open_traces,
)

if TYPE_CHECKING:
    from anyclaude.engine.catalog import Catalog
    from anyclaude.engine.engine import Engine
    from anyclaude.engine.worker import ModelLoader
    from anyclaude.gateway import Gateway
    from anyclaude.injecting import Injector
    from anyclaude.keys.limiter import Limiter
    from anyclaude.logs.log import RequestLog
    from anyclaude.mcp.client.hub import Hub
    from anyclaude.metrics.meter import Meter
    from anyclaude.server.listen import Listener
    from anyclaude.steering import Steering
    from anyclaude.steering.backends import Backends
    from anyclaude.steering.caches import Caches

SETTLE_SECONDS = 0.7
SERVE_SECONDS = 0.7


class Runtime:
    """Everything that runs. ``loader`` replaces the loading of models by their names, ``catalog``
    the one of the data folder."""

    def __init__(
        self,
        settings: Settings,
        *,
        bus: Bus | None = None,
        loader: ModelLoader | None = None,
        catalog: Catalog | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.bus = bus or Bus()
        self.admin_token = secrets.token_urlsafe(24)
        self.address = ""
        self._loader = loader
        self._catalog = catalog
        self._wall = wall
        self._started_at = wall()
        self._stop = asyncio.Event()
        self._parts = AsyncExitStack()
        self._steering: Steering | None = None

    @property
    def control(self) -> Control:
        """Steering and asking; raises :class:`Unavailable` until everything is started."""
        if self._steering is None:
            raise Unavailable("anyclaude is starting", retry_after=1)
        return self._steering

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
        self._refuse_second()
        listener = Listener.bind(settings.server, keyed=bool(settings.keys))
        self._parts.callback(listener.close)
        self.address = base_url(settings.server.host, listener.port)
        # Beside the log, whose opening is DuckDB's work and leaves Python to others.
        importing = asyncio.get_running_loop().run_in_executor(None, _import_engine)
        requests = await self._open_log()
        echo = EchoStore(settings.data_dir / "echo.sqlite", report=self.bus.publish)
        self._parts.push_async_callback(echo.close)
        await importing
        engine = self._start_engine()
        stores = await open_stores(
            settings, self._parts, report=self._from_threads(), wall=self._wall
        )
        billing = await open_accounts(
            settings, requests, stores.state, report=self.bus.publish, wall=self._wall
        )
        traces, streams = open_traces(settings, self._parts, self.bus.publish, self._wall)
        ledger = Ledger(
            requests,
            self.bus,
            RecentDetails(),
            traces=traces,
            bills=billing,
            wall=self._wall,
        )
        from anyclaude.caches.kv.disk_folder import FOLDER_NAME
        from anyclaude.metrics.meter import Meter
        from anyclaude.searching import open_search
        from anyclaude.steering.backends import Backends
        from anyclaude.steering.caches import Caches

        injector = await open_search(
            settings, ledger, self._parts, report=self._from_threads(), wall=self._wall
        )
        gateway = self._start_gateway(engine)
        if stores.state is not None:
            self._background(share_breakers(settings, gateway, stores.state, wall=self._wall))
        answers = Answers(ledger, stores.answers)
        decisions = open_decisions(settings, self._parts, report=self.bus.publish, wall=self._wall)
        prompter = Prompter(ledger, prompt_options(settings), decisions, open_summariser(settings))
        hub = await open_hub(settings, self._parts, self.bus.publish)
        pipeline = Pipeline(
            gateway,
            echo,
            ledger,
            pipeline_options(settings, streams),
            new_id,
            answers,
            WebSearch(injector),
            prompter,
            hub,
        )
        meter = Meter()
        backends = Backends(settings, gateway, engine, meter, self.bus)
        kv_folder = settings.data_dir / FOLDER_NAME
        caches = Caches(engine, stores.answers, answers, injector.service.cache, kv_folder)
        self._steering = self._start_meters(
            engine, requests, pipeline, ledger.recent, meter, backends, caches, injector, hub
        )
        self._background(discover(backends, settings.resilience.health_interval_s))
        self._serve(listener, pipeline, engine, self._steering, backends, billing.limiter)
        self._parts.push_async_callback(self._settle, ledger, engine, self._steering)
        self._publish_state(listener)
        if settings.engine_reachable:
            engine.load(settings.model.default or _default_model())
        else:
            self._parts.callback(collect_less())
        self._background(warm())

    def _refuse_second(self) -> None:
        other = read_state(self.settings.data_dir)
        if other is not None and other.pid != os.getpid():
            raise UsageError(
                f"anyclaude already runs at {other.address} (pid {other.pid}); stop it, attach "
                f"with `anyclaude-tui --attach {other.address}`, or use another ANYCLAUDE_DATA_DIR"
            )

    async def _open_log(self) -> RequestLog:
        from anyclaude.logs.log import RequestLog

        settings = self.settings
        requests = await RequestLog.open(
            settings.db,
            retention_days=settings.log.retention_days,
            bodies=settings.log.bodies,
            report=self.bus.publish,
        )
        self._parts.push_async_callback(requests.close)
        self._background(log_events(self.bus, requests))
        return requests

    def _start_engine(self) -> Engine:
        from anyclaude.engine.engine import Engine
        from anyclaude.loading import default_loader

        options = engine_options(self.settings, psutil.virtual_memory().total)
        loader = self._loader or default_loader(self.settings.data_dir, self.settings.tools.dialect)
        disk = open_disk(self.settings, self._parts, report=self._from_threads(), wall=self._wall)
        engine = Engine(loader, options, self.bus, disk=disk, wall=self._wall)
        engine.start()
        self._parts.push_async_callback(engine.stop)
        return engine

    def _start_gateway(self, engine: Engine) -> Gateway:
        from anyclaude.estimate import estimator_of
        from anyclaude.routing.health import HealthChecker
        from anyclaude.upstreams import gateway_of

        gateway = gateway_of(
            self.settings,
            engine,
            self.bus,
            estimate=estimator_of(self.settings.engine, engine),
            wall=self._wall,
        )
        self._parts.push_async_callback(gateway.close)
        checker = HealthChecker(
            gateway.dispatcher.healths,
            gateway.dispatcher.breakers,
            gateway.probe,
            interval_s=self.settings.resilience.health_interval_s,
            rng=random.Random(),
        )
        self._background(checker.run(gateway.elsewhere))
        return gateway

    def _from_threads(self) -> Callable[[SystemEvent], None]:
        """What other threads report to; at the very end nobody listens any more."""
        loop = asyncio.get_running_loop()

        def report(event: SystemEvent) -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.bus.publish, event)

        return report

    def _start_meters(
        self,
        engine: Engine,
        requests: RequestLog,
        pipeline: Pipeline,
        recent: RecentDetails,
        meter: Meter,
        backends: Backends,
        caches: Caches,
        injector: Injector,
        hub: Hub | None,
    ) -> Steering:
        from anyclaude.engine.catalog import Catalog
        from anyclaude.metrics.lag import LoopLag
        from anyclaude.steering import Parts, Steering

        lag = LoopLag()
        lag.start()
        self._parts.callback(lag.stop)
        steering = Steering(
            Parts(
                self.settings,
                self.address,
                self._started_at,
                self.bus,
                engine,
                requests,
                meter,
                lag,
                pipeline,
                recent,
                self._catalog or Catalog(self.settings.data_dir),
                self._loader is not None,
                backends,
                caches,
                injector,
                hub,
            ),
            self._wall,
        )
        self._parts.callback(self.bus.listen(meter.observe))
        self._background(publish_vitals(self.bus, steering))
        return steering

    def _serve(
        self,
        listener: Listener,
        pipeline: Pipeline,
        engine: Engine,
        steering: Steering,
        backends: Backends,
        keys: Limiter,
    ) -> None:
        from anyclaude.server.app import create_app

        app = create_app(
            pipeline,
            steering,
            self.bus,
            self.settings,
            self.admin_token,
            model_names=lambda: (
                *((engine.model.name,) if engine.model else ()),
                *backends.models,
            ),
            metrics=steering.prometheus,
            clock=self._wall,
            keys=keys,
        )
        serving = asyncio.ensure_future(listener.serve(app, self._stop))
        self._parts.push_async_callback(finish, serving, SERVE_SECONDS)

    def _publish_state(self, listener: Listener) -> None:
        host, port, data_dir = self.settings.server.host, listener.port, self.settings.data_dir

        def write(model: str) -> None:
            state = ServerState(os.getpid(), host, port, self.admin_token, self._started_at, model)
            write_state(data_dir, state)

        write("")
        self._parts.callback(remove_state, data_dir, os.getpid())
        self._background(name_model(self.bus, write))

    async def ready(self) -> None:
        """Returns when the model answers.

        Raises :class:`EngineFailed` when it never will, and :class:`Unavailable` when the
        configuration switches every backend off.
        """
        if self.settings.switched_off:
            raise Unavailable(self.settings.switched_off)
        if not self.settings.engine_reachable:
            return  # Whoever answers is elsewhere.
        subscription = self.bus.subscribe()
        try:
            state = self.bus.engine_state
            if state.phase in ("ready", "failed", "stopped"):
                return _check_ready(state)
            async for event in subscription:
                if isinstance(event, EngineState) and event.phase in ("ready", "failed", "stopped"):
                    return _check_ready(event)
        finally:
            subscription.close()

    # -------------------------------------------------------------------------------- stopping

    async def stop(self) -> None:
        """Streams get an error event, the thread is joined, the log is flushed. Idempotent.

        Takes about three seconds at the most; parts end in the opposite order of their start.
        """
        gc.unfreeze()  # Or DuckDB finds its objects uncollected at exit, and says so.
        await self._parts.aclose()

    async def _settle(self, ledger: Ledger, engine: Engine, steering: Steering) -> None:
        """Running answers end now, and their rows are written before the log closes."""
        ledger.stopping = True
        self._stop.set()
        await engine.stop()
        await steering.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ledger.settle(), SETTLE_SECONDS)

    def _background(self, work: Coroutine[object, object, None]) -> None:
        self._parts.push_async_callback(finish, asyncio.ensure_future(work), 0.0)


def _import_engine() -> None:
    """BLAS first, then MLX, off the loop: together they take seconds."""
    from anyclaude.engine.blas import load_blas

    load_blas()
    import anyclaude.loading
    import anyclaude.searching
    import anyclaude.steering
    import anyclaude.upstreams  # noqa: F401


def _default_model() -> str:
    from anyclaude.engine.smollm2 import EMBEDDED_NAME

    return EMBEDDED_NAME


def _check_ready(state: EngineState) -> None:
    if state.phase != "ready":
        raise EngineFailed(state.detail or "the engine was stopped")
