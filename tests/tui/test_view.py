"""Cursor, follow, freeze and filter over the store."""

from __future__ import annotations

from anyclaude.events import OutputDelta
from tests.tui.fake_source import MISSING, NOON, call, received, request
from tui.filters import parse
from tui.state import Store
from tui.view import ListView


class Board:
    """A store and its view, fed together."""

    def __init__(self, keep: int = 5000) -> None:
        self.store = Store(keep)
        self.view = ListView(self.store)

    def feed(self, *events: object) -> None:
        for event in events:
            self.store.apply(event, NOON)  # type: ignore[arg-type]
        self.view.update(self.store.take_changes())

    def done(self, *suffixes: str) -> None:
        for suffix in suffixes:
            self.feed(*request(suffix, NOON))

    @property
    def shown(self) -> str:
        return " ".join(row.id[-4:] for row in self.view.rows)

    @property
    def at(self) -> str:
        row = self.view.selected
        return row.id[-4:] if row else ""


def test_follow_keeps_the_newest_selected() -> None:
    board = Board()
    board.done("0001", "0002", "0003")
    assert (board.shown, board.at, board.view.unseen) == ("0001 0002 0003", "0003", 0)


def test_going_up_ends_following_and_counts_what_comes() -> None:
    board = Board()
    board.done("0001", "0002")
    board.view.move(-1)
    board.done("0003", "0004")
    assert (board.at, board.view.follow, board.view.unseen) == ("0001", False, 2)
    board.view.to_last()
    assert (board.at, board.view.follow, board.view.unseen) == ("0004", True, 0)


def test_moving_stays_within_the_list() -> None:
    board = Board()
    board.view.move(-1)
    board.done("0001", "0002")
    board.view.move(-9)
    assert board.at == "0001"
    board.view.move(9)
    assert board.at == "0002"


def test_filter_keeps_the_cursor_on_its_request() -> None:
    board = Board()
    board.done("0001")
    board.feed(*request("0002", NOON, model="claude-haiku-4-5"))
    board.done("0003")
    board.view.move(-1)
    board.view.set_filter(parse("haiku"))
    assert (board.shown, board.at) == ("0002", "0002")
    board.view.set_filter(parse(""))
    assert (board.shown, board.at) == ("0001 0002 0003", "0002")


def test_rows_enter_and_leave_a_filter_in_their_order() -> None:
    board = Board()
    board.view.set_filter(parse("status:end_turn"))
    board.feed(*received("0001", NOON))
    board.done("0002")
    assert board.shown == "0002"
    board.feed(request("0001", NOON)[-1])
    assert board.shown == "0001 0002"
    board.view.set_filter(parse("status:queued"))
    board.feed(*received("0003", NOON))
    assert board.shown == "0003"
    board.feed(request("0003", NOON)[-1])
    assert board.shown == ""


def test_errors_only_shows_failures_and_bad_calls() -> None:
    board = Board()
    board.done("0001")
    board.feed(*request("0002", NOON, status=529, stop=None))
    board.feed(*received("0003", NOON), call("0003", NOON, "Edit", "failed", (MISSING,)))
    board.view.toggle_errors()
    assert board.shown == "0002 0003"


def test_frozen_rows_stand_still_and_can_be_filtered() -> None:
    board = Board()
    board.done("0001")
    board.feed(*received("0002", NOON))
    board.view.toggle_freeze()
    board.feed(OutputDelta("req_00000000000000000002", "text", "x", 7))
    board.done("0003")
    assert board.shown == "0001 0002"
    assert board.view.rows[1].output_tokens == 0
    assert (board.view.unseen, board.view.total) == (1, 2)
    board.view.set_filter(parse("status:queued"))
    assert board.shown == "0002"
    board.view.set_filter(parse(""))
    board.view.toggle_freeze()
    assert board.shown == "0001 0002 0003"
    assert (board.at, board.view.unseen) == ("0003", 0)


def test_trimming_moves_the_cursor_to_the_oldest_left() -> None:
    board = Board(keep=2)
    board.done("0001", "0002")
    board.view.move(-1)
    board.done("0003")
    assert (board.shown, board.at) == ("0002 0003", "0002")


def test_trimming_works_under_a_filter() -> None:
    board = Board(keep=2)
    board.view.set_filter(parse("status:end_turn"))
    board.done("0001", "0002", "0003", "0004")
    assert board.shown == "0003 0004"


def test_select_finds_shown_requests_only() -> None:
    board = Board()
    board.done("0001", "0002")
    assert board.view.select("req_00000000000000000001")
    assert (board.at, board.view.follow) == ("0001", False)
    assert not board.view.select("req_unknown")
