"""The room of searches, and where else a search shows."""

from __future__ import annotations

import json

import pytest
from rich.cells import cell_len
from syrupy.assertion import SnapshotAssertion

from anyclaude.control import Switch
from anyclaude.errors import InvalidRequest
from anyclaude.event_json import from_json, to_json
from anyclaude.events import FirstToken, SearchMade
from anyclaude.records import SearchRecord
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import NOON, READY, FakeSource, request, session
from tests.tui.room_scenes import searches
from tui import searches as view
from tui.columns import glyph
from tui.filters import parse
from tui.lines import plain_text
from tui.rooms.searches import SWITCH, SearchesRoom
from tui.state import Store

OFF = Switch(SWITCH, False, "Searches unasked.", "Search")
FIRST = "req_0000000000000000a3f1"


def source(on: bool = False) -> FakeSource:
    found = FakeSource()
    found.fake.switched = (*found.fake.switched, Switch(SWITCH, on, OFF.help, OFF.group))
    return found


# ----------------------------------------------------------------------------- what is known


def test_rows_fill_their_width_and_say_what_became_of_it() -> None:
    for width in (40, 60, 80, 120):
        assert cell_len(view.heading(width).plain) == width
        assert {cell_len(view.row(made, width).plain) for made in searches()} == {width}
    asked, cached, failed = (view.row(searches()[place], 100).plain for place in (1, 2, 3))
    assert "brave" in asked and "textual 8 theme api [bold]x[/]" in asked and "0.41s" in asked
    assert asked.startswith("   ") and "cached" in cached and "failed" in failed
    assert view.row(searches()[0], 100).plain.startswith(" + ")


def test_facts_name_everything() -> None:
    unasked, _, cached, failed, _ = (plain_text(view.facts(made)) for made in searches())
    assert "put into the prompt unasked" in unasked and "5, about 640 tokens" in unasked
    assert "asked for by the client" in cached and "cached" in cached
    assert "too_many_requests: tavily answered 429" in failed
    quoted = SearchRecord("r", "brave", "x", 2, pages=("https://a.org/[b]x", "https://b.org/"))
    read = plain_text(view.facts(SearchMade(NOON, quoted)))
    assert "pages read" in read and "https://a.org/[b]x" in read and "https://b.org/" in read
    nobody = SearchMade(NOON, SearchRecord("r", "", "x", error="unavailable: off"))
    assert "nobody was asked" in plain_text(view.facts(nobody))


def test_a_request_with_results_put_in_has_a_plus() -> None:
    store = Store()
    inserted, asked, *_ = searches()
    *begun, ended = request("a3f1", NOON - 180)
    for event in (*begun, inserted, FirstToken(FIRST, 900.0)):
        store.apply(event, NOON)
    assert glyph(store.rows[FIRST]) == (">", "run")
    store.apply(ended, NOON)
    assert glyph(store.rows[FIRST]) == ("+", "accent")
    for event in (*request("a3f2", NOON - 170), asked):
        store.apply(event, NOON)
    assert glyph(store.rows["req_0000000000000000a3f2"]) == (" ", "text")
    assert [made.search.query for made in store.searches] == [
        inserted.search.query,
        asked.search.query,
    ]


def test_the_filter_looks_at_searches() -> None:
    store = Store()
    for event in (*request("a3f1", NOON), *request("a3f2", NOON), searches()[0]):
        store.apply(event, NOON)
    found = parse("search:duckduckgo")
    assert [row.id for row in store.rows.values() if found.matches(row)] == [FIRST]


def test_a_search_survives_the_way_to_an_attached_console() -> None:
    read = SearchMade(NOON, SearchRecord("r", "brave", "x", 2, pages=("https://a.org/",)))
    for made in (*searches(), read):
        assert from_json(json.loads(json.dumps(to_json(made)))) == made


# --------------------------------------------------------------------------------- the room


def _room(stage: Stage) -> SearchesRoom:
    assert isinstance(stage.app.screen, SearchesRoom)
    return stage.app.screen


async def test_the_newest_first_and_the_facts_below(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*session(), *searches())
        await stage.press("W")
        text = stage.text()
        assert text.index("what is new in duckdb") < text.index("duckdb appender api")
        assert "5 searches, 2 of them unasked" in text and "unasked: off" in text
        assert "searxng" in text and "[bold]x[/]" in text
        await stage.press("j")
        assert "it is asked again in 20 s" in stage.text()
        _, cached, *_ = reversed(searches()[:3])
        await stage.send(SearchMade(NOON, cached.search))
        assert "it is asked again in 20 s" in stage.text(), "the cursor stays on its search"
        await stage.press("escape")
        assert stage.app.screen is stage.app.main


async def test_enter_shows_the_request(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*session(), *searches())
        await stage.press("W", "G", "enter")
        assert stage.app.screen is stage.app.main
        text = stage.text()
        assert "5 Inspector  a3f1" in text
        assert "mlx quantized kv cache" in text and "put in unasked" in text


async def test_one_key_turns_searching_unasked_on_and_off(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(READY)
        await stage.press("W")
        assert "Searching unasked is off" in stage.text()
        await stage.press("i")
        assert stage.source.fake.calls[-1] == ("set_switch", SWITCH, "True")
        assert "Searching unasked is on" in stage.text()
        await stage.press("i")
        assert stage.source.fake.calls[-1] == ("set_switch", SWITCH, "False")


async def test_a_switch_that_cannot_be_turned_says_why(console: Opener) -> None:
    async with console(source=source()) as stage:
        await stage.send(*session(), *searches())
        await stage.press("W")
        stage.source.fake.failure = InvalidRequest("search.providers is empty")
        await stage.press("i")
        assert any("providers is empty" in n.message for n in stage.app._notifications)
        assert "unasked: off" not in stage.text() or "providers is empty" in stage.text()


SIZES = [(160, 45), (120, 40), (100, 30), (80, 24), (60, 40), (40, 20)]
sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


@sizes
async def test_searches(console: Opener, svg: SnapshotAssertion, size: tuple[int, int]) -> None:
    async with console(size=size, source=source(on=True)) as stage:
        await stage.send(*session(), *searches())
        await stage.press("W", "j")
        assert stage.picture() == svg


@sizes
async def test_searches_of_nothing(
    console: Opener, svg: SnapshotAssertion, size: tuple[int, int]
) -> None:
    async with console(size=size, source=source()) as stage:
        await stage.send(READY)
        await stage.press("W")
        assert stage.picture() == svg


async def test_a_request_with_a_plus_in_the_list(console: Opener, svg: SnapshotAssertion) -> None:
    async with console(size=(120, 40), source=source()) as stage:
        await stage.send(*session(), *searches())
        assert stage.picture() == svg
