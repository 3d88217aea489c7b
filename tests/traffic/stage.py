"""The whole runtime over the token-memory double, and a client that speaks to its socket."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import httpx
import psutil

from anyclaude.config.settings import (
    CacheSettings,
    MemorySettings,
    PerformanceSettings,
    PromptSettings,
    ServerSettings,
    Settings,
    ToolSettings,
)
from anyclaude.engine.load import LoadedModel
from anyclaude.events import EngineState, RequestAdmitted, RequestFinished, Subscription
from anyclaude.runtime import Runtime
from tests.doubles.token_model import DoubleLoader
from tests.traffic.gates import Recent, StepGate
from tests.traffic.talk import Answers, Json, Outcome, Shot

PATIENCE = 60.0
"""Seconds to wait for an event before the test fails; nothing is measured by it."""


SPARE_BYTES = 64 * 2**20
"""Freed buffers that MLX may keep; what it keeps beyond would hide a leak in the process."""


@dataclass
class Wall:
    """Simulated Unix time."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class TrafficLoader(DoubleLoader):
    """The double with a short memory of its answers."""

    def __call__(self, name: str, progress: Callable[[float, str], None]) -> LoadedModel:
        loaded = super().__call__(name, progress)
        loaded.model._answers = Recent()
        return loaded


def cache_settings(memory_bytes: int, **wanted: object) -> CacheSettings:
    """Prompts in so many bytes, no answers; of ``wanted`` what this release has settings for."""
    known = {f.name for f in fields(CacheSettings)}
    chosen = {key: value for key, value in wanted.items() if key in known}
    return replace(CacheSettings(l2=False, memory_gb=memory_bytes / 2**30), **chosen)  # type: ignore[arg-type]


@dataclass
class Stage:
    """A running server, and a client's connections to it."""

    runtime: Runtime
    loader: DoubleLoader
    gate: StepGate
    http: httpx.AsyncClient
    wall: Wall
    answers: Answers
    admitted: int = 0
    _finished: deque[str] = field(default_factory=lambda: deque(maxlen=64))
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def listen(self, events: Subscription) -> None:
        async for event in events:
            if isinstance(event, RequestFinished):
                self._finished.append(event.record.id)
            elif isinstance(event, RequestAdmitted):
                self.admitted += 1
            elif not isinstance(event, EngineState):
                continue
            async with self._news:
                self._news.notify_all()

    async def until(self, true: Callable[[], bool]) -> None:
        """Waits until something the bus tells of has come true."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(true), PATIENCE)

    async def ended(self, request_id: str) -> None:
        await self.until(lambda: request_id in self._finished)

    # ------------------------------------------------------------------------------ sending

    async def send(self, shot: Shot) -> Outcome:
        if shot.cut == "prefill":
            return await self._leave_in_prefill(shot)
        if shot.cut == "decode":
            return await self._leave_in_decode(shot)
        answer = await self.http.post(shot.path, json=shot.body, headers=shot.headers)
        outcome = _outcome(answer.status_code, answer.headers, answer.text)
        if "count_tokens" not in shot.path:
            await self.ended(outcome.id)
        return outcome

    @asynccontextmanager
    async def streaming(self, shot: Shot) -> AsyncIterator[httpx.Response]:
        """The open answer; leaving the block closes its connection, as the client does it."""
        body = {**shot.body, "stream": True}
        async with (
            httpx.AsyncClient(base_url=self.runtime.address, timeout=None, trust_env=False) as own,
            own.stream("POST", shot.path, json=body, headers=shot.headers) as answer,
        ):
            yield answer

    async def _leave_in_prefill(self, shot: Shot) -> Outcome:
        self.gate.open.clear()
        self.gate.open.admit(1)
        try:
            async with self.streaming(shot) as answer:
                outcome = _outcome(answer.status_code, answer.headers, "")
                await self.model_waits()
            await self.ended(outcome.id)
        finally:
            self.gate.open.set()
        await self.idle()
        return replace(outcome, cut=True)

    async def _leave_in_decode(self, shot: Shot) -> Outcome:
        text, gate = "", self.gate
        gate.open.clear()
        before = gate.decode_calls
        try:
            async with self.streaming(shot) as answer:
                outcome = _outcome(answer.status_code, answer.headers, "")
                await self.model_waits()
                while gate.decode_calls < before + 4:
                    gate.open.admit(1)
                    await self.model_waits()
                async for line in answer.aiter_lines():
                    text += _text(line)
                    if text.strip():
                        break
            await self.ended(outcome.id)
        finally:
            gate.open.set()
        await self.idle()
        return replace(outcome, cut=True, partial=text)

    async def model_waits(self) -> None:
        """Returns when the model's thread stands before the shut gate."""
        waiting = self.gate.open.waiting
        arrived = await asyncio.get_running_loop().run_in_executor(None, waiting.wait, PATIENCE)
        assert arrived, "the model never came to the gate"

    async def idle(self) -> None:
        """Returns when the model has nothing to do and all that ended is put away."""
        async with asyncio.timeout(PATIENCE):
            while True:
                vitals = self.runtime.control.measure()  # type: ignore[attr-defined]
                if not vitals.running and not vitals.waiting:
                    return
                await asyncio.sleep(0.002)

    async def reconnect(self) -> None:
        """The client starts anew: its connections are closed, and the server has seen it."""
        await self.http.aclose()
        self.http = _client(self.runtime)
        port = int(self.runtime.address.rpartition(":")[2])
        async with asyncio.timeout(PATIENCE):
            while True:
                there = psutil.Process().net_connections("tcp")
                ours = [c for c in there if c.laddr and c.laddr.port == port]
                if all(c.status == psutil.CONN_LISTEN for c in ours):
                    return
                await asyncio.sleep(0.002)

    # ------------------------------------------------------------------------------- asking

    async def swap(self, model: str) -> None:
        await self.runtime.control.load_model(model)
        state = self.runtime.bus
        await self.until(
            lambda: state.engine_state.phase == "ready" and state.engine_state.model == model
        )

    async def rows(self, columns: str) -> list[dict[str, object]]:
        """Of every request, by its id."""
        found = await self.runtime.control.sql(f"select {columns} from requests", 100_000)
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


@asynccontextmanager
async def staged(
    embedded: Path,
    tmp_path: Path,
    answers: Answers,
    cache: CacheSettings,
    *,
    prefill_chunk: int = 512,
    width: int = 1,
    disabled_rules: tuple[str, ...] = (),
    loader: type[DoubleLoader] = TrafficLoader,
) -> AsyncIterator[Stage]:
    """A runtime that is ready, on a port and in a folder of its own."""
    data, gate, wall = tmp_path / "data", StepGate(), Wall()
    double = loader(embedded, answers, gate=gate, width=width)
    settings = Settings(
        data,
        data / "anyclaude.duckdb",
        ServerSettings(port=0),
        performance=PerformanceSettings(prefill_chunk=prefill_chunk),
        cache=cache,
        prompt=PromptSettings(disabled_rules),
        tools=ToolSettings(constrain=False),  # The script's calls have keys in orders of their own.
        memory=MemorySettings(buffer_cache_gb=SPARE_BYTES / 2**30),
    )
    runtime = Runtime(settings, loader=double, wall=wall)
    await runtime.start()
    events = runtime.bus.subscribe(100_000)
    stage = Stage(runtime, double, gate, _client(runtime), wall, answers)
    listening = asyncio.ensure_future(stage.listen(events))
    try:
        await asyncio.wait_for(runtime.ready(), PATIENCE)
        yield stage
    finally:
        gate.open.set()
        await stage.http.aclose()
        await runtime.stop()
        events.close()
        await listening


def _client(runtime: Runtime) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=runtime.address, timeout=PATIENCE, trust_env=False)


# ---------------------------------------------------------------------------------- the wire


def _outcome(status: int, headers: Mapping[str, str], text: str) -> Outcome:
    cache = dict(p.split("=") for p in headers.get("x-anyclaude-cache", "").split("; ") if p)
    outcome = Outcome(
        headers.get("request-id", ""),
        status,
        prompt=int(cache.get("prompt", 0)),
        read=int(cache.get("reused", 0)),
        cause=cache.get("cause", ""),
    )
    if not text or status != 200:
        return replace(outcome, error=text)
    if text.startswith("{"):
        message: Json = json.loads(text)
        if "content" not in message:
            return outcome
        return _finished(outcome, message["content"], message["usage"])
    return _streamed(outcome, text)


def _streamed(outcome: Outcome, text: str) -> Outcome:
    blocks: dict[int, Json] = {}
    pieces: dict[int, str] = {}
    usage: Json = {}
    for event in _events(text):
        match event["type"]:
            case "content_block_start":
                blocks[event["index"]] = dict(event["content_block"])
                pieces[event["index"]] = ""
            case "content_block_delta":
                delta = event["delta"]
                if delta["type"] == "signature_delta":
                    blocks[event["index"]]["signature"] = delta["signature"]
                else:
                    kind = delta["type"].removesuffix("_delta")
                    pieces[event["index"]] += delta.get(kind, "") or delta.get("partial_json", "")
            case "message_delta":
                usage = event["usage"]
            case "error":
                return replace(outcome, status=0, error=str(event["error"]))
    for index, block in blocks.items():
        if block["type"] == "tool_use":
            block["input"] = json.loads(pieces[index] or "{}")
        else:
            block[block["type"]] = pieces[index]
    return _finished(outcome, list(blocks.values()), usage)


def _events(text: str) -> list[Any]:
    return [json.loads(li[6:]) for li in text.split("\n") if li.startswith("data: ")]


def _text(line: str) -> str:
    if not line.startswith("data: "):
        return ""
    return str(json.loads(line[6:]).get("delta", {}).get("text", ""))


def _finished(outcome: Outcome, content: list[Json], usage: Json) -> Outcome:
    read = usage["cache_read_input_tokens"]
    prompt = usage["input_tokens"] + usage["cache_creation_input_tokens"] + read
    output = usage["output_tokens"]
    return replace(outcome, content=tuple(content), prompt=prompt, read=read, output=output)
