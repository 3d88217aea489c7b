"""The inspector by its keys, and that nothing of any size holds it up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from textual.geometry import Size

from anyclaude.events import RequestFinished
from anyclaude.records import RequestDetail, RequestRecord
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import NOON, READY, request
from tests.tui.inspector_scene import CLEARED, conversation, source
from tui.inspect import TABS
from tui.inspect.text import LONGEST, MOST
from tui.lines import Span
from tui.widgets import page as page_module
from tui.widgets.foot import Foot
from tui.widgets.inspector import InspectorPage
from tui.widgets.page import Page
from tui.widgets.tabrow import TabRow, window


async def _open(stage: Stage, tab: str) -> InspectorPage:
    """The inspector alone, on the third request."""
    await stage.send(*conversation())
    await stage.press("k", "5", "z")
    stage.app.main.inspector.pick(tab)
    stage.app.main.sync_inspector()
    await stage.settle()
    return stage.app.main.query_one(InspectorPage)


def _has(stage: Stage, text: str) -> bool:
    return text in stage.text()


async def _big(stage: Stage, tab: str, detail: RequestDetail) -> InspectorPage:
    stage.source.fake.details[detail.id] = detail
    await stage.send(READY, *request(detail.id[-4:], NOON))
    await stage.press("5", "z")
    stage.app.main.inspector.pick(tab)
    stage.app.main.sync_inspector()
    await stage.settle()
    return stage.app.main.query_one(InspectorPage)


# ----------------------------------------------------------------------------------------- keys


async def test_d_shows_all_of_the_prompt_and_the_changes_again(console: Opener) -> None:
    async with console(source=source()) as stage:
        await _open(stage, "Prompt")
        assert _has(stage, "Changed since c002") and _has(stage, f"+ {CLEARED}")
        assert not _has(stage, "- Rule 3:")
        await stage.press("d")
        assert _has(stage, "All of it") and _has(stage, "- Rule 3:")
        await stage.press("d")
        assert _has(stage, "Changed since c002")


async def test_d_is_a_key_of_the_prompt_alone(console: Opener) -> None:
    async with console(source=source()) as stage:
        await _open(stage, "Cache")
        assert "Diff/all" not in str(stage.text().splitlines()[-1])
        await stage.press("d")
        assert not stage.app.main.inspector.whole
        await stage.press("left", "left", "left")
        assert stage.app.main.query_one(Foot).is_mounted
        assert "Diff/all" in str(stage.text().splitlines()[-1])


async def test_arrows_turn_the_tabs(console: Opener) -> None:
    async with console(source=source()) as stage:
        await _open(stage, "Overview")
        seen = []
        for _ in TABS:
            await stage.press("right")
            seen.append(stage.app.main.inspector.tab)
        assert seen == [*TABS[1:], TABS[0]]
        await stage.press("left")
        assert stage.app.main.inspector.tab == "Raw"


async def test_n_goes_from_change_to_change(console: Opener) -> None:
    lines = [f"line {n}" for n in range(900)]
    changed = [f"{text}!" if n in (100, 400, 800) else text for n, text in enumerate(lines)]
    async with console(size=(100, 30)) as stage:
        details = stage.source.fake.details
        for suffix, text in (("a000", lines), ("a001", changed)):
            id = f"req_0000000000000000{suffix}"
            details[id] = RequestDetail(id, prompt="\n".join(text))
        await stage.send(READY, *request("a000", NOON), *request("a001", NOON + 1))
        await stage.press("5", "z")
        stage.app.main.inspector.pick("Prompt")
        # A screen of a few rows, so that there is something to scroll.
        await stage.pilot.resize_terminal(100, 12)
        await stage.settle()
        page = stage.app.main.query_one(InspectorPage)
        tops = [page.scroll_offset.y]
        for number in (101, 401, 801):
            await stage.press("n")
            assert _has(stage, f"{number} + line {number - 1}!")
            tops.append(page.scroll_offset.y)
        assert tops == sorted(set(tops))
        await stage.press("N")
        assert _has(stage, "401 + line 400!") and page.scroll_offset.y == tops[2]
        await stage.press("N", "N")
        assert page.scroll_offset.y == tops[1]


async def test_n_goes_through_the_calls_and_the_parts_of_raw(console: Opener) -> None:
    async with console(size=(100, 20), source=source()) as stage:
        await _open(stage, "Tools")
        await stage.press("n")
        assert _has(stage, "Bash  valid") and not _has(stage, "Edit  repaired")
        await stage.press("N")
        assert _has(stage, "Edit  repaired")
        stage.app.main.inspector.pick("Raw")
        stage.app.main.sync_inspector()
        await stage.settle()
        assert _has(stage, "headers")
        await stage.press("n", "n")
        assert _has(stage, " response") and not _has(stage, "headers")


async def test_y_copies_the_view_that_is_on_show(console: Opener) -> None:
    async with console(source=source()) as stage:
        await _open(stage, "Prompt")
        inspector = stage.app.main.inspector
        text, what = inspector.copied()
        assert what == "changes of the prompt" and f"+ {CLEARED}" in text and "Rule 30" not in text
        await stage.press("d")
        known = stage.source.fake.details["req_0000000000000000c003"]
        assert inspector.copied() == (known.prompt, "prompt")
        assert inspector.detail is known


# ----------------------------------------------------------------------------- when it is asked


async def test_an_idle_console_looks_into_what_is_selected(console: Opener) -> None:
    async with console(source=source()) as stage:
        events = [e for e in conversation() if getattr(e, "id", "")[-4:] != "c004"]
        await stage.send(*events[:-1])
        assert not stage.app.store.active
        await stage.press("g")
        stage.app.main.inspector.pick("Prompt")
        stage.app.main.sync_inspector()
        await stage.settle()
        assert _has(stage, "No earlier prompt of this session is known")
        await stage.press("j")
        assert _has(stage, "Changed since c001")


async def test_a_new_tab_is_looked_into_without_waiting_for_a_tick(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*conversation())
        await stage.press("k", "5", "z")
        await stage.pilot.press("right")
        await stage.pilot.pause()
        await stage.app.workers.wait_for_complete()
        await stage.pilot.pause()
        assert _has(stage, "Changed since c002")


async def test_a_prompt_is_there_as_soon_as_it_is_rendered(console: Opener) -> None:
    stage_source = source()
    known = stage_source.fake.details.pop("req_0000000000000000c004")
    async with console(source=stage_source) as stage:
        events = conversation()
        at = next(i for i, e in enumerate(events) if getattr(e, "prompt_tokens", 0) == 21_400)
        await stage.send(*events[:at])
        stage.app.main.inspector.pick("Prompt")
        stage.app.main.sync_inspector()
        await stage.settle()
        assert _has(stage, "no request req_0000000000000000c004")
        stage_source.fake.details[known.id] = known
        await stage.send(events[at])
        assert _has(stage, "Changed since c003")


async def test_a_resize_keeps_the_place_and_renews_what_stands_side_by_side(
    console: Opener,
) -> None:
    async with console(size=(120, 30), source=source()) as stage:
        page = await _open(stage, "Tools")
        await stage.press("j", "j")
        assert _has(stage, "│ as delivered") and page.scroll_offset.y == 2
        await stage.pilot.resize_terminal(60, 30)
        await stage.settle()
        assert not _has(stage, "│ as delivered") and _has(stage, "as delivered")
        assert page.scroll_offset.y == 2


@pytest.mark.parametrize("size", [(60, 40), (80, 24), (40, 20)])
async def test_zoom_leaves_the_inspector_alone_on_any_screen(
    console: Opener, size: tuple[int, int]
) -> None:
    async with console(size=size, source=source()) as stage:
        await _open(stage, "Tools")
        assert _has(stage, "5 Inspector") and not _has(stage, "TIME")
        assert stage.app.main.inspector.region.height >= size[1] - 4


# ----------------------------------------------------------------------------------- the names


def test_names_that_dont_fit_are_left_out_around_the_current_one() -> None:
    assert window(TABS, "Output", 80) == range(len(TABS))
    for tab in TABS:
        shown = window(TABS, tab, 36)
        names = TABS[shown.start : shown.stop]
        marks = 2 * (shown.start > 0) + 2 * (shown.stop < len(TABS))
        assert tab in names and 2 <= len(names) < len(TABS)
        assert sum(len(name) + 2 for name in names) + marks <= 36
    assert window(TABS, "Tools", 3) == range(3, 4)


async def test_the_marks_beside_the_names_lead_on(console: Opener) -> None:
    async with console(size=(40, 20), source=source()) as stage:
        await _open(stage, "Overview")
        row = stage.app.main.query_one(TabRow)
        text = row.content
        assert "›" in str(text) and "‹" not in str(text)
        names = [name for name, _ in row.places()]
        assert names[:2] == ["Overview", "Prompt"]
        await stage.pilot.click("#tabs", offset=(dict(row.places())[names[-1]], 0))
        await stage.settle()
        assert stage.app.main.inspector.tab == names[-1] not in ("Overview", "Prompt")
        assert "‹" in str(row.content)


# --------------------------------------------------------------------------------- great sizes


class _Counts:
    """How many lines were wrapped and how many rows were drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wrapped = self.drawn = 0
        self.slices: list[int] = []
        wrap, draw = page_module.wrap, Page.render_line
        go_on = Page._wrap_on

        def counted_wrap(*args):  # type: ignore[no-untyped-def]
            self.wrapped += 1
            return wrap(*args)

        def counted_draw(page: Page, y: int):  # type: ignore[no-untyped-def]
            self.drawn += isinstance(page, InspectorPage)
            return draw(page, y)

        def counted_slice(page: Page, seen: Sequence[tuple[Span, ...]], upto: int = 0) -> None:
            before = len(page._rows)
            go_on(page, seen, upto)
            self.slices.append(len(page._rows) - before)

        monkeypatch.setattr(page_module, "wrap", counted_wrap)
        monkeypatch.setattr(Page, "render_line", counted_draw)
        monkeypatch.setattr(Page, "_wrap_on", counted_slice)


async def test_five_thousand_lines_are_drawn_by_the_screenful(
    console: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "\n".join(f"line {n} of a rather long prompt" for n in range(5_000))
    counts = _Counts(monkeypatch)
    async with console() as stage:
        page = await _big(stage, "Prompt", RequestDetail("req_0000000000000000bbbb", prompt=prompt))
        assert page.virtual_size.height > 5_000 and max(counts.slices) <= page_module.SLICE + 9
        counts.drawn = counts.wrapped = 0
        await stage.press("G")
        assert _has(stage, "line 4999 of a")
        await stage.press("g")
        assert _has(stage, "line 0 of a")
        assert counts.wrapped < 100 and 0 < counts.drawn < 20 * page.size.height


@pytest.mark.parametrize("tab", ["Prompt", "Raw", "Output"])
async def test_a_megabyte_on_one_line_is_a_few_rows(
    console: Opener, monkeypatch: pytest.MonkeyPatch, tab: str
) -> None:
    counts = _Counts(monkeypatch)
    long = "\x1b[2J\u202e" + "m" * 1_000_000
    id = "req_0000000000000000bbbb"
    async with console() as stage:
        known = RequestDetail(id, body=long, prompt=long, output=long, response="")
        page = await _big(stage, tab, known)
        assert _has(stage, "␛[2J�mmm") and "\x1b" not in stage.text()
        assert page.virtual_size.height < 2 * LONGEST / 100 and counts.wrapped < 500
        text, _ = stage.app.main.inspector.copied()
        if tab != "Output":
            assert text == long


async def test_the_rows_of_a_long_text_come_in_slices(
    console: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = _Counts(monkeypatch)
    prompt = "\n".join(["x"] * (MOST + 500))
    async with console() as stage:
        page = await _big(stage, "Prompt", RequestDetail("req_0000000000000000bbbb", prompt=prompt))
        assert max(counts.slices) <= page_module.SLICE and len(counts.slices) > 10
        assert page.virtual_size == Size(page.virtual_size.width, len(page.lines))
        await stage.press("G")
        assert _has(stage, "… 500 more lines")


async def test_selecting_another_request_drops_what_was_still_to_wrap(
    console: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "\n".join(["x"] * MOST)
    async with console() as stage:
        page = await _big(stage, "Prompt", RequestDetail("req_0000000000000000bbbb", prompt=prompt))
        done = RequestFinished(RequestRecord("req_0000000000000000cccc", NOON, status=200))
        await stage.send(done)
        await stage.press("escape", "G")
        assert page.virtual_size.height < 10
