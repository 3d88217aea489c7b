"""Layouts: what is where at each size, that nothing that matters is cut off, and that a resize
leaves selection and scroll where they were."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.geometry import Region
from textual.widget import Widget

from anyclaude.config.settings import UiSettings
from anyclaude.events import SystemEvent
from tests.tui import inspector_scene
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import HEADS, NOON, READY, FakeSource, detail, models, request, session
from tui.themes import load_themes, theme_folder
from tui.widgets.page import Page

SIZES = [(160, 45), (120, 40), (100, 30), (80, 24), (60, 40), (40, 20)]
_ids = {"ids": lambda size: f"{size[0]}x{size[1]}"}
PANES = ("requests", "cache", "errors", "events", "inspector")
Scene = Callable[[Stage], Awaitable[None]]


def _source() -> FakeSource:
    source = FakeSource()
    source.fake.local = models()
    source.fake.heads = HEADS
    for suffix in ("a3f1", "a3f5", "a3f8"):
        source.fake.details[f"req_0000000000000000{suffix}"] = detail(suffix)
    return source


async def streaming(stage: Stage) -> None:
    await stage.send(*session())
    stage.clock.advance(4.4)
    await stage.press("k")


async def welcome(stage: Stage) -> None:
    await stage.send(READY)


async def inspecting(stage: Stage) -> None:
    await streaming(stage)
    await stage.press("5")


async def errors(stage: Stage) -> None:
    await streaming(stage)
    await stage.press("3")


def _pane(stage: Stage, name: str) -> Widget:
    return stage.app.main.query_one(f"#{name}")


def _shown(stage: Stage) -> dict[str, Region]:
    return {
        name: pane.region
        for name in PANES
        if (pane := _pane(stage, name)).display and pane.region.area and _visible(pane)
    }


def _visible(pane: Widget) -> bool:
    return all(node.display for node in pane.ancestors if isinstance(node, Widget))


# -------------------------------------------------------------------------------- what is where


@pytest.mark.parametrize("size", SIZES, **_ids)
@pytest.mark.parametrize("scene", [streaming, welcome, inspecting, errors])
async def test_panes_fill_the_screen_and_do_not_overlap(
    console: Opener, scene: Scene, size: tuple[int, int]
) -> None:
    async with console(size=size, source=_source()) as stage:
        await scene(stage)
        body = stage.app.main.query_one("#body").region
        regions = _shown(stage)
        assert regions
        for region in regions.values():
            assert body.contains_region(region)
        assert sum(region.area for region in regions.values()) == body.area
        assert body.width == size[0] and body.bottom == size[1] - 1


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((160, 45), set(PANES)),
        ((120, 40), set(PANES)),
        ((100, 30), set(PANES)),
        ((120, 24), {"requests", "cache", "errors", "events"}),
        ((200, 24), {"requests", "cache", "errors", "events"}),
        ((80, 24), {"requests"}),
        ((60, 40), {"requests", "inspector"}),
        ((40, 20), {"requests"}),
    ],
)
async def test_which_panes_there_are(
    console: Opener, size: tuple[int, int], shown: set[str]
) -> None:
    async with console(size=size, source=_source()) as stage:
        await streaming(stage)
        assert set(_shown(stage)) == shown


async def test_ultrawide_gives_the_inspector_a_column(console: Opener) -> None:
    async with console(size=(160, 45), source=_source()) as stage:
        await streaming(stage)
        where = _shown(stage)
        listed, inspector = where["requests"], where["inspector"]
        assert inspector.x == listed.right and inspector.y == listed.y
        assert inspector.height == listed.height and inspector.width >= 70
        below = [where[name] for name in ("cache", "errors", "events")]
        assert {region.y for region in below} == {listed.bottom}
        await stage.press("z")
        assert set(_shown(stage)) == {"requests"}
        await stage.press("z", "4", "z")
        assert set(_shown(stage)) == {"events"}
        assert _shown(stage)["events"].width == 160


@pytest.mark.parametrize("size", SIZES, **_ids)
async def test_what_matters_is_in_sight(console: Opener, size: tuple[int, int]) -> None:
    async with console(size=size, source=_source()) as stage:
        await streaming(stage)
        lines = stage.text().splitlines()
        assert lines[0].startswith(" anyclaude ● :8082 ") and "1 run 1 wait" in lines[0]
        assert "? Help" in lines[-1]
        assert any("decoding" in text and "▌>" in text for text in lines)
        for border in ("╮", "╯"):
            assert any(text.endswith(border) for text in lines)
        if size[0] < 100:
            tabs = lines[1]
            assert all(f" {number} " in tabs for number in "1234") and "…" not in tabs


async def test_the_pane_tabs_shorten_before_they_are_cut(console: Opener) -> None:
    async with console(size=(60, 20), source=_source()) as stage:
        await streaming(stage)
        assert " 1 Requests 9 " in stage.text().splitlines()[1]
        await stage.send(*(e for n in range(1500) for e in request(f"{n:04d}", NOON - 1)))
        await stage.pilot.resize_terminal(40, 20)
        await stage.settle()
        assert stage.text().splitlines()[1].rstrip().endswith("4 Ev")
        for pane, at in dict(stage.app.main.query_one("PaneTabs").places()).items():  # type: ignore[attr-defined]
            await stage.pilot.click("#panes", offset=(at + 1, 0))
            await stage.settle()
            assert stage.app.main.has_class(f"-pane-{pane}")


# --------------------------------------------------------------------------------------- resize


async def _resize(stage: Stage, *sizes: tuple[int, int]) -> None:
    for width, height in sizes:
        await stage.pilot.resize_terminal(width, height)
        await stage.settle()


async def _many(stage: Stage) -> None:
    events = [e for n in range(90) for e in request(f"{n:04d}", NOON - 100 + n)]
    await stage.send(*events, *(SystemEvent(NOON, "info", "model", f"no {n}") for n in range(60)))


@pytest.mark.parametrize("down", [0, 3, 11], ids=["at the top", "amid", "at the bottom"])
async def test_a_resize_keeps_selection_and_scroll(console: Opener, down: int) -> None:
    async with console(source=_source()) as stage:
        await _many(stage)
        await stage.press("g", *["j"] * 40)
        await stage.press(*["k"] * (11 - down))
        rows = stage.app.main.list
        selected, top = stage.app.view.selected, rows.scroll_offset.y
        assert selected is not None and top > 0
        for size in [(60, 40), (120, 40), (40, 20), (120, 40), (160, 45), (80, 24), (100, 30)]:
            await _resize(stage, size)
            assert stage.app.view.selected is selected
            line = stage.app.view.cursor
            assert line is not None
            height = rows.scrollable_content_region.height
            assert rows.scroll_offset.y <= line < rows.scroll_offset.y + height, size
        await _resize(stage, (120, 40))
        assert rows.scroll_offset.y == top


async def test_a_resize_does_not_bring_back_a_cursor_that_was_out_of_sight(
    console: Opener,
) -> None:
    async with console(source=_source()) as stage:
        await _many(stage)
        await stage.press("g")
        rows = stage.app.main.list
        rows.scroll_to(y=50, animate=False, force=True)
        await stage.settle()
        await _resize(stage, (60, 40), (40, 20), (120, 40))
        assert rows.scroll_offset.y == 50 and stage.app.view.cursor == 0


async def test_a_resize_while_following_stays_at_the_end(console: Opener) -> None:
    async with console(source=_source()) as stage:
        await _many(stage)
        rows = stage.app.main.list
        for size in [(60, 40), (40, 20), (120, 40)]:
            await _resize(stage, size)
            height = rows.scrollable_content_region.height
            assert rows.scroll_offset.y == 90 - height, size
        assert stage.app.view.follow


async def test_a_resize_keeps_the_place_in_the_inspector(console: Opener) -> None:
    async with console(source=inspector_scene.source()) as stage:
        await stage.send(*inspector_scene.conversation())
        await stage.press("k", "5")
        stage.app.main.inspector.pick("Raw")
        stage.app.main.sync_inspector()
        await stage.settle()
        page = stage.app.main.query_one("#inspector-page", Page)
        await stage.press("pagedown", "j", "j", "j")
        top = page.scroll_offset.y
        seen = page.render_line(0).text.strip()
        assert top > 3
        await _resize(stage, (60, 40), (120, 40), (40, 20), (160, 45), (120, 40))
        assert page.scroll_offset.y == top
        assert page.render_line(0).text.strip() == seen
        assert stage.app.focused is page


async def test_a_resize_keeps_the_place_in_the_events(console: Opener) -> None:
    async with console(source=_source()) as stage:
        await _many(stage)
        await stage.press("4", *["j"] * 9)
        page = stage.app.main.query_one("#events", Page)
        assert page.scroll_offset.y == 9
        await _resize(stage, (60, 40), (120, 40), (40, 20), (120, 40))
        assert page.scroll_offset.y == 9
        assert stage.app.focused is page


async def test_rows_that_go_at_the_top_do_not_move_what_one_looks_at(console: Opener) -> None:
    async with console(source=_source()) as stage:
        stage.app.store._keep = 90
        await _many(stage)
        await stage.press("g", *["j"] * 40)
        rows = stage.app.main.list
        before = [text[:70] for text in stage.text().splitlines()[5:12]]
        await stage.send(*(e for n in range(7) for e in request(f"b{n:03d}", NOON + n)))
        assert [text[:70] for text in stage.text().splitlines()[5:12]] == before
        assert stage.app.view.cursor == 33
        await stage.press("j")
        assert stage.app.view.cursor == 34 and rows.scroll_offset.y > 0


async def test_how_the_list_behaves_is_said_at_every_width(console: Opener) -> None:
    async with console(size=(40, 20), source=_source()) as stage:
        await stage.send(*session())
        await _resize(stage, (40, 20))
        head = stage.text().splitlines()[0]
        assert head.endswith("FOLLOW") and "run" in head and "SmolLM" in head
        await _resize(stage, (60, 40))
        assert stage.text().splitlines()[0].startswith(" anyclaude ● :8082")


@pytest.mark.parametrize("size", SIZES, **_ids)
async def test_every_tier_and_system_prompt_is_in_sight(
    console: Opener, size: tuple[int, int]
) -> None:
    async with console(size=size, source=_source()) as stage:
        await streaming(stage)
        await stage.press("2")
        text = stage.text()
        for words in (" kv ", "main 3f2a", "subagent b07d", "title 09c4"):
            assert words in text, words
        page = stage.app.main.query_one("#cache", Page)
        assert page.virtual_size.height <= page.size.height


# ------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("size", SIZES, **_ids)
@pytest.mark.parametrize(
    "scene", [streaming, welcome, inspecting, errors], ids=lambda scene: scene.__name__
)
async def test_layout(
    console: Opener, svg: SnapshotAssertion, scene: Scene, size: tuple[int, int]
) -> None:
    async with console(size=size, source=_source()) as stage:
        await scene(stage)
        assert stage.picture() == svg


@pytest.mark.parametrize("size", [(120, 40), (60, 40)], **_ids)
@pytest.mark.parametrize("theme", [t.name for t in load_themes([theme_folder()]).themes])
async def test_theme(
    console: Opener, svg: SnapshotAssertion, theme: str, size: tuple[int, int]
) -> None:
    async with console(size=size, ui=UiSettings(theme=theme), source=_source()) as stage:
        await streaming(stage)
        await stage.press("right_square_bracket", "right_square_bracket")
        assert stage.picture() == svg
