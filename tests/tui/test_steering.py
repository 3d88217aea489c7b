"""What the console's keys ask of the server, and how it is left."""

from __future__ import annotations

import asyncio

import pytest

from anyclaude.config.settings import UiSettings
from anyclaude.errors import EngineFailed
from anyclaude.events import EngineState
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import MODEL, NOON, READY, FakeSource, models, request, session
from tui.dialogs.confirm import Confirm
from tui.dialogs.help import Help
from tui.dialogs.models import ModelPicker

LIVE = "req_0000000000000000a3f8"


def _has(stage: Stage, text: str) -> bool:
    return text in stage.text()


def _said(stage: Stage) -> list[str]:
    return [notice.message for notice in stage.app._notifications]


async def test_flush_asks_once_and_says_what_was_freed(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("F")
        assert isinstance(stage.app.screen, Confirm) and _has(stage, "12 entries")
        await stage.press("n")
        assert stage.source.fake.calls == []
        await stage.press("F", "F")
        assert stage.source.fake.calls == [("flush", "all")]
        assert _said(stage) == ["Freed kv: 12 entries, 6.4 GB"]


async def test_cancel_asks_once_and_only_for_what_runs(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("k")
        await stage.press("X", "y")
        assert stage.source.fake.calls == [("cancel", LIVE)]
        await stage.press("g", "X")
        assert stage.app.screen is stage.app.main


async def test_the_picker_lists_loads_and_shows_progress(console: Opener) -> None:
    source = FakeSource()
    source.fake.local = models()
    async with console(source=source) as stage:
        await stage.send(READY)
        await stage.press("m")
        assert _has(stage, "Qwen3-Coder-30B") and _has(stage, "too large")
        await stage.press("j", "enter")
        assert source.fake.calls == [("load", models()[1].name)]
        assert _has(stage, "reading weights") and _has(stage, " 40%")
        await stage.press("u")
        assert source.fake.calls[-1] == ("unload",)
        await stage.press("escape")
        assert stage.app.screen is stage.app.main


async def test_a_load_that_fails_is_said_in_the_picker(console: Opener) -> None:
    source = FakeSource()
    source.fake.local = models()
    async with console(source=source) as stage:
        await stage.send(READY)
        source.fake.failure = EngineFailed("the weights are [damaged]")
        await stage.press("m", "enter")
        assert isinstance(stage.app.screen, ModelPicker)
        assert _has(stage, "the weights are [damaged]")


async def test_restart_is_offered_when_the_engine_failed(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("R")
        assert stage.source.fake.calls == [] and not _has(stage, "Restart")
        await stage.send(EngineState("failed", MODEL, 0.0, "out of memory"))
        assert _has(stage, "out of memory") and _has(stage, "Restart engine")
        await stage.press("R")
        assert stage.source.fake.calls == [("restart",)]


async def test_a_refused_action_is_said(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        stage.source.fake.failure = EngineFailed("the engine is busy")
        await stage.press("F", "y")
        assert _said(stage) == ["the engine is busy"]


# -------------------------------------------------------------------------------- the console


async def test_help_lists_the_keys_in_force(console: Opener) -> None:
    async with console(ui=UiSettings(keymap=(("view.follow", "f5"),))) as stage:
        await stage.send(*session())
        await stage.press("question_mark")
        assert isinstance(stage.app.screen, Help) and _has(stage, "Follow new requests")
        await stage.press("escape", "f")
        assert stage.app.view.follow
        await stage.press("f5")
        assert not stage.app.view.follow


async def test_t_goes_through_the_themes(console: Opener) -> None:
    async with console() as stage:
        assert stage.app.theme == "anyclaude-dark"
        await stage.press("t")
        assert stage.app.theme == "anyclaude-light"
        await stage.press("t")
        assert stage.app.theme == "anyclaude-dark"


async def test_an_unknown_theme_is_said(console: Opener) -> None:
    async with console(ui=UiSettings(theme="neon")) as stage:
        assert stage.app.theme == "anyclaude-dark" and "neon" in _said(stage)[0]


async def test_q_quits_at_once_when_idle(console: Opener) -> None:
    async with console() as stage:
        await stage.send(READY, *request("a3f1", NOON))
        await stage.press("q")
    assert (stage.launch.stops, stage.app.return_code) == (1, 0)


async def test_q_asks_when_requests_run_and_a_second_q_quits(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("q")
        assert _has(stage, "2 requests are running") and stage.launch.stops == 0
        await stage.press("n")
        assert stage.app.screen is stage.app.main
        await stage.press("q", "q")
    assert (stage.launch.stops, stage.app.return_code) == (1, 0)


@pytest.mark.parametrize("key", ["ctrl+q", "ctrl+c"])
async def test_ctrl_q_and_ctrl_c_quit_without_asking(console: Opener, key: str) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("question_mark", key)
    assert (stage.launch.stops, stage.app.return_code) == (1, 0)


async def test_leaving_an_attached_console_asks_nothing(console: Opener) -> None:
    source = FakeSource()
    source.attached = True
    source.fake.recorded = tuple(e.record for e in request("0001", NOON) if hasattr(e, "record"))
    async with console(source=source) as stage:
        assert _has(stage, "0001")
        await stage.send(*session())
        await stage.press("q")
    assert stage.app.return_code == 0


async def test_quitting_while_the_server_still_starts(console: Opener) -> None:
    source = FakeSource()
    async with console(source=source) as stage:
        stage.launch.hold = asyncio.Event()
        stage.app.run_worker(stage.app._start(), group="start", exit_on_error=False)
        await stage.pilot.pause()
        await stage.pilot.press("q")
        await stage.pilot.pause()
    assert stage.app.return_code == 0
