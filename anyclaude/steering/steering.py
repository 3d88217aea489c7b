"""The control of a runtime in this process.

The admin routes, and the console that runs here, hold this
:class:`~anyclaude.control.Control`; the commands reach it over HTTP.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from anyclaude import __version__
from anyclaude.config.settings import Settings
from anyclaude.control import (
    SHORTEN,
    BackendInfo,
    Flushed,
    McpServerInfo,
    ModelInfo,
    PrefixTreePicture,
    SlotTarget,
    Stats,
    Switch,
)
from anyclaude.engine.catalog import Catalog
from anyclaude.engine.engine import Engine
from anyclaude.errors import InvalidRequest, NotFound
from anyclaude.events import Bus, SystemEvent, SystemKind, TierStats, Vitals
from anyclaude.injecting import Injector
from anyclaude.logs.log import RequestLog
from anyclaude.mcp.client.hub import Hub
from anyclaude.metrics.lag import LoopLag
from anyclaude.metrics.meter import Meter
from anyclaude.metrics.prometheus import prometheus
from anyclaude.pipeline import Pipeline
from anyclaude.prompt.canonical import RULES
from anyclaude.recent import RecentDetails
from anyclaude.records import (
    ExportFormat,
    RequestDetail,
    RequestRecord,
    SqlResult,
    ToolCallRecord,
    ToolVersion,
)
from anyclaude.search.service import OFF
from anyclaude.steering.again import Replays, read_again
from anyclaude.steering.backends import Backends
from anyclaude.steering.caches import Caches
from anyclaude.steering.kept import KeptRequests
from anyclaude.steering.pulls import Pulls

PROACTIVE = "proactive_search"
_PROACTIVE_HELP = (
    "Search the web unasked where a new turn asks for fresh facts, and put the results behind it. "
    "The words searched for leave this machine."
)


@dataclass(frozen=True, slots=True)
class Parts:
    """The running parts that steering reaches into. ``custom_loader``: models by other names."""

    settings: Settings
    address: str
    started_at: float
    bus: Bus
    engine: Engine
    log: RequestLog
    meter: Meter
    lag: LoopLag
    pipeline: Pipeline
    recent: RecentDetails
    catalog: Catalog
    custom_loader: bool
    backends: Backends
    caches: Caches
    injector: Injector
    hub: Hub | None = None


class Steering:
    """See :class:`anyclaude.control.Control`; errors are the engine's and the log's own."""

    def __init__(self, parts: Parts, wall: Callable[[], float] = time.time) -> None:
        self._parts = parts
        self._wall = wall
        self._process = psutil.Process()
        self._kept = KeptRequests(parts.recent, parts.settings.data_dir)
        self._replays = Replays(self._kept, parts.pipeline, wall)
        self._pulls = Pulls(parts.catalog, parts.bus, wall)
        self._busy = (0.0, time.monotonic())
        self._vitals = self.measure()

    async def close(self) -> None:
        """Ends what was begun here: replays, whose rows are being written, and a download."""
        await asyncio.gather(self._replays.close(), self._pulls.close())

    # --------------------------------------------------------------------------------- asking

    def measure(self) -> Vitals:
        """Takes the vitals now; the busy share is since the last time."""
        engine, meter = self._parts.engine, self._parts.meter
        gauges = engine.gauges
        (busy, since), now = self._busy, time.monotonic()
        self._busy = (gauges.busy_seconds, now)
        share = (gauges.busy_seconds - busy) / (now - since) if now > since else 0.0
        self._vitals = Vitals(
            at=self._wall(),
            running=gauges.running,
            waiting=max(0, engine.in_flight - gauges.running),
            decode_tps=meter.decode_tps(),
            prefill_tps=meter.prefill_tps(),
            ttft_p50_ms=meter.ttft_ms(0.5),
            ttft_p95_ms=meter.ttft_ms(0.95),
            memory_bytes=self._process.memory_info().rss,
            memory_total_bytes=psutil.virtual_memory().total,
            mlx_active_bytes=gauges.active_bytes,
            mlx_busy=min(1.0, max(0.0, share)),
            loop_lag_p99_ms=self._parts.lag.p99_ms(),
            tiers=self._parts.caches.tiers(),
            paused=engine.paused,
        )
        return self._vitals

    async def stats(self) -> Stats:
        meter = self._parts.meter
        return Stats(
            version=__version__,
            address=self._parts.address,
            uptime_s=self._wall() - self._parts.started_at,
            engine=self._parts.bus.engine_state,
            vitals=self._vitals,
            requests_total=meter.requests_total,
            errors_total=meter.errors_total,
            output_tokens_total=meter.output_tokens_total,
            tool_calls_total=meter.tool_calls_total,
            tool_calls_failed=meter.tool_calls_failed,
        )

    async def prometheus(self) -> str:
        """The text of ``/metrics``."""
        return prometheus(await self.stats(), self._parts.meter, self._parts.caches.tiers())

    async def cache(self) -> tuple[TierStats, ...]:
        return self._parts.caches.tiers()

    async def backends(self) -> tuple[BackendInfo, ...]:
        return tuple(self._parts.backends.infos())

    async def reset_backend(self, name: str) -> None:
        self._parts.backends.reset(name)
        self._event("breaker", f"the breaker of {name} was reset by hand")

    async def mcp(self) -> tuple[McpServerInfo, ...]:
        return self._parts.hub.infos() if self._parts.hub is not None else ()

    async def tools(self) -> tuple[ToolVersion, ...]:
        return self._parts.pipeline.tools

    async def slots(self) -> tuple[SlotTarget, ...]:
        return self._parts.backends.slots()

    async def set_slot(self, slot: str, target: str) -> None:
        self._parts.backends.set_slot(slot, target)
        self._event(
            "route", f"{slot} goes {f'to {target}' if target else 'where the routes say'} now"
        )

    async def requests(
        self, limit: int = 200, before: float | None = None
    ) -> tuple[RequestRecord, ...]:
        return await self._parts.log.requests(limit, before)

    async def running(self) -> tuple[RequestRecord, ...]:
        return self._parts.pipeline.running()

    async def detail(self, request_id: str) -> RequestDetail:
        detail = await self._kept.find(request_id)
        stream = await self._kept.stream(request_id)
        if detail is not None:
            return replace(detail, stream=stream) if stream else detail
        calls = await self._parts.log.tool_calls(request_id)
        messages = await self._parts.log.messages(request_id)
        if not calls and not messages:
            raise NotFound(f"no request {request_id} here, nor its messages in the log")
        turns = [{"role": m.role, "content": json.loads(m.body)} for m in messages if m.body]
        body = json.dumps({"messages": turns}, ensure_ascii=False)
        return RequestDetail(request_id, body=body, tool_calls=calls, stream=stream)

    async def sql(self, query: str, limit: int = 10_000, longest: int | None = None) -> SqlResult:
        return await self._parts.log.query(query, limit, longest)

    async def export_sql(
        self, query: str, path: Path, format: ExportFormat, replace: bool = False
    ) -> int:
        return await self._parts.log.export_query(query, path, format, replace)

    async def prefix_tree(self, limit: int = 400) -> PrefixTreePicture:
        return await self._parts.engine.caches.picture(limit)

    async def switches(self) -> tuple[Switch, ...]:
        off = self._parts.pipeline.disabled_rules
        shorten = Switch(SHORTEN, self._parts.pipeline.prompter.on, _SHORTEN_HELP, "Prompt")
        rules = (
            Switch(rule.name, rule.name not in off, _help(rule.description), "Prompt")
            for rule in RULES
        )
        searching = Switch(PROACTIVE, self._parts.injector.on, _PROACTIVE_HELP, "Search")
        return (*rules, shorten, searching)

    # ------------------------------------------------------------------------------- steering

    async def flush(self, tier: str | None = None) -> tuple[Flushed, ...]:
        flushed = await self._parts.caches.flush(tier)
        for item in flushed:
            self._event(
                "flush", f"{item.tier}: {item.entries} entries, {item.bytes / 2**20:.0f} MiB freed"
            )
        return flushed

    async def cancel(self, request_id: str) -> bool:
        return await self._parts.pipeline.cancel(request_id)

    async def models(self) -> tuple[ModelInfo, ...]:
        found = await asyncio.to_thread(self._parts.catalog.list)
        model = self._parts.engine.model
        return tuple(
            replace(info, loaded=model is not None and info.name == model.name) for info in found
        )

    async def load_model(self, name: str) -> None:
        if not self._parts.custom_loader:
            # A name that isn't there is refused now, while the present model goes on answering.
            await asyncio.to_thread(self._parts.catalog.resolve, name)
        self._parts.engine.load(name)

    async def unload_model(self) -> None:
        self._parts.engine.unload()

    async def restart_engine(self) -> None:
        self._event("reset", "the MLX thread was started anew by hand")
        self._parts.engine.restart()

    async def pull_model(self, name: str) -> None:
        self._pulls.start(name)

    async def pause(self, paused: bool) -> None:
        engine = self._parts.engine
        if engine.paused == paused:
            return
        engine.pause(paused)
        self._vitals = replace(self._vitals, at=self._wall(), paused=paused)
        if paused:
            self._event("server", "admission is paused: new requests wait until it goes on")
        else:
            waiting = max(0, engine.in_flight - engine.gauges.running)
            self._event("server", f"admission goes on: {waiting} waiting")
        self._parts.bus.publish(self._vitals)

    async def pin(self, session_id: str, pinned: bool) -> None:
        caches = self._parts.engine.caches
        if pinned:
            tokens = caches.pin(session_id)
            self._event("cache", f"session {session_id} is pinned by hand: {tokens} tokens stay")
        else:
            caches.unpin(session_id)
            self._event("cache", f"session {session_id} isn't pinned any more")

    async def replay(self, request_id: str, model: str = "") -> str:
        new, notes = await self._replays.begin(request_id, model)
        for note in notes:
            self._parts.bus.publish(SystemEvent(self._wall(), "warning", "input", note, new))
        return new

    async def reparse(self, request_id: str) -> tuple[ToolCallRecord, ...]:
        parts = self._parts
        model = parts.engine.model
        return await read_again(
            await self._kept.with_body(request_id),
            parts.pipeline.disabled_rules,
            model.template.dialect if model is not None else None,
            parts.settings.tools.on_invalid,
        )

    async def set_switch(self, name: str, on: bool) -> None:
        known = {switch.name: switch.on for switch in await self.switches()}
        if name not in known:
            raise NotFound(f"there is no switch {name!r}; there are: {', '.join(known)}")
        if known[name] == on:
            return
        if name == PROACTIVE:
            self._set_proactive(on)
            return
        if name == SHORTEN:
            self._parts.pipeline.prompter.on = on
            said = "shortened again" if on else "shown to the model as the client sends them"
            self._event("prompt", f"system prompts and tools are {said}, by hand")
            return
        self._parts.pipeline.set_rule(name, on)
        self._event(
            "canonical",
            f"the rule {name} was turned {'on' if on else 'off'}: a conversation whose prompt it "
            "changes is read anew once",
        )

    def _set_proactive(self, on: bool) -> None:
        injector = self._parts.injector
        if on and not injector.possible:
            raise InvalidRequest(OFF, field="name")
        injector.on = on
        does = "may search the web unasked" if on else "search the web only where they ask for it"
        self._event("search", f"requests {does} from now on")

    def _event(self, kind: SystemKind, message: str) -> None:
        self._parts.bus.publish(SystemEvent(self._wall(), "info", kind, message))


_SHORTEN_HELP = (
    "Shorten system prompts and tools as prompt.tier says. Turning it on or off has each "
    "conversation that it changes read anew once."
)


def _help(description: str) -> str:
    return (
        f"{description[:1].upper()}{description[1:]}. Turning it on or off has each conversation "
        "that it changes read anew once."
    )
