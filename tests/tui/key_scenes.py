"""Where each binding can be pressed with effect, for the test that presses them all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from anyclaude.errors import UsageError
from anyclaude.events import EngineState, SystemEvent, TierStats
from anyclaude.logs.log import RequestLog
from tests.tui import inspector_scene, room_scenes
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import (
    MODEL,
    NOON,
    REPAIRED,
    FakeLaunch,
    FakeSource,
    detail,
    models,
    request,
    session,
    vitals,
)
from tests.tui.log_scenes import logged, logged_source
from tui.launch import ATTACH, ELSEWHERE, Offer

_LOGGED = ("room.sql", "room.history")
FIRST = "req_0000000000000000a3f1"
TIERS = (*vitals().tiers, TierStats("kv-disk", True, 41, 59, 57, 18_000_000, 0, 11))
Act = Callable[[Stage], Awaitable[None]]


def keys(*pressed: str) -> Act:
    """Presses keys, one after the other."""

    async def act(stage: Stage) -> None:
        for key in pressed:
            await stage.press(key)

    return act


def source() -> FakeSource:
    found = FakeSource()
    found.fake.local = (*models(), *(replace(models()[1], name=f"m{n}") for n in range(30)))
    found.fake.parsed = (REPAIRED,)
    found.fake.tree = room_scenes.picture()
    found.fake.served = room_scenes.backends()
    found.fake.details[FIRST] = detail("a3f1")
    return found


async def working(stage: Stage) -> None:
    """The scripted session; the running request is selected."""
    room_scenes.minutes(stage.app.store)
    await stage.send(*session(), vitals(tiers=TIERS))
    await stage.press("k")


async def many(stage: Stage) -> None:
    """More requests and events than fit."""
    await stage.send(*(e for i in range(90) for e in request(f"{i:04d}", NOON - 100 + i)))
    await stage.send(*(SystemEvent(NOON, "info", "model", f"loaded {n}") for n in range(60)))


async def queried(stage: Stage) -> None:
    """The SQL room with an answer of many rows and columns, and the table focused."""
    await stage.press("s")
    await _write(stage, "SELECT range AS a, range + 1 AS b, range + 2 AS c FROM range(100)")
    await stage.press("ctrl+j")
    await stage.press("tab")


async def _write(stage: Stage, text: str) -> None:
    from tui.rooms.sql import SqlRoom

    assert isinstance(stage.app.screen, SqlRoom)
    stage.app.screen.editor.write(text)
    await stage.settle()


def typing(text: str) -> Act:
    """Another text in the SQL room's editor, its last letter typed."""

    async def act(stage: Stage) -> None:
        await _write(stage, text[:-1])
        await stage.press(text[-1])

    return act


async def one_more(stage: Stage) -> None:
    """A request that the log has and the screen has not seen."""
    log = stage.source.fake.log
    assert isinstance(log, RequestLog)
    await log.record(logged(9000, NOON))


async def failed(stage: Stage) -> None:
    await stage.send(EngineState("failed", MODEL, 0.0, "the MLX thread died"))


def after(*acts: Act) -> Act:
    async def act(stage: Stage) -> None:
        for one in acts:
            await one(stage)

    return act


@dataclass(frozen=True)
class Place:
    """How to get where a section's bindings are, and for some of them what is to be done there
    first; ``begin`` is the state of the world, ``enter`` the way in."""

    enter: Act = keys()
    begin: Act = working
    first: dict[str, Act] | None = None
    logged: bool = False
    size: tuple[int, int] = (120, 40)


PLACES: dict[str, Place] = {
    "Everywhere": Place(
        first={
            "engine.restart": failed,
            "request.replay": keys("g"),
            "request.reparse": keys("g"),
            "pane.requests": keys("2"),
            "view.back": keys("2"),
        }
    ),
    "Request list": Place(
        begin=many,
        first={id: keys("g") for id in ("requests.down", "requests.pagedown", "requests.last")},
    ),
    "Filter": Place(enter=keys("slash", "a")),
    "Inspector": Place(
        begin=lambda stage: stage.send(*inspector_scene.conversation()),
        enter=keys("k", "k", "5", "z", "right"),
        first={
            "inspector.next_part": keys("left", "left"),
            "inspector.previous_part": keys("left", "left", "G"),
        },
        size=(100, 24),
    ),
    "Inspector, cache and events": Place(
        begin=many,
        enter=keys("4"),
        first={id: keys("G") for id in ("page.up", "page.pageup", "page.home")},
    ),
    "Tool-call errors": Place(enter=keys("3"), first={"errors.up": keys("j")}),
    "Rooms": Place(
        enter=keys("T"),
        first={
            "room.restart": failed,
            **{id: keys("G") for id in ("rows.up", "rows.pageup", "rows.first")},
        },
        size=(120, 20),
    ),
    "Prefix tree": Place(enter=keys("T", "j")),
    "Vitals": Place(
        enter=keys("v"),
        first={
            "vitals.shorter": keys("minus"),
            **{id: keys("G") for id in ("vitals.up", "vitals.pageup", "vitals.home")},
        },
        size=(60, 20),
    ),
    # The last one's breaker is open.
    "Backends": Place(enter=keys("b", "j", "j")),
    "Web searches": Place(
        begin=lambda stage: stage.send(*session(), *room_scenes.searches()), enter=keys("W")
    ),
    "SQL": Place(
        enter=queried,
        first={
            "sql.run": after(keys("shift+tab"), typing("SELECT 2")),
            "sql.accept": after(keys("shift+tab"), typing("SELECT * FROM requ")),
            "sql.suggest": after(keys("shift+tab"), typing("SELECT * FROM requ"), keys("escape")),
            "sql.hush": after(keys("shift+tab"), typing("SELECT * FROM requ")),
            "sql.older": after(keys("shift+tab"), typing("SELECT 2"), keys("ctrl+j")),
            "sql.newer": after(
                keys("shift+tab"), typing("SELECT 2"), keys("ctrl+j", "ctrl+up", "ctrl+up")
            ),
            "result.up": keys("G"),
            "result.pageup": keys("G"),
            "result.first": keys("G"),
            "result.left": keys("l"),
            "result.home": keys("l"),
        },
        logged=True,
    ),
    "SQL dialogs": Place(
        enter=queried,
        first={
            **{f"pick.{name}": keys("ctrl+g") for name in ("choose", "down", "close")},
            "pick.up": keys("ctrl+g", "down"),
            **{f"row.{name}": keys("enter") for name in ("next", "copy", "close")},
            "row.previous": keys("j", "enter"),
            **{
                f"sql_export.{name}": keys("ctrl+s")
                for name in ("write", "next", "previous", "close")
            },
        },
        logged=True,
    ),
    "History": Place(
        enter=keys("h"),
        first={
            "history.left": keys("enter"),
            "history.right": keys("enter"),
            "history.reload": one_more,
        },
        logged=True,
    ),
    "Model picker": Place(enter=keys("m"), first={"models.up": keys("j")}),
    "Lists to choose from": Place(
        enter=keys("g", "r"),
        first={id: keys("G") for id in ("choices.up", "choices.pageup", "choices.first")},
    ),
    "Flush": Place(enter=keys("F")),
    "Copy menu": Place(enter=keys("g", "y"), first={"copy.tools": keys("escape", "j", "j", "y")}),
    "Switches": Place(enter=keys("o")),
    "Export": Place(enter=keys("w")),
    "Parse again": Place(enter=keys("g", "A")),
    "Commands": Place(enter=keys("ctrl+p"), first={"palette.up": keys("down")}),
    "Jump": Place(enter=keys("ctrl+o")),
    "Questions": Place(enter=keys("X")),
    "Help": Place(enter=keys("question_mark")),
}


def alone(title: str, id: str) -> bool:
    """Whether a binding needs a console that was made for it."""
    prepared = id in (PLACES[title].first or {})
    return prepared or id in (ELSEWHERE, ATTACH) or (id in _LOGGED and not PLACES[title].logged)


@asynccontextmanager
async def at(console: Opener, title: str, id: str, folder: Path) -> AsyncIterator[Stage]:
    """A console where the binding called ``id`` has something to do."""
    place = PLACES[title]
    first = (place.first or {}).get(id, keys())
    if id in (ELSEWHERE, ATTACH):
        offers = (Offer(id, "does it", FakeLaunch(FakeSource())),)
        async with console(failure=UsageError("taken"), offers=offers) as stage:
            yield stage
    elif place.logged or id in _LOGGED:
        async with (
            logged_source(folder) as found,
            console(size=place.size, source=found) as stage,
        ):
            await place.begin(stage)
            await place.enter(stage)
            await first(stage)
            yield stage
    else:
        found = inspector_scene.source() if title == "Inspector" else source()
        async with console(size=place.size, source=found) as stage:
            await place.begin(stage)
            await place.enter(stage)
            await first(stage)
            yield stage
