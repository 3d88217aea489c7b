"""The console by its keys: what they ask of the source and what the screen then says."""

from __future__ import annotations

import pytest
from textual.content import Content
from textual.events import Resize
from textual.geometry import Size
from textual.widgets import Input

from anyclaude.errors import ConfigError
from anyclaude.events import OutputDelta, SystemEvent
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import (
    LOADING,
    MODEL,
    NOON,
    READY,
    detail,
    received,
    request,
    session,
)
from tui.widgets.inspector import TabRow

LIVE = "req_0000000000000000a3f8"


def _at(stage: Stage) -> str:
    row = stage.app.view.selected
    return row.id[-4:] if row else ""


def _has(stage: Stage, text: str) -> bool:
    return text in stage.text()


def _said(stage: Stage) -> list[str]:
    return [notice.message for notice in stage.app._notifications]


async def _open_live(stage: Stage) -> None:
    """The scripted session with the running request selected."""
    await stage.send(*session())
    await stage.press("k")
    assert _at(stage) == "a3f8"


# -------------------------------------------------------------------------------- first run


async def test_first_run_shows_the_load_and_then_the_lines(console: Opener) -> None:
    async with console() as stage:
        await stage.send(LOADING)
        assert _has(stage, "62%") and _has(stage, "converting weights")
        stage.source.advised = ("a-better-model  16 GB",)
        await stage.send(READY)
        assert _has(stage, "is ready") and _has(stage, 'eval "$(anyclaude env)"')
        assert _has(stage, "a-better-model")


async def test_y_copies_the_lines_to_paste(console: Opener) -> None:
    async with console() as stage:
        await stage.press("y")
        assert stage.copied == ['eval "$(anyclaude env)"\nclaude']
        assert stage.app.clipboard == stage.copied[0]


async def test_the_list_takes_over_with_the_first_request(console: Opener) -> None:
    async with console() as stage:
        await stage.send(READY, *request("a3f1", NOON))
        assert not _has(stage, "anyclaude env")
        assert _has(stage, "sonnet>mlx") and stage.app.focused is stage.app.main.list


async def test_a_failed_start_is_said_in_place_with_its_code(console: Opener) -> None:
    error = OSError(98, "Address already in use")
    async with console(failure=error) as stage:
        assert _has(stage, "could not start") and _has(stage, "--port 8083")
        await stage.press("q")
    assert stage.app.return_code == 1
    async with console(failure=ConfigError("./anyclaude.toml: server.port is 99999")) as stage:
        assert _has(stage, "server.port is 99999")
        await stage.press("q")
    assert stage.app.return_code == 2


async def test_keys_that_need_the_server_wait_for_it(console: Opener) -> None:
    async with console() as stage:
        stage.app._started = False
        await stage.press("m", "F")
        assert stage.source.fake.calls == [] and "The server is not up yet." in _said(stage)


async def test_keys_that_need_a_server_are_not_there_after_a_failed_start(console: Opener) -> None:
    async with console(failure=ConfigError("no")) as stage:
        foot = stage.text().splitlines()[-1]
        assert "q Quit" in foot and "Commands" in foot
        for word in ("Models", "Flush", "Copy", "SQL", "History", "Pause", "tree", "Replay"):
            assert word not in foot
        await stage.press("m", "F", "y", "s", "h", "p", "T", "o", "P", "r")
        assert stage.app.screen is stage.app.main and _said(stage) == [] and stage.copied == []


# ------------------------------------------------------------------------ moving and following


async def test_moving_up_ends_following_and_g_resumes(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        assert _has(stage, "FOLLOW")
        await stage.press("k")
        assert not stage.app.view.follow and not _has(stage, "FOLLOW")
        await stage.send(*request("bbbb", NOON))
        assert _at(stage) == "a3f8" and _has(stage, "+1 new")
        await stage.press("G")
        assert _at(stage) == "bbbb" and not _has(stage, "+1 new")
        await stage.press("g")
        assert _at(stage) == "a3f1"


async def test_the_wheel_ends_following(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*(e for i in range(60) for e in request(f"{i:04d}", NOON)))
        await stage.pilot._post_mouse_events([_wheel_up()], widget="#list", offset=(5, 5), button=0)
        await stage.settle()
        assert not stage.app.view.follow


def _wheel_up() -> type:
    from textual.events import MouseScrollUp

    return MouseScrollUp


async def test_a_click_selects_and_a_click_on_the_pill_resumes(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.pilot.click("#list", offset=(10, 2))
        await stage.settle()
        assert _at(stage) == "a3f3" and not stage.app.view.follow
        await stage.send(*request("bbbb", NOON))
        await stage.pilot.click("#pill")
        await stage.settle()
        assert _at(stage) == "bbbb" and stage.app.view.follow


async def test_f_toggles_following(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("f")
        assert not stage.app.view.follow
        await stage.press("f")
        assert stage.app.view.follow


async def test_space_freezes_the_list_while_counters_go_on(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("space")
        await stage.send(*received("bbbb", NOON))
        assert _has(stage, "FROZEN") and not _has(stage, "bbbb") and _has(stage, "1 run 2 wait")
        await stage.press("space")
        assert _has(stage, "bbbb")


async def test_e_shows_errors_only(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("e")
        assert [row.id[-4:] for row in stage.app.view.rows] == ["a3f3", "a3f5", "a3f6", "a3f7"]
        await stage.press("escape")
        assert len(stage.app.view.rows) == 9


@pytest.mark.parametrize("narrow", [(60, 40), (80, 24)])
async def test_resizing_keeps_selection_and_follow(
    console: Opener, narrow: tuple[int, int]
) -> None:
    async with console(size=(120, 40)) as stage:
        await stage.send(*session())
        await stage.press("k", "k", "k")
        before = (_at(stage), stage.app.view.follow)
        for size in (narrow, (120, 40)):
            await stage.pilot.resize_terminal(*size)
            await stage.settle()
            assert (_at(stage), stage.app.view.follow) == before
            assert _has(stage, before[0])


async def test_two_sizes_in_a_row_come_to_rest(console: Opener) -> None:
    async with console(size=(120, 40)) as stage:
        await stage.send(*session())
        laid_out: list[Size] = []
        stage.app.main.screen_layout_refresh_signal.subscribe(
            stage.app.main, lambda screen: laid_out.append(screen.size)
        )
        for size in (Size(90, 30), Size(120, 40)):
            stage.app.main.post_message(Resize(size, size))
            # Neighbours in the queue are merged; these two are not.
            stage.app.main.call_later(lambda: None)
        for _ in range(5):
            await stage.pilot.pause()
        assert _has(stage, "2 Cache tiers") and len(laid_out) < 5


async def test_the_top_row_keeps_what_matters_when_it_gets_narrow(console: Opener) -> None:
    async with console(size=(120, 40)) as stage:
        await stage.send(*session())
        await stage.pilot.resize_terminal(60, 40)
        await stage.settle()
        top = stage.text().splitlines()[0]
        assert "SmolLM2-135M-Inst…" in top and top.endswith("1 run 1 wait  FOLLOW")
        await stage.pilot.resize_terminal(100, 40)
        await stage.settle()
        top, vitals = stage.text().splitlines()[:2]
        assert MODEL in top and "mlx busy 71%" in vitals and "…" not in vitals


async def test_five_thousand_requests(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*(e for i in range(5_100) for e in request(f"{i:04d}", NOON)))
        assert len(stage.app.view.rows) == 5_000
        assert _at(stage) == "5099" and _has(stage, "5099")
        await stage.press("g")
        assert _at(stage) == "0100" and _has(stage, "0100")
        await stage.send(*request("zzzz", NOON))
        assert _at(stage) == "0101" and _has(stage, "+1 new")


# ------------------------------------------------------------------------------------- filter


async def test_the_filter_narrows_as_it_is_typed(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("slash", *"haiku")
        assert [row.id[-4:] for row in stage.app.view.rows] == ["a3f2", "a3f9"]
        assert _has(stage, "2 of 9")
        await stage.press("enter")
        assert stage.app.focused is stage.app.main.list and _has(stage, "FILTER")
        await stage.press("escape")
        assert len(stage.app.view.rows) == 9 and not stage.app.main.filter_bar.display


async def test_escape_in_the_filter_clears_it(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("slash", "x", "escape")
        assert stage.app.main.query_one(Input).value == "" and not stage.app.view.filter


async def test_letters_typed_into_the_filter_are_no_commands(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("slash", *"qFXm5?")
        assert stage.app.is_running and stage.app.screen is stage.app.main
        assert stage.app.main.query_one(Input).value == "qFXm5?"


async def test_a_half_typed_term_is_explained(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("slash", *"ttft>")
        assert _has(stage, "needs a number") and len(stage.app.view.rows) == 9


# ---------------------------------------------------------------------------------- inspector


async def test_the_inspector_follows_the_output(console: Opener) -> None:
    async with console() as stage:
        await _open_live(stage)
        await stage.press("enter", "right_square_bracket", "right_square_bracket")
        assert _has(stage, "Output*") and _has(stage, "I'll read the failing test")
        more = "\n".join(f"line {n}" for n in range(60))
        await stage.send(OutputDelta(LIVE, "text", more, 400))
        assert _has(stage, "line 59")


async def test_tabs_wrap_around_and_clicks_pick_them(console: Opener) -> None:
    async with console() as stage:
        await _open_live(stage)
        await stage.press("left_square_bracket")
        assert stage.app.main.inspector.tab == "Raw"
        shown = stage.app.main.query_one(TabRow).content
        assert isinstance(shown, Content)
        styled = [shown.plain[s.start : s.end] for s in shown.spans if "underline" in str(s.style)]
        assert styled == ["Raw"]
        await stage.press("right_square_bracket")
        assert stage.app.main.inspector.tab == "Overview"
        await stage.pilot.click("#tabs", offset=(14, 0))
        await stage.settle()
        assert stage.app.main.inspector.tab == "Prompt"


async def test_detail_is_fetched_and_its_absence_is_said(console: Opener) -> None:
    async with console() as stage:
        stage.source.fake.details["req_0000000000000000a3f1"] = detail("a3f1")
        await stage.send(*session())
        await stage.press("g", "right_square_bracket")
        assert _has(stage, "You are Claude Code.") and _has(stage, "[bold]parser[/bold]")
        await stage.press("j")
        assert _has(stage, "no request req_0000000000000000a3f2")


async def test_y_twice_copies_what_the_tab_shows(console: Opener) -> None:
    async with console() as stage:
        stage.source.fake.details["req_0000000000000000a3f1"] = detail("a3f1")
        await stage.send(*session())
        await stage.press("g")
        await stage.press("y", "y", "right_square_bracket", "y", "y")
        await stage.press("left_square_bracket", "left_square_bracket", "y", "y")
        assert stage.copied[0] == "req_0000000000000000a3f1"
        assert stage.copied[1] == detail("a3f1").prompt
        assert stage.copied[2] == detail("a3f1").body


async def test_a_short_screen_swaps_list_and_inspector(console: Opener) -> None:
    async with console(size=(80, 24)) as stage:
        await _open_live(stage)
        assert not stage.app.main.inspector.display or not _has(stage, "5 Inspector")
        await stage.press("enter")
        assert _has(stage, "5 Inspector") and not _has(stage, "1 Requests ─")
        await stage.press("escape")
        assert _has(stage, "1 Requests ─") and stage.app.focused is stage.app.main.list


# -------------------------------------------------------------------------------------- panes


async def test_numbers_pick_the_pane_when_narrow(console: Opener) -> None:
    async with console(size=(60, 40)) as stage:
        await stage.send(*session())
        for key, title in (("2", "2 Cache tiers"), ("3", "3 Tool-call"), ("4", "4 Events ─")):
            await stage.press(key)
            assert _has(stage, title) and not _has(stage, "1 Requests ─")
            assert _has(stage, "5 Inspector")
        await stage.press("escape")
        assert _has(stage, "1 Requests ─")
        await stage.pilot.click("#panes", offset=(18, 0))
        await stage.settle()
        assert _has(stage, "2 Cache tiers")


async def test_zoom_shows_one_pane_and_escape_all(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        for key, title in (("1", "1 Requests ─"), ("3", "3 Tool-call"), ("5", "5 Inspector")):
            await stage.press(key, "z")
            shown = [
                t
                for t in ("1 Requests ─", "2 Cache", "3 Tool-call", "4 Events", "5 Insp")
                if _has(stage, t)
            ]
            assert len(shown) == 1 and title.startswith(shown[0][:9])
            await stage.press("escape")
            assert _has(stage, "1 Requests ─") and _has(stage, "4 Events")


async def test_a_tool_error_opens_its_request(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("3")
        assert _has(stage, "(not delivered)")
        await stage.press("j")
        assert not _has(stage, "(not delivered)")
        await stage.press("y", "y")
        assert "<tool_call>" in stage.copied[0]
        await stage.press("enter")
        assert _at(stage) == "a3f3" and stage.app.main.inspector.tab == "Output"
        assert _has(stage, "as written")


async def test_errors_are_toasts_and_plain_text(console: Opener) -> None:
    async with console() as stage:
        await stage.send(
            SystemEvent(NOON, "error", "error", "one"),
            SystemEvent(NOON, "error", "error", "[red]two[/red]"),
        )
        assert _said(stage) == ["[red]two[/red] (and 1 more)"]
        assert _has(stage, "[red]two[/red]")
