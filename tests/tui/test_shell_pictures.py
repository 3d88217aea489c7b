"""Pictures of the shell: every dialog, and each way in which something can be wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from syrupy.assertion import SnapshotAssertion

from anyclaude.control import Switch
from anyclaude.errors import UsageError
from anyclaude.events import EngineState, PullState, SystemEvent, TierStats
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import (
    MODEL,
    NOON,
    REPAIRED,
    FakeLaunch,
    FakeSource,
    detail,
    models,
    session,
    vitals,
)
from tui.launch import ATTACH, ELSEWHERE, Offer

Scene = Callable[[Stage], Awaitable[None]]
SIZES = [(120, 40), (60, 40)]
_ids = {"ids": lambda size: f"{size[0]}x{size[1]}"}
TIERS = (
    *vitals().tiers,
    TierStats("kv-disk", True, 41, 59, 57, 19_327_352_832, 0, 11),
    TierStats("response", False),
)
SWITCHES = (
    Switch(
        "billing_line",
        True,
        "Drop the line with the billing hash from the system prompt.",
        "Canonicalisation",
    ),
    Switch("cache_control", True, "Drop cache marks, which move every turn.", "Canonicalisation"),
    Switch("token_budget", False, "Drop the counters that the client appends.", "Canonicalisation"),
    Switch("repair", True, "Mend tool calls that do not fit their schema.", "Tool calls"),
)


def _source() -> FakeSource:
    source = FakeSource()
    source.fake.local = models()
    source.fake.switched = SWITCHES
    source.fake.parsed = (REPAIRED,)
    for suffix in ("a3f1", "a3f5", "a3f8"):
        source.fake.details[f"req_0000000000000000{suffix}"] = detail(suffix)
    return source


async def _streaming(stage: Stage) -> None:
    await stage.send(*session(), vitals(tiers=TIERS))
    stage.clock.advance(4.4)
    await stage.press("k")


async def _finished(stage: Stage) -> None:
    """The repaired request is selected."""
    await _streaming(stage)
    await stage.press("g", "j", "j")


async def flush(stage: Stage) -> None:
    await _streaming(stage)
    await stage.press("F")


async def copy_menu(stage: Stage) -> None:
    await _streaming(stage)
    await stage.press("g")
    await stage.press("y")


async def replay(stage: Stage) -> None:
    await _finished(stage)
    await stage.press("r", "j")


async def switches(stage: Stage) -> None:
    await _streaming(stage)
    await stage.press("o", "j")


async def parse_again(stage: Stage) -> None:
    await _finished(stage)
    await stage.press("A")


async def export(stage: Stage) -> None:
    await _finished(stage)
    await stage.press("w", "down")
    stage.app.screen.suggest("/home/ada/anyclaude-20251009-120904.jsonl")  # type: ignore[attr-defined]


async def palette(stage: Stage) -> None:
    await _streaming(stage)
    await stage.press("ctrl+p")


async def palette_found(stage: Stage) -> None:
    await _streaming(stage)
    await stage.press("ctrl+p", *"fl kv")


async def jump(stage: Stage) -> None:
    await _streaming(stage)
    await stage.press("ctrl+o")


async def pulling(stage: Stage) -> None:
    await _streaming(stage)
    await stage.press("m")
    name = "mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit"
    await stage.send(
        PullState(name, "downloading", 6_100_000_000, 17_200_000_000, "model-00002-of-00004")
    )


async def naming(stage: Stage) -> None:
    await _streaming(stage)
    await stage.press("m", "p", *"mlx-community/Qwen3")


async def paused(stage: Stage) -> None:
    await _streaming(stage)
    await stage.press("P")
    await stage.send(vitals(paused=True, tiers=TIERS))


async def model_missing(stage: Stage) -> None:
    why = "loading qwen3 failed: there is no model qwen3 here; 'anyclaude models pull' gets one"
    await stage.send(EngineState("failed", "qwen3", 0.0, why))


async def log_full(stage: Stage) -> None:
    await _streaming(stage)
    why = (
        "the log database /home/ada/.local/share/anyclaude/log.duckdb can't be written: IO Error: "
        "No space left on device; rows are kept in memory and tried again: free disk space"
    )
    stage.source.send(SystemEvent(NOON, "error", "log", why))
    await _calm(stage)


async def disk_full(stage: Stage) -> None:
    await _streaming(stage)
    why = (
        "/home/ada/.local/share/anyclaude/kv can't be written (No space left on device); the disk "
        "cache tries again every 5 minutes, cache.l3 = false ends it"
    )
    stage.source.send(SystemEvent(NOON, "error", "cache", why))
    await _calm(stage)


async def server_gone(stage: Stage) -> None:
    await _streaming(stage)
    why = "Lost http://10.0.0.7:8082 (it closed the stream); trying again"
    stage.source.send(SystemEvent(NOON, "error", "server", why))
    stage.source.send(EngineState("stopped", detail="connection lost"))
    await _calm(stage)


async def backend_lost(stage: Stage) -> None:
    await _streaming(stage)
    why = "studio: closed to open, 5 failures in a row: 503 the server is restarting"
    stage.source.send(SystemEvent(NOON, "warning", "breaker", why))
    await _calm(stage)


async def all_at_once(stage: Stage) -> None:
    await _streaming(stage)
    stage.source.send(EngineState("failed", MODEL, 0.0, "the MLX thread died: out of memory"))
    stage.source.send(
        SystemEvent(NOON, "error", "log", "the log database x can't be written: full")
    )
    stage.source.send(vitals(paused=True, tiers=TIERS))
    await _calm(stage)


async def _calm(stage: Stage) -> None:
    """The toast of an error is in the way of what the picture is about."""
    await stage.settle()
    stage.app.clear_notifications()
    await stage.settle()


SCENES: list[Scene] = [
    flush,
    copy_menu,
    replay,
    switches,
    parse_again,
    export,
    palette,
    palette_found,
    jump,
    pulling,
    naming,
    paused,
    model_missing,
    log_full,
    disk_full,
    server_gone,
    backend_lost,
    all_at_once,
]


@pytest.mark.parametrize("size", SIZES, **_ids)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_shell(
    console: Opener, svg: SnapshotAssertion, scene: Scene, size: tuple[int, int]
) -> None:
    async with console(size=size, source=_source()) as stage:
        await scene(stage)
        assert stage.picture() == svg


FAILURES: dict[str, tuple[str, str, str]] = {
    "port_busy": (
        "Port 8082 of 127.0.0.1 is in use by node server.js --port 8082 (pid 411).",
        ELSEWHERE,
        "starts at port 8083 instead",
    ),
    "log_locked": (
        "/home/ada/.local/share/anyclaude/log.duckdb is in use by python3 (pid 977): stop it, or "
        "name another file with --db",
        ELSEWHERE,
        "starts with a new log, log-2.duckdb",
    ),
    "runs_already": (
        "anyclaude already runs at http://127.0.0.1:8082 (pid 411); stop it, attach with "
        "`anyclaude-tui --attach http://127.0.0.1:8082`, or use another ANYCLAUDE_DATA_DIR",
        ATTACH,
        "attaches to the one at http://127.0.0.1:8082",
    ),
}


@pytest.mark.parametrize("size", SIZES, **_ids)
@pytest.mark.parametrize("name", FAILURES)
async def test_failed_start(
    console: Opener, svg: SnapshotAssertion, name: str, size: tuple[int, int]
) -> None:
    problem, binding, text = FAILURES[name]
    other = FakeLaunch(FakeSource())
    offers = (Offer(binding, text, other),)
    async with console(size=size, failure=UsageError(problem), offers=offers) as stage:
        assert stage.picture() == svg
