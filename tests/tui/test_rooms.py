"""What the keys and the mouse do in the tree, vitals and backends rooms."""

from __future__ import annotations

import pytest
from textual.events import MouseScrollDown

from anyclaude.config.settings import UiSettings
from anyclaude.control import PrefixTreePicture
from anyclaude.errors import EngineFailed, NotFound
from anyclaude.events import EngineState
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import MODEL, NOON, READY, vitals
from tests.tui.room_scenes import OTHER, SESSION, busy, edge, minutes, picture, source
from tui.dialogs.confirm import Confirm
from tui.dialogs.help import Help
from tui.dialogs.models import ModelPicker
from tui.rooms.backends import BackendsRoom
from tui.rooms.tree import TreeRoom
from tui.rooms.vitals import ChartPane, Grid, VitalsRoom
from tui.widgets.rows import Rows


def _said(stage: Stage) -> list[str]:
    return [notice.message for notice in stage.app._notifications]


def _asked(stage: Stage, what: str) -> int:
    return sum(call[0] == what for call in stage.source.fake.calls)


def _tree(stage: Stage) -> TreeRoom:
    assert isinstance(stage.app.screen, TreeRoom)
    return stage.app.screen


def _text_of(stage: Stage) -> str:
    branch = _tree(stage).selected
    assert branch is not None
    return branch.node.text


@pytest.mark.parametrize(("key", "room"), [("T", TreeRoom), ("v", VitalsRoom), ("b", BackendsRoom)])
async def test_each_room_is_entered_and_left(console: Opener, key: str, room: type) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        for leave in ("escape", "q", key):
            await stage.press(key)
            assert isinstance(stage.app.screen, room)
            await stage.press(leave)
            assert stage.app.screen is stage.app.main
        await stage.press(key, "question_mark")
        assert isinstance(stage.app.screen, Help)
        await stage.press("escape")
        assert isinstance(stage.app.screen, room)
        await stage.press("tab", "shift+tab")
        assert stage.app.focused is not None


@pytest.mark.parametrize("key", ["T", "v", "b"])
async def test_a_resize_is_survived(console: Opener, key: str) -> None:
    async with console(size=(120, 40), source=source()) as stage:
        minutes(stage.app.store)
        await stage.send(*busy())
        await stage.press(key, "j")
        for size in ((40, 20), (160, 45), (60, 40), (80, 24)):
            await stage.pilot.resize_terminal(*size)
            await stage.settle()
            rows = stage.text().splitlines()
            assert len(rows) == size[1] and max(map(len, rows)) <= size[0]
            assert "esc" in rows[-1]


# --------------------------------------------------------------------------------------- tree


async def test_the_cursor_moves_by_key_and_mouse(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("T")
        assert _text_of(stage).endswith("official CLI")
        await stage.press("j", "j")
        assert "quick" not in _text_of(stage) and "failing test" in _text_of(stage)
        await stage.press("k")
        assert "[bold]parser[/bold]" in _text_of(stage)
        assert "[bold]parser[/bold]" in stage.text()
        await stage.press("G")
        last = _text_of(stage)
        await stage.press("g")
        assert _text_of(stage).endswith("official CLI") and last != _text_of(stage)
        await stage.press("pagedown")
        assert _text_of(stage) == last
        await stage.press("pageup")
        await stage.pilot.click(Rows, offset=(5, 2))
        await stage.settle()
        assert "failing test" in _text_of(stage)


async def test_the_wheel_scrolls_a_long_tree(console: Opener) -> None:
    async with console(size=(80, 24)) as stage:
        nodes = tuple(edge(i, i - 1 if i else None, i * 10, 10, f"turn {i}") for i in range(60))
        stage.source.fake.tree = PrefixTreePicture(MODEL, nodes, 0)
        await stage.send(READY)
        await stage.press("T")
        rows = stage.app.screen.query_one(Rows)
        for _ in range(5):
            await stage.pilot._post_mouse_events([MouseScrollDown], Rows, (5, 2), button=0)
        await stage.settle()
        top = round(rows.scroll_offset.y)
        assert top >= 5 and f"turn {top} " in stage.text() and "turn 1 " not in stage.text()
        await stage.pilot.click(Rows, offset=(5, 2))
        await stage.settle()
        assert _text_of(stage) == f"turn {top + 2}"


async def test_the_cursor_stays_on_its_edge_when_the_tree_changes(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("T")
        await stage.press("j", "j")
        before = _text_of(stage)
        late = edge(99, None, 0, 40_000, "a new and larger beginning")
        shown = picture()
        stage.source.fake.tree = PrefixTreePicture(MODEL, (late, *shown.nodes), 0)
        await stage.press("ctrl+r")
        assert "a new and larger" in stage.text()
        assert _text_of(stage) == before


async def test_it_asks_every_two_seconds_and_at_once_by_key(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("T")
        assert _asked(stage, "prefix_tree") == 1
        await stage.settle()
        assert _asked(stage, "prefix_tree") == 1
        await stage.press("ctrl+r")
        assert _asked(stage, "prefix_tree") == 2
        stage.clock.advance(1.9)
        await stage.settle()
        assert _asked(stage, "prefix_tree") == 2
        stage.clock.advance(0.2)
        await stage.settle()
        assert _asked(stage, "prefix_tree") == 3
        stage.clock.advance(-1_000)
        await stage.settle()
        assert _asked(stage, "prefix_tree") == 4
        await stage.press("escape")
        stage.clock.advance(60)
        await stage.settle()
        assert _asked(stage, "prefix_tree") == 4


async def test_the_times_go_on_between_answers(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("T")
        assert "4m ago" in stage.text()
        stage.clock.advance(60)
        await stage.settle()
        assert "5m ago" in stage.text()


async def test_enter_opens_the_newest_request_of_the_session(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("T", "enter")
        assert stage.app.screen is stage.app.main
        selected = stage.app.view.selected
        assert selected is not None and selected.session_id == SESSION
        newest = [r for r in stage.app.store.rows.values() if r.session_id == SESSION][-1]
        assert selected is newest
        assert stage.app.main.has_class("-inspect")


async def test_a_double_click_opens_too(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("T")
        await stage.pilot.click(Rows, offset=(5, 0), times=2)
        await stage.settle()
        assert stage.app.screen is stage.app.main


async def test_an_edge_without_a_known_session_opens_nothing(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("T", "G")
        stage.source.fake.tree = PrefixTreePicture(
            MODEL, (edge(1, None, 0, 5, "x", sessions=()),), 0
        )
        await stage.press("ctrl+r", "enter", "P")
        assert isinstance(stage.app.screen, TreeRoom)
        assert [word in said for said, word in zip(_said(stage), ("list", "pin"), strict=True)]
        assert _asked(stage, "pin") == 0


async def test_pin_and_unpin(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("T", "j", "j", "j", "j")
        asked = _asked(stage, "prefix_tree")
        await stage.press("P")
        assert ("pin", OTHER, "True") in stage.source.fake.calls
        assert _asked(stage, "prefix_tree") == asked + 1
        assert stage.app.store.pinned == {OTHER}
        # Of an edge that several share, the pinned one is meant.
        await stage.press("g", "P")
        assert ("pin", OTHER, "False") in stage.source.fake.calls
        await stage.press("P")
        assert stage.app.store.pinned == {SESSION}
        assert [said.partition(":")[0] for said in _said(stage)] == [
            "Session 91ab is pinned",
            "Session 91ab is no longer pinned",
            "Session 5f0c is pinned",
        ]
        stage.source.fake.failure = NotFound("no session [5f0c] in the tree")
        await stage.press("P")
        assert _said(stage)[-1] == "no session [5f0c] in the tree"
        assert stage.app.store.pinned == {SESSION}


async def test_what_the_server_pinned_is_unpinned_at_once(console: Opener) -> None:
    async with console() as stage:
        nodes = (edge(1, None, 0, 9, "a", pinned=True), edge(2, 1, 9, 9, "b", pinned=True))
        stage.source.fake.tree = PrefixTreePicture(MODEL, nodes, 0)
        await stage.send(READY)
        await stage.press("T", "P")
        assert ("pin", SESSION, "False") in stage.source.fake.calls


async def test_flush_asks_once_and_only_for_the_tier_of_the_edge(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("T", "F")
        assert isinstance(stage.app.screen, Confirm)
        assert "12 entries" in stage.text() and "Flush what lies in memory?" in stage.text()
        await stage.press("n")
        assert _asked(stage, "flush") == 0
        await stage.press("F", "F")
        assert ("flush", "kv") in stage.source.fake.calls
        assert _said(stage) == ["Freed kv: 12 entries, 6.4 GB"]
        assert _asked(stage, "prefix_tree") == 2
        on_disk = (edge(1, None, 0, 5, "x", megabytes=0, on_disk=True),)
        stage.source.fake.tree = PrefixTreePicture(MODEL, on_disk, 0)
        await stage.press("ctrl+r", "F", "y")
        assert ("flush", "kv-disk") in stage.source.fake.calls
        stage.source.fake.failure = EngineFailed("the engine is busy")
        await stage.press("F", "y")
        assert "the engine is busy" in _said(stage)


async def test_what_goes_wrong_is_said_in_place_and_goes_away(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        stage.source.fake.failure = EngineFailed("the MLX thread has [ended]")
        await stage.press("T")
        assert "the MLX thread has [ended]" in stage.text() and "ctrl+r asks again" in stage.text()
        await stage.press("j", "enter", "P", "F")
        assert isinstance(stage.app.screen, TreeRoom)
        stage.source.fake.failure = None
        await stage.press("ctrl+r")
        assert "official CLI" in stage.text() and "asks again" not in stage.text()


async def test_an_empty_tree_explains_itself(console: Opener) -> None:
    async with console() as stage:
        await stage.send(READY)
        await stage.press("T")
        assert "Nothing is cached yet." in stage.text()
        await stage.press("j", "k", "G", "enter", "P", "F")
        assert isinstance(stage.app.screen, TreeRoom)
        stage.source.fake.tree = picture()
        await stage.press("ctrl+r")
        assert "official CLI" in stage.text()


async def test_before_the_server_is_up_it_says_so(console: Opener) -> None:
    async with console() as stage:
        stage.app._started = False
        for key in ("T", "b"):
            await stage.press(key)
            assert "the server is not up yet" in stage.text()
            await stage.press("escape")


# ------------------------------------------------------------------------------------- vitals


async def test_the_charts_follow_new_figures(console: Opener) -> None:
    async with console() as stage:
        await stage.press("v")
        assert "No figures yet." in stage.text()
        await stage.send(vitals(decode_tps=33.3))
        assert "33.3  min 33.3  max 33.3" in stage.text() and "No figures" not in stage.text()
        stage.clock.advance(1)
        await stage.send(vitals(decode_tps=12.5))
        assert "12.5  min 12.5  max 33.3" in stage.text()


async def test_the_span_is_changed_by_key(console: Opener) -> None:
    async with console() as stage:
        minutes(stage.app.store)
        await stage.send(*busy())
        await stage.press("v")
        shown = [stage.text().splitlines()[0]]
        for key in ("plus", "plus", "minus", "minus", "minus", "minus"):
            await stage.press(key)
            shown.append(stage.text().splitlines()[0])
        spans = [row.split("last ")[1].split()[0] for row in shown]
        assert spans == ["5m", "2m", "2m", "5m", "15m", "1h", "1h"]
        assert "-1h" in stage.text()


@pytest.mark.parametrize(
    ("size", "across"), [((160, 45), 4), ((120, 40), 2), ((80, 24), 2), ((60, 40), 1)]
)
async def test_the_grid_fits_the_width(console: Opener, size: tuple[int, int], across: int) -> None:
    async with console(size=size) as stage:
        await stage.send(*busy())
        await stage.press("v")
        charts = list(stage.app.screen.query(ChartPane))
        assert len({chart.region.x for chart in charts}) == across
        assert all(chart.region.height >= 8 for chart in charts)


async def test_charts_out_of_sight_are_scrolled_to(console: Opener) -> None:
    async with console(size=(60, 40)) as stage:
        await stage.send(*busy())
        await stage.press("v")
        assert "prompt tokens reused" not in stage.text()
        grid = stage.app.screen.query_one(Grid)
        await stage.press("G")
        assert "prompt tokens reused" in stage.text()
        await stage.press("g")
        assert grid.scroll_offset.y == 0
        await stage.press("j", "j", "k", "pagedown", "pageup")
        assert grid.scroll_offset.y <= 1


async def test_the_wheel_scrolls_the_charts(console: Opener) -> None:
    async with console(size=(80, 24)) as stage:
        await stage.send(*busy())
        await stage.press("v")
        grid = stage.app.screen.query_one(Grid)
        for _ in range(3):
            await stage.pilot._post_mouse_events([MouseScrollDown], Grid, (9, 9), button=0)
        await stage.settle()
        assert grid.scroll_offset.y > 0


async def test_an_engine_that_failed_is_said_above_the_charts(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*busy())
        await stage.press("v")
        await stage.send(EngineState("failed", MODEL, 0.0, "gone"))
        assert "engine failed: R restarts it" in stage.text()
        await stage.press("R")
        assert _asked(stage, "restart") == 1
        await stage.send(EngineState("stopped"))
        assert "stopped: figures stand still" in stage.text()
        await stage.press("R")
        assert _asked(stage, "restart") == 1


# ----------------------------------------------------------------------------------- backends


async def test_backends_show_the_facts_of_the_selected_one(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("b")
        assert "8,192 tokens of context" in stage.text() and "1 of 3 healthy" in stage.text()
        await stage.press("j")
        assert "no request has ended yet" in stage.text()
        await stage.press("k")
        await stage.pilot.click(Rows, offset=(5, 1))
        await stage.settle()
        assert "no request has ended yet" in stage.text()
        await stage.press("enter")
        assert stage.app.focused is not None and stage.app.focused.id == "backend"
        # The one that was selected stays it when another order comes.
        stage.source.fake.served = stage.source.fake.served[::-1]
        await stage.press("ctrl+r")
        assert "no request has ended yet" in stage.text()


async def test_backends_are_asked_for_every_two_seconds(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("b")
        assert _asked(stage, "backends") == 1
        stage.clock.advance(2)
        await stage.settle()
        assert _asked(stage, "backends") == 2


async def test_the_keys_that_make_sense_now(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("b")
        await stage.press("R")
        assert _asked(stage, "restart") == 0 and "Restart" not in stage.text()
        await stage.send(EngineState("failed", MODEL, 0.0, "out of memory"))
        assert "Restart engine" in stage.text()
        await stage.press("R")
        assert _asked(stage, "restart") == 1
        await stage.press("m")
        assert isinstance(stage.app.screen, ModelPicker)
        await stage.press("escape")
        assert isinstance(stage.app.screen, BackendsRoom)


async def test_backends_that_do_not_answer(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        stage.source.fake.failure = EngineFailed("[no] answer")
        await stage.press("b")
        assert "[no] answer" in stage.text()
        stage.source.fake.failure = None
        stage.clock.advance(2)
        await stage.settle()
        assert "1 of 3 healthy" in stage.text()


async def test_a_slot_is_sent_to_a_model_of_a_backend_and_back(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("b", "s")
        assert "opus        where the routes say" in stage.text()
        await stage.press("j", "j", "enter")
        shown = stage.text()
        assert "Where haiku goes" in shown
        assert "● where the routes say" in shown and "studio/gemma-3-12b" in shown
        assert "mlx/" not in shown, "the model in this process is whatever is loaded"
        await stage.press("G", "enter")
        assert stage.source.fake.calls[-1] == ("set_slot", "haiku", "studio/gemma-3-12b")
        assert "haiku goes to studio/gemma-3-12b now" in [
            n.message for n in stage.app._notifications
        ]
        await stage.press("s", "j", "j", "enter")
        assert "● studio/gemma-3-12b" in stage.text()
        await stage.press("g", "enter")
        assert stage.source.fake.calls[-1] == ("set_slot", "haiku", "")
        await stage.press("s", "enter", "escape")
        assert isinstance(stage.app.screen, BackendsRoom)
        assert _asked(stage, "set_slot") == 2


async def test_a_slot_that_can_not_be_set(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*busy())
        await stage.press("b", "s", "enter")
        stage.source.fake.failure = EngineFailed("[no] slot")
        await stage.press("enter")
        assert "[no] slot" in stage.text()


# ---------------------------------------------------------------------------------- cache pane


async def test_the_cache_pane_leads_to_the_tree(console: Opener) -> None:
    async with console(ui=UiSettings(keymap=(("room.tree", "f6"),))) as stage:
        await stage.send(*busy())
        assert "f6 shows the tree" in stage.text()
        await stage.press("f6")
        assert isinstance(stage.app.screen, TreeRoom)


async def test_the_cache_pane_plots_minutes(console: Opener) -> None:
    async with console() as stage:
        minutes(stage.app.store)
        stage.app.store.history.admitted(0, 1_000_000, NOON)
        await stage.send(*busy())
        assert "44 hits saved 1.42M tok 19m40s" in stage.text()
        assert "prompt tokens reused 1" in stage.text() and "-5m" in stage.text()
