"""Getting around: the palette, jump mode, the footer, and starting again after a failed start."""

from __future__ import annotations

import re

import pytest
from textual.widgets import Input

from anyclaude.errors import ConfigError, UsageError
from anyclaude.events import EngineState
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import (
    MODEL,
    NOON,
    READY,
    FakeLaunch,
    FakeSource,
    models,
    request,
    session,
    vitals,
)
from tui.columns import MARKS
from tui.dialogs.choices import Choices
from tui.dialogs.jump import Jump
from tui.dialogs.palette import Palette
from tui.filters import FIELDS, FIGURES
from tui.launch import ATTACH, ELSEWHERE, Offer
from tui.palette import Command


def _has(stage: Stage, text: str) -> bool:
    return text in stage.text()


def _titles(stage: Stage) -> list[str]:
    assert isinstance(stage.app.screen, Palette)
    return [match.command.title for match in stage.app.screen.found]


# ------------------------------------------------------------------------------------ palette


async def test_the_palette_finds_and_runs_a_command(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("ctrl+p", *"onlyerr")
        assert _titles(stage)[0] == "Only requests with errors"
        await stage.press("enter")
        assert stage.app.screen is stage.app.main and stage.app.view.errors_only


async def test_the_palette_is_moved_in_clicked_and_left(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("ctrl+p", *"theme", "down", "down", "up", "enter")
        assert stage.app.theme == "anyclaude-light" or stage.app.theme in stage.app.theme_names
        chosen = stage.app.theme
        await stage.press("ctrl+p", *"freeze")
        await stage.pilot.click(Choices, offset=(4, 0))
        await stage.settle()
        assert stage.app.view.frozen and stage.app.theme == chosen
        await stage.press("ctrl+p", *"zzzz")
        assert _has(stage, "Nothing is called that.")
        await stage.press("enter", "escape")
        assert stage.app.screen is stage.app.main


async def test_what_the_palette_offers_depends_on_the_state(console: Opener) -> None:
    source = FakeSource()
    source.fake.local = models()
    async with console(source=source) as stage:
        await stage.press("ctrl+p")
        first = _titles(stage)
        assert "Copy the lines to paste into another terminal" in first
        assert not any("Cancel" in title or "Filter" in title for title in first)
        await stage.press("escape")
        await stage.send(*session())
        await stage.press("k", "ctrl+p")
        then = set(_titles(stage))
        assert {
            "Cancel the selected request (asks once)",
            "Flush the tier kv",
            "Unload the model",
            f"Load {models()[1].name}",
            "Turn off cache_control",
            "Turn on billing_line",
            "Inspector: Prompt",
            "Copy request id",
        } <= then
        assert not any("Start the engine again" in title for title in then)
        await stage.press("escape")
        await stage.send(EngineState("failed", MODEL, 0.0, "gone"))
        await stage.press("ctrl+p")
        assert "Start the engine again after it failed" in _titles(stage)


@pytest.mark.parametrize(
    ("query", "call"),
    [
        ("flush kv", ("flush", "kv")),
        ("unload", ("unload",)),
        ("load qwen", ("load", "mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit")),
        ("turn off cache", ("set_switch", "cache_control", "False")),
    ],
)
async def test_commands_without_a_key(console: Opener, query: str, call: tuple[str, ...]) -> None:
    source = FakeSource()
    source.fake.local = models()
    async with console(source=source) as stage:
        await stage.send(*session())
        await stage.press("ctrl+p")
        await stage.press(*("space" if letter == " " else letter for letter in query), "enter")
        assert source.fake.calls[-1] == call


async def test_the_palette_goes_to_a_tab_and_copies(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("g", "ctrl+p", *"timing", "enter")
        assert stage.app.main.inspector.tab == "Timing"
        await stage.press("ctrl+p", *"copyreqid", "enter")
        assert stage.copied == ["req_0000000000000000a3f1"]


def test_letters_that_were_found_stand_out() -> None:
    from tui.dialogs.palette import command_line
    from tui.palette import find

    (match,) = find([Command("Flush the tier kv", "x", "F")], "fl")
    line = command_line(match, 40)
    assert [text for text, tone in line.spans if tone == "pick"] == ["F", "l"]
    assert line.plain.endswith(" F")


# --------------------------------------------------------------------------------------- jump


async def test_jump_goes_to_panes_and_tabs(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("ctrl+o")
        assert isinstance(stage.app.screen, Jump)
        await stage.press("3")
        assert stage.app.focused is not None and stage.app.focused.id == "errors"
        await stage.press("ctrl+o", "s")
        assert stage.app.main.inspector.tab == "Prompt"
        assert stage.app.focused.id == "inspector-page"
        await stage.press("ctrl+o", "0", "Z", "escape")
        assert stage.app.screen is stage.app.main


async def test_a_key_that_is_drawn_can_be_clicked(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("ctrl+o")
        target = next(t for t in stage.app.main.places() if t.name == "pane 4")
        await stage.pilot.click(offset=(target.x + 1, target.y))
        await stage.settle()
        assert stage.app.focused is not None and stage.app.focused.id == "events"


async def test_jump_on_a_narrow_screen_reaches_what_is_not_in_sight(console: Opener) -> None:
    async with console(size=(60, 40)) as stage:
        await stage.send(*session())
        assert not _has(stage, "4 Events ─")
        await stage.press("ctrl+o", "4")
        assert _has(stage, "4 Events ─")


async def test_jump_ends_when_the_places_move(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("ctrl+o")
        await stage.pilot.resize_terminal(80, 40)
        await stage.settle()
        assert stage.app.screen is stage.app.main


# ------------------------------------------------------------------------------------- footer


@pytest.mark.parametrize("width", [160, 120, 100, 80, 60, 40])
async def test_the_footer_cuts_no_key(console: Opener, width: int) -> None:
    async with console(size=(width, 30)) as stage:
        await stage.send(*session())
        foot = stage.text().splitlines()[-1]
        names = [b.description for b in stage.app.main.BINDINGS]  # type: ignore[union-attr]
        assert "⏎ Inspect / Filter" in foot
        last = foot.split(" ")[-1]
        assert any(name.endswith(last) for name in [*names, "Inspect"]), foot


async def test_the_footer_grows_with_the_screen(console: Opener) -> None:
    async with console(size=(60, 30)) as stage:
        await stage.send(*session())
        assert "v Vitals" not in stage.text()
        await stage.pilot.resize_terminal(160, 30)
        await stage.settle()
        assert "v Vitals" in stage.text().splitlines()[-1]


async def test_a_key_in_the_footer_can_be_clicked(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        foot = stage.text().splitlines()[-1]
        await stage.pilot.click(offset=(foot.index("F Flush"), 39))
        await stage.settle()
        assert _has(stage, "Flush caches")


async def test_without_requests_nothing_is_done_to_the_list(console: Opener) -> None:
    async with console() as stage:
        await stage.send(READY)
        assert "Filter" not in stage.text().splitlines()[-1]
        await stage.press("slash", "f", "e", "w")
        assert stage.app.view.follow and not stage.app.view.errors_only
        assert stage.app.screen is stage.app.main
        await stage.send(*request("a3f1", NOON))
        assert "/ Filter" in stage.text().splitlines()[-1]


async def test_help_explains_the_marks_and_the_filter(console: Opener) -> None:
    async with console(size=(120, 200)) as stage:
        await stage.send(*session())
        await stage.press("question_mark", "G")
        text = stage.text()
        for mark, meaning in MARKS:
            assert re.search(rf"{re.escape(mark)} +{re.escape(meaning)}", text), mark
        for name in (*(f"{field}:" for field in FIELDS), *FIGURES):
            assert name in text


# ------------------------------------------------------------------------- a start that failed


async def test_another_port_is_one_key_away(console: Opener) -> None:
    other = FakeLaunch(FakeSource())
    offers = (Offer(ELSEWHERE, "starts at port 8083 instead", other),)
    async with console(failure=ConfigError("Port 8082 is in use by x"), offers=offers) as stage:
        assert _has(stage, "n starts at port 8083 instead") and _has(stage, "n Start so")
        await stage.press("a")
        assert _has(stage, "could not start")
        await stage.press("n")
        assert not _has(stage, "could not start") and stage.app.problem == ""
        assert stage.launch.stops == 1 and stage.app.launch is other
        other.source.send(READY)
        await stage.settle()
        assert _has(stage, "is ready")
        await stage.press("n", "q")
    assert (stage.app.return_code, other.stops) == (0, 1)


async def test_a_second_failure_is_said_as_the_first(console: Opener) -> None:
    again = FakeLaunch(FakeSource(), UsageError("that port is taken too"))
    offers = (Offer(ELSEWHERE, "starts at port 8083 instead", again),)
    async with console(failure=ConfigError("taken"), offers=offers) as stage:
        await stage.press("n")
        assert _has(stage, "that port is taken too") and not _has(stage, "8083")
        await stage.press("q")
    assert stage.app.return_code == 2


async def test_the_one_that_runs_is_attached_to(console: Opener) -> None:
    source = FakeSource()
    source.attached = True
    source.fake.recorded = tuple(e.record for e in request("0001", NOON) if hasattr(e, "record"))
    offers = (Offer(ATTACH, "attaches to it", FakeLaunch(source)),)
    async with console(failure=UsageError("runs already"), offers=offers) as stage:
        await stage.press("a")
        assert _has(stage, "0001")


async def test_a_missing_model_is_replaced_from_where_it_is_said(console: Opener) -> None:
    source = FakeSource()
    source.fake.local = models()
    async with console(source=source) as stage:
        await stage.send(EngineState("failed", "qwen3", 0.0, "loading qwen3 failed: not here"))
        assert _has(stage, "m picks another model") and _has(stage, "R tries again")
        await stage.press("m", "enter")
        assert source.fake.calls == [("load", MODEL)]


async def test_keys_typed_into_a_field_are_no_commands(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session(), vitals())
        await stage.press("ctrl+p", *"qX?5")
        assert stage.app.screen.query_one(Input).value == "qX?5"
