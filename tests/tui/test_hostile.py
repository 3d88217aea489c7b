"""Text from outside is plain text on every screen: it does nothing to the terminal, is not taken
for markup, and is as wide as the console thinks it is."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import unicodedata
from pathlib import Path

import pytest
from textual.events import Paste

from anyclaude.control import BackendInfo, ModelInfo
from anyclaude.errors import UsageError
from anyclaude.events import EngineState, PullState, SystemEvent, ToolCallSeen, ToolFailed
from anyclaude.records import RequestDetail, ToolFailure
from anyclaude.types import PrefixMiss
from tests.tui import inspector_scene, key_scenes, room_scenes
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import HEADS, NOON, REPAIRED, FakeSource, models, session, vitals
from tests.tui.key_scenes import PLACES, at
from tui.bench.terminal import Terminal

HOSTILE = (
    "\x1b[31m\x1b]0;owned\x07\x9b2J\x1bP\x18[bold red]m[/]\\[x]$accent\t\x00\x7f\r\n\u202egnp\u2066"
    "👨\u200d👩\u200d👧🇩🇪👍🏽⚠️e\u0301z\u0300\u0300\u0300\u0300\u0300\u0300\u200b\ufeff\u00ad漢字\ud83d{0}%s"
)
# What the console decides by, rather than shows.
_MEANT = frozenset(
    ("phase", "kind", "level", "verdict", "cause", "break_cause", "prefix_break_cause", "echo")
)
_ALLOWED = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\d+;\d+H")
_MARKUP = "[bold red]m[/]"


def poison(value: object, name: str = "") -> object:
    """The value with the hostile text in front of every text in it."""
    if isinstance(value, str) and type(value) is str and name not in _MEANT:
        return HOSTILE + value
    if isinstance(value, tuple):
        return tuple(poison(item, name) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {
            f.name: poison(getattr(value, f.name), f.name)
            for f in dataclasses.fields(value)
            if f.init
        }
        return dataclasses.replace(value, **changed)
    return value


def _detail(suffix: str) -> RequestDetail:
    text = HOSTILE * 3
    body = {
        "model": text,
        "max_tokens": 32_000,
        "system": [{"type": "text", "text": text}],
        "tools": [{"name": text, "description": text, "input_schema": {"type": "object"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        text: text,
    }
    content = [
        {"type": "thinking", "thinking": text},
        {"type": "text", "text": text},
        {"type": "tool_use", "id": text, "name": text, "input": {text: text}},
    ]
    return RequestDetail(
        id=f"{HOSTILE}req_0000000000000000{suffix}",
        headers=((text, text), ("user-agent", text)),
        body=json.dumps(body),
        prompt=f"<|im_start|>system\n{text}<|im_end|>\n{text}",
        output=text,
        response=json.dumps({"type": "message", "content": content, "stop_reason": text}),
        canonical=((text, 1),),
    )


def source() -> FakeSource:
    found = key_scenes.source()
    fake = found.fake
    fake.heads = tuple(
        tuple(HOSTILE + cell if isinstance(cell, str) else cell for cell in row) for row in HEADS
    )
    fake.local = tuple(
        ModelInfo(
            f"{index}{HOSTILE}", HOSTILE, 10**9, HOSTILE, 8192, HOSTILE, bool(index), index == 1
        )
        for index, _ in enumerate(models())
    )
    fake.parsed = (poison(REPAIRED),)  # type: ignore[assignment]
    fake.tree = poison(room_scenes.picture())  # type: ignore[assignment]
    fake.served = tuple(
        BackendInfo(**{**_fields(one), "name": HOSTILE, "type": HOSTILE, "detail": HOSTILE})
        for one in room_scenes.backends()
    )
    fake.switched = poison(fake.switched)  # type: ignore[assignment]
    for suffix in ("a3f1", "a3f3", "a3f5", "a3f8"):
        detail = _detail(suffix)
        fake.details[detail.id] = detail
    found.advised = (HOSTILE,)
    return found


def _fields(value: BackendInfo) -> dict[str, object]:
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}


async def begin(stage: Stage) -> None:
    room_scenes.minutes(stage.app.store)
    refused = ToolFailure(f"{HOSTILE}toolu_1", HOSTILE, HOSTILE, "input", HOSTILE)
    await stage.send(
        *(poison(event) for event in session()),
        poison(ToolCallSeen(NOON, REPAIRED)),
        *(poison(event) for event in room_scenes.searches()),
        ToolFailed(NOON, refused),
        PullState(HOSTILE, "downloading", 10, 100, HOSTILE),
        EngineState("ready", HOSTILE, 1.0, HOSTILE, 8192),
        vitals(tiers=key_scenes.TIERS),
    )
    await stage.press("k")


def check(stage: Stage) -> None:
    """What the driver would be given for the whole screen holds text, colours and places only,
    and every row is as wide as the screen by a count of our own."""
    app = stage.app
    width, height = app.size
    written = app.screen._compositor.render_full_update().render_segments(app.console)
    rest = _ALLOWED.sub("", written)
    assert rest.count("\n") == height - 1  # between the rows
    for character in set(rest) - {"\n"}:
        kind = unicodedata.category(character)
        place = rest.index(character)
        near = ascii(rest[max(0, place - 60) : place + 30])
        assert kind not in ("Cc", "Cf", "Cs", "Zl", "Zp"), near
        assert not 0xFE00 <= ord(character) <= 0xFE0F, near
    rows = app.screen._compositor.render_strips()
    assert len(rows) == height
    for row in rows:
        assert sum(map(_cells, row.text)) == row.cell_length == width, row.text
    for row in rows:
        for segment in row:
            style = segment.style
            assert style is None or style.link is None
            if _MARKUP in segment.text:
                return
    # Not every screen has room for all of it, but none may have swallowed the brackets.
    assert "owned" not in rest or "]0;owned" in rest


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


# -------------------------------------------------------------------------------- every screen


@pytest.mark.parametrize("size", [(120, 40), (60, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_main_screen(console: Opener, size: tuple[int, int]) -> None:
    async with console(size=size, source=source(), toasts=True) as stage:
        await stage.send(EngineState("loading", HOSTILE, 0.4, HOSTILE))
        check(stage)
        await begin(stage)
        check(stage)
        for pane in "1234":
            await stage.press(pane)
            check(stage)
            await stage.press("z")
            check(stage)
            await stage.press("z")
        await stage.press("1", "slash")
        await stage.press(*"model:m")
        check(stage)
        await stage.press("escape")
        stage.app._say(HOSTILE, "error")
        await stage.send(
            SystemEvent(NOON, "error", "server", HOSTILE * 30),
            EngineState("failed", HOSTILE, 0.0, HOSTILE),
        )
        assert "]0;owned" in stage.text()
        check(stage)


@pytest.mark.parametrize("size", [(120, 40), (60, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_tab_of_the_inspector(console: Opener, size: tuple[int, int]) -> None:
    async with console(size=size, source=source()) as stage:
        await begin(stage)
        for keys in ((), ("k", "k", "k"), ("k", "k"), ("g",)):
            await stage.press("1", *keys)
            await stage.press("5", "z")
            for tab in stage.app.main.tabs:
                stage.app.main.inspector.pick(tab)
                stage.app.main.sync_inspector()
                await stage.settle()
                check(stage)
            await stage.press("z", "escape")


async def test_what_broke_the_prefix(console: Opener) -> None:
    async with console(source=inspector_scene.source()) as stage:
        events = [
            dataclasses.replace(
                event,
                miss=PrefixMiss(event.miss.cause, 9_200, 12, HOSTILE, HOSTILE * 2, 10_600, 5.58),
            )
            if hasattr(event, "miss")
            else event
            for event in inspector_scene.conversation()
        ]
        await stage.send(*events)
        await stage.press("k", "5", "z")
        for tab in stage.app.main.tabs:
            stage.app.main.inspector.pick(tab)
            stage.app.main.sync_inspector()
            await stage.settle()
            check(stage)


@pytest.mark.parametrize("size", [(120, 40), (60, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    "title", [title for title, place in PLACES.items() if not place.logged and title != "Inspector"]
)
async def test_rooms_and_dialogs(console: Opener, title: str, size: tuple[int, int]) -> None:
    async with console(size=size, source=source()) as stage:
        await begin(stage)
        await PLACES[title].enter(stage)
        check(stage)
        for key in ("down", "down", "enter"):
            await stage.press(key)
            check(stage)


@pytest.mark.parametrize("title", [title for title, place in PLACES.items() if place.logged])
async def test_rooms_over_the_log(console: Opener, title: str, tmp_path: Path) -> None:
    async with at(console, title, "", tmp_path) as stage:
        check(stage)


async def test_a_start_that_failed(console: Opener) -> None:
    async with console(failure=UsageError(HOSTILE)) as stage:
        assert "]0;owned" in stage.text()
        check(stage)


async def paste(stage: Stage) -> None:
    assert stage.app.focused is not None
    stage.app.post_message(Paste(HOSTILE.encode("utf-8", "replace").decode()))
    await stage.settle()
    check(stage)


async def test_what_is_pasted_into_a_field(console: Opener, tmp_path: Path) -> None:
    async with console(source=source()) as stage:
        await begin(stage)
        for keys in (("slash",), ("ctrl+p",), ("m", "p")):
            await stage.press(*keys)
            await paste(stage)
            await stage.press("escape", "escape", "escape")
    async with at(console, "SQL", "", tmp_path) as stage:
        await stage.press("shift+tab")
        await paste(stage)
        assert "]0;owned" in stage.text()


# ------------------------------------------------------------------------------ a great deal of it


@pytest.mark.parametrize("text", ["x", "漢", "e\u0301", "\x1b[31m", "[bold]", "🙂 "])
async def test_a_megabyte_in_one_line(console: Opener, text: str) -> None:
    """In every place a text of one's own can be; what is drawn is as much as fits."""
    line = text * (1_000_000 // len(text))
    source = FakeSource()
    name = "req_0000000000000000a3f8"
    source.fake.details[name] = RequestDetail(
        name, ((line, line),), json.dumps({"system": line}), line, line, line
    )
    async with console(source=source) as stage:
        await stage.send(*session())
        await stage.press("k")
        call = dataclasses.replace(REPAIRED, request_id=name, name=line, raw=line, final=line)
        await stage.send(
            ToolCallSeen(NOON, call),
            SystemEvent(NOON, "warning", "input", line, name),
            EngineState("ready", line, 1.0, line),
            vitals(),
        )
        check(stage)
        for tab in stage.app.main.tabs:
            stage.app.main.inspector.pick(tab)
            stage.app.main.sync_inspector()
            await stage.settle()
            check(stage)
        for pane in ("3", "4", "5"):
            await stage.press(pane)
            await stage.press("G")
            check(stage)


# --------------------------------------------------------------------------------- a real terminal

CHILD = """
import asyncio
from tests.tui.fake_source import FakeLaunch, session
from tests.tui.test_hostile import HOSTILE, poison, source
from anyclaude.config.settings import UiSettings
from anyclaude.events import EngineState
from tui.app import Console
from tui.desk import Surroundings
from tui.themes import load_themes, theme_folder

async def main():
    launch = FakeLaunch(source())
    app = Console(launch, UiSettings(), load_themes([theme_folder()]), Surroundings(tick_s=0.05))
    running = asyncio.create_task(app.run_async())
    while not app.is_running or app.store.engine.phase == "stopped":
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    launch.source.send(*(poison(event) for event in session()))
    launch.source.send(EngineState("failed", HOSTILE, 0.0, HOSTILE + "the end of it"))
    await running

asyncio.run(main())
"""


def test_what_a_terminal_is_sent(tmp_path: Path) -> None:
    """Every byte of a run on the real driver: nothing but what Textual itself has to say."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with Terminal([sys.executable, "-c", CHILD], env) as terminal:
        terminal.until(lambda painted: b"the end of it" in painted, 60)
        written = bytes(terminal.painted)
    assert b"]0;owned" in written and b"\x1b]0;" not in written
    own = r"\x1b\[[<>=?]?[0-9;]*[a-zA-Z$]+|\x1b\]22;[a-z-]+\x07"  # the second: the pointer's shape
    text = re.sub(own, "", written.decode("utf-8"))
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]", text)
    assert not re.search("[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufe00-\ufe0f\u00ad]", text)
