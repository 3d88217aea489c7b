"""Sources: the runtime here, a server elsewhere, and what becomes of a lost one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from anyclaude.config import advice as advice_module
from anyclaude.config.advice import EMBEDDED_MODEL, GIB, Machine
from anyclaude.errors import Unavailable
from anyclaude.events import Bus, EngineState, Event, SystemEvent, Vitals
from tests.tui.fake_source import READY, FakeControl
from tui import source as source_module
from tui.source import LocalSource, RemoteSource, advice_lines, paste_lines


class FakeRuntime:
    """What a runtime shows of itself to the console."""

    address = "http://127.0.0.1:8082"

    def __init__(self) -> None:
        self.bus = Bus()
        self.control = FakeControl(self.bus)


class FakeClient(FakeControl):
    """Streams scripted events; each list is one connection, an exception ends it badly."""

    def __init__(self, *connections: list[Event | Exception]) -> None:
        super().__init__(Bus())
        self.connections = [*connections]
        self.closed = False
        self.all_used = asyncio.Event()

    async def events(self) -> AsyncIterator[Event]:
        if not self.connections:
            self.all_used.set()
            await asyncio.Event().wait()
        for item in self.connections.pop(0):
            if isinstance(item, Exception):
                raise item
            yield item

    async def aclose(self) -> None:
        self.closed = True


async def test_local_source_is_the_runtime() -> None:
    runtime = FakeRuntime()
    source = LocalSource(runtime)
    heard = source.subscribe()
    runtime.bus.publish(READY)
    assert heard.drain() == [READY]
    assert (source.engine_state, source.address) == (READY, runtime.address)
    assert source.control is runtime.control and not source.attached


async def test_remote_source_begins_with_the_state_of_things() -> None:
    client = FakeClient([])
    client.connections.clear()
    source = RemoteSource(client, "http://far:1", retry_s=0)
    heard = source.subscribe()
    await client.all_used.wait()
    kinds = [type(event) for event in heard.drain()]
    assert kinds == [EngineState, Vitals]
    assert source.engine_state == READY
    await source.close()
    assert client.closed


async def test_a_lost_server_is_said_once_and_tried_again() -> None:
    note = SystemEvent(1.0, "info", "log", "hello")
    client = FakeClient([Unavailable("nobody there")], [Unavailable("still not")], [note])
    source = RemoteSource(client, "http://far:1", retry_s=0)
    heard = source.subscribe()
    await client.all_used.wait()
    said = [e.message for e in heard.drain() if isinstance(e, SystemEvent)]
    await source.close()
    assert said == [
        "Lost http://far:1 (nobody there); trying again",
        "Connected to http://far:1 again",
        "hello",
        "Lost http://far:1 (it closed the stream); trying again",
    ]


def test_paste_lines_give_a_path_when_the_command_is_not_on_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "my bin").mkdir()
    (tmp_path / "my bin" / "anyclaude").touch()
    monkeypatch.setattr(source_module.sys, "executable", str(tmp_path / "my bin" / "python"))
    monkeypatch.setattr(source_module.shutil, "which", lambda name: None)
    assert paste_lines()[0] == f"eval \"$('{tmp_path}/my bin/anyclaude' env)\""
    monkeypatch.setattr(source_module.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert paste_lines() == ('eval "$(anyclaude env)"', "claude")


def test_advice_is_for_the_embedded_model_on_metal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice_module, "this_machine", lambda: Machine("M4", 64 * GIB, True))
    lines = advice_lines(EMBEDDED_MODEL)
    assert len(lines) >= 2 and lines[-1].startswith("anyclaude models pull ")
    assert advice_lines("mlx-community/Qwen3-4B") == ()
    monkeypatch.setattr(advice_module, "this_machine", lambda: Machine("x86", 64 * GIB, False))
    assert advice_lines(EMBEDDED_MODEL) == ()
